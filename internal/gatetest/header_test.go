package gatetest_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// mirrored is a tool that mirrors arguments of every type into headers.
const mirrored = `{"name":"mirrored","inputSchema":{"type":"object","properties":{` +
	`"region":{"type":"string","x-mcp-header":"Region"},"count":{"type":"integer","x-mcp-header":"Count"},` +
	`"dry":{"type":"boolean","x-mcp-header":"Dry"},"deep":{"type":"object","properties":{"tenant":{"type":"string","x-mcp-header":"Tenant"}}}}}}`

// headerPeer is a modern server with the tool mirrored.
func headerPeer(t *testing.T) (*peer, *rig, string) {
	t.Helper()
	p := newPeer(t, v2026)
	p.list("tools/list", toolList(echoTool, mirrored))
	r, token := governPeer(t, p, "")
	return p, r, token
}

// The verdict is on the body; a header that says something else is refused, and
// what is sent on is made from the body.
func TestHeaderBodyMismatch(t *testing.T) {
	t.Parallel()
	p, r, token := headerPeer(t)
	const args = `{"region":"eu","count":42,"dry":true,"deep":{"tenant":"acme"}}`
	good := map[string]string{"Mcp-Param-Region": "eu", "Mcp-Param-Count": "42", "Mcp-Param-Dry": "true", "Mcp-Param-Tenant": "acme"}
	call := func(args string, change func(http.Header)) reply {
		h := modernHeaders(token, "tools/call", "mirrored")
		for k, v := range good {
			h.Set(k, v)
		}
		change(h)
		return post(t, r.url("up"), h, modernBody("1", "tools/call", `"name":"mirrored","arguments":`+args))
	}
	for _, tt := range []struct {
		name   string
		args   string
		change func(http.Header)
	}{
		{"other method", args, set("Mcp-Method", "tools/list")},
		{"other name", args, set("Mcp-Name", "echo")},
		{"name in another case", args, set("Mcp-Name", "Mirrored")},
		{"other region", args, set("Mcp-Param-Region", "us")},
		{"region in another case", args, set("Mcp-Param-Region", "EU")},
		{"region missing", args, drop("Mcp-Param-Region")},
		{"region twice", args, add("Mcp-Param-Region", "eu")},
		{"region without its argument", `{"count":42,"dry":true,"deep":{"tenant":"acme"}}`, func(http.Header) {}},
		{"region null", `{"region":null,"count":42,"dry":true,"deep":{"tenant":"acme"}}`, func(http.Header) {}},
		{"other count", args, set("Mcp-Param-Count", "43")},
		{"count in hexadecimal", args, set("Mcp-Param-Count", "0x2Ap0")},
		{"count nearly", args, set("Mcp-Param-Count", "42.0000000000000000001")},
		{"count with a sign", args, set("Mcp-Param-Count", "+42")},
		{"count with a zero before", args, set("Mcp-Param-Count", "042")},
		{"count as text", args, set("Mcp-Param-Count", "forty-two")},
		{"other flag", args, set("Mcp-Param-Dry", "false")},
		{"flag in another case", args, set("Mcp-Param-Dry", "True")},
		{"nested missing", args, drop("Mcp-Param-Tenant")},
		{"nested differs", args, set("Mcp-Param-Tenant", "evil")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := call(tt.args, tt.change); got.status != 400 || got.msg.code() != -32020 {
				t.Errorf("answered %d %s", got.status, got.body)
			}
		})
	}
	if n := len(p.got("tools/call")); n != 0 {
		t.Fatalf("%d mismatched calls reached the upstream", n)
	}
	for name, change := range map[string]func(http.Header){
		"exact": func(http.Header) {}, "padded": set("Mcp-Param-Region", " eu\t"), "integer as a decimal": set("Mcp-Param-Count", "42.0"), "integer with an exponent": set("Mcp-Param-Count", "4.2e1"),
		"encoded without need": set("Mcp-Param-Region", "=?base64?ZXU=?="), "an unknown one": set("Mcp-Param-Other", "x"),
	} {
		t.Run(name, func(t *testing.T) {
			if got := call(args, change); got.msg.Result == nil {
				t.Fatalf("answered %d %s", got.status, got.body)
			}
			h := p.last("tools/call").header
			for k, v := range good {
				if got := h.Values(k); len(got) != 1 || got[0] != v {
					t.Errorf("the upstream got %s: %q, want %q", k, got, v)
				}
			}
			if h.Get("Mcp-Method") != "tools/call" || h.Get("Mcp-Name") != "mirrored" || h.Get("Mcp-Protocol-Version") != v2026 {
				t.Errorf("the upstream got %v", h)
			}
			if want := map[bool]string{true: "x"}[name == "an unknown one"]; h.Get("Mcp-Param-Other") != want {
				t.Errorf("an unrecognised header arrived as %q, want %q", h.Get("Mcp-Param-Other"), want)
			}
		})
	}
	t.Run("a legacy client has none", func(t *testing.T) {
		old := r.legacy(token, "up", v2511, `{}`)
		if got := old.call("mirrored", args); got.msg.Result == nil {
			t.Fatalf("answered %s", got.body)
		}
		for k, v := range good {
			if got := p.last("tools/call").header.Get(k); got != v {
				t.Errorf("the upstream got %s: %q, want %q", k, got, v)
			}
		}
	})
}

// An annotation that cannot be mirrored makes the whole tool unusable.
func TestInvalidHeaderAnnotationDropsTheTool(t *testing.T) {
	t.Parallel()
	prop := func(s string) string {
		return `{"name":"bad","inputSchema":{"type":"object","properties":{` + s + `}}}`
	}
	bad := map[string]string{
		"not a token":       prop(`"a":{"type":"string","x-mcp-header":"Bad Name"}`),
		"empty":             prop(`"a":{"type":"string","x-mcp-header":""}`),
		"not a string":      prop(`"a":{"type":"string","x-mcp-header":5}`),
		"a line end":        prop(`"a":{"type":"string","x-mcp-header":"A\r\nB"}`),
		"twice":             prop(`"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}`),
		"on a number":       prop(`"a":{"type":"number","x-mcp-header":"A"}`),
		"on an object":      prop(`"a":{"type":"object","x-mcp-header":"A"}`),
		"in an array":       prop(`"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}`),
		"in a condition":    prop(`"a":{"anyOf":[{"type":"string","x-mcp-header":"A"}]}`),
		"at the root":       `{"name":"bad","inputSchema":{"type":"object","x-mcp-header":"A","properties":{}}}`,
		"in a definition":   `{"name":"bad","inputSchema":{"type":"object","properties":{},"$defs":{"x":{"type":"string","x-mcp-header":"A"}}}}`,
		"under an addition": `{"name":"bad","inputSchema":{"type":"object","additionalProperties":{"type":"string","x-mcp-header":"A"}}}`,
	}
	p := newPeer(t, v2026)
	defs, tools := []string{echoTool}, map[string]string{}
	for name, def := range bad {
		tool := fmt.Sprint("bad", len(defs))
		defs, tools[name] = append(defs, strings.Replace(def, `"bad"`, `"`+tool+`"`, 1)), tool
	}
	p.list("tools/list", toolList(defs...))
	r, token := governPeer(t, p, "")
	list := r.list(token, "up")
	if !listShows(t, list, "tools", "echo") {
		t.Errorf("the good tool is not listed: %s", list.body)
	}
	for name, tool := range tools {
		if listShows(t, list, "tools", tool) {
			t.Errorf("%s: listed", name)
		}
		if got := r.call(token, "up", tool, `{}`); got.msg.code() != -32602 {
			t.Errorf("%s: the call answered %d %s", name, got.status, got.body)
		}
	}
	if n := len(p.got("tools/call")); n != 0 {
		t.Errorf("%d calls reached the upstream", n)
	}
}

// Names and arguments that cannot stand in a header travel encoded, exactly
// once, and what merely looks encoded is not decoded.
func TestBase64Sentinel(t *testing.T) {
	t.Parallel()
	enc := func(s string) string { return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?=" }
	p := newPeer(t, v2026)
	names := []string{"plain", "naïve", "with space inside", "=?base64?cGxhaW4=?=", "日本語", "=?BASE64?eA==?="}
	var defs []string
	for _, n := range names {
		raw, _ := json.Marshal(n)
		defs = append(defs, `{"name":`+string(raw)+`,"inputSchema":{"type":"object","properties":{"v":{"type":"string","x-mcp-header":"V"}}}}`)
	}
	p.list("tools/list", toolList(defs...))
	r, token := governPeer(t, p, "")
	call := func(name, nameHeader, value, valueHeader string) reply {
		n, _ := json.Marshal(name)
		v, _ := json.Marshal(value)
		h := modernHeaders(token, "tools/call", nameHeader)
		h.Set("Mcp-Param-V", valueHeader)
		return post(t, r.url("up"), h, modernBody("1", "tools/call", `"name":`+string(n)+`,"arguments":{"v":`+string(v)+`}`))
	}
	for _, tt := range []struct{ text, header string }{
		{"plain", "plain"}, {"plain", enc("plain")}, {"naïve", enc("naïve")}, {"with space inside", "with space inside"},
		{"=?base64?cGxhaW4=?=", enc("=?base64?cGxhaW4=?=")}, {"日本語", enc("日本語")}, {"=?BASE64?eA==?=", "=?BASE64?eA==?="},
	} {
		got := call(tt.text, tt.header, tt.text, tt.header)
		if got.msg.Result == nil {
			t.Errorf("%q as %q answered %d %s", tt.text, tt.header, got.status, got.body)
			continue
		}
		want := tt.text
		if strings.HasPrefix(tt.text, "=?base64?") || strings.ContainsFunc(tt.text, func(r rune) bool { return r > 0x7e }) {
			want = enc(tt.text)
		}
		h := p.last("tools/call").header
		if h.Get("Mcp-Name") != want || h.Get("Mcp-Param-V") != want {
			t.Errorf("the upstream got %q and %q, want %q", h.Get("Mcp-Name"), h.Get("Mcp-Param-V"), want)
		}
	}
	before := len(p.got("tools/call"))
	for _, tt := range []struct{ text, header string }{
		{"=?base64?cGxhaW4=?=", "=?base64?cGxhaW4=?="}, // it would name "plain" to a decoder
		{"plain", enc(enc("plain"))},
		{"plain", "=?base64?cGxhaW4?="},
		{"plain", "=?base64?cGxhaW4=\t?="},
		{"plain", "=?base64?cGxhaW5=?="},
		{"plain", "=?base64?_w==?="},
		{"plain", "=?base64?/w==?="},
		{"naïve", "naïve"},
		{"plain", "=?BASE64?cGxhaW4=?="},
	} {
		if got := call(tt.text, tt.header, "v", "v"); got.status != 400 || got.msg.code() != -32020 {
			t.Errorf("name %q as %q answered %d %s", tt.text, tt.header, got.status, got.body)
		}
		if got := call("plain", "plain", tt.text, tt.header); got.status != 400 || got.msg.code() != -32020 {
			t.Errorf("value %q as %q answered %d %s", tt.text, tt.header, got.status, got.body)
		}
	}
	if len(p.got("tools/call")) != before {
		t.Error("a wrongly encoded call reached the upstream")
	}
}

// A name that is refused as an argument of a header must not be smuggled as one.
func TestHeaderInjection(t *testing.T) {
	t.Parallel()
	p, r, token := headerPeer(t)
	args := `{"region":"eu\r\nX-Evil: 1\r\n","count":1,"dry":false}`
	h := modernHeaders(token, "tools/call", "mirrored")
	h.Set("Mcp-Param-Region", "=?base64?"+base64.StdEncoding.EncodeToString([]byte("eu\r\nX-Evil: 1\r\n"))+"?=")
	h.Set("Mcp-Param-Count", "1")
	h.Set("Mcp-Param-Dry", "false")
	got := post(t, r.url("up"), h, modernBody("1", "tools/call", `"name":"mirrored","arguments":`+args))
	if got.msg.Result == nil {
		t.Fatalf("answered %d %s", got.status, got.body)
	}
	up := p.last("tools/call").header
	if up.Get("X-Evil") != "" || up.Get("Mcp-Param-Region") != h.Get("Mcp-Param-Region") {
		t.Errorf("the upstream got %v", up)
	}
}
