package pdp_test

import (
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/policy"
)

// What nobody can approve is denied in words that do not say to wait, is not
// shown as what may be had, and no grant covers it.
func TestWhatNobodyCanApproveIsDenied(t *testing.T) {
	const asked = `permit (principal, action, resource); @advice("wait for ann") @outcome("require_approval") forbid (principal, action, resource) unless { context has grant };`
	s := entitled(t, nil, policy.Policy{ID: "p", Cedar: asked})
	for name, tt := range map[string]struct {
		change func(*access.Request)
		ok     bool
		help   string
	}{
		"a call": {func(*access.Request) {}, true, "wait for ann"},
		"a resource": {func(r *access.Request) {
			r.Kind, r.Target, r.Method = access.KindResource, "test://a", "resources/read"
		}, true, "wait for ann"},
		"sampling": {func(r *access.Request) {
			r.Kind, r.Target, r.Method = access.KindAsk, "sampling", "sampling/createMessage"
		}, false, "have policy permit it"},
		"elicitation": {func(r *access.Request) {
			r.Kind, r.Target, r.Method = access.KindAsk, "elicitation", "elicitation/create"
		}, false, "have policy permit it"},
		"roots":             {func(r *access.Request) { r.Kind, r.Target, r.Method = access.KindAsk, "roots", "roots/list" }, false, "have policy permit it"},
		"a list":            {func(r *access.Request) { r.Kind, r.Target, r.Method = access.KindServer, "", "tools/list" }, false, "have policy permit it"},
		"a completion":      {func(r *access.Request) { r.Look = true }, false, "without"},
		"one of a resource": {func(r *access.Request) { r.Kind, r.Target, r.Look = access.KindResource, "test://a", true }, false, "without"},
	} {
		t.Run(name, func(t *testing.T) {
			r := request("tool_approved")
			tt.change(r)
			want := map[bool]access.Outcome{true: access.RequireApproval, false: access.Deny}[tt.ok]
			s.Grants = nil
			d := pdp.Decide(s, r)
			if d.Outcome != want || d.Class != access.ClassApproval || !strings.HasSuffix(d.Help, tt.help) || d.Allowed() {
				t.Errorf("decided %+v", d)
			}
			if !tt.ok && (strings.Contains(d.Help, "ann") || !strings.Contains(d.Help, "waiting will not help") || !strings.Contains(d.Reason, "asks for an approval")) {
				t.Errorf("it says %q, %q", d.Reason, d.Help)
			}
			if pdp.Visible(s, r) != tt.ok {
				t.Errorf("shown is %v", !tt.ok)
			}
			s.Grants = given{aGrant("grt_1", func(g *grant.Grant) { g.Quorum = 2 })}
			if d := pdp.Decide(s, r); d.Allowed() != tt.ok {
				t.Errorf("under a grant: %+v", d)
			}
		})
	}
}
