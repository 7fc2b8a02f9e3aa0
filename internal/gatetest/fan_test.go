package gatetest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// source is a legacy server "up" that tells of test://a, b, c and secret.
type source struct {
	r      *rig
	told   func(verb string) int // how often a resource was subscribed to, or unsubscribed from
	update func(agent, uri string)
}

// noSecret forbids everybody to read test://secret.
const noSecret = "---\nkind: Policy\nid: secret\ncedar: |\n  forbid (principal, action == Mcp::Action::\"up/resources/read\", resource) when { context.input.uri like \"test://secret*\" };\n"

// sources are legacy servers of every transport, for the agents bot and eve.
func sources(t *testing.T) map[string]func(t *testing.T) *source {
	return map[string]func(*testing.T) *source{
		"streamable HTTP": func(t *testing.T) *source {
			p := newPeer(t, v2511)
			p.streams = true
			p.caps = `{"tools":{"listChanged":true},"resources":{"subscribe":true}}`
			r, _ := governPeer(t, p, eve+noSecret)
			return &source{r: r,
				told: func(verb string) int { return len(p.got("resources/" + verb)) },
				update: func(agent, uri string) {
					session := ""
					for _, s := range p.got("tools/call") {
						if strings.Contains(s.params, `"who":"`+agent+`"`) {
							session = s.session
						}
					}
					select {
					case p.to(session) <- `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"` + uri + `"}}`:
					case <-time.After(20 * time.Second):
						t.Fatal("the session's stream is not open")
					}
				},
			}
		},
		"stdio": func(t *testing.T) *source {
			r, _, notes := stdioRig(t, "legacy resources", "sanctioned", eve+noSecret)
			return &source{r: r,
				told: func(verb string) (n int) {
					for _, l := range notes("got") {
						if strings.Contains(l, `"resources/`+verb+`"`) {
							n++
						}
					}
					return n
				},
				update: func(agent, uri string) { r.call(r.token(agent, "up"), "up", "do", do("tell", uri)) },
			}
		},
		"HTTP+SSE": func(t *testing.T) *source {
			s := newSDKSource(t)
			r := newRig(t)
			r.apply(sseServer(s.URL+"/sse")+eve+noSecret, "up")
			return &source{r: r, told: s.told, update: func(_, uri string) {
				_ = s.server.ResourceUpdated(context.Background(), &mcp.ResourceUpdatedNotificationParams{URI: uri})
			}}
		},
	}
}

// sdkSource is a server of the Go SDK over the transport of 2024-11-05 with
// resources to subscribe to.
type sdkSource struct {
	*httptest.Server
	server *mcp.Server
	mu     sync.Mutex
	times  map[string]int
}

func (s *sdkSource) told(verb string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.times[verb]
}

func newSDKSource(t *testing.T) *sdkSource {
	t.Helper()
	s := &sdkSource{times: map[string]int{}}
	count := func(verb string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.times[verb]++
	}
	s.server = mcp.NewServer(&mcp.Implementation{Name: "source", Version: "1"}, &mcp.ServerOptions{
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { count("subscribe"); return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { count("unsubscribe"); return nil },
	})
	for _, uri := range []string{"test://a", "test://b", "test://c", "test://secret"} {
		s.server.AddResource(&mcp.Resource{URI: uri, Name: uri}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			return &mcp.ReadResourceResult{}, nil
		})
	}
	mcp.AddTool(s.server, &mcp.Tool{Name: "echo"}, func(context.Context, *mcp.CallToolRequest, map[string]any) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "x"}}}, nil, nil
	})
	s.Server = httptest.NewServer(mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return s.server }, nil))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// listens opens a listen under an id and returns it and its acknowledgement.
func listens(t *testing.T, r *rig, agent, server, id, want string) (*streamed, string) {
	t.Helper()
	at := server
	if server == "" {
		at = "*"
	}
	s := stream(t, "POST", r.url(server), modernHeaders(r.token(agent, at), "subscriptions/listen", ""), modernBody(id, "subscriptions/listen", `"notifications":`+want))
	if s.status != http.StatusOK {
		t.Fatalf("the listen is answered %d", s.status)
	}
	return s, s.soon()
}

// soon is next on a machine that is slow.
func (s *streamed) soon() string {
	s.t.Helper()
	select {
	case e, ok := <-s.events:
		if !ok {
			s.t.Fatal("the stream ended")
		}
		return e
	case <-time.After(30 * time.Second):
		s.t.Fatal("no event within half a minute")
		return ""
	}
}

// saysOf is the update of a resource as a listen hears it.
func saysOf(uri, id string) string {
	return `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"` + uri + `","_meta":{"io.modelcontextprotocol/subscriptionId":` + id + `}}}`
}

// hears requires that a listen is told of a resource, and until then of nothing
// else.
func hears(t *testing.T, s *streamed, uri, id string) {
	t.Helper()
	if got := s.soon(); got != saysOf(uri, id) {
		t.Errorf("told %s, want %s", got, saysOf(uri, id))
	}
}

// ends requires that a listen ends with its result, and may be told of more
// before.
func ends(t *testing.T, s *streamed, id string) {
	t.Helper()
	for deadline := time.After(30 * time.Second); ; {
		select {
		case e, ok := <-s.events:
			if !ok {
				t.Fatal("the stream ended without its result")
			}
			if strings.Contains(e, `"id":`+id+`,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":`+id+`}}`) {
				return
			}
			if !strings.Contains(e, `"method"`) {
				t.Fatalf("the stream ended with %s", e)
			}
		case <-deadline:
			t.Fatal("the stream does not end")
		}
	}
}

func acknowledges(members, id string) string {
	return `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":` + members + `,"_meta":{"io.modelcontextprotocol/subscriptionId":` + id + `}}}`
}

// A modern client listens at a legacy server of every transport: what is
// honoured is acknowledged, each listen hears what it asked for under its own
// id, the server is subscribed at once for all of a principal and told when the
// last has gone, and nobody hears of what they may not read.
func TestListenAtALegacyServer(t *testing.T) {
	t.Parallel()
	for name, start := range sources(t) {
		for _, server := range []string{"up", ""} {
			t.Run(name+" "+server, func(t *testing.T) {
				t.Parallel()
				f := start(t)
				r := f.r
				at := func(uri string) string { return uri }
				if server == "" {
					at = func(uri string) string { return "rutile+up:" + uri }
				}
				want := func(uris ...string) string {
					for i := range uris {
						uris[i] = at(uris[i])
					}
					raw, _ := json.Marshal(uris)
					return `{"resourceSubscriptions":` + string(raw) + `}`
				}
				if server != "" {
					if got := r.modern(r.token("bot", "up"), "server/discover", "", ""); !strings.Contains(got.body, `"subscribe":true`) {
						t.Errorf("advertised is %s", got.body)
					}
				}
				for _, agent := range []string{"bot", "eve"} { // who says where it is
					r.call(r.token(agent, "up"), "up", "echo", `{"who":"`+agent+`"}`)
				}
				one, ack := listens(t, r, "bot", server, `"s"`, want("test://a", "test://secret"))
				if ack != acknowledges(want("test://a"), `"s"`) {
					t.Errorf("acknowledged %s", ack)
				}
				two, ack := listens(t, r, "bot", server, `9007199254740993`, want("test://b", "test://a"))
				if ack != acknowledges(want("test://b", "test://a"), `9007199254740993`) {
					t.Errorf("acknowledged %s", ack)
				}
				hers, ack := listens(t, r, "eve", server, `7`, want("test://secret", "test://c"))
				if ack != acknowledges(want("test://c"), `7`) {
					t.Errorf("acknowledged %s", ack)
				}
				if n := f.told("subscribe"); n != 3 {
					t.Errorf("the server was subscribed at %d times, want once for each agent and resource", n)
				}
				f.update("bot", "test://secret")
				f.update("bot", "test://a")
				hears(t, one, at("test://a"), `"s"`)
				hears(t, two, at("test://a"), `9007199254740993`)
				one.cancel()
				f.update("bot", "test://b")
				hears(t, two, at("test://b"), `9007199254740993`)
				if n := f.told("unsubscribe"); n != 0 {
					t.Errorf("the server was unsubscribed at %d times while one listens", n)
				}
				two.cancel()
				eventually(t, "the server is told that nobody listens", func() bool { return f.told("unsubscribe") == 2 })
				f.update("eve", "test://secret")
				f.update("eve", "test://a")
				f.update("eve", "test://c")
				hears(t, hers, at("test://c"), `7`)
				hers.quiet(50 * time.Millisecond)
			})
		}
	}
}
