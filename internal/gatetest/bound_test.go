package gatetest_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"rutile/internal/daemon"
)

// A server with as many conversations as it may have takes those of another
// principal: the one not used for longest ends, and none that is in use.
func TestConversationsAreBounded(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	r, token := governPeer(t, p, "", func(o *daemon.Options) { o.MCP.PerAgent = 1 }) // four conversations with a server
	busy, release := make(chan bool), make(chan bool)
	p.handle("tools/call", func(x *exchange) {
		select {
		case busy <- true:
			<-release
		default:
		}
		x.text("done")
	})
	startPost(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), modernBody("1", "tools/call", `"name":"echo","arguments":{}`))
	<-busy
	inUse := p.last("tools/call").session
	for i := range 12 {
		if got := r.call(r.subjectToken("bot", fmt.Sprint("person-", i)), "up", "echo", `{}`); got.msg.Result == nil {
			t.Errorf("person %d was answered %d %s", i, got.status, got.body)
		}
	}
	eventually(t, "no more than four are open", func() bool { return p.open() <= 4 })
	p.mu.Lock()
	alive := p.sessions[inUse]
	p.mu.Unlock()
	if !alive {
		t.Error("the conversation in use was ended")
	}
	close(release)
}

// One principal's requests in flight are bounded and everybody's are: one over
// is told to come later, in words and in the protocol's way, reaches no server,
// and comes through once another has ended.
func TestRequestsInFlightAreBounded(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	r, token := governPeer(t, p, eve, func(o *daemon.Options) { o.MCP.InFlight, o.MCP.InFlightAll = 3, 4 })
	other := r.token("eve", "up")
	r.apply("kind: Agent\nid: eve\nowner: team\npurpose: test\nriskTier: 1\ntools: [\"up/echo\"]\n")
	busy := make(chan bool)
	p.handle("tools/call", func(x *exchange) {
		busy <- true
		x.gone()
	})
	body := modernBody("1", "tools/call", `"name":"echo","arguments":{}`)
	begin := func(token string) func() {
		end := startPost(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), body)
		<-busy
		return end
	}
	end := begin(token)
	begin(token)
	begin(token)
	refused := func(what, token string) {
		t.Helper()
		n := len(p.all())
		if got := r.list(token, "up"); got.status != 429 || got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "too many requests are in flight") {
			t.Errorf("%s: answered %d %s", what, got.status, got.body)
		}
		if len(p.all()) != n {
			t.Errorf("%s: it reached the server", what)
		}
	}
	refused("a fourth of three", token)
	if got := r.list(other, "up"); got.msg.Result == nil {
		t.Errorf("another principal was answered %d %s", got.status, got.body)
	}
	begin(other)
	refused("a fifth of four", r.subjectToken("bot", "ann"))
	end()
	eventually(t, "there is room again", func() bool { return r.list(token, "up").msg.Result != nil })
}

// What a client announces costs nothing before it comes: many that announce the
// largest body and send none of it hold little.
func TestAnnouncedBodiesHoldNothing(t *testing.T) {
	u := newUpstream(t)
	r := startRig(t, nil)
	r.apply(botAndServer(u.URL+"/mcp", `["up/*"]`), "up")
	token := r.token("bot", "up")
	addr := strings.TrimPrefix(r.d.AgentsURL, "http://")
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := heap()
	const n = 100
	for range n {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = io.WriteString(c, "POST /mcp/up HTTP/1.1\r\nHost: "+addr+"\r\nContent-Type: application/json\r\nAccept: */*\r\nAuthorization: Bearer "+token+
			"\r\nExpect: 100-continue\r\nContent-Length: "+fmt.Sprint(4<<20)+"\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(c, make([]byte, 12)); err != nil { // 100: it waits for the body
			t.Fatal(err)
		}
	}
	if held := heap() - before; held > n*(256<<10) {
		t.Errorf("%d announced bodies hold %d KiB", n, held>>10)
	}
	if got := r.call(token, "up", "echo", `{}`); got.msg.Result == nil {
		t.Errorf("beside them a call answered %d %s", got.status, got.body)
	}
}

// Bodies and answers larger than the room made for them arrive whole, announced
// or not.
func TestLargeMessagesArriveWhole(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	r, token := governPeer(t, p, "")
	for _, size := range []int{64<<10 - 300, 64 << 10, 1<<20 - 300, 3 << 20} {
		text := strings.Repeat("x", size)
		for name, announce := range map[string]bool{"announced": true, "not announced": false} {
			p.handle("tools/call", func(x *exchange) {
				if !strings.Contains(x.params, text) {
					x.text("cut")
					return
				}
				answer := `{"jsonrpc":"2.0","id":` + x.id + `,"result":{"resultType":"complete","content":[{"type":"text","text":"` + text + `end"}]}}`
				x.w.Header().Set("Content-Type", "application/json")
				if announce {
					x.w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
				}
				_, _ = io.WriteString(x.w, answer)
			})
			if got := r.call(token, "up", "echo", `{"text":"`+text+`"}`); !strings.Contains(got.body, text+"end") {
				t.Errorf("%s, %d bytes: answered %d %.100s", name, size, got.status, got.body)
			}
		}
	}
}
