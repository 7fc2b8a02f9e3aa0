package fact_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/fact"
)

// A rate of different values says what a list of every call would, up to one step
// more and never less. A value whose call was given back may count for longer where
// it was seen again meanwhile, and is never forgotten before its time.
func TestDistinctRatesCountAsAListWould(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		seconds := int64(1 + rnd.IntN(300))
		window, step := time.Duration(seconds)*time.Second, time.Duration(seconds)*time.Second/60
		now := noon
		l := ledger(t, func() time.Time { return now })
		f := rate(seconds)
		f.Agg = fact.Agg{Func: fact.Distinct, At: "/to"}
		p := plan(f)
		type one struct {
			at       time.Time
			to       int
			released bool
		}
		var list []one
		for range 150 {
			to := rnd.IntN(8)
			e, err := l.Enter(p, call(t, fmt.Sprintf(`{"to":"%d"}`, to)), false)
			if err != nil {
				t.Fatal(err)
			}
			x := one{now, to, rnd.IntN(4) == 0}
			if x.released {
				e.Release()
			}
			list = append(list, x)
			now = now.Add(time.Duration(rnd.Int64N(int64(window) / 20)))
			ask := rnd.IntN(8)
			least, most := map[int]bool{ask: true}, map[int]bool{ask: true}
			for _, x := range list {
				if !x.released && now.Sub(x.at) <= window {
					least[x.to] = true
				}
				if now.Sub(x.at) <= window+step {
					most[x.to] = true
				}
			}
			got := l.Look(t.Context(), p, []string{"r"}, call(t, fmt.Sprintf(`{"to":"%d"}`, ask))).Values["r"]
			if got.Err != "" || got.Long < int64(len(least)) || got.Long > int64(len(most)) {
				t.Fatalf("seed %d: a rate of %d s says %+v, want from %d to %d", seed, seconds, got, len(least), len(most))
			}
		}
	}
}

// The steps in which a rate of different values goes down leave the value of the
// call that waits out: it counts anyway.
func TestDistinctRatesSayWhenTheyGoDown(t *testing.T) {
	now := noon
	l := ledger(t, func() time.Time { return now })
	f := rate(60)
	f.Agg = fact.Agg{Func: fact.Distinct, At: "/to"}
	p := plan(f)
	for _, to := range []string{"a", "b", "c"} {
		if _, err := l.Enter(p, call(t, `{"to":"`+to+`"}`), false); err != nil {
			t.Fatal(err)
		}
		now = now.Add(10 * time.Second)
	}
	for to, want := range map[string][]int64{"a": {2, 1}, "d": {3, 2, 1}} {
		var got []int64
		for _, s := range l.Later(t.Context(), p, "r", call(t, `{"to":"`+to+`"}`)) {
			got = append(got, s.Value)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("for %s it goes down to %v, want %v", to, got, want)
		}
	}
}

// by is a call of an agent in a session.
func by(t *testing.T, agent, session, args string) *fact.Call {
	t.Helper()
	c := call(t, args)
	c.Who = access.Identity{Actor: access.Actor{Agent: agent}, Session: session}
	return c
}

// An agent that makes up sessions, or values, fills its own tenth of a rate and then
// is denied; every session has a counter of its own, and the others go on.
func TestAnAgentFillsItsOwnShareOfARate(t *testing.T) {
	now := noon
	l := ledger(t, func() time.Time { return now })
	sessions, values := rate(60), rate(60)
	sessions.ID, sessions.Key, sessions.Agg = "s", []string{"session"}, fact.Agg{Func: fact.Count}
	values.ID, values.Key, values.Agg = "v", []string{"server"}, fact.Agg{Func: fact.Distinct, At: "/to"}
	for name, tt := range map[string]struct {
		p    *fact.Plan
		call func(agent string, i int) *fact.Call
		most int
	}{
		"sessions": {plan(sessions), func(agent string, i int) *fact.Call { return by(t, agent, fmt.Sprint(agent, i), `{}`) }, 10_000},
		"values":   {plan(values), func(agent string, i int) *fact.Call { return by(t, agent, "s", fmt.Sprintf(`{"to":"%s%d"}`, agent, i)) }, 100_000},
	} {
		t.Run(name, func(t *testing.T) {
			now = noon
			for i := range tt.most {
				if _, err := l.Enter(tt.p, tt.call("evil", i), false); err != nil {
					t.Fatalf("call %d: %v", i, err)
				}
			}
			if _, err := l.Enter(tt.p, tt.call("evil", tt.most), false); access.CodeOf(err) != access.CodeDenied {
				t.Errorf("one more: %v", err)
			}
			if _, err := l.Enter(tt.p, tt.call("evil", 1), false); err != nil {
				t.Errorf("what is counted already: %v", err)
			}
			if _, err := l.Enter(tt.p, tt.call("good", 1), false); err != nil {
				t.Errorf("another agent: %v", err)
			}
			now = now.Add(2 * time.Minute)
			if _, err := l.Enter(tt.p, tt.call("evil", tt.most), false); err != nil {
				t.Errorf("after the window: %v", err)
			}
		})
	}
	if v := l.Look(t.Context(), plan(sessions), []string{"s"}, by(t, "evil", "new", `{}`)).Values["s"]; v.Long != 1 {
		t.Errorf("a new session begins at %+v", v)
	}
}

// remembering is a store that keeps marks.
type remembering struct {
	plain
	kept []fact.Mark
}

func (r *remembering) PutMark(_ context.Context, m fact.Mark) error {
	r.kept = append(r.kept, m)
	return nil
}

func (r *remembering) Marks(context.Context, string, time.Time, int) ([]fact.Mark, error) {
	return r.kept, nil
}

// An agent that does ever new things to be remembered is denied once its share is
// full, also after a restart, rather than have something forgotten that a rule may
// forbid because of. Calls that are under way count, those that fail leave nothing.
func TestWhatAnAgentLetsBeRememberedIsBounded(t *testing.T) {
	now := noon
	store := &remembering{}
	open := func() *fact.Ledger {
		l, err := fact.New(t.Context(), store, plain{}, false, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	p := plan(fact.Fact{ID: "paid", Owner: "team", Type: fact.Prior, On: fact.On{Action: "call"}, Seconds: 60, Key: []string{"server"}, Bind: []fact.Bind{{Earlier: "/to", Now: "/to"}}, State: fact.Active})
	l := open()
	enter := func(agent string, i int) (*fact.Entry, error) {
		return l.Enter(p, by(t, agent, "s", fmt.Sprintf(`{"to":%d}`, i)), false)
	}
	const most = 10_000
	var flying []*fact.Entry
	for i := range most {
		e, err := enter("evil", i)
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		if i%2 == 0 {
			flying = append(flying, e)
			continue
		}
		if err := e.Done(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.End()
	}
	denied := func(when string) {
		t.Helper()
		if _, err := enter("evil", 2*most); access.CodeOf(err) != access.CodeDenied {
			t.Errorf("%s: %v", when, err)
		}
		if _, err := enter("evil", 1); err != nil {
			t.Errorf("%s, what is remembered already: %v", when, err)
		}
		e, err := enter("good", most+1)
		if err != nil {
			t.Errorf("%s, another agent: %v", when, err)
			return
		}
		e.End()
	}
	denied("with calls under way")
	for i, e := range flying {
		if i > 0 {
			_ = e.Done(t.Context())
		}
		e.End()
	}
	e, err := enter("evil", most) // the one that failed left its room
	if err != nil {
		t.Fatal(err)
	}
	_ = e.Done(t.Context())
	e.End()
	denied("with none")
	l = open()
	if _, err := enter("evil", most+7); access.CodeOf(err) != access.CodeDenied {
		t.Errorf("after a restart: %v", err)
	}
	now = now.Add(2 * time.Minute)
	if _, err := enter("evil", most+7); err != nil {
		t.Errorf("after its time: %v", err)
	}
}
