package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/policy"
)

func TestCoverageCountsCasesThatMatch(t *testing.T) {
	const tests = `kind: PolicyTest
given: {agent: {id: bot, tools: ["s/*"]}, tool: {classes: [read]}}
cases:
  - name: permitted, and listed in the same case
    when: {server: s, tool: t, arguments: {n: 1}}
    then: {outcome: permit, listed: true}
  - name: forbidden
    when: {server: s, tool: t, arguments: {n: 9}}
    then: {outcome: deny}
  - name: wrong, and yet it matched
    when: {server: s, tool: t, arguments: {n: 9}}
    then: {outcome: permit}
  - name: an error is no match
    when: {server: s, tool: t, arguments: {n: 9.00001}}
    then: {outcome: deny}
  - name: only listed
    when: {server: s, tool: u}
    then: {listed: true}
`
	ps := []policy.Policy{
		{ID: "b", File: "b.yaml", Line: 7, Cedar: `permit (principal, action, resource);
forbid (principal, action == Mcp::Action::"s/t", resource) when { context.input.n > 5 };
forbid (principal, action == Mcp::Action::"s/t", resource) when { context.input.n > 50 };`},
		{ID: "a", Cedar: `permit (principal == Mcp::Agent::"other", action, resource);`},
	}
	report := policy.RunTests(t.Context(), []policy.TestFile{{Path: "t.yaml", Text: tests}}, ps, policy.Catalog{Servers: []policy.ServerInfo{{ID: "s"}}})
	want := []policy.Covered{
		{ID: "a", Policy: "a", Line: 1},
		{ID: "b.1", Policy: "b", File: "b.yaml", Line: 7, Cases: 5},
		{ID: "b.2", Policy: "b", File: "b.yaml", Line: 8, Cases: 2},
		{ID: "b.3", Policy: "b", File: "b.yaml", Line: 9},
	}
	if diff := cmp.Diff(want, report.Coverage); diff != "" {
		t.Errorf("(-want +got):\n%s\n%+v", diff, report)
	}
	if diff := cmp.Diff([]policy.Covered{want[3]}, report.Uncovered(ps[:1])); diff != "" {
		t.Errorf("of one policy (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]policy.Covered{want[0], want[3]}, report.Uncovered(ps)); diff != "" {
		t.Errorf("of all (-want +got):\n%s", diff)
	}
}

// What no test could try is not covered.
func TestNothingIsCoveredWithoutTests(t *testing.T) {
	ps := []policy.Policy{{ID: "p", Cedar: `permit (principal, action, resource);`}}
	report := policy.RunTests(t.Context(), []policy.TestFile{{Path: "t.yaml", Text: "kind: PolicyTest\ncases: []\n"}}, ps, policy.Catalog{})
	if got := report.Uncovered(ps); len(got) != 1 || got[0].ID != "p" || report.Coverage != nil {
		t.Errorf("%+v, %+v", got, report)
	}
}
