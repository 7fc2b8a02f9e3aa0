package gatetest_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"rutile/internal/daemon"
)

// A server that says all the time that it changed is looked at now and then, and
// costs nothing in between.
func TestManyChangesAreOneLook(t *testing.T) {
	p := newPeer(t, v2026)
	r, token := governPeer(t, p, "")
	const changes = 20_000
	p.handle("tools/call", func(x *exchange) {
		x.sse()
		for range changes / 100 {
			_, _ = io.WriteString(x.w, strings.Repeat("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n", 100))
			x.w.(http.Flusher).Flush()
		}
		x.text("ok")
	})
	before, looks := runtime.NumGoroutine(), len(p.got("tools/list"))
	got := r.call(token, "up", "echo", `{}`)
	if n := runtime.NumGoroutine() - before; got.msg.Result == nil || n > 100 {
		t.Errorf("%d goroutines wait after %d changes: %.300s", n, changes, got.body)
	}
	eventually(t, "it was looked at", func() bool { return len(p.got("tools/list")) > looks })
	if n := len(p.got("tools/list")) - looks; n > changes/100 {
		t.Errorf("it was looked at %d times", n)
	}
}

// A list that never ends, or whose definitions are huge, is given up before it
// fills the memory.
func TestListsAreBounded(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	r, token := governPeer(t, p, "", func(o *daemon.Options) { o.MCP.MaxResult = 1 << 20 })
	for name, page := range map[string]string{
		"huge definitions": `{"name":"big","description":"` + strings.Repeat("x", 600<<10) + `","inputSchema":{"type":"object"}}`,
		"many definitions": strings.TrimSuffix(strings.Repeat(`{"name":"x","inputSchema":{"type":"object"}},`, 20_000), ","),
		"no definitions":   "",
	} {
		n := len(p.got("tools/list"))
		p.list("tools/list", `"tools":[`+page+`],"nextCursor":"again"`)
		if err := r.d.Proxy.Learn(t.Context(), "up"); err == nil {
			t.Errorf("%s: all of it was listed", name)
		}
		if pages := len(p.got("tools/list")) - n; pages > 200 || page != "" && pages > 2 {
			t.Errorf("%s: %d pages were read", name, pages)
		}
	}
	p.list("tools/list", toolList(echoTool))
	learn(t, r)
	if got := r.call(token, "up", "echo", `{}`); got.msg.Result == nil {
		t.Errorf("afterwards a call answered %s", got.body)
	}
}

// A server that asks and asks, and takes no answer, holds a handful of
// connections.
func TestManyQuestionsAreFewAnswers(t *testing.T) {
	p := newPeer(t, v2511)
	r, token := governPeer(t, p, "")
	c := r.legacy(token, "up", v2511, `{}`)
	const questions = 5000
	over := make(chan bool)
	p.handle("", func(x *exchange) { // it never answers an answer
		select {
		case <-over:
		case <-x.r.Context().Done():
		}
	})
	p.handle("tools/call", func(x *exchange) {
		x.sse()
		for i := range questions {
			x.event(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"sampling/createMessage","params":{}}`, i))
		}
		x.text("ok")
	})
	before := runtime.NumGoroutine()
	got := c.call("echo", `{}`)
	if n := runtime.NumGoroutine() - before; got.msg.Result == nil || n > 200 {
		t.Errorf("%d goroutines run after %d questions: %.300s", n, questions, got.body)
	}
	eventually(t, "some answers arrived", func() bool { return len(p.got("POST")) > 0 })
	if n := len(p.got("POST")); n > 100 {
		t.Errorf("%d answers are on their way at once", n)
	}
	close(over)
	p.handle("", nil)
	p.handle("tools/call", nil)
	eventually(t, "it is answered again", func() bool { return c.call("echo", `{}`).msg.Result != nil })
}

// What either side says of itself is kept as long as they talk, and is small.
func TestHandshakesAreBounded(t *testing.T) {
	t.Parallel()
	for _, up := range []string{v2026, v2511} {
		p := newPeer(t, up)
		r, token := governPeer(t, p, "")
		init := func(padding int) reply {
			c := &oldClient{t: t, r: r, token: token, server: "up", version: v2511}
			return c.post(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"` + strings.Repeat("n", padding) + `","version":"1"}}}`)
		}
		if got := init(32 << 10); got.msg.Result == nil {
			t.Errorf("%s: a talkative client was answered %d %s", up, got.status, got.body)
		}
		if got := init(1 << 20); got.msg.code() != -32602 || got.header.Get("Mcp-Session-Id") != "" {
			t.Errorf("%s: an endless client was answered %d %s", up, got.status, got.body)
		}
		p.mu.Lock()
		p.caps = strings.Replace(p.caps, "{", `{"experimental":{"x":"`+strings.Repeat("c", 4<<20)+`"},`, 1)
		p.mu.Unlock()
		r.apply(botAndServer(p.URL+"/mcp?again", `["up/*"]`)) // it is met anew
		for name, got := range map[string]reply{"initialize": init(1), "discover": r.modern(token, "server/discover", "", "")} {
			if got.msg.kind() != "upstream_malformed" {
				t.Errorf("%s: %s of an endless server answered %d %.300s", up, name, got.status, got.body)
			}
		}
		if n := r.d.Proxy.Sessions(); n != 0 {
			t.Errorf("%s: %d sessions are open", up, n)
		}
	}
}
