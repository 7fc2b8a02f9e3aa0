package policy_test

import (
	"slices"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/policy"
)

// sink is a query for a call that changes and sends something.
func sink(t *testing.T, touched *access.Touched) *policy.Query {
	t.Helper()
	q := query(t, "bot", "github", "create_issue", `{"repo":"a"}`, "write", "egress")
	q.Touched = touched
	return q
}

func setOf(t *testing.T, cedar string) *policy.Set {
	t.Helper()
	set, err := policy.Compile([]policy.Policy{{ID: "p", Cedar: `permit (principal, action, resource);` + cedar}}, issues())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// The baseline's rules about flows: what each needs, what it comes to, and that an
// approval of this very call, and nothing less, is what those that ask want.
func TestBaselineFlowRules(t *testing.T) {
	set := setOf(t, "")
	yes, no, review := access.FactValue{Bool: true}, access.FactValue{Set: []string{"no"}}, access.FactValue{Set: []string{"review"}}
	for name, tt := range map[string]struct {
		flow          map[string]access.FactValue
		taint, labels []string
		want          access.Outcome
		by            string
	}{
		"nothing":              {want: access.Permit},
		"only read":            {taint: []string{"untrusted"}, labels: []string{"source:crm"}, want: access.Permit},
		"toxic":                {taint: []string{"untrusted"}, labels: []string{"secret"}, want: access.Deny, by: "toxic-flow"},
		"secret alone":         {labels: []string{"secret"}, want: access.Permit},
		"untrusted recipient":  {flow: map[string]access.FactValue{policy.FactFlowRecipient: yes}, want: access.RequireApproval, by: "flow-recipient-untrusted"},
		"an order":             {flow: map[string]access.FactValue{policy.FactFlowOrdered: yes}, want: access.RequireApproval, by: "flow-recipient-untrusted"},
		"hostile source":       {flow: map[string]access.FactValue{policy.FactFlowRecipient: yes, policy.FactFlowSourceFinding: review}, want: access.Deny, by: "flow-hostile-source"},
		"carried from hostile": {flow: map[string]access.FactValue{policy.FactFlowCarried: yes, policy.FactFlowSourceFinding: review}, want: access.Deny, by: "flow-hostile-source"},
		"carried":              {flow: map[string]access.FactValue{policy.FactFlowCarried: yes}, want: access.Permit},
		"private to untrusted": {flow: map[string]access.FactValue{policy.FactFlowRecipient: yes, policy.FactFlowContent: {Set: []string{"pii"}}}, want: access.Deny, by: "flow-private"},
		"scope to untrusted":   {flow: map[string]access.FactValue{policy.FactFlowRecipient: yes, policy.FactFlowContent: {Set: []string{"source:crm"}}}, want: access.RequireApproval, by: "flow-recipient-untrusted"},
		"not asked":            {flow: map[string]access.FactValue{policy.FactFlowRecipient: yes, policy.FactFlowActionAsked: no}, want: access.Deny, by: "flow-not-asked"},
		"replaced":             {flow: map[string]access.FactValue{policy.FactFlowOrdered: yes, policy.FactFlowReplaced: yes}, want: access.Deny, by: "flow-recipient-replaced"},
		"off task":             {flow: map[string]access.FactValue{policy.FactFlowTainted: review, policy.FactFlowActionAsked: no, policy.FactFlowAsked: no}, want: access.Deny, by: "flow-off-task"},
		"forgotten":            {flow: map[string]access.FactValue{policy.FactFlowLost: yes}, want: access.RequireApproval, by: "flow-forgotten"},
		"private out": {flow: map[string]access.FactValue{policy.FactFlowContent: {Set: []string{"source:crm"}}, policy.FactFlowNovel: yes, policy.FactFlowAsked: no, policy.FactFlowActionAsked: no},
			want: access.RequireApproval, by: "flow-private-new"},
	} {
		v := set.Evaluate(sink(t, &access.Touched{Taint: tt.taint, Labels: tt.labels, Flow: tt.flow}))
		by := ""
		for _, id := range v.Forbids {
			if short := strings.TrimPrefix(id, "baseline."); short == tt.by {
				by = short
			}
		}
		if v.Outcome != tt.want || by != tt.by || len(v.Errors) > 0 {
			t.Errorf("%s: %v by %v, errors %v", name, v.Outcome, v.Forbids, v.Errors)
		}
		for bound, want := range map[bool]access.Outcome{true: access.Permit, false: access.RequireApproval} {
			if tt.want != access.RequireApproval {
				break
			}
			q := sink(t, &access.Touched{Taint: tt.taint, Labels: tt.labels, Flow: tt.flow})
			q.Grant = &policy.GrantFacts{ID: "g", Remaining: 1, ArgsBound: bound, ExpiresAt: now.AddDate(1, 0, 0)}
			if v := set.Evaluate(q); v.Outcome != want {
				t.Errorf("%s with a grant that is bound: %t, %v", name, bound, v.Outcome)
			}
		}
	}
}

// What a session has touched is not known of lists: a rule that reads it neither hides
// nor shows for certain, and the baseline's hide nothing. What cannot be read denies.
func TestTouchedIsUnknownInLists(t *testing.T) {
	for rule, want := range map[string]bool{"": false, `forbid (principal, action, resource) when { context.session.taint.contains("untrusted") };`: true,
		`forbid (principal, action, resource) when { context.session.bound };`: false, `forbid (principal, action, resource) when { context.facts.flow_lost };`: true} {
		set := setOf(t, rule)
		q := sink(t, nil)
		q.Unknown = true
		if v := set.Evaluate(q); v.Maybe != want || v.Outcome == access.Permit == want {
			t.Errorf("%s: %v, maybe %t", rule, v.Outcome, v.Maybe)
		}
		if v := set.Evaluate(sink(t, &access.Touched{Err: "the store is gone"})); v.Outcome != access.Deny || !slices.Contains(v.Errors, "baseline.toxic-flow") {
			t.Errorf("%s: what cannot be read gives %v %v", rule, v.Outcome, v.Errors)
		}
	}
}

// Tests, simulations and explanations say what a session has touched.
func TestPolicyTestsSayWhatWasTouched(t *testing.T) {
	text := `kind: PolicyTest
given:
  agent: {id: bot}
  tool: {classes: [egress]}
cases:
  - name: nothing touched
    when: {server: s, tool: send}
    then: {outcome: permit, listed: true}
  - name: toxic
    given: {session: {taint: [untrusted], labels: [secret]}}
    when: {server: s, tool: send}
    then: {outcome: deny, by: [baseline.toxic-flow], listed: true}
  - name: a page names the recipient
    given: {facts: {flow_recipient_untrusted: true}}
    when: {server: s, tool: send}
    then: {outcome: require_approval, by: [baseline.flow-recipient-untrusted]}
`
	report := policy.RunTests(t.Context(), []policy.TestFile{{Path: "t.yaml", Text: text}}, []policy.Policy{{ID: "p", Cedar: `permit (principal, action, resource);`}}, policy.Catalog{})
	if len(report.Errors) > 0 || len(report.Tests) != 3 {
		t.Fatal(report.Errors, report.Tests)
	}
	for _, r := range report.Tests {
		if !r.OK {
			t.Errorf("%s: %s", r.Name, r.Message)
		}
	}
	x := setOf(t, "").Explain(sink(t, &access.Touched{Taint: []string{"untrusted"}, Labels: []string{"secret"}}))
	if len(x.Flip) != 1 || x.Flip[0] != "the session has touched nothing" {
		t.Errorf("it would be permitted if %q", x.Flip)
	}
}
