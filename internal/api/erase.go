package api

import (
	"context"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// EraseSpec says whom to erase from the evidence.
type EraseSpec struct {
	Person string `json:"person"`           // id at the issuer
	Issuer string `json:"issuer,omitempty"` // needed where several have a person of that id
	Reason string `json:"reason,omitempty"` // which request; it is kept and must not name the person
	DryRun bool   `json:"dryRun,omitempty"`
}

// Erased says what was destroyed, or with DryRun would be, and what stays.
type Erased struct {
	ID     string `json:"id,omitempty"` // finds the leaves of it; "" of a dry run
	DryRun bool   `json:"dryRun,omitempty"`
	audit.ErasurePlan
	Stays []string `json:"stays"`
}

// stays is what no erasure of evidence reaches.
var stays = []string{
	"what was exported, disclosed or sent to sinks before stays with whoever has it",
	"backups of the database hold the keys until they expire: let them expire within 30 days; a restored one is erased again at the next start",
	"other nodes that share the database follow within seconds, or at their next start",
	"changes that operators made and that name the person are kept as evidence of what the operators did",
	"registry, sessions, requests and grants are no evidence and have lives of their own",
}

func (a *API) erase(c *call) (any, error) {
	var in EraseSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	out := Erased{DryRun: in.DryRun, Stays: stays}
	if c.actor.ID == in.Person {
		return nil, access.Errorf(access.CodeDenied, "nobody erases themselves: another admin must")
	}
	var err error
	if in.DryRun {
		out.ErasurePlan, err = a.deps.Evidence.PlanErasure(c.Context(), in.Person, in.Issuer)
		return out, err
	}
	var e audit.Erasure
	e, out.ErasurePlan, err = a.deps.Evidence.Erase(c.Context(), audit.ErasureOrder{Person: in.Person, Issuer: in.Issuer, Actor: c.actor.String(), Reason: in.Reason})
	out.ID = e.ID
	return out, err
}

// Erase destroys the keys under which the evidence seals what it holds of a person.
func (c *Client) Erase(ctx context.Context, in EraseSpec) (Erased, error) {
	return ask[Erased](ctx, c, "POST", "audit/erase", in)
}
