package mcpproxy

import (
	"bytes"
	"context"
	"slices"
	"strconv"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/pdp"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// list serves a list: the upstream's, without what this agent could never use
// and without any definition that is not the approved one.
func (c *call) list() {
	if err := c.members(); err != nil {
		c.ans.fail(err)
		return
	}
	if cur := c.in.msg.params.Get("cursor"); cur.Exists() && cur.Kind() != rawjson.String {
		c.ans.fail(invalidParams("/params/cursor must be a string"))
		return
	}
	c.observed(func(d *gate.Dispatch) error {
		ctx, done := c.context()
		defer done()
		rep, resp, err := c.forward(ctx, d)
		if err != nil {
			return err
		}
		if c.ans.final(200, d.Scrub(resp.Body)) == nil { // else the client has gone
			c.done(rep)
		}
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

// listKinds says which kind of definition each list holds and which member
// names it.
var listKinds = map[string]struct {
	kind   registry.Kind
	access access.Kind
	key    string
}{
	"tools":             {registry.KindTool, access.KindTool, "name"},
	"prompts":           {registry.KindPrompt, access.KindPrompt, "name"},
	"resources":         {registry.KindResource, access.KindResource, "uri"},
	"resourceTemplates": {registry.KindTemplate, access.KindResource, "uriTemplate"},
}

// filter says which entries of the list are shown, nil if all are. If the list
// holds what the registry has not seen, the registry looks first, so that no
// decision rests on an older list.
func (c *call) filter(ctx context.Context, rep *reply) []bool {
	shown, news := c.excerpt(rep)
	if news && c.in.p.lookAgain(ctx, c.req.Server) {
		shown, _ = c.excerpt(rep)
	}
	if !slices.Contains(shown, false) {
		return nil
	}
	return shown
}

// excerpt says which entries are shown to this reader.
func (c *call) excerpt(rep *reply) (shown []bool, news bool) {
	p, state, key := c.in.p, c.in.p.gate.State(), c.pageKey()
	pg, shown := p.pages.find(state, key, rep, c.req)
	if shown != nil {
		return shown, false
	}
	items := rep.result.Get(key.list)
	shown = make([]bool, 0, items.Len())
	for item := range items.Items() {
		show, changed := c.shows(state, item)
		shown, news = append(shown, show), news || changed
	}
	if !news {
		p.pages.keep(state, key, rep, pg, c.req, shown)
	}
	return shown, news
}

func (c *call) pageKey() pageKey {
	cur, _ := c.in.msg.params.Get("cursor").Str()
	return pageKey{c.req.Server, c.in.msg.method.list, cur}
}

// shows reports whether one entry may be shown, and whether it is new to the
// registry. What is shown is exactly the approved definition.
func (c *call) shows(state *pdp.State, item rawjson.Value) (show, news bool) {
	k := listKinds[c.in.msg.method.list]
	name, ok := item.Get(k.key).Str()
	if !ok {
		return false, false
	}
	view := state.View
	t, ok := view.Tool(c.req.Server, registry.NameOf(k.kind, name))
	if !ok {
		return false, true
	}
	server, _ := view.Server(c.req.Server)
	observe := server.Pinning == registry.PinningObserve
	def, offered := t.Offered()
	digest := offered
	if !bytes.Equal(def, item.Raw()) {
		digest, _ = registry.Digest(item)
	}
	news = digest != t.SeenDigest || t.State == registry.ToolAbsent
	observe = observe || state.Monitor && server.Wrapped && t.Waits() && digest == t.SeenDigest
	if !observe && (digest != offered || offered == "") {
		return false, news
	}
	if k.kind == registry.KindTool {
		if sh := c.in.p.shapeOf(t); sh.invalid != "" {
			c.in.p.log.Warn("a tool is left out of the list", "server", c.req.Server, "tool", name, "why", sh.invalid)
			return false, news
		}
	}
	return pdp.Visible(state, c.entryRequest(k.access, name)), news
}

// filtered are the edits that take what is not shown out of the list of a result.
func (c *call) filtered(r rawjson.Value) []rawjson.Edit {
	if c.shown == nil {
		return nil
	}
	return hidden(r.Get(c.in.msg.method.list), c.shown, 0)
}

// hidden are the edits that take out of a list the entries that are not shown,
// with the commas between, of a text that begins at base.
func hidden(list rawjson.Value, shown []bool, base int) []rawjson.Edit {
	open, end := list.Span()
	// What is taken out goes from the end of one entry that is shown to the end of
	// the last that is not, or, before the first that is shown, to its start.
	var edits []rawjson.Edit
	kept, gap, first, i := open+1, -1, true, 0
	for item := range list.Items() {
		s, e := item.Span()
		switch {
		case !shown[i]:
			gap = e
		case first:
			if gap >= 0 {
				edits = append(edits, rawjson.Edit{Start: kept - base, End: s - base})
			}
			kept, gap, first = e, -1, false
		default:
			if gap >= 0 {
				edits = append(edits, rawjson.Edit{Start: kept - base, End: gap - base})
			}
			kept, gap = e, -1
		}
		i++
	}
	if gap >= 0 {
		if first {
			gap = end - 1
		}
		edits = append(edits, rawjson.Edit{Start: kept - base, End: gap - base})
	}
	return edits
}

// maxListTTL bounds how long a client may keep a list that was made for it.
const maxListTTL = 60_000

// privately marks a modern result as made for this principal (mcp.md 2.3,
// "Caching"): every list is filtered, and a resource read was decided for it. A
// cache between must not give it to somebody who would be denied.
func (c *call) privately(r rawjson.Value) []rawjson.Edit {
	if !c.in.msg.method.cached {
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
