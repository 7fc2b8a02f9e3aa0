package traffic_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/discovery/traffic"
)

func TestTrafficIsComparedWithTheRegistry(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "access.log")
	log := `{"host":"mcp.example.com","method":"POST","path":"/mcp?token=c4n4ry","mcp-method":"tools/call","user":"kim@example.com"}
{"host":"mcp.other.example","method":"POST","path":"/mcp","mcp-method":"tools/call","user":"kim@example.com"}
{"host":"gateway.example:7433","scheme":"http","method":"POST","path":"/mcp/files","mcp-method":"tools/call"}
`
	if err := os.WriteFile(file, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	paths := &discovery.Paths{Home: dir, Salt: []byte("salt")}
	describe := &discovery.Describer{Paths: paths, Gateways: []string{"gateway.example:7433"}}
	seen := discovery.Run(t.Context(), []discovery.Source{traffic.Source{Files: []string{file, filepath.Join(dir, "none.log")}, Paths: paths, Describe: describe}}, time.Now, nil)
	report := seen.Report(discovery.Registry{Known: true, Servers: []discovery.Registered{{ID: "example", State: "sanctioned", Key: "https://mcp.example.com/mcp"}}})
	b, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"c4n4ry", "kim"} {
		if strings.Contains(string(b), secret) {
			t.Errorf("%s came out: %s", secret, b)
		}
	}
	got := map[string]string{}
	for _, f := range report.Findings {
		got[f.Key] += string(f.Rule) + " " + string(f.Severity)
	}
	if got["https://mcp.example.com/mcp"] != "BYPASS_TRAFFIC high" || got["https://mcp.other.example/mcp"] != "UNREGISTERED_TRAFFIC medium" || len(got) != 2 {
		t.Errorf("findings: %v", got)
	}
	if failed := report.Failed(); len(failed) != 1 || !strings.HasSuffix(failed[0].Place, "none.log") {
		t.Errorf("failed: %+v", failed)
	}
}
