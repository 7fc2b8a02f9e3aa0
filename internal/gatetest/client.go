package gatetest

import (
	"bytes"
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
}

// VisitWithGo makes a visit with the Go SDK's client at a revision ("" for its
// newest). An error is a protocol error, or a connection that cannot be had.
func VisitWithGo(ctx context.Context, url, token, revision string, call Call) (Visit, error) {
	client := mcp.NewClient(&mcp.Implementation{Name: "gatetest", Version: "1"}, nil)
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

// Visit makes a visit with the TypeScript SDK's client. Its 1.x line knows the
// legacy revisions only and negotiates its newest.
func (n NPM) Visit(ctx context.Context, url, token string, call Call) (Visit, error) {
	in, err := json.Marshal(map[string]any{"modules": n.Dir, "url": url, "token": token, "call": call})
	if err != nil {
		return Visit{}, err
	}
	// The script comes by option and its input by pipe: a token has no place
	// among arguments that every process can read.
	cmd := exec.CommandContext(ctx, n.Node, "--input-type=module", "--eval", visitScript)
	cmd.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return Visit{}, fmt.Errorf("visiting: %w: %s", err, tail(stderr.String(), 2000))
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
