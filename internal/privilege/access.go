package privilege

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"rutile/internal/registry"
)

// Access says who may use what a server offers now, by what, and what of it was used.
type Access struct {
	Server string    `json:"server"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	// Young says that the evidence does not go back to the beginning of the period, so
	// that what was not used in it may have been used before. "" if it does.
	Young   string   `json:"young,omitempty"`
	Holders []Holder `json:"holders"` // sorted by key
}

// Holder is one agent that may use one thing of a server now.
type Holder struct {
	Agent string `json:"agent"`
	Owner string `json:"owner"`
	Reach
	Basis []Basis `json:"basis"` // statements of By, as they are looked up
	// Grants of the agent for it that are in force, each for the person it says.
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
	out := Access{Server: in.Server, Since: in.Since, Until: in.Until, Holders: []Holder{}}
	if in.Usage.Oldest.IsZero() || in.Usage.Oldest.After(in.Since) {
		out.Young = youngEvidence
	}
	x := newIndexed(in)
	bases := map[string]Basis{}
	for _, a := range in.State.View.Agents() {
		if a.State == registry.AgentRetired {
			continue
		}
		held := map[string][]HeldGrant{}
		for _, g := range in.Grants {
			if g.Party.Agent == a.ID && g.Target.Server == in.Server {
				held[g.Target.Action()] = append(held[g.Target.Action()], heldOf(g))
			}
		}
		for _, r := range x.reach(a) {
			h := Holder{Agent: a.ID, Owner: a.Owner, Reach: r, Basis: []Basis{}, Grants: held[r.Action]}
			for _, id := range r.By {
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
			out.Holders = append(out.Holders, h)
		}
	}
	slices.SortFunc(out.Holders, func(a, b Holder) int { return cmp.Compare(a.Key(), b.Key()) })
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
