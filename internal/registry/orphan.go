package registry

import (
	"fmt"
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
	switch b := Behind(v, owner, at); {
	case len(t.Members) == 0:
		return fmt.Sprintf("its owner, team %s, has no members", owner)
	case b.Active+b.Unknown == 0:
		return fmt.Sprintf("nobody of its owner, team %s, is active", owner)
	}
	return ""
}

// People counts who stands behind an owner.
type People struct {
	Active  int // registered users who are active
	Unknown int // persons nobody registered, of whom the gateway knows nothing
}

// Behind counts who stands behind an owner at a time: the members of a team, or the
// person it is.
func Behind(v *View, owner string, at time.Time) People {
	members := []string{owner}
	if t, ok := v.Team(owner); ok {
		members = t.Members
	}
	var out People
	for _, m := range members {
		switch u, known := v.User(m); {
		case !known:
			out.Unknown++
		case UserStatus(u, at) == UserActive:
			out.Active++
		}
	}
	return out
}
