package pdp_test

import (
	"testing"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// covering finds grants as the broker does: by what they cover.
type covering []grant.Grant

func (l covering) Covering(c *grant.Call) (out []grant.Grant) {
	for _, g := range l {
		if g.Covers(c) {
			out = append(out, g)
		}
	}
	return out
}

// TestNothingWidensAnother: a call passes exactly where the agent may act, for this
// person, under a grant that covers it, and no policy forbids it. Whatever one of the
// four lacks, the other three do not make up for (access.md, invariant 1).
func TestNothingWidensAnother(t *testing.T) {
	ann, bob := access.Subject{Issuer: "https://gw", ID: "ann"}, access.Subject{Issuer: "https://gw", ID: "bob"}
	target := grant.Target{Server: "files", Kind: access.KindTool, Name: "tool_approved", Digest: pin}
	for bits := range 16 {
		agent, subject, right, rule := bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0
		var policies []policy.Policy
		if !rule {
			policies = append(policies, policy.Policy{ID: "p", Cedar: never})
		}
		s := entitled(t, []grant.Entitlement{{ID: "e"}}, policies...)
		if !agent {
			c := s.View.Content()
			for i := range c.Agents {
				c.Agents[i].State = registry.AgentSuspended
			}
			var err error
			if s.View, err = registry.NewView(c); err != nil {
				t.Fatal(err)
			}
		}
		if right {
			s.Grants = covering{aGrant("grt_1", func(g *grant.Grant) {
				g.Party, g.Target, g.Scope = grant.Party{Agent: "bot", Issuer: ann.Issuer, Subject: ann.ID}, target, grant.ScopeTime
			})}
		}
		r := request("tool_approved")
		r.Arguments, r.Who.Subject = arguments(t, `{}`), bob
		if subject {
			r.Who.Subject = ann
		}
		if d := pdp.Decide(s, r); d.Allowed() != (agent && subject && right && rule) {
			t.Errorf("agent %t, person %t, grant %t, policy %t: %+v", agent, subject, right, rule, d)
		}
	}
}
