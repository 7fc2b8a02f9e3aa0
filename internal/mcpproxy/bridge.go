package mcpproxy

import (
	"bytes"
	"context"
	"net/http"
	"sort"
	"strconv"
	"strings"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// outbound returns the bytes to send for the client's message: its own buffer
// where nothing changes, else spliced and parsed again (mcp.md section 3). It
// sets c.sent and c.minted: ids and tokens are unique in every conversation that
// is not stateless.
func (c *call) outbound() ([]byte, error) {
	m := &c.in.msg
	var edits []rawjson.Edit
	c.sent, c.minted = m.idBytes(), nil
	_, stateless := c.link.(httpModern)
	if !stateless || unsafeID(m.id) || c.recall != nil {
		c.sent = c.in.p.mint()
		s, e := m.id.Span()
		edits = append(edits, rawjson.Edit{Start: s, End: e, Text: c.sent})
	}
	token := m.meta.Get("progressToken")
	if token.Exists() && (!stateless || unsafeID(token)) {
		c.minted = c.in.p.mint()
	}
	changes := c.recall
	switch {
	case c.task != nil:
		changes = []rawjson.Change{{Key: "taskId", Raw: c.task.ID}}
		if answers := c.updateInward(m.params.Get("inputResponses")); answers != nil {
			changes = append(changes, rawjson.Change{Key: "inputResponses", Raw: answers})
		}
	case changes == nil:
		changes = c.carriedOn()
	}
	if masked := c.masked(); masked != nil {
		changes = append(changes[:len(changes):len(changes)], rawjson.Change{Key: "arguments", Raw: masked})
	}
	meta, changed := c.metaFor()
	switch {
	case len(changes) > 0:
		if changed {
			changes = append(changes[:len(changes):len(changes)], rawjson.Change{Key: "_meta", Raw: meta})
		}
		edits = append(edits, rawjson.EditObject(m.params, changes...)...)
	case changed:
		edits = append(edits, setMeta(m, meta))
	}
	if len(edits) == 0 {
		return m.buf, nil
	}
	sort.Slice(edits, func(i, j int) bool { return edits[i].Start < edits[j].Start })
	body := rawjson.Splice(m.buf, edits...)
	return body, c.sameJudged(body)
}

// setMeta returns the edit that gives the message this _meta.
func setMeta(m *message, meta []byte) rawjson.Edit {
	if m.params.Exists() {
		return rawjson.SetMember(m.params, "_meta", meta)
	}
	params := append(append([]byte(`{"_meta":`), meta...), '}')
	return rawjson.SetMember(m.root, "params", params)
}

// metaFor builds the _meta the upstream is to see, and whether it differs from
// the client's.
func (c *call) metaFor() ([]byte, bool) {
	m := &c.in.msg
	crossing := c.modern != c.peer.modern
	caps := m.meta.Get(metaCapabilities)
	denied := c.deniedKinds(caps)
	extensions, foreign := c.carriedExtensions(caps.Get("extensions"))
	// The name of a task is between the agent and the gateway.
	tasked := m.meta.Get(metaTask).Exists()
	if !crossing && c.minted == nil && len(denied) == 0 && !foreign && !tasked {
		return nil, false
	}
	out := []byte{'{'}
	add := func(key string, raw []byte) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(rawjson.AppendString(out, key), ':'), raw...)
	}
	for k, v := range m.meta.Members() {
		key, _ := k.Str()
		switch {
		case key == metaTask:
		case key == "progressToken" && c.minted != nil:
			add(key, c.minted)
		case key == metaCapabilities && !crossing:
			raw := without(v, denied)
			if foreign {
				raw = without(v, append(denied, "extensions"))
				if extensions != nil {
					raw = append(appendMember(raw[:len(raw)-1:len(raw)-1], "extensions", extensions), '}')
				}
			}
			add(key, raw)
		case crossing && strings.HasPrefix(key, metaPrefix):
		default:
			add(key, v.Raw())
		}
	}
	if crossing && c.peer.modern {
		add(metaVersion, []byte(`"`+version2026+`"`))
		caps := c.kinds()
		if caps == "" {
			caps = "{}"
		}
		add(metaCapabilities, []byte(caps))
		if c.sess != nil && len(c.sess.info) > 0 {
			add(metaClientInfo, c.sess.info)
		}
		if c.sess != nil {
			if level := c.sess.logLevel(); level != "" {
				add(metaLogLevel, rawjson.AppendString(nil, level))
			}
		}
	}
	return append(out, '}'), true
}

// deniedKinds names the declared client capabilities policy does not carry:
// a server must not be able to ask for what would be denied.
func (c *call) deniedKinds(caps rawjson.Value) []string {
	var denied []string
	for _, kind := range askKinds {
		if caps.Get(kind).Exists() && !c.in.p.gate.Visible(c.entryRequest(access.KindAsk, kind)) {
			denied = append(denied, kind)
		}
	}
	if c.in.all { // what the aggregate does not offer must not be answered with
		for _, kind := range []string{"extensions", "tasks"} {
			if caps.Get(kind).Exists() && (kind == "tasks" || !c.modern) {
				denied = append(denied, kind)
			}
		}
	}
	return denied
}

// without returns the raw object v without the named members.
func without(v rawjson.Value, names []string) []byte {
	if len(names) == 0 {
		return v.Raw()
	}
	out := []byte{'{'}
	for k, val := range v.Members() {
		key, _ := k.Str()
		drop := false
		for _, n := range names {
			drop = drop || n == key
		}
		if drop {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, k.Raw()...), ':'), val.Raw()...)
	}
	return append(out, '}')
}

// sameJudged parses the spliced bytes and compares what was judged.
func (c *call) sameJudged(body []byte) error {
	v, err := rawjson.Parse(body, rawjson.Limits{Bytes: 2 * c.in.p.cfg.MaxBody})
	if err != nil {
		return access.Errorf(access.CodeInternal, "parsing a spliced request: %w", err)
	}
	m, params := &c.in.msg, v.Get("params")
	same := v.Get("method").Equals(m.name) && bytes.Equal(v.Get("id").Raw(), c.sent) && bytes.Equal(params.Get("arguments").Raw(), c.sending())
	if c.task != nil {
		same = same && bytes.Equal(params.Get("taskId").Raw(), c.task.ID)
	} else if m.method.source != "" {
		same = same && bytes.Equal(params.Get(m.method.source).Raw(), m.params.Get(m.method.source).Raw())
	}
	if !same {
		return access.Errorf(access.CodeInternal, "a spliced request differs from the one judged")
	}
	return nil
}

// inbound returns the final message in the client's era with the client's id.
func (c *call) inbound(ctx context.Context, rep *reply) ([]byte, error) {
	if c.in.all {
		var err error
		if rep, err = c.aggregated(rep); err != nil {
			return nil, err
		}
	}
	var edits []rawjson.Edit
	if id := rep.root.Get("id"); !id.Exists() {
		edits = append(edits, rawjson.SetMember(rep.root, "id", c.ans.id))
	} else if !bytes.Equal(id.Raw(), c.ans.id) {
		s, e := id.Span()
		edits = append(edits, rawjson.Edit{Start: s, End: e, Text: c.ans.id})
	}
	if rep.fault.Exists() {
		e, err := c.fault(rep)
		if err != nil {
			return nil, err
		}
		edits = append(edits, e...)
	} else {
		if list := c.in.msg.method.list; list != "" {
			if rep.result.Get(list).Kind() != rawjson.Array {
				return nil, malformed("its " + c.in.msg.name + " result has no list")
			}
			c.shown = c.filter(ctx, rep)
		}
		e, err := c.result(ctx, rep.result)
		if err != nil {
			return nil, err
		}
		edits = append(edits, e...)
	}
	if len(edits) == 0 {
		return rep.body, nil
	}
	sort.Slice(edits, func(i, j int) bool { return edits[i].Start < edits[j].Start })
	c.made = rawjson.AppendSplice(takeBody(rawjson.SpliceLen(rep.body, edits...)), rep.body, edits...)
	return c.made, nil
}

// fault bridges an upstream's JSON-RPC error. Those that speak of the
// conversation between it and the gateway are not the client's (mcp.md 2.3).
func (c *call) fault(rep *reply) ([]rawjson.Edit, error) {
	code := rep.fault.Get("code")
	s, e := code.Span()
	switch n := rep.code(); {
	case n == codeVersion, n == codeHeaderMismatch:
		c.in.p.forget(c.req.Server)
		return nil, malformed("it refuses the protocol revision it had agreed to")
	case n == codeCapability && c.modern:
		if c.withheld(rep.fault.Path("data", "requiredCapabilities")) {
			return nil, &rpcError{status: http.StatusOK, code: codeDenied, msg: "the server needs a client capability that is not carried for this agent"}
		}
		return nil, nil
	case n == codeURLElicitation && c.modern, n == codeCapability:
		return nil, &rpcError{status: http.StatusOK, code: codeMethodNotFound, msg: "the server asks for input in a form that cannot be carried between these protocol revisions"}
	case n == codeNotFoundLegacy && c.modern:
		return []rawjson.Edit{{Start: s, End: e, Text: strconv.AppendInt(nil, codeInvalidParams, 10)}}, nil
	case n == codeInvalidParams && !c.modern && c.peer.modern && c.in.msg.name == "resources/read" && rep.fault.Path("data", "uri").Exists():
		return []rawjson.Edit{{Start: s, End: e, Text: strconv.AppendInt(nil, codeNotFoundLegacy, 10)}}, nil
	}
	return nil, nil
}

// withheld reports whether the client declared something of what a server
// needs, so that the server does not see it because of us.
func (c *call) withheld(required rawjson.Value) bool {
	caps := c.in.msg.meta.Get(metaCapabilities)
	for k, v := range required.Members() {
		kind, _ := k.Str()
		if kind != "extensions" {
			if caps.Get(kind).Exists() {
				return true
			}
			continue
		}
		for e := range v.Members() {
			if name, _ := e.Str(); declares(caps, name) {
				return true
			}
		}
	}
	return false
}

// result bridges a result's members between eras.
func (c *call) result(ctx context.Context, r rawjson.Value) ([]rawjson.Edit, error) {
	switch {
	case c.modern && c.peer.modern:
		edits := append(c.filtered(r), c.privately(r)...)
		if c.wrap != nil {
			edits = append(edits, rawjson.EditObject(r, c.wrap...)...)
		}
		if err := c.checkResultType(r); err != nil {
			return nil, err
		}
		more, err := c.taskResult(ctx, r)
		return append(edits, more...), err
	case c.modern:
		return append(c.toModern(r), c.filtered(r)...), nil
	case c.peer.modern:
		return c.toLegacy(r)
	default:
		return c.filtered(r), nil
	}
}

// checkResultType holds a modern result to what the request allows (mcp.md 1.3, 1.6).
func (c *call) checkResultType(r rawjson.Value) error {
	t := r.Get("resultType")
	switch {
	case !t.Exists(), t.Equals("complete"), t.Equals("task"): // taskResult looks at the latter
		return nil
	case t.Equals("input_required"):
	default:
		return malformed("its resultType is not one the request allows")
	}
	if !c.in.msg.method.asks() {
		return malformed("it asks for input where the method allows none")
	}
	asks, state := r.Get("inputRequests"), r.Get("requestState")
	if !asks.Exists() && !state.Exists() || asks.Exists() && asks.Kind() != rawjson.Object || state.Exists() && state.Kind() != rawjson.String {
		return malformed("it asks for input without saying which")
	}
	return nil
}

// declaredKind is the kind of a server's request if the client's capabilities
// declare it and, of an elicitation, its mode: form where nothing else is said.
func declaredKind(caps, ask rawjson.Value) string {
	method, _ := ask.Get("method").Str()
	kind := askKind(method)
	declared := caps.Get(kind)
	if kind == "" || !declared.Exists() {
		return ""
	}
	if kind == "sampling" && ask.Path("params", "tools").Exists() && !declared.Get("tools").Exists() {
		return ""
	}
	if kind != "elicitation" {
		return kind
	}
	mode := ask.Path("params", "mode")
	form := declared.Get("form").Exists() || !declared.Get("url").Exists()
	if (!mode.Exists() || mode.Equals("form")) && form || mode.Equals("url") && declared.Get("url").Exists() {
		return kind
	}
	return ""
}

// askKind is the client capability a server request needs.
func askKind(method string) string {
	switch method {
	case "sampling/createMessage":
		return "sampling"
	case "elicitation/create":
		return "elicitation"
	case "roots/list":
		return "roots"
	default:
		return ""
	}
}

// toModern gives a legacy result what 2026-07-28 requires, in place of what it
// may hold under those names: two readers of a member that is there twice could
// take two values.
func (c *call) toModern(r rawjson.Value) []rawjson.Edit {
	changes := []rawjson.Change{{Key: "resultType", Raw: []byte(`"complete"`)}, {Key: "ttlMs"}, {Key: "cacheScope"}}
	if c.in.msg.method.cached {
		changes[1].Raw, changes[2].Raw = []byte("0"), []byte(`"private"`)
	}
	return rawjson.EditObject(r, changes...)
}

// toLegacy removes what only 2026-07-28 knows from a modern result.
func (c *call) toLegacy(r rawjson.Value) ([]rawjson.Edit, error) {
	if t := r.Get("resultType"); t.Exists() && !t.Equals("complete") {
		return nil, malformed("it asks for input although no capability was declared")
	}
	out := []byte{'{'}
	for k, v := range r.Members() {
		if k.Equals("resultType") || k.Equals("ttlMs") || k.Equals("cacheScope") {
			continue
		}
		raw := v.Raw()
		if c.shown != nil && k.Equals(c.in.msg.method.list) {
			from, _ := v.Span()
			raw = rawjson.Splice(raw, hidden(v, c.shown, from)...)
		}
		if k.Equals("_meta") {
			var reserved []string
			for mk := range v.Members() {
				if s, _ := mk.Str(); strings.HasPrefix(s, metaPrefix) {
					reserved = append(reserved, s)
				}
			}
			if raw = without(v, reserved); string(raw) == "{}" {
				continue
			}
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, k.Raw()...), ':'), raw...)
	}
	s, e := r.Span()
	return []rawjson.Edit{{Start: s, End: e, Text: append(out, '}')}}, nil
}
