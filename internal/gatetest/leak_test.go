package gatetest_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rutile/internal/credential"
	"rutile/internal/daemon"
)

// TestInboundTokenNeverLeaves sends every header an agent could carry a secret
// or an identity in and looks at each byte that leaves for the upstream.
func TestInboundTokenNeverLeaves(t *testing.T) {
	t.Parallel()
	for _, era := range []string{v2026, v2511} {
		t.Run(era, func(t *testing.T) {
			p := newPeer(t, era)
			r, token := governPeer(t, p, "")
			old := r.legacy(token, "up", v2511, `{"roots":{},"sampling":{}}`)
			canaries := map[string]string{}
			for _, name := range []string{
				"Cookie", "DPoP", "Proxy-Authorization", "Proxy-Connection", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
				"X-Real-Ip", "Via", "X-Api-Key", "X-Request-Id", "Last-Event-Id", "Referer", "User-Agent", "X-Anything", "Accept-Language", "If-None-Match",
				"Traceparent", "Baggage", "Authorization-Extra", "Mcp-Anything",
			} {
				canaries[name] = "canary-" + strings.ToLower(name)
			}
			dress := func(h http.Header) http.Header {
				for k, v := range canaries {
					h.Set(k, v)
				}
				return h
			}
			from := len(p.all())
			for _, d := range append(dispatched, [3]string{"tools/list", "", ""}, [3]string{"server/discover", "", ""}) {
				h := dress(modernHeaders(token, d[0], d[1]))
				h.Set("Mcp-Session-Id", old.session)
				if got := post(t, r.url("up"), h, modernBody("1", d[0], d[2])); got.msg.Result == nil {
					t.Fatalf("%s answered %d %s", d[0], got.status, got.body)
				}
			}
			for _, body := range []string{
				`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{}}}`,
				`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`,
				`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`,
			} {
				if got := post(t, r.url("up"), dress(old.headers()), body); got.status >= 300 {
					t.Fatalf("%s answered %d %s", body, got.status, got.body)
				}
			}
			req := dress(old.headers())
			stream(t, http.MethodDelete, r.url("up"), req, "")
			eventually(t, "the legacy session ended upstream", func() bool { return era == v2026 || len(p.got("DELETE")) > 0 })
			sent := p.all()[from:]
			if len(sent) < 6 {
				t.Fatalf("only %d requests reached the upstream", len(sent))
			}
			for _, s := range sent {
				var b strings.Builder
				_ = s.header.Write(&b)
				text := b.String() + s.body
				for name, c := range canaries {
					if strings.Contains(text, c) {
						t.Errorf("%s %s carries the agent's %s: %s", s.verb, s.method, name, text)
					}
				}
				if strings.Contains(text, token) || strings.Contains(text, old.session) || s.header.Get("Authorization") != "" {
					t.Errorf("%s %s carries the agent's token or session: %s", s.verb, s.method, text)
				}
			}
		})
	}
}

// What an upstream puts in headers stays there, in every representation.
func TestUpstreamHeadersDropped(t *testing.T) {
	t.Parallel()
	hostile := map[string]string{
		"Set-Cookie": "sid=upstream-canary", "WWW-Authenticate": `Bearer resource_metadata="https://evil.example/upstream-canary"`,
		"Location": "https://evil.example/upstream-canary", "Server": "upstream-canary", "X-Powered-By": "upstream-canary", "Link": "<https://upstream-canary>",
		"Access-Control-Allow-Origin": "*", "Mcp-Session-Id": "upstream-canary", "Refresh": "0;url=https://upstream-canary", "Clear-Site-Data": `"*"`,
		"Content-Security-Policy": "upstream-canary", "Alt-Svc": `h3="upstream-canary:443"`, "Strict-Transport-Security": "max-age=1",
	}
	for _, era := range []string{v2026, v2511} {
		p := newPeer(t, era)
		r, token := governPeer(t, p, "")
		old := r.legacy(token, "up", v2511, `{}`)
		for name, end := range map[string]func(x *exchange){
			"json":     func(x *exchange) { x.text("ok") },
			"stream":   func(x *exchange) { x.sse(); x.text("ok") },
			"fault":    func(x *exchange) { x.fault(-32000, "no", "") },
			"refused":  func(x *exchange) { x.status(401, `{"error":"upstream-canary"}`) },
			"forbid":   func(x *exchange) { x.status(403, `{"error":"upstream-canary"}`) },
			"broken":   func(x *exchange) { x.status(500, `<html>upstream-canary</html>`) },
			"redirect": func(x *exchange) { x.status(307, ``) },
			"busy":     func(x *exchange) { x.status(429, `upstream-canary`) },
		} {
			t.Run(era+" "+name, func(t *testing.T) {
				p.handle("tools/call", func(x *exchange) {
					for k, v := range hostile {
						x.w.Header().Set(k, v)
					}
					end(x)
				})
				for era, got := range map[string]reply{"modern": r.call(token, "up", "echo", `{}`), "legacy": old.call("echo", `{}`)} {
					for k := range hostile {
						if v := got.header.Get(k); v != "" {
							t.Errorf("%s: the agent got %s: %s", era, k, v)
						}
					}
					if strings.Contains(got.body, "upstream-canary") {
						t.Errorf("%s: the agent got %s", era, got.body)
					}
					if got.status == 401 || got.status == 403 || got.status/100 == 3 {
						t.Errorf("%s: the agent got the upstream's status %d", era, got.status)
					}
				}
			})
		}
	}
}

const secretCanary = "canary-Zm9v+\"s<cret/9/4711"

// TestCredentialScrubbedEverywhere lets a server repeat its credential wherever
// it can and looks for it wherever anybody can look.
func TestCredentialScrubbedEverywhere(t *testing.T) {
	t.Parallel()
	forms := func() map[string]string {
		j, _ := json.Marshal("Bearer " + secretCanary) // escapes <
		plain := strings.ReplaceAll(string(j), `\u003c`, "<")
		return map[string]string{
			"in a text": plain, "escaped": string(j), "slashes escaped": strings.ReplaceAll(plain, "/", `\/`),
			"as base64": `"` + base64.StdEncoding.EncodeToString([]byte("xx"+secretCanary)) + `"`, "in a URL": `"` + url.QueryEscape(secretCanary) + `"`,
		}
	}
	for _, era := range []string{v2026, v2511} {
		t.Run(era, func(t *testing.T) {
			p := newPeer(t, era)
			data := t.TempDir()
			r := startRig(t, nil, func(c *daemon.Config) { c.Data = data })
			if _, err := r.d.Admin.SetCredential(t.Context(), operator, credential.Secret{ID: "key", MaxTier: 3}, []byte(secretCanary)); err != nil {
				t.Fatal(err)
			}
			p.caps = strings.Replace(p.caps, "{", `{"experimental":{"x":{"leak":"`+strings.ReplaceAll(secretCanary, `"`, `\"`)+`"}},`, 1)
			r.apply(strings.Replace(botAndServer(p.URL+"/mcp", `["up/*"]`), "\nstate:", "\ncredential: {ref: key, header: Authorization, value: \"Bearer {secret}\"}\nstate:", 1), "up")
			token := r.token("bot", "up")
			old := r.legacy(token, "up", v2511, `{}`)
			var said []string
			calls, leaky := 0, []string{echoTool}
			say := func(got reply) {
				var h strings.Builder
				_ = got.header.Write(&h)
				said = append(said, got.body+h.String())
			}
			say(r.modern(token, "server/discover", "", ""))
			for _, leak := range forms() {
				answers := []func(x *exchange){
					func(x *exchange) {
						x.result(`{"resultType":"complete","content":[{"type":"text","text":` + leak + `}],"structuredContent":{` + leak + `:[` + leak + `]}}`)
					},
					func(x *exchange) {
						x.sse()
						x.event(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":` + leak + `}}`)
						x.event(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1,"message":` + leak + `}}`)
						x.text("fine")
					},
					func(x *exchange) {
						x.message(`{"jsonrpc":"2.0","id":` + x.id + `,"error":{"code":-32000,"message":` + leak + `,"data":` + leak + `}}`)
					},
					func(x *exchange) { x.status(500, leak) },
					func(x *exchange) { x.status(401, leak) },
					func(x *exchange) { x.message(`{"jsonrpc":"2.0","id":` + leak + `,"result":{}}`) },
					func(x *exchange) { x.message(leak) },
					func(x *exchange) { x.message(leak + "x") },
					func(x *exchange) { x.message(`{` + leak + `:1,` + leak + `:2}`) },
				}
				calls += 2 * len(answers)
				for _, answer := range answers {
					p.handle("tools/call", answer)
					say(post(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{},"_meta":{"progressToken":"t","io.modelcontextprotocol/logLevel":"debug","io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`))
					say(old.request("tools/call", `{"name":"echo","arguments":{},"_meta":{"progressToken":"t"}}`))
				}
				leaky = append(leaky, fmt.Sprintf(`{"name":"leaky%d","description":%s,"inputSchema":{"type":"object"}}`, len(leaky), leak))
			}
			p.list("tools/list", toolList(leaky...))
			say(r.list(token, "up"))
			say(old.request("tools/list", `{}`))
			if n := len(p.got("tools/call")); n != calls {
				t.Fatalf("%d calls reached the upstream, want %d", n, calls)
			}
			if got := p.last("tools/call").header.Get("Authorization"); got == "" {
				t.Fatal("the upstream got no credential")
			}
			creds, err := r.d.Admin.ListCredentials(t.Context())
			if err != nil || len(creds) != 1 {
				t.Fatalf("listing credentials: %v %v", creds, err)
			}
			said = append(said, fmt.Sprintf("%+v", creds), r.logs.String(), httpGet(t, r.d.OperatorsURL+"/metrics"))
			for _, s := range r.leaves(0) {
				said = append(said, s.raw)
			}
			said = append(said, files(t, data)...)
			r.stop()
			said = append(said, files(t, data)...)
			noneHolds(t, said, secretCanary)
		})
	}
}

// noneHolds requires that no text holds a secret, as it is or as it would be
// written in JSON or base64.
func noneHolds(t *testing.T, texts []string, secret string) {
	t.Helper()
	j, _ := json.Marshal(secret)
	quoted := strings.Trim(string(j), `"`)
	forms := []string{secret, quoted, strings.ReplaceAll(quoted, `\u003c`, "<"), strings.ReplaceAll(quoted, "/", `\/`), url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret))}
	for _, s := range texts {
		for _, f := range forms {
			if i := strings.Index(s, f); i >= 0 {
				t.Errorf("the secret is in …%s…", s[max(0, i-80):min(len(s), i+120)])
			}
		}
	}
}

// files returns the content of every file below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		out = append(out, path+"\n"+string(raw))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 5 {
		t.Fatalf("only %d files in the data directory", len(out))
	}
	return out
}

func httpGet(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || len(raw) == 0 {
		t.Fatalf("%s answered %d: %v", url, resp.StatusCode, err)
	}
	return string(raw)
}

// TestNoSecretInLogs makes everything go wrong that is logged, at the most
// talkative level, with a secret in each place an agent or a server can fill.
func TestNoSecretInLogs(t *testing.T) {
	t.Parallel()
	const (
		argument = "argument-canary-5711"
		result   = "result-canary-5711"
	)
	p := newPeer(t, v2026)
	data := t.TempDir()
	r := startRig(t, nil, func(c *daemon.Config) { c.Data = data })
	r.apply(botAndServer(p.URL+"/mcp", `["up/echo"]`), "up")
	token := r.token("bot", "up")
	old := r.legacy(token, "up", v2511, `{}`)
	for _, answer := range []func(x *exchange){
		func(x *exchange) { x.text(result) },
		func(x *exchange) { x.fault(-32000, result, `"`+result+`"`) },
		func(x *exchange) { x.status(500, result) },
		func(x *exchange) { x.message(`{"jsonrpc":"2.0","id":"` + result + `","result":{}}`) },
		func(x *exchange) { x.message(`{"` + result + `":1,"` + result + `":2}`) },
		func(x *exchange) { x.sse(); x.event(`{"` + result) },
		func(x *exchange) { x.sse(); x.event(`{"jsonrpc":"2.0","method":"` + result + `"}`); x.cut() },
		func(x *exchange) { x.w.Header().Set("X", result); x.cut() },
		func(x *exchange) { x.w.Header().Set("Content-Type", result); x.w.WriteHeader(200) },
	} {
		p.handle("tools/call", answer)
		r.call(token, "up", "echo", `{"text":"`+argument+`"}`)
		old.call("echo", `{"text":"`+argument+`"}`)
	}
	for _, h := range []http.Header{
		modernHeaders(token+"x", "tools/call", "echo"), modernHeaders("", "tools/call", argument), modernHeaders(token, argument, "echo"),
		{"Authorization": {"Bearer " + token, "Bearer " + token}}, {"Authorization": {"Basic " + argument}},
	} {
		post(t, r.url("up"), h, modernBody("1", "tools/call", `"name":"echo","arguments":{"text":"`+argument+`"}`))
	}
	r.call(token, "up", "other", `{"text":"`+argument+`"}`)
	r.call(token, "up", "echo", `{"Text":"`+argument+`"}`)
	post(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), `{"`+argument)
	post(t, r.d.AgentsURL+"/oauth/token", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, "grant_type=client_credentials&client_assertion="+argument+"."+argument+"."+argument+"&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&resource="+r.url("up"))
	said := []string{r.logs.String(), httpGet(t, r.d.OperatorsURL+"/metrics")}
	if !strings.Contains(said[0], "level=DEBUG") && !strings.Contains(said[0], "level=WARN") {
		t.Fatalf("nothing was logged: %s", said[0])
	}
	for _, l := range r.leaves(0) {
		said = append(said, l.raw)
	}
	r.stop()
	said = append(said, files(t, data)...)
	said = append(said, r.logs.String())
	for _, secret := range []string{token, argument, result, strings.Split(token, ".")[2], old.session} {
		noneHolds(t, said, secret)
	}
}
