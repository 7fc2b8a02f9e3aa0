package gatetest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"rutile/internal/registry"
)

// A token is for one address: the aggregate's opens no server, a server's does
// not open the aggregate, and both metadata documents name the exact resource.
func TestAggregateIsItsOwnResource(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r := newRig(t)
	token := aggregate(t, r, map[string]string{"up": u.URL}, "")
	one := r.token("bot", "up")
	list := modernBody("1", "tools/list", "")
	for name, c := range map[string]struct {
		url, token string
		want       int
	}{
		"the aggregate with its token":      {r.all(), token, 200},
		"a server with its token":           {r.url("up"), one, 200},
		"the aggregate with a server's":     {r.all(), one, 401},
		"a server with the aggregate's":     {r.url("up"), token, 401},
		"the aggregate without":             {r.all(), "", 401},
		"the aggregate, another spelling":   {r.all() + "/", token, 404},
		"the aggregate, escaped":            {r.d.AgentsURL + "/%6dcp", token, 404},
		"the aggregate, token in the query": {r.all() + "?access_token=" + token, token, 400},
	} {
		h := modernHeaders(c.token, "tools/list", "")
		if c.token == "" {
			h.Del("Authorization")
		}
		got := post(t, c.url, h, list)
		if got.status != c.want {
			t.Errorf("%s: answered %d, want %d", name, got.status, c.want)
		}
		if got.status == 401 && c.url == r.all() {
			want := `resource_metadata="` + r.d.AgentsURL + `/.well-known/oauth-protected-resource/mcp"`
			if h := got.header.Get("WWW-Authenticate"); !strings.Contains(h, want) {
				t.Errorf("%s: challenged with %s", name, h)
			}
		}
	}
	for _, path := range []string{"", "/mcp"} {
		resp, err := http.Get(r.d.AgentsURL + "/.well-known/oauth-protected-resource" + path)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct{ Resource string }
		err = json.NewDecoder(resp.Body).Decode(&doc)
		resp.Body.Close()
		if err != nil || doc.Resource != r.all() {
			t.Errorf("the metadata at %q names %q (%v), want %q", path, doc.Resource, err, r.all())
		}
	}
	for _, verb := range []string{http.MethodGet, http.MethodDelete} {
		req, err := http.NewRequestWithContext(t.Context(), verb, r.all(), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = modernHeaders(token, "", "")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" {
			t.Errorf("%s was answered %d, Allow %q", verb, resp.StatusCode, resp.Header.Get("Allow"))
		}
	}
	// Who is suspended gets in nowhere.
	if _, err := r.d.Admin.ChangeAgent(t.Context(), operator, "bot", registry.VerbSuspend, "test"); err != nil {
		t.Fatal(err)
	}
	if got := post(t, r.all(), modernHeaders(token, "tools/list", ""), list); got.status != 401 {
		t.Errorf("a suspended agent was answered %d", got.status)
	}
}

// What is hidden answers like what is not there, byte for byte, whichever way it
// is hidden and whatever else the request says.
func TestAggregateHidesAlike(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, tool("echo"), `{"name":"fits","inputSchema":{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"}}},"annotations":{"readOnlyHint":true}}`)
	r := newRig(t)
	token := aggregate(t, r, map[string]string{"up": u.URL}, "")
	if _, err := r.d.Admin.ChangeTool(t.Context(), operator, "up", "fits", registry.VerbBlock, "test"); err != nil {
		t.Fatal(err)
	}
	u.setTools(tool("echo"), tool("new"))
	if err := r.d.Proxy.Learn(t.Context(), "up"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"up__fits", "up__new", "up__absent", "nowhere__echo", "echo", "up__", "up__" + strings.Repeat("x", 100)} {
		for _, args := range []string{`{}`, `{"a":"x","A":"y"}`} {
			got := r.ask(token, "tools/call", name, `"name":"`+name+`","arguments":`+args)
			if got.status != 200 || got.body != `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool"}}` {
				t.Errorf("%s%s: answered %d %s", name, args, got.status, got.body)
			}
		}
	}
	for _, uri := range []string{"test://a", "rutile+nowhere:test://a", "rutile+:test://a", "rutile+up:", "RUTILE+up:test://a", "rutile+UP:test://a", "rutile+up"} {
		got := r.ask(token, "resources/read", uri, `"uri":"`+uri+`"`)
		if got.status != 200 || got.body != `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Resource not found"}}` {
			t.Errorf("%s: answered %d %s", uri, got.status, got.body)
		}
	}
	if u.count() != 0 {
		t.Error("a hidden tool was called")
	}
}

// The mirrored headers are held to the name the agent used and written anew for
// the server.
func TestAggregateHeaders(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	p.list("tools/list", `"tools":[{"name":"echo","inputSchema":{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"}}},"annotations":{"readOnlyHint":true}}]`)
	r := newRig(t)
	token := aggregate(t, r, map[string]string{"up": p.URL}, "")
	body := modernBody("1", "tools/call", `"name":"up__echo","arguments":{"a":" é "}`)
	header := func(name, a string) http.Header {
		h := modernHeaders(token, "tools/call", name)
		if a != "" {
			h.Set("Mcp-Param-A", a)
		}
		h.Set("Mcp-Param-Other", "kept")
		return h
	}
	const a = "=?base64?IMOpIA==?="
	for name, h := range map[string]http.Header{
		"the bare name": header("echo", a), "another server's": header("up2__echo", a), "no name": header("", a), "no parameter": header("up__echo", ""), "another parameter": header("up__echo", "x"),
	} {
		if got := post(t, r.all(), h, body); got.status != 400 || got.msg.code() != -32020 {
			t.Errorf("%s: answered %d %s", name, got.status, got.body)
		}
	}
	if got := post(t, r.all(), header(" up__echo ", a), body); got.msg.Result == nil {
		t.Fatalf("answered %d %s", got.status, got.body)
	}
	h := p.last("tools/call").header
	if h.Get("Mcp-Name") != "echo" || h.Get("Mcp-Param-A") != a || h.Get("Mcp-Param-Other") != "kept" || h.Get("Mcp-Method") != "tools/call" || h.Get("Authorization") != "" {
		t.Errorf("the server was sent %v", h)
	}
	if n := len(p.got("tools/call")); n != 1 {
		t.Errorf("%d calls reached the server, want 1", n)
	}
}
