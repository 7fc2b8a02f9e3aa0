package rehearsal_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/pdp"
	"rutile/internal/rehearsal"
)

func (r *rig) stage() *rehearsal.Stage {
	r.Helper()
	s, err := rehearsal.NewStage(r, noGrant, time.Now)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { s.Stop(true) })
	return s
}

func (r *rig) start(s *rehearsal.Stage, text string) {
	r.Helper()
	if _, err := s.Start(r.Context(), "user:ann", func(context.Context) (*pdp.State, error) { return r.candidate(text), nil }, time.Hour, true); err != nil {
		r.Fatal(err)
	}
}

// observed decides a call and shows it to the stage, and then uses its arguments
// again, as the proxy does with its buffers.
func (r *rig) observed(s *rehearsal.Stage, agent, tool, args string) {
	r.Helper()
	q := r.request(agent, tool, args)
	d := pdp.Decide(r.State(), q)
	before := d
	s.Observe(q, &d)
	clear(q.Arguments.Raw())
	if d.Outcome != before.Outcome || d.Set != before.Set {
		r.Errorf("the decision was changed: %+v", d)
	}
}

func TestASimulationSaysWhatWouldChange(t *testing.T) {
	r := newRig(t)
	s := r.stage()
	r.observed(s, "bot", "read", `{"path":"/secret"}`) // nobody watches yet
	r.start(s, noSecrets+"---\nkind: Agent\nid: other\nowner: team\nexpires: 2099-01-01\ntools: [\"files/*\"]\n")
	r.observed(s, "bot", "read", `{"path":"/secret"}`) // newly denied
	r.observed(s, "bot", "read", `{"path":"/public"}`)
	r.observed(s, "other", "write", `{}`) // newly permitted
	r.observed(s, "ghost", "write", `{}`) // the registry
	s.Observe(r.request("bot", "read", ""), &access.Decision{ID: "dec_failed"})
	got := s.Stop(true)
	if got.State != "ended" || got.By != "user:ann" || !strings.Contains(counts(*got.Report), "looked 4: same 1, denied 1, permitted 1, changed 0, depends 0, registry 1") {
		t.Errorf("%+v\n%s", got, counts(*got.Report))
	}
	r.observed(s, "bot", "read", `{"path":"/secret"}`)
	if again := s.Status(true); again.Report.Looked != 4 {
		t.Errorf("it judges on although it ended: %s", counts(*again.Report))
	}
	if cur := r.admin.Current(); len(cur.Policies) != 0 {
		t.Error("the candidate came into force")
	}
}

// TestASimulationNeverWaits: where the candidate cannot be asked, calls are dropped
// and counted, and nobody waits.
func TestASimulationNeverWaits(t *testing.T) {
	r := newRig(t)
	s := r.stage()
	hold, builds := make(chan struct{}), 0
	free := sync.OnceFunc(func() { close(hold) })
	defer free()
	if _, err := s.Start(t.Context(), "", func(context.Context) (*pdp.State, error) {
		if builds++; builds > 1 {
			<-hold
		}
		return r.candidate(noSecrets), nil
	}, time.Hour, true); err != nil {
		t.Fatal(err)
	}
	r.apply("kind: Team\nid: t\nmembers: [ann]\n") // so that the candidate is built anew
	const calls = 1500
	for range calls {
		r.observed(s, "bot", "read", `{"path":"/public"}`)
	}
	if got := s.Status(true); got.State != "running" || got.Report.Dropped == 0 {
		t.Errorf("while the candidate cannot be asked: %s, %s", got.State, counts(*got.Report))
	}
	free()
	got := s.Stop(true)
	if got.Report.Looked != calls || got.Report.Dropped < calls-1025 || got.Report.Same+got.Report.Dropped != calls || got.Report.Same == 0 {
		t.Error(counts(*got.Report))
	}
}

// TestOneSimulationAtATime: a second is refused, also one that raced.
func TestOneSimulationAtATime(t *testing.T) {
	r := newRig(t)
	s := r.stage()
	if got := s.Status(true); got.State != "none" {
		t.Errorf("%+v", got)
	}
	won := make(chan error, 8)
	for range cap(won) {
		go func() {
			_, err := s.Start(t.Context(), "", func(context.Context) (*pdp.State, error) { return r.State(), nil }, time.Hour, true)
			won <- err
		}()
	}
	started := 0
	for range cap(won) {
		switch err := <-won; {
		case err == nil:
			started++
		case access.CodeOf(err) != access.CodeConflict:
			t.Error(err)
		}
	}
	if started != 1 {
		t.Errorf("%d simulations started", started)
	}
	for _, last := range []time.Duration{0, -time.Second, 48 * time.Hour} {
		if _, err := s.Start(t.Context(), "", nil, last, true); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("%s: %v", last, err)
		}
	}
}

// TestACandidateThatNoLongerFitsHasFailed: after a change of what is registered it
// cannot be built; the report says so, and nothing is judged by what it was.
func TestACandidateThatNoLongerFitsHasFailed(t *testing.T) {
	r := newRig(t)
	s := r.stage()
	broken := false
	if _, err := s.Start(t.Context(), "", func(context.Context) (*pdp.State, error) {
		if broken {
			return nil, errors.New("the schema is another one")
		}
		return r.candidate(noSecrets), nil
	}, time.Hour, true); err != nil {
		t.Fatal(err)
	}
	broken = true
	r.apply("kind: Team\nid: t\nmembers: [ann]\n")
	r.observed(s, "bot", "read", `{"path":"/secret"}`)
	got := s.Stop(true)
	if got.State != "failed" || !strings.Contains(got.Failure, "another one") || got.Report.Dropped != 1 || got.Report.Changes() != 0 {
		t.Errorf("%+v %s", got, counts(*got.Report))
	}
}

// TestASimulationBoundsTheArgumentsThatWait counts bytes, not only calls.
func TestASimulationBoundsTheArgumentsThatWait(t *testing.T) {
	r := newRig(t)
	s := r.stage()
	hold, builds := make(chan struct{}), 0
	free := sync.OnceFunc(func() { close(hold) })
	defer free()
	if _, err := s.Start(t.Context(), "", func(context.Context) (*pdp.State, error) {
		if builds++; builds > 1 {
			<-hold
		}
		return r.candidate(noSecrets), nil
	}, time.Hour, true); err != nil {
		t.Fatal(err)
	}
	r.apply("kind: Team\nid: t\nmembers: [ann]\n")
	for range 24 {
		r.observed(s, "bot", "read", `{"path":"`+strings.Repeat("x", 500<<10)+`"}`)
	}
	free()
	got := s.Stop(true)
	if got.Report.Looked != 24 || got.Report.Dropped < 24-18 || got.Report.Same == 0 {
		t.Error(counts(*got.Report))
	}
}
