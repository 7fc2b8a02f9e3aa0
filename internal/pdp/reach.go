package pdp

import (
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// Reaches reports whether an entitlement covers, as things stand, that an agent
// holds a right to a target: at depth 0 because it may ask for it, below because it
// may receive it from another.
func Reaches(v *registry.View, e *grant.Entitlement, agent string, t grant.Target, depth int) bool {
	a, ok := v.Agent(agent)
	agents, classes := e.Agents, e.Classes
	if depth > 0 {
		agents, classes = e.Delegate.Agents, e.Delegate.Classes
	}
	switch {
	case !ok || e.State != grant.EntitlementActive || depth > e.Delegate.MaxDepth:
		return false
	case !slices.Contains(agents, agent) && (a.Class == "" || !slices.Contains(classes, a.Class)):
		return false
	}
	return slices.ContainsFunc(e.Tools, func(text string) bool {
		p, err := policy.ParsePattern(text)
		return err == nil && p.Covers(t.Server, t.Kind, t.Name)
	})
}

// Orphaned says why nobody answers for an entitlement any more: its owner is a person
// who is not active, or a team whose members are none of them. It is "" where
// somebody does, and where nobody registered whom the owner names.
func Orphaned(v *registry.View, e *grant.Entitlement, at time.Time) string {
	active := func(id string) bool {
		u, ok := v.User(id)
		return ok && registry.UserStatus(u, at) == registry.UserActive
	}
	if t, ok := v.Team(e.Owner); ok {
		if len(t.Members) > 0 && !slices.ContainsFunc(t.Members, active) {
			return "nobody of team " + quote(e.Owner) + ", the owner of entitlement " + quote(e.ID) + ", is active"
		}
		return ""
	}
	if _, ok := v.User(e.Owner); ok && !active(e.Owner) {
		return quote(e.Owner) + ", the owner of entitlement " + quote(e.ID) + ", is not active"
	}
	return ""
}

// Unanswered says why nobody may ask under an entitlement: nobody answers for it any
// more, or its owner did not confirm it in time and it says that this counts.
func Unanswered(v *registry.View, e *grant.Entitlement, at time.Time) string {
	if why := Orphaned(v, e, at); why != "" {
		return why
	}
	if e.Confirm.Refuse && e.Overdue(at) {
		return quote(e.Owner) + ", the owner of entitlement " + quote(e.ID) + ", has not confirmed it by " + e.Due().UTC().Format(time.RFC3339)
	}
	return ""
}

// MayReceive returns nil if an agent may receive a part of a grant: the entitlement
// the grant stands on names it as one that may, it is in good standing, and it is no
// riskier than whoever hands it over.
func MayReceive(v *registry.View, rights map[string]grant.Entitlement, parent grant.Grant, to string, at time.Time) error {
	e, ok := rights[parent.Entitlement]
	if !ok {
		return access.Errorf(access.CodeDenied, "grant %s stands on no entitlement, so nothing says whom it may be handed on to", parent.ID)
	}
	if why := Unanswered(v, &e, at); why != "" {
		return access.Errorf(access.CodeDenied, "%s", why)
	}
	if !Reaches(v, &e, to, parent.Target, parent.Depth+1) { // of an agent that is not registered too: ids of others are nobody's business
		return access.Errorf(access.CodeDenied, "entitlement %q does not let agent %s receive this", e.ID, quote(to))
	}
	receiver, _ := v.Agent(to)
	if err := registry.Usable(receiver, at); err != nil {
		return access.Errorf(access.CodeDenied, "agent %s cannot receive it: it is not active", quote(to))
	}
	giver, ok := v.Agent(parent.Party.Agent)
	if !ok || receiver.RiskTier > giver.RiskTier {
		return access.Errorf(access.CodeDenied, "agent %s cannot receive it: its risk tier is above that of agent %s", quote(to), quote(parent.Party.Agent))
	}
	return nil
}
