package grant_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/rawjson"
)

// TestTheNarrowestGrantIsTriedFirst, in one order however they came about, and
// at most eight of them.
func TestTheNarrowestGrantIsTriedFirst(t *testing.T) {
	r := newRig(t)
	k := r.task(bot)
	life := func(d time.Duration) func(*grant.Spec) { return func(s *grant.Spec) { s.Life = d } }
	task := func(s *grant.Spec) { s.Task = k.ID }
	limited := func(s *grant.Spec) { s.Args = limits(t, `[{"at":"/to","eq":"prod"}]`) }
	long := r.create(life(3 * time.Hour)).ID
	older, younger := r.create(life(2*time.Hour)).ID, r.create(life(2*time.Hour)).ID
	ofTask := r.create(task, life(6*time.Hour)).ID
	constrained := r.create(limited, life(5*time.Hour)).ID
	call := func(c *grant.Call) { c.Task = k.ID }
	bound := r.approve(r.open(r.ask(oneYes)).ID, "user:ann").Grant
	ties := []string{older, younger} // which of one millisecond is older nobody knows
	slices.Sort(ties)
	want := []string{bound, constrained, ofTask, ties[0], ties[1], long}
	equal(t, "order", r.covering(call), want)
	for range 20 {
		r.create(func(s *grant.Spec) { s.Party = other }) // rebuilds what is live
		if err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		equal(t, "order", r.covering(call), want)
	}
	equal(t, "another node's", ids(r.boot("n2", "b").Covering(new(r.call(call)))), want)
	for range 10 {
		r.create(life(time.Hour))
	}
	equal(t, "how many are tried", len(r.covering(call)), 8)
}

func (r *rig) call(change ...func(*grant.Call)) grant.Call {
	c := r.ask(oneYes).Call
	for _, f := range change {
		f(&c)
	}
	return c
}

func ids(gs []grant.Grant) []string {
	out := []string{}
	for _, g := range gs {
		out = append(out, g.ID)
	}
	return out
}

// TestAGrantCoversItsOwnCallsOnly.
func TestAGrantCoversItsOwnCallsOnly(t *testing.T) {
	r := newRig(t)
	k, k2 := r.task(bot), r.task(bot)
	g := r.create(func(s *grant.Spec) { s.Task, s.Args = k.ID, limits(t, `[{"at":"/to","in":["prod","test"]}]`) })
	in := func(c *grant.Call) { c.Task = k.ID }
	equal(t, "the control", r.covering(in), []string{g.ID})
	equal(t, "another session", r.covering(in, func(c *grant.Call) { c.Session = "ses_2" }), []string{g.ID})
	equal(t, "a lower tier", r.covering(in, func(c *grant.Call) { c.Target.Tier = 0 }), []string{g.ID})
	for name, f := range map[string]func(*grant.Call){
		"another agent":   func(c *grant.Call) { c.Party.Agent = "other" },
		"another subject": func(c *grant.Call) { c.Party.Subject = "yan" },
		"another issuer":  func(c *grant.Call) { c.Party.Issuer = "https://x" },
		"the agent alone": func(c *grant.Call) { c.Party = grant.Party{Agent: "bot"} },
		"nobody":          func(c *grant.Call) { c.Party = grant.Party{} },
		"another server":  func(c *grant.Call) { c.Target.Server = "ops2" },
		"another tool":    func(c *grant.Call) { c.Target.Name = "deploy2" },
		"another kind":    func(c *grant.Call) { c.Target.Kind = access.KindResource },
		"another digest":  func(c *grant.Call) { c.Target.Digest = "sha256:2" },
		"no task":         func(c *grant.Call) { c.Task = "" },
		"another task":    func(c *grant.Call) { c.Task = k2.ID },
		"other arguments": func(c *grant.Call) { c.Args = args(t, `{"to":"moon"}`) },
		"no arguments":    func(c *grant.Call) { c.Args = args(t, `{}`) },
		"nothing at all":  func(c *grant.Call) { c.Args = grant.Call{}.Args },
		"no time":         func(c *grant.Call) { c.At = time.Time{} },
		"a use of nobody": func(c *grant.Call) { c.Use = "use_x" },
	} {
		equal(t, name, r.covering(in, f), []string{})
	}
}

// TestUsesAreCounted in flight and spent; released ones come back, unknown ones
// do not, and the last one exhausts the grant.
func TestUsesAreCounted(t *testing.T) {
	r := newRig(t)
	g := r.create() // three uses
	counts := func(spent, reserved int64) {
		t.Helper()
		kept := r.grant(g.ID).Counts
		if live := r.Covering(new(r.call())); len(live) > 0 {
			seen := live[0].Counts
			equal(t, "seen", []int64{seen.Spent, seen.Reserved}, []int64{spent, reserved})
		}
		equal(t, "kept", []int64{kept.Spent, kept.Reserved}, []int64{spent, reserved})
	}
	a, b, c := r.reserve(g.ID), r.reserve(g.ID), r.reserve(g.ID)
	counts(0, 3)
	equal(t, "covering with all in flight", r.covering(), []string{})
	_, err := r.Reserve(t.Context(), g.ID, "dec_more", rawjson.Value{})
	hasCode(t, "a fourth", err, access.CodeConflict)
	r.settle(a, grant.UseReleased)
	counts(0, 2)
	equal(t, "covering after a release", r.covering(), []string{g.ID})
	r.settle(b, grant.UseCommitted)
	r.settle(c, grant.UseUnknown)
	counts(2, 0)
	r.settle(b, grant.UseCommitted) // once more changes nothing
	r.settle(c, grant.UseReleased)
	counts(2, 0)
	n := r.log.len()
	r.settle(r.reserve(g.ID), grant.UseCommitted)
	equal(t, "state", r.grant(g.ID).State, grant.GrantExhausted)
	equal(t, "evidence", r.log.said(n), []string{"exhaust Grant"})
	equal(t, "covering", r.covering(), []string{})
	for _, to := range []grant.State{grant.UseReserved, "", "spent"} {
		if err := r.Settle(t.Context(), a, to); access.CodeOf(err) != access.CodeConflict {
			t.Errorf("settled as %q: %v", to, err)
		}
	}
	free := r.create(func(s *grant.Spec) { s.Uses = 0 })
	for range 5 {
		r.settle(r.reserve(free.ID), grant.UseCommitted)
	}
	equal(t, "without a limit", r.covering(), []string{free.ID})
}

// TestACallGoesOnUnderItsUse: nobody else can, it cannot twice at once, and
// what is left of the grant does not matter to it.
func TestACallGoesOnUnderItsUse(t *testing.T) {
	r := newRig(t)
	g := r.create(func(s *grant.Spec) { s.Uses = 1 })
	more := r.create()
	u := r.reserve(g.ID)
	under := func(c *grant.Call) { c.Use = u.ID }
	if _, ok := r.Resume(u.ID); ok {
		t.Error("a use is resumed while its call runs")
	}
	r.Wait(u, noon.Add(time.Minute))
	equal(t, "covering a call of its own", r.covering(), []string{more.ID})
	equal(t, "covering its call", r.covering(under), []string{g.ID})
	equal(t, "covering its call by another", r.covering(under, func(c *grant.Call) { c.Party = other }), []string{})
	equal(t, "covering its call with other arguments", len(r.covering(under, func(c *grant.Call) { c.Target.Digest = "sha256:2" })), 0)
	got, ok := r.Resume(u.ID)
	if d := cmp.Diff(u, got); !ok || d != "" {
		t.Fatalf("resumed %+v, %t", got, ok)
	}
	if _, ok := r.Resume(u.ID); ok {
		t.Error("a use is resumed twice")
	}
	r.settle(got, grant.UseCommitted)
	if _, ok := r.Resume(u.ID); ok {
		t.Error("a use is resumed after it ended")
	}
	equal(t, "covering under a use that ended", r.covering(under), []string{})
	if _, ok := r.Resume("use_made_up"); ok {
		t.Error("a use nobody has is resumed")
	}
}

// TestLateUsesAreUnknown from the instant on, and count as used.
func TestLateUsesAreUnknown(t *testing.T) {
	r := newRig(t)
	g := r.create(func(s *grant.Spec) { s.Uses = 2 })
	late, runs := r.reserve(g.ID), r.reserve(g.ID)
	r.Wait(late, noon.Add(time.Minute))
	state := func(id string) grant.State {
		t.Helper()
		us, err := r.Archive().Uses(t.Context(), grant.Filter{Grant: g.ID})
		if err != nil {
			t.Fatal(err)
		}
		return us[slices.IndexFunc(us, func(u grant.Use) bool { return u.ID == id })].State
	}
	r.clock.set(noon.Add(time.Minute - time.Millisecond))
	r.sweep("sha256:1")
	equal(t, "before", state(late.ID), grant.UseReserved)
	r.clock.set(noon.Add(time.Minute))
	r.sweep("sha256:1")
	equal(t, "at the instant", []grant.State{state(late.ID), state(runs.ID)}, []grant.State{grant.UseUnknown, grant.UseReserved})
	if _, ok := r.Resume(late.ID); ok {
		t.Error("a late use is resumed")
	}
	equal(t, "counts", r.grant(g.ID).Counts.Spent, int64(1))
}

// TestWhatAnEarlierStartReservedIsUnknown; what another node runs is not touched.
func TestWhatAnEarlierStartReservedIsUnknown(t *testing.T) {
	r := newRig(t)
	g, two := r.create(), r.create(func(s *grant.Spec) { s.Uses = 1 })
	r.reserve(g.ID)
	r.reserve(two.ID)
	if _, err := r.boot("n2", "b").Reserve(t.Context(), g.ID, "dec_other", rawjson.Value{}); err != nil {
		t.Fatal(err)
	}
	r.boot("n1", "boot-1b")
	kept := r.grant(g.ID).Counts
	equal(t, "counts", []int64{kept.Spent, kept.Reserved}, []int64{1, 1})
	equal(t, "used up", r.grant(two.ID).State, grant.GrantExhausted)
}

// TestSweepFollowsTheDefinition: grants of another one are suspended and come
// back with theirs; requests do not.
func TestSweepFollowsTheDefinition(t *testing.T) {
	r := newRig(t)
	g := r.create()
	q := r.open(r.ask(oneYes))
	n := r.log.len()
	r.sweep("sha256:1")
	equal(t, "nothing changed", r.log.said(n), []string{})
	r.sweep("sha256:2")
	equal(t, "changed", []grant.State{r.grant(g.ID).State, r.request(q.ID).State}, []grant.State{grant.GrantSuspended, grant.RequestInvalid})
	equal(t, "covering", r.covering(), []string{})
	_, err := r.Reserve(t.Context(), g.ID, "dec_1", rawjson.Value{})
	hasCode(t, "reserving", err, access.CodeConflict)
	r.sweep("") // gone altogether
	r.sweep("sha256:1")
	equal(t, "back", r.grant(g.ID).State, grant.GrantActive)
	equal(t, "covering", r.covering(), []string{g.ID})
	equal(t, "evidence", r.log.said(n), []string{"suspend Grant", "invalidate Request", "resume Grant"})
	r.sweep("sha256:2")
	r.clock.set(g.Expires)
	r.sweep("sha256:1")
	equal(t, "expired while suspended", r.grant(g.ID).State, grant.GrantExpired)
	if why := r.grant(g.ID).Why; !strings.Contains(why, "time") {
		t.Errorf("it says %q", why)
	}
}

// TestStaleCountsAreNotTaken: a refresh that read before a call reserved, and
// ends after, does not give the use back.
func TestStaleCountsAreNotTaken(t *testing.T) {
	r := newRig(t)
	g := r.create(func(s *grant.Spec) { s.Uses = 1 })
	var u grant.Use
	r.store.set(func() { r.store.load = func(grant.Live) { u = r.reserve(g.ID) } })
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.store.set(func() { r.store.load = nil })
	equal(t, "covering while the only use is reserved", r.covering(), []string{})
	r.settle(u, grant.UseReleased)
	equal(t, "covering after", r.covering(), []string{g.ID})
}

// TestAnotherNodeIsHeardOf by a refresh, and by a reservation that fails.
func TestAnotherNodeIsHeardOf(t *testing.T) {
	r := newRig(t)
	second := r.boot("n2", "b")
	g := r.create(func(s *grant.Spec) { s.Uses = 1 })
	equal(t, "not heard of", len(second.Covering(new(r.call()))), 0)
	if err := second.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "heard of", len(second.Covering(new(r.call()))), 1)
	r.reserve(g.ID)
	_, err := second.Reserve(t.Context(), g.ID, "dec_x", rawjson.Value{})
	hasCode(t, "taken here", err, access.CodeConflict)
	equal(t, "known by then", len(second.Covering(new(r.call()))), 0)
	q := r.open(r.ask(oneYes))
	joined, err := second.Open(t.Context(), r.ask(oneYes)) // it knows nothing of it
	if err != nil || joined.ID != q.ID {
		t.Errorf("the other node's request is %s, %v", joined.ID, err)
	}
	if _, err := second.Approve(t.Context(), q.ID, grant.Answer{By: "user:ann"}); err != nil {
		t.Errorf("approving it there: %v", err)
	}
	_, err = r.Deny(t.Context(), q.ID, "user:bob", "")
	hasCode(t, "denying it here", err, access.CodeConflict, "is issued")
}
