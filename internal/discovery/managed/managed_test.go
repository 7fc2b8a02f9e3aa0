package managed_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"rutile/internal/discovery/managed"
)

// Every policy is text its client can parse, names every server at the gateway and
// nothing that is anywhere else.
func TestEveryPolicyHoldsToTheGateway(t *testing.T) {
	for _, g := range []managed.Gateway{
		{URL: "https://mcp.example.com", Servers: []managed.Server{{ID: "notes"}, {ID: "files"}}},
		{URL: "https://mcp.example.com", Command: []string{"/opt/ru tile/rutile", "connect"}, Servers: []managed.Server{{ID: "notes"}, {ID: "files"}}},
		{URL: "https://mcp.example.com"},
	} {
		for _, client := range managed.Clients() {
			p, err := managed.For(client, g)
			if err != nil {
				t.Fatal(err)
			}
			all := ""
			for _, f := range p.Files {
				all += f.Text
				tree := map[string]any{}
				if strings.HasSuffix(f.Name, ".toml") {
					err = toml.Unmarshal([]byte(f.Text), &tree)
				} else {
					err = json.Unmarshal([]byte(f.Text), &tree)
				}
				if err != nil {
					t.Errorf("%s: %s: %v\n%s", client, f.Name, err, f.Text)
				}
			}
			for _, s := range g.Servers {
				byName := client != "vscode" && (client != "copilot-cli" || len(g.Command) > 0)
				if byName && !strings.Contains(all, s.ID) {
					t.Errorf("%s: %s is missing in\n%s", client, s.ID, all)
				}
			}
			want := g.URL
			if len(g.Command) > 0 && client != "vscode" {
				want = g.Command[0]
			}
			if len(g.Servers) > 0 && !strings.Contains(all, want) {
				t.Errorf("%s: it does not lead to %s:\n%s", client, want, all)
			}
		}
	}
	if _, err := managed.For("emacs", managed.Gateway{}); err == nil || !strings.Contains(err.Error(), "claude-code") {
		t.Errorf("an unknown client says %v", err)
	}
}

// A policy without servers lets none through: it is no policy without a list.
func TestNoServersMeansNone(t *testing.T) {
	for client, want := range map[string]string{"claude-code": `"mcpServers": {}`, "gemini-cli": `"allowed": []`, "codex": "[mcp_servers]"} {
		p, err := managed.For(client, managed.Gateway{URL: "https://mcp.example.com"})
		if err != nil || !strings.Contains(p.Files[0].Text, want) {
			t.Errorf("%s: %v\n%s", client, err, p.Files[0].Text)
		}
	}
}
