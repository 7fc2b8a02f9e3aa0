package mcpproxy

import (
	"bytes"
	"strconv"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// list serves a list: the upstream's, without what this agent could never use
// and without any definition that is not the approved one.
func (c *call) list() {
	if cur := c.in.msg.params.Get("cursor"); cur.Exists() && cur.Kind() != rawjson.String {
		c.ans.fail(invalidParams("/params/cursor must be a string"))
		return
	}
	c.observed(func(d *gate.Dispatch) error {
		ctx, done := c.context()
		defer done()
		_, resp, err := c.forward(ctx, d)
		if err != nil {
			return err
		}
		_ = c.ans.final(200, d.Scrub(resp.Body)) // the client may have gone
		return nil
	})
}

// observed runs do under a recorded decision about the server itself.
func (c *call) observed(do func(*gate.Dispatch) error) {
	ctx := c.in.r.Context()
	dec, err := c.in.p.gate.Check(ctx, c.req)
	if err != nil {
		c.ans.fail(c.failure(err))
		return
	}
	if !dec.Allowed() {
		c.deny(&dec)
		return
	}
	d, err := c.in.p.gate.Lease(ctx, c.req, &dec)
	if err != nil {
		c.ans.fail(c.failure(err))
		return
	}
	defer d.Release()
	c.d = d
	if err := do(d); err != nil {
		c.ans.fail(c.failure(err))
	}
}

// filter returns the list member without what must not be shown, nil if
// everything may be.
func (c *call) filter(result rawjson.Value) []byte {
	method := c.in.msg.method
	items := result.Get(method.list)
	out, removed, drift := []byte{'['}, false, false
	for item := range items.Items() {
		show, changed := c.shows(method.list, item)
		drift = drift || changed
		if !show {
			removed = true
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, item.Raw()...)
	}
	if drift {
		c.in.p.relearn(c.req.Server)
	}
	if !removed {
		return nil
	}
	return append(out, ']')
}

// shows reports whether one entry may be shown, and whether it differs from
// what the registry has seen.
func (c *call) shows(list string, item rawjson.Value) (show, changed bool) {
	switch list {
	case "tools":
		return c.showsTool(item)
	case "prompts":
		name, ok := item.Get("name").Str()
		return ok && c.in.p.gate.Visible(c.entryRequest(access.KindPrompt, name)), false
	default:
		key := "uri"
		if list == "resourceTemplates" {
			key = "uriTemplate"
		}
		uri, ok := item.Get(key).Str()
		return ok && c.in.p.gate.Visible(c.entryRequest(access.KindResource, uri)), false
	}
}

func (c *call) showsTool(item rawjson.Value) (show, changed bool) {
	name, ok := item.Get("name").Str()
	if !ok {
		return false, false
	}
	t, ok := c.in.p.gate.State().View.Tool(c.req.Server, name)
	if !ok {
		return false, true
	}
	if !bytes.Equal(t.Pinned, item.Raw()) && !bytes.Equal(t.Seen, item.Raw()) {
		digest, _ := registry.Digest(item)
		if digest != t.SeenDigest && digest != t.PinDigest {
			changed = true
		}
		if digest != t.PinDigest && c.in.server.Pinning != registry.PinningObserve {
			return false, changed
		}
	} else if !bytes.Equal(t.Pinned, item.Raw()) && t.SeenDigest != t.PinDigest && c.in.server.Pinning != registry.PinningObserve {
		return false, false
	}
	if c.in.p.shapeOf(t).invalid != "" {
		c.in.p.log.Warn("a tool is left out of the list", "server", c.req.Server, "tool", name, "why", c.in.p.shapeOf(t).invalid)
		return false, changed
	}
	return c.in.p.gate.Visible(c.entryRequest(access.KindTool, name)), changed
}

// filtered is the edit that puts the filtered list in place.
func (c *call) filtered(r rawjson.Value) []rawjson.Edit {
	if c.listed == nil {
		return nil
	}
	s, e := r.Get(c.in.msg.method.list).Span()
	return []rawjson.Edit{{Start: s, End: e, Text: c.listed}}
}

// maxListTTL bounds how long a client may keep a list that was made for it.
const maxListTTL = 60_000

// privately marks a modern list as made for this principal, since every list is
// filtered (mcp.md 2.3, "Caching").
func (c *call) privately(r rawjson.Value) []rawjson.Edit {
	if c.in.msg.method.list == "" {
		return nil
	}
	var edits []rawjson.Edit
	if scope := r.Get("cacheScope"); scope.Exists() && !scope.Equals("private") {
		s, e := scope.Span()
		edits = append(edits, rawjson.Edit{Start: s, End: e, Text: []byte(`"private"`)})
	}
	if ttl := r.Get("ttlMs"); ttl.Exists() {
		if n, ok := ttl.Int64(); !ok || n > maxListTTL || n < 0 {
			s, e := ttl.Span()
			edits = append(edits, rawjson.Edit{Start: s, End: e, Text: strconv.AppendInt(nil, maxListTTL, 10)})
		}
	}
	return edits
}
