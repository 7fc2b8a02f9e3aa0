package gatetest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// eras are the upstreams every client must work with: one era, the other, both.
var eras = map[string][]string{
	"legacy 2025-11-25": {v2511}, "legacy 2025-06-18": {v2506}, "legacy 2025-03-26": {v2503}, "modern": {v2026}, "dual": {v2026, v2511},
}

// Every legacy revision works before every upstream: handshake, lists, calls,
// errors, and nothing of the other era shows.
func TestLegacyClient(t *testing.T) {
	t.Parallel()
	for up, revisions := range eras {
		p := newPeer(t, revisions...)
		p.list("tools/list", toolList(echoTool)+`,"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"x","version":"1"},"vendor/x":1},"vendor":9007199254740993`)
		r, token := governPeer(t, p, "")
		for _, version := range []string{v2511, v2506, v2503} {
			t.Run(up+" from "+version, func(t *testing.T) {
				deleted := len(p.got("DELETE"))
				c := r.legacy(token, "up", version, `{"roots":{}}`)
				want := version
				if up != "modern" {
					want = p.legacy // it negotiates its own
				}
				var init struct {
					ProtocolVersion string                     `json:"protocolVersion"`
					Capabilities    map[string]json.RawMessage `json:"capabilities"`
					ServerInfo      struct{ Name string }      `json:"serverInfo"`
				}
				if err := json.Unmarshal(c.init.Result, &init); err != nil || init.ProtocolVersion != want || init.Capabilities["tools"] == nil || init.ServerInfo.Name != "peer" {
					t.Errorf("initialize answered %s", c.init.Result)
				}
				for method, d := range map[string]struct{ params, holds string }{
					"tools/list": {`{}`, `"name":"echo"`}, "tools/call": {`{"name":"echo","arguments":{"text":"hello"}}`, `{\"text\":\"hello\"}`},
					"prompts/list": {`{}`, `"name":"hi"`}, "prompts/get": {`{"name":"hi"}`, `"text":"hi"`},
					"resources/list": {`{}`, `test://a`}, "resources/templates/list": {`{}`, `"resourceTemplates":[]`}, "resources/read": {`{"uri":"test://a"}`, `"text":"a"`},
					"completion/complete": {`{"ref":{"type":"ref/prompt","name":"hi"},"argument":{"name":"a","value":"b"}}`, `"values":["x"]`}, "ping": {`{}`, `{}`},
				} {
					got := c.request(method, d.params)
					if got.status != 200 || got.msg.Result == nil || !strings.Contains(string(got.msg.Result), d.holds) {
						t.Errorf("%s answered %d %s", method, got.status, got.body)
					}
					for _, modern := range []string{"resultType", "ttlMs", "cacheScope"} {
						if strings.Contains(string(got.msg.Result), modern) {
							t.Errorf("%s shows %s: %s", method, modern, got.body)
						}
					}
					if up == "modern" && strings.Contains(string(got.msg.Result), "io.modelcontextprotocol/") {
						t.Errorf("%s shows a reserved key: %s", method, got.body)
					}
					if method == "tools/list" && !strings.Contains(got.body, `"vendor":9007199254740993`) {
						t.Errorf("an unknown member was lost: %s", got.body)
					}
				}
				if got := c.request("no/such", `{}`); got.status != 200 || got.msg.code() != -32601 {
					t.Errorf("an unknown method answered %d %s", got.status, got.body)
				}
				if got := c.request("server/discover", `{}`); got.msg.code() != -32601 {
					t.Errorf("a modern method answered %d %s", got.status, got.body)
				}
				for _, s := range p.got("tools/call") {
					if modern := strings.Contains(s.params, "io.modelcontextprotocol/protocolVersion"); modern != (up == "modern") {
						t.Errorf("the upstream was sent %s", s.body)
					}
					if got, want := s.header.Get("Mcp-Protocol-Version"), p.spoken(up); got != want {
						t.Errorf("the upstream got version %q, want %q", got, want)
					}
				}
				s := stream(t, http.MethodDelete, r.url("up"), c.headers(), "")
				if s.status != 204 {
					t.Errorf("DELETE answered %d", s.status)
				}
				if got := c.call("echo", `{}`); got.status != 404 {
					t.Errorf("after DELETE: %d", got.status)
				}
				if up != "modern" {
					eventually(t, "the upstream's session ended", func() bool { return len(p.got("DELETE")) > deleted })
				}
			})
		}
	}
}

// spoken is the version a legacy client's calls reach the upstream in.
func (p *peer) spoken(up string) string {
	if up == "modern" {
		return v2026
	}
	return p.legacy
}

// A modern client works before every upstream and sees a modern server.
func TestModernClient(t *testing.T) {
	t.Parallel()
	for up, revisions := range eras {
		t.Run(up, func(t *testing.T) {
			p := newPeer(t, revisions...)
			r, token := governPeer(t, p, "")
			for _, d := range append(dispatched, [][3]string{
				{"server/discover", "", ""}, {"tools/list", "", ""}, {"prompts/list", "", ""}, {"resources/list", "", ""}, {"resources/templates/list", "", ""},
				{"completion/complete", "", `"ref":{"type":"ref/prompt","name":"hi"},"argument":{"name":"a","value":"b"}`},
			}...) {
				got := r.modern(token, d[0], d[1], d[2])
				var res struct {
					Type  string `json:"resultType"`
					TTL   *int   `json:"ttlMs"`
					Scope string `json:"cacheScope"`
				}
				if got.status != 200 || got.msg.Result == nil || json.Unmarshal(got.msg.Result, &res) != nil || res.Type != "complete" {
					t.Errorf("%s answered %d %s", d[0], got.status, got.body)
				}
				cached := strings.HasSuffix(d[0], "/list") || d[0] == "resources/read" || d[0] == "server/discover"
				if cached != (res.TTL != nil) || cached != (res.Scope != "") {
					t.Errorf("%s says ttlMs %v and cacheScope %q", d[0], res.TTL, res.Scope)
				}
				if strings.HasSuffix(d[0], "/list") && (res.Scope != "private" || *res.TTL > 60_000) {
					t.Errorf("%s is made for one principal and says %q for %d ms", d[0], res.Scope, *res.TTL)
				}
			}
			for _, method := range []string{"ping", "initialize", "logging/setLevel", "resources/subscribe", "tasks/list"} {
				if got := r.modern(token, method, "", ""); got.status != 404 || got.msg.code() != -32601 {
					t.Errorf("%s answered %d %s", method, got.status, got.body)
				}
			}
			for verb := range map[string]bool{http.MethodGet: true, http.MethodDelete: true} {
				s := stream(t, verb, r.url("up"), modernHeaders(token, "", ""), "")
				if s.status != 405 || s.header.Get("Allow") != "POST" {
					t.Errorf("%s answered %d, Allow %q", verb, s.status, s.header.Get("Allow"))
				}
			}
		})
	}
}

// A server of both eras is spoken to in each client's own, whoever comes first.
func TestLegacyClientFirst(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026, v2511)
	r := newRig(t)
	r.apply(botAndServer(p.URL+"/mcp", `["up/*"]`))
	token := r.token("bot", "up")
	old := r.legacy(token, "up", v2511, `{}`)
	learn(t, r)
	for range 2 {
		if got := r.call(token, "up", "echo", `{}`); got.msg.Result == nil || p.last("tools/call").header.Get("Mcp-Protocol-Version") != v2026 {
			t.Errorf("a modern client's call reached the server as %v and was answered %s", p.last("tools/call").header, got.body)
		}
		if got := old.call("echo", `{}`); got.msg.Result == nil || p.last("tools/call").header.Get("Mcp-Protocol-Version") != v2511 {
			t.Errorf("a legacy client's call reached the server as %v and was answered %s", p.last("tools/call").header, got.body)
		}
	}
}

// Errors of one era become those of the other.
func TestErrorsCrossEras(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		up   string
		send int
		data string
		// what each client must see
		modern, legacy int
	}{
		{v2511, -32002, `{"uri":"test://a"}`, -32602, -32002},
		{v2026, -32602, `{"uri":"test://a"}`, -32602, -32002},
		{v2026, -32602, ``, -32602, -32602},
		{v2511, -32000, `{"x":1}`, -32000, -32000},
		{v2026, 1234, `{"x":1}`, 1234, 1234},
	} {
		t.Run(fmt.Sprint(tt.up, " ", tt.send, tt.data), func(t *testing.T) {
			p := newPeer(t, tt.up)
			r, token := governPeer(t, p, "")
			p.handle("resources/read", func(x *exchange) { x.fault(tt.send, "the server's own words", tt.data) })
			for name, c := range map[string]struct {
				got  reply
				want int
			}{
				"modern": {r.modern(token, "resources/read", "test://a", `"uri":"test://a"`), tt.modern},
				"legacy": {r.legacy(token, "up", v2511, `{}`).request("resources/read", `{"uri":"test://a"}`), tt.legacy},
			} {
				if c.got.status != 200 || c.got.msg.code() != c.want || c.got.msg.Error.Message != "the server's own words" || string(c.got.msg.Error.Data) != tt.data {
					t.Errorf("%s got %d %s, want %d", name, c.got.status, c.got.body, c.want)
				}
			}
		})
	}
	// What is between the gateway and the server is not the client's.
	for _, code := range []int{-32022, -32020} {
		p := newPeer(t, v2026)
		r, token := governPeer(t, p, "")
		p.handle("tools/call", func(x *exchange) { x.fault(code, "own words", `{"supported":["2099-01-01"]}`) })
		if got := r.call(token, "up", "echo", `{}`); got.msg.code() != -32603 || strings.Contains(got.body, "2099") || strings.Contains(got.body, "own words") {
			t.Errorf("%d became %s", code, got.body)
		}
	}
}

// A server that refuses the version it supports is asked once more, and no more
// than once.
func TestRefusedVersionIsOfferedOnceMore(t *testing.T) {
	t.Parallel()
	refusal := `{"supported":["2026-07-28"],"requested":"2026-07-28"}`
	for refusals, works := range map[int]bool{1: true, 1000: false} {
		p := newPeer(t, v2026)
		p.handle("server/discover", func(x *exchange) {
			if len(p.got("server/discover")) <= refusals {
				x.status(http.StatusBadRequest, `{"jsonrpc":"2.0","id":`+x.id+`,"error":{"code":-32022,"message":"unsupported","data":`+refusal+`}}`)
				return
			}
			x.p.answer(x)
		})
		r := newRig(t)
		r.apply(botAndServer(p.URL+"/mcp", `["up/*"]`))
		err := r.d.Proxy.Learn(t.Context(), "up")
		if asked := len(p.got("server/discover")); (err == nil) != works || asked != 2 {
			t.Errorf("%d refusals: asked %d times, %v", refusals, asked, err)
		}
		if n := len(p.got("initialize")); n > 0 {
			t.Errorf("%d refusals: a server of the revision was sent initialize", refusals)
		}
	}
}

// A legacy result that already holds modern members does not make a result with
// two of them.
func TestBridgedResultHasOneOfEach(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	r, token := governPeer(t, p, "")
	p.handle("tools/call", func(x *exchange) {
		x.result(`{"content":[],"resultType":"input_required","ttlMs":99999999,"cacheScope":"public","requestState":"s"}`)
	})
	p.list("tools/list", toolList(echoTool)+`,"resultType":"task","ttlMs":99999999,"cacheScope":"public"`)
	for method, got := range map[string]reply{"tools/call": r.call(token, "up", "echo", `{}`), "tools/list": r.list(token, "up")} {
		for _, m := range []string{`"resultType"`, `"ttlMs"`, `"cacheScope"`} {
			if n := strings.Count(string(got.msg.Result), m); n > 1 {
				t.Errorf("%s has %d of %s: %s", method, n, m, got.body)
			}
		}
		if strings.Contains(got.body, "input_required") || strings.Contains(got.body, `"task"`) || strings.Contains(got.body, `"public"`) {
			t.Errorf("%s answered %s", method, got.body)
		}
	}
}

// Ids come back as they were sent, to the byte, whatever the upstream would do
// to them, and progress tokens with them.
func TestIDsKeepTheirType(t *testing.T) {
	t.Parallel()
	ids := []string{`1`, `0`, `-7`, `"1"`, `""`, `"a\u0062\n\"\\\/"`, `"日本"`, `9007199254740991`, `9007199254740993`, `-9007199254740993`, `123456789012345678901234567890`, `"` + strings.Repeat("x", 256) + `"`}
	for up, revisions := range map[string][]string{"modern": {v2026}, "legacy": {v2511}} {
		t.Run(up, func(t *testing.T) {
			p := newPeer(t, revisions...)
			p.handle("tools/call", func(x *exchange) {
				// A server that reads numbers as float64, like many.
				var m struct {
					Meta struct {
						Token any `json:"progressToken"`
					} `json:"_meta"`
				}
				_ = json.Unmarshal([]byte(x.params), &m)
				var id any
				_ = json.Unmarshal([]byte(x.id), &id)
				raw, _ := json.Marshal(id)
				x.id = string(raw)
				token, _ := json.Marshal(m.Meta.Token)
				x.sse()
				x.event(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":` + string(token) + `,"progress":1}}`)
				x.event(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"somebody else's","progress":2}}`)
				x.text("ok")
			})
			r, token := governPeer(t, p, "")
			old := r.legacy(token, "up", v2511, `{}`)
			for _, id := range ids {
				params := `"name":"echo","arguments":{},"_meta":{"progressToken":` + id
				bodies := map[string]reply{
					"legacy": old.post(`{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{` + params + `}}}`),
				}
				bodies["modern"] = post(t, r.url("up"), modernHeaders(token, "tools/call", "echo"),
					`{"jsonrpc":"2.0","id":`+id+`,"method":"tools/call","params":{`+params+`,`+strings.TrimPrefix(meta, `"_meta":{`)+`}}`)
				for era, got := range bodies {
					if got.msg.Result == nil || !strings.Contains(got.body, `"id":`+id+`,"result"`) {
						t.Errorf("%s id %s came back in %d %s", era, id, got.status, got.body)
					}
					if !strings.Contains(got.body, `"progressToken":`+id+`,"progress":1`) || strings.Contains(got.body, `"progress":2`) {
						t.Errorf("%s progress for token %s: %s", era, id, got.body)
					}
				}
			}
		})
	}
}

// Batches are a thing of 2025-03-26 sessions alone, and each part is judged.
func TestBatchesOnlyIn20250326(t *testing.T) {
	t.Parallel()
	const batch = `[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{}}},{"jsonrpc":"2.0","method":"notifications/progress","params":{}},` +
		`{"jsonrpc":"2.0","id":"two","method":"tools/call","params":{"name":"nope","arguments":{}}},{"jsonrpc":"2.0","id":3,"method":"initialize","params":{}},` +
		`{"jsonrpc":"2.0","id":4,"method":"ping"},{"jsonrpc":"2.0","id":null,"method":"ping"}]`
	for _, up := range []string{v2026, v2503} {
		p := newPeer(t, up)
		r, token := governPeer(t, p, "")
		old := r.legacy(token, "up", v2503, `{}`)
		got := old.post(batch)
		var parts []rpcMessage
		if err := json.Unmarshal([]byte(got.body), &parts); err != nil || got.status != 200 || len(parts) != 5 {
			t.Fatalf("%s: answered %d %s", up, got.status, got.body)
		}
		if parts[0].Result == nil || string(parts[1].ID) != `"two"` || parts[1].code() != -32602 || parts[2].code() != -32600 || string(parts[3].Result) != "{}" || parts[4].ID != nil || parts[4].code() != -32600 {
			t.Errorf("%s: answered %s", up, got.body)
		}
		for _, s := range p.all() {
			if strings.HasPrefix(strings.TrimSpace(s.body), "[") {
				t.Errorf("a batch was forwarded: %s", s.body)
			}
		}
		calls := len(p.got("tools/call"))
		modern := old.post(`[` + modernBody("7", "tools/call", `"name":"echo","arguments":{}`) + `,{"jsonrpc":"2.0","id":8,"method":"ping"},` + strings.Replace(modernBody("9", "notifications/progress", ""), `"id":9,`, "", 1) + `]`)
		if err := json.Unmarshal([]byte(modern.body), &parts); err != nil || len(parts) != 2 || string(parts[0].ID) != "7" || parts[0].code() != -32600 || string(parts[1].Result) != "{}" {
			t.Errorf("%s: modern messages in a batch were answered %s", up, modern.body)
		}
		for name, body := range map[string]string{"empty": `[]`, "seventeen": "[" + strings.Repeat(`{"jsonrpc":"2.0","id":1,"method":"ping"},`, 16) + `{"jsonrpc":"2.0","id":1,"method":"ping"}]`, "nested": "[" + batch + "]"} {
			if got := old.post(body); (got.status != 400 || got.msg.code() != -32600) && name != "nested" {
				t.Errorf("%s: %s answered %d %s", up, name, got.status, got.body)
			}
		}
		if got := old.post(`[{"jsonrpc":"2.0","method":"notifications/progress","params":{}}]`); got.status != 202 || got.body != "" {
			t.Errorf("a batch of notifications answered %d %s", got.status, got.body)
		}
		none := &oldClient{t: t, r: r, token: token, server: "up", version: v2503}
		for name, c := range map[string]*oldClient{"no session": none, "another's session": {t: t, r: r, token: token, server: "up", version: v2503, session: "x"}} {
			if got := c.post(batch); got.status != 400 || got.msg.code() != -32600 {
				t.Errorf("%s: answered %d %s", name, got.status, got.body)
			}
		}
		if len(p.got("tools/call")) != calls {
			t.Error("a refused batch reached the upstream")
		}
	}
	for _, version := range []string{v2511, v2506} {
		p := newPeer(t, v2026)
		r, token := governPeer(t, p, "")
		if got := r.legacy(token, "up", version, `{}`).post(batch); got.status != 400 || got.msg.code() != -32600 || len(p.got("tools/call")) != 0 {
			t.Errorf("%s: answered %d %s", version, got.status, got.body)
		}
	}
}

// What no rule changes arrives as it was sent, byte for byte, both ways.
func TestBytesPassUnchanged(t *testing.T) {
	t.Parallel()
	const args = `{ "n" : 1.0 , "big":9007199254740993,"e":1E2,"s":"\u0041\/\ud83d\ude00", "deep":[ {"a":null} ,[] ] }`
	const result = `{ "resultType" : "complete","content":[{"type":"vendor","x":1.0}], "structuredContent":[1.0,9007199254740993,"\u0041"],"vendor":{"a":1E2} }`
	p := newPeer(t, v2026)
	p.list("tools/list", toolList(`{"name":"any","inputSchema":{"type":"object"}}`))
	r, token := governPeer(t, p, "")
	p.handle("tools/call", func(x *exchange) { x.message(`{ "jsonrpc":"2.0" , "id":` + x.id + ` ,"result":` + result + `}`) })
	body := ` {"jsonrpc":"2.0", "id":"\u0031" ,"method":"tools/call","params":{"arguments":` + args + `,"name":"\u0061ny","x":1.0,` + meta + `} } `
	got := post(t, r.url("up"), modernHeaders(token, "tools/call", "any"), body)
	if got.body != `{ "jsonrpc":"2.0" , "id":"\u0031" ,"result":`+result+`}` {
		t.Errorf("the client got %s", got.body)
	}
	if sent := p.last("tools/call").body; sent != body {
		t.Errorf("the upstream got %s", sent)
	}
	old := r.legacy(token, "up", v2511, `{}`)
	old.call("any", args)
	if sent := p.last("tools/call").body; !strings.Contains(sent, `"arguments":`+args) {
		t.Errorf("from a legacy client the upstream got %s", sent)
	}
}
