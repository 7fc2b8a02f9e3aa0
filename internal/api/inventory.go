package api

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"rutile/internal/access"
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

// inventoryFilter are the parts of an address that select servers of the inventory.
func inventoryFilter() []string {
	return []string{"kind", "status", "condition", "owner", "unowned", "text", "state", "tier", "source", "transport", "has", "lacks"}
}

// filterOf reads what an address selects.
func filterOf(q url.Values) (admin.InventoryFilter, error) {
	f := admin.InventoryFilter{
		Kind: q.Get("kind"), Status: q.Get("status"), Condition: q.Get("condition"), Owner: q.Get("owner"), Text: q.Get("text"), State: q.Get("state"), Tier: q.Get("tier"),
		Source: q.Get("source"), Transport: q.Get("transport"), Unowned: q.Get("unowned") == "true", Has: words(q.Get("has")), Lacks: words(q.Get("lacks")),
	}
	if u := q.Get("unowned"); u != "" && u != "true" && u != "false" {
		return f, access.Errorf(access.CodeInvalid, "unowned must be true or false")
	}
	return f, f.Check()
}

// filterQuery is a filter as parts of an address.
func filterQuery(f admin.InventoryFilter) map[string]string {
	q := map[string]string{
		"kind": f.Kind, "status": f.Status, "condition": f.Condition, "owner": f.Owner, "text": f.Text, "state": f.State, "tier": f.Tier,
		"source": f.Source, "transport": f.Transport, "has": strings.Join(f.Has, ","), "lacks": strings.Join(f.Lacks, ","),
	}
	if f.Unowned {
		q["unowned"] = "true"
	}
	return q
}

// words are those of a list with commas, nil for "".
func words(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func (a *API) inventory(c *call) (any, error) {
	q, limit, err := c.query(append(inventoryFilter(), "limit", "cursor")...)
	if err != nil {
		return nil, err
	}
	f, err := filterOf(q)
	if err != nil {
		return nil, err
	}
	all, err := a.deps.Inventory.List(c.Context(), f)
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
	q := filterQuery(o.InventoryFilter)
	q["cursor"] = o.Cursor
	return ask[Page[inventory.Entry]](ctx, c, "GET", "inventory"+queryOf(q, o.Limit), nil)
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

// OwnManySpec says who answers for servers that were found, by their keys.
type OwnManySpec struct {
	Keys   []string `json:"keys"`
	Owner  string   `json:"owner"`
	Reason string   `json:"reason,omitempty"`
	// Plan changes nothing and says what would change.
	Plan bool `json:"plan,omitempty"`
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

func (a *API) ownMany(c *call) (any, error) {
	var in OwnManySpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	var list []admin.Owning
	var err error
	if in.Plan {
		list, err = a.deps.Inventory.OwnPlan(c.Context(), in.Keys, in.Owner)
	} else {
		list, err = a.deps.Inventory.OwnMany(c.Context(), c.actor, in.Keys, in.Owner, in.Reason)
	}
	return Page[admin.Owning]{Items: list}, err
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

// OwnMany says who answers for several servers that were found.
func (c *Client) OwnMany(ctx context.Context, in OwnManySpec) (Page[admin.Owning], error) {
	return ask[Page[admin.Owning]](ctx, c, "POST", "inventory/ownings", in)
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
