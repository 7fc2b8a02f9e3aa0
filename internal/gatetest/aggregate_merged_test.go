package gatetest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/daemon"
)

// A process is told of what the client of an aggregate's session can be asked,
// and asks it.
func TestAggregateSessionIsAskedByProcesses(t *testing.T) {
	t.Parallel()
	r, _, _ := stdioRig(t, "legacy", "sanctioned", askPolicy("elicitation"))
	c := r.legacyAll(r.token("bot", "*"), v2511, `{"elicitation":{}}`)
	s := stream(t, "POST", r.all(), c.headers(), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"up__do","arguments":{"do":"ask","text":"x"}}}`)
	var m struct {
		ID     json.RawMessage
		Method string
	}
	if e := s.next(); json.Unmarshal([]byte(e), &m) != nil || m.Method != "elicitation/create" {
		t.Fatalf("the client was sent %s", e)
	}
	if got := c.post(`{"jsonrpc":"2.0","id":` + string(m.ID) + `,"result":{"action":"accept","content":{"a":7}}}`); got.status != 202 {
		t.Fatalf("the answer was answered %d %s", got.status, got.body)
	}
	if end := s.rest(); len(end) != 1 || !strings.Contains(end[0], `\"a\":7`) {
		t.Errorf("ended %q", end)
	}
}

// What a server says outside of calls is heard through the aggregate only where
// the server's own stream could be opened now, and only as long.
func TestAggregateStreamEndsWithItsPermit(t *testing.T) {
	t.Parallel()
	for _, server := range []string{"", "a"} {
		p := newPeer(t, v2511)
		p.streams = true
		r := newRig(t)
		token := aggregate(t, r, map[string]string{"a": p.URL}, "")
		if server != "" {
			token = r.token("bot", server)
		}
		c := r.legacy(token, server, v2511, `{}`)
		if server == "" {
			c.call("a__echo", `{}`)
		} else {
			c.call("echo", `{}`)
		}
		session := p.last("tools/call").session
		streams := func() (n int) {
			for _, g := range p.got("GET") {
				if g.session == session {
					n++
				}
			}
			return n
		}
		s := stream(t, "GET", r.url(server), c.headers(), "")
		eventually(t, "the server is listened to", func() bool { return streams() == 1 })
		update := func() {
			for range 4 { // the gateway's own stream may take some
				p.push <- `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"inside"}}`
			}
		}
		eventually(t, "messages come", func() bool {
			update()
			select {
			case e := <-s.events:
				return strings.Contains(e, "inside")
			case <-time.After(100 * time.Millisecond):
				return false
			}
		})
		time.Sleep(100 * time.Millisecond)
		for len(s.events) > 0 {
			<-s.events
		}
		r.apply("kind: Policy\nid: away\ncedar: |\n  forbid (principal == Mcp::Agent::\"bot\", action, resource);\n")
		update()
		for end := time.After(700 * time.Millisecond); end != nil; {
			select {
			case e := <-s.events:
				if strings.Contains(e, "inside") {
					t.Errorf("%q: denied, the client still hears %s", server, e)
				}
			case <-end:
				end = nil
			}
		}
		s.cancel()
		eventually(t, "the stream has ended", func() bool {
			again := stream(t, "GET", r.url(server), c.headers(), "")
			defer again.cancel()
			return again.status != 409
		})
		time.Sleep(300 * time.Millisecond)
		if n := streams(); n != 1 {
			t.Errorf("%q: denied, the server's stream was opened %d times", server, n)
		}
	}
}

// A call that is sent again because its session was lost is not sent to where
// its server was when it was decided.
func TestRetryDoesNotGoWhereAServerWas(t *testing.T) {
	t.Parallel()
	old, now := newPeer(t, v2511), newPeer(t, v2511)
	r := newRig(t)
	token := aggregate(t, r, map[string]string{"a": old.URL}, "")
	c := r.legacyAll(token, v2511, `{}`)
	if got := c.call("a__echo", `{}`); got.msg.Result == nil {
		t.Fatalf("answered %s", got.body)
	}
	moved := make(chan bool)
	old.handle("tools/call", func(x *exchange) {
		select {
		case <-moved:
			x.w.WriteHeader(404)
		case <-time.After(patience):
		}
	})
	before := len(old.got("tools/call"))
	answered := make(chan reply, 1)
	go func() { answered <- c.call("a__echo", `{}`) }()
	eventually(t, "the call is there", func() bool { return len(old.got("tools/call")) > before })
	r.apply(serverAt("a", now.URL))
	close(moved)
	got := <-answered
	if n := len(old.got("tools/call")) - before; n != 1 || got.msg.Result != nil {
		t.Errorf("the server that is no more was called %d times; answered %s", n, got.body)
	}
	if err := r.d.Proxy.Learn(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if got := c.call("a__echo", `{}`); got.msg.Result == nil || len(now.got("tools/call")) != 1 {
		t.Errorf("afterwards: %s", got.body)
	}
}

// A session that was opened where its server is no more is not kept.
func TestSessionOfAnEarlierEntryIsNotKept(t *testing.T) {
	t.Parallel()
	for _, server := range []string{"", "a"} {
		old, now := newPeer(t, v2511), newPeer(t, v2511)
		r := newRig(t)
		token := aggregate(t, r, map[string]string{"a": old.URL}, "")
		if server != "" {
			token = r.token("bot", server)
		}
		began, moved := make(chan bool, 8), make(chan bool)
		old.handle("initialize", func(x *exchange) {
			began <- true
			<-moved
			x.result(`{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"peer","version":"1"}}`)
		})
		open := old.open()
		answered := make(chan reply, 1)
		go func() {
			if server == "" {
				answered <- r.legacyAll(token, v2511, `{}`).call("a__echo", `{}`)
				return
			}
			c := &oldClient{t: t, r: r, token: token, server: server, version: v2511}
			answered <- post(t, r.url(server), c.headers(), `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"old","version":"1"}}}`)
		}()
		<-began
		r.apply(serverAt("a", now.URL), "a")
		close(moved)
		if got := <-answered; got.msg.Result != nil {
			t.Errorf("%q: answered %s", server, got.body)
		}
		eventually(t, "the session at the old place has ended", func() bool { return old.open() <= open })
	}
}

// Calls that run side by side all survive that their server lost its session.
func TestAggregateCallsSideBySideSurviveARestart(t *testing.T) {
	t.Parallel()
	r, token, old, _, _ := gathered(t, "")
	c := r.legacyAll(token, v2511, `{}`)
	c.call("old__echo", `{}`)
	for round := range 25 {
		old.forget()
		var calls sync.WaitGroup
		for i := range 8 {
			calls.Go(func() {
				got := post(t, r.all(), c.headers(), fmt.Sprintf(`{"jsonrpc":"2.0","id":"%d-%d","method":"tools/call","params":{"name":"old__echo","arguments":{}}}`, round, i))
				if got.msg.Result == nil {
					t.Errorf("round %d: %d %s", round, got.status, got.body)
				}
			})
		}
		calls.Wait()
	}
}

// The same of clients of 2026-07-28 that can be asked.
func TestAskableCallsSurviveARestart(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	r, token := governPeer(t, p, askPolicy("elicitation"))
	u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: "{}", caps: allCaps}
	for round := range 150 {
		if got := u.send(); got.msg.Result == nil {
			t.Fatalf("round %d: %d %s", round, got.status, got.body)
		}
		p.forget()
	}
}

// What a client listens to is in use, however long nothing is called.
func TestAggregateKeepsWhatIsListenedTo(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	p.streams = true
	r := startRig(t, []func(*daemon.Options){func(o *daemon.Options) { o.MCP.Idle = 2 * time.Second }})
	token := aggregate(t, r, map[string]string{"a": p.URL}, "")
	c := r.legacyAll(token, v2511, `{}`)
	s := stream(t, "GET", r.all(), c.headers(), "")
	defer s.cancel()
	if got := c.request("resources/subscribe", `{"uri":"rutile+a:test://a"}`); got.msg.Result == nil {
		t.Fatalf("subscribing answered %s", got.body)
	}
	session := p.last("resources/subscribe").session
	time.Sleep(5 * time.Second)
	p.mu.Lock()
	alive := p.sessions[session]
	p.mu.Unlock()
	if !alive {
		t.Error("the session that was subscribed in has ended")
	}
}

// The sessions with servers behind sessions of the aggregate are bounded for
// each principal as its sessions at servers are; the oldest idle one makes room.
func TestAggregateSessionsWithServersAreBounded(t *testing.T) {
	t.Parallel()
	a, b := newPeer(t, v2511), newPeer(t, v2511)
	r := startRig(t, []func(*daemon.Options){func(o *daemon.Options) { o.MCP.PerAgent = 4 }})
	token := aggregate(t, r, map[string]string{"a": a.URL, "b": b.URL}, "")
	own := a.open() + b.open()
	var clients []*oldClient
	for range 4 {
		c := r.legacyAll(token, v2511, `{}`)
		clients = append(clients, c)
		for _, name := range []string{"a__echo", "b__echo"} {
			if got := c.call(name, `{}`); got.msg.Result == nil {
				t.Errorf("answered %s", got.body)
			}
		}
	}
	eventually(t, "four sessions are left", func() bool { return a.open()+b.open() <= own+4 })
	for _, c := range clients {
		if got := c.call("a__echo", `{}`); got.msg.Result == nil {
			t.Errorf("one that made room answered %s", got.body)
		}
	}
}

// What a legacy server asks names resources as the aggregate does, also where
// the call waits for the answer.
func TestAggregateAsksUnderItsURIs(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	newAsker(p, `"method":"sampling/createMessage","params":{"maxTokens":1,"messages":[{"role":"user","content":{"type":"resource_link","uri":"test://a","name":"a"}}]}`)
	r := newRig(t)
	token := aggregate(t, r, map[string]string{"up": p.URL}, askPolicy("sampling"))
	got := turn{r: r, token: token, id: "1", tool: "up__echo", args: "{}", caps: allCaps}.send()
	if in := asked(t, got); len(in.Requests) != 1 || !strings.Contains(got.body, `"uri":"rutile+up:test://a"`) {
		t.Errorf("asked %s", got.body)
	}
}
