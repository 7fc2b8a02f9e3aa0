package gatetest_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"rutile/internal/daemon"
	"rutile/internal/mcpproxy"
)

// Who opens sessions faster than a server answers opens no more of them than it
// may have: each may be a process.
func TestSessionsBeingOpenedAreBounded(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	r, token := governPeer(t, p, eve, func(o *daemon.Options) { o.MCP = mcpproxy.Config{PerAgent: 2} })
	hello := func(token string) reply {
		h := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "Authorization": {"Bearer " + token}}
		return post(t, r.url("up"), h, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"old","version":"1"}}}`)
	}
	began, open := make(chan bool, 16), make(chan bool)
	p.handle("initialize", func(x *exchange) {
		began <- true
		<-open
		x.result(`{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"peer","version":"1"}}`)
	})
	answers := make(chan reply, 3)
	for range 2 {
		go func() { answers <- hello(token) }()
		<-began
	}
	if got := hello(token); got.msg.kind() != "upstream_unavailable" || !strings.Contains(got.body, "being opened") {
		t.Errorf("a third is answered %d %s", got.status, got.body)
	}
	go func() { answers <- hello(r.token("eve", "up")) }()
	<-began // another principal waits for nobody
	close(open)
	for range 3 {
		if got := <-answers; got.msg.Result == nil {
			t.Errorf("answered %d %s", got.status, got.body)
		}
	}
	if got := hello(token); got.msg.Result == nil {
		t.Errorf("a later one is answered %d %s", got.status, got.body)
	}
}

// A principal has no more processes of a server than it may, whichever way they are
// started and however many at once: in sessions, behind the aggregate and for
// modern clients. The one not used for longest makes room, and none that is in
// use.
func TestProcessesOfAPrincipalAreBounded(t *testing.T) {
	t.Parallel()
	const most, busy, hasty = 4, 3, 8
	r, token, notes := stdioRig(t, "legacy gated", "sanctioned", eve, func(o *daemon.Options) { o.MCP.PerAgent = most })
	var open []*oldClient
	waiting := make(chan reply, busy)
	for i := range busy {
		c := r.legacy(token, "up", v2511, `{}`)
		open = append(open, c)
		inUse := oldClient{t: t, r: r, token: token, server: "up", version: v2511, session: c.session, next: 100}
		go func() { waiting <- inUse.call("do", do("wait", "")) }()
		eventually(t, "the process is in use", func() bool {
			n := 0
			for _, l := range notes("got") {
				if strings.Contains(l, `"wait"`) {
					n++
				}
			}
			return n == i+1
		})
	}
	all := r.legacyAll(r.token("bot", "*"), v2511, `{}`)
	before := len(notes("start"))
	gate := r.childNotes() + ".gate"
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "Authorization": {"Bearer " + token}}
	hello := func() reply {
		return post(t, r.url("up"), h, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"old","version":"1"}}}`)
	}
	answers := make(chan reply, hasty+2)
	for range hasty {
		go func() { answers <- hello() }()
	}
	go func() { answers <- all.call("up__do", do("", "")) }()
	go func() { answers <- r.call(token, "up", "do", do("", "")) }()
	eventually(t, "every caller starts a process or is refused", func() bool {
		return len(notes("start"))-before+len(answers) >= hasty+2
	})
	if n := len(notes("start")) - before; n != most-busy {
		t.Errorf("%d processes were started beside %d in use, want %d", n, busy, most-busy)
	}
	if err := os.Remove(gate); err != nil {
		t.Fatal(err)
	}
	for range hasty + 2 {
		if got := <-answers; got.msg.Result == nil && got.msg.kind() != "upstream_unavailable" {
			t.Errorf("answered %d %s", got.status, got.body)
		}
	}
	for _, c := range open { // none that was in use was ended
		if got := c.call("do", do("release", "")); got.msg.Result == nil {
			t.Errorf("a session in use was answered %d %s", got.status, got.body)
		}
		<-waiting
	}
	for range 2 * most {
		if got := hello(); got.msg.Result == nil {
			t.Errorf("an idle session makes no room: %d %s", got.status, got.body)
		}
	}
	if got := r.call(token, "up", "do", do("", "modern")); !strings.Contains(got.body, "modern") {
		t.Errorf("an idle session makes no room for a modern client: %d %s", got.status, got.body)
	}
	server, _ := r.d.Admin.Current().View.Server("up")
	eventually(t, "those that made room have ended", func() bool {
		st, _ := r.d.Proxy.Processes(server)
		return st.Running <= most+1 // and the one that lists
	})
}
