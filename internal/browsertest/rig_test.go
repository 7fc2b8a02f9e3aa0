package browsertest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"rutile/internal/admin"
	"rutile/internal/daemon"
	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
	"rutile/internal/grant"
	"rutile/internal/registry"
	"rutile/internal/store/storetest"
)

// hostile is what an agent, a server or a person might call something, to be more
// than text on a page. Its marker shows whether it ran or was taken for markup.
const (
	markup  = "x</code><script>document.title='owned'</script><img src=/owned.png onerror=document.title='owned'>[link](http://evil.example)"
	hostile = markup + " \u202eevil\u200b \x1b[31mred" // manifests refuse what nobody sees
)

// keeper keeps the gateway.
var keeper = admin.Actor{Kind: "user", ID: "keeper", Host: true}

const manifests = `kind: Agent
id: release-bot
owner: team-dev
purpose: cut releases
runtime: claude-code
riskTier: 1
tools: ["shop/look", "shop/slow"]
---
kind: Agent
id: spare-bot
owner: team-dev
purpose: PURPOSE
---
kind: Server
id: shop
owner: team-dev
transport: {http: {url: "URL"}}
state: sanctioned
---
kind: Server
id: new-shop
owner: team-dev
transport: {http: {url: "URL"}}
---
kind: Team
id: team-dev
members: [ann]
---
kind: User
id: ann
name: NAME
roles: [approver]
---
kind: User
id: vic
roles: [viewer]
---
kind: User
id: odd
roles: [auditor]
---
kind: User
id: root
roles: [admin]
---
kind: Policy
id: no-drop
cedar: |
  forbid (principal, action == Mcp::Action::"shop/drop", resource);
---
kind: Entitlement
id: orders
owner: team-dev
agents: [release-bot]
tools: ["shop/order"]
approve: quorum:1
`

// rig is a gateway with everything its pages show.
type rig struct {
	t      *testing.T
	d      *daemon.Daemon
	base   string // of the operators' address
	slow   chan struct{}
	token  string // of the agent
	text   string // what it sends
	shadow string // canonical key of a server nobody registered
	wrong  string // id of a finding about it
}

func newRig(t *testing.T, change ...func(*daemon.Config)) *rig {
	t.Helper()
	r := &rig{t: t, slow: make(chan struct{}), text: "<b>bold</b>"}
	up := httptest.NewServer(r.upstream())
	t.Cleanup(up.Close)
	t.Cleanup(func() { close(r.slow) })
	cfg := daemon.Config{Data: storetest.Dir(t), Mode: "enforce", Listen: daemon.Listen{Agents: "127.0.0.1:0", Operators: "127.0.0.1:0"}, Log: daemon.Log{Level: "error"}}
	for _, c := range change {
		c(&cfg)
	}
	d, err := daemon.New(t.Context(), cfg, daemon.Options{Version: "test", Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close(context.Background()) })
	r.d, r.base = d, d.OperatorsURL
	quoted, err := json.Marshal(markup)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("URL", up.URL, "PURPOSE", string(quoted), "NAME", string(quoted)).Replace(manifests)
	if _, err := d.Admin.Apply(t.Context(), keeper, []admin.Document{{File: "m.yaml", Text: text}}, false); err != nil {
		t.Fatal(err)
	}
	if err := d.Proxy.Learn(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	r.token = r.tokenOf("release-bot", "shop", "ann")
	r.call("look", "Looked")
	r.call("drop", "Denied")
	r.call("order", "approv")
	if _, err := d.Desk.Approve(t.Context(), user("ann"), r.request().ID, grant.Answer{Method: "test"}); err != nil {
		t.Fatal(err)
	}
	r.discover()
	r.text = "another"
	r.call("order", "approv")
	return r
}

// discover has a machine report a server nobody registered.
func (r *rig) discover() {
	r.t.Helper()
	now := time.Now().UTC()
	r.shadow = "pkg:npm/notes"
	seen := discovery.Sighting{
		Source: "client", User: "usr_0123456789ab", Fact: discovery.Configured, Strength: 0.9, Clients: []string{"cursor"},
		Place: discovery.Place{Path: "~/.cursor/mcp.json", Pointer: "/mcpServers/notes"}, Name: hostile,
		Target:  discovery.Target{Key: r.shadow, Kind: discovery.KindPackage, Package: r.shadow, Command: "npx", Args: []string{"-y", "notes"}},
		Secrets: []discovery.SecretRef{{Name: "NOTES_TOKEN", Where: "env", Kind: discovery.SecretLiteral, Sensitive: true}},
	}
	looked := []discovery.Coverage{{Source: "client", Place: "~/.cursor/mcp.json", Outcome: discovery.Read, Entries: 1}, {Source: "client", Place: "~/.denied/mcp.json", Outcome: discovery.Denied, Why: hostile}}
	b := inventory.NewBatch(&discovery.Seen{Started: now, Ended: now, Sightings: []discovery.Sighting{seen}, Coverage: looked}, "hst_000000000000", "linux", "test", []string{"client"})
	if _, err := r.d.Inventory.Report(r.t.Context(), keeper, b); err != nil {
		r.t.Fatal(err)
	}
	list, err := r.d.Findings.List(r.t.Context(), finding.Filter{})
	if err != nil || len(list) == 0 {
		r.t.Fatalf("no finding: %v", err)
	}
	r.wrong = list[0].ID
}

// upstream is a server whose words are hostile.
func (r *rig) upstream() http.Handler {
	s := mcp.NewServer(&mcp.Implementation{Name: "shop", Version: "1"}, nil)
	add := func(name, text string, wait bool) {
		s.AddTool(&mcp.Tool{Name: name, Description: "It does " + name + ".", InputSchema: json.RawMessage(`{"type":"object"}`)},
			func(ctx context.Context, _ *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
				if wait {
					select {
					case <-r.slow:
					case <-ctx.Done():
					}
				}
				return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil
			})
	}
	add("look", "Looked <script>document.title='owned'</script>", false)
	add("drop", "Dropped", false)
	add("order", "Ordered", false)
	add("slow", "Slow", true)
	s.AddTool(&mcp.Tool{Name: "tidy", Description: "Shows what there is.", InputSchema: json.RawMessage(`{"type":"object"}`), Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
		func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "Deleted 3 <b>files</b>."}}}, nil
		})
	s.AddTool(&mcp.Tool{Name: "odd", Title: hostile, Description: hostile, InputSchema: json.RawMessage(`{"type":"object"}`)},
		func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return &mcp.CallToolResult{}, nil
		})
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true})
}

// call calls a tool as the agent and fails unless the answer says word.
func (r *rig) call(tool, word string) {
	r.t.Helper()
	if got := r.ask(r.t.Context(), tool); !strings.Contains(got, word) {
		r.t.Fatalf("%s answers %s, want %q in it", tool, got, word)
	}
}

func (r *rig) ask(ctx context.Context, tool string) string {
	return r.send(ctx, r.token, "shop", tool, `{"text":"`+r.text+`"}`)
}

// send calls a tool of a server with a token.
func (r *rig) send(ctx context.Context, token, server, tool, args string) string {
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + tool + `","arguments":` + args + `,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.d.AgentsURL+"/mcp/"+server, strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	for k, v := range map[string]string{"Authorization": "Bearer " + token, "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": tool} {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

// tokenOf is a token of an agent for a server, for a person or nobody.
func (r *rig) tokenOf(agent, server, person string) string {
	r.t.Helper()
	tk, err := r.d.Admin.IssueDevelopmentToken(r.t.Context(), keeper, admin.TokenRequest{Agent: agent, Server: server, Subject: person, TTL: time.Hour})
	if err != nil {
		r.t.Fatal(err)
	}
	return tk.Value
}

// apply brings declared objects to what a manifest says.
func (r *rig) apply(text string) {
	r.t.Helper()
	if _, err := r.d.Admin.Apply(r.t.Context(), keeper, []admin.Document{{File: "more.yaml", Text: text}}, false); err != nil {
		r.t.Fatal(err)
	}
}

// request is the one the agent made.
func (r *rig) request() grant.Request {
	r.t.Helper()
	list, err := r.d.Desk.Requests(r.t.Context(), grant.Filter{})
	if err != nil || len(list) == 0 {
		r.t.Fatalf("no request: %v", err)
	}
	return list[0]
}

// link is an address that signs actor in.
func (r *rig) link(actor admin.Actor) string {
	r.t.Helper()
	l, _, err := r.d.SignInLink(actor)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// user is a registered person, as the edge that saw their account would name them.
func user(id string) admin.Actor { return admin.Actor{Kind: "user", ID: id} }

// state is the state of an agent.
func (r *rig) agent(id string) registry.AgentState {
	a, _ := r.d.Admin.Current().View.Agent(id)
	return a.State
}

// hand is a person with a plain HTTP client: what a page offers is not what can be sent.
type hand struct {
	t    *testing.T
	base string
	*http.Client
	form string // of the page it looked at last
}

// sign signs somebody in.
func (r *rig) sign(actor admin.Actor) *hand {
	r.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	h := &hand{t: r.t, base: r.base, Client: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	at, err := url.Parse(r.link(actor))
	if err != nil {
		r.t.Fatal(err)
	}
	if status, _, where := h.post("/console/enter", url.Values{"code": {at.Query().Get("code")}}); status != http.StatusSeeOther || where != "/console/" {
		r.t.Fatalf("signing in: %d to %s", status, where)
	}
	h.get("/console/")
	return h
}

var formField = regexp.MustCompile(`name="form" value="([^"]+)"`)

func (h *hand) send(req *http.Request) (int, string, string) {
	h.t.Helper()
	resp, err := h.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	if csp := resp.Header.Get("Content-Security-Policy"); resp.Header.Get("X-Frame-Options") != "DENY" || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
		h.t.Errorf("%s may stand in another page, or lets too much in: %q", req.URL, csp)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		h.t.Fatal(err)
	}
	if m := formField.FindStringSubmatch(b.String()); m != nil {
		h.form = m[1]
	}
	return resp.StatusCode, b.String(), resp.Header.Get("Location")
}

func (h *hand) get(path string) (int, string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, h.base+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	status, body, _ := h.send(req)
	return status, body
}

// post sends a form as a page of ours does; change may make it one of somebody else's.
func (h *hand) post(path string, f url.Values, change ...func(*http.Request)) (int, string, string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.base+path, strings.NewReader(f.Encode()))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", h.base)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	for _, c := range change {
		c(req)
	}
	return h.send(req)
}
