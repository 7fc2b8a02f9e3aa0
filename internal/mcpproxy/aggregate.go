package mcpproxy

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"rutile/internal/access"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// The aggregate /mcp stands for every server an agent may use. A request to it
// that names something of one server is turned into the request that
// /mcp/{server} would have received, and from there on both take one path: the
// same gate, the same judge, the same bytes. What is told of no single server is
// answered here, from what the registry holds: it never waits for an upstream.

// ourInfo is how the aggregate calls itself: as the gateway does to servers.
const ourInfo = `{"name":"rutile","version":"1"}`

// joint stands between the id of a server and the name of what it offers. A
// server's id holds no "_", so the first joint always ends it.
const joint = "__"

// ownPrefix begins the names of the gateway's own tools.
const ownPrefix = access.OwnServer + "_"

// maxName bounds an aggregated name; what is longer is left out of the lists.
const maxName = 128

// joined is the name a tool or prompt of a server has at the aggregate; ok is
// false if it can have none. Names of tools are held to what models accept. The
// gateway's own tools keep theirs, which begin as no other's: "rutile_".
func joined(server string, kind registry.Kind, name string) (s string, ok bool) {
	if s = server + joint + name; server == access.OwnServer {
		if kind != registry.KindTool || !strings.HasPrefix(name, ownPrefix) || strings.Contains(name, joint) {
			return "", false
		}
		s = name
	}
	if utf8.RuneCountInString(s) > maxName {
		return s, false
	}
	if kind == registry.KindTool {
		for i := 0; i < len(s); i++ {
			if c := s[i]; c != '_' && c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
				return s, false
			}
		}
	}
	return s, true
}

// parted is the inverse of joined: only what joined makes is one.
func parted(s string, kind registry.Kind) (server, name string, ok bool) {
	if _, ok := joined(access.OwnServer, kind, s); ok {
		return access.OwnServer, s, true
	}
	server, name, ok = strings.Cut(s, joint)
	if !ok || name == "" || !access.ValidID(server) || server == access.OwnServer {
		return "", "", false
	}
	_, ok = joined(server, kind, name)
	return server, name, ok
}

// uriScheme begins the scheme of every URI at the aggregate: what a server calls
// U is "rutile+SERVER:U", whatever U holds. A server's id is spelled as schemes
// are and holds no ":", so the first one always ends it; U is neither parsed nor
// encoded, and comes back byte for byte.
const uriScheme = "rutile+"

func joinedURI(server, uri string) string { return uriScheme + server + ":" + uri }

func partedURI(s string) (server, uri string, ok bool) {
	rest, ok := strings.CutPrefix(s, uriScheme)
	if !ok {
		return "", "", false
	}
	server, uri, ok = strings.Cut(rest, ":")
	if !ok || uri == "" || !access.ValidID(server) {
		return "", "", false
	}
	return server, uri, true
}

// aggregate serves a request to the aggregate, in a legacy session or, where s
// is nil, a modern one. If it reports false the request has become one to the
// server it names and is to be served as such.
func (in *inbound) aggregate(ans *answer, s *session) (answered bool) {
	m := &in.msg
	version := version2026
	if s != nil {
		version = s.version
	}
	c := &call{in: in, ans: ans, modern: s == nil, sess: s, req: in.request(version)}
	switch {
	case m.name == "server/discover":
		c.introduce()
		return true
	case m.method.list != "":
		c.listAll()
		return true
	case m.name == "subscriptions/listen":
		c.listenAll()
		return true
	case m.name == "initialize", m.name == "ping":
		return false
	case m.name == "logging/setLevel":
		c.setLevelAll()
		return true
	case m.method.task:
		in.retask()
	default:
		if err := in.retarget(s == nil); err != nil {
			ans.fail(err)
			return true
		}
	}
	ans.via = outward{server: in.id}.message
	return false
}

// retask makes the message one to the server of the task it names, which the id
// says; an id that is not the principal's belongs to none.
func (in *inbound) retask() {
	text, _ := in.msg.params.Get("taskId").Str()
	if ref := in.taskOf(in.r.Context(), text); ref != nil {
		in.is(ref.Server)
		return
	}
	in.server, in.known = registry.Server{}, false
}

// retarget makes the message the one its server would have received. A name that
// stands for no server is left as it is and belongs to none: the gate hides it as
// it hides every target that is not there.
func (in *inbound) retarget(modern bool) *rpcError {
	m := &in.msg
	var v rawjson.Value
	kind, uri := registry.KindTool, false
	switch m.name {
	case "tools/call":
		v = m.params.Get("name")
	case "prompts/get":
		v, kind = m.params.Get("name"), registry.KindPrompt
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		v, uri = m.params.Get("uri"), true
	case "completion/complete":
		ref := m.params.Get("ref")
		switch {
		case ref.Get("type").Equals("ref/prompt"):
			v, kind = ref.Get("name"), registry.KindPrompt
		case ref.Get("type").Equals("ref/resource"):
			v, uri = ref.Get("uri"), true
		}
	default:
		return methodNotFound(modern)
	}
	whole, ok := v.Str()
	if !ok {
		return nil // the method's own check says what is wrong
	}
	server, bare, found := "", "", false
	if uri {
		server, bare, found = partedURI(whole)
	} else if utf8.RuneCountInString(whole) <= maxName {
		server, bare, found = parted(whole, kind)
	}
	if !found {
		in.server, in.known = registry.Server{}, false
		return nil
	}
	return in.rename(server, bare, v)
}

// rename splices the bare name in place of v, parses the message again and holds
// it to the one received.
func (in *inbound) rename(server, bare string, v rawjson.Value) *rpcError {
	m := &in.msg
	start, end := v.Span()
	body := rawjson.Splice(m.buf, rawjson.Edit{Start: start, End: end, Text: rawjson.AppendString(nil, bare)})
	// The message lends its document to the new one, so what is compared is kept.
	was := struct {
		name                   string
		id, args, meta, inputs []byte
	}{m.name, m.idBytes(), m.args.Raw(), m.meta.Raw(), m.params.Get("inputResponses").Raw()}
	pointer := v.Pointer()
	if err := m.parse(body, rawjson.Limits{Bytes: 2 * in.p.cfg.MaxBody}); err != nil {
		return err
	}
	now := m.root.Path(strings.Split(strings.TrimPrefix(pointer, "/"), "/")...)
	if m.name != was.name || !bytes.Equal(m.idBytes(), was.id) || !bytes.Equal(m.args.Raw(), was.args) ||
		!bytes.Equal(m.meta.Raw(), was.meta) || !bytes.Equal(m.params.Get("inputResponses").Raw(), was.inputs) || !now.Equals(bare) {
		in.p.log.Error("a request to the aggregate changed when it was renamed", "method", was.name)
		return upstreamError("internal", "internal error")
	}
	in.is(server)
	return nil
}
