package grant_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/rawjson"
)

func who(p grant.Party) access.Identity {
	return access.Identity{Subject: access.Subject{Issuer: p.Issuer, ID: p.Subject}, Actor: access.Actor{Agent: p.Agent}}
}

// TestTheTaskOfACall: the token's, the one it names, the only open one; a name
// is never ignored.
func TestTheTaskOfACall(t *testing.T) {
	r := newRig(t)
	none, err := r.TaskOf(who(bot), "", noon)
	equal(t, "without a task", none, "")
	if err != nil {
		t.Error(err)
	}
	one := r.task(bot)
	foreign := r.task(other)
	alone := grant.Party{Agent: "bot"}
	auto := r.task(alone)
	with := func(p grant.Party, task string) access.Identity { i := who(p); i.Task = task; return i }
	type ask struct {
		id    access.Identity
		named string
	}
	check := func(name string, a ask, at time.Time, want string) {
		t.Helper()
		got, err := r.TaskOf(a.id, a.named, at)
		if want == "refused" {
			hasCode(t, name, err, access.CodeDenied)
			want = ""
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	check("the only one", ask{who(bot), ""}, noon, one.ID)
	check("of the agent alone", ask{who(alone), ""}, noon, auto.ID)
	check("named", ask{who(bot), one.ID}, noon, one.ID)
	check("the token's", ask{with(bot, one.ID), ""}, noon, one.ID)
	check("the token's, named", ask{with(bot, one.ID), one.ID}, noon, one.ID)
	check("another than the token's", ask{with(bot, one.ID), "tsk_x"}, noon, "refused")
	check("another party's", ask{who(bot), foreign.ID}, noon, "refused")
	check("another party's by token", ask{with(bot, foreign.ID), ""}, noon, "refused")
	check("the agent's alone by a person", ask{who(bot), auto.ID}, noon, "refused")
	check("none there", ask{who(bot), "tsk_x"}, noon, "refused")
	check("the last instant", ask{who(bot), one.ID}, one.Expires.Add(-1), one.ID)
	check("expired", ask{who(bot), one.ID}, one.Expires, "refused")
	check("expired by token", ask{with(bot, one.ID), ""}, one.Expires, "refused")
	check("expired and unnamed", ask{who(bot), ""}, one.Expires, "")
	two := r.task(bot)
	check("two open", ask{who(bot), ""}, noon, "")
	check("two open, named", ask{who(bot), two.ID}, noon, two.ID)
	if _, err := r.CloseTask(t.Context(), two.ID, bot, "agent:bot", "done"); err != nil {
		t.Fatal(err)
	}
	check("closed", ask{who(bot), two.ID}, noon, "refused")
	check("closed by token", ask{with(bot, two.ID), ""}, noon, "refused")
	check("one left", ask{who(bot), ""}, noon, one.ID)
}

// TestTasksThatAreRefused for what they say and how many there are.
func TestTasksThatAreRefused(t *testing.T) {
	r := newRig(t)
	for name, c := range map[string]struct {
		p    grant.Party
		s    grant.TaskSpec
		code access.Code
	}{
		"nobody":       {grant.Party{Subject: "zoe"}, grant.TaskSpec{Purpose: "x"}, access.CodeUnauthenticated},
		"no purpose":   {bot, grant.TaskSpec{Purpose: " "}, access.CodeInvalid},
		"two lines":    {bot, grant.TaskSpec{Purpose: "a\nb"}, access.CodeInvalid},
		"NUL":          {bot, grant.TaskSpec{Purpose: "a\x00b"}, access.CodeInvalid},
		"not UTF-8":    {bot, grant.TaskSpec{Purpose: "a\xffb"}, access.CodeInvalid},
		"long":         {bot, grant.TaskSpec{Purpose: strings.Repeat("é", 501)}, access.CodeInvalid},
		"long ticket":  {bot, grant.TaskSpec{Purpose: "x", Ticket: strings.Repeat("x", 129)}, access.CodeInvalid},
		"backwards":    {bot, grant.TaskSpec{Purpose: "x", Life: -1}, access.CodeInvalid},
		"short":        {bot, grant.TaskSpec{Purpose: "x", Life: time.Second - 1}, access.CodeInvalid},
		"over a day":   {bot, grant.TaskSpec{Purpose: "x", Life: 24*time.Hour + 1}, access.CodeInvalid},
		"longest days": {bot, grant.TaskSpec{Purpose: "x", Life: 1<<63 - 1}, access.CodeInvalid},
	} {
		_, err := r.OpenTask(t.Context(), c.p, "", "agent:bot", c.s)
		hasCode(t, name, err, c.code)
	}
	equal(t, "evidence", r.log.said(0), []string{})
	var last grant.Task
	for range 16 {
		last = r.task(bot)
	}
	_, err := r.OpenTask(t.Context(), bot, "", "agent:bot", grant.TaskSpec{Purpose: "x"})
	hasCode(t, "the 17th", err, access.CodeConflict, "16 tasks")
	r.task(other)
	r.clock.set(last.Expires)
	r.task(bot) // those whose time is over do not count, swept or not
}

// TestATaskEndsWithAllThatHangsOnIt and with nothing else; its grants never
// outlive it.
func TestATaskEndsWithAllThatHangsOnIt(t *testing.T) {
	r := newRig(t)
	k, beside := r.task(bot), r.task(bot)
	in := func(task string) func(*grant.Ask) {
		return func(a *grant.Ask) { a.Task, a.Scope = task, grant.ScopeTask }
	}
	issued := r.approve(r.open(r.ask(oneYes, in(k.ID))).ID, "user:ann").Grant
	pending := r.open(r.ask(oneYes, in(k.ID)))
	byHand := r.create(func(s *grant.Spec) { s.Task = k.ID }).ID
	kept := r.create(func(s *grant.Spec) { s.Task = beside.ID }).ID
	free, freeAsk := r.create().ID, r.open(r.ask(oneYes))
	call := func(c *grant.Call) { c.Task = k.ID }
	equal(t, "covering", len(r.covering(call)), 3)
	n := r.log.len()
	if _, err := r.CloseTask(t.Context(), k.ID, bot, "agent:bot", "done"); err != nil {
		t.Fatal(err)
	}
	equal(t, "covering after", r.covering(call), []string{free})
	for id, want := range map[string]grant.State{issued: grant.GrantCompleted, byHand: grant.GrantCompleted, kept: grant.GrantActive, free: grant.GrantActive} {
		equal(t, "grant", r.grant(id).State, want)
	}
	equal(t, "requests", []grant.State{r.request(pending.ID).State, r.request(freeAsk.ID).State}, []grant.State{grant.RequestWithdrawn, grant.RequestPending})
	equal(t, "evidence", r.log.said(n), []string{"close Task", "complete Grant", "complete Grant", "withdraw Request"})
	_, err := r.Reserve(t.Context(), issued, "dec_1", rawjson.Value{})
	hasCode(t, "reserving", err, access.CodeConflict)
	_, err = r.Approve(t.Context(), pending.ID, grant.Answer{By: "user:ann"})
	hasCode(t, "approving", err, access.CodeConflict)
	_, err = r.CloseTask(t.Context(), k.ID, bot, "agent:bot", "")
	hasCode(t, "closing again", err, access.CodeConflict, "is closed")
	for name, p := range map[string]grant.Party{"another party": other, "the agent alone": {Agent: "bot"}, "nobody": {}} {
		_, err := r.CloseTask(t.Context(), beside.ID, p, p.Actor(), "")
		hasCode(t, name, err, access.CodeNotFound)
	}
	if _, err := r.CloseTask(t.Context(), beside.ID, grant.Party{}, "user:ann", ""); err != nil {
		t.Errorf("an operator: %v", err)
	}
}

// TestAGrantNeverOutlivesItsTask, however long it was asked for, and when time
// ends the task it is over with it.
func TestAGrantNeverOutlivesItsTask(t *testing.T) {
	r := newRig(t)
	k, err := r.OpenTask(t.Context(), bot, "", "agent:bot", grant.TaskSpec{Purpose: "x", Life: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	in := func(a *grant.Ask) { a.Task, a.Scope = k.ID, grant.ScopeTask }
	r.clock.set(noon.Add(59 * time.Second))
	auto := r.grant(r.open(r.ask(grant.Rule{Auto: true}, in)).Grant)
	hand := r.create(func(s *grant.Spec) { s.Task = k.ID })
	q := r.open(r.ask(oneYes, in, func(a *grant.Ask) { a.Wanted = limits(t, `[{"at":"/n","eq":1}]`) }))
	for name, g := range map[string]grant.Grant{"automatic": auto, "by hand": r.grant(hand.ID)} {
		if g.Expires.After(k.Expires) {
			t.Errorf("%s: until %v, the task until %v", name, g.Expires, k.Expires)
		}
	}
	r.clock.set(k.Expires)
	_, err = r.Approve(t.Context(), q.ID, grant.Answer{By: "user:ann"})
	hasCode(t, "approving", err, access.CodeConflict, "is over")
	_, err = r.Open(t.Context(), r.ask(oneYes, in))
	hasCode(t, "asking", err, access.CodeDenied)
	r.sweep("sha256:1")
	equal(t, "states", []grant.State{r.grant(auto.ID).State, r.grant(hand.ID).State, r.request(q.ID).State},
		[]grant.State{grant.GrantCompleted, grant.GrantCompleted, grant.RequestWithdrawn})
	task, _, err := r.Archive().Task(t.Context(), k.ID)
	if err != nil || task.State != grant.TaskExpired {
		t.Errorf("task %+v, %v", task, err)
	}
}

// TestWhatAnotherNodeLeftInATaskEnds: made there while it was closed here.
func TestWhatAnotherNodeLeftInATaskEnds(t *testing.T) {
	r := newRig(t)
	k := r.task(bot)
	second := r.boot("n2", "boot-2")
	spec := grant.Spec{Party: bot, Target: deploy, Task: k.ID, Life: time.Hour, By: "user:ann"}
	early, err := second.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.CloseTask(t.Context(), k.ID, bot, "agent:bot", ""); err != nil {
		t.Fatal(err)
	}
	equal(t, "made before", r.grant(early.ID).State, grant.GrantCompleted)
	late, err := second.Create(t.Context(), spec) // it has not heard of it
	if err != nil {
		t.Fatal(err)
	}
	waits, err := second.Open(t.Context(), r.ask(oneYes, func(a *grant.Ask) { a.Task = k.ID }))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []*grant.Broker{r.Broker, second} {
		if err := b.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := b.TaskOf(who(bot), k.ID, noon); access.CodeOf(err) != access.CodeDenied {
			t.Errorf("a closed task is that of a call: %v", err)
		}
	}
	r.sweep("sha256:1")
	equal(t, "made after", []grant.State{r.grant(late.ID).State, r.request(waits.ID).State}, []grant.State{grant.GrantCompleted, grant.RequestWithdrawn})
}

// TestClosingIsNotGivenUp because calls take the last uses of its grants at the
// same time.
func TestClosingIsNotGivenUp(t *testing.T) {
	r := newRig(t)
	k := r.task(bot)
	var uses []grant.Use
	for range 3 {
		uses = append(uses, r.reserve(r.create(func(s *grant.Spec) { s.Task, s.Uses = k.ID, 1 }).ID))
	}
	n := 0
	r.store.set(func() {
		r.store.commit = func(grant.Batch) error {
			if n < len(uses) { // a call ends just now
				u := uses[n]
				u.State = grant.UseCommitted
				n++
				if _, err := r.store.SettleUse(t.Context(), u, noon, nil); err != nil {
					return err
				}
			}
			return nil
		}
	})
	if _, err := r.CloseTask(t.Context(), k.ID, bot, "agent:bot", ""); err != nil {
		t.Fatal(err)
	}
	equal(t, "calls that ended meanwhile", n, len(uses))
	for i, u := range uses {
		equal(t, fmt.Sprint("grant ", i), r.grant(u.Grant).State, grant.GrantExhausted)
	}
	equal(t, "open", len(r.OpenTasks(bot)), 0)
}
