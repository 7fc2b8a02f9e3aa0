package api

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"rutile/internal/access"
	"rutile/internal/fact"
)

// FactView is a declared fact with what it holds.
type FactView struct {
	fact.Fact
	// Read says that some policy reads it; else nothing is counted or remembered.
	Read bool `json:"read"`
	// Values are what the store holds, or for a rate the memory of this node.
	Values []fact.Value `json:"values"`
	More   bool         `json:"more"` // there are other values
}

func (a *API) facts(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor", "state")
	if err != nil {
		return nil, err
	}
	var all []fact.Fact
	for _, f := range a.deps.Admin.Current().Facts {
		if q.Get("state") == "" || q.Get("state") == f.State {
			all = append(all, f)
		}
	}
	id := func(f fact.Fact) string { return f.ID }
	slices.SortFunc(all, func(x, y fact.Fact) int { return strings.Compare(x.ID, y.ID) })
	return paged(all, id, q.Get("cursor"), limit)
}

func (a *API) fact(c *call) (any, error) {
	cur := a.deps.Admin.Current()
	f, ok := cur.Facts[c.PathValue("id")]
	if !ok {
		return nil, access.Errorf(access.CodeNotFound, "fact %.64q is not there: see rutile fact list", c.PathValue("id"))
	}
	v := FactView{Fact: f, Read: slices.Contains(cur.Set.FactsRead(), f.ID)}
	var err error
	v.Values, v.More, err = a.deps.Facts.Values(c.Context(), f)
	return v, err
}

// Facts lists declared facts.
func (c *Client) Facts(ctx context.Context, o ListOptions) (Page[fact.Fact], error) {
	return ask[Page[fact.Fact]](ctx, c, "GET", "facts"+o.query(), nil)
}

// Fact returns one declared fact with what it holds.
func (c *Client) Fact(ctx context.Context, id string) (FactView, error) {
	return ask[FactView](ctx, c, "GET", "facts/"+url.PathEscape(id), nil)
}
