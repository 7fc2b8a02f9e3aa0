package gatetest_test

import (
	"net/http"
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
