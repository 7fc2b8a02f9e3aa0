package gatetest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// The protocol revisions.
const (
	v2026 = "2026-07-28"
	v2511 = "2025-11-25"
	v2506 = "2025-06-18"
	v2503 = "2025-03-26"
)

// peer is a scripted MCP server of one or both eras that keeps what reaches it.
type peer struct {
	*httptest.Server
	t      *testing.T
	modern bool
	legacy string // the revision it negotiates, "" if none

	mu       sync.Mutex
	caps     string
	lists    map[string]string // method → raw list
	on       map[string]func(x *exchange)
	seen     []seen
	sessions map[string]bool
	minted   int
	lost     func(w http.ResponseWriter) // says that a session is unknown; nil is 404
	streams  bool                        // it offers a GET stream
	ended    map[string]bool             // sessions whose GET stream has ended
	push     chan string
	own      map[string]chan string // what one session's GET stream is to say
}

// seen is one request that reached a peer.
type seen struct {
	verb    string // HTTP method
	path    string
	method  string
	id      string
	params  string
	body    string
	header  http.Header
	session string
}

// exchange is one request being answered.
type exchange struct {
	p      *peer
	w      http.ResponseWriter
	r      *http.Request
	id     string // raw
	method string
	params string // raw
	modern bool
	began  bool
}

// newPeer starts a server that speaks the revisions given.
func newPeer(t *testing.T, revisions ...string) *peer {
	t.Helper()
	p := &peer{
		t: t, on: map[string]func(*exchange){}, sessions: map[string]bool{}, ended: map[string]bool{}, push: make(chan string, 16),
		caps: `{"tools":{"listChanged":true},"prompts":{},"resources":{"subscribe":true},"logging":{},"completions":{}}`,
		lists: map[string]string{
			"tools/list": `"tools":[` + echoTool + `]`, "prompts/list": `"prompts":[{"name":"hi"}]`,
			"resources/list": `"resources":[{"uri":"test://a","name":"a"}]`, "resources/templates/list": `"resourceTemplates":[]`,
		},
	}
	for _, v := range revisions {
		if v == v2026 {
			p.modern = true
		} else {
			p.legacy = v
		}
	}
	p.Server = httptest.NewServer(p)
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
	})
	return p
}

// handle answers a method with f.
func (p *peer) handle(method string, f func(x *exchange)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.on[method] = f
}

// list sets the members of a list result, for example `"tools":[…]`.
func (p *peer) list(method, members string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lists[method] = members
}

// got returns what of one method reached the peer; of HTTP verbs for GET and DELETE.
func (p *peer) got(method string) []seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []seen
	for _, s := range p.seen {
		if s.method == method || (s.method == "" && s.verb == method) {
			out = append(out, s)
		}
	}
	return out
}

// all returns everything that reached the peer.
func (p *peer) all() []seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]seen(nil), p.seen...)
}

// last returns the last request of a method.
func (p *peer) last(method string) seen {
	p.t.Helper()
	s := p.got(method)
	if len(s) == 0 {
		p.t.Fatalf("no %s reached the upstream", method)
	}
	return s[len(s)-1]
}

// open counts the live sessions.
func (p *peer) open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sessions)
}

// forget ends every session, as a restart would.
func (p *peer) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions = map[string]bool{}
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
	}
	_ = json.Unmarshal(body, &m) // a GET has none
	s := seen{verb: r.Method, path: r.URL.Path, method: m.Method, id: string(m.ID), params: string(m.Params), body: string(body), header: r.Header.Clone(), session: r.Header.Get("Mcp-Session-Id")}
	p.mu.Lock()
	p.seen = append(p.seen, s)
	f := p.on[m.Method]
	alive, lost := p.sessions[s.session], p.lost
	p.mu.Unlock()
	x := &exchange{p: p, w: w, r: r, id: s.id, method: m.Method, params: s.params, modern: strings.Contains(s.params, "io.modelcontextprotocol/protocolVersion")}
	switch {
	case r.Method != http.MethodPost:
		p.sessionVerb(x, s, alive)
	case x.modern && !p.modern:
		x.status(http.StatusBadRequest, `{"jsonrpc":"2.0","id":`+x.id+`,"error":{"code":-32600,"message":"no session"}}`)
	case !x.modern && p.legacy == "":
		x.status(http.StatusBadRequest, `{"jsonrpc":"2.0","id":`+x.idOr("null")+`,"error":{"code":-32602,"message":"_meta is missing"}}`)
	case m.Method == "initialize":
		p.initialize(x, f)
	case !x.modern && !alive && lost != nil:
		lost(w)
	case !x.modern && !alive:
		w.WriteHeader(http.StatusNotFound)
	case f != nil:
		f(x)
	case m.Method == "" || x.id == "":
		w.WriteHeader(http.StatusAccepted)
	default:
		p.answer(x)
	}
}

func (p *peer) sessionVerb(x *exchange, s seen, alive bool) {
	switch {
	case !alive:
		x.w.WriteHeader(http.StatusNotFound)
	case s.verb == http.MethodDelete:
		p.mu.Lock()
		delete(p.sessions, s.session)
		p.mu.Unlock()
		x.w.WriteHeader(http.StatusNoContent)
	case !p.streams:
		x.w.WriteHeader(http.StatusMethodNotAllowed)
	default:
		x.sse()
		own := p.to(s.session)
		for {
			select {
			case msg := <-own:
				x.event(msg)
			case <-x.r.Context().Done():
				p.mu.Lock()
				p.ended[s.session] = true
				p.mu.Unlock()
				return
			case msg := <-p.push:
				x.event(msg)
			}
		}
	}
}

// to is what the GET stream of one session says.
func (p *peer) to(session string) chan string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.own == nil {
		p.own = map[string]chan string{}
	}
	if p.own[session] == nil {
		p.own[session] = make(chan string)
	}
	return p.own[session]
}

func (p *peer) initialize(x *exchange, f func(*exchange)) {
	p.mu.Lock()
	p.minted++
	id := fmt.Sprintf("upstream-session-%d", p.minted)
	p.sessions[id] = true
	caps := p.caps
	p.mu.Unlock()
	x.w.Header().Set("Mcp-Session-Id", id)
	if f != nil {
		f(x)
		return
	}
	x.result(`{"protocolVersion":"` + p.legacy + `","capabilities":` + caps + `,"serverInfo":{"name":"peer","version":"1"},"instructions":"be kind"}`)
}

// answer is what an ordinary server says.
func (p *peer) answer(x *exchange) {
	p.mu.Lock()
	list, caps := p.lists[x.method], p.caps
	p.mu.Unlock()
	var params struct {
		Arguments json.RawMessage `json:"arguments"`
		URI       string          `json:"uri"`
	}
	_ = json.Unmarshal([]byte(x.params), &params)
	stamp := ""
	if x.modern {
		stamp = `"resultType":"complete",`
	}
	if x.modern && (list != "" || x.method == "resources/read" || x.method == "server/discover") {
		stamp += `"ttlMs":3600000,"cacheScope":"public",`
	}
	text, _ := json.Marshal(string(params.Arguments))
	uri, _ := json.Marshal(params.URI)
	switch {
	case x.method == "server/discover" && x.modern:
		x.result(`{` + stamp + `"supportedVersions":["2026-07-28"],"capabilities":` + caps + `,"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"peer","version":"1"}}}`)
	case list != "":
		x.result(`{` + stamp + list + `}`)
	case x.method == "tools/call":
		x.result(`{` + stamp + `"content":[{"type":"text","text":` + string(text) + `}]}`)
	case x.method == "prompts/get":
		x.result(`{` + stamp + `"messages":[{"role":"user","content":{"type":"text","text":"hi"}}]}`)
	case x.method == "resources/read":
		x.result(`{` + stamp + `"contents":[{"uri":` + string(uri) + `,"text":"a"}]}`)
	case x.method == "completion/complete":
		x.result(`{` + stamp + `"completion":{"values":["x"]}}`)
	case x.method == "ping", x.method == "logging/setLevel", x.method == "resources/subscribe", x.method == "resources/unsubscribe":
		x.result(`{}`)
	default:
		x.status(http.StatusNotFound, `{"jsonrpc":"2.0","id":`+x.id+`,"error":{"code":-32601,"message":"no"}}`)
	}
}

func (x *exchange) idOr(none string) string {
	if x.id == "" {
		return none
	}
	return x.id
}

// result ends the exchange with a result, in the representation it has.
func (x *exchange) result(raw string) {
	x.message(`{"jsonrpc":"2.0","id":` + x.id + `,"result":` + raw + `}`)
}

// text ends the exchange with a tool result of one text.
func (x *exchange) text(s string) {
	raw, _ := json.Marshal(s)
	stamp := ""
	if x.modern {
		stamp = `"resultType":"complete",`
	}
	x.result(`{` + stamp + `"content":[{"type":"text","text":` + string(raw) + `}]}`)
}

// fault ends the exchange with an error.
func (x *exchange) fault(code int, msg, data string) {
	if data != "" {
		data = `,"data":` + data
	}
	x.message(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":%q%s}}`, x.id, code, msg, data))
}

// message sends raw as the last message.
func (x *exchange) message(raw string) {
	if x.began {
		x.event(raw)
		return
	}
	x.status(http.StatusOK, raw)
}

func (x *exchange) status(code int, body string) {
	x.w.Header().Set("Content-Type", "application/json")
	x.w.WriteHeader(code)
	_, _ = io.WriteString(x.w, body) // the gateway may have gone
}

// sse begins a stream.
func (x *exchange) sse() {
	x.began = true
	x.w.Header().Set("Content-Type", "text/event-stream")
	x.w.WriteHeader(http.StatusOK)
	x.w.(http.Flusher).Flush()
}

// event sends one event.
func (x *exchange) event(msg string) {
	_, _ = io.WriteString(x.w, "data: "+msg+"\n\n")
	x.w.(http.Flusher).Flush()
}

// gone waits until the gateway gives the exchange up.
func (x *exchange) gone() bool {
	select {
	case <-x.r.Context().Done():
		return true
	case <-time.After(patience):
		return false
	}
}

// cut cuts the connection without ending the answer.
func (x *exchange) cut() { panic(http.ErrAbortHandler) }
