package mcpproxy

import (
	"sort"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// outward maps what a server says to what the aggregate says: the URIs in the
// places where the protocol has them, and whose answer it is. What a server
// writes into texts stays as it is.
type outward struct {
	server string
	back   bool // what is mapped is a client's answer: what is the server's becomes its own again
	edits  []rawjson.Edit
}

func (o *outward) set(v rawjson.Value, raw []byte) {
	s, e := v.Span()
	o.edits = append(o.edits, rawjson.Edit{Start: s, End: e, Text: raw})
}

func (o *outward) uri(v rawjson.Value) {
	s, ok := v.Str()
	if !ok {
		return
	}
	if !o.back {
		o.set(v, rawjson.AppendString(nil, joinedURI(o.server, s)))
		return
	}
	if server, own, ok := partedURI(s); ok && server == o.server {
		o.set(v, rawjson.AppendString(nil, own))
	}
}

// content maps one block of content or a list of them. How deep it goes is bounded
// where it was parsed.
func (o *outward) content(v rawjson.Value) {
	if v.Kind() == rawjson.Array {
		for item := range v.Items() {
			o.content(item)
		}
		return
	}
	switch t := v.Get("type"); {
	case t.Equals("resource_link"):
		o.uri(v.Get("uri"))
	case t.Equals("resource"):
		o.uri(v.Path("resource", "uri"))
	case t.Equals("tool_result"):
		o.content(v.Get("content"))
	}
}

// inward is the raw answer of a client to a request of a server, of a kind: what
// names a resource of that server names it as the server does. Whatever else a
// client writes there, names of other servers' resources included, stays.
func inward(server, kind string, raw []byte) []byte {
	v, err := rawjson.Parse(raw, rawjson.Limits{Bytes: len(raw) + 1})
	if err != nil {
		return raw // it was parsed before
	}
	o := outward{server: server, back: true}
	switch kind {
	case "sampling":
		o.content(v.Get("content"))
	case "roots":
		for root := range v.Get("roots").Items() {
			o.uri(root.Get("uri"))
		}
	}
	if len(o.edits) == 0 {
		return raw
	}
	return o.splice(raw)
}

// inward is that at the aggregate; elsewhere nothing is mapped.
func (c *call) inward(kind string, raw []byte) []byte {
	if !c.in.all {
		return raw
	}
	return inward(c.req.Server, kind, raw)
}

// askedOutward is a server's request as the client gets it.
func (c *call) askedOutward(v rawjson.Value) []byte {
	if !c.in.all {
		return v.Raw()
	}
	own, err := rawjson.Parse(v.Raw(), rawjson.Limits{Bytes: len(v.Raw()) + 1})
	if err != nil {
		return v.Raw() // it was parsed before
	}
	o := outward{server: c.req.Server}
	o.ask(own)
	return o.splice(v.Raw())
}

// updateInward is the raw answers to what a task asks, nil where they go on as
// they are.
func (c *call) updateInward(responses rawjson.Value) []byte {
	out, changed := []byte{'{'}, false
	for k, v := range responses.Members() {
		key, _ := k.Str()
		raw := c.inward(kindOfAnswer(v), v.Raw())
		changed = changed || string(raw) != string(v.Raw())
		out = appendMember(out, key, raw)
	}
	if !changed {
		return nil
	}
	return append(out, '}')
}

// ask maps a request of the server to the client.
func (o *outward) ask(v rawjson.Value) {
	if v.Get("method").Equals("sampling/createMessage") {
		for msg := range v.Path("params", "messages").Items() {
			o.content(msg.Get("content"))
		}
	}
}

func (o *outward) result(method string, r rawjson.Value) {
	switch method {
	case "tools/call":
		o.content(r.Get("content"))
	case "prompts/get":
		for msg := range r.Get("messages").Items() {
			o.content(msg.Get("content"))
		}
	case "resources/read":
		for item := range r.Get("contents").Items() {
			o.uri(item.Get("uri"))
		}
	}
	o.task(r)
	for _, ask := range r.Get("inputRequests").Members() {
		o.ask(ask)
	}
	if info := r.Path("_meta", metaServerInfo); info.Exists() {
		o.set(info, []byte(ourInfo))
	}
	if scope := r.Get("cacheScope"); scope.Exists() {
		o.set(scope, []byte(`"private"`)) // who asked decided which server answered
	}
}

// task maps what the state of a task holds besides what it asks.
func (o *outward) task(r rawjson.Value) {
	if !r.Get("taskId").Exists() {
		return
	}
	o.content(r.Path("result", "content"))
	if info := r.Path("result", "_meta", metaServerInfo); info.Exists() {
		o.set(info, []byte(ourInfo))
	}
	o.uri(r.Path("error", "data", "uri"))
}

func (o *outward) splice(src []byte) []byte {
	sort.Slice(o.edits, func(i, j int) bool { return o.edits[i].Start < o.edits[j].Start })
	return rawjson.Splice(src, o.edits...)
}

// message maps a notification or a request of the server, nil to drop it: that
// a list changed is said by the aggregate, of its own lists.
func (o outward) message(msg []byte) []byte {
	v, err := rawjson.Parse(msg, rawjson.Limits{Bytes: len(msg) + 1})
	if err != nil {
		return nil // it was parsed before
	}
	switch name, _ := v.Get("method").Str(); name {
	case "notifications/tools/list_changed", "notifications/prompts/list_changed", "notifications/resources/list_changed":
		return nil
	case resourceUpdated:
		o.uri(v.Path("params", "uri"))
	case "notifications/tasks":
		o.task(v.Get("params"))
		for _, ask := range v.Path("params", "inputRequests").Members() {
			o.ask(ask)
		}
	default:
		o.ask(v)
	}
	if len(o.edits) == 0 {
		return msg
	}
	return o.splice(msg)
}

// aggregatedAsk maps an answer of ours that asks what a server asked.
func (c *call) aggregatedAsk(body []byte) ([]byte, error) {
	if !c.in.all {
		return body, nil
	}
	v, err := rawjson.Parse(body, rawjson.Limits{Bytes: len(body) + 1})
	if err != nil {
		return nil, access.Errorf(access.CodeInternal, "parsing an answer that asks: %w", err)
	}
	o := outward{server: c.req.Server}
	o.result(c.in.msg.name, v.Get("result"))
	return o.splice(body), nil
}

// aggregated maps the final message of a server.
func (c *call) aggregated(rep *reply) (*reply, error) {
	o := outward{server: c.req.Server}
	o.result(c.in.msg.name, rep.result)
	o.uri(rep.fault.Path("data", "uri"))
	if len(o.edits) == 0 {
		return rep, nil
	}
	id := rep.root.Get("id").Raw() // it was matched before
	if id == nil {
		id = c.sent
	}
	mapped := &reply{status: rep.status, http: rep.http}
	matched, err := mapped.read(o.splice(rep.body), id, rawjson.Limits{Bytes: 2 * c.in.p.cfg.MaxResult})
	if err == nil && !matched {
		err = access.Errorf(access.CodeInternal, "a mapped answer is not the one received")
	}
	return mapped, err
}
