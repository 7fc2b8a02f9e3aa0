package admin

import (
	"time"

	"rutile/internal/grant"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// Catalog is what policies are compiled against where v is the registry and
// rights are the entitlements.
func Catalog(v *registry.View, rights map[string]grant.Entitlement) policy.Catalog {
	return catalog(v, rights)
}

// Declare returns what documents declare, as if they were applied to an empty
// gateway, without one: the catalog policies are compiled against and the
// policies, sorted by id, which are parsed but not compiled, so that a check can
// report all that is wrong.
func Declare(docs []Document, now time.Time) (*registry.View, map[string]grant.Entitlement, []policy.Policy, error) {
	manifests, problems := parseAll(docs)
	if err := problems.err(); err != nil {
		return nil, nil, nil, err
	}
	empty, err := (&Admin{}).build(registry.Content{}, nil, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	p := &planner{cur: empty, now: now, by: system, secrets: map[string]bool{}, draft: newDraft()}
	p.all(manifests)
	if err := p.problems.err(); err != nil {
		return nil, nil, nil, err
	}
	c := p.draft.changes
	d := registry.Delta{Agents: c.Agents, Servers: c.Servers, Teams: c.Teams, Users: c.Users, Tools: map[string]map[string]*registry.Tool{}}
	for k, t := range c.Tools {
		if d.Tools[k.Server] == nil {
			d.Tools[k.Server] = map[string]*registry.Tool{}
		}
		d.Tools[k.Server][k.Tool] = t
	}
	var policies []policy.Policy
	for _, id := range keysOf(c.Policies) {
		policies = append(policies, *c.Policies[id])
	}
	rights := map[string]grant.Entitlement{}
	for id, e := range c.Rights {
		rights[id] = *e
	}
	return empty.View.With(d), rights, policies, nil
}
