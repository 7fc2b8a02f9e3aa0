package grant_test

import (
	"errors"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/rawjson"
)

// TestAnswersOnlyNarrow: uses, life and constraints may be less, never more.
func TestAnswersOnlyNarrow(t *testing.T) {
	wide := func(a *grant.Ask) {
		a.Scope, a.Wanted, a.Uses, a.Life = grant.ScopeTime, limits(t, `[{"at":"/to","in":["prod","test"]},{"at":"/n","range":[0,10]}]`), 4, 5*time.Minute
	}
	for name, c := range map[string]struct {
		a  grant.Answer
		ok bool
	}{
		"as asked":           {grant.Answer{}, true},
		"the same":           {grant.Answer{Uses: 4, Life: 5 * time.Minute, Args: limits(t, `[{"at":"/to","in":["prod","test"]},{"at":"/n","range":[0,10]}]`)}, true},
		"less":               {grant.Answer{Uses: 1, Life: time.Second, Args: limits(t, `[{"at":"/to","eq":"test"},{"at":"/n","range":[1,2]},{"at":"/x","eq":1}]`)}, true},
		"one use more":       {grant.Answer{Uses: 5}, false},
		"fewer than none":    {grant.Answer{Uses: -1}, false},
		"a second more":      {grant.Answer{Life: 301 * time.Second}, false},
		"backwards":          {grant.Answer{Life: -time.Second}, false},
		"less than a second": {grant.Answer{Life: time.Second - 1}, false},
		"one value more":     {grant.Answer{Args: limits(t, `[{"at":"/to","in":["prod","test","x"]},{"at":"/n","range":[0,10]}]`)}, false},
		"one constraint out": {grant.Answer{Args: limits(t, `[{"at":"/to","in":["prod","test"]}]`)}, false},
		"no constraints":     {grant.Answer{Args: grant.Constraints{}}, false},
		"two lines":          {grant.Answer{Reason: "a\nb"}, false},
	} {
		r := newRig(t)
		q := r.open(r.ask(oneYes, wide))
		before := r.log.len()
		c.a.By, c.a.Method = "user:ann", "api"
		got, err := r.Approve(t.Context(), q.ID, c.a)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !c.ok {
			hasCode(t, name, err, access.CodeInvalid)
			if kept := r.request(q.ID); kept.State != grant.RequestPending || len(kept.Approvals) != 0 || r.log.len() != before {
				t.Errorf("%s: the refused answer changed something: %+v, %v", name, kept, r.log.said(before))
			}
			continue
		}
		g := r.grant(got.Grant)
		life := c.a.Life
		if life == 0 {
			life = 5 * time.Minute
		}
		equal(t, name, []any{g.Expires, g.UsesMax, g.Args}, []any{noon.Add(life), max(c.a.Uses, 4*int64(b2i(c.a.Uses == 0))), orElse(c.a.Args, q.Args)})
	}
	r := newRig(t)
	q := r.open(r.ask(oneYes)) // exactly one call stays exactly that call
	_, err := r.Approve(t.Context(), q.ID, grant.Answer{By: "user:ann", Args: limits(t, `[{"at":"/to","eq":"prod"}]`)})
	hasCode(t, "other constraints of one call", err, access.CodeInvalid)
	_, err = r.Approve(t.Context(), q.ID, grant.Answer{By: "user:ann", Uses: 2})
	hasCode(t, "a second call", err, access.CodeInvalid)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func orElse(c, d grant.Constraints) grant.Constraints {
	if c != nil {
		return c
	}
	return d
}

// TestNobodyApprovesTwice and a quorum is of distinct people; what one narrowed
// the next cannot widen again.
func TestNobodyApprovesTwice(t *testing.T) {
	r := newRig(t)
	q := r.open(r.ask(grant.Rule{Quorum: 3}, func(a *grant.Ask) { a.Scope = grant.ScopeTime }))
	if _, err := r.Approve(t.Context(), q.ID, grant.Answer{By: "user:ann", Uses: 2}); err != nil {
		t.Fatal(err)
	}
	_, err := r.Approve(t.Context(), q.ID, grant.Answer{By: "user:ann", Method: "page"})
	hasCode(t, "again", err, access.CodeConflict, "already", "3 people")
	_, err = r.Approve(t.Context(), q.ID, grant.Answer{By: "user:bob", Uses: 3})
	hasCode(t, "wider again", err, access.CodeInvalid)
	if q = r.approve(q.ID, "user:bob"); q.State != grant.RequestPending || q.Grant != "" {
		t.Fatalf("two of three: %+v", q)
	}
	equal(t, "covering", r.covering(), []string{})
	_, err = r.Approve(t.Context(), q.ID, grant.Answer{By: "user:ann"})
	hasCode(t, "again, later", err, access.CodeConflict)
	q = r.approve(q.ID, "user:eve")
	g := r.grant(q.Grant)
	equal(t, "grant", []any{g.Quorum, len(g.Approvals), g.UsesMax, g.Request}, []any{3, 3, int64(2), q.ID})
	_, err = r.Approve(t.Context(), q.ID, grant.Answer{By: "user:fay"})
	hasCode(t, "issued", err, access.CodeConflict, "is issued")
	equal(t, "evidence", r.log.said(0), []string{"open Request", "approve Request", "approve Request", "approve Request", "issue Grant"})
}

// TestTheClockStartsAtActivation, not when it was asked for.
func TestTheClockStartsAtActivation(t *testing.T) {
	r := newRig(t)
	q := r.open(r.ask(grant.Rule{Quorum: 2}))
	r.approve(q.ID, "user:ann")
	r.clock.set(noon.Add(14 * time.Minute))
	g := r.grant(r.approve(q.ID, "user:bob").Grant)
	equal(t, "times", []time.Time{g.NotBefore, g.Expires}, []time.Time{noon.Add(14 * time.Minute), noon.Add(24 * time.Minute)})
}

// TestGrantsEndAtTheirInstant: one millisecond before it covers, at it no more,
// in memory and in the store, although nobody swept.
func TestGrantsEndAtTheirInstant(t *testing.T) {
	r := newRig(t)
	g := r.create()
	for _, c := range []struct {
		at  time.Time
		yes bool
	}{{g.NotBefore.Add(-time.Millisecond), false}, {g.NotBefore, true}, {g.Expires.Add(-time.Millisecond), true}, {g.Expires, false}} {
		r.clock.set(c.at)
		if got := len(r.covering()) == 1; got != c.yes {
			t.Errorf("at %v it covers: %t", c.at, got)
		}
		_, err := r.Reserve(t.Context(), g.ID, access.NewID(access.PrefixDecision), rawjson.Value{})
		if (err == nil) != c.yes {
			t.Errorf("at %v it is reserved: %v", c.at, err)
		} else if err != nil {
			hasCode(t, "reserving", err, access.CodeConflict)
		}
	}
	r.sweep("sha256:1")
	equal(t, "swept", r.grant(g.ID).State, grant.GrantExpired)
}

// TestEndedRequestsStayEnded: every answer to one is refused.
func TestEndedRequestsStayEnded(t *testing.T) {
	for state, end := range map[grant.State]func(r *rig, id string) error{
		grant.RequestDenied:    func(r *rig, id string) error { _, err := r.Deny(r.t.Context(), id, "user:ann", "no"); return err },
		grant.RequestWithdrawn: func(r *rig, id string) error { _, err := r.Withdraw(r.t.Context(), id, bot, ""); return err },
		grant.RequestInvalid:   func(r *rig, id string) error { _, err := r.Invalidate(r.t.Context(), id, "changed"); return err },
		grant.RequestIssued:    func(r *rig, id string) error { r.approve(id, "user:ann"); return nil },
	} {
		r := newRig(t)
		q := r.open(r.ask(oneYes))
		if err := end(r, q.ID); err != nil {
			t.Fatal(err)
		}
		equal(t, "state", r.request(q.ID).State, state)
		_, err := r.Approve(t.Context(), q.ID, grant.Answer{By: "user:bob"})
		hasCode(t, "approve", err, access.CodeConflict, "is "+string(state))
		_, err = r.Deny(t.Context(), q.ID, "user:bob", "")
		hasCode(t, "deny", err, access.CodeConflict)
		_, err = r.Withdraw(t.Context(), q.ID, bot, "")
		hasCode(t, "withdraw", err, access.CodeConflict)
		if again := r.open(r.ask(oneYes)); again.ID == q.ID {
			t.Errorf("%s: the ask joins it", state)
		}
	}
}

// TestRequestsOfOthersAreNotThere: one answer for those and for none.
func TestRequestsOfOthersAreNotThere(t *testing.T) {
	r := newRig(t)
	q := r.open(r.ask(oneYes))
	_, mine := r.Withdraw(t.Context(), q.ID, other, "")
	hasCode(t, "another's", mine, access.CodeNotFound)
	_, zero := r.Withdraw(t.Context(), q.ID, grant.Party{}, "")
	hasCode(t, "nobody", zero, access.CodeNotFound)
	_, none := r.Withdraw(t.Context(), "req_x", other, "")
	hasCode(t, "none", none, access.CodeNotFound)
	equal(t, "state", r.request(q.ID).State, grant.RequestPending)
}

// TestWideningIsRecordedFirst: what cannot be recorded does not happen, and is
// voided as far as it was recorded; what narrows happens all the same.
func TestWideningIsRecordedFirst(t *testing.T) {
	full := errors.New("the disk is full")
	r := newRig(t)
	k, keep := r.task(bot), r.create()
	suspended := r.create()
	r.sweep("sha256:2") // suspends both grants
	q := r.open(r.ask(oneYes))
	commits := 0
	r.store.set(func() { r.store.commit = func(grant.Batch) error { commits++; return nil } })
	for name, widen := range map[string]func() error{
		"open": func() error {
			_, err := r.Open(t.Context(), r.ask(oneYes, func(a *grant.Ask) { a.Args = args(t, `{}`) }))
			return err
		},
		"auto": func() error {
			_, err := r.Open(t.Context(), r.ask(grant.Rule{Auto: true}, func(a *grant.Ask) { a.Args = args(t, `{}`) }))
			return err
		},
		"approve": func() error { _, err := r.Approve(t.Context(), q.ID, grant.Answer{By: "user:ann"}); return err },
		"create": func() error {
			_, err := r.Create(t.Context(), grant.Spec{Party: bot, Target: deploy, By: "user:ann"})
			return err
		},
		"open task": func() error {
			_, err := r.OpenTask(t.Context(), bot, "", "agent:bot", grant.TaskSpec{Purpose: "x"})
			return err
		},
		"resume all": func() error {
			return r.Sweep(t.Context(), grant.Standing{Digest: func(grant.Target) string { return "sha256:1" }})
		},
	} {
		r.log.fail = func(grant.Event) error { return full }
		if err := widen(); !errors.Is(err, full) {
			t.Errorf("%s: %v", name, err)
		}
		r.log.fail = nil
	}
	equal(t, "commits", commits, 0)
	equal(t, "state", []grant.State{r.request(q.ID).State, r.grant(keep.ID).State}, []grant.State{grant.RequestPending, grant.GrantSuspended})
	equal(t, "covering", r.covering(), []string{})

	n := r.log.len()
	first := true
	r.log.fail = func(e grant.Event) error {
		if e.Verb == "issue" && first {
			first = false
			return full
		}
		return nil
	}
	if _, err := r.Approve(t.Context(), q.ID, grant.Answer{By: "user:ann"}); !errors.Is(err, full) {
		t.Errorf("half recorded: %v", err)
	}
	equal(t, "evidence of what is half recorded", r.log.said(n), []string{"approve Request", "void Request", "void Grant"})
	equal(t, "commits", commits, 0)

	r.log.fail = func(grant.Event) error { return full }
	if _, err := r.Deny(t.Context(), q.ID, "user:ann", "no"); !errors.Is(err, full) {
		t.Errorf("deny: %v", err)
	}
	if _, err := r.Revoke(t.Context(), keep.ID, "user:ann", ""); !errors.Is(err, full) {
		t.Errorf("revoke: %v", err)
	}
	if _, err := r.CloseTask(t.Context(), k.ID, bot, "agent:bot", ""); !errors.Is(err, full) {
		t.Errorf("close: %v", err)
	}
	equal(t, "narrowed all the same", []grant.State{r.request(q.ID).State, r.grant(keep.ID).State, r.grant(suspended.ID).State},
		[]grant.State{grant.RequestDenied, grant.GrantRevoked, grant.GrantSuspended})
	equal(t, "tasks", len(r.OpenTasks(bot)), 0)
}

// TestAChangeThatDidNotTakeEffectIsVoid in the evidence; one of which only the
// answer was lost is not; of what nobody knows the evidence says the wider.
func TestAChangeThatDidNotTakeEffectIsVoid(t *testing.T) {
	down := errors.New("the store is down")
	r := newRig(t)
	q := r.open(r.ask(oneYes))
	n := r.log.len()
	r.store.set(func() { r.store.commit = func(grant.Batch) error { return down } })
	if _, err := r.Approve(t.Context(), q.ID, grant.Answer{By: "user:ann"}); !errors.Is(err, down) {
		t.Fatal(err)
	}
	equal(t, "evidence", r.log.said(n), []string{"approve Request", "issue Grant", "void Request", "void Grant"})
	equal(t, "covering", r.covering(), []string{})

	r.store.set(func() { r.store.commit, r.store.after = nil, func(grant.Batch) error { return down } })
	n = r.log.len()
	got := r.approve(q.ID, "user:ann")
	equal(t, "evidence", r.log.said(n), []string{"approve Request", "issue Grant"})
	equal(t, "covering", r.covering(), []string{got.Grant})
	k := r.task(bot)
	equal(t, "tasks", len(r.OpenTasks(bot)), 1)
	if again, err := r.TaskOf(who(bot), k.ID, noon); err != nil || again != k.ID {
		t.Errorf("task %q, %v", again, err)
	}
}
