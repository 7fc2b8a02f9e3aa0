package gatetest_test

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// silent requires that no update comes on a stream for a moment.
func silent(t *testing.T, who string, s *streamed) {
	t.Helper()
	for moment := time.After(200 * time.Millisecond); ; {
		select {
		case got, ok := <-s.events:
			if !ok || !strings.HasSuffix(got, `list_changed"}`) {
				t.Errorf("%s is told %s", who, got)
				return
			}
		case <-moment:
			return
		}
	}
}

// What a process says of a resource outside of calls reaches the one session it
// talks to, if that subscribed to it and may read it still.
func TestUpdateOfAResourceOverAProcess(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]string{"a server's endpoint": "up", "the aggregate": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _, _ := stdioRig(t, "legacy resources", "sanctioned", eve)
			at, tool := func(uri string) string { return uri }, "do"
			endpoint := server
			if server == "" {
				endpoint, tool = "*", "up__do"
				at = func(uri string) string { return "rutile+up:" + uri }
			}
			open := func(agent string) (*oldClient, *streamed) {
				c := r.legacy(r.token(agent, endpoint), server, v2511, `{}`)
				s := stream(t, "GET", r.url(server), c.headers(), "")
				if s.status != 200 {
					t.Fatalf("the stream is answered %d", s.status)
				}
				return c, s
			}
			says := func(c *oldClient, uri string) {
				t.Helper()
				if got := c.call(tool, do("update", uri)); got.msg.Result == nil || strings.Contains(got.body, "notifications/") {
					t.Fatalf("the call is answered %d %s", got.status, got.body)
				}
			}
			subscribe := func(c *oldClient, verb, uri string) {
				t.Helper()
				if got := c.request("resources/"+verb, `{"uri":"`+at(uri)+`"}`); got.msg.Result == nil {
					t.Fatalf("%s: answered %d %s", verb, got.status, got.body)
				}
			}
			told := func(s *streamed, uri string) {
				t.Helper()
				for range 2 { // beside a call, and alone
					if got := s.next(); !strings.Contains(got, `"notifications/resources/updated"`) || !strings.Contains(got, `"uri":"`+at(uri)+`"`) {
						t.Errorf("the client is told %s", got)
					}
				}
			}
			mine, heard := open("bot")
			other, others := open("bot")
			hers, hear := open("eve")
			if server != "" && !strings.Contains(string(mine.init.Result), `"subscribe":true`) {
				t.Errorf("advertised is %s", mine.init.Result)
			}
			subscribe(mine, "subscribe", "test://a")
			subscribe(hers, "subscribe", "test://a")
			subscribe(other, "subscribe", "test://b")
			says(mine, "test://a")
			told(heard, "test://a")
			says(mine, "test://b") // not subscribed to
			says(other, "test://a")
			silent(t, "a client that did not subscribe", heard)
			silent(t, "another session", others)
			silent(t, "another principal", hear)
			r.apply("kind: Policy\nid: away\ncedar: |\n  forbid (principal == Mcp::Agent::\"eve\", action == Mcp::Action::\"up/resources/read\", resource);\n")
			says(hers, "test://a")
			silent(t, "who may not read it any more", hear)
			subscribe(mine, "unsubscribe", "test://a")
			says(mine, "test://a")
			silent(t, "a client that unsubscribed", heard)
		})
	}
}

// A session hears from the moment its subscription is acknowledged: an update the
// server sends at once is not lost.
func TestUpdateAtOnceIsHeard(t *testing.T) {
	t.Parallel()
	immediate := map[string]func(t *testing.T) *rig{
		"stdio": func(t *testing.T) *rig {
			r, _, _ := stdioRig(t, "legacy resources at once", "sanctioned", "")
			return r
		},
		"HTTP": func(t *testing.T) *rig {
			p := newPeer(t, v2511)
			p.streams = true
			p.handle("resources/subscribe", func(x *exchange) {
				session := x.r.Header.Get("Mcp-Session-Id")
				if slices.ContainsFunc(p.got("GET"), func(s seen) bool { return s.session == session }) { // else nobody hears it
					select {
					case p.to(session) <- `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"test://a"}}`:
					case <-x.r.Context().Done():
					}
				}
				x.result(`{}`)
			})
			r, _ := governPeer(t, p, "")
			return r
		},
	}
	for name, start := range immediate {
		for server, at := range map[string]string{"up": "test://a", "": "rutile+up:test://a"} {
			t.Run(name+" "+server, func(t *testing.T) {
				t.Parallel()
				r := start(t)
				endpoint := server
				if server == "" {
					endpoint = "*"
				}
				for range 10 {
					c := r.legacy(r.token("bot", endpoint), server, v2511, `{}`)
					s := stream(t, "GET", r.url(server), c.headers(), "")
					if got := c.request("resources/subscribe", `{"uri":"`+at+`"}`); got.msg.Result == nil {
						t.Fatalf("answered %d %s", got.status, got.body)
					}
					if got := s.next(); got != `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"`+at+`"}}` {
						t.Errorf("told %s", got)
					}
					s.cancel()
				}
			})
		}
	}
}

// No update comes from a process for everybody, which is why nobody can
// subscribe to any.
func TestNobodySubscribesAtASharedProcess(t *testing.T) {
	t.Parallel()
	r, _, _ := stdioRig(t, "legacy resources", "triaged", "")
	r.apply(strings.Replace(stdioManifest("legacy resources", t.TempDir()+"/notes", "sanctioned"), "{stdio: {", "{stdio: {process: server, ", 1), "up")
	c := r.legacy(r.token("bot", "up"), "up", v2511, `{}`)
	if strings.Contains(string(c.init.Result), "subscribe") {
		t.Errorf("advertised is %s", c.init.Result)
	}
	if got := c.request("resources/subscribe", `{"uri":"test://a"}`); got.msg.code() != -32601 {
		t.Errorf("subscribing is answered %d %s", got.status, got.body)
	}
	if got := r.legacyAll(r.token("bot", "*"), v2511, `{}`).request("resources/subscribe", `{"uri":"rutile+up:test://a"}`); got.msg.code() != -32601 {
		t.Errorf("subscribing at the aggregate is answered %d %s", got.status, got.body)
	}
}
