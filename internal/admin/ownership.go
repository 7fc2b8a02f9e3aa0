package admin

import (
	"fmt"
	"slices"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/finding"
	"rutile/internal/registry"
)

// sourceRegistry holds what is wrong with entries of the registry.
const sourceRegistry = "registry"

// unusedTime is how long a registered server may go without a call
// (discovery.md 19).
const unusedTime = 60 * 24 * time.Hour

// ownership is what is wrong with who answers for registered servers and agents,
// and with servers that nobody calls. since is how far back used goes.
func (v *Inventory) ownership(used map[string]time.Time, since time.Time) finding.Says {
	now, view := v.admin.now(), v.admin.Current().View
	says := finding.Says{Source: sourceRegistry, At: now, Covers: finding.Everything}
	raise := func(rule discovery.Rule, severity finding.Severity, kind, id, why, next string) {
		says.Raised = append(says.Raised, finding.Raised{Rule: string(rule), Subject: finding.Subject{Kind: kind, ID: id}, Severity: severity, Why: why, Next: next})
	}
	for _, s := range view.Servers() {
		if s.State == registry.ServerRetired || s.State == registry.ServerBlocked {
			continue
		}
		if why := orphan(view, s.Owner, now); why != "" {
			raise(discovery.OrphanServer, finding.Medium, finding.SubjectServer, s.ID, why, "name an owner who is there in its manifest and apply it")
		}
		last := used[s.ID]
		if last.IsZero() {
			last = s.Created
		}
		// Where the evidence does not go back that far, nobody can say.
		if s.State == registry.ServerSanctioned && now.Sub(last) > unusedTime && now.Sub(since) > unusedTime {
			raise(discovery.UnusedServer, finding.Low, finding.SubjectServer, s.ID, fmt.Sprintf("nobody called it since %s", last.UTC().Format(time.DateOnly)), "retire it if nobody needs it: rutile server retire "+s.ID)
		}
	}
	for _, a := range view.Agents() {
		if a.State == registry.AgentRetired {
			continue
		}
		if why := orphan(view, a.Owner, now); why != "" {
			raise(discovery.OrphanAgent, finding.Medium, finding.SubjectAgent, a.ID, why, "name an owner who is there in its manifest and apply it")
		}
	}
	return says
}

// orphan says why nobody answers for what has this owner, "" where somebody does
// and where nobody registered whom the owner names.
func orphan(view *registry.View, owner string, now time.Time) string {
	active := func(id string) bool {
		u, ok := view.User(id)
		return ok && registry.UserStatus(u, now) == registry.UserActive
	}
	if t, ok := view.Team(owner); ok {
		if len(t.Members) > 0 && !slices.ContainsFunc(t.Members, active) {
			return fmt.Sprintf("nobody of its owner, team %q, is active", owner)
		}
		return ""
	}
	if _, ok := view.User(owner); ok && !active(owner) {
		return fmt.Sprintf("its owner %q is not active", owner)
	}
	return ""
}
