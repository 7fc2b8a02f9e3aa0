package daemon_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/daemon"
)

// record is an OSV record of a package of npm, in versions before a fix.
func record(name, fixed, more string) string {
	return fmt.Sprintf(`{"id": "GHSA-aaaa-bbbb-cccc", "modified": %q, %s "database_specific": {"severity": "CRITICAL"},
		"affected": [{"package": {"ecosystem": "npm", "name": %q}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": %q}]}]}]}`,
		time.Now().UTC().Format(time.RFC3339), more, name, fixed)
}

// TestTheGatewayComparesWithItsCopies: what was found on this machine and what is
// registered is compared with the copy of vulnerability records, again when that is
// replaced, and a copy that cannot be read takes nothing back.
func TestTheGatewayComparesWithItsCopies(t *testing.T) {
	home, dir := t.TempDir(), t.TempDir()
	file := filepath.Join(dir, "osv.json")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	put(record("found-mcp", "2.0.0", ""))
	data := t.TempDir()
	w := watchHome(t, daemon.Config{Data: data, Discovery: daemon.Discovery{Vulnerabilities: file}}, home)
	w.write(".cursor/mcp.json", `{"mcpServers": {"n": {"command": "npx", "args": ["-y", "found-mcp@1.0.0"]}}}`)
	if _, err := w.d.Admin.Apply(t.Context(), admin.System(), []admin.Document{{File: "s.yaml", Text: "kind: Server\nid: kept\nowner: team\nstate: sanctioned\ntransport: {stdio: {command: npx, args: [\"-y\", \"kept-mcp@1.0.0\"]}}\n"}}, false); err != nil {
		t.Fatal(err)
	}
	w.become("SHADOW_SERVER pkg:npm/found-mcp", "KNOWN_VULNERABLE pkg:npm/found-mcp")

	put(record("kept-mcp", "2.0.0", "")) // found-mcp is clean again
	w.become("SHADOW_SERVER pkg:npm/found-mcp", "KNOWN_VULNERABLE pkg:npm/kept-mcp")

	put("this is no record")
	w.write(".cursor/mcp.json", `{"mcpServers": {}}`)
	w.become("KNOWN_VULNERABLE pkg:npm/kept-mcp")

	put(record("kept-mcp", "2.0.0", `"withdrawn": "2026-01-01T00:00:00Z",`))
	w.become()
}
