package pdp

import (
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/policy"
)

// Breakable says in words why one person alone cannot take a right for an agent, ""
// where it can be: what the agent, the server, the definition or a rule forbids stays
// forbidden, and a rule that wants to see more than one person sees one
// (access.md 3.5-3.8). Arguments are judged when a call is made.
func Breakable(s *State, e *grant.Emergency, at time.Time) string {
	if s == nil || s.View == nil || s.Set == nil {
		return "the gateway has nothing to decide on"
	}
	r := access.Request{At: at, Server: e.Target.Server, Kind: e.Target.Kind, Target: e.Target.Name, Method: "tools/call", Unknown: true,
		Who: access.Identity{Actor: access.Actor{Agent: e.Party.Agent, Attested: true}, Subject: access.Subject{Issuer: e.Party.Issuer, ID: e.Party.Subject}, Task: e.Task}}
	f := GatherFacts(s, &r)
	if ref := f.refusal; ref.class != "" {
		return ref.reason
	}
	if why := Unanswered(s.View, &e.Entitlement, at); why != "" {
		return why
	}
	seconds, uses := e.Extent()
	if _, _, no := f.whoApproves(s, seconds, uses); no != nil {
		return no.reason
	}
	g := grant.Grant{Args: e.Args}
	f.Query.Grant = &policy.GrantFacts{ID: "grt_wanted", Remaining: 1, ExpiresAt: at.Add(time.Minute), Quorum: 1, ArgsBound: g.Bound()}
	v := s.Set.Evaluate(&f.Query)
	if passes(v.Outcome) > 0 || v.Maybe {
		return ""
	}
	_, reason, _ := explain(&f, &r, &v)
	return reason
}
