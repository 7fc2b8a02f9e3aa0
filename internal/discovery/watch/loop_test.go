package watch_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rutile/internal/discovery/watch"
)

// rig is a loop in a bubble of time, and when it looked.
type rig struct {
	wake  chan struct{}
	mu    sync.Mutex
	seen  []time.Duration
	cost  time.Duration
	again bool
	begin time.Time
}

func (r *rig) run(ctx context.Context) {
	r.begin = time.Now()
	l := watch.Loop{Wake: r.wake, Every: func() time.Duration { return 10 * time.Minute }, Look: func(context.Context) bool {
		r.mu.Lock()
		r.seen = append(r.seen, time.Since(r.begin))
		r.mu.Unlock()
		time.Sleep(r.cost)
		return r.again
	}}
	l.Run(ctx)
}

func (r *rig) looks() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

func (r *rig) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func start(t *testing.T, r *rig) (stop func()) {
	r.wake = make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.run(ctx)
	}()
	synctest.Wait()
	return func() {
		cancel()
		<-done
	}
}

// TestAChangeIsLookedAtWithinSeconds: one change among quiet ones is looked at once
// it has settled, and a quiet machine only when a full look is due.
func TestAChangeIsLookedAtWithinSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{cost: 20 * time.Millisecond}
		stop := start(t, r)
		defer stop()
		time.Sleep(time.Minute)
		for range 5 { // an editor writes a file in steps
			r.poke()
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if len(r.looks()) != 2 || r.looks()[1] > time.Minute+time.Second {
			t.Errorf("looked at %v, want once at the start and once within a second of the change", r.looks())
		}
		time.Sleep(11 * time.Minute)
		if len(r.looks()) != 3 {
			t.Errorf("looked at %v, want a full look ten minutes later", r.looks())
		}
	})
}

// TestWhoWritesAllTheTimeIsLookedAtRarely: a file written a hundred times a second
// costs a bounded share of the time, and is still looked at.
func TestWhoWritesAllTheTimeIsLookedAtRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{cost: 100 * time.Millisecond}
		stop := start(t, r)
		defer stop()
		for range 60 * 100 {
			r.poke()
			time.Sleep(10 * time.Millisecond)
		}
		if n := len(r.looks()); n < 5 || n > 20 {
			t.Errorf("looked %d times in a minute, want a few: %v", n, r.looks())
		}
		if r.looks()[1] > 5*time.Second {
			t.Errorf("the first change was looked at after %v", r.looks()[1])
		}
		time.Sleep(time.Minute) // it is quiet again: the next change is looked at soon
		at := time.Since(r.begin)
		time.Sleep(time.Minute)
		r.poke()
		time.Sleep(3 * time.Second)
		if last := r.looks()[len(r.looks())-1]; last < at+time.Minute {
			t.Errorf("a change after a quiet time was not looked at within 3 s: %v", r.looks())
		}
	})
}

// TestALookThatCostsMuchComesRarely: looks take a twentieth of the time at most.
func TestALookThatCostsMuchComesRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{cost: 5 * time.Second}
		stop := start(t, r)
		defer stop()
		for range 60 * 10 {
			r.poke()
			time.Sleep(time.Second)
		}
		if n := len(r.looks()); n > 7 { // 600 s, 100 s apart
			t.Errorf("looked %d times for 5 s each in ten minutes", n)
		}
	})
}

// TestAskingForAnotherLookEnds: what came under watch late is looked at again at
// once, and not without end.
func TestAskingForAnotherLookEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{cost: time.Millisecond, again: true}
		stop := start(t, r)
		defer stop()
		time.Sleep(5 * time.Minute)
		if len(r.looks()) != 4 || r.looks()[3] > time.Second {
			t.Errorf("looked at %v, want four times at once", r.looks())
		}
	})
}

// TestTheLoopEndsAtOnce: whatever it waits for.
func TestTheLoopEndsAtOnce(t *testing.T) {
	for _, after := range []time.Duration{0, 10 * time.Millisecond, 100 * time.Millisecond, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			r := &rig{cost: time.Millisecond}
			stop := start(t, r)
			time.Sleep(after)
			r.poke()
			synctest.Wait()
			began := time.Now()
			stop()
			if took := time.Since(began); took > 10*time.Millisecond {
				t.Errorf("ended %v after it was told to", took)
			}
		})
	}
}
