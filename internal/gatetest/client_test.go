package gatetest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"rutile/internal/daemon"
)

// governPeer is a rig with agent "bot" allowed everything on server "up", and
// more manifests.
func governPeer(t *testing.T, p *peer, more string, opts ...func(*daemon.Options)) (*rig, string) {
	t.Helper()
	r := startRig(t, opts)
	r.apply(botAndServer(p.URL+"/mcp", `["up/*"]`)+more, "up")
	return r, r.token("bot", "up")
}

func botAndServer(url, tools string) string {
	return `
kind: Agent
id: bot
owner: team
purpose: test
riskTier: 1
tools: ` + tools + `
---
kind: Server
id: up
owner: team
transport: {http: {url: "` + url + `"}}
state: sanctioned
`
}

// askPolicy permits the server's requests of a kind.
func askPolicy(kind string) string {
	return "---\nkind: Policy\nid: ask-" + kind + "\ncedar: |\n  permit (principal, action == Mcp::Action::\"up/requests/" + kind + "\", resource);\n"
}

// oldClient is a client of a legacy revision.
type oldClient struct {
	t       *testing.T
	r       *rig
	token   string
	server  string
	version string
	session string
	init    rpcMessage
	next    int
}

// legacy opens a session.
func (r *rig) legacy(token, server, version, caps string) *oldClient {
	r.t.Helper()
	c := &oldClient{t: r.t, r: r, token: token, server: server, version: version}
	got := post(r.t, r.url(server), c.headers(), `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"`+version+`","capabilities":`+caps+`,"clientInfo":{"name":"old","version":"1"}}}`)
	if got.status != 200 || got.msg.Result == nil || got.header.Get("Mcp-Session-Id") == "" {
		r.t.Fatalf("initialize answered %d %s", got.status, got.body)
	}
	c.init, c.session = got.msg, got.header.Get("Mcp-Session-Id")
	if n := c.post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`); n.status != 202 || n.body != "" {
		r.t.Fatalf("notifications/initialized answered %d %s", n.status, n.body)
	}
	return c
}

func (c *oldClient) headers() http.Header {
	h := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "Authorization": {"Bearer " + c.token}}
	if c.session != "" {
		h.Set("Mcp-Session-Id", c.session)
		if c.version != v2503 {
			h.Set("Mcp-Protocol-Version", c.version)
		}
	}
	return h
}

func (c *oldClient) post(body string) reply {
	c.t.Helper()
	return post(c.t, c.r.url(c.server), c.headers(), body)
}

// request sends a request with a fresh id.
func (c *oldClient) request(method, params string) reply {
	c.t.Helper()
	c.next++
	return c.post(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, c.next, method, params))
}

func (c *oldClient) call(tool, args string) reply {
	c.t.Helper()
	return c.request("tools/call", `{"name":"`+tool+`","arguments":`+args+`}`)
}

// streamed is an answer read event by event.
type streamed struct {
	t      *testing.T
	status int
	header http.Header
	events chan string // data of each; closed at the end
	cancel context.CancelFunc
}

// stream sends raw bytes and returns once the headers of the answer are in.
func stream(t *testing.T, verb, url string, h http.Header, body string) *streamed {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, verb, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = h
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		cancel()
		t.Fatalf("sending: %v", err)
	}
	s := &streamed{t: t, status: resp.StatusCode, header: resp.Header, events: make(chan string, 64), cancel: cancel}
	t.Cleanup(cancel)
	go func() {
		defer close(s.events)
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 64<<20)
		for lines.Scan() {
			if d, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				s.events <- d
			} else if d, ok := strings.CutPrefix(lines.Text(), "{"); ok {
				s.events <- "{" + d
			}
		}
	}()
	return s
}

// next returns the next event.
func (s *streamed) next() string {
	s.t.Helper()
	select {
	case e, ok := <-s.events:
		if !ok {
			s.t.Fatal("the stream ended")
		}
		return e
	case <-time.After(patience):
		s.t.Fatalf("no event within %s", patience)
		return ""
	}
}

// rest returns the remaining events of a stream that ends.
func (s *streamed) rest() []string {
	s.t.Helper()
	var out []string
	deadline := time.After(patience)
	for {
		select {
		case e, ok := <-s.events:
			if !ok {
				return out
			}
			out = append(out, e)
		case <-deadline:
			s.t.Fatalf("the stream does not end; it said %q", out)
		}
	}
}

// quiet requires that nothing comes for a while.
func (s *streamed) quiet(d time.Duration) {
	s.t.Helper()
	select {
	case e, ok := <-s.events:
		s.t.Fatalf("unexpected event %q (open: %v)", e, ok)
	case <-time.After(d):
	}
}

// modernBody is a request of the modern era.
func modernBody(id, method, params string) string {
	if params != "" {
		params += ","
	}
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"` + method + `","params":{` + params + meta + `}}`
}

// modern sends a request of the modern era; name is what Mcp-Name mirrors.
func (r *rig) modern(token, method, name, params string) reply {
	r.t.Helper()
	return post(r.t, r.url("up"), modernHeaders(token, method, name), modernBody("1", method, params))
}

// kind is data.kind of an error.
func (m rpcMessage) kind() string {
	if m.Error == nil {
		return ""
	}
	var d struct {
		Kind string `json:"kind"`
	}
	_ = json.Unmarshal(m.Error.Data, &d)
	return d.Kind
}

// rigAt is a rig on a directory that outlives it.
func rigAt(t *testing.T, data, addr string) *rig {
	t.Helper()
	return startRig(t, nil, func(c *daemon.Config) { c.Data, c.Listen.Agents = data, addr })
}

// stop stops the daemon before the test ends.
func (r *rig) stop() {
	r.t.Helper()
	http.DefaultClient.CloseIdleConnections()
	if err := r.d.Close(context.Background()); err != nil {
		r.t.Fatalf("stopping the daemon: %v", err)
	}
}
