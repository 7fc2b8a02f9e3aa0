package mcpproxy

import (
	"context"
	"net"
	"net/url"
	"slices"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// ask is one request of a server to the client, judged.
type ask struct {
	key    string // in inputRequests
	kind   string // elicitation, sampling or roots
	method string
	id     []byte        // raw id of a legacy server's request, nil of a modern one's
	params rawjson.Value // Missing where there are none
	link   string        // the address of a URL elicitation, "" if it is none
	own    []byte        // the gateway's raw answer in the client's stead; nil if the client is to be asked
	fault  *rpcError     // the refusal, where no answer says no
}

// refused reports whether the client is not to be asked.
func (a *ask) refused() bool { return a.own != nil || a.fault != nil }

// Rules an upstream breaks with what it asks, as evidence names them.
const (
	findUndeclared = "ask.undeclared" // what the client did not declare, or what no client could read
	findSecret     = "ask.secret"     // a form that asks for a secret
	findLink       = "ask.link"       // an address nobody should be sent to
)

// maxForm bounds a form in bytes: every word of it is read.
const maxForm = 64 << 10

// find notes a rule that something in the exchange broke.
func (c *call) find(rule string) {
	c.foundMu.Lock()
	defer c.foundMu.Unlock()
	for _, f := range c.found {
		if f == rule {
			return
		}
	}
	c.found = append(c.found, rule)
	c.in.p.log.Warn("a server asks the client for what it may not", "server", c.req.Server, "decision", c.req.ID, "rule", rule)
}

func (c *call) findings() []string {
	c.foundMu.Lock()
	defer c.foundMu.Unlock()
	return append([]string(nil), c.found...)
}

// judgedMembers are the members of a server's request that decide what it is.
var judgedMembers = []string{"method", "params", "mode", "message", "requestedSchema", "url", "elicitationId", "messages", "systemPrompt", "tools", "toolChoice", "maxTokens"}

// judge decides whether the client is asked what v, a request of the server,
// asks. caps are the capabilities the server was told of. An error means that
// it could not be decided.
func (c *call) judge(ctx context.Context, caps, v rawjson.Value) (*ask, error) {
	a := read(caps, v)
	if a.fault == nil && c.sess != nil && c.sess.version == version2506 && newerForm(a) {
		a.fault = &rpcError{code: codeInvalidParams, msg: "the client's revision has no such form"}
	}
	if a.fault != nil {
		c.find(findUndeclared)
		return a, nil //nolint:nilerr // the fault is the answer to the server, in a
	}
	r := c.entryRequest(access.KindAsk, a.kind)
	r.ID, r.Method, r.Unknown, r.Arguments = access.NewID(access.PrefixDecision), a.method, false, a.params
	if why := c.unaskable(a); why != "" {
		a.no()
		return a, c.in.p.gate.Refuse(ctx, r, why)
	}
	dec, err := c.in.p.gate.Check(ctx, r)
	if err != nil {
		return nil, err
	}
	if !dec.Allowed() {
		a.no()
	}
	return a, nil
}

// read reads a request of a server to a client that declared caps.
func read(caps, v rawjson.Value) *ask {
	a := &ask{params: v.Get("params")}
	a.method, _ = v.Get("method").Str()
	p := a.params
	if p.Exists() && p.Kind() != rawjson.Object {
		a.fault = &rpcError{code: codeInvalidParams, msg: "params must be an object"}
		return a
	}
	for _, o := range []rawjson.Value{v, p, p.Get("requestedSchema")} {
		if _, _, ok := o.FoldsTo(judgedMembers...); ok || o.FoldDuplicate(false) != "" {
			a.fault = &rpcError{code: codeInvalidParams, msg: "a member is written in another case, or twice"}
			return a
		}
	}
	if a.kind = declaredKind(caps, v); a.kind == "" {
		a.fault = &rpcError{code: codeMethodNotFound, msg: "the client did not declare this capability"}
		if caps.Get(askKind(a.method)).Exists() {
			a.fault.code = codeInvalidParams // the kind is declared, the mode is not
		}
	}
	return a
}

// newerForm reports whether a form has what only 2025-11-25 knows: choices with
// titles and choices of several.
func newerForm(a *ask) bool {
	if a.kind != "elicitation" {
		return false
	}
	for _, field := range a.params.Path("requestedSchema", "properties").Members() {
		if field.Get("type").Equals("array") || field.Get("oneOf").Exists() || field.Get("anyOf").Exists() {
			return true
		}
	}
	return false
}

// no answers in the client's stead (mcp.md 2.4 step 4).
func (a *ask) no() {
	switch a.kind {
	case "elicitation":
		a.own = []byte(`{"action":"decline"}`)
	case "sampling":
		a.fault = &rpcError{code: -1, msg: "policy does not permit sampling"}
	default:
		a.fault = &rpcError{code: codeMethodNotFound, msg: "policy does not permit this request"}
	}
}

// unaskable says why nobody may be asked this, whatever policy says.
func (c *call) unaskable(a *ask) string {
	if a.kind != "elicitation" {
		return ""
	}
	if !a.params.Get("mode").Equals("url") {
		if len(a.params.Raw()) > maxForm {
			c.find(findSecret)
			return "a form of this size cannot be read for what it asks"
		}
		if secretForm(a.params) {
			c.find(findSecret)
			return "a form must not ask for a secret; servers send people to an address of theirs for that (URL mode)"
		}
		return ""
	}
	a.link, _ = a.params.Get("url").Str()
	if !openable(a.link) {
		c.find(findLink)
		return "the address people are sent to must be an https address, or http on this machine, without a user name"
	}
	return ""
}

// openable reports whether a person may be sent to the address.
func openable(link string) bool {
	u, err := url.Parse(link)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Opaque != "" || hasControl(link) || len(link) > 4096 {
		return false
	}
	switch u.Scheme {
	case "https":
		return true
	case "http":
		ip := net.ParseIP(u.Hostname())
		return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	}
	return false
}

// answerFault says what is wrong with the client's answer to a request of a
// kind, "" if nothing is.
func answerFault(kind string, v rawjson.Value) string {
	if v.Kind() != rawjson.Object {
		return "it is not an object"
	}
	if _, _, ok := v.FoldsTo("action", "content", "role", "model", "stopReason", "roots", "_meta", "resultType"); ok || v.FoldDuplicate(false) != "" {
		return "a member is written in another case, or twice"
	}
	content := v.Get("content")
	switch kind {
	case "elicitation":
		if a := v.Get("action"); !a.Equals("accept") && !a.Equals("decline") && !a.Equals("cancel") {
			return "action must be accept, decline or cancel"
		}
		if content.Exists() && content.Kind() != rawjson.Object {
			return "content must be an object"
		}
	case "sampling":
		if v.Get("role").Kind() != rawjson.String || v.Get("model").Kind() != rawjson.String || content.Kind() != rawjson.Object && content.Kind() != rawjson.Array {
			return "role, model and content are required"
		}
	case "roots":
		if v.Get("roots").Kind() != rawjson.Array {
			return "roots must be an array"
		}
		for root := range v.Get("roots").Items() {
			if root.Get("uri").Kind() != rawjson.String {
				return "every root has a uri"
			}
		}
	}
	return ""
}

// entry is the request as it stands in inputRequests: without what belongs to
// the session of a legacy server. Clients exist that need params to be there.
func (a *ask) entry() []byte {
	params := []byte("{}")
	if a.params.Exists() {
		params = without(a.params, []string{"elicitationId", "task"})
	}
	out := rawjson.AppendString([]byte(`{"method":`), a.method)
	return append(append(append(out, `,"params":`...), params...), '}')
}

// askKinds are the client capabilities that let a server ask.
var askKinds = []string{"elicitation", "roots", "sampling"}

// carriedKinds are the capabilities of caps a server is told of, as one of few
// possible texts, "" if there are none: what policy carries, in the modes and
// variants the client's revision has.
func (c *call) carriedKinds(caps rawjson.Value, version string) string {
	if c.ans != nil && c.ans.collect {
		return "" // an element of a batch has no stream to be asked on
	}
	latest := version == version2026 || version == version2511
	denied := c.deniedKinds(caps)
	out := []byte{'{'}
	for _, kind := range askKinds {
		v := caps.Get(kind)
		if v.Kind() != rawjson.Object || slices.Contains(denied, kind) || kind == "elicitation" && version == version2503 {
			continue
		}
		text := "{}"
		switch {
		case kind == "elicitation" && latest && v.Get("url").Exists():
			if text = `{"url":{}}`; v.Get("form").Exists() {
				text = `{"form":{},"url":{}}`
			}
		case kind == "elicitation" && !latest && v.Get("url").Exists() && !v.Get("form").Exists():
			continue // its revision has no other mode than form
		case kind == "sampling" && latest && v.Get("tools").Exists():
			text = `{"tools":{}}`
		}
		out = appendMember(out, kind, []byte(text))
	}
	if len(out) == 1 {
		return ""
	}
	return string(append(out, '}'))
}

// toldOf parses what carriedKinds made. There are few such texts, so that each
// is parsed once.
func (p *Proxy) toldOf(caps string) (rawjson.Value, error) {
	if caps == "" {
		caps = "{}"
	}
	if v, ok := p.told.Load(caps); ok {
		return v.(rawjson.Value), nil
	}
	v, err := rawjson.Parse([]byte(caps), rawjson.Limits{})
	if err != nil {
		return v, access.Errorf(access.CodeInternal, "parsing the capabilities carried: %w", err)
	}
	p.told.Store(caps, v)
	return v, nil
}

// kinds returns carriedKinds of the client this call is of.
func (c *call) kinds() string {
	if c.sess != nil {
		return c.carriedKinds(c.sess.caps, c.sess.version)
	}
	return c.carriedKinds(c.in.msg.meta.Get(metaCapabilities), version2026)
}
