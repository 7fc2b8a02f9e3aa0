package gatetest

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
)

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
