package gatetest_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestStrictParse is the table of mcp.md section 3: each row is a request that
// some lenient reader would take for another one, and its exact answer. None of
// them may reach the upstream.
func TestStrictParse(t *testing.T) {
	u := newUpstream(t)
	r, token := governed(t, u)
	call := func(params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{` + params + `}}`
	}
	good := `"name":"echo","arguments":{},` + meta
	for _, tt := range []struct {
		name   string
		change func(h http.Header)
		body   string
		status int
		code   int
		noID   bool
	}{
		{name: "01 foreign Host", change: set("Host", "evil.example"), body: call(good), status: 403},
		{name: "01 foreign Origin", change: set("Origin", "https://evil.example"), body: call(good), status: 403},
		{name: "01 null Origin", change: set("Origin", "null"), body: call(good), status: 403},
		{name: "02 no token", change: drop("Authorization"), body: call(good), status: 401},
		{name: "02 garbage token", change: set("Authorization", "Bearer abc"), body: call(good), status: 401},
		{name: "03 wrong content type", change: set("Content-Type", "text/plain"), body: call(good), status: 415},
		{name: "03 content encoding", change: set("Content-Encoding", "gzip"), body: call(good), status: 415},
		{name: "04 accepts JSON only", change: set("Accept", "application/json"), body: call(good), status: 406},
		{name: "05 body over the cap", body: call(`"name":"echo","arguments":{"text":"` + strings.Repeat("a", 5<<20) + `"},` + meta), status: 413, code: -32600, noID: true},
		{name: "05 long Mcp header", change: set("Mcp-Param-X", strings.Repeat("a", 9<<10)), body: call(good), status: 431},
		{name: "06 empty body", body: "", status: 400, code: -32700, noID: true},
		{name: "06 byte order mark", body: "\ufeff" + call(good), status: 400, code: -32700, noID: true},
		{name: "06 trailing data", body: call(good) + call(good), status: 400, code: -32700, noID: true},
		{name: "06 invalid UTF-8", body: call(`"name":"echo","arguments":{"text":"` + "\xff" + `"},` + meta), status: 400, code: -32700, noID: true},
		{name: "06 lone surrogate", body: call(`"name":"echo","arguments":{"text":"\ud800"},` + meta), status: 400, code: -32700, noID: true},
		{name: "07 depth", body: call(`"name":"echo","arguments":{"text":` + strings.Repeat("[", 80) + strings.Repeat("]", 80) + `},` + meta), status: 400, code: -32600, noID: true},
		{name: "08 batch", body: "[" + call(good) + "]", status: 400, code: -32600, noID: true},
		{name: "09 duplicate params", body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{` + good + `},"params":{` + good + `}}`, status: 400, code: -32600, noID: true},
		{name: "09 duplicate after unescaping", body: call(`"name":"echo","n\u0061me":"other","arguments":{},` + meta), status: 400, code: -32600, noID: true},
		{name: "09 duplicate deep in arguments", body: call(`"name":"echo","arguments":{"text":{"a":1,"a":2}},` + meta), status: 400, code: -32600, noID: true},
		{name: "10 fold duplicate in params", body: call(`"name":"echo","Name":"other","arguments":{},` + meta), status: 400, code: -32600},
		{name: "10 fold duplicate in arguments", body: call(`"name":"echo","arguments":{"x":"1","X":"2"},` + meta), status: 200, code: -32602},
		{name: "10 long s", body: call(`"name":"echo","argumentſ":{},"arguments":{},` + meta), status: 400, code: -32600},
		{name: "11 Params", body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","Params":{` + good + `}}`, status: 400, code: -32600, noID: true},
		{name: "11 Name", body: call(`"Name":"echo","arguments":{},` + meta), status: 400, code: -32600},
		{name: "11 Path for path", body: call(`"name":"echo","arguments":{"Path":"/etc"},` + meta), status: 200, code: -32602},
		{name: "12 unknown member", body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","x":1,"params":{` + good + `}}`, status: 400, code: -32600, noID: true},
		{name: "12 no version", body: `{"id":1,"method":"tools/call","params":{` + good + `}}`, status: 400, code: -32600, noID: true},
		{name: "12 params an array", body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[1]}`, status: 400, code: -32600},
		{name: "13 a response", body: `{"jsonrpc":"2.0","id":1,"result":{}}`, status: 400, code: -32600, noID: true},
		{name: "14 null id", body: strings.Replace(call(good), `"id":1`, `"id":null`, 1), status: 400, code: -32600, noID: true},
		{name: "14 fractional id", body: strings.Replace(call(good), `"id":1`, `"id":1.0`, 1), status: 400, code: -32600, noID: true},
		{name: "14 exponent id", body: strings.Replace(call(good), `"id":1`, `"id":1e3`, 1), status: 400, code: -32600, noID: true},
		{name: "14 minus zero id", body: strings.Replace(call(good), `"id":1`, `"id":-0`, 1), status: 400, code: -32600, noID: true},
		{name: "14 long id", body: strings.Replace(call(good), `"id":1`, `"id":"`+strings.Repeat("a", 300)+`"`, 1), status: 400, code: -32600, noID: true},
		{name: "18 method not a string", body: `{"jsonrpc":"2.0","id":1,"method":5,"params":{` + good + `}}`, status: 400, code: -32600},
		{name: "19 removed method", change: set("Mcp-Method", "ping"), body: `{"jsonrpc":"2.0","id":1,"method":"ping","params":{` + meta + `}}`, status: 404, code: -32601},
		{name: "19 wrong case", change: set("Mcp-Method", "Tools/call"), body: `{"jsonrpc":"2.0","id":1,"method":"Tools/call","params":{` + good + `}}`, status: 404, code: -32601},
		{name: "20 no _meta", body: call(`"name":"echo","arguments":{}`), status: 400, code: -32602},
		{name: "20 capabilities a string", body: call(`"name":"echo","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":"x"}`), status: 400, code: -32602},
		{name: "21 no version header", change: drop("Mcp-Protocol-Version"), body: call(good), status: 400, code: -32020},
		{name: "21 legacy version header", change: set("Mcp-Protocol-Version", "2025-11-25"), body: call(good), status: 400, code: -32020},
		{name: "21 repeated version header", change: add("Mcp-Protocol-Version", "2026-07-28"), body: call(good), status: 400, code: -32020},
		{name: "22 unserved version", change: set("Mcp-Protocol-Version", "v999"), body: strings.Replace(call(good), "2026-07-28", "v999", 1), status: 400, code: -32022},
		{name: "22 legacy date in _meta", change: set("Mcp-Protocol-Version", "2025-11-25"), body: strings.Replace(call(good), "2026-07-28", "2025-11-25", 1), status: 400, code: -32022},
		{name: "23 no method header", change: drop("Mcp-Method"), body: call(good), status: 400, code: -32020},
		{name: "23 other method header", change: set("Mcp-Method", "tools/list"), body: call(good), status: 400, code: -32020},
		{name: "23 repeated method header", change: add("Mcp-Method", "tools/call"), body: call(good), status: 400, code: -32020},
		{name: "24 no name header", change: drop("Mcp-Name"), body: call(good), status: 400, code: -32020},
		{name: "24 other name header", change: set("Mcp-Name", "safe"), body: call(good), status: 400, code: -32020},
		{name: "25 bad base64", change: set("Mcp-Name", "=?base64?ZWNobw?="), body: call(good), status: 400, code: -32020},
		{name: "25 non-canonical base64", change: set("Mcp-Name", "=?base64?ZWNoby=?="), body: call(good), status: 400, code: -32020},
		{name: "28 empty name", change: set("Mcp-Name", ""), body: call(`"name":"","arguments":{},` + meta), status: 200, code: -32602},
		{name: "28 control character", change: set("Mcp-Name", "=?base64?ZWNobwE=?="), body: call(`"name":"echo\u0001","arguments":{},` + meta), status: 200, code: -32602},
		{name: "29 arguments an array", body: call(`"name":"echo","arguments":[],` + meta), status: 200, code: -32602},
		{name: "29 progress token an object", body: call(`"name":"echo","arguments":{},"_meta":{"progressToken":{},` + strings.TrimPrefix(meta, `"_meta":{`)), status: 200, code: -32602},
		{name: "30 requestState elsewhere", change: set("Mcp-Method", "completion/complete"), body: `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"requestState":"x",` + meta + `}}`, status: 200, code: -32602},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := modernHeaders(token, "tools/call", "echo")
			if tt.change != nil {
				tt.change(h)
			}
			before := u.count()
			got := post(t, r.url("up"), h, tt.body)
			if got.status != tt.status || got.msg.code() != tt.code {
				t.Errorf("answered %d with code %d, want %d with %d: %s", got.status, got.msg.code(), tt.status, tt.code, got.body)
			}
			if tt.code != 0 && (got.msg.ID == nil) != tt.noID {
				t.Errorf("id in the error: %s, want none: %v", got.msg.ID, tt.noID)
			}
			if u.count() != before {
				t.Error("the request reached the upstream")
			}
		})
	}
	if got := post(t, r.url("up")+"?access_token="+token, modernHeaders("", "tools/call", "echo"), call(good)); got.status != 400 {
		t.Errorf("a token in the query answered %d, want 400", got.status)
	}
	if got := post(t, r.url("up"), modernHeaders(token, "tools/call", " echo "), call(good)); got.status != 200 || got.msg.code() != 0 {
		t.Errorf("a padded Mcp-Name answered %d %s, want it accepted", got.status, got.body)
	}
	if u.count() != 1 {
		t.Errorf("the upstream saw %d calls, want 1", u.count())
	}
}

func set(name, value string) func(http.Header) { return func(h http.Header) { h.Set(name, value) } }
func add(name, value string) func(http.Header) { return func(h http.Header) { h.Add(name, value) } }
func drop(name string) func(http.Header)       { return func(h http.Header) { h.Del(name) } }
