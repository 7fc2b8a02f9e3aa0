package grant_test

import (
	"errors"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
)

// later schedules a grant for d from now.
func (r *rig) later(d time.Duration, change ...func(*grant.Spec)) grant.Grant {
	r.t.Helper()
	return r.create(append([]func(*grant.Spec){func(s *grant.Spec) { s.NotBefore, s.Life = r.clock.now().Add(d), 10*time.Minute }}, change...)...)
}

// at sets the clock to d after noon, sweeps, and returns what covers a call then.
func (r *rig) at(d time.Duration) []string {
	r.t.Helper()
	r.clock.set(noon.Add(d))
	r.sweep(deploy.Digest)
	return r.covering()
}

// TestAScheduledGrantPermitsNothingUntilItsTime, and then lives as long as was said.
func TestAScheduledGrantPermitsNothingUntilItsTime(t *testing.T) {
	r := newRig(t)
	g := r.later(time.Hour)
	equal(t, "made", []any{g.State, g.NotBefore, g.Expires}, []any{grant.GrantScheduled, noon.Add(time.Hour), noon.Add(70 * time.Minute)})
	n := r.log.len()
	equal(t, "a moment before", r.at(time.Hour-time.Millisecond), []string{})
	r.clock.set(noon.Add(time.Hour)) // nobody has swept
	if _, err := r.Reserve(t.Context(), g.ID, "dec_early", args(t, `{}`)); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("a use before it is said to begin: %v", err)
	}
	equal(t, "said so far", r.log.said(n), []string{})
	second := r.boot("n2", "b")
	equal(t, "at its time", r.at(time.Hour), []string{g.ID})
	equal(t, "said", r.log.said(n), []string{"activate Grant"})
	if err := second.Sweep(t.Context(), grant.Standing{Digest: func(grant.Target) string { return deploy.Digest }}); err != nil {
		t.Fatal(err)
	}
	equal(t, "said by two nodes", r.log.said(n), []string{"activate Grant"})
	r.settle(r.reserve(g.ID), grant.UseCommitted)
	equal(t, "a moment before it ends", len(r.at(70*time.Minute-time.Millisecond)), 1)
	equal(t, "once it has ended", r.at(70*time.Minute), []string{})
	equal(t, "state", r.grant(g.ID).State, grant.GrantExpired)
}

// TestWhatCannotBeSaidDoesNotBegin: beginning widens, so it is recorded first.
func TestWhatCannotBeSaidDoesNotBegin(t *testing.T) {
	r := newRig(t)
	g := r.later(time.Minute)
	r.log.fail = func(e grant.Event) error {
		if e.Verb == "activate" {
			return errors.New("the disk is full")
		}
		return nil
	}
	r.clock.set(noon.Add(time.Minute))
	if err := r.Sweep(t.Context(), grant.Standing{Digest: func(grant.Target) string { return deploy.Digest }}); err == nil {
		t.Error("nobody says that it could not be recorded")
	}
	equal(t, "covering", r.covering(), []string{})
	equal(t, "state", r.grant(g.ID).State, grant.GrantScheduled)
	r.log.fail = nil
	equal(t, "later", r.at(2*time.Minute), []string{g.ID})
}

// TestAScheduledGrantEnds: it is revoked it begins, and does not begin then; with its task
// it ends as others do, and after a restart it begins all the same.
func TestAScheduledGrantEnds(t *testing.T) {
	r := newRig(t)
	k := r.task(bot)
	gone, tasked, kept := r.later(time.Hour), r.later(time.Hour, func(s *grant.Spec) { s.Task = k.ID }), r.later(time.Hour)
	g, err := r.Revoke(t.Context(), gone.ID, "user:ann", "not after all")
	if err != nil || g.State != grant.GrantRevoked {
		t.Errorf("revoked before its time: %s, %v", g.State, err)
	}
	if _, err := r.CloseTask(t.Context(), k.ID, bot, "agent:bot", ""); err != nil {
		t.Fatal(err)
	}
	r.Broker = r.boot("n1", "boot-2")
	equal(t, "at its time", r.at(time.Hour), []string{kept.ID})
	equal(t, "states", r.states(gone, tasked, kept), []grant.State{grant.GrantRevoked, grant.GrantCompleted, grant.GrantActive})
	_, err = r.Revoke(t.Context(), gone.ID, "user:ann", "")
	hasCode(t, "revoked again", err, access.CodeConflict)
}

// TestAClockThatStepsBeginsNothingEarly: set forward over the whole life a grant has
// expired without having begun; set back after it began, it covers nothing until its
// time comes again, and not for longer.
func TestAClockThatStepsBeginsNothingEarly(t *testing.T) {
	r := newRig(t)
	never := r.later(time.Hour)
	n := r.log.len()
	equal(t, "a day later", r.at(24*time.Hour), []string{})
	equal(t, "said", r.log.said(n), []string{"expire Grant"})
	equal(t, "set right", r.at(time.Hour), []string{})
	equal(t, "state", r.grant(never.ID).State, grant.GrantExpired)
	r.clock.set(noon)
	g := r.later(2 * time.Hour)
	equal(t, "begun", r.at(2*time.Hour), []string{g.ID})
	equal(t, "set back", r.at(time.Hour), []string{})
	if _, err := r.Reserve(t.Context(), g.ID, "dec_back", args(t, `{}`)); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("a use before its time: %v", err)
	}
	equal(t, "its time again", r.at(2*time.Hour+time.Minute), []string{g.ID})
	equal(t, "its end", r.at(130*time.Minute), []string{})
}

// TestABeginningIsHeldToWhatIsSoThen: another definition suspends it until the one it
// was given for is back; an entitlement or a policy that wants more than was approved
// withdraws it.
func TestABeginningIsHeldToWhatIsSoThen(t *testing.T) {
	r := newRig(t)
	g := r.later(time.Minute)
	r.clock.set(noon.Add(time.Minute))
	r.sweep("sha256:other")
	equal(t, "another definition", r.grant(g.ID).State, grant.GrantSuspended)
	equal(t, "its own again", r.at(2*time.Minute), []string{g.ID})

	yes := func() grant.Grant {
		q := r.open(r.ask(oneYes, func(a *grant.Ask) { a.Scope = grant.ScopeTime }))
		q, err := r.Approve(t.Context(), q.ID, grant.Answer{By: "user:ann", NotBefore: r.clock.now().Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		return r.grant(q.Grant)
	}
	for what, change := range map[string]func(*grant.Standing){
		"a stricter entitlement": func(s *grant.Standing) {
			s.Right = func(string, string, grant.Target, int) (grant.Entitlement, bool) {
				return grant.Entitlement{ID: deploys, Approve: grant.Rule{Quorum: 2}, Ceiling: grant.Ceiling{Seconds: 600, Uses: 5}}, true
			}
		},
		"a policy": func(s *grant.Standing) { s.Void = func(grant.Request) string { return "policy no-friday forbids it" } },
	} {
		g := yes()
		r.clock.set(r.clock.now().Add(time.Minute))
		s := grant.Standing{Digest: func(grant.Target) string { return deploy.Digest }}
		change(&s)
		if err := r.Sweep(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if g = r.grant(g.ID); g.State != grant.GrantWithdrawn || g.Why == "" {
			t.Errorf("%s: it is %s: %s", what, g.State, g.Why)
		}
	}
}

// TestAnAnswerWithALaterStart: the clock starts there, the call that asked is told when
// instead of asking anew, and no further approval moves it forward.
func TestAnAnswerWithALaterStart(t *testing.T) {
	r := newRig(t)
	q := r.open(r.ask(grant.Rule{Quorum: 2}))
	say := func(by string, at time.Duration) (grant.Request, error) {
		return r.Approve(t.Context(), q.ID, grant.Answer{By: by, NotBefore: noon.Add(at)})
	}
	_, err := say("user:ann", 31*24*time.Hour)
	hasCode(t, "far ahead", err, access.CodeInvalid, "within 30 days")
	if _, err = say("user:ann", 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	_, err = say("user:bob", time.Hour)
	hasCode(t, "earlier than the first said", err, access.CodeInvalid, "may only narrow")
	q = r.approve(q.ID, "user:bob") // says nothing
	g := r.grant(q.Grant)
	equal(t, "grant", []any{g.State, g.NotBefore, g.Expires}, []any{grant.GrantScheduled, noon.Add(2 * time.Hour), noon.Add(2*time.Hour + 10*time.Minute)})
	c := r.ask(oneYes).Call
	hasWords(t, r.Busy(&c), g.ID+" begins later", "2026-11-24T14:00:00Z")
	c.Args = args(t, `{"to":"test","n":1}`)
	equal(t, "another call", r.Busy(&c), "")
	equal(t, "begun", r.at(2*time.Hour), []string{g.ID})

	r.later(time.Hour) // an operator's own keeps nobody from asking
	c = r.ask(oneYes, func(a *grant.Ask) { a.Args, a.At = args(t, `{"to":"qa","n":1}`), r.clock.now() }).Call
	r.settle(r.reserve(g.ID), grant.UseCommitted)
	equal(t, "beside an operator's", r.Busy(&c), "")
}

// TestWhatIsGivenForLaterIsNotAskedAnew: the same ask, or one for no more, is the answered
// one until its time comes; one for more, or for something else, is another.
func TestWhatIsGivenForLaterIsNotAskedAnew(t *testing.T) {
	r := newRig(t)
	later := func(a grant.Ask) grant.Request {
		q, err := r.Approve(t.Context(), r.open(a).ID, grant.Answer{By: "user:ann", NotBefore: noon.Add(time.Hour), Life: 5 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	some := func(uses int64, life time.Duration) grant.Ask {
		return r.ask(oneYes, func(a *grant.Ask) { a.Scope, a.Uses, a.Life = grant.ScopeTime, uses, life })
	}
	once, wide := later(r.ask(oneYes)), later(some(3, 5*time.Minute))
	for name, tt := range map[string]struct {
		ask  grant.Ask
		like string
	}{
		"the same call":      {r.ask(oneYes), once.ID},
		"another call":       {r.ask(oneYes, func(a *grant.Ask) { a.Args = args(t, `{"to":"qa"}`) }), ""},
		"another agent's":    {r.ask(oneYes, func(a *grant.Ask) { a.Party.Agent = "other" }), ""},
		"as much":            {some(3, 5*time.Minute), wide.ID},
		"less":               {some(1, time.Minute), wide.ID},
		"more calls":         {some(4, 5*time.Minute), ""},
		"as many as may be":  {some(0, 5*time.Minute), ""},
		"for longer":         {some(3, 6*time.Minute), ""},
		"of a tier above":    {r.ask(oneYes, func(a *grant.Ask) { a.Target.Tier = deploy.Tier + 1 }), ""},
		"with another limit": {r.ask(oneYes, func(a *grant.Ask) { a.Scope, a.Limits.Concurrency = grant.ScopeTime, 1 }), ""},
	} {
		q := r.open(tt.ask)
		if joined := q.ID == once.ID || q.ID == wide.ID; joined != (tt.like != "") || joined && (q.ID != tt.like || q.State != grant.RequestIssued) {
			t.Errorf("%s: it is %s, %s", name, q.ID, q.State)
		}
		if q.State == grant.RequestPending {
			if _, err := r.Deny(t.Context(), q.ID, "user:ann", ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.at(time.Hour)
	if q := r.open(r.ask(oneYes)); q.State != grant.RequestPending {
		t.Errorf("once its time has come: %s", q.State) // a call is permitted then, so nobody asks
	}
}

// TestStartsThatAreNone are refused.
func TestStartsThatAreNone(t *testing.T) {
	r := newRig(t)
	k := r.task(bot)
	for what, at := range map[string]time.Time{"after its task": k.Expires, "far ahead": noon.Add(31 * 24 * time.Hour)} {
		_, err := r.Create(t.Context(), grant.Spec{Party: bot, Target: deploy, By: "user:ann", Task: k.ID, NotBefore: at})
		hasCode(t, what, err, access.CodeInvalid)
	}
	q := r.open(r.ask(oneYes, func(a *grant.Ask) { a.Scope, a.Task = grant.ScopeTask, k.ID }))
	_, err := r.Approve(t.Context(), q.ID, grant.Answer{By: "user:ann", NotBefore: k.Expires})
	hasCode(t, "an answer after its task", err, access.CodeInvalid)
	if g := r.create(func(s *grant.Spec) { s.NotBefore = noon.Add(-time.Hour) }); g.State != grant.GrantActive || !g.NotBefore.Equal(noon) {
		t.Errorf("a start that is over: %s from %v", g.State, g.NotBefore)
	}
	g := r.later(time.Hour)
	_, err = r.Delegate(t.Context(), bot, grant.Handover{Grant: g.ID, To: "helper", By: "agent:bot", May: mayAll})
	hasCode(t, "handed on before it begins", err, access.CodeConflict)
}

// TestBeginningAndRevokingAtOnce ends revoked, whoever is first.
func TestBeginningAndRevokingAtOnce(t *testing.T) {
	r := newRig(t)
	second := r.boot("n2", "b")
	for range 15 {
		g := r.later(time.Minute)
		if err := second.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.clock.set(r.clock.now().Add(time.Minute))
		same := grant.Standing{Digest: func(grant.Target) string { return deploy.Digest }}
		together(
			func() { _ = r.Sweep(t.Context(), same) }, // may be told that the other was first
			func() { _ = second.Sweep(t.Context(), same) },
			func() {
				if _, err := r.Revoke(t.Context(), g.ID, "user:ann", "no"); err != nil {
					t.Errorf("revoking: %v", err)
				}
			})
		r.sweep(deploy.Digest)
		equal(t, "state", r.grant(g.ID).State, grant.GrantRevoked)
		equal(t, "covering", r.covering(), []string{})
		if _, err := second.Reserve(t.Context(), g.ID, access.NewID(access.PrefixDecision), args(t, `{}`)); access.CodeOf(err) != access.CodeConflict {
			t.Errorf("a use at the other node: %v", err)
		}
	}
}
