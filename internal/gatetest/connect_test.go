package gatetest_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"rutile/internal/gatetest"
)

// shimRig is a daemon and the built program in front of it, as a desktop client
// starts it.
type shimRig struct {
	*rig
	bin   string
	state string
}

// newShimRig enrolls agent "bot" and applies manifests.
func newShimRig(t *testing.T, manifests string, learn ...string) *shimRig {
	t.Helper()
	s := &shimRig{rig: newRig(t), bin: buildRutile(t), state: filepath.Join(t.TempDir(), "state")}
	s.apply(manifests, learn...)
	s.enroll("bot")
	return s
}

// enroll enrolls on the daemon's machine.
func (s *shimRig) enroll(agent string) {
	s.t.Helper()
	out, err := exec.CommandContext(s.t.Context(), s.bin, "connect", "--enroll", "--agent", agent, "--data", s.d.Config.Data, "--state", s.state).CombinedOutput()
	if err != nil {
		s.t.Fatalf("enrolling: %v\n%s", err, out)
	}
}

// command starts the program with nothing but its arguments.
func (s *shimRig) command(ctx context.Context, args ...string) (cmd *exec.Cmd, diagnostics *lockedBuffer) {
	cmd = exec.CommandContext(ctx, s.bin, append(append([]string{"connect"}, args...), "--state", s.state)...)
	cmd.Env, cmd.Dir = []string{}, string(os.PathSeparator)
	diagnostics = &lockedBuffer{}
	cmd.Stderr = diagnostics
	return cmd, diagnostics
}

// buildRutile builds the program once for all tests of the package.
func buildRutile(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "rutile")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", bin, "./cmd/rutile")
	cmd.Dir = gatetest.Root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building rutile: %v\n%s", err, out)
	}
	return bin
}

// TestConnectWithAnEmptyEnvironment runs the official client over standard
// input and output, in every revision, through the built program to the public
// file server.
func TestConnectWithAnEmptyEnvironment(t *testing.T) {
	t.Parallel()
	npm := gatetest.NewNPM(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("content of a"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newShimRig(t, stdioManifests(npm.FilesystemServer(dir)), "up")
	for _, version := range []string{v2026, v2511, v2506, v2503} {
		t.Run(version, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			cmd, diagnostics := s.command(ctx, "up")
			cs, err := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, nil).
				Connect(ctx, &mcp.CommandTransport{Command: cmd}, &mcp.ClientSessionOptions{ProtocolVersion: version})
			if err != nil {
				t.Fatalf("connecting: %v\n%s", err, diagnostics)
			}
			if got := cs.InitializeResult(); got.ProtocolVersion != version {
				t.Errorf("connected to %+v", got)
			}
			list, err := cs.ListTools(ctx, nil)
			if err != nil || !slices.ContainsFunc(list.Tools, func(x *mcp.Tool) bool { return x.Name == "read_text_file" }) {
				t.Errorf("tools: %v %v", list, err)
			}
			res, err := cs.CallTool(ctx, &mcp.CallToolParams{Name: "read_text_file", Arguments: map[string]any{"path": filepath.Join(dir, "a.txt")}})
			if err != nil || res.IsError || !strings.Contains(res.Content[0].(*mcp.TextContent).Text, "content of a") {
				t.Errorf("reading: %+v %v", res, err)
			}
			if err := cs.Close(); err != nil {
				t.Errorf("ending: %v\n%s", err, diagnostics)
			}
			if s := diagnostics.String(); s != "" {
				t.Errorf("an ordinary run has something to say:\n%s", s)
			}
		})
	}
	eventually(t, "every session ends with its client", func() bool { return s.d.Proxy.Sessions() == 0 })
}

// stdioManifests are agent "bot", allowed everything on the stdio server "up".
func stdioManifests(command []string) string {
	var b bytes.Buffer
	b.WriteString("kind: Agent\nid: bot\nowner: team\npurpose: test\nriskTier: 1\ntools: [\"up/*\"]\n---\nkind: Server\nid: up\nowner: team\nstate: sanctioned\ntransport:\n  stdio:\n    command: '" + command[0] + "'\n    args:\n")
	for _, a := range command[1:] {
		b.WriteString("    - '" + a + "'\n")
	}
	return b.String()
}
