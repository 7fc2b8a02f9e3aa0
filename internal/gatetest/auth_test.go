package gatetest_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rutile/internal/admin"
)

// A client that knows nothing but the URL of a server finds its way to a token
// and to an answer by what the 401 says.
func TestWrongAudience401(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	r.apply(strings.Replace(botAndServer(u.URL+"/mcp", `["up/*"]`), "tools:", `keys: [{jwk: '{"kty":"OKP","crv":"Ed25519","use":"sig","x":"`+base64.RawURLEncoding.EncodeToString(public)+`"}'}]`+"\ntools:", 1)+`---
kind: Server
id: other
owner: team
transport: {http: {url: "`+u.URL+`/mcp"}}
state: sanctioned
`, "up")
	wrong := map[string]string{
		"another server's token": r.token("bot", "other"), "none": "", "garbage": "garbage",
		"a changed signature": r.token("bot", "up") + "A", "unsigned": unsigned(t, r.token("bot", "up")),
	}
	for name, token := range wrong {
		t.Run(name, func(t *testing.T) {
			for method, body := range map[string]string{
				"tools/call": modernBody("1", "tools/call", `"name":"echo","arguments":{}`), "initialize": `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`,
			} {
				h := modernHeaders(token, method, "echo")
				if token == "" {
					h.Del("Authorization")
				}
				got := post(t, r.url("up"), h, body)
				if got.status != 401 || got.msg.Result != nil {
					t.Fatalf("%s answered %d %s", method, got.status, got.body)
				}
				params := challenge(t, got.header)
				if params["resource_metadata"] == "" || params["scope"] != "mcp" || (params["error"] == "invalid_token") != (token != "") {
					t.Fatalf("challenged with %v", params)
				}
				if got := follow(t, r, params["resource_metadata"], "up", "echo", private); got.msg.Result == nil {
					t.Errorf("the way of the challenge ended with %d %s", got.status, got.body)
				}
			}
		})
	}
	got := post(t, r.url(""), modernHeaders(r.token("bot", "up"), "tools/call", "up__echo"), modernBody("1", "tools/call", `"name":"up__echo","arguments":{}`))
	if got.status != 401 {
		t.Fatalf("a server's token at the aggregate: %d %s", got.status, got.body)
	}
	if got := follow(t, r, challenge(t, got.header)["resource_metadata"], "", "up__echo", private); got.msg.Result == nil {
		t.Errorf("the way of the aggregate's challenge ended with %d %s", got.status, got.body)
	}
	if want := 2*len(wrong) + 1; u.count() != want {
		t.Errorf("the upstream saw %d calls, want only those at the end of the way: %d", u.count(), want)
	}
}

// challenge parses a Bearer challenge.
func challenge(t *testing.T, h http.Header) map[string]string {
	t.Helper()
	v := h.Values("WWW-Authenticate")
	if len(v) != 1 || !strings.HasPrefix(v[0], "Bearer ") {
		t.Fatalf("challenged with %q", v)
	}
	out := map[string]string{}
	for _, m := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllStringSubmatch(v[0], -1) {
		out[m[1]] = m[2]
	}
	return out
}

// follow reads the metadata a challenge names (RFC 9728), the metadata of the
// authorization server that names (RFC 8414), gets a token there (RFC 7523) and
// calls the resource with it. Each URL is taken from the document before.
func follow(t *testing.T, r *rig, metadata, server, tool string, key ed25519.PrivateKey) reply {
	t.Helper()
	var resource struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers"`
	}
	fetchJSON(t, metadata, &resource)
	path := strings.TrimPrefix(r.url(server), r.d.AgentsURL)
	if resource.Resource != r.url(server) || len(resource.Servers) != 1 || metadata != r.d.AgentsURL+"/.well-known/oauth-protected-resource"+path {
		t.Fatalf("%s says %+v", metadata, resource)
	}
	var issuer struct {
		Issuer  string   `json:"issuer"`
		Token   string   `json:"token_endpoint"`
		Grants  []string `json:"grant_types_supported"`
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	fetchJSON(t, resource.Servers[0]+"/.well-known/oauth-authorization-server", &issuer)
	if issuer.Issuer != resource.Servers[0] || !slices.Contains(issuer.Grants, "client_credentials") || !slices.Contains(issuer.Methods, "private_key_jwt") {
		t.Fatalf("the authorization server says %+v", issuer)
	}
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_assertion": {assertion(t, "bot", issuer.Issuer, key)},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "resource": {resource.Resource},
	}
	resp, err := http.PostForm(issuer.Token, form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var granted struct {
		Token string `json:"access_token"`
		Type  string `json:"token_type"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&granted); err != nil || resp.StatusCode != 200 || granted.Type != "Bearer" {
		t.Fatalf("the token endpoint answered %d: %v %+v", resp.StatusCode, err, granted)
	}
	return post(t, resource.Resource, modernHeaders(granted.Token, "tools/call", tool), modernBody("1", "tools/call", `"name":"`+tool+`","arguments":{}`))
}

func fetchJSON(t *testing.T, url string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(httpGet(t, url)), v); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
}

func assertion(t *testing.T, agent, issuer string, key ed25519.PrivateKey) string {
	t.Helper()
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{"iss": agent, "sub": agent, "aud": issuer, "iat": now, "exp": now + 60, "jti": fmt.Sprint(time.Now().UnixNano())})
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding
	signed := enc.EncodeToString([]byte(`{"alg":"EdDSA","typ":"JWT"}`)) + "." + enc.EncodeToString(claims)
	return signed + "." + enc.EncodeToString(ed25519.Sign(key, []byte(signed)))
}

// unsigned is a token with its claims and no signature.
func unsigned(t *testing.T, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatal("the token is no JWT")
	}
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + parts[1] + "."
}

// A client assertion is accepted once, also by a gateway that was restarted in
// between, and what it is good for is one token for one server.
func TestAssertionIsAcceptedOnce(t *testing.T) {
	u := newUpstream(t)
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	r := rigAt(t, data, "127.0.0.1:0")
	addr := strings.TrimPrefix(r.d.AgentsURL, "http://")
	r.apply(strings.Replace(botAndServer(u.URL+"/mcp", `["up/*"]`), "tools:", `keys: [{jwk: '{"kty":"OKP","crv":"Ed25519","use":"sig","x":"`+base64.RawURLEncoding.EncodeToString(public)+`"}'}]`+"\ntools:", 1), "up")
	form := func() url.Values {
		return url.Values{
			"grant_type": {"client_credentials"}, "client_assertion": {assertion(t, "bot", r.d.AgentsURL, private)},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "resource": {r.url("up")},
		}
	}
	ask := func(f url.Values, query string) (int, string) {
		t.Helper()
		resp, err := http.Post(r.d.AgentsURL+"/oauth/token"+query, "application/x-www-form-urlencoded", strings.NewReader(f.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var body struct {
			Token string `json:"access_token"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || resp.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("answered %d %v: %v", resp.StatusCode, resp.Header, err)
		}
		return resp.StatusCode, body.Token
	}
	used := form()
	status, token := ask(used, "")
	if got := r.call(token, "up", "echo", `{}`); status != 200 || got.msg.Result == nil {
		t.Fatalf("the token of a good assertion: %d, answered %s", status, got.body)
	}
	for _, restarted := range []bool{false, true} {
		if restarted {
			r.stop()
			r = rigAt(t, data, addr)
		}
		if status, token := ask(used, ""); status != 401 || token != "" {
			t.Errorf("used again, restarted %v: %d %q", restarted, status, token)
		}
		// What is refused before the assertion is read leaves it as it was.
		good := form()
		for name, change := range map[string]func(f url.Values) string{
			"disagreeing query":  func(url.Values) string { return "?resource=" + url.QueryEscape(r.d.AgentsURL+"/mcp") },
			"grant in the query": func(f url.Values) string { f.Del("grant_type"); return "?grant_type=client_credentials" },
			"twice":              func(f url.Values) string { f.Add("grant_type", "client_credentials"); return "" },
			"an array":           func(f url.Values) string { f["resource[]"] = f["resource"]; return "" },
			"another grant":      func(f url.Values) string { f.Set("grant_type", "password"); return "" },
			"a secret too":       func(f url.Values) string { f.Set("client_secret", "s"); return "" },
		} {
			f := url.Values{}
			for k, v := range good {
				f[k] = slices.Clone(v)
			}
			if status, token := ask(f, change(f)); status < 400 || token != "" {
				t.Errorf("%s: %d %q", name, status, token)
			}
		}
		if status, token := ask(good, ""); status != 200 || token == "" {
			t.Errorf("a fresh assertion, restarted %v: %d", restarted, status)
		}
	}
	if got := r.call(token, "up", "echo", `{}`); got.msg.Result == nil {
		t.Errorf("after the restart the token answered %d %s", got.status, got.body)
	}
	for name, h := range map[string]http.Header{
		"an assertion for a token": modernHeaders(form().Get("client_assertion"), "tools/call", "echo"),
		"in a cookie":              {"Cookie": {"access_token=" + token, "Authorization=Bearer " + token}},
		"in another header":        {"X-Authorization": {"Bearer " + token}, "Proxy-Authorization": {"Bearer " + token}},
		"in the session":           {"Mcp-Session-Id": {token}},
	} {
		if h.Get("Authorization") == "" {
			for k, v := range modernHeaders("", "tools/call", "echo") {
				if k != "Authorization" {
					h[k] = v
				}
			}
		}
		if got := post(t, r.url("up"), h, modernBody("1", "tools/call", `"name":"echo","arguments":{}`)); got.status != 401 {
			t.Errorf("%s: answered %d %s", name, got.status, got.body)
		}
	}
}

// A session belongs to who opened it. For anybody else, and at any other
// server, it is the same as none.
func TestSessionOtherPrincipal404(t *testing.T) {
	t.Parallel()
	for _, era := range []string{v2026, v2511} {
		t.Run(era, func(t *testing.T) {
			p := newPeer(t, era)
			p.streams = true
			r, token := governPeer(t, p, `---
kind: Agent
id: eve
owner: team
purpose: test
riskTier: 1
tools: ["up/*"]
---
kind: Server
id: other
owner: team
transport: {http: {url: "`+p.URL+`/mcp"}}
state: sanctioned
`)
			subject := func(agent, who string) string {
				tk, err := r.d.Admin.IssueDevelopmentToken(t.Context(), operator, admin.TokenRequest{Agent: agent, Server: "up", Subject: who})
				if err != nil {
					t.Fatal(err)
				}
				return tk.Value
			}
			ann := subject("bot", "ann")
			mine := r.legacy(ann, "up", v2511, `{}`)
			before := len(p.all())
			thief := func(token, server, session string) *oldClient {
				return &oldClient{t: t, r: r, token: token, server: server, version: v2511, session: session}
			}
			bodies := map[string]bool{}
			for name, c := range map[string]*oldClient{
				"another agent": thief(r.token("eve", "up"), "up", mine.session), "another agent for the same person": thief(subject("eve", "ann"), "up", mine.session),
				"the same agent for another person": thief(subject("bot", "bob"), "up", mine.session), "the same agent for nobody": thief(token, "up", mine.session),
				"a made-up id": thief(ann, "up", mine.session+"x"), "an empty id": thief(ann, "up", " "),
				"the same agent at another server": thief(r.token("bot", "other"), "other", mine.session),
			} {
				got := c.call("echo", `{}`)
				bodies[got.body] = true
				if got.status != 404 {
					t.Errorf("%s: answered %d %s", name, got.status, got.body)
				}
				for _, verb := range []string{http.MethodGet, http.MethodDelete} {
					if s := stream(t, verb, r.url(c.server), c.headers(), ""); s.status != 404 {
						t.Errorf("%s: %s answered %d", name, verb, s.status)
					}
				}
				if got := c.post(`{"jsonrpc":"2.0","id":1,"result":{}}`); got.status != 404 {
					t.Errorf("%s: a response was answered %d", name, got.status)
				}
			}
			if len(bodies) != 1 {
				t.Errorf("the answers differ: %v", bodies)
			}
			if got := p.all(); len(got) != before {
				t.Errorf("a stranger reached the upstream: %v", got[before:])
			}
			if got := mine.call("echo", `{"text":"x"}`); got.msg.Result == nil {
				t.Errorf("the owner got %d %s", got.status, got.body)
			}
			if got := thief(ann, "up", "").call("echo", `{}`); got.status != 400 {
				t.Errorf("without an id: %d %s", got.status, got.body)
			}
		})
	}
}

// TestRebinding holds every listener to its own names: a page a browser took
// from elsewhere cannot talk to it, whatever its name resolves to.
func TestRebinding(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r, token := governed(t, u)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(r.d.AgentsURL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	good := modernBody("1", "tools/call", `"name":"echo","arguments":{}`)
	try := func(verb, host, origin string) int {
		h := modernHeaders(token, "tools/call", "echo")
		if host != "" {
			h.Set("Host", host)
		}
		if origin != "" {
			h["Origin"] = strings.Split(origin, " ")
		}
		if verb == http.MethodPost {
			return post(t, r.url("up"), h, good).status
		}
		req, err := http.NewRequestWithContext(t.Context(), verb, r.url("up"), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = h
		if host != "" {
			req.Host = host
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, host := range []string{"evil.example", "evil.example:" + port, "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:" + port, "127.0.0.1.nip.io:" + port, "0.0.0.0:" + port, "127.1:" + port, "[::ffff:127.0.0.1]:" + port, "localhost.:" + port} {
		for _, verb := range []string{"POST", "GET", "DELETE", "OPTIONS", "PUT"} {
			if got := try(verb, host, ""); got != 403 {
				t.Errorf("%s with Host %s answered %d", verb, host, got)
			}
		}
	}
	for _, origin := range []string{"null", "https://evil.example", "http://evil.example:" + port, "http://127.0.0.1", "http://127.0.0.1:1", "file://", "chrome-extension://abc", "http://localhost:" + port + ".evil.example", "http://127.0.0.1:" + port + " http://evil.example"} {
		if got := try("POST", "", origin); got != 403 {
			t.Errorf("Origin %s answered %d", origin, got)
		}
		if got := try("OPTIONS", "", origin); got != 403 {
			t.Errorf("a preflight of %s answered %d", origin, got)
		}
	}
	if u.count() != 0 {
		t.Fatalf("%d calls reached the upstream", u.count())
	}
	for _, host := range []string{"127.0.0.1:" + port, "localhost:" + port} {
		if got := try("POST", host, "http://"+host); got != 200 {
			t.Errorf("Host and Origin %s answered %d", host, got)
		}
	}
	if got := try("OPTIONS", "", "http://127.0.0.1:"+port); got != 405 {
		t.Errorf("a preflight of our own answered %d", got)
	}
}
