package api

import (
	"context"
	"net/url"

	"rutile/internal/admin"
	"rutile/internal/discovery/inventory"
)

// maxReport bounds a report, in bytes.
const maxReport = inventory.MaxBatch

// InventoryOptions select a page of the inventory. Empty members do not restrict.
type InventoryOptions struct {
	admin.InventoryFilter
	Cursor string
	Limit  int
}

func (a *API) inventory(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor", "kind", "status", "condition", "owner", "text")
	if err != nil {
		return nil, err
	}
	all, err := a.deps.Inventory.List(c.Context(), admin.InventoryFilter{Kind: q.Get("kind"), Status: q.Get("status"), Condition: q.Get("condition"), Owner: q.Get("owner"), Text: q.Get("text")})
	if err != nil {
		return nil, err
	}
	return paged(all, func(e inventory.Entry) string { return e.Key }, q.Get("cursor"), limit)
}

func (a *API) found(c *call) (any, error) {
	q, _, err := c.query("key")
	if err != nil {
		return nil, err
	}
	return a.deps.Inventory.Show(c.Context(), q.Get("key"))
}

func (a *API) report(c *call) (any, error) {
	var b inventory.Batch
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	return a.deps.Inventory.Report(c.Context(), c.actor, b)
}

// Inventory lists what was found.
func (c *Client) Inventory(ctx context.Context, o InventoryOptions) (Page[inventory.Entry], error) {
	q := queryOf(map[string]string{"kind": o.Kind, "status": o.Status, "condition": o.Condition, "owner": o.Owner, "text": o.Text, "cursor": o.Cursor}, o.Limit)
	return ask[Page[inventory.Entry]](ctx, c, "GET", "inventory"+q, nil)
}

// Found returns one server of the inventory.
func (c *Client) Found(ctx context.Context, key string) (admin.Found, error) {
	return ask[admin.Found](ctx, c, "GET", "inventory/show?"+url.Values{"key": {key}}.Encode(), nil)
}

// Report gives the inventory what a run saw.
func (c *Client) Report(ctx context.Context, b inventory.Batch) (inventory.Result, error) {
	return ask[inventory.Result](ctx, c, "POST", "inventory/reports", b)
}
