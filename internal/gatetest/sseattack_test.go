package gatetest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/daemon"
	"rutile/internal/mcpproxy"
)

// streamPeer is a server of the transport of 2024-11-05 that a test scripts. It
// keeps what is posted to it, wherever that is.
type streamPeer struct {
	*httptest.Server
	mu    sync.Mutex
	gets  int
	posts []streamPost
	on    func(s *eventStream, m streamPost) bool // answers a message itself if true
	take  func(w http.ResponseWriter) bool        // answers a POST itself if true
}

// streamPost is a message that was posted.
type streamPost struct {
	path, key, method, id, body string
}

// eventStream is one open stream.
type eventStream struct {
	w    http.ResponseWriter
	mu   sync.Mutex
	over bool // its handler has returned
}

func (s *eventStream) write(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	_, _ = io.WriteString(s.w, text) // the gateway may have gone
	s.w.(http.Flusher).Flush()
}

func (s *eventStream) say(msg string) { s.write("event: message\ndata: " + msg + "\n\n") }

// newStreamPeer starts one whose stream begins with what begin says.
func newStreamPeer(t *testing.T, begin func(p *streamPeer) string) *streamPeer {
	t.Helper()
	p := &streamPeer{}
	current := make(chan *eventStream, 1)
	current <- nil
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			p.mu.Lock()
			p.gets++
			p.mu.Unlock()
			w.Header().Set("Content-Type", "text/event-stream")
			s := &eventStream{w: w}
			<-current
			current <- s
			s.write(begin(p))
			<-r.Context().Done()
			s.mu.Lock()
			s.over = true
			s.mu.Unlock()
			return
		}
		body, _ := io.ReadAll(r.Body)
		var m struct {
			ID     json.RawMessage
			Method string
		}
		_ = json.Unmarshal(body, &m)
		post := streamPost{r.URL.Path, r.Header.Get("X-Key"), m.Method, string(m.ID), string(body)}
		s := <-current
		current <- s
		p.mu.Lock()
		p.posts = append(p.posts, post)
		on, take := p.on, p.take
		p.mu.Unlock()
		if take != nil && m.Method == "tools/call" && take(w) {
			return
		}
		w.WriteHeader(http.StatusAccepted)
		if s == nil || on != nil && on(s, post) {
			return
		}
		switch m.Method {
		case "initialize":
			s.say(`{"jsonrpc":"2.0","id":` + post.id + `,"result":{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"old","version":"1"}}}`)
		case "tools/list":
			s.say(`{"jsonrpc":"2.0","id":` + post.id + `,"result":{"tools":[` + echoTool + `]}}`)
		case "tools/call":
			s.say(`{"jsonrpc":"2.0","id":` + post.id + `,"result":{"content":[{"type":"text","text":"mine"}]}}`)
		}
	}))
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
	})
	return p
}

const atMessages = "event: endpoint\ndata: /messages?session=1\n\n"

func (p *streamPeer) answers(on func(s *eventStream, m streamPost) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.on = on
}

func (p *streamPeer) counts() (gets, posts int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gets, len(p.posts)
}

// governStream is a rig whose server "up" is p, with a credential.
func governStream(t *testing.T, p *streamPeer, learn ...string) (*rig, string) {
	t.Helper()
	r := startRig(t, []func(*daemon.Options){func(o *daemon.Options) { o.MCP = mcpproxy.Config{MaxResult: 1 << 20, StartTime: 5 * time.Second} }})
	r.secret("key", "stream-secret")
	r.apply(withCredential(sseServer(p.URL+"/sse"), "key"), learn...)
	return r, r.token("bot", "up")
}

// An endpoint that is not of the stream's own origin gets no message and no
// credential, nor does a stream that does not begin with one.
func TestSSEEndpointElsewhere(t *testing.T) {
	t.Parallel()
	other := newStreamPeer(t, func(*streamPeer) string { return "" })
	host := strings.TrimPrefix(other.URL, "http://")
	for name, first := range map[string]string{
		"another origin":          "event: endpoint\ndata: " + other.URL + "/messages\n\n",
		"another host":            "event: endpoint\ndata: //" + host + "/messages\n\n",
		"behind backslashes":      "event: endpoint\ndata: \\\\" + host + "/messages\n\n",
		"another scheme":          "event: endpoint\ndata: https:///messages\n\n",
		"a user name":             "event: endpoint\ndata: http://SELF@" + host + "/messages\n\n",
		"a tab before":            "event: endpoint\ndata: \t//" + host + "/messages\n\n",
		"never":                   ": nothing yet\n\nretry: 10\n\n",
		"nothing":                 "event: endpoint\ndata:\n\n",
		"two lines":               "event: endpoint\ndata: /a\ndata: /b\n\n",
		"not an address":          "event: endpoint\ndata: mailto:a@b.example\n\n",
		"a very long one":         "event: endpoint\ndata: /" + strings.Repeat("a", 5000) + "\n\n",
		"a message before":        "data: {}\n\n" + atMessages,
		"an event of other names": "event: Endpoint\ndata: /messages\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newStreamPeer(t, func(p *streamPeer) string {
				return strings.ReplaceAll(first, "SELF", strings.TrimPrefix(p.URL, "http://"))
			})
			r, token := governStream(t, p)
			if got := r.call(token, "up", "echo", `{}`); got.msg.Result != nil && !strings.Contains(got.body, `"isError":true`) {
				t.Errorf("a call answered %s", got.body)
			}
			if err := r.d.Proxy.Learn(t.Context(), "up"); err == nil {
				t.Error("its tools were listed")
			}
			if _, posts := p.counts(); posts != 0 {
				t.Errorf("%d messages were posted to it", posts)
			}
			if gets, posts := other.counts(); gets+posts != 0 {
				t.Errorf("the other origin was called %d times", gets+posts)
			}
		})
	}
}

// The credential goes to the stream and its endpoint, and a redirect of either
// is not followed.
func TestSSERedirects(t *testing.T) {
	t.Parallel()
	other := newStreamPeer(t, func(*streamPeer) string { return atMessages })
	p := newStreamPeer(t, func(*streamPeer) string { return atMessages })
	r, token := governStream(t, p, "up")
	if got := r.call(token, "up", "echo", `{}`); !strings.Contains(got.body, "mine") {
		t.Fatalf("answered %s", got.body)
	}
	for _, post := range p.posts {
		if post.key != "stream-secret" || post.path != "/messages" {
			t.Errorf("%s came to %s with %q", post.method, post.path, post.key)
		}
	}
	p.mu.Lock()
	p.take = func(w http.ResponseWriter) bool {
		w.Header().Set("Location", other.URL+"/messages")
		w.WriteHeader(http.StatusTemporaryRedirect)
		return true
	}
	p.mu.Unlock()
	if got := r.call(token, "up", "echo", `{}`); got.msg.code() != -32603 || !strings.Contains(got.body, "redirects") {
		t.Errorf("a redirected message answered %s", got.body)
	}
	moved := httptest.NewServer(http.RedirectHandler(other.URL+"/sse", http.StatusFound))
	t.Cleanup(moved.Close)
	r, _ = governSSE(t, moved.URL+"/sse", "")
	if err := r.d.Proxy.Learn(t.Context(), "up"); err == nil || !strings.Contains(err.Error(), "redirects") {
		t.Errorf("a redirected stream: %v", err)
	}
	if gets, posts := other.counts(); gets+posts != 0 {
		t.Errorf("the other place was called %d times", gets+posts)
	}
}

// What a hostile stream says reaches nobody it does not belong to.
func TestSSEHostileStream(t *testing.T) {
	t.Parallel()
	result := func(id, text string) string {
		return `{"jsonrpc":"2.0","id":` + id + `,"result":{"content":[{"type":"text","text":"` + text + `"}]}}`
	}
	for name, c := range map[string]struct {
		say  func(s *eventStream, id string)
		want string // in the answer
	}{
		"answers to others first": {func(s *eventStream, id string) {
			for _, other := range []string{"999999", `"` + id + `"`, id + ".0", "null", "[" + id + "]"} {
				s.say(result(other, "theirs"))
			}
			s.say(result(id, "mine"))
		}, `"mine"`},
		"two answers": {func(s *eventStream, id string) { s.say(result(id, "mine")); s.say(result(id, "theirs")) }, `"mine"`},
		"other events": {func(s *eventStream, id string) {
			s.write("event: other\ndata: " + result(id, "theirs") + "\n\n")
			s.say(result(id, "mine"))
		}, `"mine"`},
		"a doubled member": {func(s *eventStream, id string) {
			s.say(`{"jsonrpc":"2.0","id":` + id + `,"result":{"content":[],"Content":[]}}`)
		}, "upstream_malformed"},
		"neither of two": {func(s *eventStream, id string) { s.say(`{"jsonrpc":"2.0","id":` + id + `}`) }, "upstream_malformed"},
		"noise": {func(s *eventStream, id string) {
			s.say("no")
			s.say(`{"a":1,"a":2}`)
			s.say("[]")
			s.say(result(id, "theirs"))
		}, "upstream_unavailable"},
		"a second endpoint": {func(s *eventStream, id string) {
			s.write("event: endpoint\ndata: /other\n\n")
			s.say(result(id, "theirs"))
		}, "upstream_unavailable"},
		"an event too large":   {func(s *eventStream, id string) { s.say(result(id, strings.Repeat("x", 2<<20))) }, "upstream_unavailable"},
		"an event without end": {func(s *eventStream, _ string) { s.write("data: " + strings.Repeat("x", 2<<20)) }, "upstream_unavailable"},
		"many lines of one": {func(s *eventStream, _ string) {
			s.write(strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n", 1<<11))
		}, "upstream_unavailable"},
		"a request first": {func(s *eventStream, id string) {
			s.say(`{"jsonrpc":"2.0","id":"q","method":"roots/list"}`)
			s.say(result(id, "mine"))
		}, `"mine"`},
		"a progress of nobody": {func(s *eventStream, id string) {
			s.say(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`)
			s.say(result(id, "mine"))
		}, `"mine"`},
		"a list that is a call": {func(s *eventStream, id string) {
			s.say(`{"jsonrpc":"2.0","id":` + id + `,"method":"sampling/createMessage","params":{}}`)
			s.say(result(id, "mine"))
		}, `"mine"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newStreamPeer(t, func(*streamPeer) string { return atMessages })
			r, token := governStream(t, p, "up")
			p.answers(func(s *eventStream, m streamPost) bool {
				if m.method != "tools/call" {
					return false
				}
				c.say(s, m.id)
				return true
			})
			got := r.call(token, "up", "echo", `{}`)
			if !strings.Contains(got.body, c.want) || strings.Contains(got.body, "theirs") {
				t.Errorf("answered %s", tail(got.body, 300))
			}
			p.answers(nil)
			if got := r.call(token, "up", "echo", `{}`); !strings.Contains(got.body, "mine") {
				t.Errorf("the next call answered %s", got.body)
			}
		})
	}
}

// A stream that ends again and again is not opened as often as somebody calls.
func TestSSEReconnectionsAreHeldBack(t *testing.T) {
	t.Parallel()
	p := newStreamPeer(t, func(*streamPeer) string { return atMessages })
	r, token := governStream(t, p, "up")
	p.answers(func(s *eventStream, m streamPost) bool {
		if m.method == "tools/call" {
			s.write("event: endpoint\ndata: /other\n\n")
			return true
		}
		return false
	})
	var last string
	held := 0 // a call may open the stream it then loses, the last one too
	for range 40 {
		if last = r.call(token, "up", "echo", `{}`).body; strings.Contains(last, "next try") {
			held++
		}
	}
	if gets, _ := p.counts(); gets > 12 || held < 20 {
		t.Errorf("%d streams were opened for 40 calls and %d calls were held back; the last answered %s", gets, held, last)
	}
}

// A server that refuses the stream, or has another thing there, is not guessed
// at: no other transport is tried.
func TestSSEIsNotProbed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnauthorized, http.StatusOK} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			var verbs sync.Map
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				verbs.Store(r.Method, true)
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
			}))
			t.Cleanup(s.Close)
			r := newRig(t)
			r.apply(sseServer(s.URL))
			if err := r.d.Proxy.Learn(t.Context(), "up"); err == nil {
				t.Error("its tools were listed")
			}
			if _, posted := verbs.Load("POST"); posted {
				t.Error("something was posted")
			}
		})
	}
	p := newPeer(t, v2511)
	p.streams = true
	r := newRig(t)
	r.apply(botAndServer(p.URL+"/mcp", `["up/*"]`), "up")
	for _, s := range p.all() {
		if s.verb == http.MethodGet && s.session == "" {
			t.Error("a server without sse in its manifest was asked for an event stream")
		}
	}
}
