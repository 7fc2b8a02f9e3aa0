package api

import (
	"context"
	"net/http"
	"net/url"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/discovery/export"
)

// SnapshotHeader names the state an export is of, whatever its format.
const SnapshotHeader = "Rutile-Snapshot"

func (a *API) exportFound(c *call) (any, error) {
	q, _, err := c.query(append(inventoryFilter(), "as", "rows", "identifiable")...)
	if err != nil {
		return nil, err
	}
	who := q.Get("identifiable")
	if who != "" && who != "true" && who != "false" {
		return nil, access.Errorf(access.CodeInvalid, "identifiable must be true or false")
	}
	f, err := filterOf(q)
	if err != nil {
		return nil, err
	}
	d, err := a.deps.Inventory.Export(c.Context(), export.Options{As: export.Format(q.Get("as")), Rows: export.Rows(q.Get("rows")), Identifiable: who == "true"}, f)
	if err != nil {
		return nil, err
	}
	c.w.Header().Set(SnapshotHeader, d.Snapshot)
	write(c.w, http.StatusOK, d.Type, d.Bytes)
	return streamed{}, nil
}

// ExportFound returns what a filter selects of the inventory as a document of another
// format.
func (c *Client) ExportFound(ctx context.Context, o export.Options, f admin.InventoryFilter) ([]byte, error) {
	q := url.Values{"as": {string(o.As)}}
	for k, v := range filterQuery(f) {
		if v != "" {
			q.Set(k, v)
		}
	}
	if o.Rows != "" {
		q.Set("rows", string(o.Rows))
	}
	if o.Identifiable {
		q.Set("identifiable", "true")
	}
	return c.body(ctx, http.MethodGet, "inventory/export?"+q.Encode(), nil)
}
