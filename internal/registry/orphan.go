package registry

import (
	"fmt"
	"slices"
	"time"
)

// Orphaned says why nobody answers at a time for what an owner owns, "" if
// somebody does. An owner who is no registered team or user is a person of an
// identity provider, of whom the gateway knows nothing; a member of a team too.
func Orphaned(v *View, owner string, at time.Time) string {
	if owner == "" {
		return "nobody owns it"
	}
	if u, ok := v.User(owner); ok {
		if s := UserStatus(u, at); s != UserActive {
			return fmt.Sprintf("its owner %s is %s", owner, s)
		}
		return ""
	}
	t, ok := v.Team(owner)
	if !ok {
		return ""
	}
	if len(t.Members) == 0 {
		return fmt.Sprintf("its owner, team %s, has no members", owner)
	}
	answers := func(id string) bool {
		u, known := v.User(id)
		return !known || UserStatus(u, at) == UserActive
	}
	if !slices.ContainsFunc(t.Members, answers) {
		return fmt.Sprintf("nobody of its owner, team %s, is active", owner)
	}
	return ""
}
