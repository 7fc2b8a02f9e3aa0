package gatetest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"rutile/internal/daemon"
)

// fullRig is a daemon with a legacy client that has as many calls in flight as
// it may, each of which waits for the client's answer: the streams of them, and
// the id under which the first asks.
func fullRig(t *testing.T, version string, flight int) (p *peer, r *rig, c *oldClient, events []*streamed, id string) {
	t.Helper()
	p = newPeer(t, version)
	p.handle("tools/call", func(x *exchange) {
		x.sse()
		x.event(`{"jsonrpc":"2.0","id":"q",` + sample + `}`)
		<-x.r.Context().Done()
	})
	r, token := governPeer(t, p, eveAgent+askPolicy("sampling"), func(o *daemon.Options) { o.MCP.InFlight = flight })
	c = r.legacy(token, "up", version, `{"sampling":{}}`)
	for i := range flight {
		s := stream(t, http.MethodPost, r.url("up"), c.headers(), fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{}}}`, i))
		var ask rpcMessage
		if e := s.next(); !strings.Contains(e, "sampling/createMessage") || json.Unmarshal([]byte(e), &ask) != nil {
			t.Fatalf("call %d sent %s", i, e)
		}
		if i == 0 {
			id = string(ask.ID)
		}
		events = append(events, s)
	}
	return p, r, c, events, id
}

// A client with as many requests in flight as it may have still cancels one,
// answers what it is asked, and ends its session; another request is refused, and
// so is a batch that holds one.
func TestClientAtItsBoundMakesRoom(t *testing.T) {
	t.Parallel()
	full := func(t *testing.T, c *oldClient) {
		t.Helper()
		if got := c.call("echo", `{}`); got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" {
			t.Errorf("another call was answered %d %s", got.status, got.body)
		}
	}
	t.Run("cancels", func(t *testing.T) {
		t.Parallel()
		p, _, c, events, _ := fullRig(t, v2511, 2)
		full(t, c)
		if got := c.post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":0}}`); got.status != http.StatusAccepted {
			t.Fatalf("the cancellation was answered %d %s", got.status, got.body)
		}
		events[0].rest()
		p.handle("tools/call", nil)
		eventually(t, "there is room again", func() bool { return c.call("echo", `{}`).msg.Result != nil })
	})
	t.Run("answers", func(t *testing.T) {
		t.Parallel()
		p, _, c, _, id := fullRig(t, v2511, 2)
		full(t, c)
		if got := c.post(`{"jsonrpc":"2.0","id":` + id + `,"result":{"role":"assistant","content":{"type":"text","text":"hi"},"model":"m"}}`); got.status != http.StatusAccepted {
			t.Errorf("the answer was answered %d %s", got.status, got.body)
		}
		if got := p.got("POST"); len(got) != 1 || !strings.Contains(got[0].body, `"model":"m"`) {
			t.Errorf("the server was told %v", got)
		}
	})
	t.Run("in a batch", func(t *testing.T) {
		t.Parallel()
		p, _, c, events, _ := fullRig(t, v2503, 2)
		const cancel, call = `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":0}}`, `{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"echo","arguments":{}}}`
		calls := len(p.got("tools/call"))
		for _, batch := range []string{"[" + cancel + "," + call + "]", "[" + call + "]", "[{},1]", "[]"} {
			if got := c.post(batch); got.status != http.StatusTooManyRequests {
				t.Errorf("%s was answered %d %s", batch, got.status, got.body)
			}
		}
		if n := len(p.got("tools/call")); n != calls {
			t.Errorf("%d calls of a batch reached the server", n-calls)
		}
		if got := c.post("[" + cancel + "]"); got.status != http.StatusAccepted {
			t.Errorf("the cancellation was answered %d %s", got.status, got.body)
		}
		events[0].rest()
	})
	t.Run("ends", func(t *testing.T) {
		t.Parallel()
		_, r, c, events, _ := fullRig(t, v2511, 2)
		full(t, c)
		h := c.headers()
		h.Del("Content-Type")
		if s := stream(t, http.MethodDelete, r.url("up"), h, ""); s.status != http.StatusNoContent {
			t.Errorf("the end of the session was answered %d", s.status)
		}
		events[0].rest()
		events[1].rest()
	})
}

// What a client at its bound may still send is bounded too, and its own: bodies
// that do not come hold a few places for a few seconds, of nobody else.
func TestMakingRoomIsBounded(t *testing.T) {
	t.Parallel()
	_, r, c, events, _ := fullRig(t, v2511, 2)
	const cancel = `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":0}}`
	addr := strings.TrimPrefix(r.d.AgentsURL, "http://")
	var slow []net.Conn
	for range 8 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		slow = append(slow, conn)
		_, err = io.WriteString(conn, "POST /mcp/up HTTP/1.1\r\nHost: "+addr+"\r\nContent-Type: application/json\r\nAccept: */*\r\nAuthorization: Bearer "+c.token+
			"\r\nMcp-Session-Id: "+c.session+"\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))); err != nil { // it waits for the body
			t.Fatal(err)
		}
	}
	if got := c.post(cancel); got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" {
		t.Errorf("one over was answered %d %s", got.status, got.body)
	}
	if got := r.list(r.token("eve", "up"), "up"); got.msg.Result == nil {
		t.Errorf("another principal was answered %d %s", got.status, got.body)
	}
	for _, conn := range slow { // they are let go long before a body of one with room would be
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Errorf("a body that does not come: %v", err)
		}
	}
	if got := c.post(cancel); got.status != http.StatusAccepted {
		t.Errorf("afterwards the cancellation was answered %d %s", got.status, got.body)
	}
	events[0].rest()
}
