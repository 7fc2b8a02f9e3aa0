package api

import (
	"context"
	"net/url"
	"strconv"

	"rutile/internal/audit"
)

// SearchAll asks for the parts of a search one after another until limit events are
// found or there are no more, and tells between them what there is so far. Of a search
// that breaks off it returns what was found, with how far it came, and why.
func (c *Client) SearchAll(ctx context.Context, v url.Values, limit int, between func(Rows)) (Rows, error) {
	out := Rows{Page: Page[audit.Row]{Items: []audit.Row{}}}
	for {
		v.Set("limit", strconv.Itoa(limit-len(out.Items)))
		part, err := c.Search(ctx, v)
		if err != nil {
			return out, err
		}
		out.Items = append(out.Items, part.Items...)
		out.More, out.Next, out.SearchedTo = part.More, part.Next, part.SearchedTo
		if part.SearchedTo == nil {
			return out, nil
		}
		between(out)
		v.Set("cursor", part.Next)
	}
}
