package gate_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"rutile/internal/access"
	"rutile/internal/fact"
)

// beside is another node on the same database.
func (w *till) beside(node string) *till {
	w.t.Helper()
	state := *w.state
	o := &till{t: w.t, cfg: w.cfg, log: &leaves{}, state: &state, node: node}
	o.start()
	w.t.Cleanup(func() { _ = o.store.Close() })
	return o
}

// TestARateIsOfItsNodeAndALimitOfAll is decision 0082: of two nodes on one database a
// limit lets through what the rule says, and a rate at most that of each.
func TestARateIsOfItsNodeAndALimitOfAll(t *testing.T) {
	for _, tt := range []struct {
		of   fact.Type
		most int64
	}{{fact.Limit, 5}, {fact.Rate, 10}} {
		t.Run(string(tt.of), func(t *testing.T) {
			f := sum()
			f.Type, f.Agg = tt.of, fact.Agg{Func: fact.Count}
			one := newTill(t, "postgres", `forbid (principal, action in Mcp::Action::"call", resource) when { context.facts.sum > 5 };`, f)
			two := one.beside("n2")
			var ran atomic.Int64
			var wg sync.WaitGroup
			for i := range 24 {
				wg.Go(func() {
					if _, ok := []*till{one, two}[i%2].call("transfer", `{}`); ok {
						ran.Add(1)
					}
				})
			}
			wg.Wait()
			if ran.Load() != tt.most {
				t.Errorf("%d calls ran, want %d", ran.Load(), tt.most)
			}
		})
	}
}

// TestMoneyWithAFractionIsCountedInHundredths: nothing is rounded.
func TestMoneyWithAFractionIsCountedInHundredths(t *testing.T) {
	f := sum()
	f.Agg.Func = fact.Hundredths
	w := newTill(t, "sqlite", perHour, f) // 50.00
	for _, step := range []struct {
		args string
		ok   bool
	}{
		{`{"amount":20.5}`, true}, {`{"amount":20}`, true}, {`{"amount":9.51}`, false}, {`{"amount":9.50}`, true}, {`{"amount":0.01}`, false},
	} {
		if _, ok := w.call("transfer", step.args); ok != step.ok {
			t.Errorf("%s: runs %t", step.args, ok)
		}
	}
	if list, _, err := w.ledger.Values(t.Context(), f); err != nil || len(list) != 1 || list[0].Total != 5000 {
		t.Errorf("the counter is %+v, %v", list, err)
	}
	w = newTill(t, "sqlite", perHour, f)
	for _, args := range []string{`{"amount":0.001}`, `{"amount":1e1}`, `{"amount":1.5e1}`, `{"amount":-0.01}`, `{"amount":-0.00}`, `{"amount":"1.5"}`, `{"amount":90071992547409.92}`, `{"amount":99999999999999999999}`, `{}`} {
		if dec, ok := w.call("transfer", args); ok || dec.Class != access.ClassArguments {
			t.Errorf("%s: %+v", args, dec)
		}
	}
}
