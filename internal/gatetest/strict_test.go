package gatetest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
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
		{name: "02 two Authorization headers", change: add("Authorization", "Bearer abc"), body: call(good), status: 400},
		{name: "02 an unreadable token", change: set("Authorization", "Bearer a b"), body: call(good), status: 400},
		{name: "02 another scheme", change: set("Authorization", "Basic YTpi"), body: call(good), status: 401},
		{name: "03 wrong content type", change: set("Content-Type", "text/plain"), body: call(good), status: 415},
		{name: "03 content encoding", change: set("Content-Encoding", "gzip"), body: call(good), status: 415},
		{name: "03 encoding identity", change: set("Content-Encoding", "identity"), body: call(good), status: 415},
		{name: "03 no content type", change: drop("Content-Type"), body: call(good), status: 415},
		{name: "03 two content types", change: add("Content-Type", "text/plain"), body: call(good), status: 415},
		{name: "03 another charset", change: set("Content-Type", "application/json; charset=utf-16"), body: call(good), status: 415},
		{name: "03 a type that begins alike", change: set("Content-Type", "application/json-patch+json"), body: call(good), status: 415},
		{name: "04 accepts JSON only", change: set("Accept", "application/json"), body: call(good), status: 406},
		{name: "04 accepts streams only", change: set("Accept", "text/event-stream"), body: call(good), status: 406},
		{name: "04 accepts nothing", change: drop("Accept"), body: call(good), status: 406},
		{name: "04 JSON of quality 0", change: set("Accept", "application/json;q=0, text/event-stream, */*"), body: call(good), status: 406},
		{name: "04 anything of quality 0", change: set("Accept", "*/*; q=0.000"), body: call(good), status: 406},
		{name: "04 names that begin alike", change: set("Accept", "application/jsonx, text/event-streams"), body: call(good), status: 406},
		{name: "05 body over the cap", body: call(`"name":"echo","arguments":{"text":"` + strings.Repeat("a", 5<<20) + `"},` + meta), status: 413, code: -32600, noID: true},
		{name: "05 long Mcp header", change: set("Mcp-Param-X", strings.Repeat("a", 9<<10)), body: call(good), status: 431},
		{name: "05 65 Mcp headers", change: many(64), body: call(good), status: 431},
		{name: "06 empty body", body: "", status: 400, code: -32700, noID: true},
		{name: "06 byte order mark", body: "\ufeff" + call(good), status: 400, code: -32700, noID: true},
		{name: "06 trailing data", body: call(good) + call(good), status: 400, code: -32700, noID: true},
		{name: "06 invalid UTF-8", body: call(`"name":"echo","arguments":{"text":"` + "\xff" + `"},` + meta), status: 400, code: -32700, noID: true},
		{name: "06 lone surrogate", body: call(`"name":"echo","arguments":{"text":"\ud800"},` + meta), status: 400, code: -32700, noID: true},
		{name: "06 cut off", body: strings.TrimSuffix(call(good), "}"), status: 400, code: -32700, noID: true},
		{name: "06 trailing comma", body: strings.Replace(call(good), `"id":1,`, `"id":1,,`, 1), status: 400, code: -32700, noID: true},
		{name: "06 a comment", body: call(good) + "//", status: 400, code: -32700, noID: true},
		{name: "06 NaN", body: call(`"name":"echo","arguments":{"text":NaN},` + meta), status: 400, code: -32700, noID: true},
		{name: "06 a number with a leading zero", body: call(`"name":"echo","arguments":{"text":01},` + meta), status: 400, code: -32700, noID: true},
		{name: "06 a control character", body: call(`"name":"echo","arguments":{"text":"` + "\x01" + `"},` + meta), status: 400, code: -32700, noID: true},
		{name: "06 a NUL behind", body: call(good) + "\x00", status: 400, code: -32700, noID: true},
		{name: "06 an unknown escape", body: call(`"name":"echo","arguments":{"text":"\x"},` + meta), status: 400, code: -32700, noID: true},
		{name: "06 overlong UTF-8", body: call(`"name":"echo","arguments":{"text":"` + "\xc0\xaf" + `"},` + meta), status: 400, code: -32700, noID: true},
		{name: "06 a surrogate in UTF-8", body: call(`"name":"echo","arguments":{"text":"` + "\xed\xa0\x80" + `"},` + meta), status: 400, code: -32700, noID: true},
		{name: "06 a surrogate pair in the wrong order", body: call(`"name":"echo","arguments":{"text":"\udc00\ud800"},` + meta), status: 400, code: -32700, noID: true},
		{name: "06 UTF-16", body: wide(call(good)), status: 400, code: -32700, noID: true},
		{name: "07 depth", body: call(`"name":"echo","arguments":{"text":` + strings.Repeat("[", 80) + strings.Repeat("]", 80) + `},` + meta), status: 400, code: -32600, noID: true},
		{name: "07 members", body: call(`"name":"echo","arguments":{` + members(10_001) + `},` + meta), status: 400, code: -32600, noID: true},
		{name: "08 batch", body: "[" + call(good) + "]", status: 400, code: -32600, noID: true},
		{name: "08 an empty batch", body: "[]", status: 400, code: -32600, noID: true},
		{name: "08 a text", body: `"x"`, status: 400, code: -32600, noID: true},
		{name: "08 null", body: `null`, status: 400, code: -32600, noID: true},
		{name: "09 duplicate params", body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{` + good + `},"params":{` + good + `}}`, status: 400, code: -32600, noID: true},
		{name: "09 duplicate after unescaping", body: call(`"name":"echo","n\u0061me":"other","arguments":{},` + meta), status: 400, code: -32600, noID: true},
		{name: "09 duplicate deep in arguments", body: call(`"name":"echo","arguments":{"text":{"a":1,"a":2}},` + meta), status: 400, code: -32600, noID: true},
		{name: "10 fold duplicate in params", body: call(`"name":"echo","Name":"other","arguments":{},` + meta), status: 400, code: -32600},
		{name: "10 fold duplicate in arguments", body: call(`"name":"echo","arguments":{"x":"1","X":"2"},` + meta), status: 400, code: -32600},
		{name: "10 long s", body: call(`"name":"echo","argumentſ":{},"arguments":{},` + meta), status: 400, code: -32600},
		{name: "10 fold duplicate in the envelope", body: strings.Replace(call(good), `"method"`, `"METHOD":"ping","method"`, 1), status: 400, code: -32600, noID: true},
		{name: "10 fold duplicate in _meta", body: call(`"name":"echo","arguments":{},"_meta":{"vendor/x":1,"vendor/X":2,` + strings.TrimPrefix(meta, `"_meta":{`)), status: 400, code: -32600},
		{name: "10 fold duplicate in capabilities", body: strings.Replace(call(good), `Capabilities":{}`, `Capabilities":{"vendor":{},"Vendor":{}}`, 1), status: 400, code: -32600},
		{name: "10 fold duplicate in inputResponses", body: call(`"inputResponses":{"a":{},"A":{}},` + good), status: 400, code: -32600},
		{name: "10 fold duplicate deep in arguments", body: call(`"name":"echo","arguments":{"text":[{"a":1,"A":2}]},` + meta), status: 400, code: -32600},
		{name: "10 fold duplicate in ref", change: set("Mcp-Method", "completion/complete"), body: `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"a","Name":"b"},` + meta + `}}`, status: 400, code: -32600},
		{name: "11 Params", body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","Params":{` + good + `}}`, status: 400, code: -32600, noID: true},
		{name: "11 Name", body: call(`"Name":"echo","arguments":{},` + meta), status: 400, code: -32600},
		{name: "11 Path for path", body: call(`"name":"echo","arguments":{"Path":"/etc"},` + meta), status: 200, code: -32602},
		{name: "11 the Kelvin sign", body: call(`"name":"echo","arguments":{},"_meta":{"progressTo\u212aen":1,` + strings.TrimPrefix(meta, `"_meta":{`)), status: 400, code: -32600},
		{name: "11 a capability", body: strings.Replace(call(good), `Capabilities":{}`, `Capabilities":{"Sampling":{}}`, 1), status: 400, code: -32600},
		{name: "11 a member of ref", change: set("Mcp-Method", "completion/complete"), body: `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"a","URI":"b"},` + meta + `}}`, status: 400, code: -32600},
		{name: "11 a member of notifications", change: set("Mcp-Method", "subscriptions/listen"), body: `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"ResourceSubscriptions":["test://a"]},` + meta + `}}`, status: 400, code: -32600},
		{name: "12 unknown member", body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","x":1,"params":{` + good + `}}`, status: 400, code: -32600, noID: true},
		{name: "12 no version", body: `{"id":1,"method":"tools/call","params":{` + good + `}}`, status: 400, code: -32600, noID: true},
		{name: "12 params an array", body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[1]}`, status: 400, code: -32600},
		{name: "12 version 1.0", body: strings.Replace(call(good), `"2.0"`, `"1.0"`, 1), status: 400, code: -32600, noID: true},
		{name: "12 version a number", body: strings.Replace(call(good), `"2.0"`, `2.0`, 1), status: 400, code: -32600, noID: true},
		{name: "12 params null", body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":null}`, status: 400, code: -32600},
		{name: "12 params a text", body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":"x"}`, status: 400, code: -32600},
		{name: "12 a request with a result", body: strings.Replace(call(good), `"id":1,`, `"id":1,"result":{},`, 1), status: 400, code: -32600, noID: true},
		{name: "13 a response", body: `{"jsonrpc":"2.0","id":1,"result":{}}`, status: 400, code: -32600, noID: true},
		{name: "13 an error", body: `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}`, status: 400, code: -32600, noID: true},
		{name: "13 both", body: `{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"x"}}`, status: 400, code: -32600, noID: true},
		{name: "13 neither", body: `{"jsonrpc":"2.0","id":1}`, status: 400, code: -32600, noID: true},
		{name: "14 null id", body: strings.Replace(call(good), `"id":1`, `"id":null`, 1), status: 400, code: -32600, noID: true},
		{name: "14 fractional id", body: strings.Replace(call(good), `"id":1`, `"id":1.0`, 1), status: 400, code: -32600, noID: true},
		{name: "14 exponent id", body: strings.Replace(call(good), `"id":1`, `"id":1e3`, 1), status: 400, code: -32600, noID: true},
		{name: "14 minus zero id", body: strings.Replace(call(good), `"id":1`, `"id":-0`, 1), status: 400, code: -32600, noID: true},
		{name: "14 long id", body: strings.Replace(call(good), `"id":1`, `"id":"`+strings.Repeat("a", 300)+`"`, 1), status: 400, code: -32600, noID: true},
		{name: "14 true id", body: strings.Replace(call(good), `"id":1`, `"id":true`, 1), status: 400, code: -32600, noID: true},
		{name: "14 false id", body: strings.Replace(call(good), `"id":1`, `"id":false`, 1), status: 400, code: -32600, noID: true},
		{name: "14 object id", body: strings.Replace(call(good), `"id":1`, `"id":{}`, 1), status: 400, code: -32600, noID: true},
		{name: "14 array id", body: strings.Replace(call(good), `"id":1`, `"id":[1]`, 1), status: 400, code: -32600, noID: true},
		{name: "14 id of one and a half", body: strings.Replace(call(good), `"id":1`, `"id":1.5`, 1), status: 400, code: -32600, noID: true},
		{name: "14 capital exponent id", body: strings.Replace(call(good), `"id":1`, `"id":1E3`, 1), status: 400, code: -32600, noID: true},
		{name: "14 a number of 257 digits", body: strings.Replace(call(good), `"id":1`, `"id":`+strings.Repeat("9", 257), 1), status: 400, code: -32600, noID: true},
		{name: "14 a text of 257 bytes in escapes", body: strings.Replace(call(good), `"id":1`, `"id":"`+strings.Repeat(`\u0061`, 257)+`"`, 1), status: 400, code: -32600, noID: true},
		{name: "18 method not a string", body: `{"jsonrpc":"2.0","id":1,"method":5,"params":{` + good + `}}`, status: 400, code: -32600},
		{name: "18 no text", body: `{"jsonrpc":"2.0","id":1,"method":"","params":{` + good + `}}`, status: 400, code: -32600},
		{name: "18 null", body: `{"jsonrpc":"2.0","id":1,"method":null,"params":{` + good + `}}`, status: 400, code: -32600},
		{name: "18 129 characters", body: `{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("m", 129) + `","params":{` + good + `}}`, status: 400, code: -32600},
		{name: "18 a blank", body: `{"jsonrpc":"2.0","id":1,"method":"tools/call ","params":{` + good + `}}`, status: 400, code: -32600},
		{name: "18 a NUL", body: `{"jsonrpc":"2.0","id":1,"method":"tools/call\u0000","params":{` + good + `}}`, status: 400, code: -32600},
		{name: "18 not ASCII", body: `{"jsonrpc":"2.0","id":1,"method":"tools/cäll","params":{` + good + `}}`, status: 400, code: -32600},
		{name: "19 removed method", change: set("Mcp-Method", "ping"), body: `{"jsonrpc":"2.0","id":1,"method":"ping","params":{` + meta + `}}`, status: 404, code: -32601},
		{name: "19 wrong case", change: set("Mcp-Method", "Tools/call"), body: `{"jsonrpc":"2.0","id":1,"method":"Tools/call","params":{` + good + `}}`, status: 404, code: -32601},
		{name: "19 unknown", change: set("Mcp-Method", "no/such"), body: `{"jsonrpc":"2.0","id":1,"method":"no/such","params":{` + meta + `}}`, status: 404, code: -32601},
		{name: "19 not advertised", change: set("Mcp-Method", "prompts/list"), body: `{"jsonrpc":"2.0","id":1,"method":"prompts/list","params":{` + meta + `}}`, status: 404, code: -32601},
		{name: "19 a notification that asks", change: set("Mcp-Method", "notifications/cancelled"), body: `{"jsonrpc":"2.0","id":1,"method":"notifications/cancelled","params":{` + meta + `}}`, status: 404, code: -32601},
		{name: "20 no _meta", body: call(`"name":"echo","arguments":{}`), status: 400, code: -32602},
		{name: "20 capabilities a string", body: call(`"name":"echo","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":"x"}`), status: 400, code: -32602},
		{name: "20 no params", body: `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`, status: 400, code: -32602},
		{name: "20 _meta null", body: call(`"name":"echo","arguments":{},"_meta":null`), status: 400, code: -32602},
		{name: "20 version a number", body: strings.Replace(call(good), `"2026-07-28"`, `2026`, 1), status: 400, code: -32602},
		{name: "20 capabilities null", body: strings.Replace(call(good), `Capabilities":{}`, `Capabilities":null`, 1), status: 400, code: -32602},
		{name: "20 capabilities missing", body: call(`"name":"echo","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}`), status: 400, code: -32602},
		{name: "21 no version header", change: drop("Mcp-Protocol-Version"), body: call(good), status: 400, code: -32020},
		{name: "21 legacy version header", change: set("Mcp-Protocol-Version", "2025-11-25"), body: call(good), status: 400, code: -32020},
		{name: "21 repeated version header", change: add("Mcp-Protocol-Version", "2026-07-28"), body: call(good), status: 400, code: -32020},
		{name: "21 an empty version header", change: set("Mcp-Protocol-Version", ""), body: call(good), status: 400, code: -32020},
		{name: "22 unserved version", change: set("Mcp-Protocol-Version", "v999"), body: strings.Replace(call(good), "2026-07-28", "v999", 1), status: 400, code: -32022},
		{name: "22 legacy date in _meta", change: set("Mcp-Protocol-Version", "2025-11-25"), body: strings.Replace(call(good), "2026-07-28", "2025-11-25", 1), status: 400, code: -32022},
		{name: "23 no method header", change: drop("Mcp-Method"), body: call(good), status: 400, code: -32020},
		{name: "23 other method header", change: set("Mcp-Method", "tools/list"), body: call(good), status: 400, code: -32020},
		{name: "23 repeated method header", change: add("Mcp-Method", "tools/call"), body: call(good), status: 400, code: -32020},
		{name: "24 no name header", change: drop("Mcp-Name"), body: call(good), status: 400, code: -32020},
		{name: "24 other name header", change: set("Mcp-Name", "safe"), body: call(good), status: 400, code: -32020},
		{name: "24 repeated name header", change: add("Mcp-Name", "echo"), body: call(good), status: 400, code: -32020},
		{name: "24 no name header of a prompt", change: all(set("Mcp-Method", "prompts/get"), drop("Mcp-Name")), body: `{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"hi",` + meta + `}}`, status: 400, code: -32020},
		{name: "24 no name header of a resource", change: all(set("Mcp-Method", "resources/read"), drop("Mcp-Name")), body: `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"test://a",` + meta + `}}`, status: 400, code: -32020},
		{name: "24 other name header of a resource", change: all(set("Mcp-Method", "resources/read"), set("Mcp-Name", "test://b")), body: `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"test://a",` + meta + `}}`, status: 400, code: -32020},
		{name: "25 bad base64", change: set("Mcp-Name", "=?base64?ZWNobw?="), body: call(good), status: 400, code: -32020},
		{name: "25 non-canonical base64", change: set("Mcp-Name", "=?base64?ZWNoby=?="), body: call(good), status: 400, code: -32020},
		{name: "28 empty name", change: set("Mcp-Name", ""), body: call(`"name":"","arguments":{},` + meta), status: 200, code: -32602},
		{name: "28 control character", change: set("Mcp-Name", "=?base64?ZWNobwE=?="), body: call(`"name":"echo\u0001","arguments":{},` + meta), status: 200, code: -32602},
		{name: "28 no name", body: call(`"arguments":{},` + meta), status: 200, code: -32602},
		{name: "28 name a number", body: call(`"name":1,"arguments":{},` + meta), status: 200, code: -32602},
		{name: "28 129 characters", change: set("Mcp-Name", strings.Repeat("n", 129)), body: call(`"name":"` + strings.Repeat("n", 129) + `","arguments":{},` + meta), status: 200, code: -32602},
		{name: "28 empty uri", change: all(set("Mcp-Method", "resources/read"), set("Mcp-Name", "")), body: `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"",` + meta + `}}`, status: 200, code: -32602},
		{name: "28 long uri", change: all(set("Mcp-Method", "resources/read"), set("Mcp-Name", "test:"+strings.Repeat("u", 4092))), body: `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"test:` + strings.Repeat("u", 4092) + `",` + meta + `}}`, status: 200, code: -32602},
		{name: "29 arguments an array", body: call(`"name":"echo","arguments":[],` + meta), status: 200, code: -32602},
		{name: "29 progress token an object", body: call(`"name":"echo","arguments":{},"_meta":{"progressToken":{},` + strings.TrimPrefix(meta, `"_meta":{`)), status: 200, code: -32602},
		{name: "29 arguments null", body: call(`"name":"echo","arguments":null,` + meta), status: 200, code: -32602},
		{name: "29 progress token a fraction", body: call(`"name":"echo","arguments":{},"_meta":{"progressToken":1.5,` + strings.TrimPrefix(meta, `"_meta":{`)), status: 200, code: -32602},
		{name: "29 progress token null", body: call(`"name":"echo","arguments":{},"_meta":{"progressToken":null,` + strings.TrimPrefix(meta, `"_meta":{`)), status: 200, code: -32602},
		{name: "29 cursor a number", change: set("Mcp-Method", "tools/list"), body: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":1,` + meta + `}}`, status: 200, code: -32602},
		{name: "29 cursor null", change: set("Mcp-Method", "tools/list"), body: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":null,` + meta + `}}`, status: 200, code: -32602},
		{name: "30 requestState elsewhere", change: set("Mcp-Method", "completion/complete"), body: `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"requestState":"x",` + meta + `}}`, status: 200, code: -32602},
		{name: "30 inputResponses elsewhere", change: set("Mcp-Method", "tools/list"), body: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"inputResponses":{},` + meta + `}}`, status: 200, code: -32602},
		{name: "33 a notification", change: set("Mcp-Method", "notifications/cancelled"), body: `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,` + meta + `}}`, status: 202},
		{name: "33 a call without id", body: strings.Replace(call(good), `"id":1,`, ``, 1), status: 202},
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
	for _, h := range []http.Header{modernHeaders("", "tools/call", "echo"), modernHeaders(token, "tools/call", "echo")} {
		got := post(t, r.url("up")+"?a=b&access%5ftoken="+token, h, call(good))
		if got.status != 400 || challenge(t, got.header)["error"] != "invalid_request" || strings.Contains(got.body, token) {
			t.Errorf("a token in the query answered %d %s %s, want 400", got.status, got.header, got.body)
		}
	}
	for name, change := range map[string]func(http.Header){
		"03 a charset":      set("Content-Type", `Application/JSON; Charset="UTF-8"`),
		"04 anything":       set("Accept", "*/*"),
		"04 in two headers": all(set("Accept", "text/event-stream;q=0.1"), add("Accept", "application/*")),
		"05 64 Mcp headers": many(61), // and the three of every call
		"27 a session":      set("Mcp-Session-Id", "x"),
		"27 an event id":    set("Last-Event-Id", "x"),
	} {
		h := modernHeaders(token, "tools/call", "echo")
		change(h)
		if got := post(t, r.url("up"), h, call(good)); got.msg.Result == nil {
			t.Errorf("%s answered %d %s", name, got.status, got.body)
		}
	}
	if got := post(t, r.url("up"), modernHeaders(token, "tools/list", "a name"), modernBody("1", "tools/list", `"cursor":""`)); got.msg.Result == nil {
		t.Errorf("27 a name that mirrors nothing, 29 an empty cursor: answered %d %s", got.status, got.body)
	}
	if got := post(t, r.url("up"), modernHeaders(token, "tools/call", " echo "), call(good)); got.status != 200 || got.msg.code() != 0 {
		t.Errorf("a padded Mcp-Name answered %d %s, want it accepted", got.status, got.body)
	}
	if u.count() != 7 {
		t.Errorf("the upstream saw %d calls, want 7", u.count())
	}
}

// What one version is answered tells the client which others there are, and no
// more than server/discover does.
func TestUnservedVersionNamesTheServed(t *testing.T) {
	t.Parallel()
	r, token := governed(t, newUpstream(t))
	var discovered struct {
		Versions []string `json:"supportedVersions"`
	}
	if got := r.modern(token, "server/discover", "", ""); json.Unmarshal(got.msg.Result, &discovered) != nil || len(discovered.Versions) == 0 {
		t.Fatalf("answered %s", got.body)
	}
	for version, want := range map[string][]string{"v999": discovered.Versions, "2099-01-01": discovered.Versions, "2025-06-18": {v2026}, v2511: {v2026}, "\"}\n": discovered.Versions} {
		quoted, _ := json.Marshal(version)
		h := modernHeaders(token, "tools/list", "")
		h.Set("Mcp-Protocol-Version", version)
		if strings.Contains(version, "\n") {
			h.Set("Mcp-Protocol-Version", strings.TrimSpace(version))
			quoted, _ = json.Marshal(strings.TrimSpace(version))
		}
		got := post(t, r.url("up"), h, strings.Replace(modernBody("1", "tools/list", ""), `"2026-07-28"`, string(quoted), 1))
		var data struct {
			Supported []string        `json:"supported"`
			Requested json.RawMessage `json:"requested"`
		}
		if got.status != 400 || got.msg.code() != -32022 || json.Unmarshal(got.msg.Error.Data, &data) != nil || !slices.Equal(data.Supported, want) || string(data.Requested) != string(quoted) {
			t.Errorf("%s answered %d %s", version, got.status, got.body)
		}
	}
}

// A number no policy can hold exactly passes as it was written where none reads
// it, and is denied where one does (rule 32).
func TestUnrepresentableNumbers(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, `{"name":"pay","inputSchema":{"type":"object","properties":{"amount":{"type":"number"},"note":{"type":"number"}}}}`)
	r, token := governed(t, u)
	r.apply("kind: Policy\nid: small\ncedar: |\n  forbid (principal, action == Mcp::Action::\"up/pay\", resource) when { context.input has amount && context.input.amount.greaterThan(decimal(\"100.0\")) };\n")
	for _, n := range []string{"1e400", "-1e400", "0.00001", "1e-400", "123456789012345678901234567890", "922337203685477.5808", "1E+400"} {
		if got := r.call(token, "up", "pay", `{"amount":5.5,"note":`+n+`}`); got.msg.Result == nil || !strings.Contains(got.body, `\"note\":`+n) {
			t.Errorf("unread %s answered %s", n, got.body)
		}
		before := u.count()
		if d := denied(t, r.call(token, "up", "pay", `{"amount":`+n+`}`)); d.Class != "policy_error" || u.count() != before {
			t.Errorf("%s was denied as %s", n, d.Class)
		}
	}
	if d := denied(t, r.call(token, "up", "pay", `{"amount":100.5}`)); d.Class != "policy" {
		t.Errorf("a number over the bound was denied as %s", d.Class)
	}
}

// all makes several changes.
func all(changes ...func(http.Header)) func(http.Header) {
	return func(h http.Header) {
		for _, c := range changes {
			c(h)
		}
	}
}

// many adds n Mcp headers.
func many(n int) func(http.Header) {
	return func(h http.Header) {
		for i := range n {
			h.Set(fmt.Sprintf("Mcp-Param-X%d", i), "x")
		}
	}
}

// wide is s in UTF-16.
func wide(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteByte(s[i])
		b.WriteByte(0)
	}
	return b.String()
}

// members are n members of an object.
func members(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"m%d":0`, i)
	}
	return b.String()
}

func set(name, value string) func(http.Header) { return func(h http.Header) { h.Set(name, value) } }
func add(name, value string) func(http.Header) { return func(h http.Header) { h.Add(name, value) } }
func drop(name string) func(http.Header)       { return func(h http.Header) { h.Del(name) } }
