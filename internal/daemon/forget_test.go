package daemon_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/daemon"
)

// What ended the answers to a session is in memory as long as the session is open: it
// goes when the session is revoked, alone or with its agent, here or by another gateway.
func TestEndsOfAnswersGoWithTheirSessions(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
		}
		_ = json.NewDecoder(r.Body).Decode(&m) // the gateway wrote it
		result, known := map[string]string{
			"server/discover": `"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private"`,
			"tools/list":      `"tools":[{"name":"page","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}],"ttlMs":3600000,"cacheScope":"public"`,
			"tools/call":      `"content":[{"type":"text","text":"the rain is likely to go on"}]`,
		}[m.Method]
		w.Header().Set("Content-Type", "application/json")
		if !known {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"error":{"code":-32601,"message":"no"}}`)
			return
		}
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":{"resultType":"complete",`+result+`}}`)
	}))
	defer up.Close()
	d, err := daemon.New(t.Context(), daemon.Config{Mode: "enforce", Data: t.TempDir(), Listen: free}, daemon.Options{Version: "test", Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(context.Background())
	who := admin.Actor{Kind: "user", ID: "tester", Host: true}
	docs, err := admin.ParseReader("test.yaml", t.TempDir(), strings.NewReader(`
kind: Agent
id: bot
owner: team
purpose: test
riskTier: 1
tools: ["up/*"]
---
kind: Server
id: up
owner: team
transport: {http: {url: "`+up.URL+`/mcp"}}
state: sanctioned
`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Admin.Apply(t.Context(), who, docs, false); err != nil {
		t.Fatal(err)
	}
	if err := d.Proxy.Learn(t.Context(), "up"); err != nil {
		t.Fatal(err)
	}
	reads := func(person string) {
		t.Helper()
		tk, err := d.Admin.IssueDevelopmentToken(t.Context(), who, admin.TokenRequest{Agent: "bot", Server: "up", Subject: person})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.AgentsURL+"/mcp/up", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"page","arguments":{},`+
			`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "Authorization": {"Bearer " + tk.Value},
			"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"page"}}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), "the rain") {
			t.Fatalf("the page is not read: %d %s, %v", resp.StatusCode, body, err)
		}
	}
	var open []string
	for _, person := range []string{"ann", "ben", "cid"} {
		reads(person)
		list, err := d.Effects.List(t.Context(), "", 1, false)
		if err != nil || len(list) != 1 {
			t.Fatalf("%v, %v", list, err)
		}
		open = append(open, list[0].ID)
	}
	remembered := func(when string, want ...string) {
		t.Helper()
		slices.Sort(want)
		if got := d.Remembered(); !slices.Equal(got, want) {
			t.Errorf("%s the gate remembers %q, want %q", when, got, want)
		}
	}
	revoke := func(kind, id string) {
		t.Helper()
		if _, err := d.Effects.Revoke(t.Context(), who, admin.Order{Kind: kind, ID: id, Reason: "a test"}); err != nil {
			t.Fatal(err)
		}
	}
	remembered("at first", open...)
	d.PruneNow(t.Context())
	remembered("while they are open", open...)
	revoke("session", open[0])
	remembered("when one was revoked", open[1:]...)
	if err := d.EndElsewhere(t.Context(), open[1]); err != nil {
		t.Fatal(err)
	}
	d.PruneNow(t.Context())
	remembered("when another gateway had revoked one", open[2])
	revoke("agent", "bot")
	remembered("when their agent was revoked")
	reads("ann")
	if got := d.Remembered(); len(got) != 1 || slices.Contains(open, got[0]) {
		t.Errorf("when it signed in anew the gate remembers %q, of old %q", got, open)
	}
}
