package mcpproxy

import (
	"net/http"
	"strconv"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// The protocol revisions (mcp.md 1.1).
const (
	version2026 = "2026-07-28"
	version2511 = "2025-11-25"
	version2506 = "2025-06-18"
	version2503 = "2025-03-26"
)

// served lists what the gateway speaks to clients, newest first; both
// server/discover and -32022 are made from it.
func served() []string { return []string{version2026, version2511, version2506, version2503} }

func legacyVersion(v string) bool {
	return v == version2511 || v == version2506 || v == version2503
}

// Keys of _meta (mcp.md 1.2).
const (
	metaPrefix       = "io.modelcontextprotocol/"
	metaVersion      = metaPrefix + "protocolVersion"
	metaCapabilities = metaPrefix + "clientCapabilities"
	metaClientInfo   = metaPrefix + "clientInfo"
	metaLogLevel     = metaPrefix + "logLevel"
	metaServerInfo   = metaPrefix + "serverInfo"
	metaSubscription = metaPrefix + "subscriptionId"
	metaDenial       = "io.rutile/denial"
	metaTask         = "io.rutile/task" // of a request: the task it belongs to
)

// JSON-RPC error codes: JSON-RPC 2.0, MCP 2026-07-28, and our own, which lie
// outside -32768…-32000 (mcp.md 1.4, 2.6).
const (
	codeParse          = -32700
	codeInvalidRequest = -32600
	codeMethodNotFound = -32601
	codeInvalidParams  = -32602
	codeInternal       = -32603
	codeNotFoundLegacy = -32002
	codeHeaderMismatch = -32020
	codeCapability     = -32021
	codeVersion        = -32022
	codeURLElicitation = -32042
	codeDenied         = 4030
	codeApproval       = 4031
	codeRateLimit      = 4290
	codeQuarantine     = 4230
	codeRevoked        = 4010
)

// method is what the proxy knows of one protocol method.
type method struct {
	name   string
	modern bool   // exists in 2026-07-28
	legacy bool   // exists in 2025-11-25 and before
	source string // params member mirrored as Mcp-Name: "name", "uri" or "taskId"
	kind   access.Kind
	list   string // result member of a list, "" if not a list
	notify bool
	cached bool // carries ttlMs and cacheScope in 2026-07-28
	task   bool // names a task of the tasks extension
	needs  string
}

// asks reports whether a result of the method may ask for input (mcp.md 1.6).
func (m *method) asks() bool {
	return m.name == "tools/call" || m.name == "prompts/get" || m.name == "resources/read"
}

func (m *method) listens() bool { return m.name == "subscriptions/listen" }

func (m *method) subscribes() bool {
	return m.name == "resources/subscribe" || m.name == "resources/unsubscribe"
}

// methods is the closed list of what agents may send; anything else is
// answered -32601.
var methods = func() map[string]*method {
	m := map[string]*method{}
	for _, x := range []method{
		{name: "server/discover", modern: true, kind: access.KindServer, cached: true},
		{name: "tools/list", modern: true, legacy: true, kind: access.KindServer, list: "tools", cached: true, needs: "tools"},
		{name: "tools/call", modern: true, legacy: true, kind: access.KindTool, source: "name", needs: "tools"},
		{name: "prompts/list", modern: true, legacy: true, kind: access.KindServer, list: "prompts", cached: true, needs: "prompts"},
		{name: "prompts/get", modern: true, legacy: true, kind: access.KindPrompt, source: "name", needs: "prompts"},
		{name: "resources/list", modern: true, legacy: true, kind: access.KindServer, list: "resources", cached: true, needs: "resources"},
		{name: "resources/templates/list", modern: true, legacy: true, kind: access.KindServer, list: "resourceTemplates", cached: true, needs: "resources"},
		{name: "resources/read", modern: true, legacy: true, kind: access.KindResource, source: "uri", cached: true, needs: "resources"},
		{name: "completion/complete", modern: true, legacy: true, kind: access.KindPrompt, needs: "completions"},
		{name: "subscriptions/listen", modern: true, kind: access.KindServer},
		{name: "tasks/get", modern: true, kind: access.KindTool, source: "taskId", task: true},
		{name: "tasks/update", modern: true, kind: access.KindTool, source: "taskId", task: true},
		{name: "tasks/cancel", modern: true, kind: access.KindTool, source: "taskId", task: true},
		{name: "initialize", legacy: true, kind: access.KindServer},
		{name: "ping", legacy: true, kind: access.KindServer},
		{name: "logging/setLevel", legacy: true, kind: access.KindServer, needs: "logging"},
		{name: "resources/subscribe", legacy: true, kind: access.KindResource, source: "uri", needs: "resources"},
		{name: "resources/unsubscribe", legacy: true, kind: access.KindServer, source: "uri", needs: "resources"},
		{name: "notifications/cancelled", modern: true, legacy: true, notify: true},
		{name: "notifications/initialized", legacy: true, notify: true},
		{name: "notifications/progress", legacy: true, notify: true},
		{name: "notifications/roots/list_changed", legacy: true, notify: true},
	} {
		m[x.name] = &x
	}
	return m
}()

// rpcError is a protocol error to be answered: an HTTP status and a JSON-RPC
// error object. msg names a rule and a place, never request content.
type rpcError struct {
	status int
	code   int
	msg    string
	data   []byte // JSON, optional
	noID   bool   // the id is not to be echoed, because it could not be trusted
}

func (e *rpcError) Error() string { return e.msg }

func badRequest(code int, msg string) *rpcError {
	return &rpcError{status: http.StatusBadRequest, code: code, msg: msg}
}

// badMessage is an invalid request whose id must not be echoed.
func badMessage(code int, msg string) *rpcError {
	return &rpcError{status: http.StatusBadRequest, code: code, msg: msg, noID: true}
}

func invalidParams(msg string) *rpcError {
	return &rpcError{status: http.StatusOK, code: codeInvalidParams, msg: msg}
}

// upstreamError is the answer for a fault of the upstream: never its own text.
func upstreamError(kind, msg string) *rpcError {
	data := append(rawjson.AppendString([]byte(`{"kind":`), kind), '}')
	return &rpcError{status: http.StatusOK, code: codeInternal, msg: msg, data: data}
}

// appendError appends the JSON-RPC error response. An unknown id is left out
// where the revision allows that (MCP), as JSON-RPC's null is not an MCP id.
func appendError(dst, id []byte, e *rpcError) []byte {
	dst = append(dst, `{"jsonrpc":"2.0",`...)
	if id != nil && !e.noID {
		dst = append(append(append(dst, `"id":`...), id...), ',')
	}
	return append(append(append(dst, `"error":`...), e.object()...), '}')
}

// object is the JSON-RPC error object.
func (e *rpcError) object() []byte {
	b := strconv.AppendInt([]byte(`{"code":`), int64(e.code), 10)
	b = rawjson.AppendString(append(b, `,"message":`...), e.msg)
	if e.data != nil {
		b = append(append(b, `,"data":`...), e.data...)
	}
	return append(b, '}')
}

// appendResult appends a JSON-RPC result response around result.
func appendResult(dst, id, result []byte) []byte {
	dst = append(append(dst, `{"jsonrpc":"2.0","id":`...), id...)
	dst = append(append(dst, `,"result":`...), result...)
	return append(dst, '}')
}
