package daemon

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// looks runs inTurn over n servers of which the first hang until release.
func looks(ctx context.Context, n, hang int) (began func() int, release, wait func()) {
	var mu sync.Mutex
	var seen []string
	held, over := make(chan struct{}), make(chan struct{})
	ids := make([]string, n)
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	go func() {
		defer close(over)
		inTurn(ctx, ids, func(id string) {
			mu.Lock()
			seen = append(seen, id)
			mu.Unlock()
			if slices.Index(ids, id) < hang {
				<-held
			}
		})
	}()
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(seen)
	}, sync.OnceFunc(func() { close(held) }), func() { <-over }
}

// A few looks at servers run at once at the start.
func TestLooksAtTheStartAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, release, wait := looks(t.Context(), 3*learnSlots, 3*learnSlots)
		time.Sleep(learnTurn - time.Nanosecond)
		synctest.Wait()
		if n := began(); n != 8 {
			t.Errorf("%d looks began at once", n)
		}
		release()
		wait()
		if n := began(); n != 3*learnSlots {
			t.Errorf("%d servers were looked at", n)
		}
	})
}

// Looks that hang make room for others after two seconds.
func TestHangingLooksMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, release, wait := looks(t.Context(), 2*learnSlots+3, learnSlots)
		defer wait()
		defer release()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := began(); n != 2*learnSlots+3 {
			t.Errorf("%d looks began behind those that hang", n-learnSlots)
		}
	})
}

// No look begins once the gateway stops, though there were room for it.
func TestNoLookBeginsAfterTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		began, release, wait := looks(ctx, 3*learnSlots, 3*learnSlots)
		synctest.Wait()
		stop()
		release()
		wait()
		if n := began(); n != learnSlots {
			t.Errorf("%d looks began, %d of them before the stop", n, learnSlots)
		}
	})
}
