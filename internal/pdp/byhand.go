package pdp

import (
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
)

// ByHand is who must approve a right an operator gives without a request: by the
// strictest entitlement that lets the agent ask for it, and by the policies about
// asking. why says in words that these do not let it be asked for, "" where they do.
func ByHand(s *State, g *grant.Spec, at time.Time) (rule grant.Rule, why string) {
	var found []grant.Entitlement
	for _, e := range s.Entitlements {
		if Reaches(s.View, &e, g.Party.Agent, g.Target, 0) {
			found = append(found, e)
		}
	}
	if len(found) > 0 {
		rule = hardest(found).Approve
	}
	r := access.Request{At: at, Server: g.Target.Server, Kind: g.Target.Kind, Target: g.Target.Name, Method: "tools/call", Unknown: true,
		Who: access.Identity{Actor: access.Actor{Agent: g.Party.Agent, Attested: true}, Subject: access.Subject{Issuer: g.Party.Issuer, ID: g.Party.Subject}, Task: g.Task}}
	f := GatherFacts(s, &r)
	ask := grant.Ask{Scope: grant.ScopeTime, Life: g.Life, Uses: g.Uses}
	seconds, uses := ask.Extent()
	told, _, no := f.whoApproves(s, seconds, uses)
	if no != nil {
		return rule, no.reason
	}
	joined, ok := rule.Join(told)
	if !ok {
		return rule, "more teams must approve it than one approval can have"
	}
	return joined, ""
}
