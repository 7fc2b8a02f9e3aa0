package gatetest

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Visit is what a client saw that connected, listed the tools and called one.
type Visit struct {
	Revision string   // negotiated
	Server   string   // the server's own name
	Tools    []string // in the order listed
	Text     string   // of the call's content, text parts joined
	IsError  bool     // the call answered with a tool error
}

// Call is the one tool call of a visit.
type Call struct {
	Tool      string         `json:"tool"`
	Arguments map[string]any `json:"arguments"`
	// Answers are what the client answers the server, by kind: elicitation,
	// roots, sampling. What is not there is not declared.
	Answers map[string]any `json:"answers,omitempty"`
}

// VisitWithGo makes a visit with the Go SDK's client at a revision ("" for its
// newest). An error is a protocol error, or a connection that cannot be had.
func VisitWithGo(ctx context.Context, url, token, revision string, call Call) (Visit, error) {
	client := mcp.NewClient(&mcp.Implementation{Name: "gatetest", Version: "1"}, answering(call.Answers))
	transport := &mcp.StreamableClientTransport{
		Endpoint: url, MaxRetries: -1,
		HTTPClient: &http.Client{Transport: bearer{token, &http.Transport{}}},
	}
	s, err := client.Connect(ctx, transport, &mcp.ClientSessionOptions{ProtocolVersion: revision})
	if err != nil {
		return Visit{}, fmt.Errorf("connecting: %w", err)
	}
	defer s.Close()
	init := s.InitializeResult()
	v := Visit{Revision: init.ProtocolVersion}
	if init.ServerInfo != nil {
		v.Server = init.ServerInfo.Name
	}
	if roots, ok := call.Answers["roots"].(string); ok {
		client.AddRoots(&mcp.Root{URI: roots})
	}
	for tool, err := range s.Tools(ctx, nil) {
		if err != nil {
			return v, fmt.Errorf("listing: %w", err)
		}
		v.Tools = append(v.Tools, tool.Name)
	}
	r, err := s.CallTool(ctx, &mcp.CallToolParams{Name: call.Tool, Arguments: call.Arguments})
	if err != nil {
		return v, fmt.Errorf("calling %s: %w", call.Tool, err)
	}
	v.IsError = r.IsError
	for _, c := range r.Content {
		if t, ok := c.(*mcp.TextContent); ok {
			v.Text += t.Text
		}
	}
	return v, nil
}

// answering makes a client of the Go SDK answer what servers ask.
func answering(answers map[string]any) *mcp.ClientOptions {
	opts := &mcp.ClientOptions{Capabilities: &mcp.ClientCapabilities{}}
	answer := func(kind string, into any) error {
		raw, err := json.Marshal(answers[kind])
		if err == nil {
			err = json.Unmarshal(raw, into)
		}
		return err
	}
	if answers["elicitation"] != nil {
		opts.Capabilities.Elicitation = &mcp.ElicitationCapabilities{Form: &mcp.FormElicitationCapabilities{}, URL: &mcp.URLElicitationCapabilities{}}
		opts.ElicitationHandler = func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			r := new(mcp.ElicitResult)
			return r, answer("elicitation", r)
		}
	}
	if answers["roots"] != nil {
		opts.Capabilities.RootsV2 = &mcp.RootCapabilities{}
	}
	if answers["sampling"] != nil {
		opts.CreateMessageHandler = func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			r := new(mcp.CreateMessageResult)
			return r, answer("sampling", r)
		}
	}
	return opts
}

type bearer struct {
	token string
	next  *http.Transport
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.next.RoundTrip(r)
}

// CloseIdleConnections lets the client drop what it pooled.
func (b bearer) CloseIdleConnections() { b.next.CloseIdleConnections() }

//go:embed npm/visit.mjs
var visitScript string

//go:embed npm/visit2.mjs
var visit2Script string

// Visit makes a visit with the TypeScript SDK's client. Its 1.x line knows the
// legacy revisions only and negotiates its newest.
func (n NPM) Visit(ctx context.Context, url, token string, call Call) (Visit, error) {
	return n.visit(ctx, visitScript, map[string]any{"url": url, "token": token, "call": call})
}

// VisitModern makes a visit with the TypeScript SDK's client of the 2.x line, at
// 2026-07-28. It takes no token: the address must be one that Authorize stands
// before.
func (n NPM) VisitModern(ctx context.Context, url string, call Call) (Visit, error) {
	return n.visit(ctx, visit2Script, map[string]any{"url": url, "call": call})
}

// Key is what an agent proves itself with to get tokens of its own.
type Key struct {
	Agent  string `json:"agent"`
	PEM    string `json:"pem"`    // private, P-256
	Issuer string `json:"issuer"` // the only one it is shown to
}

// VisitWithKey makes a visit with the TypeScript SDK's client of the 1.x line, or
// of the 2.x line at 2026-07-28, which finds out by itself where tokens are to be
// had and fetches one.
func (n NPM) VisitWithKey(ctx context.Context, url string, modern bool, key Key, call Call) (Visit, error) {
	script := visitScript
	if modern {
		script = visit2Script
	}
	return n.visit(ctx, script, map[string]any{"url": url, "key": key, "call": call})
}

// VisitOverStdio is Visit of a server it starts.
func (n NPM) VisitOverStdio(ctx context.Context, command []string, call Call) (Visit, error) {
	return n.visit(ctx, visitScript, map[string]any{"command": command, "call": call})
}

// The script comes by option and its input by pipe: a token has no place among
// arguments that every process can read.
func (n NPM) visit(ctx context.Context, script string, what map[string]any) (Visit, error) {
	what["modules"] = n.Dir
	in, err := json.Marshal(what)
	if err != nil {
		return Visit{}, err
	}
	out, err := n.run(exec.CommandContext(ctx, n.Node, "--input-type=module", "--eval", script), in)
	if err != nil {
		return Visit{}, fmt.Errorf("visiting: %w", err)
	}
	var v Visit
	if err := json.Unmarshal(out, &v); err != nil {
		return v, fmt.Errorf("reading what the client saw: %w", err)
	}
	return v, nil
}

// ListOverStdio starts a server, lists its tools with the Go SDK's client and
// ends it.
func ListOverStdio(ctx context.Context, command []string, env map[string]string) ([]string, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = cmd.Environ()
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	s, err := mcp.NewClient(&mcp.Implementation{Name: "gatetest", Version: "1"}, nil).Connect(ctx, &mcp.CommandTransport{Command: cmd}, nil)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	defer s.Close()
	var tools []string
	for tool, err := range s.Tools(ctx, nil) {
		if err != nil {
			return nil, fmt.Errorf("listing: %w", err)
		}
		tools = append(tools, tool.Name)
	}
	return tools, nil
}
