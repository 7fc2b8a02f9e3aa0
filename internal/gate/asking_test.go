package gate_test

import (
	"slices"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/policy"
)

// TestPoliciesAboutAskingDecideWhatACallOpens: an automatic approval covers the very
// call and says by which policies of which set; what they refuse opens nothing, and
// the verdict names the rule.
func TestPoliciesAboutAskingDecideWhatACallOpens(t *testing.T) {
	o := newOffice(t, grant.Rule{}, policy.Policy{ID: "p", Cedar: `@id("ask.auto") @approve("auto")
permit (principal == Mcp::Agent::"bot", action == Mcp::Action::"request", resource) when { context.uses == 1 };
@id("ask.never") @advice("not this one")
forbid (principal == Mcp::Agent::"other", action == Mcp::Action::"request", resource);`})
	_, dec, err := o.do(call(t, "bot"), fine, nil)
	if err != nil || !dec.Allowed() || dec.Grant == "" {
		t.Fatalf("%+v, %v", dec, err)
	}
	g, _, err := o.grants.Archive().Grant(t.Context(), dec.Grant)
	if err != nil || len(g.Approvals) != 1 || g.Quorum != 0 {
		t.Fatalf("%+v, %v", g, err)
	}
	if a := g.Approvals[0]; a.By != "auto:ask.auto" || a.Set != dec.Set || !slices.Equal(a.Policies, []string{"ask.auto"}) || a.Method != "auto" {
		t.Errorf("approved by %+v, judged with %s", a, dec.Set)
	}
	o.leaves("a call", "intent ", "reserve ", "run ", "settle committed", "outcome ok")
	_, dec, err = o.do(call(t, "other"), fine, nil)
	if err != nil || dec.Outcome != access.Deny || dec.Request != "" || !slices.Contains(dec.Forbids, "ask.never") || !strings.Contains(dec.Help, "not this one") {
		t.Errorf("%+v, %v", dec, err)
	}
	if list, err := o.grants.Archive().Requests(t.Context(), grant.Filter{Agent: "other"}); err != nil || len(list) > 0 {
		t.Errorf("what nobody may ask for opened %+v, %v", list, err)
	}
	o.leaves("a denial", "verdict ")
}
