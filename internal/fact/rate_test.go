package fact_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/fact"
	"rutile/internal/rawjson"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// plain is a store that keeps nothing but the secret, for facts in memory.
type plain struct{ fact.Store }

func (plain) FactSecret(_ context.Context, made func() ([]byte, error)) ([]byte, error) {
	return made()
}
func (plain) Marks(context.Context, string, time.Time, int) ([]fact.Mark, error) { return nil, nil }
func (plain) PruneFacts(context.Context, time.Time) error                        { return nil }

func (plain) Seal(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }
func (plain) Open(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }

func rate(seconds int64) fact.Fact {
	return fact.Fact{ID: "r", Owner: "team", Type: fact.Rate, On: fact.On{Action: "call"}, Seconds: seconds, Key: []string{"agent"}, Agg: fact.Agg{Func: fact.Sum, At: "/n"}, State: fact.Active}
}

func ledger(t testing.TB, now func() time.Time) *fact.Ledger {
	t.Helper()
	l, err := fact.New(t.Context(), plain{}, plain{}, false, now)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func plan(f ...fact.Fact) *fact.Plan {
	all, ids := map[string]fact.Fact{}, []string{}
	for _, f := range f {
		all[f.ID] = f
		ids = append(ids, f.ID)
	}
	return fact.NewPlan(all, ids, ids)
}

func call(t testing.TB, args string) *fact.Call {
	t.Helper()
	v, err := rawjson.Parse([]byte(args), rawjson.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return &fact.Call{Who: access.Identity{Actor: access.Actor{Agent: "a"}}, Server: "s", Kind: access.KindTool, Target: "t", Action: "t", Groups: []string{"call"}, Args: v}
}

// A rate says what a list of every call would: all of the window, up to one step
// more and never less, released calls left out, whatever the order of things and
// the way of the clock.
func TestRatesCountAsAListWould(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		seconds := int64(1 + rnd.IntN(300))
		window, step := time.Duration(seconds)*time.Second, time.Duration(seconds)*time.Second/60
		now := noon
		l := ledger(t, func() time.Time { return now })
		p := plan(rate(seconds))
		type one struct {
			at time.Time
			n  int64
		}
		var list []one
		c := call(t, `{"n":7}`)
		for range 120 {
			e, err := l.Enter(p, c, false)
			if err != nil {
				t.Fatal(err)
			}
			if rnd.IntN(4) == 0 {
				e.Release()
			} else {
				list = append(list, one{now, 7})
			}
			now = now.Add(time.Duration(rnd.Int64N(int64(window) / 20)))
			f := l.Look(t.Context(), p, []string{"r"}, c)
			var least, most int64 = 7, 7
			for _, x := range list {
				if now.Sub(x.at) <= window {
					least += x.n
				}
				if now.Sub(x.at) <= window+step {
					most += x.n
				}
			}
			if got := f.Values["r"]; got.Err != "" || got.Long < least || got.Long > most {
				t.Fatalf("seed %d: a rate of %d s says %+v, want from %d to %d", seed, seconds, got, least, most)
			}
		}
	}
}

// A clock that goes back forgets nothing, and one that jumps ahead ends a window.
func TestRatesSurviveTheClock(t *testing.T) {
	now := noon
	l := ledger(t, func() time.Time { return now })
	p, c := plan(rate(60)), call(t, `{"n":1}`)
	value := func() int64 { return l.Look(t.Context(), p, []string{"r"}, c).Values["r"].Long - 1 }
	enter := func() *fact.Entry {
		e, err := l.Enter(p, c, false)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	enter()
	now = noon.Add(-time.Hour)
	late := enter()
	if value() != 2 {
		t.Errorf("going back forgets: %d", value())
	}
	now = noon.Add(-time.Hour + 30*time.Minute)
	enter()
	if value() != 3 {
		t.Errorf("in the past it does not count: %d", value())
	}
	now = noon.Add(2 * time.Minute)
	if value() != 0 {
		t.Errorf("after the window: %d", value())
	}
	late.Release()
	if err := l.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if value() != 0 {
		t.Errorf("giving back what counts no longer takes from others: %d", value())
	}
}

// No two callers share a counter because their names run together.
func TestCountersAreToldApart(t *testing.T) {
	now := noon
	l := ledger(t, func() time.Time { return now })
	f := rate(60)
	f.Key = []string{"agent", "server", "session", "subject", "task", "tool"}
	p := plan(f)
	seen := map[int]bool{}
	for i, change := range []func(*fact.Call){
		func(*fact.Call) {},
		func(c *fact.Call) { c.Who.Subject.ID = "a" },
		func(c *fact.Call) { c.Who.Subject.Issuer = "a" },
		func(c *fact.Call) { c.Who.Session = "a" },
		func(c *fact.Call) { c.Who.Session = `a","subject":["","a"` },
		func(c *fact.Call) { c.Who.Task = "a" },
		func(c *fact.Call) { c.Server = "a" },
		func(c *fact.Call) { c.Action = "prompts/t" },
	} {
		c := call(t, `{"n":1}`)
		change(c)
		if _, err := l.Enter(p, c, false); err != nil {
			t.Fatal(err)
		}
		if got := l.Look(t.Context(), p, []string{"r"}, c).Values["r"]; got.Long != 2 {
			t.Errorf("caller %d shares a counter: %+v", i, got)
		}
		seen[i] = true
	}
	values, _, err := l.Values(t.Context(), f)
	if err != nil || len(values) != len(seen) {
		t.Errorf("%d counters, %v", len(values), err)
	}
}

// Patterns and groups say which calls a fact is about.
func TestFactsAreAboutWhatTheySay(t *testing.T) {
	base := func() *fact.Call { return call(t, `{"n":1}`) }
	for name, c := range map[string]struct {
		on    fact.On
		about func(*fact.Call)
		want  bool
	}{
		"server":           {fact.On{Server: "s"}, nil, true},
		"another server":   {fact.On{Server: "x"}, nil, false},
		"servers":          {fact.On{Server: "*"}, nil, true},
		"tools":            {fact.On{Server: "s", Tool: "t*"}, nil, true},
		"a tool's middle":  {fact.On{Server: "s", Tool: "a*b*c"}, func(c *fact.Call) { c.Target = "a-b-b-c" }, true},
		"no overlap":       {fact.On{Server: "s", Tool: "ab*bc"}, func(c *fact.Call) { c.Target = "abc" }, false},
		"a prompt":         {fact.On{Server: "s", Tool: "*"}, func(c *fact.Call) { c.Kind = access.KindPrompt }, false},
		"a group":          {fact.On{Action: "call"}, nil, true},
		"another group":    {fact.On{Action: "write"}, nil, false},
		"server and group": {fact.On{Server: "x", Action: "call"}, nil, false},
	} {
		f := rate(60)
		f.On = c.on
		l := ledger(t, func() time.Time { return noon })
		p, k := plan(f), base()
		if c.about != nil {
			c.about(k)
		}
		e, err := l.Enter(p, k, false)
		if err != nil {
			t.Fatal(err)
		}
		if e.Counted() != c.want {
			t.Errorf("%s: counted %v", name, e.Counted())
		}
	}
}
