package gatetest_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// sdkServer is a server of the official SDK over HTTP: stateless it speaks the
// modern revision, stateful the legacy ones. Its calls report here.
type sdkServer struct {
	url       string
	cancelled chan bool
	waiting   chan bool
	over      chan struct{}
}

func newSDKServer(t *testing.T, stateless bool) *sdkServer {
	t.Helper()
	s := &sdkServer{cancelled: make(chan bool, 4), waiting: make(chan bool, 4), over: make(chan struct{})}
	srv := mcp.NewServer(&mcp.Implementation{Name: "sdk", Version: "1"}, &mcp.ServerOptions{Instructions: "be kind", PageSize: 2,
		CompletionHandler: func(context.Context, *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
			return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: []string{"done"}}}, nil
		}})
	type in struct {
		Text string `json:"text"`
	}
	for _, name := range []string{"echo", "fail", "slow", "steps", "forbidden"} {
		mcp.AddTool(srv, &mcp.Tool{Name: name, Description: "tool " + name}, func(ctx context.Context, req *mcp.CallToolRequest, a in) (*mcp.CallToolResult, any, error) {
			return s.run(ctx, req, name, a.Text)
		})
	}
	srv.AddPrompt(&mcp.Prompt{Name: "hi"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: "hello"}}}}, nil
	})
	srv.AddResource(&mcp.Resource{URI: "test://a", Name: "a"}, func(_ context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: r.Params.URI, Text: "content of a"}}}, nil
	})
	h := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return srv }, &mcp.StreamableHTTPOptions{Stateless: stateless, PropagateRequestCancellation: true}))
	t.Cleanup(func() {
		close(s.over)
		h.CloseClientConnections()
		h.Close()
	})
	s.url = h.URL
	return s
}

func (s *sdkServer) run(ctx context.Context, req *mcp.CallToolRequest, name, text string) (*mcp.CallToolResult, any, error) {
	switch name {
	case "fail":
		return nil, nil, errors.New("it failed: " + text)
	case "slow":
		s.waiting <- true
		select {
		case <-ctx.Done():
			s.cancelled <- true
		case <-time.After(patience):
			s.cancelled <- false
		case <-s.over: // nobody can tell a server without sessions
		}
		return nil, nil, ctx.Err()
	case "steps":
		for i := range 3 {
			if err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: float64(i + 1)}); err != nil {
				return nil, nil, err
			}
		}
	}
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: name + " " + text}}}, nil, nil
}

// bearer adds a token to every request.
type bearer struct{ token string }

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return http.DefaultTransport.RoundTrip(r)
}

// TestSDKClient runs the official client through the gateway to the official
// server, in every pair of eras, and holds what it sees to what it sees without
// a gateway, less what the agent may not use.
func TestSDKClient(t *testing.T) {
	t.Parallel()
	for up, stateless := range map[string]bool{"modern": true, "legacy": false} {
		for _, version := range []string{v2026, v2511, v2506, v2503} {
			t.Run(up+" from "+version, func(t *testing.T) {
				t.Parallel()
				s := newSDKServer(t, stateless)
				r := newRig(t)
				r.apply(botAndServer(s.url, `["up/echo", "up/fail", "up/slow", "up/steps", "up/prompts/*", "up/resources/read"]`), "up")
				progress := make(chan float64, 8)
				client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, &mcp.ClientOptions{
					ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { progress <- r.Params.Progress },
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				cs, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: r.url("up"), HTTPClient: &http.Client{Transport: bearer{r.token("bot", "up")}}},
					&mcp.ClientSessionOptions{ProtocolVersion: version})
				if err != nil {
					t.Fatalf("connecting: %v", err)
				}
				defer cs.Close()
				if got := cs.InitializeResult(); got.ProtocolVersion != version || got.Instructions != "be kind" || got.ServerInfo.Name != "sdk" {
					t.Errorf("connected to %+v", got)
				}
				useSDK(ctx, t, cs, progress)
				go func() {
					<-s.waiting
					cancel()
				}()
				if _, err := cs.CallTool(ctx, &mcp.CallToolParams{Name: "slow", Arguments: map[string]any{"text": ""}}); !errors.Is(err, context.Canceled) {
					t.Errorf("a cancelled call ended with %v", err)
				}
				if stateless && version != v2026 {
					return // to legacy clients a stateless server of the SDK has no session to cancel in
				}
				select {
				case ok := <-s.cancelled:
					if !ok {
						t.Error("the server's call was not cancelled")
					}
				case <-time.After(2 * patience):
					t.Error("the server does not learn of the cancellation")
				}
			})
		}
	}
}

func useSDK(ctx context.Context, t *testing.T, cs *mcp.ClientSession, progress chan float64) {
	t.Helper()
	var names []string
	for tool, err := range cs.Tools(ctx, nil) { // over all pages
		if err != nil {
			t.Fatalf("listing tools: %v", err)
		}
		names = append(names, tool.Name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"echo", "fail", "slow", "steps"}, names); diff != "" {
		t.Errorf("tools (-want +got):\n%s", diff)
	}
	text := func(name string) (string, bool) {
		res, err := cs.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: map[string]any{"text": "ünïcode \"x\""}, Meta: mcp.Meta{"progressToken": "tok-" + name}})
		if err != nil {
			t.Fatalf("calling %s: %v", name, err)
		}
		if len(res.Content) == 0 {
			t.Fatalf("calling %s: no content", name)
		}
		return res.Content[0].(*mcp.TextContent).Text, res.IsError
	}
	if got, isErr := text("echo"); got != "echo ünïcode \"x\"" || isErr {
		t.Errorf("echo answered %q", got)
	}
	if got, isErr := text("fail"); !isErr || !strings.Contains(got, "it failed") {
		t.Errorf("fail answered %q", got)
	}
	if got, isErr := text("forbidden"); !isErr || !strings.Contains(got, "Denied by the gateway") {
		t.Errorf("forbidden answered %q", got)
	}
	if got, _ := text("steps"); !strings.HasPrefix(got, "steps") {
		t.Errorf("steps answered %q", got)
	}
	for i := range 3 {
		select {
		case p := <-progress:
			if p != float64(i+1) {
				t.Errorf("progress %v, want %d", p, i+1)
			}
		case <-time.After(2 * patience):
			t.Fatalf("progress %d does not come", i+1)
		}
	}
	if res, err := cs.GetPrompt(ctx, &mcp.GetPromptParams{Name: "hi"}); err != nil || len(res.Messages) != 1 {
		t.Errorf("the prompt: %v %v", res, err)
	}
	if res, err := cs.ReadResource(ctx, &mcp.ReadResourceParams{URI: "test://a"}); err != nil || res.Contents[0].Text != "content of a" {
		t.Errorf("the resource: %v %v", res, err)
	}
	if res, err := cs.ListPrompts(ctx, nil); err != nil || len(res.Prompts) != 1 {
		t.Errorf("prompts: %v %v", res, err)
	}
	if res, err := cs.ListResources(ctx, nil); err != nil || len(res.Resources) != 1 {
		t.Errorf("resources: %v %v", res, err)
	}
	if res, err := cs.Complete(ctx, &mcp.CompleteParams{Ref: &mcp.CompleteReference{Type: "ref/prompt", Name: "hi"}, Argument: mcp.CompleteParamsArgument{Name: "a", Value: "b"}}); err != nil || res.Completion.Values[0] != "done" {
		t.Errorf("completion: %v %v", res, err)
	}
	if _, err := cs.CallTool(ctx, &mcp.CallToolParams{Name: "absent"}); err == nil || !strings.Contains(err.Error(), "Unknown tool") {
		t.Errorf("an absent tool: %v", err)
	}
}
