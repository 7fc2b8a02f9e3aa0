package gate_test

import (
	"fmt"
	"testing"

	"rutile/internal/fact"
	"rutile/internal/pdp"
)

// BenchmarkRates measures what rates add to the decision of one call: found,
// looked up, judged and counted. Without any there is only the decision.
func BenchmarkRates(b *testing.B) {
	for _, n := range []int{0, 1, 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var facts []fact.Fact
			cedar := `forbid (principal, action, resource) when { context.input has a && context.input.a == 7 };`
			for i := range n {
				f := sum()
				f.ID, f.Type, f.Agg = fmt.Sprint("rate_", i), fact.Rate, fact.Agg{Func: fact.Count}
				facts = append(facts, f)
				cedar += fmt.Sprintf("\n@id(\"r%d\") forbid (principal, action in Mcp::Action::\"call\", resource) when { context.facts.rate_%d > 1000000000 };", i, i)
			}
			w := newTill(b, "sqlite", cedar, facts...)
			r := w.request("transfer", `{"amount":3}`)
			b.ReportAllocs()
			for b.Loop() {
				r.Facts = nil
				c, need := pdp.Counting(w.state, r)
				if c != nil {
					r.Facts = w.ledger.Look(b.Context(), w.state.Facts, need, c)
				}
				if d := pdp.Decide(w.state, r); !d.Allowed() {
					b.Fatal(d)
				}
				e, err := w.ledger.Enter(w.state.Facts, c, false)
				if err != nil {
					b.Fatal(err)
				}
				e.End()
			}
		})
	}
}

// BenchmarkLimit measures a call that a limit counts, store and all, beside one
// that nothing counts.
func BenchmarkLimit(b *testing.B) {
	for name, cedar := range map[string]string{"none": `permit (principal, action, resource);`, "one": `forbid (principal, action, resource) when { context.facts.sum > 1000000000000 };`} {
		b.Run(name, func(b *testing.B) {
			w := newTill(b, "sqlite", cedar, sum())
			for b.Loop() {
				if _, ok := w.call("transfer", `{"amount":3}`); !ok {
					b.Fatal("denied")
				}
			}
		})
	}
}
