package gatetest_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"rutile/internal/daemon"
)

// One principal's long streams are bounded, wherever they are opened, and take
// nobody else's room; one that ends makes room.
func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	p.handle("subscriptions/listen", func(x *exchange) {
		x.sse()
		x.event(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{"toolsListChanged":true},"_meta":{"io.modelcontextprotocol/subscriptionId":` + x.id + `}}}`)
		<-x.r.Context().Done()
	})
	r := startRig(t, []func(*daemon.Options){func(o *daemon.Options) { o.MCP.PerAgent = 3 }})
	r.apply(botAndServer(p.URL+"/mcp", `["up/*"]`)+eve, "up")
	listen := func(agent, server string) *streamed {
		t.Helper()
		at := map[string]string{"": "*"}[server] + server
		return stream(t, http.MethodPost, r.url(server), modernHeaders(r.token(agent, at), "subscriptions/listen", ""), modernBody("7", "subscriptions/listen", `"notifications":{"toolsListChanged":true}`))
	}
	follow := func(server string) *streamed {
		t.Helper()
		at := map[string]string{"": "*"}[server] + server
		h := r.legacy(r.token("bot", at), server, v2511, `{}`).headers()
		h.Del("Content-Type")
		return stream(t, http.MethodGet, r.url(server), h, "")
	}
	first := listen("bot", "up")
	first.next()
	listen("bot", "").next()
	if got := follow("up"); got.status != http.StatusOK {
		t.Fatalf("the third stream was answered %d", got.status)
	}
	for name, open := range map[string]func() *streamed{
		"listen": func() *streamed { return listen("bot", "up") }, "listen to all": func() *streamed { return listen("bot", "") },
		"follow": func() *streamed { return follow("up") }, "follow all": func() *streamed { return follow("") },
	} {
		if got := open(); got.status != http.StatusTooManyRequests {
			t.Errorf("%s as the fourth was answered %d", name, got.status)
		}
	}
	if got := listen("eve", "up"); got.status != http.StatusOK {
		t.Errorf("another principal was answered %d", got.status)
	}
	first.cancel()
	eventually(t, "there is room again", func() bool { return listen("bot", "up").status == http.StatusOK })
}

// Sessions in all are bounded: who has none is refused and told so, who has one
// gives it for the new one, and what exists goes on.
func TestSessionsInAllAreBounded(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	r, token := governPeer(t, p, eve, func(o *daemon.Options) { o.MCP.Sessions = 2 })
	a, b := r.legacy(token, "up", v2511, `{}`), r.legacy(token, "up", v2511, `{}`)
	c := &oldClient{t: t, r: r, token: r.token("eve", "up"), server: "up", version: v2511}
	got := c.post(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"old","version":"1"}}}`)
	if got.msg.code() != -32603 || !strings.Contains(got.body, "too many sessions are open") || got.header.Get("Mcp-Session-Id") != "" {
		t.Errorf("a third session was answered %d %s", got.status, got.body)
	}
	b.call("echo", `{}`)
	r.legacy(token, "up", v2511, `{}`)
	if n := r.d.Proxy.Sessions(); n != 2 {
		t.Errorf("%d sessions are open", n)
	}
	if x, y := a.call("echo", `{}`), b.call("echo", `{}`); x.status != 404 || y.msg.Result == nil {
		t.Errorf("the oldest was answered %d, the other %d", x.status, y.status)
	}
}

// Parked calls in all are bounded besides each principal's own.
func TestParkedCallsInAllAreBounded(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	newAsker(p, elicit)
	r, token := governPeer(t, p, eveAgent+askPolicy("elicitation"), func(o *daemon.Options) { o.MCP.ParkedAll = 2 })
	u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{}`, caps: allCaps}
	in := asked(t, u.send())
	asked(t, u.send())
	other := u
	other.token = r.token("eve", "up")
	if got := other.send(); !strings.Contains(got.body, "too many calls wait") || !strings.Contains(got.body, `"isError":true`) {
		t.Errorf("the third answered %s", got.body)
	}
	if n := r.d.Proxy.Waiting(); n != 2 {
		t.Errorf("%d calls wait", n)
	}
	if got := u.answering(in, accept).send(); !strings.Contains(got.body, "the client said") {
		t.Errorf("one of the two answered %s", got.body)
	}
	asked(t, other.send())
}

// A batch holds so many messages and no more, and none of a longer one is served.
func TestBatchesAreBounded(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2503)
	r, token := governPeer(t, p, "")
	c := r.legacy(token, "up", v2503, `{}`)
	batch := func(n int) string {
		var calls []string
		for i := range n {
			calls = append(calls, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{}}}`, i))
		}
		return "[" + strings.Join(calls, ",") + "]"
	}
	for _, n := range []int{0, 17, 5000} {
		if got := c.post(batch(n)); got.status != 400 || got.msg.code() != -32600 || !strings.Contains(got.body, "1 to 16 messages") {
			t.Errorf("a batch of %d was answered %d %.200s", n, got.status, got.body)
		}
	}
	if n := len(p.got("tools/call")); n != 0 {
		t.Errorf("%d of their calls reached the server", n)
	}
	if got := c.post(batch(16)); got.status != 200 || strings.Count(got.body, `"result"`) != 16 {
		t.Errorf("a batch of 16 was answered %d %.200s", got.status, got.body)
	}
}

// A modern server asks for so many inputs at once and no more.
func TestInputsAskedAtOnceAreBounded(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	r, token := governPeer(t, p, askPolicy("elicitation"))
	u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{}`, caps: allCaps}
	for n, ok := range map[int]bool{64: true, 65: false, 3000: false} {
		p.handle("tools/call", func(x *exchange) {
			var asks []string
			for i := range n {
				asks = append(asks, fmt.Sprintf(`"a%d":{%s}`, i, elicit))
			}
			x.result(`{"resultType":"input_required","inputRequests":{` + strings.Join(asks, ",") + `}}`)
		})
		got := u.send()
		if ok {
			if in := asked(t, got); len(in.Requests) != n {
				t.Errorf("of %d inputs %d are asked for", n, len(in.Requests))
			}
		} else if got.msg.kind() != "upstream_malformed" {
			t.Errorf("%d inputs were answered %d %.200s", n, got.status, got.body)
		}
	}
}

// A server that asks a legacy client again and again without waiting has so many
// requests open in a session and no more; the rest are refused, not kept.
func TestOpenQuestionsAreBounded(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	var refused atomic.Int32
	p.handle("", func(x *exchange) {
		refused.Add(1)
		x.w.WriteHeader(http.StatusAccepted)
	})
	over := make(chan bool)
	p.handle("tools/call", func(x *exchange) {
		x.sse()
		for i := range 80 {
			x.event(fmt.Sprintf(`{"jsonrpc":"2.0","id":"q-%d",%s}`, i, elicit))
		}
		<-over
		x.text("done")
	})
	r, token := governPeer(t, p, askPolicy("elicitation"))
	c := r.legacy(token, "up", v2511, `{"elicitation":{}}`)
	s := stream(t, http.MethodPost, r.url("up"), c.headers(), `{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"echo","arguments":{}}}`)
	for range 64 {
		if e := s.next(); !strings.Contains(e, "elicitation/create") {
			t.Fatalf("the client was sent %s", e)
		}
	}
	eventually(t, "what is over is refused", func() bool { return refused.Load() > 0 })
	close(over)
	if rest := s.rest(); len(rest) != 1 || !strings.Contains(rest[0], "done") {
		t.Errorf("after 64 questions came %d messages: %.300q", len(rest), rest)
	}
}
