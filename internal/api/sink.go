package api

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"rutile/internal/admin"
	"rutile/internal/sink"
)

// Sinks says how declared sinks fare, and leaves out what one refuses.
type Sinks interface {
	admin.Skipper
	Status(id string) sink.Status
}

// SinkView is a declared sink with how it fares on this node.
type SinkView struct {
	sink.Sink
	Status sink.Status `json:"status"`
}

// SkipSpec names the leaf whose event is left out.
type SkipSpec struct {
	Leaf   uint64 `json:"leaf"`
	Reason string `json:"reason"`
}

func (a *API) sinks(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor", "state")
	if err != nil {
		return nil, err
	}
	var all []SinkView
	for _, s := range a.deps.Admin.Current().Sinks {
		if q.Get("state") == "" || q.Get("state") == s.State {
			all = append(all, SinkView{s, a.deps.Sinks.Status(s.ID)})
		}
	}
	id := func(s SinkView) string { return s.ID }
	slices.SortFunc(all, func(x, y SinkView) int { return strings.Compare(x.ID, y.ID) })
	return paged(all, id, q.Get("cursor"), limit)
}

func (a *API) skipEvent(c *call) (any, error) {
	var in SkipSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	id := c.PathValue("id")
	if err := a.deps.Admin.SkipEvent(c.Context(), c.actor, a.deps.Sinks, id, in.Leaf, in.Reason); err != nil {
		return nil, err
	}
	return SinkView{a.deps.Admin.Current().Sinks[id], a.deps.Sinks.Status(id)}, nil
}

// Sinks lists declared sinks with how they fare.
func (c *Client) Sinks(ctx context.Context, o ListOptions) (Page[SinkView], error) {
	return ask[Page[SinkView]](ctx, c, "GET", "sinks"+o.query(), nil)
}

// SkipEvent leaves out an event that a sink refuses.
func (c *Client) SkipEvent(ctx context.Context, id string, in SkipSpec) (SinkView, error) {
	return ask[SinkView](ctx, c, "POST", "sinks/"+url.PathEscape(id)+"/skip", in)
}
