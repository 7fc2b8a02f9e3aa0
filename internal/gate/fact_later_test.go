package gate_test

import (
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/fact"
)

// A call that is limited is told when it passes: not a moment before, and then it
// does.
func TestALimitedCallIsToldWhenItPasses(t *testing.T) {
	count := sum()
	count.Agg = fact.Agg{Func: fact.Count}
	rate, money, spread := count, sum(), sum()
	rate.ID, rate.Type, rate.Seconds = "sum", fact.Rate, 60
	spread.Agg = fact.Agg{Func: fact.Distinct, At: "/to"}
	for name, c := range map[string]struct {
		fact  fact.Fact
		above string
		calls []string
		last  string
	}{
		"rate":     {rate, "2", []string{`{}`, `{}`}, `{}`},
		"count":    {count, "2", []string{`{}`, `{}`}, `{}`},
		"sum":      {money, "5000", []string{`{"amount":1000}`, `{"amount":3000}`, `{"amount":1000}`}, `{"amount":2500}`},
		"distinct": {spread, "2", []string{`{"to":"a"}`, `{"to":"b"}`, `{"to":"a"}`}, `{"to":"c"}`},
	} {
		onBoth(t, func(t *testing.T, dialect string) {
			w := newTill(t, dialect, `@outcome("rate_limit") @fact("sum") forbid (principal, action, resource) when { context.facts.sum > `+c.above+` };`, c.fact)
			for _, args := range c.calls {
				if _, ok := w.call("transfer", args); !ok {
					t.Fatalf("%s: %s is denied", name, args)
				}
				w.clock.Add(int64(7*time.Second + 300*time.Millisecond))
			}
			dec, ok := w.call("transfer", c.last)
			if ok || dec.Outcome != access.RateLimit || dec.RetryAfter <= 0 || dec.RetryAfter > 2*time.Hour {
				t.Fatalf("%s: %+v", name, dec)
			}
			began := w.clock.Load()
			w.clock.Store(began + int64(dec.RetryAfter) - int64(time.Millisecond))
			if dec, ok := w.call("transfer", c.last); ok || dec.RetryAfter <= 0 {
				t.Errorf("%s: before its time it passes: %v, %+v", name, ok, dec)
			}
			w.clock.Store(began + int64(dec.RetryAfter))
			if _, ok := w.call("transfer", c.last); !ok {
				t.Errorf("%s: after %s it does not pass", name, dec.RetryAfter)
			}
		})
	}
}

// Where no wait helps, none is told.
func TestAHopelessCallIsToldNoTime(t *testing.T) {
	w := newTill(t, "sqlite", `@outcome("rate_limit") @fact("sum") forbid (principal, action, resource) when { context.facts.sum > 5000 };`, sum())
	w.call("transfer", `{"amount":1}`)
	if dec, ok := w.call("transfer", `{"amount":6000}`); ok || dec.Outcome != access.RateLimit || dec.RetryAfter != 0 {
		t.Errorf("%+v", dec)
	}
}
