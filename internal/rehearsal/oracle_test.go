package rehearsal_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/pdp"
	"rutile/internal/rehearsal"
)

// oracles are rules by whose verdicts an argument could be searched for.
var oracles = map[string]string{
	"denies by it": "kind: Policy\nid: probe\ncedar: |\n  forbid (principal, action in Mcp::Action::\"call\", resource)\n" +
		"  when { context.input has path && context.input.path like \"/s*\" };\n",
	"derives from it": "kind: Policy\nid: probe\ncedar: |\n  forbid (principal, action == Mcp::Action::\"files/read\", resource)\n" +
		"  when { context.derived.path_canon.path == \"/secret\" };\n",
	"masks by it": "kind: Policy\nid: probe\ncedar: |\n  @outcome(\"mask\") @mask(\"args/none\") forbid (principal, action in Mcp::Action::\"call\", resource)\n" +
		"  when { context.input has path && context.input.path like \"/s*\" };\n",
	"asks by it": "kind: Policy\nid: probe\ncedar: |\n  @outcome(\"require_approval\") forbid (principal, action in Mcp::Action::\"call\", resource)\n" +
		"  when { context.input has path && context.input.path like \"/s*\" };\n",
	"denies or asks by it": "kind: Policy\nid: probe\ncedar: |\n  @outcome(\"require_approval\") forbid (principal, action in Mcp::Action::\"call\", resource);\n" +
		"  forbid (principal, action in Mcp::Action::\"call\", resource) when { context.input has path && context.input.path like \"/s*\" };\n",
	"measures it": "kind: Policy\nid: probe\ncedar: |\n  forbid (principal, action in Mcp::Action::\"call\", resource) when { context.derived.call_bytes > 17 };\n",
}

// simulated is what one call with these arguments makes of a draft, for who may read
// arguments or not.
func (r *rig) simulated(text, args string, sealed bool) rehearsal.Report {
	r.Helper()
	s := r.stage()
	if _, err := s.Start(r.Context(), "user:ann", func(context.Context) (*pdp.State, error) { return r.candidate(text), nil }, time.Hour, sealed); err != nil {
		r.Fatal(err)
	}
	r.observed(s, "bot", "read", args)
	got := *s.Stop(sealed).Report
	got.Since, got.Until = time.Time{}, time.Time{}
	for i := range got.Groups {
		got.Groups[i].First, got.Groups[i].Last, got.Groups[i].Examples = time.Time{}, time.Time{}, nil
	}
	return got
}

// TestASimulationIsNoOracle: whatever the rules of a draft look for, who may not read
// arguments gets the same report of calls that differ in nothing else.
func TestASimulationIsNoOracle(t *testing.T) {
	for name, text := range oracles {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			one, other := r.simulated(text, `{"path":"/secret"}`, false), r.simulated(text, `{"path":"/pub"}`, false)
			if d := cmp.Diff(one, other); d != "" {
				t.Errorf("the reports tell the argument:\n%s", d)
			}
			if one.Looked != 1 || one.Depends != 1 {
				t.Errorf("%s", counts(one))
			}
			if one, other := r.simulated(text, `{"path":"/secret"}`, true), r.simulated(text, `{"path":"/pub"}`, true); cmp.Equal(one, other) {
				t.Errorf("who may read them does not get verdicts: %s", counts(one))
			}
		})
	}
}

// What was counted of arguments tells of them as well, and what does not depend on
// either is judged for everybody.
func TestASimulationTellsNoCounterAndJudgesTheRest(t *testing.T) {
	r := newRig(t)
	r.apply("kind: Fact\nid: sum\nowner: team\ntype: rate\non: {action: call}\nwindow: 1m\nkey: [agent]\nagg: sum(/n)\n")
	const reads = "kind: Policy\nid: probe\ncedar: |\n  forbid (principal, action in Mcp::Action::\"call\", resource) when { context.facts.sum > 5 };\n"
	of := func(text string, sum int64) rehearsal.Report {
		s := r.stage()
		if _, err := s.Start(t.Context(), "user:ann", func(context.Context) (*pdp.State, error) { return r.candidate(text), nil }, time.Hour, false); err != nil {
			t.Fatal(err)
		}
		q := r.request("bot", "read", `{"n":1}`)
		q.Facts = &access.Facts{Values: map[string]access.FactValue{"sum": {Long: sum}}}
		d := pdp.Decide(r.State(), q)
		s.Observe(q, &d)
		return *s.Stop(false).Report
	}
	for _, sum := range []int64{1, 9} {
		if got := of(reads, sum); got.Depends != 1 {
			t.Errorf("a sum of %d: %s", sum, counts(got))
		}
	}
	if got := of("kind: Policy\nid: probe\ncedar: |\n  forbid (principal, action == Mcp::Action::\"files/read\", resource);\n", 1); got.NewlyDenied != 1 {
		t.Errorf("a rule that reads no argument: %s", counts(got))
	}
}

// A simulation of somebody who may read arguments shows who may not how much would
// change, not what.
func TestOthersSeeCountsOfASealedSimulation(t *testing.T) {
	r := newRig(t)
	s := r.stage()
	r.start(s, oracles["denies by it"])
	r.observed(s, "bot", "read", `{"path":"/secret"}`)
	whole := s.Stop(true).Report
	if len(whole.Groups) != 1 {
		t.Fatalf("%s", counts(*whole))
	}
	if got := s.Status(false).Report; got.NewlyDenied != 1 || len(got.Groups) != 0 || got.More != 1 || len(got.Erring) != 0 {
		t.Errorf("%+v", got)
	}
}
