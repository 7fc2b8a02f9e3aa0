package mcpproxy

import (
	"bytes"
	"errors"
	"net/http"

	"rutile/internal/rawjson"
)

// maxSafeInteger is the largest integer every JSON reader keeps exactly.
const maxSafeInteger = 1<<53 - 1

type messageKind uint8

const (
	isRequest messageKind = iota
	isNotification
	isResponse
)

// message is one JSON-RPC message, parsed once. Its values are views of buf.
type message struct {
	buf    []byte
	doc    rawjson.Doc
	root   rawjson.Value
	kind   messageKind
	id     rawjson.Value
	method *method // nil if unknown
	name   string  // method as sent
	params rawjson.Value
	meta   rawjson.Value
	args   rawjson.Value // params.arguments
}

// idBytes returns the raw id, nil if the message has none.
func (m *message) idBytes() []byte { return m.id.Raw() }

// envelope names the members JSON-RPC knows, params those MCP knows: a key that
// only case-folds to one of them is an attempt to be read differently by
// somebody else (mcp.md section 3, rule 11).
var (
	envelopeMembers = []string{"jsonrpc", "id", "method", "params", "result", "error"}
	paramMembers    = []string{"name", "arguments", "uri", "_meta", "cursor", "ref", "argument", "context", "level",
		"inputResponses", "requestState", "notifications", "protocolVersion", "capabilities", "clientInfo",
		"taskId", "task", "requestId", "progressToken"}
	metaMembers         = []string{metaVersion, metaCapabilities, metaClientInfo, metaLogLevel, "progressToken", "traceparent", "tracestate", "baggage", metaTask}
	capabilityMembers   = []string{"roots", "sampling", "elicitation", "experimental", "extensions", "tasks"}
	refMembers          = []string{"type", "name", "uri"}
	notificationMembers = []string{"toolsListChanged", "promptsListChanged", "resourcesListChanged", "resourceSubscriptions", "taskIds"}
)

// parse reads one message strictly from buf (rules 6 to 14 and 18).
func (m *message) parse(buf []byte, lim rawjson.Limits) *rpcError {
	*m = message{buf: buf, doc: m.doc}
	if err := m.doc.Parse(buf, lim); err != nil {
		return parseError(err)
	}
	m.root = m.doc.Root()
	switch m.root.Kind() {
	case rawjson.Object:
	case rawjson.Array:
		return badMessage(codeInvalidRequest, "batches are not accepted; send one message per request")
	default:
		return badMessage(codeInvalidRequest, "the message is not a JSON object")
	}
	return m.envelope()
}

func (m *message) envelope() *rpcError {
	if p := m.root.FoldDuplicate(false); p != "" {
		return badMessage(codeInvalidRequest, "two members differ only in case at "+p)
	}
	if _, name, ok := m.root.FoldsTo(envelopeMembers...); ok {
		return badMessage(codeInvalidRequest, "a top-level member is written in another case than "+name)
	}
	for k, v := range m.root.Members() {
		switch {
		case k.Equals("jsonrpc"):
			if !v.Equals("2.0") {
				return badMessage(codeInvalidRequest, `/jsonrpc must be "2.0"`)
			}
		case k.Equals("id"), k.Equals("method"), k.Equals("params"), k.Equals("result"), k.Equals("error"):
		default:
			return badMessage(codeInvalidRequest, "unknown top-level member")
		}
	}
	if !m.root.Get("jsonrpc").Exists() {
		return badMessage(codeInvalidRequest, `/jsonrpc must be "2.0"`)
	}
	m.id = m.root.Get("id")
	if m.id.Exists() {
		if msg := badID(m.id); msg != "" {
			return badMessage(codeInvalidRequest, msg)
		}
	}
	if !m.root.Get("method").Exists() {
		return m.response()
	}
	return m.request()
}

func (m *message) response() *rpcError {
	result, fault := m.root.Get("result"), m.root.Get("error")
	if result.Exists() == fault.Exists() {
		return badMessage(codeInvalidRequest, "the message has neither a method nor exactly one of result and error")
	}
	if m.root.Get("params").Exists() {
		return badMessage(codeInvalidRequest, "a response has no params")
	}
	m.kind = isResponse
	return nil
}

func (m *message) request() *rpcError {
	if m.root.Get("result").Exists() || m.root.Get("error").Exists() {
		return badMessage(codeInvalidRequest, "a request has no result or error")
	}
	method := m.root.Get("method")
	name, ok := method.Str()
	if !ok || name == "" || len(name) > 128 || !visibleASCII(name) {
		return badRequest(codeInvalidRequest, "/method must be a string of 1 to 128 visible ASCII characters")
	}
	m.name, m.method = name, methods[name]
	m.kind = isRequest
	if !m.id.Exists() {
		m.kind = isNotification
	}
	m.params = m.root.Get("params")
	if !m.params.Exists() {
		return nil
	}
	if m.params.Kind() != rawjson.Object {
		return badRequest(codeInvalidRequest, "/params must be an object")
	}
	return m.checkParams()
}

func (m *message) checkParams() *rpcError {
	if p := m.params.FoldDuplicate(false); p != "" {
		return badRequest(codeInvalidRequest, "two members of params differ only in case")
	}
	if _, name, ok := m.params.FoldsTo(paramMembers...); ok {
		return badRequest(codeInvalidRequest, "a member of params is written in another case than "+name)
	}
	m.meta = m.params.Get("_meta")
	m.args = m.params.Get("arguments")
	if m.meta.Exists() {
		if m.meta.Kind() != rawjson.Object {
			return badRequest(codeInvalidParams, "/params/_meta must be an object")
		}
		if m.meta.FoldDuplicate(false) != "" {
			return badRequest(codeInvalidRequest, "two members of _meta differ only in case")
		}
		if _, name, ok := m.meta.FoldsTo(metaMembers...); ok {
			return badRequest(codeInvalidRequest, "a member of _meta is written in another case than "+name)
		}
	}
	return m.checkInner()
}

// checkInner does the same for the objects inside of params that are judged.
func (m *message) checkInner() *rpcError {
	for _, o := range []struct {
		what    string
		v       rawjson.Value
		members []string
	}{
		{"the client's capabilities", m.meta.Get(metaCapabilities), capabilityMembers},
		{"the client's capabilities", m.params.Get("capabilities"), capabilityMembers},
		{"inputResponses", m.params.Get("inputResponses"), nil},
		{"ref", m.params.Get("ref"), refMembers},
		{"notifications", m.params.Get("notifications"), notificationMembers},
	} {
		if o.v.FoldDuplicate(false) != "" {
			return badRequest(codeInvalidRequest, "two members of "+o.what+" differ only in case")
		}
		if _, name, ok := o.v.FoldsTo(o.members...); ok {
			return badRequest(codeInvalidRequest, "a member of "+o.what+" is written in another case than "+name)
		}
	}
	return nil
}

// badID says what is wrong with a JSON-RPC id, "" if nothing is (rule 14).
func badID(id rawjson.Value) string {
	const want = "/id must be a string of at most 256 bytes or an integer"
	switch id.Kind() {
	case rawjson.String:
		if s, _ := id.Str(); len(s) > 256 {
			return want
		}
		return ""
	case rawjson.Number:
		raw := id.Raw()
		if bytes.ContainsAny(raw, ".eE") || string(raw) == "-0" || len(raw) > 256 {
			return want
		}
		return ""
	default:
		return want
	}
}

// unsafeID reports whether a peer that reads numbers as float64 would change
// the id (rule 15).
func unsafeID(id rawjson.Value) bool {
	if id.Kind() != rawjson.Number {
		return false
	}
	n, ok := id.Int64()
	return !ok || n > maxSafeInteger || n < -maxSafeInteger
}

// sameID reports whether two ids are the same value of the same type.
func sameID(a, b rawjson.Value) bool {
	if a.Kind() != b.Kind() {
		return false
	}
	if bytes.Equal(a.Raw(), b.Raw()) {
		return a.Exists()
	}
	if a.Kind() != rawjson.String {
		return false
	}
	s, _ := a.Str()
	return b.Equals(s)
}

func visibleASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// parseError turns a strict-parser error into its answer (rules 6, 7, 9).
func parseError(err error) *rpcError {
	var e *rawjson.Error
	if !errors.As(err, &e) {
		return badMessage(codeParse, "the body is not valid JSON")
	}
	switch e.Rule {
	case rawjson.RuleTooLarge:
		return &rpcError{status: http.StatusRequestEntityTooLarge, code: codeInvalidRequest, msg: "the message is too large", noID: true}
	case rawjson.RuleDepth, rawjson.RuleMembers, rawjson.RuleDuplicate:
		return badMessage(codeInvalidRequest, "the message breaks a rule of strict parsing: "+e.Error())
	default:
		return badMessage(codeParse, "the body is not valid JSON: "+e.Error())
	}
}
