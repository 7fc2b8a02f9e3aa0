package api

import (
	"context"
	"net/url"
	"slices"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/grant"
)

func (a *API) breakGlass(c *call) (any, error) {
	var in admin.EmergencySpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return a.deps.Desk.BreakGlass(c.Context(), c.actor, in)
}

func (a *API) reviewGrant(c *call) (any, error) {
	var in admin.ReviewSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return a.deps.Desk.ReviewGrant(c.Context(), c.actor, c.PathValue("id"), in)
}

func (a *API) reviews(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor", "state")
	if err != nil {
		return nil, err
	}
	if limit == 0 {
		limit = defaultLimit
	}
	state := grant.State(q.Get("state"))
	if states := grant.ReviewStates(); state != "" && !slices.Contains(states, state) {
		slices.Sort(states)
		return nil, access.Errorf(access.CodeInvalid, "state %.64q is none of %v", string(state), states)
	}
	f := grant.Filter{State: state, Before: q.Get("cursor"), Limit: limit + 1}
	list, err := a.deps.Desk.Reviews(c.Context(), f)
	return newest(list, func(r grant.Review) string { return r.Grant }, f), err
}

// BreakGlass gives an agent a right without those who must approve.
func (c *Client) BreakGlass(ctx context.Context, s admin.EmergencySpec) (grant.Grant, error) {
	return ask[grant.Grant](ctx, c, "POST", "grants/break-glass", s)
}

// ReviewGrant settles what is owed for a break-glass.
func (c *Client) ReviewGrant(ctx context.Context, id string, s admin.ReviewSpec) (grant.Review, error) {
	return ask[grant.Review](ctx, c, "POST", "grants/"+url.PathEscape(id)+"/review", s)
}

// Reviews lists what is or was owed for break-glasses, newest first.
func (c *Client) Reviews(ctx context.Context, o HistoryOptions) (Page[grant.Review], error) {
	return ask[Page[grant.Review]](ctx, c, "GET", "reviews"+o.query(), nil)
}
