package gatetest_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestStrictParseLegacy is the table of mcp.md section 3 where a session of the
// older revisions is answered in another way.
func TestStrictParseLegacy(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r, token := governed(t, u)
	c := r.legacy(token, "up", v2511, `{}`)
	call := func(params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{` + params + `}}`
	}
	const good = `"name":"echo","arguments":{}`
	for _, tt := range []struct {
		name   string
		change func(h http.Header)
		body   string
		status int
		code   int
		noID   bool
	}{
		{name: "04 accepts JSON only", change: set("Accept", "application/json"), body: call(good), status: 406},
		{name: "08 batch", body: "[" + call(good) + "]", status: 400, code: -32600, noID: true},
		{name: "09 duplicate", body: call(`"name":"other",` + good), status: 400, code: -32600, noID: true},
		{name: "10 fold duplicate in arguments", body: call(`"name":"echo","arguments":{"x":"1","X":"2"}`), status: 400, code: -32600},
		{name: "11 Path for path", body: call(`"name":"echo","arguments":{"Path":"/etc"}`), status: 200, code: -32602},
		{name: "13 a response nobody waits for", body: `{"jsonrpc":"2.0","id":1,"result":{}}`, status: 400, code: -32600, noID: true},
		{name: "14 null id", body: strings.Replace(call(good), `"id":1`, `"id":null`, 1), status: 400, code: -32600, noID: true},
		{name: "18 not ASCII", body: `{"jsonrpc":"2.0","id":1,"method":"tools/cäll"}`, status: 400, code: -32600},
		{name: "19 unknown", body: `{"jsonrpc":"2.0","id":1,"method":"no/such"}`, status: 200, code: -32601},
		{name: "19 wrong case", body: `{"jsonrpc":"2.0","id":1,"method":"Tools/call","params":{` + good + `}}`, status: 200, code: -32601},
		{name: "19 of the other era", body: `{"jsonrpc":"2.0","id":1,"method":"server/discover"}`, status: 200, code: -32601},
		{name: "19 not advertised", body: `{"jsonrpc":"2.0","id":1,"method":"prompts/list"}`, status: 200, code: -32601},
		{name: "28 empty name", body: call(`"name":"","arguments":{}`), status: 200, code: -32602},
		{name: "29 arguments an array", body: call(`"name":"echo","arguments":[]`), status: 200, code: -32602},
		{name: "29 cursor a number", body: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":1}}`, status: 200, code: -32602},
		{name: "30 requestState elsewhere", body: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"requestState":"x"}}`, status: 200, code: -32602},
		{name: "33 a call without id", body: strings.Replace(call(good), `"id":1,`, ``, 1), status: 202},
		{name: "34 no session", change: drop("Mcp-Session-Id"), body: call(good), status: 400, code: -32600},
		{name: "34 an unknown session", change: set("Mcp-Session-Id", "x"), body: call(good), status: 404, code: -32600},
		{name: "34 two sessions", change: add("Mcp-Session-Id", c.session), body: call(good), status: 404, code: -32600},
		{name: "35 a version of long ago", change: set("Mcp-Protocol-Version", "2024-11-05"), body: call(good), status: 400, code: -32600},
		{name: "35 a repeated version", change: add("Mcp-Protocol-Version", v2511), body: call(good), status: 400, code: -32020},
		{name: "an unknown version is modern", change: set("Mcp-Protocol-Version", "v999"), body: call(good), status: 400, code: -32602},
		{name: "the modern version in a session", change: set("Mcp-Protocol-Version", v2026), body: call(good), status: 400, code: -32602},
		{name: "modern _meta under a legacy header", body: call(good + "," + meta), status: 400, code: -32020},
		{name: "initialize again", body: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`, status: 400, code: -32600},
		{name: "initialize of the modern era", change: drop("Mcp-Session-Id"), body: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{` + meta + `}}`, status: 400, code: -32020},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := c.headers()
			if tt.change != nil {
				tt.change(h)
			}
			got := post(t, r.url("up"), h, tt.body)
			if got.status != tt.status || got.msg.code() != tt.code {
				t.Errorf("answered %d with code %d, want %d with %d: %s", got.status, got.msg.code(), tt.status, tt.code, got.body)
			}
			if tt.code != 0 && (got.msg.ID == nil) != tt.noID {
				t.Errorf("id in the error: %s, want none: %v", got.msg.ID, tt.noID)
			}
			if u.count() != 0 {
				t.Fatal("the request reached the upstream")
			}
		})
	}
	if got := post(t, r.url("up"), c.headers(), call(good)); got.msg.Result == nil {
		t.Errorf("a good call answered %d %s", got.status, got.body)
	}
}

// A server that reads keys whatever their case is only sent arguments that mean
// the same to it and to a policy, at every depth the schema describes.
func TestNestedArgumentsInAnotherCase(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, `{"name":"deep","inputSchema":{"type":"object","properties":{
		"name":{"type":"string"},
		"opts":{"type":"object","properties":{"path":{"type":"string"}}},
		"list":{"type":"array","items":{"type":"object","properties":{"path":{"type":"string"}}}},
		"one":{"anyOf":[{"type":"null"},{"type":"object","properties":{"path":{"type":"string"}}}]},
		"ref":{"$ref":"#/$defs/tree"},
		"both":{"type":"object","properties":{"a":{},"A":{}}},
		"free":{"type":"object","additionalProperties":{"type":"object","properties":{"path":{"type":"string"}}}}},
		"$defs":{"tree":{"type":"object","properties":{"path":{"type":"string"},"kid":{"$ref":"#/$defs/tree"}}}}}}`)
	r, token := governed(t, u)
	for args, code := range map[string]int{
		`{"opts":{"path":"x"}}`:                 0,
		`{"opts":{"Path":"x"}}`:                 -32602,
		`{"opts":{"path":"x","Path":"y"}}`:      -32602,
		`{"list":[{"path":"x"},{"path":"y"}]}`:  0,
		`{"list":[{"path":"x"},{"PATH":"y"}]}`:  -32602,
		`{"one":{"path":"x"}}`:                  0,
		`{"one":{"Path":"x"}}`:                  -32602,
		`{"ref":{"kid":{"kid":{"path":"x"}}}}`:  0,
		`{"ref":{"kid":{"kid":{"Path":"x"}}}}`:  -32602,
		`{"ref":{"Kid":{"kid":{"path":"x"}}}}`:  -32602,
		`{"both":{"a":1,"A":2}}`:                0,
		`{"both":{"a":1,"A":2,"c":3}}`:          -32600,
		`{"both":{"c":1,"C":2}}`:                -32600,
		`{"free":{"any":{"path":"x"}}}`:         0,
		`{"free":{"Name":{"path":"x"}}}`:        0, // of another object
		`{"free":{"any":{"Path":"x"}}}`:         -32602,
		`{"free":{"any":{},"Any":{}}}`:          -32600,
		`{"other":{"x":[{"b":{"y":1,"Y":2}}]}}`: -32600,
	} {
		before := u.count()
		got := r.call(token, "up", "deep", args)
		if got.msg.code() != code || (code == 0) != (u.count() == before+1) || (got.status == 400) != (code == -32600) {
			t.Errorf("%s answered %d %s, want code %d", args, got.status, got.body, code)
		}
	}
}
