package gate_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/gate"
	"rutile/internal/risk"
)

// scorer gives every call the score of the moment and remembers what it is told.
type scorer struct {
	score atomic.Int64
	mu    sync.Mutex
	ends  map[any]risk.End
}

func (s *scorer) Arrive(r *access.Request, _ []string, _ bool) *access.Risk {
	return &access.Risk{Session: int(s.score.Load()), Of: r.ID}
}

func (s *scorer) Peek(*access.Identity) *access.Risk {
	return &access.Risk{Session: int(s.score.Load())}
}

func (s *scorer) Ended(r *access.Risk, e risk.End) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ends == nil {
		s.ends = map[any]risk.End{}
	}
	s.ends[r.Of] = e
}

// gateOf holds calls between their intent and what is done under it.
type gateOf struct {
	leaves
	waiting sync.WaitGroup
	open    chan struct{}
}

func (l *gateOf) Intent(ctx context.Context, i audit.Intent) (audit.Ref, error) {
	l.waiting.Done()
	<-l.open
	return l.leaves.Intent(ctx, i)
}

// carried takes every consequence.
type carried struct {
	noEffects
	n atomic.Int64
}

func (c *carried) Carry(context.Context, access.Consequence, *access.Request, *access.Decision) error {
	c.n.Add(1)
	return nil
}

// When a call of a session crosses a bound, none of hundreds that were permitted before
// and have not been sent yet is sent: the same call is the one that is stopped, and no
// further one passes (access.md 5.4).
func TestNoCallPassesAfterTheOneThatCrosses(t *testing.T) {
	t.Parallel()
	const calls = 300
	log := &gateOf{open: make(chan struct{})}
	effects := &carried{}
	g, s := newGateOf(t, log, effects), &scorer{}
	s.score.Store(30)
	g.Score(s)
	var sent atomic.Int64
	forward := func(context.Context, *gate.Dispatch) (access.Response, error) {
		sent.Add(1)
		return access.Response{Body: []byte(answer("x")), Reached: access.ReachYes}, nil
	}
	var done sync.WaitGroup
	log.waiting.Add(calls)
	outcomes := make([]access.Outcome, calls)
	for i := range calls {
		done.Go(func() {
			r := request()
			r.ID = fmt.Sprint("dec_", i)
			_, dec, err := g.Do(t.Context(), r, forward)
			if outcomes[i] = dec.Outcome; err != nil {
				t.Error(err)
			}
		})
	}
	log.waiting.Wait() // all of them are permitted, and none is sent
	s.score.Store(80)
	r := request()
	r.ID = "dec_cross"
	if _, dec, err := g.Do(t.Context(), r, forward); err != nil || dec.Outcome != access.Quarantine || len(dec.Consequences) != 1 {
		t.Errorf("the call that crosses: %s, %v", dec.Outcome, err)
	}
	close(log.open)
	done.Wait()
	if n := effects.n.Load(); n != calls+1 {
		t.Errorf("%d consequences were carried out", n)
	}
	if n := sent.Load(); n != 0 {
		t.Errorf("%d calls were sent after it", n)
	}
	for i, o := range outcomes {
		if o != access.Quarantine {
			t.Fatalf("call %d: %s", i, o)
		}
	}
}

// What came of a call is told: denials as such but for those that a score itself brings
// about, or that are only a matter of asking, and nothing is learned of what was found.
func TestWhatCameOfACallIsTold(t *testing.T) {
	t.Parallel()
	g, s := newGateOf(t, &leaves{}, &carried{}), &scorer{}
	g.Score(s)
	do := func(id, target, body string) risk.End {
		t.Helper()
		r := request()
		r.ID, r.Target = id, target
		_, _, _ = g.Do(t.Context(), r, returns(nil, nil, body))
		return s.ends[id]
	}
	if e := do("fine", "echo", answer("x")); e.Denied || e.Flagged || e.Bytes != len(answer("x")) {
		t.Errorf("an ordinary call: %+v", e)
	}
	if e := do("denied", "other", ""); !e.Denied {
		t.Errorf("a denied call: %+v", e)
	}
	if e := do("hostile", "echo", answer(hostile)); e.Found == 0 || !e.Flagged {
		t.Errorf("a hostile answer: %+v", e)
	}
	s.score.Store(99)
	if e := do("held", "echo", answer("x")); e.Denied || !e.Flagged {
		t.Errorf("a call its own score stops: %+v", e)
	}
}
