package clientconfig_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rutile/internal/discovery/clientconfig"
)

// FuzzConfigurations gives any bytes to each format's parser: none of them stops
// the run, and a marked secret stays where it is.
func FuzzConfigurations(f *testing.F) {
	const mark = "hunter22canary"
	files, err := filepath.Glob(filepath.Join("testdata", "evasion", "*.txtar"))
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		_, body, _ := strings.Cut(string(b), " --\n")
		f.Add(body)
	}
	f.Add(`{"mcpServers": {"a": {"command": "x", "env": {"T": "` + mark + `"}}}}`)
	f.Add("[mcp_servers.a]\ncommand = \"x\"\nenv = {T = \"" + mark + "\"}\n")
	f.Add("extensions: {a: {cmd: x, type: stdio, envs: {T: " + mark + "}}}\n")
	f.Fuzz(func(t *testing.T, body string) {
		m := newMachine(t, clientconfig.Linux)
		for _, name := range []string{".cursor/mcp.json", ".config/Code/User/mcp.json", ".openclaw/openclaw.json", ".codex/config.toml", ".config/goose/config.yaml", ".kiro/agents/a.md"} {
			m.write(name, body)
		}
		r := m.discover(t.Context())
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(body, mark) == 1 && strings.Contains(body, `"T": "`+mark+`"`) && strings.Contains(string(b), mark) {
			t.Errorf("the secret is shown: %s", b)
		}
		if len(r.Failed()) > 0 {
			t.Errorf("the source failed: %v", r.Failed())
		}
	})
}
