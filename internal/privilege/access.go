package privilege

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/registry"
)

// Access says who may use what a server offers now, by what, and what of it was used.
type Access struct {
	Server string    `json:"server"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	// Young says that the evidence does not go back to the beginning of the period, so
	// that what was not used in it may have been used before. "" if it does.
	Young string `json:"young,omitempty"`
	// Monitor says that the gateway only observes: calls that rules deny pass.
	Monitor bool     `json:"monitor,omitempty"`
	Holders []Holder `json:"holders"` // sorted by key
	// Nobody are the actions of the server that no agent may use, sorted.
	Nobody []string `json:"nobody,omitempty"`
}

// Holder is one agent that may use one thing of a server now.
type Holder struct {
	Agent string `json:"agent"`
	Owner string `json:"owner"`
	Reach
	Basis []Basis `json:"basis"` // statements of By, as they are looked up
	// Grants of the agent in force with which rules permit calls of it, each for the
	// person it says.
	Grants []HeldGrant `json:"grants,omitempty"`
}

// Key orders holders: by what they may use, then by agent.
func (h *Holder) Key() string { return h.Action + " " + h.Agent }

// Kinds of a basis.
const (
	BasisList        = "agent"       // the allow-list of the agent
	BasisEntitlement = "entitlement" // says that it may be asked for
	BasisPolicy      = "policy"      // that people wrote
	BasisBuiltin     = "baseline"    // Rutile's own
)

// Basis is a statement that permits or asks, and whose it is.
type Basis struct {
	Statement string `json:"statement"`
	Kind      string `json:"kind"`
	ID        string `json:"id,omitempty"` // of the agent, entitlement or policy
}

// NewAccess says who may use what a server offers. in.Server MUST be registered.
func NewAccess(in Input) Access {
	out := Access{Server: in.Server, Since: in.Since, Until: in.Until, Monitor: in.State.Monitor, Holders: []Holder{}}
	if in.Usage.Oldest.IsZero() || in.Usage.Oldest.After(in.Since) {
		out.Young = youngEvidence
	}
	x := newIndexed(in)
	granted := map[string][]*grant.Grant{} // by agent
	for i := range in.Grants {
		if g := &in.Grants[i]; g.Target.Server == in.Server {
			granted[g.Party.Agent] = append(granted[g.Party.Agent], g)
		}
	}
	bases, held := map[string]Basis{}, map[string]bool{}
	for _, a := range in.State.View.Agents() {
		if a.State == registry.AgentRetired {
			continue
		}
		holders := map[string]*Holder{}
		hold := func(r Reach) *Holder {
			h := &Holder{Agent: a.ID, Owner: a.Owner, Reach: r, Basis: []Basis{}}
			holders[r.Action], held[r.Action] = h, true
			return h
		}
		for _, r := range x.reach(a) {
			hold(r)
		}
		for _, g := range granted[a.ID] {
			by, ok := pdp.Permitting(in.State, g, in.Until)
			if !ok {
				continue
			}
			h := holders[g.Target.Action()]
			if h == nil { // with a grant alone
				t := thing{g.Target.Server, g.Target.Kind, g.Target.Name}
				if t.kind == access.KindResource {
					t.name = "" // the right is to read any
				}
				r := x.reached(a.ID, t)
				r.Outcome, r.By = depends, by
				h = hold(r)
			}
			h.Grants = append(h.Grants, heldOf(*g))
		}
		for _, h := range holders {
			for _, id := range h.By {
				b, ok := bases[id]
				if !ok {
					b = x.basis(id)
					bases[id] = b
				}
				if b.Kind == BasisList {
					b.ID = a.ID
				}
				h.Basis = append(h.Basis, b)
			}
			out.Holders = append(out.Holders, *h)
		}
	}
	slices.SortFunc(out.Holders, func(a, b Holder) int { return cmp.Compare(a.Key(), b.Key()) })
	for _, t := range x.things {
		if !held[t.action()] {
			out.Nobody = append(out.Nobody, t.action())
		}
	}
	return out
}

// basis says whose a statement is.
func (x *indexed) basis(id string) Basis {
	if right := x.in.State.Set.EntitlementOf(id); right != "" {
		return Basis{id, BasisEntitlement, right}
	}
	switch {
	case strings.HasPrefix(id, "allow."):
		return Basis{Statement: id, Kind: BasisList}
	case strings.HasPrefix(id, "baseline."):
		return Basis{Statement: id, Kind: BasisBuiltin}
	}
	b := Basis{Statement: id, Kind: BasisPolicy}
	if list, _ := x.in.State.Set.Statements([]string{id}); len(list) > 0 {
		b.ID = list[0].Policy
	}
	return b
}
