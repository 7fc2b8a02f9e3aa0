package gatetest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/daemon"
)

const eve = `---
kind: Agent
id: eve
owner: team
purpose: test
riskTier: 1
tools: ["up/*"]
`

// subjectToken is a token of an agent acting for a person.
func (r *rig) subjectToken(agent, person string) string {
	r.t.Helper()
	tk, err := r.d.Admin.IssueDevelopmentToken(r.t.Context(), operator, admin.TokenRequest{Agent: agent, Server: "up", Subject: person, TTL: time.Hour})
	if err != nil {
		r.t.Fatal(err)
	}
	return tk.Value
}

// Nobody's calls run in a session somebody else's calls run in; one principal's
// share one.
func TestPrincipalsShareNoUpstreamSession(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	r, token := governPeer(t, p, eve)
	owner := map[string]string{}
	use := func(who string, do func() reply) string {
		t.Helper()
		if got := do(); got.msg.Result == nil {
			t.Fatalf("%s: answered %d %s", who, got.status, got.body)
		}
		id := p.last("tools/call").session
		if other := owner[id]; id == "" || (other != "" && other != who) {
			t.Errorf("%s uses session %q of %s", who, id, other)
		}
		owner[id] = who
		return id
	}
	for range 3 {
		for who, tk := range map[string]string{"bot": token, "bot for ann": r.subjectToken("bot", "ann"), "bot for bob": r.subjectToken("bot", "bob"), "eve": r.token("eve", "up"), "eve for ann": r.subjectToken("eve", "ann")} {
			use(who, func() reply { return r.call(tk, "up", "echo", `{}`) })
		}
	}
	if len(owner) != 5 {
		t.Errorf("five principals used %d sessions", len(owner))
	}
	for i := range 3 { // each legacy session has one of its own, also of one principal
		c := r.legacy(token, "up", v2511, `{}`)
		who := fmt.Sprint("legacy ", i)
		first := use(who, func() reply { return c.call("echo", `{}`) })
		if use(who, func() reply { return c.call("echo", `{}`) }) != first {
			t.Error("a session changed its session upstream")
		}
	}
}

// At its bound a principal's oldest idle session ends, here and upstream; what
// is in use stays.
func TestSessionEviction(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	r, token := governPeer(t, p, eve, func(o *daemon.Options) { o.MCP.PerAgent = 3 })
	stranger := r.legacy(r.token("eve", "up"), "up", v2511, `{}`)
	var cs []*oldClient
	for range 3 {
		cs = append(cs, r.legacy(token, "up", v2511, `{}`))
	}
	release, busy := make(chan bool), make(chan bool, 1)
	p.handle("tools/call", func(x *exchange) {
		if strings.Contains(x.params, "wait") {
			busy <- true
			<-release
		}
		x.text("ok")
	})
	answered := make(chan reply, 1)
	go func() { answered <- cs[0].call("echo", `{"text":"wait"}`) }() // the oldest, and in use
	<-busy
	cs[1].call("echo", `{}`)
	deleted := len(p.got("DELETE"))
	cs = append(cs, r.legacy(token, "up", v2511, `{}`))
	eventually(t, "the evicted session ended upstream", func() bool { return len(p.got("DELETE")) == deleted+1 })
	close(release)
	if got := <-answered; got.msg.Result == nil {
		t.Errorf("the call in flight answered %d %s", got.status, got.body)
	}
	for i, want := range []int{200, 200, 404, 200} {
		if got := cs[i].call("echo", `{}`); got.status != want {
			t.Errorf("session %d answered %d, want %d", i, got.status, want)
		}
	}
	if got := stranger.call("echo", `{}`); got.status != 200 {
		t.Error("another principal's session ended")
	}
}

func TestAllSessionsBusy(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	r, token := governPeer(t, p, "", func(o *daemon.Options) { o.MCP.PerAgent = 2 })
	release, busy := make(chan bool), make(chan bool, 2)
	p.handle("tools/call", func(x *exchange) { busy <- true; <-release; x.text("ok") })
	answered := make(chan reply, 2)
	for range 2 {
		c := r.legacy(token, "up", v2511, `{}`)
		go func() { answered <- c.call("echo", `{}`) }()
		<-busy
	}
	before := p.open()
	c := &oldClient{t: t, r: r, token: token, server: "up", version: v2511}
	got := c.post(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"old","version":"1"}}}`)
	if got.msg.code() != -32603 || got.header.Get("Mcp-Session-Id") != "" {
		t.Errorf("a third session answered %d %s", got.status, got.body)
	}
	eventually(t, "its upstream session is gone again", func() bool { return p.open() == before })
	close(release)
	for range 2 {
		if got := <-answered; got.msg.Result == nil {
			t.Errorf("a call in flight answered %s", got.body)
		}
	}
}

// An upstream that forgets its sessions, as after a restart, is met again: a
// modern client notices nothing, a legacy one is told to initialize. It is so
// too where the server says it as the examples of the SDKs do.
func TestUpstreamForgetsItsSessions(t *testing.T) {
	t.Parallel()
	said := func(kind, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, lost := range map[string]func(http.ResponseWriter){
		"404":        nil,
		"TypeScript": said("application/json", `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}`),
		"new server": said("application/json", `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: Server not initialized"},"id":null}`),
		"Python":     said("text/plain; charset=utf-8", "Bad Request: No valid session ID provided"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, v2511)
			p.lost = lost
			r, token := governPeer(t, p, "")
			c := r.legacy(token, "up", v2511, `{}`)
			r.call(token, "up", "echo", `{}`)
			p.forget()
			if got := r.call(token, "up", "echo", `{}`); got.msg.Result == nil {
				t.Errorf("a modern client got %d %s", got.status, got.body)
			}
			if got := c.call("echo", `{}`); got.msg.kind() != "upstream_unavailable" {
				t.Errorf("a legacy client got %d %s", got.status, got.body)
			}
			if got := c.call("echo", `{}`); got.status != 404 {
				t.Errorf("and then %d %s", got.status, got.body)
			}
		})
	}
}

// A refusal that is not about the session is the answer, and the session goes on.
func TestRefusedRequestKeepsTheSession(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	r, token := governPeer(t, p, "")
	c := r.legacy(token, "up", v2511, `{}`)
	for _, fault := range []string{`{"code":-32602,"message":"unknown session of the database"}`, `{"code":-32000,"message":"busy"}`, `{"code":-31999,"message":"no session"}`} {
		p.handle("tools/call", func(x *exchange) {
			x.status(http.StatusBadRequest, `{"jsonrpc":"2.0","id":`+x.id+`,"error":`+fault+`}`)
		})
		before := len(p.got("tools/call"))
		if got := c.call("echo", `{}`); got.msg.Error == nil || !strings.Contains(got.body, "message") {
			t.Errorf("%s: answered %d %s", fault, got.status, got.body)
		}
		if n := len(p.got("tools/call")) - before; n != 1 {
			t.Errorf("%s: it was called %d times", fault, n)
		}
		p.handle("tools/call", nil)
		if got := c.call("echo", `{}`); got.msg.Result == nil {
			t.Errorf("%s: then %d %s", fault, got.status, got.body)
		}
	}
}

func TestIdleSessionsEnd(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	r, token := governPeer(t, p, "", func(o *daemon.Options) { o.MCP.Idle = 2 * time.Second })
	c := r.legacy(token, "up", v2511, `{}`)
	r.call(token, "up", "echo", `{}`)
	eventually(t, "every conversation ended", func() bool { return r.d.Proxy.Sessions() == 0 && p.open() == 0 })
	if got := c.call("echo", `{}`); got.status != 404 {
		t.Errorf("an idle session answered %d", got.status)
	}
	if got := r.call(token, "up", "echo", `{}`); got.msg.Result == nil {
		t.Errorf("a modern client got %d %s", got.status, got.body)
	}
}

// An id in flight cannot be used twice in one session; another session's ids
// are its own.
func TestIDInFlight(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	r, token := governPeer(t, p, "")
	release, busy := make(chan bool), make(chan bool, 4)
	p.handle("tools/call", func(x *exchange) { busy <- true; <-release; x.text("ok") })
	a, b := r.legacy(token, "up", v2511, `{}`), r.legacy(token, "up", v2511, `{}`)
	answered := make(chan reply, 3)
	post := func(c *oldClient, id string) {
		go func() {
			answered <- c.post(`{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"echo","arguments":{}}}`)
		}()
		<-busy
	}
	post(a, `"\u0031"`)
	post(a, `1`)
	post(b, `"1"`)
	if got := a.post(`{"jsonrpc":"2.0","id":"1","method":"tools/call","params":{"name":"echo","arguments":{}}}`); got.status != 400 || got.msg.code() != -32600 {
		t.Errorf("the same id answered %d %s", got.status, got.body)
	}
	close(release)
	for range 3 {
		if got := <-answered; got.msg.Result == nil {
			t.Errorf("answered %d %s", got.status, got.body)
		}
	}
	if n := len(p.got("tools/call")); n != 3 {
		t.Errorf("%d calls reached the upstream, want 3", n)
	}
}

// The stream of a session carries what belongs to no request, and there is one.
func TestSessionStream(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	p.streams = true
	r, token := governPeer(t, p, "")
	c := r.legacy(token, "up", v2511, `{}`)
	s := stream(t, "GET", r.url("up"), c.headers(), "")
	if s.status != 200 || s.header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("GET answered %d %v", s.status, s.header)
	}
	eventually(t, "the upstream's stream is open", func() bool { return len(p.got("GET")) == 1 })
	p.push <- `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"test://a"}}`
	if e := s.next(); !strings.Contains(e, "test://a") {
		t.Errorf("the client got %s", e)
	}
	p.push <- `{"jsonrpc":"2.0","method":"notifications/vendor"}` + "\n\nevent: vendor\ndata: " + `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"no message event"}}`
	p.push <- `{"jsonrpc":"2.0","id":77,"method":"sampling/createMessage","params":{}}` // outside of a request
	p.push <- `{"jsonrpc":"2.0","id":"p","method":"ping"}`
	p.push <- `{"jsonrpc":"2.0","method":"notifications/vendor","params":{}}`
	p.push <- `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`
	if e := s.next(); !strings.Contains(e, "list_changed") {
		t.Errorf("the client got %s", e)
	}
	eventually(t, "the gateway answered for the client", func() bool { return len(p.got("POST")) >= 2 })
	for _, s := range p.got("POST") {
		if strings.Contains(s.body, `"id":77`) && !strings.Contains(s.body, "-32601") || strings.Contains(s.body, `"id":"p"`) && !strings.Contains(s.body, `"result":{}`) {
			t.Errorf("the gateway answered %s", s.body)
		}
	}
	if second := stream(t, "GET", r.url("up"), c.headers(), ""); second.status != 409 {
		t.Errorf("a second stream answered %d", second.status)
	}
	if got := stream(t, "DELETE", r.url("up"), c.headers(), ""); got.status != 204 {
		t.Errorf("DELETE answered %d", got.status)
	}
	s.rest() // it ends with its session
}

// A session that could not be opened now is as good as none: it is not listened
// to and tells the server nothing, and what it may not do is evidence.
func TestSessionEndsWithItsPermit(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	p.streams = true
	r, token := governPeer(t, p, "")
	c := r.legacy(token, "up", v2511, `{}`)
	const telling = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1,"message":"exfiltrated"}}`
	c.post(telling)
	if n := len(p.got("notifications/progress")); n != 1 {
		t.Fatalf("%d notifications arrived: this test shows nothing", n)
	}
	r.apply("kind: Policy\nid: away\ncedar: |\n  forbid (principal == Mcp::Agent::\"bot\", action, resource);\n")
	sent, from := len(p.all()), r.d.Evidence.Size()
	s := stream(t, "GET", r.url("up"), c.headers(), "")
	if rest := s.rest(); s.status != 403 || len(rest) > 0 {
		t.Errorf("GET answered %d %v", s.status, rest)
	}
	if l := r.leaves(from); len(l) != 1 || l[0].Dec.Out != "deny" || l[0].What.Method != "stream" || l[0].What.Server != "up" {
		t.Errorf("recorded %+v", l)
	}
	if got := c.post(telling); got.status != 202 {
		t.Errorf("a notification was answered %d", got.status)
	}
	for _, method := range []string{"tools/list", "prompts/list", "resources/list", "resources/unsubscribe", "logging/setLevel", "completion/complete"} {
		if got := c.request(method, `{"uri":"test://a","level":"info","ref":{"type":"ref/prompt","name":"hi"},"argument":{"name":"a","value":"b"}}`); got.msg.Result != nil {
			t.Errorf("%s answered %s", method, got.body)
		}
	}
	if got := p.all(); len(got) != sent {
		t.Errorf("the server was told %v", got[sent:])
	}
}

// A session is used until what runs in it ends: the one whose long call was
// answered just now is not the first that has to go.
func TestLongCallCountsAsUse(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	r, token := governPeer(t, p, "", func(o *daemon.Options) { o.MCP.PerAgent = 2 })
	began, release := make(chan bool), make(chan bool)
	p.handle("tools/call", func(x *exchange) { began <- true; <-release; x.text("ok") })
	long := r.legacy(token, "up", v2511, `{}`)
	answered := make(chan reply, 1)
	go func() { answered <- long.call("echo", `{}`) }()
	<-began
	idle := r.legacy(token, "up", v2511, `{}`)
	close(release)
	if got := <-answered; got.msg.Result == nil {
		t.Fatalf("the long call answered %d %s", got.status, got.body)
	}
	r.legacy(token, "up", v2511, `{}`) // at the bound one ends
	if got := long.request("tools/list", `{}`); got.status != 200 {
		t.Errorf("the session of the long call answered %d %s", got.status, got.body)
	}
	if got := idle.request("tools/list", `{}`); got.status != 404 {
		t.Errorf("the idle session answered %d %s", got.status, got.body)
	}
}
