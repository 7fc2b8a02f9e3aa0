package pdp

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rutile/internal/grant"
	"rutile/internal/registry"
)

// Answering is who there is to answer requests at a time.
type Answering struct {
	View *registry.View
	// Roles of whom may answer requests, of which one is enough; nil where that is of
	// no concern.
	Roles []registry.Role
	At    time.Time
}

// Lacking says in words why a rule cannot be met for a tool of a tier by the people
// there are now, "" where it can. Whoever approves is a registered user who is active
// and has the role; at tier 3 it is not the person the agent acts for, who is subject;
// nobody counts in two stages. Approvals that were given count where who gave them
// could give them now. What one person may answer, whoever keeps the gateway can.
func (a Answering) Lacking(r grant.Rule, tier int, subject string, given []grant.Approval) string {
	if r = r.AtTier(tier); r.Auto || r.People() == 1 && r.Stages()[0].Team == "" {
		return ""
	}
	if tier < 3 {
		subject = ""
	}
	var open []need
	var gave []string
	for n, s := range r.Stages() {
		can := a.members(s.Team, subject)
		for _, x := range given {
			if id, ok := strings.CutPrefix(x.By, "user:"); ok && x.Stage == n && slices.Contains(can, id) {
				s.Quorum, gave = s.Quorum-1, append(gave, id)
			}
		}
		if s.Quorum > 0 {
			open = append(open, need{s.Team, s.Quorum, can})
		}
	}
	for i := range open {
		open[i].can = slices.DeleteFunc(open[i].can, func(id string) bool { return slices.Contains(gave, id) })
	}
	return a.short(open, subject, len(gave) > 0)
}

// need is a stage that is not met: how many more of whom.
type need struct {
	team string
	many int
	can  []string
}

// short says for which of the stages there are too few people, "" for none. They can
// all be met exactly where every choice of them has as many people between them as it
// needs (Hall's theorem).
func (a Answering) short(open []need, subject string, more bool) string {
	for choice := 1; choice < 1<<len(open); choice++ {
		var teams, can []string
		many := 0
		for i, n := range open {
			if choice&(1<<i) == 0 {
				continue
			}
			teams, many = append(teams, n.team), many+n.many
			for _, id := range n.can {
				if !slices.Contains(can, id) {
					can = append(can, id)
				}
			}
		}
		if len(can) < many {
			return a.few(teams, len(can), many, subject, more)
		}
	}
	return ""
}

// few says that of these teams only so many can approve, and that it takes more.
func (a Answering) few(teams []string, can, takes int, subject string, more bool) string {
	of := a.name(teams)
	if len(teams) == 1 && teams[0] != "" {
		t, team := a.View.Team(teams[0])
		_, person := a.View.User(teams[0])
		switch {
		case team && len(t.Members) == 0:
			return of + ", which has no members"
		case !team && !person:
			return of + ", which is neither a registered team nor a person"
		}
	}
	of += ", of whom "
	if subject != "" {
		of += "besides " + quote(subject) + ", for whom the agent acts, "
	}
	left := ""
	if more {
		left = " more"
	}
	if can == 0 {
		return of + "nobody" + strings.Replace(left, " more", " else", 1) + " is an active registered user with a role that approves"
	}
	return fmt.Sprintf("%sonly %d%s can approve, and it takes %d", of, can, left, takes)
}

// name is how a reader knows these teams.
func (a Answering) name(teams []string) string {
	if len(teams) == 1 {
		_, team := a.View.Team(teams[0])
		switch _, person := a.View.User(teams[0]); {
		case teams[0] == "":
			return "registered users"
		case !team && person:
			return quote(teams[0])
		}
		return "team " + quote(teams[0])
	}
	quoted := make([]string, len(teams))
	for i, t := range teams {
		if quoted[i] = quote(t); t == "" {
			quoted[i] = "anybody"
		}
	}
	return "the teams " + strings.Join(quoted, " and ") + " together"
}

// members are the people who can approve for a team, for a person named as one, or at
// all where team is "".
func (a Answering) members(team, subject string) []string {
	var ids []string
	if t, ok := a.View.Team(team); ok {
		ids = t.Members
	} else if team != "" {
		ids = []string{team}
	} else {
		for _, u := range a.View.Users() {
			ids = append(ids, u.ID)
		}
	}
	var out []string
	for _, id := range ids {
		u, ok := a.View.User(id)
		if ok && registry.UserStatus(u, a.At) == registry.UserActive && a.answers(u) && (subject == "" || id != subject) && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

func (a Answering) answers(u registry.User) bool {
	return a.Roles == nil || slices.ContainsFunc(u.Roles, func(r registry.Role) bool { return slices.Contains(a.Roles, r) })
}

// answering is who there is to answer on a state.
func (s *State) answering(at time.Time) Answering { return Answering{s.View, s.Answer, at} }

// Unmanned says why nobody could approve what is asked for under an entitlement, by its
// own rule and whatever the tier of the tool, "" where somebody could.
func Unmanned(s *State, e *grant.Entitlement, at time.Time) string {
	if e.State != grant.EntitlementActive {
		return ""
	}
	if few := s.answering(at).Lacking(e.Approve, 0, "", nil); few != "" {
		return "it needs the approval of " + few
	}
	return ""
}
