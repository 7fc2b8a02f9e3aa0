package pdp

import (
	"cmp"
	"slices"

	"rutile/internal/access"
	"rutile/internal/grant"
)

// Asking is the request for the approval that d, a decision of s on r, says is
// missing. Where several entitlements would let it be asked for the strictest of
// those that reach as far as its arguments counts; where a policy asks besides,
// nothing is granted without a person.
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
	if reach := slices.DeleteFunc(slices.Clone(found), func(e grant.Entitlement) bool { return e.Args.Match(r.Arguments) != nil }); len(reach) > 0 {
		found = reach
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

func weight(r grant.Rule) int {
	if r.Auto {
		return 0
	}
	return max(1, r.Quorum)
}
