package api

import (
	"context"
	"slices"
	"strings"

	"rutile/internal/webhook"
)

// Webhooks says how declared webhooks fare.
type Webhooks interface {
	Status(id string) webhook.Status
}

// WebhookView is a declared webhook with how it fares on this node.
type WebhookView struct {
	webhook.Webhook
	Status webhook.Status `json:"status"`
}

func (a *API) webhooks(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor", "state")
	if err != nil {
		return nil, err
	}
	var all []WebhookView
	for _, w := range a.deps.Admin.Current().Webhooks {
		if q.Get("state") == "" || q.Get("state") == w.State {
			all = append(all, WebhookView{w, a.deps.Webhooks.Status(w.ID)})
		}
	}
	id := func(w WebhookView) string { return w.ID }
	slices.SortFunc(all, func(x, y WebhookView) int { return strings.Compare(x.ID, y.ID) })
	return paged(all, id, q.Get("cursor"), limit)
}

// Webhooks lists declared webhooks with how they fare.
func (c *Client) Webhooks(ctx context.Context, o ListOptions) (Page[WebhookView], error) {
	return ask[Page[WebhookView]](ctx, c, "GET", "webhooks"+o.query(), nil)
}
