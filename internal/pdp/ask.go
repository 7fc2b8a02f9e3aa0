package pdp

import (
	"cmp"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/policy"
)

// Asking is the request for the approval that d, a decision of s on r, says is
// missing. Where several entitlements would let it be asked for the strictest of
// those that reach as far as its arguments counts. Who must approve is what the
// entitlement says and what the policies about the action "request" say, together;
// where none of them says it, nothing is granted without a person. It needs as many
// people as the policies want to see. Where it cannot be asked for, or no approval
// would make the policies permit the call, nobody is asked: ok is false and d is the
// denial that says why.
func Asking(s *State, r *access.Request, d *access.Decision) (a grant.Ask, ok bool) {
	return asking(s, r, d, grant.Ask{Scope: grant.ScopeOnce}, func(e grant.Entitlement) bool { return r.Unknown || e.Args.Match(r.Arguments) == nil })
}

// asking returns want, completed.
func asking(s *State, r *access.Request, d *access.Decision, want grant.Ask, reaches func(grant.Entitlement) bool) (a grant.Ask, ok bool) {
	f := GatherFacts(s, r)
	a = want
	a.Call, a.Policies, a.Bound, a.Set = *f.call(r), slices.Clone(d.Forbids), r.Who.Bound, s.Set.Digest()
	a.Risk = r.Risk.Shown()
	if r.Touched != nil {
		a.Flow = r.Touched.Leaves
	}
	rule := grant.Rule{}
	if e := strictest(s, d.Forbids, reaches); e != nil {
		rule, a.Entitlement = e.Approve, e
	}
	if a.Entitlement != nil {
		if why := Unanswered(s.View, a.Entitlement, r.At); why != "" {
			(&refused{class: access.ClassApproval, reason: why, help: "ask its owner to confirm it, or an operator to name another owner"}).deny(d)
			return a, false
		}
	}
	seconds, uses := a.Extent()
	told, by, why := f.whoApproves(s, seconds, uses)
	if why != nil {
		why.deny(d)
		return a, false
	}
	a.RuleBy = by
	rule, ok = rule.Join(told)
	if !ok {
		(&refused{class: access.ClassPolicy, reason: "more teams would have to approve than one approval can have", help: "ask " + f.owner + ", the agent's owner, to have fewer named"}).deny(d)
		return a, false
	}
	rule = rule.AtTier(a.Target.Tier)
	for range morePeople + 1 {
		f.Query.Grant = &policy.GrantFacts{ID: "grt_wanted", Remaining: 1, ExpiresAt: r.At.Add(time.Minute), Quorum: rule.People(), ArgsBound: !r.Unknown}
		if v := s.Set.Evaluate(&f.Query); passes(v.Outcome) > 0 || (r.Unknown || r.Facts == nil) && v.Maybe {
			a.Rule = rule
			return a, f.answerable(s, r, rule, d)
		}
		rule.Auto, rule.Quorum = false, rule.Quorum+1
	}
	d.Outcome, d.Help = access.Deny, "no approval would be enough; calling again as it is will not help"
	return a, false
}

// answerable reports whether there are people who can meet a rule; where not it makes d
// say so.
func (f *Facts) answerable(s *State, r *access.Request, rule grant.Rule, d *access.Decision) bool {
	few := s.answering(r.At).Lacking(rule, f.Query.Tool.Tier, r.Who.Subject.ID, nil)
	if few == "" {
		return true
	}
	(&refused{class: access.ClassApproval, reason: "it needs the approval of " + few, help: "waiting will not help: ask " + f.owner + ", the agent's owner, to have who is missing registered, or the rule corrected"}).deny(d)
	return false
}

// morePeople is how many people more than the rule says a policy may want to see.
const morePeople = 4

// strictest returns the entitlement among those that ask and reach, whose rule is hardest to meet; nil if none asks. Where a policy
// asks besides, its rule needs a person, unless policies say who must approve.
func strictest(s *State, forbids []string, reaches func(grant.Entitlement) bool) *grant.Entitlement {
	byPolicy := false
	var found []grant.Entitlement
	for _, id := range forbids {
		right := s.Set.EntitlementOf(id)
		if e, ok := s.Entitlements[right]; ok {
			found = append(found, e)
		} else {
			byPolicy = true
		}
	}
	if len(found) == 0 {
		return nil
	}
	if reach := slices.DeleteFunc(slices.Clone(found), func(e grant.Entitlement) bool { return !reaches(e) }); len(reach) > 0 {
		found = reach
	}
	e := hardest(found)
	if byPolicy && e.Approve.Auto && !s.Set.Approves() {
		e.Approve = grant.Rule{Quorum: 1}
	}
	return &e
}

// Seek returns the request for the right to make r, ahead of the call; the
// decision says how r stands without it. Where r permits already, or nobody may
// approve it, ok is false. Of a request with Unknown arguments it is whether some
// call could be approved: what policies say of the arguments counts when a call is
// made. Where they say something, they may ask for an approval that a grant would
// stand for, so nothing is granted without a person. want is what is asked for
// besides the call: the scope, the constraints instead of arguments, life and uses.
func Seek(s *State, r *access.Request, want grant.Ask) (a grant.Ask, d access.Decision, ok bool) {
	ru, maybe := judge(s, r)
	d = ru.Decision
	byRight := maybe && slices.ContainsFunc(d.Forbids, func(id string) bool { return s.Set.EntitlementOf(id) != "" })
	if d.Outcome != access.RequireApproval && !byRight {
		return grant.Ask{}, d, false
	}
	reaches := func(e grant.Entitlement) bool {
		if r.Unknown {
			return grant.Implies(e.Args, want.Wanted) == nil
		}
		return e.Args.Match(r.Arguments) == nil
	}
	asks := d.Outcome == access.RequireApproval
	if a, ok = asking(s, r, &d, want, reaches); ok && !asks && a.Rule.Auto {
		a.Rule = grant.Rule{Quorum: 1}
	}
	return a, d, ok
}

// hardest is the entitlement whose rule is hardest to meet; of equals the shorter one.
func hardest(found []grant.Entitlement) grant.Entitlement {
	return slices.MaxFunc(found, func(x, y grant.Entitlement) int {
		return cmp.Or(cmp.Compare(weight(x.Approve), weight(y.Approve)), cmp.Compare(y.Ceiling.Seconds, x.Ceiling.Seconds), cmp.Compare(y.ID, x.ID))
	})
}

// weight orders rules by how hard they are to meet.
func weight(r grant.Rule) int {
	switch {
	case r.Auto:
		return 0
	case r == grant.Rule{}:
		return 1 // what the policies say counts whatever the rule is
	}
	n, stages := 2*r.People(), r.Stages()
	if slices.ContainsFunc(stages[:], func(s grant.Stage) bool { return s.Team != "" }) {
		n++ // not anybody
	}
	return n
}
