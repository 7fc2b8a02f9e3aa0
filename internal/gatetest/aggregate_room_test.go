package gatetest_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"rutile/internal/daemon"
)

// roomRig is an aggregate of servers a to d, which are one peer, and four
// sessions of a principal that may have four sessions with servers.
func roomRig(t *testing.T) (*peer, []*oldClient) {
	t.Helper()
	p := newPeer(t, v2511)
	r := startRig(t, []func(*daemon.Options){func(o *daemon.Options) { o.MCP.PerAgent = 4 }})
	servers := map[string]string{}
	for _, id := range []string{"a", "b", "c", "d"} {
		servers[id] = p.URL + "/" + id
	}
	token := aggregate(t, r, servers, "")
	var clients []*oldClient
	for range 4 {
		clients = append(clients, r.legacyAll(token, v2511, `{}`))
	}
	return p, clients
}

// callAs calls a server's tool under an id of the caller's choice, so that many
// may at once.
func (c *oldClient) callAs(id, server string) reply {
	return c.post(fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"method":"tools/call","params":{"name":"%s__echo","arguments":{}}}`, id, server))
}

// However many calls open sessions with servers at once, a principal has no more
// of them than it may, those being opened counted.
func TestAggregateJoinsAreBounded(t *testing.T) {
	t.Parallel()
	p, clients := roomRig(t)
	open, done := make(chan bool), make(chan bool)
	greet, finish := sync.OnceFunc(func() { close(open) }), sync.OnceFunc(func() { close(done) })
	t.Cleanup(greet)
	t.Cleanup(finish)
	p.handle("tools/call", func(x *exchange) {
		<-done
		x.text("ok")
	})
	answers := make(chan reply, 16)
	join := func(c *oldClient, server string) {
		go func() { answers <- c.callAs(server, server) }()
	}
	for i := range 3 {
		join(clients[i], "a")
	}
	eventually(t, "three are busy", func() bool { return len(p.got("tools/call")) == 3 })
	p.handle("initialize", func(x *exchange) {
		<-open
		x.result(legacyHello)
	})
	before := len(p.got("initialize"))
	for _, c := range clients {
		for _, server := range []string{"b", "c", "d"} {
			join(c, server)
		}
	}
	eventually(t, "every call opens a session or is refused", func() bool {
		return len(p.got("initialize"))-before+len(answers) == 12
	})
	if n := len(p.got("initialize")) - before; n != 1 {
		t.Errorf("%d sessions are being opened where there is room for one", n)
	}
	greet()
	eventually(t, "those that opened one call", func() bool { return len(p.got("tools/call"))+len(answers) == 15 })
	if n := len(p.got("tools/call")); n != 4 {
		t.Errorf("%d sessions with servers are in use, want 4", n)
	}
	finish()
	served := 0
	for range 15 {
		switch got := <-answers; {
		case got.msg.Result != nil:
			served++
		case !strings.Contains(got.body, "too many sessions with servers are open"):
			t.Errorf("answered %d %s", got.status, got.body)
		}
	}
	if served != 4 {
		t.Errorf("%d calls were served, want 4", served)
	}
}

// Where idle sessions with servers make room for others all the time, no call
// ends because its own did, and what is left is within the bound.
func TestAggregateSessionsMakeRoomUnderLoad(t *testing.T) {
	t.Parallel()
	p, clients := roomRig(t)
	own := p.open()
	var wg sync.WaitGroup
	for i, c := range clients {
		for _, server := range []string{"a", "b", "c", "d"} {
			wg.Go(func() {
				for n := range 10 {
					got := c.callAs(fmt.Sprint(i, server, n), server)
					if got.msg.Result == nil && !strings.Contains(got.body, "too many sessions") {
						t.Errorf("answered %d %s", got.status, got.body)
					}
				}
			})
		}
	}
	wg.Wait()
	eventually(t, "four sessions are left", func() bool { return p.open() <= own+4 })
	if got := clients[0].call("a__echo", `{}`); got.msg.Result == nil {
		t.Errorf("afterwards a call answered %s", got.body)
	}
}
