package api

import (
	"context"

	"rutile/internal/audit"
)

// RetentionSpec orders retention to run now.
type RetentionSpec struct {
	Reason string `json:"reason,omitempty"`
	// Clock says that the gateway's clock is right, where it went further than the time
	// that passed and what it makes old is held back for that.
	Clock bool `json:"clock,omitempty"`
	// DryRun shows what would go and changes nothing.
	DryRun bool `json:"dryRun,omitempty"`
}

func (a *API) retention(c *call) (any, error) {
	return a.deps.Evidence.PlanRetention(c.Context(), audit.RetentionOrder{})
}

func (a *API) retain(c *call) (any, error) {
	var in RetentionSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	o := audit.RetentionOrder{Actor: c.actor.String(), Reason: in.Reason, Clock: in.Clock}
	if in.DryRun {
		return a.deps.Evidence.PlanRetention(c.Context(), o)
	}
	return a.deps.Evidence.Retain(c.Context(), o)
}

// Retention says how long evidence is kept, and what is too old now.
func (c *Client) Retention(ctx context.Context) (audit.RetentionPlan, error) {
	return ask[audit.RetentionPlan](ctx, c, "GET", "audit/retention", nil)
}

// Retain lets go what is too old, and answers with what that was.
func (c *Client) Retain(ctx context.Context, in RetentionSpec) (audit.RetentionPlan, error) {
	return ask[audit.RetentionPlan](ctx, c, "POST", "audit/retention", in)
}
