package console_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/console"
	"rutile/internal/rehearsal"
)

// slowly tries rules until it is told to stop or to go on.
type slowly struct {
	unrehearsed
	began, on chan struct{}
	at, most  atomic.Int32 // tries that run now, and at most ran at once
}

func (s *slowly) Replay(ctx context.Context, _ admin.Draft, _ time.Time, _ bool) (rehearsal.Report, error) {
	n := s.at.Add(1)
	defer s.at.Add(-1)
	if n > s.most.Load() {
		s.most.Store(n)
	}
	s.began <- struct{}{}
	select {
	case <-s.on:
		return rehearsal.Report{}, nil
	case <-ctx.Done():
		return rehearsal.Report{}, ctx.Err()
	}
}

func (*slowly) Alarms(context.Context, time.Time, string) (rehearsal.Alarms, error) {
	return rehearsal.Alarms{}, nil
}

// try sends a draft that is sound.
func (b *browser) try(more ...string) answer {
	return b.send("/console/simulator", append([]string{"id", "draft", "cedar", "forbid (principal, action, resource);", "tests", "", "days", "7"}, more...)...)
}

// TestOneDraftIsTriedAtATime: others wait their turn, and who leaves ends what was tried
// for them, whether it ran or waited.
func TestOneDraftIsTriedAtATime(t *testing.T) {
	r := newRig(t)
	s := &slowly{began: make(chan struct{}, 8), on: make(chan struct{})}
	r.console(&work{}, func(c *console.Config) { c.Work.Rehearsal = s })
	var readers []*browser
	ctx, leave := context.WithCancel(t.Context())
	for range 3 {
		b := r.enter()
		local := b.change
		b.change = func(q *http.Request) { local(q); *q = *q.WithContext(ctx) }
		readers = append(readers, b)
	}
	last := r.enter()
	done := make(chan int, len(readers))
	for _, b := range readers {
		go func() { done <- b.try().status }()
	}
	<-s.began
	leave()
	for range readers {
		if status := <-done; status < 400 && status != http.StatusOK {
			t.Errorf("who left is answered %d", status)
		}
	}
	for len(s.began) > 0 {
		<-s.began
	}
	close(s.on)
	last.try().wants(t, "the next in turn", http.StatusOK, "0 decisions")
	if n := s.most.Load(); n != 1 || s.at.Load() != 0 {
		t.Errorf("%d were tried at once, %d still are", n, s.at.Load())
	}
}

// TestALongListOfMistakesIsCut: a page stays small whatever was written, and says how
// much of it is left out.
func TestALongListOfMistakesIsCut(t *testing.T) {
	r := newRig(t)
	r.console(&work{})
	b := r.enter()
	var cases strings.Builder
	for i := range 300 {
		fmt.Fprintf(&cases, "- {name: c%d, what: x}\n", i)
	}
	a := b.try("tests", "kind: PolicyTest\ncases:\n"+cases.String())
	a.wants(t, "300 mistakes", http.StatusOK, "It cannot be put in force", "more are not shown")
	if len(a.body) > 150<<10 {
		t.Errorf("the page has %d bytes", len(a.body))
	}
}

// TestALinkWritesNothingInTheSimulator: only the policies there are.
func TestALinkWritesNothingInTheSimulator(t *testing.T) {
	r := newRig(t)
	r.console(&work{})
	if a := r.enter().get("/console/simulator?policy=%E2%80%AEx%22%3E%3Cscript%3E"); a.status != http.StatusOK || strings.Contains(a.body, "\u202e") || strings.Contains(a.body, "x&#34;") {
		t.Errorf("%d: %s", a.status, a.body)
	}
}
