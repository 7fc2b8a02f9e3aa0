package grant_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
)

// everyState leaves a request, a grant, a use, a task and a review in each state they
// can be in, and returns the ids of the grants that are in force.
func everyState(r *rig) {
	r.t.Helper()
	n := 0
	ask := func(rule grant.Rule, change ...func(*grant.Ask)) grant.Request {
		n++
		return r.open(r.ask(rule, append(change, func(a *grant.Ask) { a.Args = args(r.t, fmt.Sprintf(`{"i":%d}`, n)) })...))
	}
	no := func(err error) {
		r.t.Helper()
		if err != nil {
			r.t.Fatal(err)
		}
	}
	ctx := r.t.Context()
	ask(grant.Rule{Quorum: 2})                                            // pending
	half := ask(grant.Rule{Quorum: 2})                                    // pending, with one yes
	r.approve(half.ID, "user:ann")                                        //
	r.approve(ask(oneYes).ID, "user:ann")                                 // issued, active
	_, err := r.Deny(ctx, ask(oneYes).ID, "user:ann", "no")               // denied
	no(err)                                                               //
	_, err = r.Withdraw(ctx, ask(oneYes).ID, bot, "")                     // withdrawn
	no(err)                                                               //
	_, err = r.Invalidate(ctx, ask(oneYes).ID, "another")                 // invalidated
	no(err)                                                               //
	ask(oneYes, func(a *grant.Ask) { a.Entitlement.Ceiling.Pending = 1 }) // expires in the sweep
	short := r.create(func(s *grant.Spec) { s.Life = time.Second })
	moved := r.create(func(s *grant.Spec) { s.Target.Name = "moved" })
	r.clock.set(r.clock.now().Add(2 * time.Second))
	no(r.Sweep(ctx, grant.Standing{Digest: func(x grant.Target) string {
		if x.Name == "moved" {
			return "sha256:other"
		}
		return x.Digest
	}})) // expired, suspended
	for _, to := range []grant.State{grant.UseCommitted, grant.UseReleased, grant.UseUnknown} {
		r.settle(r.reserve(r.create().ID), to)
	}
	spent := r.create(func(s *grant.Spec) { s.Uses = 1 })
	r.settle(r.reserve(spent.ID), grant.UseCommitted) // exhausted
	r.reserve(r.create().ID)                          // a use that is under way
	_, err = r.Revoke(ctx, r.create().ID, "user:ann", "")
	no(err)                                                                      // revoked
	r.create(func(s *grant.Spec) { s.NotBefore = r.clock.now().Add(time.Hour) }) // scheduled
	half1, part := r.create(), r.create()
	for _, g := range []grant.Grant{part, half1} {
		no(r.Mint(ctx, grant.Minted{Grant: g.ID, Credential: "crm", Kind: "clientCredentials", Version: "v" + g.ID, Server: "ci"}, []byte("how")))
		_, err = r.Revoke(ctx, g.ID, "user:ann", "") // revoking
		no(err)
		if g.ID == part.ID {
			no(r.Finish(ctx, func(context.Context, grant.Minted, []byte) string { return "it is down" })) // revoke_partial
		}
	}
	closed := r.task(bot)
	r.create(func(s *grant.Spec) { s.Task = closed.ID })
	_, err = r.CloseTask(ctx, closed.ID, bot, "agent:bot", "") // closed, and its grant completed
	no(err)
	r.task(bot) // open
	done := r.breakGlass()
	_, err = r.Revoke(ctx, done.ID, "user:bob", "")
	no(err)
	no(review(r.Broker, r, done.ID, "user:bob"))
	r.breakGlass() // a review is due
	want := map[string]grant.State{half1.ID: grant.GrantRevoking, part.ID: grant.GrantRevokePartial, short.ID: grant.GrantExpired, moved.ID: grant.GrantSuspended, spent.ID: grant.GrantExhausted}
	for id, s := range want {
		equal(r.t, id, r.grant(id).State, s)
	}
}

// kept is all that is in the store, as an archive shows it.
func kept(r *rig) (states map[string]grant.State) {
	r.t.Helper()
	out := map[string]grant.State{}
	f := grant.Filter{Limit: 1000}
	qs, err := r.Archive().Requests(r.t.Context(), f)
	gs, err2 := r.Archive().Grants(r.t.Context(), f)
	ks, err3 := r.Archive().Tasks(r.t.Context(), f)
	us, err4 := r.Archive().Uses(r.t.Context(), f)
	vs, err5 := r.Archive().Reviews(r.t.Context(), f)
	for _, err := range []error{err, err2, err3, err4, err5} {
		if err != nil {
			r.t.Fatal(err)
		}
	}
	for _, x := range qs {
		out[x.ID] = x.State
	}
	for _, x := range gs {
		out[x.ID] = x.State
	}
	for _, x := range ks {
		out[x.ID] = x.State
	}
	for _, x := range us {
		out[x.ID] = x.State
	}
	for _, x := range vs {
		out["review of "+x.Grant] = x.State
	}
	return out
}

// TestARestartInEveryStateChangesNothing but that a use under way is of nobody any
// more, and counts: what is live is found as it was, what has ended stays ended.
func TestARestartInEveryStateChangesNothing(t *testing.T) {
	r := newRig(t)
	everyState(r)
	before, own, covers, said := kept(r), r.Own(bot), r.covering(), r.log.len()
	seen := map[grant.State]bool{}
	for _, s := range before {
		seen[s] = true
	}
	for _, s := range slices.Concat(grant.RequestStates(), grant.GrantStates(), grant.UseStates(), grant.TaskStates(), grant.ReviewStates()) {
		switch s {
		case grant.RequestSuperseded, grant.TaskExpired, grant.ReviewOverdue, grant.GrantWithdrawn: // the first is none anything becomes; the others are reached by time alone
		default:
			if !seen[s] {
				t.Errorf("nothing is %s, so this test does not try it", s)
			}
		}
	}
	r.Broker = r.boot("n1", "boot-2")
	for id, s := range kept(r) {
		if was := before[id]; was != s && (was != grant.UseReserved || s != grant.UseUnknown) {
			t.Errorf("%s was %s and is %s", id, was, s)
		}
	}
	equal(t, "covering", r.covering(), covers)
	equal(t, "said", r.log.len(), said)
	now := r.Own(bot)
	ids := func(l grant.Live) (out []string) {
		for _, x := range l.Grants {
			out = append(out, x.ID)
		}
		for _, x := range l.Requests {
			out = append(out, fmt.Sprint(x.ID, len(x.Approvals)))
		}
		for _, x := range l.Tasks {
			out = append(out, x.ID)
		}
		return out
	}
	equal(t, "live", ids(now), ids(own))
	for id, s := range before { // and no verb brings an ended one back
		if was := slices.Contains([]grant.State{grant.RequestDenied, grant.RequestWithdrawn, grant.RequestInvalid, grant.RequestExpired, grant.RequestIssued}, s); was && id[:4] == access.PrefixRequest {
			_, err := r.Approve(t.Context(), id, grant.Answer{By: "user:zed"})
			hasCode(t, string(s), err, access.CodeConflict)
		}
	}
	half := slices.IndexFunc(now.Requests, func(q grant.Request) bool { return len(q.Approvals) == 1 })
	if q := r.approve(now.Requests[half].ID, "user:bob"); q.State != grant.RequestIssued {
		t.Errorf("the second yes after a restart: %s", q.State)
	}
}

// TestAClockThatStepsGivesNothing: set back, nothing that ended or has not begun is in
// force, and nothing lives longer for it than until the time it was given; set forward
// by a year, everything ends, once, and stays so when the clock is set right.
func TestAClockThatStepsGivesNothing(t *testing.T) {
	r := newRig(t)
	k := r.task(bot)
	q := r.open(r.ask(oneYes))
	g := r.create(func(s *grant.Spec) { s.Life = time.Hour })
	w := r.create(func(s *grant.Spec) {
		s.Life, s.Limits = time.Hour, grant.Limits{Window: grant.Window{Uses: 1, Seconds: 60}}
	})
	r.settle(r.reserve(w.ID), grant.UseCommitted)
	at := func(d time.Duration) []string {
		r.clock.set(noon.Add(d))
		r.sweep(deploy.Digest)
		return r.covering(func(c *grant.Call) { c.At = noon.Add(d) })
	}
	equal(t, "an hour before it begins", at(-time.Hour), []string{})
	if _, err := r.Reserve(t.Context(), g.ID, "dec_early", args(t, `{}`)); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("a use before it begins: %v", err)
	}
	equal(t, "half a minute after it began", len(at(30*time.Second)), 2)
	if _, err := r.Reserve(t.Context(), w.ID, "dec_full", args(t, `{}`)); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("a second use in the window, the clock having been set back and right: %v", err)
	}
	if x := r.open(r.ask(oneYes)); x.ID != q.ID {
		t.Error("the request that waits is another one")
	}
	equal(t, "a second before it ends", len(at(time.Hour-time.Second)), 2)
	n := r.log.len()
	equal(t, "a year later", at(365*24*time.Hour), []string{})
	for _, what := range []string{"expire Task", "expire Grant"} {
		if !slices.Contains(r.log.said(n), what) {
			t.Errorf("nobody says %q in %v", what, r.log.said(n))
		}
	}
	n = r.log.len()
	equal(t, "set right", at(time.Minute), []string{})
	equal(t, "said again", r.log.said(n), []string{})
	_, err := r.Approve(t.Context(), q.ID, grant.Answer{By: "user:ann"})
	hasCode(t, "a request that waited a year", err, access.CodeConflict)
	_, err = r.CloseTask(t.Context(), k.ID, bot, "agent:bot", "")
	hasCode(t, "a task that is over", err, access.CodeConflict)
	if x := r.open(r.ask(oneYes)); x.ID == q.ID {
		t.Error("an expired request is joined")
	}
}
