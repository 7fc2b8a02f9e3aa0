package pdp

import (
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/policy"
)

// refused is why a right cannot be asked for.
type refused struct {
	class           access.Class
	reason, help    string
	forbids, errors []string
}

// deny makes d say so.
func (x *refused) deny(d *access.Decision) {
	d.Outcome, d.Class, d.Reason, d.Help = access.Deny, x.class, x.reason, x.help
	d.Forbids, d.Errors = append(d.Forbids, x.forbids...), append(d.Errors, x.errors...)
}

// whoApproves is who must approve a right to what f is about by the policies about
// the action "request", and which of them say so. The zero Rule is that they leave
// it to the entitlement: none of the set permits to ask.
func (f *Facts) whoApproves(s *State, seconds, uses int64) (r grant.Rule, by []string, no *refused) {
	what := "agent " + quote(f.Query.Agent.ID) + " to ask for this"
	owner := "ask " + f.owner + ", the agent's owner, "
	told := s.Set.Ask(&f.Query, seconds, uses)
	switch speaks := s.Set.Approves(); {
	case len(told.Errors) > 0:
		return r, nil, &refused{class: access.ClassPolicyError, reason: rules(told.Errors, "cannot", "cannot") + " be evaluated for what is asked for, so it is denied",
			help: owner + "to correct the rule", errors: told.Errors}
	case len(told.Forbids) > 0:
		help := strings.Join(told.Advice, " ")
		if help == "" {
			help = owner + "whether the rule is meant for this"
		}
		return r, nil, &refused{class: access.ClassPolicy, reason: rules(told.Forbids, "forbids ", "forbid ") + what, help: help, forbids: told.Forbids}
	case !speaks:
		return r, nil, nil
	case len(told.Permits) == 0:
		return r, nil, &refused{class: access.ClassDefault, reason: "no rule permits " + what, help: "ask for less time or fewer uses, or " + owner + "to have policy permit it"}
	}
	for i, x := range told.Approve {
		one, why := f.ruleOf(s, x)
		if x.Deny {
			return r, nil, &refused{class: access.ClassPolicy, reason: rules(told.Permits[i:i+1], "denies ", "deny ") + what, help: owner + "whether the rule is meant for this", forbids: told.Permits[i : i+1]}
		}
		if why != "" {
			return r, nil, &refused{class: access.ClassPolicy, reason: rules(told.Permits[i:i+1], "wants", "want") + " the approval of " + why, help: owner + "to register who is missing, or to correct the rule", forbids: told.Permits[i : i+1]}
		}
		var ok bool
		if r, ok = r.Join(one); !ok {
			return r, nil, &refused{class: access.ClassPolicy, reason: rules(told.Permits, "wants", "want") + " more teams to approve than one approval can have", help: owner + "to have fewer named", forbids: told.Permits}
		}
	}
	return r, told.Permits, nil
}

// ruleOf is the rule a permit names, and in words why nobody could meet it: its group
// is neither a registered team nor a person, or has too few people.
func (f *Facts) ruleOf(s *State, x policy.Approve) (grant.Rule, string) {
	r := grant.Rule{Auto: x.Auto, Quorum: x.Quorum, Team: x.Group}
	if x.Group == "" {
		return r, ""
	}
	whose := ""
	if x.Group == policy.GroupOwner {
		r.Team, whose = f.owner, "the agent's owner, "
	}
	if few := s.answering(f.Query.Now).Lacking(r, 0, "", nil); few != "" {
		return r, whose + few
	}
	return r, ""
}

// Void says why the policies do not let a request be asked for as it was, by what is in
// force and registered now, or why nobody could approve one that waits; "" where
// neither is so.
func Void(s *State, q *grant.Request, at time.Time) string {
	if s == nil || s.View == nil || s.Set == nil {
		return ""
	}
	r := access.Request{At: q.Created, Server: q.Target.Server, Kind: q.Target.Kind, Target: q.Target.Name, Unknown: true,
		Who: access.Identity{Actor: access.Actor{Agent: q.Party.Agent, Attested: true}, Subject: access.Subject{Issuer: q.Party.Issuer, ID: q.Party.Subject},
			Session: q.Session, Task: q.Task, Bound: q.Bound}}
	f := GatherFacts(s, &r)
	rule, _, no := f.whoApproves(s, q.Life, q.Uses)
	switch {
	case no != nil:
		return "the policies do not let it be asked for now: " + no.reason
	case rule.Stricter(q.Rule):
		return "the policies want another approval now"
	}
	if q.State != grant.RequestPending {
		return ""
	}
	if few := s.answering(at).Lacking(q.Rule, q.Target.Tier, q.Party.Subject, q.Approvals); few != "" {
		return "nobody can approve it any more: it needs the approval of " + few
	}
	return ""
}
