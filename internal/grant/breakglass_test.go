package grant_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
)

// emergency is what ann takes for bot under an entitlement of finance.
func emergency(change ...func(*grant.Emergency)) grant.Emergency {
	e := grant.Emergency{Entitlement: grant.Entitlement{ID: deploys, Owner: "finance", Approve: grant.Rule{Quorum: 2, Team: "finance"}, Ceiling: grant.Ceiling{Seconds: 3600, Uses: 5}},
		Party: bot, Target: deploy, Reason: "it burns", By: "user:ann", Token: "pat_1", Method: "api"}
	e.Target.Tier = 3
	for _, f := range change {
		f(&e)
	}
	return e
}

func by(who string) func(*grant.Emergency) { return func(e *grant.Emergency) { e.By = who } }

func (r *rig) breakGlass(change ...func(*grant.Emergency)) grant.Grant {
	r.t.Helper()
	g, err := r.BreakGlass(r.t.Context(), emergency(change...))
	if err != nil {
		r.t.Fatalf("breaking the glass: %v", err)
	}
	return g
}

func (r *rig) owes(id string) grant.Review {
	r.t.Helper()
	v, ok, err := r.Archive().Review(r.t.Context(), id)
	if err != nil || !ok {
		r.t.Fatalf("review of %s: %t, %v", id, ok, err)
	}
	return v
}

func review(b *grant.Broker, r *rig, id, who string) error {
	_, err := b.Review(r.t.Context(), id, grant.Judgement{By: who, Verdict: grant.Justified, Comment: "it did burn"})
	return err
}

// TestBreakGlassIsShortAndOwed: at once, at most 15 minutes, within the entitlement,
// in the evidence before it is in force, not to be handed on, and reviewed.
func TestBreakGlassIsShortAndOwed(t *testing.T) {
	r := newRig(t)
	n := 0
	r.log.onAdd = func(e grant.Event) {
		if n++; len(r.Own(bot).Grants) > 0 && e.Verb == "break-glass" {
			t.Error("it is in force before it is recorded")
		}
	}
	g := r.breakGlass()
	equal(t, "grant", []any{g.Mode, g.State, g.Quorum, g.UsesMax, g.Expires, g.MaxDepth, g.Entitlement, g.Approvals[0].By, g.Approvals[0].Token},
		[]any{grant.ModeBreakGlass, grant.GrantActive, 1, int64(5), noon.Add(15 * time.Minute), 0, deploys, "user:ann", "pat_1"})
	o := r.owes(g.ID)
	equal(t, "owed", []any{o.State, o.Due, o.Person, o.Owner, o.Reason}, []any{grant.ReviewDue, noon.Add(24 * time.Hour), "user:ann", "finance", "it burns"})
	equal(t, "evidence", r.log.said(0), []string{"break-glass Grant", "open Review"})
	equal(t, "covers", r.covering(), []string{g.ID})
	r.reserve(g.ID)
	_, err := r.Delegate(t.Context(), bot, grant.Handover{Grant: g.ID, To: "other", By: "agent:bot", May: func(grant.Grant) error { return nil }})
	hasCode(t, "handed on", err, access.CodeDenied, "may not be handed on")
	r.clock.set(noon.Add(15 * time.Minute))
	equal(t, "after 15 minutes", r.covering(), []string{})
	bound := limits(t, `[{"at":"/to","eq":"test"}]`)
	g = r.breakGlass(by("user:bob"), func(e *grant.Emergency) { e.Entitlement.Args = bound })
	equal(t, "arguments that are not said", g.Args[0].At(), "/to")
}

// TestBreakGlassStaysWithin what the entitlement and the rules of it allow.
func TestBreakGlassStaysWithin(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*grant.Emergency)
		code   access.Code
		words  string
	}{
		"no reason":           {func(e *grant.Emergency) { e.Reason = " " }, access.CodeInvalid, "reason is required"},
		"two lines of reason": {func(e *grant.Emergency) { e.Reason = "a\nb" }, access.CodeInvalid, "reason"},
		"16 minutes":          {func(e *grant.Emergency) { e.Life = 16 * time.Minute }, access.CodeDenied, "at most 15m"},
		"no time":             {func(e *grant.Emergency) { e.Life = time.Millisecond }, access.CodeInvalid, "at least 1 second"},
		"a time before":       {func(e *grant.Emergency) { e.Life = -time.Minute }, access.CodeDenied, "at most"},
		"longer than it may":  {func(e *grant.Emergency) { e.Entitlement.Ceiling.Seconds, e.Life = 60, 2*time.Minute }, access.CodeDenied, "at most 1m"},
		"more than it may":    {func(e *grant.Emergency) { e.Uses = 6 }, access.CodeDenied, "at most 5 uses"},
		"other arguments": {func(e *grant.Emergency) {
			e.Entitlement.Args = limits(t, `[{"at":"/to","eq":"test"}]`)
			e.Args = limits(t, `[{"at":"/to","eq":"prod"}]`)
		}, access.CodeDenied, "does not reach"},
		"a task of nobody": {func(e *grant.Emergency) { e.Task = "tsk_1" }, access.CodeInvalid, "not an open task"},
		"an agent":         {by("agent:bot"), access.CodeDenied, "only a person"},
		"the gateway":      {by("system"), access.CodeDenied, "only a person"},
		"an account":       {by("local:0"), access.CodeDenied, "only a person"},
		"without a token":  {func(e *grant.Emergency) { e.Token = "" }, access.CodeDenied, "personal token"},
	} {
		r := newRig(t)
		_, err := r.BreakGlass(t.Context(), emergency(tt.change))
		hasCode(t, name, err, tt.code, tt.words)
		if n := len(r.Own(bot).Grants); n > 0 || r.log.len() > 0 {
			t.Errorf("%s: %d grants, %v", name, n, r.log.said(0))
		}
	}
}

// TestOneReviewIsOwedAtATime: who broke the glass cannot again for that entitlement
// before somebody else looked, whatever became of the grant and whoever asks where.
func TestOneReviewIsOwedAtATime(t *testing.T) {
	r := newRig(t)
	g := r.breakGlass()
	again := func(b *grant.Broker, change ...func(*grant.Emergency)) error {
		_, err := b.BreakGlass(t.Context(), emergency(change...))
		return err
	}
	hasCode(t, "again", again(r.Broker), access.CodeConflict, "somebody else must review", g.ID)
	hasCode(t, "for another agent", again(r.Broker, func(e *grant.Emergency) { e.Party = other }), access.CodeConflict)
	hasCode(t, "after a restart", again(r.boot("n1", "boot-2")), access.CodeConflict)
	if err := again(r.Broker, by("user:bob")); err != nil {
		t.Errorf("somebody else: %v", err)
	}
	if err := again(r.Broker, func(e *grant.Emergency) { e.Entitlement.ID = "another" }); err != nil {
		t.Errorf("another entitlement: %v", err)
	}
	if _, err := r.Revoke(t.Context(), g.ID, "user:bob", ""); err != nil {
		t.Fatal(err)
	}
	hasCode(t, "revoked", again(r.Broker), access.CodeConflict)
	if err := review(r.Broker, r, g.ID, "user:bob"); err != nil {
		t.Fatal(err)
	}
	if err := again(r.Broker); err != nil {
		t.Errorf("reviewed: %v", err)
	}
}

// TestReviewIsBySomebodyElseOnce, after the grant has ended, with words.
func TestReviewIsBySomebodyElseOnce(t *testing.T) {
	r := newRig(t)
	g := r.breakGlass()
	hasCode(t, "in force", review(r.Broker, r, g.ID, "user:bob"), access.CodeConflict, "is in force until")
	r.clock.set(noon.Add(16 * time.Minute)) // and nobody has swept
	hasCode(t, "by self", review(r.Broker, r, g.ID, "user:ann"), access.CodeDenied, "another one")
	hasCode(t, "by an agent", review(r.Broker, r, g.ID, "agent:bot"), access.CodeDenied)
	hasCode(t, "by the gateway", review(r.Broker, r, g.ID, "system"), access.CodeDenied)
	hasCode(t, "of nothing", review(r.Broker, r, "grt_none", "user:bob"), access.CodeNotFound)
	hasCode(t, "of another grant", review(r.Broker, r, r.create().ID, "user:bob"), access.CodeNotFound)
	for _, j := range []grant.Judgement{{By: "user:bob", Verdict: grant.Justified}, {By: "user:bob", Verdict: "fine", Comment: "x"}, {By: "user:bob", Verdict: grant.Justified, Comment: "a\nb"}} {
		_, err := r.Review(t.Context(), g.ID, j)
		hasCode(t, fmt.Sprint(j), err, access.CodeInvalid)
	}
	n := r.log.len()
	if err := review(r.Broker, r, g.ID, "user:bob"); err != nil {
		t.Fatal(err)
	}
	hasCode(t, "twice", review(r.Broker, r, g.ID, "user:cid"), access.CodeConflict, "is reviewed")
	hasCode(t, "twice elsewhere", review(r.boot("n2", "b"), r, g.ID, "user:cid"), access.CodeConflict)
	equal(t, "evidence", r.log.said(n), []string{"review Review"})
	o := r.owes(g.ID)
	equal(t, "reviewed", []any{o.State, o.By, o.Verdict, o.Comment}, []any{grant.ReviewDone, "user:bob", grant.Justified, "it did burn"})
}

// TestAReviewOverdueLocks the entitlement for everybody and break-glass for the
// person, from that moment on, whether or not anybody swept, after a restart and
// however the clock is set; what is in force runs to its end, and a review unlocks.
func TestAReviewOverdueLocks(t *testing.T) {
	r := newRig(t)
	g := r.breakGlass()
	day := noon.Add(24 * time.Hour)
	auto := func(b *grant.Broker, entitlement string) error {
		_, err := b.Open(t.Context(), r.ask(grant.Rule{Auto: true}, func(a *grant.Ask) {
			a.Entitlement.ID, a.Args = entitlement, args(t, fmt.Sprintf(`{"i":%d}`, r.log.len()))
		}))
		return err
	}
	r.clock.set(day.Add(-time.Second))
	if err := auto(r.Broker, deploys); err != nil {
		t.Errorf("a second before: %v", err)
	}
	live := r.open(r.ask(grant.Rule{Auto: true}, func(a *grant.Ask) { a.Entitlement.Delegate.MaxDepth, a.Scope = 1, grant.ScopeTime })).Grant
	late := r.open(r.ask(oneYes, func(a *grant.Ask) { a.Args = args(t, `{"late":true}`) }))
	r.clock.set(day)
	locked := func(what string, b *grant.Broker) {
		t.Helper()
		hasCode(t, what+": asked", auto(b, deploys), access.CodeDenied, "is locked", g.ID, "finance")
		_, err := b.Approve(t.Context(), late.ID, grant.Answer{By: "user:bob"})
		hasCode(t, what+": approved", err, access.CodeDenied, "is locked")
		_, err = b.Delegate(t.Context(), bot, grant.Handover{Grant: live, To: "other", By: "agent:bot", May: func(grant.Grant) error { return nil }})
		hasCode(t, what+": handed on", err, access.CodeDenied, "is locked")
		_, err = b.BreakGlass(t.Context(), emergency(by("user:bob")))
		hasCode(t, what+": broken by another", err, access.CodeDenied, "is locked")
		_, err = b.BreakGlass(t.Context(), emergency(func(e *grant.Emergency) { e.Entitlement.ID = "another" }))
		hasCode(t, what+": broken elsewhere", err, access.CodeDenied, "nobody has reviewed it in time")
		if err := auto(b, "another"); err != nil {
			t.Errorf("%s: another entitlement: %v", what, err)
		}
	}
	locked("nobody swept", r.Broker)
	n := r.log.len()
	r.sweep(deploy.Digest)
	equal(t, "said", slices.Contains(r.log.said(n), "lock Review"), true)
	n = r.log.len()
	r.sweep(deploy.Digest)
	equal(t, "said once", slices.Contains(r.log.said(n), "lock Review"), false)
	equal(t, "what is in force", r.grant(live).State, grant.GrantActive)
	locked("swept", r.Broker)
	locked("restarted", r.boot("n1", "boot-2"))
	r.clock.set(day.Add(-time.Hour)) // set back: what was said stands
	equal(t, "set back", r.owes(g.ID).State, grant.ReviewOverdue)
	locked("set back", r.Broker)
	hasCode(t, "reviewed by self", review(r.Broker, r, g.ID, "user:ann"), access.CodeDenied)
	if err := review(r.Broker, r, g.ID, "user:bob"); err != nil {
		t.Fatal(err)
	}
	if err := auto(r.Broker, deploys); err != nil {
		t.Errorf("reviewed: %v", err)
	}
	if _, err := r.Approve(t.Context(), late.ID, grant.Answer{By: "user:bob"}); err != nil {
		t.Errorf("approved: %v", err)
	}
	r.breakGlass()
}

// TestBreakGlassRaces: of many at once, here and on another node, one is issued; of
// reviews one counts; and neither leaves anything half done.
func TestBreakGlassRaces(t *testing.T) {
	r := newRig(t)
	second := r.boot("n2", "b")
	for i := range 6 {
		right := func(e *grant.Emergency) { e.Entitlement.ID = fmt.Sprint("e", i) }
		var errs [4]error
		var got [4]grant.Grant
		try := func(n int, b *grant.Broker) func() {
			return func() { got[n], errs[n] = b.BreakGlass(t.Context(), emergency(right)) }
		}
		together(try(0, r.Broker), try(1, second), try(2, r.Broker), try(3, second))
		var won []grant.Grant
		for n, err := range errs {
			if err == nil {
				won = append(won, got[n])
			} else if c := access.CodeOf(err); c != access.CodeConflict {
				t.Errorf("%v", err)
			}
		}
		if len(won) != 1 {
			t.Fatalf("%d of 4 broke the glass: %v", len(won), errs)
		}
		live, err := r.store.LoadGrants(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		mine := slices.DeleteFunc(live.Grants, func(g grant.Grant) bool { return g.Entitlement != fmt.Sprint("e", i) })
		owed := slices.DeleteFunc(live.Reviews, func(v grant.Review) bool { return v.Entitlement != fmt.Sprint("e", i) })
		if len(mine) != 1 || len(owed) != 1 || owed[0].Grant != mine[0].ID {
			t.Errorf("%d grants, %+v owed", len(mine), owed)
		}
		if _, err := r.Revoke(t.Context(), won[0].ID, "user:bob", ""); err != nil {
			t.Fatal(err)
		}
		var one, two error
		together(func() { one = review(r.Broker, r, won[0].ID, "user:bob") }, func() { two = review(second, r, won[0].ID, "user:cid") })
		if (one == nil) == (two == nil) {
			t.Errorf("both reviewed it, or nobody: %v, %v", one, two)
		}
	}
}

// TestBreakGlassThatCannotBeRecordedIsNone, and a store that fails after the evidence
// is said to have failed.
func TestBreakGlassThatCannotBeRecordedIsNone(t *testing.T) {
	r := newRig(t)
	r.log.fail = func(e grant.Event) error {
		if e.Kind == grant.KindReview {
			return errors.New("the disk is full")
		}
		return nil
	}
	if _, err := r.BreakGlass(t.Context(), emergency()); err == nil {
		t.Error("it cannot be recorded and is there")
	}
	r.log.fail = nil
	r.store.set(func() { r.store.commit = func(grant.Batch) error { return errors.New("the database is gone") } })
	n := r.log.len()
	if _, err := r.BreakGlass(t.Context(), emergency()); err == nil {
		t.Error("it cannot be stored and is there")
	}
	equal(t, "said", r.log.said(n), []string{"break-glass Grant", "open Review", "void Grant", "void Review"})
	r.store.set(func() { r.store.commit = nil })
	equal(t, "nothing", []int{len(r.Own(bot).Grants), len(r.covering())}, []int{0, 0})
	g := r.breakGlass() // nothing is owed for what was not
	r.clock.set(noon.Add(time.Hour))
	r.store.set(func() { r.store.after = func(grant.Batch) error { return errors.New("the answer is lost") } })
	if err := review(r.Broker, r, g.ID, "user:bob"); err != nil { // it was committed, and found to be
		t.Errorf("a lost answer: %v", err)
	}
	r.store.set(func() { r.store.after = nil })
	equal(t, "reviewed", r.owes(g.ID).State, grant.ReviewDone)
}
