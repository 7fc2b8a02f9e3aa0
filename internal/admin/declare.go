package admin

import (
	"time"

	"rutile/internal/fact"
	"rutile/internal/grant"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// Catalog is what the policies of the state are compiled against.
func (c *Current) Catalog() policy.Catalog {
	out := catalog(c.View, c.Rights, c.Facts)
	out.Ladder = c.Ladder
	out.Labels, out.Declared = labels(c.View, c.Labels)
	return out
}

// Declared is what documents declare, as if they were applied to an empty gateway.
type Declared struct {
	View     *registry.View
	Rights   map[string]grant.Entitlement
	Facts    map[string]fact.Fact
	Labels   map[string]registry.Label
	Policies []policy.Policy // sorted by id; parsed but not compiled
}

// Catalog is what the policies are compiled against.
func (d *Declared) Catalog() policy.Catalog {
	out := catalog(d.View, d.Rights, d.Facts)
	out.Labels, out.Declared = labels(d.View, d.Labels)
	return out
}

// Declare returns what documents declare, without a gateway. The policies are not
// compiled, so that a check can report all that is wrong.
func Declare(docs []Document, now time.Time) (Declared, error) {
	manifests, problems := parseAll(docs)
	if err := problems.err(); err != nil {
		return Declared{}, err
	}
	empty, err := (&Admin{}).build(registry.Content{}, stored{})
	if err != nil {
		return Declared{}, err
	}
	p := &planner{cur: empty, now: now, by: system, secrets: map[string]bool{}, draft: newDraft()}
	p.all(manifests)
	if err := p.problems.err(); err != nil {
		return Declared{}, err
	}
	c := p.draft.changes
	d := registry.Delta{Agents: c.Agents, Servers: c.Servers, Teams: c.Teams, Users: c.Users, Tools: map[string]map[string]*registry.Tool{}}
	for k, t := range c.Tools {
		if d.Tools[k.Server] == nil {
			d.Tools[k.Server] = map[string]*registry.Tool{}
		}
		d.Tools[k.Server][k.Tool] = t
	}
	out := Declared{View: empty.View.With(d), Rights: with(nil, c.Rights), Facts: with(nil, c.Facts), Labels: with(nil, c.Labels)}
	for _, id := range keysOf(c.Policies) {
		out.Policies = append(out.Policies, *c.Policies[id])
	}
	return out, nil
}
