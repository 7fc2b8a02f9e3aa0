package gatetest

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os/exec"
)

//go:embed npm/visit2.mjs
var visit2Script string

// VisitModern makes a visit with the TypeScript SDK's client of the 2.x line, at
// 2026-07-28. It takes no token: the address must be one that Authorize stands
// before.
func (n NPM) VisitModern(ctx context.Context, url string, call Call) (Visit, error) {
	in, err := json.Marshal(map[string]any{"modules": n.Dir, "url": url, "call": call})
	if err != nil {
		return Visit{}, err
	}
	out, err := n.run(exec.CommandContext(ctx, n.Node, "--input-type=module", "--eval", visit2Script), in)
	if err != nil {
		return Visit{}, fmt.Errorf("visiting: %w", err)
	}
	var v Visit
	if err := json.Unmarshal(out, &v); err != nil {
		return v, fmt.Errorf("reading what the client saw: %w", err)
	}
	return v, nil
}

// Inspect runs the command line of the MCP Inspector and returns what it prints.
// It takes no token either. home is where it keeps what it keeps.
func (n NPM) Inspect(ctx context.Context, home, url string, args ...string) (string, error) {
	argv := append([]string{n.Package("@modelcontextprotocol/inspector", "clients/launcher/build/index.js"), "--cli", url, "--transport", "http"}, args...)
	cmd := exec.CommandContext(ctx, n.Node, argv...)
	cmd.Env = append(cmd.Environ(), "HOME="+home, "MCP_CATALOG_PATH="+home+"/mcp.json")
	out, err := n.run(cmd, nil)
	if err != nil {
		return "", fmt.Errorf("inspecting: %w", err)
	}
	return string(out), nil
}

func (n NPM) run(cmd *exec.Cmd, stdin []byte) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, tail(stderr.String(), 2000))
	}
	return out, nil
}
