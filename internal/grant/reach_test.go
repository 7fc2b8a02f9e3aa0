package grant_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
)

// TestANarrowedEntitlementReachesWhatItGave: requests that wait and grants beyond it
// end, with the reason, and those within it stay.
func TestANarrowedEntitlementReachesWhatItGave(t *testing.T) {
	r := newRig(t)
	bounded := func(text string) func(*grant.Entitlement) {
		return func(e *grant.Entitlement) { e.Args = limits(t, text) }
	}
	for name, c := range map[string]struct {
		now   func(*grant.Entitlement)
		gone  bool
		grant grant.State // of one for a time, and of one for one call with {"to":"prod","n":1}
		once  grant.State
		ask   grant.State
		why   string
	}{
		"as it was":          {func(*grant.Entitlement) {}, false, grant.GrantActive, grant.GrantActive, grant.RequestPending, ""},
		"wider":              {func(e *grant.Entitlement) { e.Ceiling = grant.Ceiling{Seconds: 7200} }, false, grant.GrantActive, grant.GrantActive, grant.RequestPending, ""},
		"retired":            {func(*grant.Entitlement) {}, true, grant.GrantWithdrawn, grant.GrantWithdrawn, grant.RequestInvalid, "does not cover it any more"},
		"a shorter life":     {func(e *grant.Entitlement) { e.Ceiling.Seconds = 599 }, false, grant.GrantWithdrawn, grant.GrantWithdrawn, grant.RequestInvalid, "9m59s at most"},
		"fewer uses":         {func(e *grant.Entitlement) { e.Ceiling.Uses = 4 }, false, grant.GrantWithdrawn, grant.GrantActive, grant.RequestInvalid, "fewer calls"},
		"a budget":           {func(e *grant.Entitlement) { e.Ceiling.Budget = cents }, false, grant.GrantWithdrawn, grant.GrantWithdrawn, grant.RequestInvalid, "is narrower now"},
		"one at a time":      {func(e *grant.Entitlement) { e.Ceiling.Concurrency = 1 }, false, grant.GrantWithdrawn, grant.GrantActive, grant.RequestInvalid, "calls at once"},
		"two people":         {func(e *grant.Entitlement) { e.Approve.Quorum = 2 }, false, grant.GrantActive, grant.GrantActive, grant.RequestInvalid, "another approval"},
		"a team":             {func(e *grant.Entitlement) { e.Approve.Team = "ops" }, false, grant.GrantActive, grant.GrantActive, grant.RequestInvalid, "another approval"},
		"nobody":             {func(e *grant.Entitlement) { e.Approve = grant.Rule{Auto: true} }, false, grant.GrantActive, grant.GrantActive, grant.RequestPending, ""},
		"arguments":          {bounded(`[{"at":"/to","eq":"test"}]`), false, grant.GrantWithdrawn, grant.GrantWithdrawn, grant.RequestInvalid, "does not reach these arguments"},
		"arguments of a few": {bounded(`[{"at":"/to","eq":"prod"}]`), false, grant.GrantWithdrawn, grant.GrantActive, grant.RequestInvalid, "does not reach these arguments"},
	} {
		e := grant.Entitlement{ID: deploys, Approve: oneYes, Ceiling: grant.Ceiling{Seconds: 600, Uses: 5}, Changed: noon}
		timed := func(a *grant.Ask) { a.Scope, a.Reason = grant.ScopeTime, "x" }
		g := r.grant(r.approve(r.open(r.ask(oneYes, timed)).ID, "user:ann").Grant)
		once := r.grant(r.approve(r.open(r.ask(oneYes)).ID, "user:ann").Grant)
		q := r.open(r.ask(oneYes, timed))
		free, gone := r.create(), false
		standing := grant.Standing{Digest: func(t grant.Target) string { return t.Digest }, Right: func(id, agent string, _ grant.Target, depth int) (grant.Entitlement, bool) {
			equal(t, "asked about", []any{id, agent, depth}, []any{deploys, "bot", 0})
			return e, !gone
		}}
		sweep := func() {
			t.Helper()
			if err := r.Sweep(t.Context(), standing); err != nil {
				t.Fatal(err)
			}
		}
		sweep()
		equal(t, name+": before", append(r.states(g, once, free), r.request(q.ID).State), []grant.State{grant.GrantActive, grant.GrantActive, grant.GrantActive, grant.RequestPending})
		c.now(&e)
		gone = c.gone
		e.Changed = noon.Add(time.Minute)
		n := r.log.len()
		sweep()
		equal(t, name, append(r.states(g, once, free), r.request(q.ID).State), []grant.State{c.grant, c.once, grant.GrantActive, c.ask})
		why := r.request(q.ID).Why + r.grant(g.ID).Why
		if !strings.Contains(why, c.why) {
			t.Errorf("%s: it says %q", name, why)
		}
		if ended := c.grant != grant.GrantActive; ended {
			_, err := r.Reserve(t.Context(), g.ID, "dec_1", args(t, `{}`))
			hasCode(t, name+": reserving", err, access.CodeConflict)
			if !strings.Contains(strings.Join(r.log.said(n), ","), "withdraw Grant") {
				t.Errorf("%s: evidence %q", name, r.log.said(n))
			}
		}
		for _, x := range []grant.Grant{g, once, free} { // room for the next case
			if _, err := r.Revoke(t.Context(), x.ID, "user:ann", ""); err != nil && access.CodeOf(err) != access.CodeConflict {
				t.Fatal(err)
			}
		}
		if _, err := r.Deny(t.Context(), q.ID, "user:ann", ""); err != nil && access.CodeOf(err) != access.CodeConflict {
			t.Fatal(err)
		}
	}
}

// TestOnlyWhoWaitsForItIsWoken by an answer; the store is not asked for the others.
func TestOnlyWhoWaitsForItIsWoken(t *testing.T) {
	r := newRig(t)
	first := r.open(r.ask(oneYes))
	second := r.open(r.ask(oneYes, func(a *grant.Ask) { a.Args = args(t, `{"n":2}`) }))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan grant.Request, 2)
	for _, q := range []grant.Request{first, second} {
		go func() {
			a, err := r.Await(ctx, q.ID)
			if err != nil {
				t.Error(err)
			}
			got <- a
		}()
	}
	r.approve(second.ID, "user:ann")
	if a := <-got; a.ID != second.ID || a.State != grant.RequestIssued {
		t.Errorf("%s is %s", a.ID, a.State)
	}
	cancel()
	if a := <-got; a.ID != first.ID || a.State != grant.RequestPending {
		t.Errorf("%s is %s", a.ID, a.State)
	}
}

// TestAnAnswerOnAnotherNodeIsFound by who waits here.
func TestAnAnswerOnAnotherNodeIsFound(t *testing.T) {
	r := newRig(t)
	second := r.boot("n2", "b")
	q := r.open(r.ask(oneYes))
	if _, err := second.Approve(t.Context(), q.ID, grant.Answer{By: "user:ann"}); err != nil {
		t.Fatal(err)
	}
	if a, err := r.Await(t.Context(), q.ID); err != nil || a.State != grant.RequestIssued {
		t.Errorf("%s, %v", a.State, err)
	}
}
