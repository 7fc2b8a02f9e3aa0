package grant_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
)

var cents = grant.Budget{Unit: "cent", Amount: 100, Arg: "/n"}

func within(l grant.Limits) func(*grant.Spec) {
	return func(s *grant.Spec) { s.Limits, s.Uses = l, 0 }
}

func taking(t testing.TB, text string) func(*grant.Call) {
	return func(c *grant.Call) { c.Args = args(t, text) }
}

// TestOnlyAWholeAmountIsTaken of a budget: what is missing, below 0, in parts, too
// large or no number at all covers nothing, and reserves nothing.
func TestOnlyAWholeAmountIsTaken(t *testing.T) {
	r := newRig(t)
	g := r.create(within(grant.Limits{Budget: cents}))
	for text, fits := range map[string]bool{
		`{"n":1}`: true, `{"n":0}`: true, `{"n":100}`: true,
		`{"n":101}`: false, `{}`: false, `{"n":null}`: false, `{"n":"5"}`: false, `{"n":-1}`: false, `{"n":-0}`: false, `{"n":1.5}`: false, `{"n":1.0}`: false, `{"n":1e1}`: false,
		`{"n":9223372036854775807}`: false, `{"n":9223372036854775808}`: false, `{"n":18446744073709551617}`: false, `{"n":[1]}`: false, `{"n":{"n":1}}`: false, `{"n":true}`: false,
		`{"N":1}`: false, `{"n":1,"N":500}`: false, `[1]`: false, `{"\u006e":1}`: true,
	} {
		if got := len(r.covering(taking(t, text))) == 1; got != fits {
			t.Errorf("%s covers: %t", text, got)
		}
		u, err := r.Reserve(t.Context(), g.ID, access.NewID(access.PrefixDecision), args(t, text))
		if (err == nil) != fits {
			t.Errorf("%s reserves: %v", text, err)
		}
		if err == nil {
			r.settle(u, grant.UseReleased)
		}
	}
	equal(t, "counts", r.grant(g.ID).Counts.Amount, grant.Tally{})
}

// TestABudgetIsSharedByAllCalls at once, here and on another node.
func TestABudgetIsSharedByAllCalls(t *testing.T) {
	r := newRig(t)
	g := r.create(within(grant.Limits{Budget: grant.Budget{Unit: "cent", Amount: 1000, Arg: "/n"}}))
	second := r.boot("n2", "b")
	var through atomic.Int64
	var fs []func()
	for i := range 200 {
		b := []*grant.Broker{r.Broker, second}[i%2]
		fs = append(fs, func() {
			u, err := b.Reserve(t.Context(), g.ID, fmt.Sprint("dec_", i), args(t, `{"n":50}`))
			if err != nil {
				hasCode(t, "too much", err, access.CodeConflict)
				return
			}
			through.Add(1)
			if err := b.Settle(t.Context(), u, grant.UseCommitted); err != nil {
				t.Error(err)
			}
		})
	}
	together(fs...)
	equal(t, "calls through", through.Load(), int64(20))
	kept := r.grant(g.ID)
	equal(t, "grant", []any{kept.State, kept.Counts.Amount}, []any{grant.GrantExhausted, grant.Tally{Spent: 1000}})
	exhausted := 0
	for _, s := range r.log.said(0) {
		if s == "exhaust Grant" {
			exhausted++
		}
	}
	equal(t, "said to be exhausted", exhausted, 1)
}

// TestABusyGrantIsNotAskedForAnew: who comes too early is told when to come again.
func TestABusyGrantIsNotAskedForAnew(t *testing.T) {
	r := newRig(t)
	g := r.create(within(grant.Limits{Concurrency: 1}))
	c := r.call()
	equal(t, "free", r.Busy(&c), "")
	u := r.reserve(g.ID)
	equal(t, "covering", r.covering(), []string{})
	if why := r.Busy(&c); !strings.Contains(why, "1 call at once") || !strings.Contains(why, "when one has ended") {
		t.Errorf("busy: %q", why)
	}
	equal(t, "the call itself goes on", r.covering(func(c *grant.Call) { c.Use = u.ID }), []string{g.ID})
	r.settle(u, grant.UseCommitted)
	equal(t, "free again", []any{r.Busy(&c), r.covering()}, []any{"", []string{g.ID}})
	if _, err := r.Revoke(t.Context(), g.ID, "user:ann", ""); err != nil {
		t.Fatal(err)
	}
	w := r.create(within(grant.Limits{Window: grant.Window{Uses: 1, Seconds: 60}}))
	r.settle(r.reserve(w.ID), grant.UseCommitted)
	_, err := r.Reserve(t.Context(), w.ID, "dec_w", args(t, `{}`))
	hasCode(t, "full", err, access.CodeConflict)
	if why := r.Busy(&c); !strings.Contains(why, noon.Add(time.Minute).Format(time.RFC3339)) {
		t.Errorf("busy: %q", why)
	}
	equal(t, "covering", r.covering(), []string{})
	at := func(c *grant.Call) { c.At = noon.Add(time.Minute) }
	equal(t, "later", r.covering(at), []string{w.ID})
	equal(t, "nothing would cover it", r.Busy(&grant.Call{Party: other, Target: deploy, At: noon}), "")
}

// TestResultsBeyondTheirBytesAreWithheld, and their use counts.
func TestResultsBeyondTheirBytesAreWithheld(t *testing.T) {
	r := newRig(t)
	g := r.create(within(grant.Limits{BytesOut: 100}))
	a, b := r.reserve(g.ID), r.reserve(g.ID)
	a.Bytes, b.Bytes = 100, 1
	r.settle(a, grant.UseCommitted)
	err := r.Settle(t.Context(), b, grant.UseCommitted)
	hasCode(t, "one byte too many", err, access.CodeDenied, "withheld", "100 in all")
	kept := r.grant(g.ID)
	equal(t, "grant", []any{kept.State, kept.Counts.Bytes, kept.Counts.Spent, kept.Counts.Reserved}, []any{grant.GrantExhausted, int64(101), int64(2), int64(0)})
	equal(t, "covering", r.covering(), []string{})
}

// TestAnIdleGrantEnds: at the instant, not while a call runs, and not while another
// node uses it.
func TestAnIdleGrantEnds(t *testing.T) {
	r := newRig(t)
	g := r.create(within(grant.Limits{Idle: 60}))
	second := r.boot("n2", "b")
	at := func(seconds int) {
		t.Helper()
		r.clock.set(noon.Add(time.Duration(seconds) * time.Second))
		r.sweep("sha256:1")
	}
	call := func(c *grant.Call) { c.At = r.clock.now() }
	at(59)
	u := r.reserve(g.ID)
	at(500)
	equal(t, "while a call runs", r.covering(call), []string{g.ID})
	r.settle(u, grant.UseCommitted)
	at(559)
	other, err := second.Reserve(t.Context(), g.ID, "dec_2", args(t, `{}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Settle(t.Context(), other, grant.UseCommitted); err != nil {
		t.Fatal(err)
	}
	at(560)
	equal(t, "used on another node", r.grant(g.ID).State, grant.GrantActive)
	r.clock.set(noon.Add(619 * time.Second))
	equal(t, "no sweep is needed", r.covering(call), []string{})
	at(619)
	equal(t, "idle", r.grant(g.ID).State, grant.GrantExpired)
	if why := r.grant(g.ID).Why; !strings.Contains(why, "not used for 1m0s") {
		t.Errorf("it says %q", why)
	}
}

// TestLimitsOfARequestAreTheCeilings or narrower, and of one call they are its own.
func TestLimitsOfARequestAreTheCeilings(t *testing.T) {
	r := newRig(t)
	ceiling := grant.Limits{Budget: cents, Concurrency: 2, Window: grant.Window{Uses: 10, Seconds: 60}, BytesOut: 1000, Idle: 60}
	ask := func(want grant.Limits, change ...func(*grant.Ask)) (grant.Request, error) {
		a := r.ask(oneYes, func(a *grant.Ask) {
			a.Entitlement.Ceiling.Limits, a.Limits, a.Scope = ceiling, want, grant.ScopeTime
			for _, f := range change {
				f(a)
			}
		})
		q, err := r.Open(t.Context(), a)
		if err == nil {
			if _, err := r.Deny(t.Context(), q.ID, "user:ann", ""); err != nil {
				t.Fatal(err)
			}
		}
		return q, err
	}
	q, err := ask(grant.Limits{})
	equal(t, "as it is", []any{q.Limits, err}, []any{ceiling, nil})
	narrow := grant.Limits{Budget: grant.Budget{Amount: 5}, Concurrency: 1, Window: grant.Window{Uses: 9, Seconds: 61}, BytesOut: 1, Idle: 1}
	q, err = ask(narrow)
	narrow.Budget = grant.Budget{Unit: "cent", Amount: 5, Arg: "/n"}
	equal(t, "narrower", []any{q.Limits, err}, []any{narrow, nil})
	for name, want := range map[string]grant.Limits{
		"amount": {Budget: grant.Budget{Amount: 101}}, "another argument": {Budget: grant.Budget{Amount: 5, Arg: "/m"}}, "another unit": {Budget: grant.Budget{Amount: 5, Unit: "EUR"}},
		"at once": {Concurrency: 3}, "in a window": {Window: grant.Window{Uses: 11, Seconds: 60}}, "a shorter window": {Window: grant.Window{Uses: 1, Seconds: 59}}, "bytes": {BytesOut: 1001}, "idle": {Idle: 61},
	} {
		_, err := ask(want)
		hasCode(t, name, err, access.CodeDenied)
	}
	for name, want := range map[string]grant.Limits{
		"below 0": {Budget: grant.Budget{Amount: -1}}, "no pointer": {Budget: grant.Budget{Amount: 1, Arg: "n"}}, "at once below 0": {Concurrency: -1}, "half a window": {Window: grant.Window{Uses: 1}},
		"many uses in a window": {Window: grant.Window{Uses: 10_001, Seconds: 60}}, "bytes below 0": {BytesOut: -1}, "idle below 0": {Idle: -1},
	} {
		_, err := ask(want)
		hasCode(t, name, err, access.CodeInvalid)
	}
	once := func(text string) func(*grant.Ask) {
		return func(a *grant.Ask) { a.Scope, a.Args = grant.ScopeOnce, args(t, text) }
	}
	q, err = ask(grant.Limits{}, once(`{"n":7}`))
	equal(t, "one call", []any{q.Limits, q.Uses, err}, []any{grant.Limits{Budget: grant.Budget{Unit: "cent", Amount: 7, Arg: "/n"}, BytesOut: 1000, Idle: 60}, int64(1), nil})
	for _, text := range []string{`{"n":101}`, `{"n":1.5}`, `{}`, `{"n":-1}`} {
		_, err := ask(grant.Limits{}, once(text))
		hasCode(t, text, err, access.CodeDenied)
	}
}

// TestAnAnswerNarrowsLimits and never widens them.
func TestAnAnswerNarrowsLimits(t *testing.T) {
	r := newRig(t)
	q := r.open(r.ask(oneYes, func(a *grant.Ask) {
		a.Entitlement.Ceiling.Limits, a.Scope = grant.Limits{Budget: cents, Concurrency: 2}, grant.ScopeTime
	}))
	for _, l := range []grant.Limits{{Budget: grant.Budget{Amount: 101}}, {Budget: grant.Budget{Amount: -1}}, {Concurrency: 3}, {Budget: grant.Budget{Amount: 1, Arg: "/other"}}} {
		_, err := r.Approve(t.Context(), q.ID, grant.Answer{By: "user:ann", Limits: l})
		hasCode(t, fmt.Sprint(l), err, access.CodeInvalid, "may only narrow")
	}
	q, err := r.Approve(t.Context(), q.ID, grant.Answer{By: "user:ann", Limits: grant.Limits{Budget: grant.Budget{Amount: 40}, Idle: 30}})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "grant", r.grant(q.Grant).Limits, grant.Limits{Budget: grant.Budget{Unit: "cent", Amount: 40, Arg: "/n"}, Concurrency: 2, Idle: 30})
}

// TestWhatAnEarlierStartUsedUpIsSaid: the grant its calls exhausted is in the
// evidence as exhausted.
func TestWhatAnEarlierStartUsedUpIsSaid(t *testing.T) {
	r := newRig(t)
	g, b := r.create(func(s *grant.Spec) { s.Uses = 1 }), r.create(within(grant.Limits{Budget: cents}))
	r.reserve(g.ID)
	if _, err := r.Reserve(t.Context(), b.ID, "dec_b", args(t, `{"n":100}`)); err != nil {
		t.Fatal(err)
	}
	n := r.log.len()
	r.boot("n1", "boot-2")
	equal(t, "evidence", r.log.said(n), []string{"exhaust Grant", "exhaust Grant"})
	equal(t, "states", []grant.State{r.grant(g.ID).State, r.grant(b.ID).State}, []grant.State{grant.GrantExhausted, grant.GrantExhausted})
	r.boot("n1", "boot-3")
	equal(t, "once", len(r.log.said(n)), 2)
}
