package gatetest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// askingServer is a server of the official SDK whose tools ask their client: in
// its legacy form it sends requests, in its modern form it answers that it needs
// input.
func askingServer(t *testing.T, stateless bool) string {
	t.Helper()
	srv := mcp.NewServer(&mcp.Implementation{Name: "asking", Version: "1"}, nil)
	type in struct {
		Text string `json:"text"`
	}
	mcp.AddTool(srv, &mcp.Tool{Name: "name", Description: "Ask for a name."}, func(ctx context.Context, req *mcp.CallToolRequest, a in) (*mcp.CallToolResult, any, error) {
		form := &mcp.ElicitParams{Message: "What are you called?", RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}}}
		var res *mcp.ElicitResult
		if stateless {
			got, ok := req.Params.InputResponses["who"]
			if !ok {
				return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"who": form}, RequestState: "state of " + a.Text}, nil, nil
			}
			if req.Params.RequestState != "state of "+a.Text {
				return nil, nil, fmt.Errorf("the state came back as %q", req.Params.RequestState)
			}
			res = got.(*mcp.ElicitResult)
		} else {
			var err error
			if res, err = req.Session.Elicit(ctx, form); err != nil {
				return nil, nil, err
			}
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(a.Text, " ", res.Action, " ", res.Content["name"])}}}, nil, nil
	})
	sdk := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return srv }, &mcp.StreamableHTTPOptions{Stateless: stateless, PropagateRequestCancellation: true})
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if stateless && r.Header.Get("Mcp-Protocol-Version") != v2026 {
			w.WriteHeader(http.StatusBadRequest) // in sessions without state it could ask nobody
			return
		}
		sdk.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		h.CloseClientConnections()
		h.Close()
	})
	return h.URL
}

// Whatever a server asks reaches the client that can be asked, and its answer
// the server, whichever eras they speak.
func TestSDKElicitation(t *testing.T) {
	t.Parallel()
	for up, stateless := range map[string]bool{"modern": true, "legacy": false} {
		for _, version := range []string{v2026, v2511, v2506} {
			t.Run(up+" from "+version, func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				r.apply(botAndServer(askingServer(t, stateless), `["up/*"]`)+askPolicy("elicitation"), "up")
				client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, &mcp.ClientOptions{
					ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
						if r.Params.Message != "What are you called?" {
							return nil, fmt.Errorf("asked %q", r.Params.Message)
						}
						return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": "Ada"}}, nil
					},
				})
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				cs, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: r.url("up"), HTTPClient: &http.Client{Transport: bearer{r.token("bot", "up")}}},
					&mcp.ClientSessionOptions{ProtocolVersion: version})
				if err != nil {
					t.Fatalf("connecting: %v", err)
				}
				defer cs.Close()
				res, err := cs.CallTool(ctx, &mcp.CallToolParams{Name: "name", Arguments: map[string]any{"text": "I"}})
				if err != nil {
					t.Fatalf("calling: %v", err)
				}
				if got := res.Content[0].(*mcp.TextContent).Text; got != "I accept Ada" {
					t.Errorf("answered %q", got)
				}
			})
		}
	}
}
