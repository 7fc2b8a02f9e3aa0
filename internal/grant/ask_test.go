package grant_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
)

// TestTheSameAskIsOneRequest: whatever the wire form, and only the same.
func TestTheSameAskIsOneRequest(t *testing.T) {
	r := newRig(t)
	task := r.task(bot)
	first := r.open(r.ask(oneYes))
	set := func(f func(*grant.Ask)) func(*grant.Ask) { return f }
	for name, c := range map[string]struct {
		change func(*grant.Ask)
		joins  bool
	}{
		"the same":          {set(func(*grant.Ask) {}), true},
		"other order":       {set(func(a *grant.Ask) { a.Args = args(t, `{"n": 1.0e0, "to" : "\u0070rod"}`) }), true},
		"another session":   {set(func(a *grant.Ask) { a.Session = "ses_2" }), true},
		"another time":      {set(func(a *grant.Ask) { a.At = noon.Add(time.Minute) }), true},
		"another tier":      {set(func(a *grant.Ask) { a.Target.Tier = 1 }), true},
		"other arguments":   {set(func(a *grant.Ask) { a.Args = args(t, `{"to":"prod","n":2}`) }), false},
		"more arguments":    {set(func(a *grant.Ask) { a.Args = args(t, `{"to":"prod","n":1,"x":null}`) }), false},
		"none":              {set(func(a *grant.Ask) { a.Args = args(t, `{}`) }), false},
		"a task":            {set(func(a *grant.Ask) { a.Task = task.ID }), false},
		"another subject":   {set(func(a *grant.Ask) { a.Party.Subject = "yan" }), false},
		"another issuer":    {set(func(a *grant.Ask) { a.Party.Issuer = "https://other" }), false},
		"nobody behind it":  {set(func(a *grant.Ask) { a.Party.Subject, a.Party.Issuer = "", "" }), false},
		"another agent":     {set(func(a *grant.Ask) { a.Party.Agent = "other" }), false},
		"shifted names":     {set(func(a *grant.Ask) { a.Party.Agent, a.Party.Issuer = "bothttps", "://idp" }), false},
		"another server":    {set(func(a *grant.Ask) { a.Target.Server = "ops2" }), false},
		"another tool":      {set(func(a *grant.Ask) { a.Target.Name = "deploy2" }), false},
		"another kind":      {set(func(a *grant.Ask) { a.Target.Kind = access.KindPrompt }), false},
		"another digest":    {set(func(a *grant.Ask) { a.Target.Digest = "sha256:2" }), false},
		"no digest":         {set(func(a *grant.Ask) { a.Target.Digest = "" }), false},
		"another scope":     {set(func(a *grant.Ask) { a.Scope = grant.ScopeTime }), false},
		"a scope with args": {set(func(a *grant.Ask) { a.Scope, a.Wanted = grant.ScopeTime, limits(t, `[{"at":"/to","eq":"prod"}]`) }), false},
	} {
		got := r.open(r.ask(oneYes, c.change))
		if (got.ID == first.ID) != c.joins {
			t.Errorf("%s: request %s, the first is %s", name, got.ID, first.ID)
		}
		if again := r.open(r.ask(oneYes, c.change)); again.ID != got.ID {
			t.Errorf("%s: asked again it is another request", name)
		}
	}
	if n := slices.Index(r.log.said(0), "open Request"); n < 0 {
		t.Error("no request was recorded")
	}
}

// TestWhatIsOpenedIsWhatIsRead: the archive keeps it all, the arguments sealed
// for this request alone.
func TestWhatIsOpenedIsWhatIsRead(t *testing.T) {
	r := newRig(t)
	q := r.open(r.ask(grant.Rule{Quorum: 2, Team: "team-a"}, func(a *grant.Ask) { a.Policies, a.Reason = []string{"p1"}, "the fix must out" }))
	equal(t, "request", []any{q.State, q.Scope, q.Uses, q.Life, q.Rule, q.Entitlement, q.Expires, q.Reason}, []any{
		grant.RequestPending, grant.ScopeOnce, int64(1), int64(600), grant.Rule{Quorum: 2, Team: "team-a"}, deploys, noon.Add(15 * time.Minute), "the fix must out"})
	kept := r.request(q.ID)
	b, err := r.Arguments(t.Context(), kept)
	if err != nil || string(b) != `{"to":"prod","n":1}` {
		t.Errorf("arguments %q, %v", b, err)
	}
	kept.ID = "req_other"
	if b, err := r.Arguments(t.Context(), kept); err == nil {
		t.Errorf("another request opens them: %q", b)
	}
}

// TestAtMost64RequestsOfOnePartyWait, whatever others do, and one that ends makes
// room.
func TestAtMost64RequestsOfOnePartyWait(t *testing.T) {
	r := newRig(t)
	n := func(i int) func(*grant.Ask) {
		return func(a *grant.Ask) { a.Args = args(t, fmt.Sprintf(`{"n":%d}`, i)) }
	}
	var first grant.Request
	for i := range 64 {
		q := r.open(r.ask(oneYes, n(i)))
		if i == 0 {
			first = q
		}
	}
	if q := r.open(r.ask(oneYes, n(0))); q.ID != first.ID {
		t.Error("at the limit the same ask is another request")
	}
	_, err := r.Open(t.Context(), r.ask(oneYes, n(64)))
	hasCode(t, "the 65th", err, access.CodeConflict, "64 requests")
	_, err = r.Open(t.Context(), r.ask(grant.Rule{Auto: true}, n(64)))
	hasCode(t, "the 65th, automatic", err, access.CodeConflict)
	r.open(r.ask(oneYes, n(64), func(a *grant.Ask) { a.Party = other }))
	if _, err := r.Withdraw(t.Context(), first.ID, bot, ""); err != nil {
		t.Fatal(err)
	}
	r.open(r.ask(oneYes, n(64)))
}

// TestPendingEndsAtItsInstant: one millisecond before it can be approved, at it
// no more, and the same ask is then a new request although nobody swept.
func TestPendingEndsAtItsInstant(t *testing.T) {
	r := newRig(t)
	q := r.open(r.ask(oneYes))
	late := r.open(r.ask(oneYes, func(a *grant.Ask) { a.Args = args(t, `{}`) }))
	r.clock.set(q.Expires.Add(-time.Millisecond))
	r.approve(q.ID, "user:ann")
	r.clock.set(late.Expires)
	_, err := r.Approve(t.Context(), late.ID, grant.Answer{By: "user:ann"})
	hasCode(t, "at the instant", err, access.CodeConflict, "is over")
	again := r.open(r.ask(oneYes, func(a *grant.Ask) { a.Args = args(t, `{}`) }))
	if again.ID == late.ID {
		t.Error("the ask joined a request whose time is over")
	}
	equal(t, "the old one", r.request(late.ID).State, grant.RequestExpired)
	r.clock.set(again.Expires)
	r.sweep("sha256:1")
	equal(t, "swept", r.request(again.ID).State, grant.RequestExpired)
	for _, c := range []time.Duration{time.Second, 24 * time.Hour, 100 * time.Hour} {
		q := r.open(r.ask(oneYes, func(a *grant.Ask) {
			a.Args = args(t, fmt.Sprintf(`{"w":%d}`, c))
			a.Entitlement.Ceiling.Pending = int64(c / time.Second)
		}))
		equal(t, "wait", q.Expires.Sub(r.clock.now()), min(c, 24*time.Hour))
	}
}

// TestCeilingsHold for what is asked for; what is asked for ahead of a call too.
func TestCeilingsHold(t *testing.T) {
	r := newRig(t)
	within := func(a *grant.Ask) {
		a.Entitlement.Args = limits(t, `[{"at":"/to","in":["prod","test"]}]`)
	}
	wide := func(a *grant.Ask) { a.Scope = grant.ScopeTime }
	for name, c := range map[string]struct {
		change []func(*grant.Ask)
		code   access.Code
	}{
		"too long":              {[]func(*grant.Ask){func(a *grant.Ask) { a.Life = 601 * time.Second }}, access.CodeDenied},
		"backwards":             {[]func(*grant.Ask){func(a *grant.Ask) { a.Life = -time.Second }}, access.CodeDenied},
		"half a second":         {[]func(*grant.Ask){func(a *grant.Ask) { a.Life = time.Second / 2 }}, access.CodeInvalid},
		"too many":              {[]func(*grant.Ask){wide, func(a *grant.Ask) { a.Uses = 6 }}, access.CodeDenied},
		"fewer than none":       {[]func(*grant.Ask){wide, func(a *grant.Ask) { a.Uses = -1 }}, access.CodeDenied},
		"arguments outside":     {[]func(*grant.Ask){within, func(a *grant.Ask) { a.Args = args(t, `{"to":"other"}`) }}, access.CodeDenied},
		"wider constraints":     {[]func(*grant.Ask){within, wide, func(a *grant.Ask) { a.Wanted = limits(t, `[{"at":"/to","in":["prod","other"]}]`) }}, access.CodeDenied},
		"no constraints":        {[]func(*grant.Ask){within, wide}, access.CodeDenied},
		"no open task":          {[]func(*grant.Ask){func(a *grant.Ask) { a.Scope = grant.ScopeTask }}, access.CodeInvalid},
		"a task of nobody":      {[]func(*grant.Ask){func(a *grant.Ask) { a.Task = "tsk_x" }}, access.CodeDenied},
		"an unknown scope":      {[]func(*grant.Ask){func(a *grant.Ask) { a.Scope = "forever" }}, access.CodeInvalid},
		"a long reason":         {[]func(*grant.Ask){func(a *grant.Ask) { a.Reason = strings.Repeat("x", 1001) }}, access.CodeInvalid},
		"two lines":             {[]func(*grant.Ask){func(a *grant.Ask) { a.Reason = "a\nb" }}, access.CodeInvalid},
		"hidden text":           {[]func(*grant.Ask){func(a *grant.Ask) { a.Reason = "a\u202eb" }}, access.CodeInvalid},
		"not UTF-8":             {[]func(*grant.Ask){func(a *grant.Ask) { a.Reason = "a\xff" }}, access.CodeInvalid},
		"more than can be read": {[]func(*grant.Ask){func(a *grant.Ask) { a.Args = args(t, `{"x":"`+strings.Repeat("x", 256<<10)+`"}`) }}, access.CodeTooLarge},
	} {
		before := r.log.len()
		_, err := r.Open(t.Context(), r.ask(oneYes, c.change...))
		hasCode(t, name, err, c.code)
		if r.log.len() != before {
			t.Errorf("%s: %v was recorded", name, r.log.said(before))
		}
	}
	q := r.open(r.ask(oneYes, within, wide, func(a *grant.Ask) { a.Wanted = limits(t, `[{"at":"/to","eq":"prod"}]`) }))
	equal(t, "uses by the ceiling", q.Uses, int64(5))
	q = r.open(grant.Ask{Call: r.ask(oneYes).Call}) // a policy asks, no entitlement
	equal(t, "without an entitlement", []any{q.Rule, q.Life, q.Expires.Sub(noon)}, []any{oneYes, int64(3600), 15 * time.Minute})
}

// TestAutomaticGrantsCoverTheCallThatAsked, although it began before they were
// made, and need nobody.
func TestAutomaticGrantsCoverTheCallThatAsked(t *testing.T) {
	r := newRig(t)
	a := r.ask(grant.Rule{Auto: true})
	a.At = noon.Add(-1500 * time.Microsecond)
	q := r.open(a)
	g := r.grant(q.Grant)
	equal(t, "states", []grant.State{q.State, g.State}, []grant.State{grant.RequestIssued, grant.GrantActive})
	equal(t, "covering", r.covering(func(c *grant.Call) { c.At = a.At }), []string{g.ID})
	equal(t, "quorum", g.Quorum, 0)
	equal(t, "approvals", g.Approvals, []grant.Approval{{By: "auto:deploys", At: noon, Method: "auto"}})
	equal(t, "time", g.Expires, noon.Add(10*time.Minute))
	equal(t, "evidence", r.log.said(0), []string{"open Request", "issue Grant"})
	r.reserve(g.ID)
	equal(t, "covering while it runs", r.covering(), []string{})
	if again := r.open(r.ask(grant.Rule{Auto: true})); again.ID == q.ID {
		t.Error("an issued request is joined")
	}
}

// TestTier3NeedsTwoPeople, whatever the entitlement says.
func TestTier3NeedsTwoPeople(t *testing.T) {
	r := newRig(t)
	for i, c := range []struct{ rule, want grant.Rule }{
		{grant.Rule{Auto: true}, grant.Rule{Quorum: 2}}, {grant.Rule{}, grant.Rule{Quorum: 2}}, {oneYes, grant.Rule{Quorum: 2}},
		{grant.Rule{Quorum: 1, Team: "a"}, grant.Rule{Quorum: 2, Team: "a"}}, {grant.Rule{Quorum: 3}, grant.Rule{Quorum: 3}},
	} {
		q := r.open(r.ask(c.rule, func(a *grant.Ask) { a.Target.Tier, a.Args = 3, args(t, fmt.Sprintf(`{"i":%d}`, i)) }))
		equal(t, fmt.Sprint(c.rule), q.Rule, c.want)
		equal(t, "state", q.State, grant.RequestPending)
	}
	_, err := r.Create(t.Context(), grant.Spec{Party: bot, Target: grant.Target{Server: "ops", Name: "x", Tier: 3}, By: "user:ann"})
	hasCode(t, "by hand", err, access.CodeDenied, "two people")
}

// TestAReasonGivenLaterReachesThePeople: a call opens a request without one. The first
// reason stays, and none is added to what somebody approved.
func TestAReasonGivenLaterReachesThePeople(t *testing.T) {
	r := newRig(t)
	because := func(why string) func(*grant.Ask) { return func(a *grant.Ask) { a.Reason = why } }
	first := r.open(r.ask(oneYes))
	said := len(r.log.said(0))
	for _, c := range []struct{ why, want string }{{"", ""}, {"acme moved", "acme moved"}, {"", "acme moved"}, {"a better story", "acme moved"}} {
		got := r.open(r.ask(oneYes, because(c.why)))
		if kept := r.request(first.ID); got.ID != first.ID || got.Reason != c.want || kept.Reason != c.want {
			t.Errorf("after %q: request %s says %q, kept %q, want %q", c.why, got.ID, got.Reason, kept.Reason, c.want)
		}
	}
	equal(t, "recorded", r.log.said(said), []string{"reason Request"})
	two, other := grant.Rule{Quorum: 2}, func(a *grant.Ask) { a.Args = args(t, `{"to":"prod","n":2}`) }
	half := r.open(r.ask(two, other))
	if _, err := r.Approve(t.Context(), half.ID, grant.Answer{By: "user:ann", Method: "api"}); err != nil {
		t.Fatal(err)
	}
	if got := r.open(r.ask(two, other, because("late"))); got.ID != half.ID || got.Reason != "" {
		t.Errorf("request %s, half approved, says %q", got.ID, got.Reason)
	}
}
