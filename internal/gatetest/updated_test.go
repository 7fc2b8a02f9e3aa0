package gatetest_test

import (
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
			// The aggregate listens once that is decided, which is after the answer.
			eventually(t, "an update comes", func() bool {
				says(mine, "test://a")
				select {
				case <-heard.events:
					return true
				case <-time.After(100 * time.Millisecond):
					return false
				}
			})
			for rest := true; rest; {
				select {
				case <-heard.events:
				case <-time.After(500 * time.Millisecond):
					rest = false
				}
			}
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
