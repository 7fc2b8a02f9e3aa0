package gatetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/daemon"
	"rutile/internal/store/storetest"
)

// rig is a whole daemon in a temporary directory with an operator at hand.
type rig struct {
	t    *testing.T
	d    *daemon.Daemon
	logs *lockedBuffer
}

var operator = admin.Actor{Kind: "user", ID: "tester", Host: true}

// operatorClient calls a gateway with its operator token.
func operatorClient(t *testing.T, r *rig) *api.Client {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(r.d.Config.Data, daemon.TokenName))
	if err != nil {
		t.Fatal(err)
	}
	c, err := api.NewClient(r.d.OperatorsURL, strings.TrimSpace(string(token)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newRig starts a daemon that enforces, on free loopback ports.
func newRig(t *testing.T, change ...func(*daemon.Config)) *rig {
	t.Helper()
	return startRig(t, nil, change...)
}

// startRig is newRig with the daemon's options changed too.
func startRig(t *testing.T, opts []func(*daemon.Options), change ...func(*daemon.Config)) *rig {
	t.Helper()
	cfg := daemon.Config{
		Mode: "enforce", Data: t.TempDir(), Log: daemon.Log{Level: "debug"},
		Listen: daemon.Listen{Agents: "127.0.0.1:0", Operators: "127.0.0.1:0"},
	}
	for _, c := range change {
		c(&cfg)
	}
	if cfg.Store == "" || cfg.Store == "sqlite" {
		storetest.Seed(t, cfg.Data)
	}
	r := &rig{t: t, logs: &lockedBuffer{}}
	opt := daemon.Options{Version: "test", Log: r.logs}
	for _, o := range opts {
		o(&opt)
	}
	d, err := daemon.New(t.Context(), cfg, opt)
	if err != nil {
		t.Fatalf("starting the daemon: %v", err)
	}
	r.d = d
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections() // a stop waits for one that has not asked yet
		if err := d.Close(context.Background()); err != nil {
			t.Errorf("stopping the daemon: %v", err)
		}
		if t.Failed() {
			t.Logf("daemon log:\n%s", tail(r.logs.String(), 6000))
		}
	})
	return r
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// apply applies manifests and looks at the named servers.
func (r *rig) apply(manifests string, learn ...string) {
	r.t.Helper()
	docs, err := admin.ParseReader("test.yaml", r.t.TempDir(), strings.NewReader(manifests))
	if err != nil {
		r.t.Fatalf("parsing manifests: %v", err)
	}
	if _, err := r.d.Admin.Apply(r.t.Context(), operator, docs, false); err != nil {
		r.t.Fatalf("applying manifests: %v", err)
	}
	for _, s := range learn {
		if err := r.d.Proxy.Learn(r.t.Context(), s); err != nil {
			r.t.Fatalf("listing %s: %v", s, err)
		}
	}
}

// token issues a development token for an agent at a server. It lives longer than
// a parallel test waits for its turn.
func (r *rig) token(agent, server string) string {
	r.t.Helper()
	tk, err := r.d.Admin.IssueDevelopmentToken(r.t.Context(), operator, admin.TokenRequest{Agent: agent, Server: server, TTL: time.Hour})
	if err != nil {
		r.t.Fatalf("issuing a token: %v", err)
	}
	return tk.Value
}

// url is the endpoint of a server, or of the aggregate for none.
func (r *rig) url(server string) string {
	if server == "" {
		return r.d.AgentsURL + "/mcp"
	}
	return r.d.AgentsURL + "/mcp/" + server
}

// reply is what an agent got back.
type reply struct {
	status int
	header http.Header
	body   string
	msg    rpcMessage // the JSON-RPC answer, from JSON or the last event
}

type rpcMessage struct {
	ID     json.RawMessage `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	} `json:"error"`
}

func (m rpcMessage) code() int {
	if m.Error == nil {
		return 0
	}
	return m.Error.Code
}

// modernHeaders are the headers of a well-formed 2026-07-28 request.
func modernHeaders(token, method, name string) http.Header {
	h := http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "Authorization": {"Bearer " + token},
		"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {method},
	}
	if name != "" {
		h.Set("Mcp-Name", name)
	}
	return h
}

const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

// post sends raw bytes and reads whatever comes.
func post(t *testing.T, url string, h http.Header, body string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range h {
		req.Header[k] = v
	}
	if h.Get("Host") != "" {
		req.Host = h.Get("Host")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("sending: %v", err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	return parseReply(resp, raw)
}

func parseReply(resp *http.Response, raw []byte) reply {
	r := reply{status: resp.StatusCode, header: resp.Header, body: string(raw)}
	last := raw
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		for line := range strings.SplitSeq(string(raw), "\n") {
			if d, ok := strings.CutPrefix(line, "data: "); ok {
				last = []byte(d)
			}
		}
	}
	_ = json.Unmarshal(last, &r.msg) // a plain-text answer has no message
	return r
}

// call calls a tool as a modern client.
func (r *rig) call(token, server, tool, args string) reply {
	r.t.Helper()
	name, _ := json.Marshal(tool)
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":` + string(name) + `,"arguments":` + args + `,` + meta + `}}`
	return post(r.t, r.url(server), modernHeaders(token, "tools/call", tool), body)
}

// list lists a server's tools as a modern client.
func (r *rig) list(token, server string) reply {
	r.t.Helper()
	return post(r.t, r.url(server), modernHeaders(token, "tools/list", ""), `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{`+meta+`}}`)
}

// upstream is a scripted modern MCP server that counts what reaches it.
type upstream struct {
	*httptest.Server

	mu     sync.Mutex
	tools  []string // raw definitions
	bodies [][]byte
	calls  [][]byte
	heads  []http.Header
	keep   bool                                                                               // remember bodies and headers
	answer func(w http.ResponseWriter, r *http.Request, id json.RawMessage, body []byte) bool // handles a tools/call itself if true
}

const echoTool = `{"name":"echo","description":"Say it back.","inputSchema":{"type":"object","properties":{"text":{"type":"string"},"path":{"type":"string"}}},"annotations":{"readOnlyHint":true}}`

func newUpstream(t *testing.T, tools ...string) *upstream {
	t.Helper()
	if len(tools) == 0 {
		tools = []string{echoTool}
	}
	u := &upstream{tools: tools}
	u.Server = httptest.NewServer(u)
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params struct {
			Arguments json.RawMessage `json:"arguments"`
		} `json:"params"`
	}
	_ = json.Unmarshal(body, &m)
	u.mu.Lock()
	if u.keep {
		u.bodies, u.heads = append(u.bodies, body), append(u.heads, r.Header.Clone())
	}
	tools, answer := strings.Join(u.tools, ","), u.answer
	if m.Method == "tools/call" {
		u.calls = append(u.calls, body)
	}
	u.mu.Unlock()
	var result string
	switch m.Method {
	case "server/discover":
		result = `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private"}`
	case "tools/list":
		result = `{"resultType":"complete","tools":[` + tools + `],"ttlMs":3600000,"cacheScope":"public"}`
	case "tools/call":
		if answer != nil && answer(w, r, m.ID, body) {
			return
		}
		text, _ := json.Marshal(string(m.Params.Arguments))
		result = `{"resultType":"complete","content":[{"type":"text","text":` + string(text) + `}]}`
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"error":{"code":-32601,"message":"no"}}`)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":`+result+`}`)
}

func (u *upstream) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.calls)
}

func (u *upstream) setTools(tools ...string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.tools = tools
}

func (u *upstream) onCall(f func(w http.ResponseWriter, r *http.Request, id json.RawMessage, body []byte) bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answer = f
}

const governs = `
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
transport: {http: {url: "UP"}}
state: sanctioned
`

// governed is a rig with agent "bot" allowed everything on server "up".
func governed(t *testing.T, u *upstream, change ...func(*daemon.Config)) (*rig, string) {
	t.Helper()
	r := newRig(t, change...)
	r.apply(strings.ReplaceAll(governs, "UP", u.URL+"/mcp"), "up")
	return r, r.token("bot", "up")
}

// patience is how long a test waits for what has to come. It is no measure of
// speed: everything else runs beside it, on as few cores as there are.
const patience = 20 * time.Second

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within %s: %s", patience, what)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// benchGovern registers agent "bot" and server "up" and returns a token.
func benchGovern(tb testing.TB, d *daemon.Daemon, upstream string) string {
	tb.Helper()
	docs, err := admin.ParseReader("bench.yaml", tb.TempDir(), strings.NewReader(`
kind: Agent
id: bot
owner: team
purpose: measure
riskTier: 1
tools: ["up/*"]
---
kind: Server
id: up
owner: team
transport: {http: {url: "`+upstream+`/mcp"}}
state: sanctioned
`))
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := d.Admin.Apply(tb.Context(), operator, docs, false); err != nil {
		tb.Fatal(err)
	}
	if err := d.Proxy.Learn(tb.Context(), "up"); err != nil {
		tb.Fatal(err)
	}
	tk, err := d.Admin.IssueDevelopmentToken(tb.Context(), operator, admin.TokenRequest{Agent: "bot", Server: "up", TTL: time.Hour})
	if err != nil {
		tb.Fatal(err)
	}
	return tk.Value
}
