//go:build unix

package mcpproxy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"rutile/internal/mcpproxy"
)

var errDeath = errors.New("exit status 3")

// Starts that fail are held back longer each time, up to a bound, and at once
// free again after one that succeeds.
func TestFailedStartsBackOff(t *testing.T) {
	var s mcpproxy.Supervisor
	now, key := time.Unix(1_000_000, 0), mcpproxy.NewProcessKey("")
	last := time.Duration(0)
	for i := range 12 {
		if err := s.MayStart(key, now); err != nil {
			t.Fatalf("try %d: %v", i, err)
		}
		s.Failed(errDeath, now, now)
		st := s.State(now)
		wait := st.NextTry.Sub(now)
		if wait < last || wait < time.Second || wait > time.Minute || st.Failed != i+1 || st.Last != errDeath.Error() {
			t.Fatalf("try %d: %+v", i, st)
		}
		if err := s.MayStart(key, st.NextTry.Add(-time.Millisecond)); err == nil || !strings.Contains(err.Error(), "rutile server show up") || strings.Contains(err.Error(), "exit status") {
			t.Fatalf("try %d, too early: %v", i, err)
		}
		last, now = wait, st.NextTry
	}
	if last != time.Minute {
		t.Errorf("the longest wait is %s", last)
	}
	s.Began()
	s.Started()
	if st := s.State(now); st.Failed != 0 || !st.NextTry.IsZero() || st.Running != 1 || s.MayStart(key, now) != nil {
		t.Errorf("after a success: %+v", st)
	}
}

// Starts that ran side by side and failed together hold the next one back as one
// does, and are counted all the same.
func TestFailedStartsSideBySideAreOneTurn(t *testing.T) {
	var s mcpproxy.Supervisor
	now := time.Unix(1_000_000, 0)
	for turn, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		begun := now
		for i := range 10 {
			now = begun.Add(time.Duration(i+1) * time.Millisecond)
			s.Failed(errDeath, begun, now)
		}
		st := s.State(now)
		if wait := st.NextTry.Sub(begun.Add(time.Millisecond)); wait != want || st.Failed != 10*(turn+1) {
			t.Fatalf("turn %d: the next waits %s, want %s; %+v", turn, wait, want, st)
		}
		now = st.NextTry
	}
}

// A few deaths are forgiven, more are held back, and only for the one whose
// process it is.
func TestCrashesBackOffByKey(t *testing.T) {
	var s mcpproxy.Supervisor
	now, mine, yours := time.Unix(1_000_000, 0), mcpproxy.NewProcessKey("a"), mcpproxy.NewProcessKey("b")
	die := func(key mcpproxy.ProcessKey) {
		s.Began()
		s.Started()
		s.Ended(key, errDeath, false, now)
	}
	for i := range 5 {
		die(mine)
		if err := s.MayStart(mine, now); err != nil {
			t.Fatalf("death %d: %v", i, err)
		}
	}
	last := time.Duration(0)
	for range 10 {
		die(mine)
		st := s.State(now)
		if st.Crashes < 6 || st.NextTry.Sub(now) < last || s.MayStart(mine, now) == nil || s.MayStart(yours, now) != nil {
			t.Fatalf("%+v", st)
		}
		last = min(st.NextTry.Sub(now), 10*time.Second)
		now = now.Add(time.Second) // whoever does not wait
	}
	// A successful start does not wipe it out: a process that starts and dies is
	// what is held back.
	s.Began()
	s.Started()
	if s.MayStart(mine, now) == nil {
		t.Error("starting was enough")
	}
	now = now.Add(3 * time.Minute)
	if st := s.State(now); st.Crashes != 0 || !st.NextTry.IsZero() || s.MayStart(mine, now) != nil || st.Last == "" {
		t.Errorf("after a quiet time: %+v", st)
	}
	if s.Prune(now); s.Held() != 0 {
		t.Errorf("%d keys are remembered", s.Held())
	}
	// An end that was wanted is none of it.
	for range 20 {
		s.Began()
		s.Ended(yours, nil, true, now)
	}
	if st := s.State(now); st.Crashes != 0 || s.MayStart(yours, now) != nil {
		t.Errorf("wanted ends: %+v", st)
	}
}
