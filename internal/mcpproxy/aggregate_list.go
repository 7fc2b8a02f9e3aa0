package mcpproxy

import (
	"encoding/base64"
	"net/http"
	"sort"
	"strings"
	"unicode/utf8"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// Bounds of one page of an aggregated list.
const (
	pageEntries = 1000
	pageBytes   = 4 << 20
)

// ourFeatures are what the aggregate offers: every feature that is carried to some
// server. It does not depend on which servers there are, since one may come or
// go while a client is connected; what none of them has is an empty list.
const ourFeatures = `"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"completions":{},"logging":{}`

const (
	ourCaps = `{` + ourFeatures + `}`
	// modernCaps has the extension whose ids say their server.
	modernCaps = `{` + ourFeatures + `,"extensions":{"` + extTasks + `":{}}}`
)

// ourInstructions are the aggregate's own. Those of the servers are not repeated
// here, where they would speak about each other's tools.
const ourInstructions = "Tools and prompts of several servers, named server__name; resources are named rutile+server:URI. Tools named rutile_… are the gateway's own, to ask for what you may not do. Only what you may use is listed."

// introduce answers server/discover: the same for everybody.
func (c *call) introduce() {
	if err := c.members(); err != nil {
		c.ans.fail(err)
		return
	}
	result := []byte(`{"resultType":"complete","supportedVersions":[`)
	for i, v := range served() {
		if i > 0 {
			result = append(result, ',')
		}
		result = rawjson.AppendString(result, v)
	}
	result = append(result, `],"capabilities":`+modernCaps+`,"instructions":`...)
	result = rawjson.AppendString(result, ourInstructions)
	result = append(result, `,"ttlMs":`+aggregateTTL+`,"cacheScope":"private","_meta":{"`+metaServerInfo+`":`+ourInfo+`}}`...)
	_ = c.ans.final(http.StatusOK, appendResult(nil, c.ans.id, result)) // the client may have gone
}

// aggregateTTL is how long, in milliseconds, a client may keep what was listed.
const aggregateTTL = "10000"

// listAll answers a list: what this agent may use of every server, from what the
// registry last saw and approved. No upstream is waited for. Each server whose
// entries are shown is one recorded decision, as it is at /mcp/{server}.
func (c *call) listAll() {
	if err := c.members(); err != nil {
		c.ans.fail(err)
		return
	}
	list := c.in.msg.method.list
	after, err := readCursor(c.in.msg.params.Get("cursor"), list)
	if err != nil {
		c.ans.fail(err)
		return
	}
	all, shown := c.in.p.offered(c.req, list, "")
	shown = shown[sort.Search(len(shown), func(i int) bool { return after.before(&all[shown[i]]) }):]
	size := 512
	for _, i := range shown[:min(len(shown), pageEntries)] {
		size += len(all[i].raw) + 1
	}
	// The answer may be large, so it is written in one piece.
	result := append(make([]byte, 0, min(size, pageBytes)), `{"jsonrpc":"2.0","id":`...)
	result = append(append(result, c.ans.id...), `,"result":{`...)
	if c.modern {
		result = append(result, `"resultType":"complete",`...)
	}
	result = append(rawjson.AppendString(result, list), ":["...)
	n, first := 0, len(result)
	var server string
	var last *offer
	more, permitted := false, false
	for _, i := range shown {
		o := &all[i]
		if n == pageEntries {
			more = true
			break
		}
		if o.server != server {
			server = o.server
			if permitted, err = c.opens(server); err != nil {
				c.ans.fail(err)
				return
			}
		}
		if !permitted {
			continue
		}
		if n > 0 && len(result)+len(o.raw) > pageBytes {
			more = true
			break
		}
		if len(result) > first {
			result = append(result, ',')
		}
		result = append(result, o.raw...)
		n, last = n+1, o
	}
	result = append(result, ']')
	if more {
		result = rawjson.AppendString(append(result, `,"nextCursor":`...), cursor{list, last.server, last.name}.String())
	}
	if c.modern {
		result = append(result, `,"ttlMs":`+aggregateTTL+`,"cacheScope":"private","_meta":{"`+metaServerInfo+`":`+ourInfo+`}`...)
	}
	_ = c.ans.final(http.StatusOK, append(result, "}}"...)) // the client may have gone
}

// opens decides and records that a server's entries are shown.
func (c *call) opens(server string) (bool, *rpcError) {
	r := *c.req
	r.ID, r.Server = access.NewID(access.PrefixDecision), server
	if !c.in.p.gate.Visible(&r) {
		return false, nil // it changed a moment ago; a denial nobody asked for is not recorded
	}
	dec, err := c.in.p.gate.Check(c.in.r.Context(), &r)
	if err != nil {
		return false, c.failure(err)
	}
	return dec.Allowed(), nil
}

// cursor is the entry a page ended with. The next page holds what comes after
// it, so entries that come or go between two pages neither repeat nor push out
// another. It carries no right and needs no seal: whatever it says, a page holds
// only what its reader may see.
type cursor struct{ list, server, name string }

func (c cursor) before(o *offer) bool {
	return c.server < o.server || c.server == o.server && c.name < o.name
}

func (c cursor) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(c.list + "/" + c.server + "/" + c.name))
}

// readCursor returns where a page begins: at the start without a cursor.
func readCursor(v rawjson.Value, list string) (cursor, *rpcError) {
	if !v.Exists() || v.Equals("") {
		return cursor{}, nil
	}
	s, ok := v.Str()
	if !ok {
		return cursor{}, invalidParams("/params/cursor must be a string")
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	part := strings.SplitN(string(raw), "/", 3)
	if err != nil || !utf8.Valid(raw) || len(part) != 3 || part[0] != list || !access.ValidID(part[1]) || part[2] == "" {
		return cursor{}, invalidParams("/params/cursor is not one of this list; list from the start")
	}
	return cursor{part[0], part[1], part[2]}, nil
}
