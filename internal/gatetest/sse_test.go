package gatetest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"rutile/internal/gatetest"
)

// sdkSSE is a server of the Go SDK over the transport of 2024-11-05.
type sdkSSE struct {
	*httptest.Server
	server  *mcp.Server
	streams atomic.Int32 // opened
	open    atomic.Int32
	begun   chan struct{} // a call that waits is there
	gone    chan struct{} // it was cancelled
	stop    chan struct{}
}

func newSDKSSE(t *testing.T) *sdkSSE {
	t.Helper()
	s := &sdkSSE{begun: make(chan struct{}, 16), gone: make(chan struct{}, 16), stop: make(chan struct{})}
	s.server = mcp.NewServer(&mcp.Implementation{Name: "old", Version: "1"}, nil)
	type echo struct {
		Text string `json:"text"`
	}
	say := func(text string) *mcp.CallToolResult {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}
	}
	mcp.AddTool(s.server, &mcp.Tool{Name: "echo"}, func(_ context.Context, r *mcp.CallToolRequest, in echo) (*mcp.CallToolResult, any, error) {
		if token := r.Params.GetProgressToken(); token != nil {
			_ = r.Session.NotifyProgress(context.Background(), &mcp.ProgressNotificationParams{ProgressToken: token, Progress: 1, Message: in.Text})
		}
		return say(in.Text), nil, nil
	})
	mcp.AddTool(s.server, &mcp.Tool{Name: "wait"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		s.begun <- struct{}{}
		select {
		case <-ctx.Done():
			s.gone <- struct{}{}
		case <-s.stop: // it does not notice that its stream broke
		}
		return say("over"), nil, nil
	})
	mcp.AddTool(s.server, &mcp.Tool{Name: "ask"}, func(ctx context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		got, err := r.Session.Elicit(ctx, &mcp.ElicitParams{Message: "Which colour?", RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{"colour": map[string]any{"type": "string"}}}})
		if err != nil {
			return nil, nil, err
		}
		return say(fmt.Sprint(got.Action, " ", got.Content["colour"])), nil, nil
	})
	h := mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return s.server }, nil)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			s.streams.Add(1)
			s.open.Add(1)
			defer s.open.Add(-1)
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		close(s.stop)
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func sseServer(url string) string {
	return strings.Replace(botAndServer(url, `["up/*"]`), `"}}`, `", sse: true}}`, 1)
}

func governSSE(t *testing.T, url, more string, learn ...string) (*rig, string) {
	t.Helper()
	r := newRig(t)
	r.apply(sseServer(url)+more, learn...)
	return r, r.token("bot", "up")
}

// Clients of every revision use a server of the transport of 2024-11-05: calls,
// progress, what it asks, cancellation; a stream is one conversation.
func TestLegacySSEServer(t *testing.T) {
	t.Parallel()
	s := newSDKSSE(t)
	r, token := governSSE(t, s.URL+"/sse", askPolicy("elicitation"), "up")
	if got := names(t, r.list(token, "up"), "tools"); fmt.Sprint(got) != "[ask echo wait]" {
		t.Errorf("it lists %v", got)
	}
	for range 3 {
		got := r.call(token, "up", "echo", `{"text":"hello"}`)
		if got.msg.Result == nil || !strings.Contains(got.body, `"text":"hello"`) || !strings.Contains(got.body, `"resultType":"complete"`) {
			t.Errorf("answered %d %s", got.status, got.body)
		}
	}
	if n := s.streams.Load(); n != 2 { // the gateway's own look, and bot's
		t.Errorf("%d streams were opened", n)
	}
	body := strings.Replace(modernBody("7", "tools/call", `"name":"echo","arguments":{"text":"step"}`), `"_meta":{`, `"_meta":{"progressToken":"mine",`, 1)
	if got := post(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), body); !strings.Contains(got.body, `"progressToken":"mine"`) || !strings.Contains(got.body, `"id":7`) {
		t.Errorf("progress: %s", got.body)
	}
	for _, revision := range []string{v2511, v2506, v2503, v2026} {
		answers := map[string]any{"elicitation": map[string]any{"action": "accept", "content": map[string]any{"colour": "red"}}}
		if revision == v2503 {
			answers = nil
		}
		v, err := gatetest.VisitWithGo(t.Context(), r.url("up"), token, revision, gatetest.Call{Tool: "ask", Arguments: map[string]any{}, Answers: answers})
		want := "accept red"
		if answers == nil {
			want = "does not support"
		}
		if err != nil || !strings.Contains(v.Text, want) {
			t.Errorf("%s: saw %+v, %v", revision, v, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, r.url("up"), strings.NewReader(modernBody("9", "tools/call", `"name":"wait","arguments":{}`)))
		req.Header = modernHeaders(token, "tools/call", "wait")
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	<-s.begun
	cancel()
	<-ended
	select {
	case <-s.gone:
	case <-time.After(patience):
		t.Error("the server was not told of the cancellation")
	}
}

// A stream that breaks takes its calls with it and nothing else: the next call
// opens another.
func TestLegacySSEStreamBreaks(t *testing.T) {
	t.Parallel()
	s := newSDKSSE(t)
	r, token := governSSE(t, s.URL+"/sse", "", "up")
	r.call(token, "up", "echo", `{"text":"a"}`)
	ended := make(chan reply, 1)
	go func() { ended <- r.call(token, "up", "wait", `{}`) }()
	<-s.begun
	s.CloseClientConnections()
	if got := <-ended; got.msg.code() != -32603 || !strings.Contains(got.body, "upstream_unavailable") {
		t.Errorf("a call whose stream broke answered %s", got.body)
	}
	if got := r.call(token, "up", "echo", `{"text":"again"}`); !strings.Contains(got.body, `"text":"again"`) {
		t.Errorf("the next call answered %s", got.body)
	}
	c := r.legacy(token, "up", v2511, `{}`)
	if got := c.call("echo", `{"text":"s"}`); !strings.Contains(got.body, `"text":"s"`) {
		t.Errorf("a session's call answered %s", got.body)
	}
	before := s.open.Load()
	stream(t, http.MethodDelete, r.url("up"), c.headers(), "")
	eventually(t, "a session's stream ends with it", func() bool { return s.open.Load() == before-1 })
}

// What is added to one server reaches the lists.
func TestLegacySSEListChanged(t *testing.T) {
	t.Parallel()
	s := newSDKSSE(t)
	r := newRig(t)
	r.apply(strings.Replace(sseServer(s.URL), "state: sanctioned", "state: sanctioned\npinning: observe", 1), "up")
	token := r.token("bot", "up")
	r.call(token, "up", "echo", `{"text":"a"}`)
	s.server.AddTool(&mcp.Tool{Name: "later", InputSchema: map[string]any{"type": "object"}}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{}, nil
	})
	eventually(t, "the registry saw what was added", func() bool {
		_, ok := r.d.Admin.Current().View.Tool("up", "later")
		return ok
	})
}
