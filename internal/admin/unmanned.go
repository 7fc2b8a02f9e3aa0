package admin

import (
	"maps"
	"slices"

	"rutile/internal/pdp"
)

// unmanned notes of what changes that nobody could approve what is asked for: of an
// entitlement that it is so, of people and teams for which entitlements they make it so.
// It is a warning: teams may be filled later, and until then asking is denied.
func (a *Admin) unmanned(it *Item, cur, next *Current) {
	was, is := a.deciding(cur), a.deciding(next)
	switch it.Kind {
	case kindEntitlement:
		e := next.Rights[it.ID]
		if why := pdp.Unmanned(is, &e, a.now()); why != "" {
			it.note("approve: nobody can approve what is asked for: %s; until somebody can it is denied", why)
		}
	case kindTeam, kindUser:
		for _, id := range slices.Sorted(maps.Keys(next.Rights)) {
			e := next.Rights[id]
			if why := pdp.Unmanned(is, &e, a.now()); why != "" && pdp.Unmanned(was, &e, a.now()) == "" {
				it.note("nobody can approve what is asked for under entitlement %q any more: %s; until somebody can it is denied", id, why)
			}
		}
	}
}

// Unmanned says why nobody can approve now what is asked for under an entitlement, ""
// where somebody can or it is not there.
func (a *Admin) Unmanned(id string) string {
	cur := a.Current()
	e, ok := cur.Rights[id]
	if !ok {
		return ""
	}
	return pdp.Unmanned(a.deciding(cur), &e, a.now())
}
