package process_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/discovery/process"
)

// tree is a procfs of processes 10, 11, … each started by the one before it.
func tree(t *testing.T, argv ...[]string) string {
	t.Helper()
	root := t.TempDir()
	for i, args := range argv {
		dir := filepath.Join(root, fmt.Sprint(10+i))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"stat": fmt.Sprintf("%d (x) S %d 1", 10+i, 9+i), "cmdline": strings.Join(args, "\x00") + "\x00"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

func TestSecretsOfCommandLinesStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	const canary = "c4n4ry-Zk93Lq0Wx7Pd2Vt5"
	root := tree(t, []string{"claude"}, []string{"npx", "-y", "mcp-remote", "https://user:" + canary + "a@mcp.example.com/mcp?key=" + canary + "b", "--header", "Authorization: Bearer " + canary + "c", "--api-key", canary + "d", canary + "e", "TOKEN=" + canary + "f"})
	describe := &discovery.Describer{Paths: &discovery.Paths{}}
	seen := discovery.Run(t.Context(), []discovery.Source{process.Source{Scanner: process.Scanner{Root: root}, Describe: describe}}, time.Now, nil)
	report := seen.Report(discovery.Registry{Known: true})
	b, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "c4n4ry") {
		t.Errorf("a secret came out: %s", b)
	}
	rules := map[discovery.Rule]discovery.Severity{}
	for _, f := range report.Findings {
		rules[f.Rule] = f.Severity
	}
	if rules[discovery.SecretInArgv] != discovery.High || rules[discovery.ShadowServer] != discovery.High {
		t.Errorf("findings: %v", rules)
	}
	if len(report.Servers) != 1 || report.Servers[0].Key != "https://mcp.example.com/mcp" || report.Servers[0].Variants[0].Sightings[0].Clients[0] != "claude-code" {
		t.Errorf("%s", b)
	}
}

func TestServersBehindTheGatewayAreRouted(t *testing.T) {
	t.Parallel()
	root := tree(t, []string{"rutile", "up"}, []string{"npx", "-y", "mcp-server-git@1.2.3"})
	describe := &discovery.Describer{Paths: &discovery.Paths{}}
	seen := discovery.Run(t.Context(), []discovery.Source{process.Source{Scanner: process.Scanner{Root: root}, Describe: describe}}, time.Now, nil)
	report := seen.Report(discovery.Registry{Known: true})
	if len(report.Servers) != 1 || report.Servers[0].Status != discovery.StatusRouted || len(report.Findings) != 0 {
		t.Errorf("%+v", report)
	}
}

func TestAGuessIsNoGraveFinding(t *testing.T) {
	t.Parallel()
	root := tree(t, []string{"node", "/opt/mcp/server.js"})
	describe := &discovery.Describer{Paths: &discovery.Paths{}}
	seen := discovery.Run(t.Context(), []discovery.Source{process.Source{Scanner: process.Scanner{Root: root}, Describe: describe}}, time.Now, nil)
	report := seen.Report(discovery.Registry{Known: true})
	if len(report.Findings) != 1 || report.Findings[0].Severity != discovery.Medium {
		t.Errorf("%+v", report.Findings)
	}
}
