package daemon_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/daemon"
	"rutile/internal/discovery/clientconfig"
	"rutile/internal/finding"
	"rutile/internal/store/storetest"
)

// logs keeps what a daemon logs.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// watched is a home somebody changes, and the daemon that watches it.
type watched struct {
	t    *testing.T
	home string
	d    *daemon.Daemon
	log  *logs
}

func watchHome(t *testing.T, cfg daemon.Config, home string) *watched {
	t.Helper()
	w := &watched{t: t, home: home, log: &logs{}}
	cfg.Listen = free
	cfg.Log.Level = "debug"
	cfg.Discovery.Watch.Processes = "off" // those of others would be found too
	d, err := daemon.New(t.Context(), cfg, daemon.Options{Version: "test", Log: w.log, Home: &clientconfig.Home{Dir: home}})
	if err != nil {
		t.Fatal(err)
	}
	w.d = d
	t.Cleanup(func() { _ = d.Close(context.Background()) })
	return w
}

// write replaces a file as clients do.
func (w *watched) write(name, text string) {
	w.t.Helper()
	file := filepath.Join(w.home, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		w.t.Fatal(err)
	}
}

// rules are what is wrong now, "RULE subject".
func (w *watched) rules() []string {
	w.t.Helper()
	list, err := w.d.Findings.List(w.t.Context(), finding.Filter{})
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for i := range list {
		about := list[i].Subject.ID
		if list[i].Subject.Kind == finding.SubjectFile {
			about = "file " + about[strings.LastIndexByte(about, '/')+1:]
		}
		out = append(out, list[i].Rule+" "+about)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// become waits until what is wrong is exactly this.
func (w *watched) become(want ...string) {
	w.t.Helper()
	slices.Sort(want)
	end := time.Now().Add(20 * time.Second)
	for got := w.rules(); !slices.Equal(got, want); got = w.rules() {
		if time.Now().After(end) {
			w.t.Fatalf("found\n %s\nwant\n %s\nlog: %s", strings.Join(got, "\n "), strings.Join(want, "\n "), w.log)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

const canary = "ghp_CANARY0watchedcanary0123456789abcd"

// TestChangesOfConfigurationsBecomeFindings: an entry that comes is found, one that
// goes takes what was wrong with it along, also with its whole file, in a home and
// in a project; a secret in it is told by its name only, and nothing is started.
func TestChangesOfConfigurationsBecomeFindings(t *testing.T) {
	home := t.TempDir()
	project := filepath.Join(home, "src", "shop")
	if err := os.MkdirAll(project, 0o700); err != nil {
		t.Fatal(err)
	}
	made := filepath.Join(home, "made")
	w := watchHome(t, daemon.Config{Data: storetest.Dir(t)}, home)
	w.become()

	w.write(".cursor/mcp.json", fmt.Sprintf(`{"mcpServers": {"gh": {"command": "npx", "args": ["-y", "shadow-mcp@1.0.0"], "env": {"GITHUB_TOKEN": %q}}, "sh": {"command": "sh", "args": ["-c", "touch %s"]}}}`, canary, made))
	script := "SHADOW_SERVER host:" + w.host() + "/"
	for end := time.Now().Add(20 * time.Second); !slices.Contains(w.rules(), "SHADOW_SERVER pkg:npm/shadow-mcp"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the entry was not found: %v, log %s", w.rules(), w.log)
		}
	}
	if got := w.rules(); !slices.Contains(got, "LITERAL_SECRET pkg:npm/shadow-mcp") || !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, script) }) {
		t.Errorf("found %v, want the secret and the shell too", got)
	}

	w.write(".cursor/mcp.json", `{"mcpServers": {"gh": {"command": "npx", "args": ["-y", "shadow-mcp@1.0.0"]}}}`)
	w.become("SHADOW_SERVER pkg:npm/shadow-mcp")

	// A project that a client only now says it has, and its own file.
	w.write(".claude.json", fmt.Sprintf(`{"projects": {%q: {}}}`, filepath.ToSlash(project)))
	w.write("src/shop/.mcp.json", `{"mcpServers": {"n": {"command": "npx", "args": ["-y", "project-mcp@2.0.0"]}}}`)
	w.become("SHADOW_SERVER pkg:npm/shadow-mcp", "SHADOW_SERVER pkg:npm/project-mcp")

	// Another file of the same client, that cannot be read.
	w.write(".gemini/settings.json", `{"mcpServers": {`)
	w.become("SHADOW_SERVER pkg:npm/shadow-mcp", "SHADOW_SERVER pkg:npm/project-mcp", "UNPARSABLE file settings.json")

	for _, f := range []string{"src/shop/.mcp.json", ".gemini/settings.json", ".cursor"} {
		if err := os.RemoveAll(filepath.Join(home, filepath.FromSlash(f))); err != nil {
			t.Fatal(err)
		}
	}
	w.become()

	if _, err := os.Stat(made); err == nil {
		t.Error("what was found was started")
	}
	if err := w.d.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.silent()
}

// host is the pseudonym of this machine.
func (w *watched) host() string {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		around, err := w.d.Inventory.Around(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		if len(around.Hosts) == 1 {
			return around.Hosts[0].ID
		}
	}
	w.t.Fatalf("nothing was looked at: %s", w.log)
	return ""
}

// silent demands that no secret is in the log or the data, and that the end was
// quiet.
func (w *watched) silent() {
	w.t.Helper()
	if strings.Contains(w.log.String(), "CANARY") || strings.Contains(w.log.String(), "level=ERROR") || strings.Contains(w.log.String(), "level=WARN") {
		w.t.Errorf("the log says\n%s", w.log)
	}
	err := filepath.WalkDir(w.d.Config.Data, func(file string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(file)
		if bytes.Contains(raw, []byte("CANARY")) {
			w.t.Errorf("%s holds the secret", file)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestARoutedEntryThatIsRevertedIsAFinding: an entry that leads to the gateway, is
// written anew by its client to lead past it, and is routed again.
func TestARoutedEntryThatIsRevertedIsAFinding(t *testing.T) {
	home := t.TempDir()
	w := watchHome(t, daemon.Config{Data: storetest.Dir(t)}, home)
	routed := `{"mcpServers": {"notes": {"command": "rutile", "args": ["connect", "notes"]}}}`
	w.write(".cursor/mcp.json", routed)
	if _, err := w.d.Admin.Apply(t.Context(), admin.System(), []admin.Document{{File: "notes.yaml", Text: "kind: Server\nid: notes\nowner: team\nstate: sanctioned\ntransport: {stdio: {command: npx, args: [\"-y\", \"notes-mcp@1.0.0\"]}}\n"}}, false); err != nil {
		t.Fatal(err)
	}
	w.become()
	w.write(".cursor/mcp.json", `{"mcpServers": {"notes": {"command": "npx", "args": ["-y", "notes-mcp@1.0.0"]}}}`)
	w.become("BYPASS_ENTRY pkg:npm/notes-mcp")
	w.write(".cursor/mcp.json", routed)
	w.become()
}

// TestWatchingIsQuietWhereNothingChanges: a file that is written again and again
// with the same entries leaves one record and not one each time.
func TestWatchingIsQuietWhereNothingChanges(t *testing.T) {
	home := t.TempDir()
	w := watchHome(t, daemon.Config{Data: storetest.Dir(t)}, home)
	w.write(".cursor/mcp.json", `{"mcpServers": {"n": {"command": "npx", "args": ["-y", "same-mcp@1.0.0"]}}}`)
	w.become("SHADOW_SERVER pkg:npm/same-mcp")
	size := w.d.Evidence.Size()
	for i := range 3 {
		w.write(".cursor/mcp.json", strings.Repeat("\n", i)+`{"mcpServers": {"n": {"command": "npx", "args": ["-y", "same-mcp@1.0.0"]}}}`)
	}
	w.write(".gemini/settings.json", `{"mcpServers": {"n": {"command": "npx", "args": ["-y", "other-mcp@1.0.0"]}}}`)
	w.become("SHADOW_SERVER pkg:npm/same-mcp", "SHADOW_SERVER pkg:npm/other-mcp")
	if grew := w.d.Evidence.Size() - size; grew > 2 {
		t.Errorf("%d records for one change of what is configured", grew)
	}
}
