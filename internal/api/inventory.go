package api

import (
	"context"
	"fmt"
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

// MergeSpec names two servers that are one.
type MergeSpec struct {
	From   string `json:"from"`
	Into   string `json:"into"`
	Reason string `json:"reason,omitempty"`
}

// SplitSpec names what is one no more.
type SplitSpec struct {
	Key    string `json:"key"`
	Reason string `json:"reason,omitempty"`
}

// OwnFoundSpec says who answers for a server that was found.
type OwnFoundSpec struct {
	Key    string `json:"key"`
	Owner  string `json:"owner"`
	Reason string `json:"reason,omitempty"`
}

func (a *API) suggestions(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor")
	if err != nil {
		return nil, err
	}
	all, err := a.deps.Inventory.Suggest(c.Context())
	if err != nil {
		return nil, err
	}
	return paged(all, func(s inventory.Suggestion) string { return s.Into + " " + s.From }, q.Get("cursor"), limit)
}

func (a *API) ownersFound(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor")
	if err != nil {
		return nil, err
	}
	all, err := a.deps.Inventory.SuggestOwners(c.Context())
	if err != nil {
		return nil, err
	}
	return paged(all, func(o inventory.OwnerSuggestion) string { return fmt.Sprintf("%s %d", o.Server, o.Rank) }, q.Get("cursor"), limit)
}

func (a *API) merge(c *call) (any, error) {
	var in MergeSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return a.deps.Inventory.Merge(c.Context(), c.actor, in.From, in.Into, in.Reason)
}

func (a *API) split(c *call) (any, error) {
	var in SplitSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return a.deps.Inventory.Split(c.Context(), c.actor, in.Key, in.Reason)
}

func (a *API) ownFound(c *call) (any, error) {
	var in OwnFoundSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return a.deps.Inventory.Own(c.Context(), c.actor, in.Key, in.Owner, in.Reason)
}

func (a *API) foundHosts(c *call) (any, error) {
	return around(a, c, func(x inventory.Around) []inventory.Host { return x.Hosts }, func(h inventory.Host) string { return h.ID })
}

func (a *API) foundAgents(c *call) (any, error) {
	return around(a, c, func(x inventory.Around) []inventory.Agent { return x.Agents }, func(g inventory.Agent) string { return g.ID })
}

func (a *API) foundCredentials(c *call) (any, error) {
	return around(a, c, func(x inventory.Around) []inventory.Credential { return x.Credentials }, func(x inventory.Credential) string { return x.ID })
}

func around[T any](a *API, c *call, of func(inventory.Around) []T, id func(T) string) (any, error) {
	q, limit, err := c.query("limit", "cursor")
	if err != nil {
		return nil, err
	}
	all, err := a.deps.Inventory.Around(c.Context())
	if err != nil {
		return nil, err
	}
	return paged(of(all), id, q.Get("cursor"), limit)
}

// Suggestions lists what may be one server.
func (c *Client) Suggestions(ctx context.Context, o ListOptions) (Page[inventory.Suggestion], error) {
	return ask[Page[inventory.Suggestion]](ctx, c, "GET", "inventory/suggestions"+o.query(), nil)
}

// SuggestedOwners lists who may answer for servers that nobody owns.
func (c *Client) SuggestedOwners(ctx context.Context, o ListOptions) (Page[inventory.OwnerSuggestion], error) {
	return ask[Page[inventory.OwnerSuggestion]](ctx, c, "GET", "inventory/owners"+o.query(), nil)
}

// Merge says that two servers are one.
func (c *Client) Merge(ctx context.Context, in MergeSpec) (inventory.Merge, error) {
	return ask[inventory.Merge](ctx, c, "POST", "inventory/merges", in)
}

// Split takes a merge back.
func (c *Client) Split(ctx context.Context, in SplitSpec) (inventory.Merge, error) {
	return ask[inventory.Merge](ctx, c, "POST", "inventory/splits", in)
}

// OwnFound says who answers for a server that was found.
func (c *Client) OwnFound(ctx context.Context, in OwnFoundSpec) (inventory.Entry, error) {
	return ask[inventory.Entry](ctx, c, "POST", "inventory/owners", in)
}

// Hosts lists the machines something was found on.
func (c *Client) Hosts(ctx context.Context, o ListOptions) (Page[inventory.Host], error) {
	return ask[Page[inventory.Host]](ctx, c, "GET", "inventory/hosts"+o.query(), nil)
}

// FoundAgents lists the clients that were found.
func (c *Client) FoundAgents(ctx context.Context, o ListOptions) (Page[inventory.Agent], error) {
	return ask[Page[inventory.Agent]](ctx, c, "GET", "inventory/agents"+o.query(), nil)
}

// FoundCredentials lists the secrets that were found, by name and place.
func (c *Client) FoundCredentials(ctx context.Context, o ListOptions) (Page[inventory.Credential], error) {
	return ask[Page[inventory.Credential]](ctx, c, "GET", "inventory/credentials"+o.query(), nil)
}
