package gatetest_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/daemon"
)

// history is a stopped gateway's data directory with a few calls in it.
type history struct {
	t    *testing.T
	up   *upstream
	data string
}

func newHistory(t *testing.T) *history {
	t.Helper()
	h := &history{t, newUpstream(t), t.TempDir()}
	r := rigAt(t, h.data, "127.0.0.1:0")
	r.apply(botAndServer(h.up.URL+"/mcp", `["up/*"]`), "up")
	r.stop()
	return h
}

// calls runs the gateway on dir for n calls.
func (h *history) calls(dir string, n int) {
	h.t.Helper()
	r := rigAt(h.t, dir, "127.0.0.1:0")
	token := r.token("bot", "up")
	for range n {
		if got := r.call(token, "up", "echo", `{"text":"x"}`); !strings.Contains(got.body, `"resultType":"complete"`) || strings.Contains(got.body, "isError") {
			h.t.Fatalf("answered %s", got.body)
		}
	}
	r.stop()
}

// copyData returns a copy of a data directory.
func copyData(t *testing.T, data string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(dir, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	for _, name := range regularFiles(t, dir) {
		if err := os.Chmod(name, 0o600); err != nil { // a copy obeys the umask
			t.Fatal(err)
		}
	}
	return dir
}

func regularFiles(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// contents is what a directory holds.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range regularFiles(t, dir) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(b)
	}
	return out
}

func remove(t *testing.T, paths ...string) {
	t.Helper()
	for _, p := range paths {
		found, err := filepath.Glob(p)
		if err != nil || len(found) == 0 {
			t.Fatalf("nothing to remove at %s: %v", p, err)
		}
		for _, f := range found {
			if err := os.RemoveAll(f); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// move puts from in the place of to.
func move(t *testing.T, from, to string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(to), os.Rename(from, to)); err != nil {
		t.Fatal(err)
	}
}

// What is not the log the gateway wrote last is not written to: nothing starts,
// and not a byte of it changes.
func TestExchangedEvidenceIsRefused(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	older := copyData(t, h.data)
	h.calls(h.data, 3)
	fork := copyData(t, older)
	h.calls(fork, 9) // longer than the one it will stand in for
	for name, attack := range map[string]func(evidence string){
		"an older copy":               func(e string) { move(t, filepath.Join(older, "evidence"), e) },
		"a longer history":            func(e string) { move(t, filepath.Join(fork, "evidence"), e) },
		"nothing":                     func(e string) { remove(t, e) },
		"an empty log":                func(e string) { remove(t, e+"/log/*", e+"/wal/*") },
		"no checkpoint":               func(e string) { remove(t, e+"/log/checkpoint") },
		"no checkpoint, no database":  func(e string) { remove(t, e+"/log/checkpoint", e+"/wal/*", e+"/../rutile.db*") },
		"only payloads, no database":  func(e string) { remove(t, e+"/log", e+"/wal", e+"/../rutile.db*") },
		"no write-ahead log":          func(e string) { remove(t, e+"/wal/*") },
		"no signing key":              func(e string) { remove(t, e+"-signing.key") },
		"the log of another gateway":  func(e string) { move(t, filepath.Join(newHistory(t).data, "evidence"), e) },
		"another gateway's node name": func(e string) { move(t, filepath.Join(newHistory(t).data, "node"), e+"/../node") },
	} {
		t.Run(name, func(t *testing.T) {
			data := copyData(t, h.data)
			evidence := filepath.Join(data, "evidence")
			attack(evidence)
			before := map[string]string{}
			if _, err := os.Stat(evidence); err == nil {
				before = contents(t, evidence)
			}
			d, err := daemon.New(t.Context(), daemon.Config{
				Mode: "enforce", Data: data, Listen: daemon.Listen{Agents: "127.0.0.1:0", Operators: "127.0.0.1:0"},
			}, daemon.Options{Log: io.Discard})
			if err == nil {
				_ = d.Close(context.Background())
			}
			if access.CodeOf(err) != access.CodeEvidence {
				t.Errorf("started with %v", err)
			}
			for file, b := range contents(t, evidence) {
				if strings.Contains(file, "LOCK") || before[file] == b {
					continue
				}
				t.Errorf("%s was changed", file)
			}
		})
	}
}

// The database is no part of the evidence: older, lost or rebuilt, the log goes
// on, everything in it verifies and what can be found is found.
func TestLostDatabaseLosesNoEvidence(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	older := copyData(t, h.data)
	h.calls(h.data, 3)
	for name, c := range map[string]struct {
		damage func(data string)
		found  int // calls of the agent: those under the key the database has for it
	}{
		"older": {func(data string) { // its key is made when it is registered
			remove(t, data+"/rutile.db*")
			move(t, filepath.Join(older, "rutile.db"), filepath.Join(data, "rutile.db"))
		}, 4},
		"gone": {func(data string) { remove(t, data+"/rutile.db*") }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			data := copyData(t, h.data)
			c.damage(data)
			r := rigAt(t, data, "127.0.0.1:0")
			before := r.d.Evidence.Size()
			r.apply(botAndServer(h.up.URL+"/mcp", `["up/*"]`), "up")
			token := r.token("bot", "up")
			if got := r.call(token, "up", "echo", `{}`); strings.Contains(got.body, "isError") || got.msg.Result == nil {
				t.Fatalf("answered %s", got.body)
			}
			if err := r.d.Evidence.Reindex(t.Context()); err != nil {
				t.Fatal(err)
			}
			calls := func(q audit.Query) []uint64 {
				var out []uint64
				q.Types, q.Ascending = []string{"intent"}, true
				rows, err := r.d.Evidence.Search(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				for _, row := range rows {
					out = append(out, row.Index)
				}
				return out
			}
			if got := calls(audit.Query{}); len(got) != 4 {
				t.Errorf("the calls %v are found, want 4", got)
			}
			if got := calls(audit.Query{Agent: "bot"}); len(got) != c.found || got[len(got)-1] < before {
				t.Errorf("of the agent the calls %v are found, want the %d whose key exists", got, c.found)
			}
			r.stop()
			report, err := audit.Verify(filepath.Join(data, "evidence"), audit.VerifyOptions{Complete: true})
			if err != nil || report.ExitStatus() != 0 {
				t.Errorf("%v %q %q", err, report.Problems, report.Lacking)
			}
		})
	}
}

// A gateway killed in the middle of an export leaves nothing in clear behind.
func TestUnfinishedExportIsRemoved(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	left := filepath.Join(h.data, "export-123", "bundle", "disclosed")
	if err := errors.Join(os.MkdirAll(left, 0o700), os.WriteFile(filepath.Join(left, "1.json"), []byte("in clear"), 0o600)); err != nil {
		t.Fatal(err)
	}
	rigAt(t, h.data, "127.0.0.1:0")
	if _, err := os.Stat(filepath.Join(h.data, "export-123")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}
