package pdp

import (
	"cmp"
	"slices"

	"rutile/internal/access"
	"rutile/internal/grant"
)

// Asking is the request for the approval that d, a decision of s on r, says is
// missing. Where several entitlements would let it be asked for the strictest
// counts; where a policy asks besides, nothing is granted without a person.
func Asking(s *State, r *access.Request, d *access.Decision) grant.Ask {
	a := grant.Ask{Call: CallOf(s, r), Policies: slices.Clone(d.Forbids), Scope: grant.ScopeOnce}
	byPolicy := false
	var found []grant.Entitlement
	for _, id := range d.Forbids {
		right := s.Set.EntitlementOf(id)
		if right == "" {
			byPolicy = true
			continue
		}
		if e, ok := s.Entitlements[right]; ok {
			found = append(found, e)
		}
	}
	if len(found) == 0 {
		return a
	}
	strictest := slices.MaxFunc(found, func(x, y grant.Entitlement) int {
		return cmp.Or(cmp.Compare(weight(x.Approve), weight(y.Approve)), cmp.Compare(y.Ceiling.Seconds, x.Ceiling.Seconds), cmp.Compare(y.ID, x.ID))
	})
	if byPolicy && strictest.Approve.Auto {
		strictest.Approve = grant.Rule{Quorum: 1}
	}
	a.Entitlement = &strictest
	return a
}

// Seek returns the request for the right to make r, ahead of the call; the
// decision says how r stands without it. Where r permits already, or nobody may
// approve it, ok is false. Of a request with Unknown arguments it is whether some
// call could be approved: what policies say of the arguments counts when a call is
// made. Where they say something, they may ask for an approval that a grant would
// stand for, so nothing is granted without a person.
func Seek(s *State, r *access.Request) (a grant.Ask, d access.Decision, ok bool) {
	d, maybe := decide(s, r)
	byRight := maybe && slices.ContainsFunc(d.Forbids, func(id string) bool { return s.Set.EntitlementOf(id) != "" })
	if d.Outcome != access.RequireApproval && !byRight {
		return grant.Ask{}, d, false
	}
	a = Asking(s, r, &d)
	if e := a.Entitlement; e != nil && d.Outcome != access.RequireApproval && e.Approve.Auto {
		e.Approve = grant.Rule{Quorum: 1}
	}
	return a, d, true
}

func weight(r grant.Rule) int {
	if r.Auto {
		return 0
	}
	return max(1, r.Quorum)
}
