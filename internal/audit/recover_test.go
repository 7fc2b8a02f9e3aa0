package audit_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/audit"
)

func hashLeaf(leaf []byte) [32]byte { return sha256.Sum256(append([]byte{0}, leaf...)) }

// long says to try every byte and hundreds of kills; make test-long does.
func long() bool { return !testing.Short() }

// keysOnly is a memory that lost its index.
func (m *memory) keysOnly() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := newMemory()
	maps.Copy(c.keys, m.keys)
	return c
}

// live returns a copy of a log's directory as a killed process leaves it, with
// n verdicts above the checkpoint, each a group of its own.
func live(t *testing.T, n int) (cfg audit.Config, m *memory, refs []audit.Ref) {
	t.Helper()
	cfg, m = config(t.TempDir()), newMemory()
	cfg.WALBytes = 64 << 10
	l := start(t, cfg, m)
	for i := range n {
		r := request(t, i)
		ref, err := l.Verdict(context.Background(), audit.Intent{Request: r, Decision: deny(r)})
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	to := t.TempDir()
	copyLog(t, cfg.Dir, to)
	cfg.Dir = filepath.Join(to, "evidence")
	return cfg, m.keysOnly(), refs
}

// copyLog copies an evidence directory and its key into dir.
func copyLog(t *testing.T, from, dir string) {
	t.Helper()
	copyTree(t, from, filepath.Join(dir, "evidence"))
	key, err := os.ReadFile(from + "-signing.key")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "evidence-signing.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
}

// segmentOf returns the last segment's path, bytes and where its groups begin;
// the last offset is where the next group would go.
func segmentOf(t *testing.T, dir string) (name string, data []byte, groups []int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "wal", "*.wal"))
	if err != nil || len(names) == 0 {
		t.Fatalf("segments %v, %v", names, err)
	}
	name = names[len(names)-1]
	if data, err = os.ReadFile(name); err != nil {
		t.Fatal(err)
	}
	off := bytes.Index(data, []byte("RTLG"))
	for bytes.HasPrefix(data[off:], []byte("RTLG")) {
		groups = append(groups, off)
		off += 32 + int(binary.BigEndian.Uint32(data[off+24:])) + 16
	}
	return name, data, append(groups, off)
}

// outcomeOfOpen opens a copy of base with its last segment replaced.
func openWith(t *testing.T, base audit.Config, m *memory, segment string, data []byte) (uint64, error) {
	t.Helper()
	dir := t.TempDir()
	copyLog(t, base.Dir, dir)
	cfg := base
	cfg.Dir, cfg.KeyFile = filepath.Join(dir, "evidence"), ""
	if err := os.WriteFile(filepath.Join(cfg.Dir, "wal", filepath.Base(segment)), data, 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := audit.Open(context.Background(), cfg, m, newSealer(), m.keysOnly())
	if err != nil {
		return 0, err
	}
	recovered := l.Size() - 1 // without the new log.open
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if r, err := audit.VerifyDir(cfg.Dir, audit.VerifyOptions{}); err != nil || r.ExitStatus() != 0 {
		t.Fatalf("what was recovered does not verify: %v, %q %q", err, r.Problems, r.Lacking)
	}
	return recovered, nil
}

func TestRecoverEveryByte(t *testing.T) {
	cfg, m, _ := live(t, 4)
	name, data, groups := segmentOf(t, cfg.Dir)
	if len(groups) != 6 { // log.open, four verdicts, the end
		t.Fatalf("groups at %v", groups)
	}
	step := 67
	if long() {
		step = 1
	}
	before, last, end := groups[3], groups[4], groups[5]
	for x := before; x < end; x += step {
		for mode, change := range map[string]func() []byte{
			"cut":      func() []byte { return data[:x:x] },
			"zero":     func() []byte { return append(data[:x:x], make([]byte, len(data)-x)...) },
			"scramble": func() []byte { return scramble(data, x, end) },
			"flip":     func() []byte { b := bytes.Clone(data); b[x] ^= 1 << (x % 8); return b },
		} {
			bad := change()
			size, err := openWith(t, cfg, m, name, bad)
			what := fmt.Sprintf("%s at byte %d of [%d, %d)", mode, x, before, end)
			switch {
			case bytes.Equal(bad, data):
				if err != nil || size != 5 {
					t.Errorf("%s changes nothing: size %d, %v", what, size, err)
				}
			case mode == "flip" && x < last:
				// The group after it is whole and says that this one was durable.
				if access.CodeOf(err) != access.CodeEvidence {
					t.Errorf("%s: damage to what was acknowledged gives size %d, error %v", what, size, err)
				}
			case err != nil:
				t.Errorf("%s: %v", what, err)
			case x < last && size != 3, x >= last && size != 4:
				t.Errorf("%s: %d leaves recovered", what, size)
			}
		}
	}
}

// scramble changes every byte from x to end.
func scramble(data []byte, x, end int) []byte {
	b := bytes.Clone(data)
	for i := x; i < end; i++ {
		b[i] ^= byte(i*7 + 1 | 1)
	}
	return b
}

func TestTornTailDropped(t *testing.T) {
	cfg, m, refs := live(t, 3)
	name, data, groups := segmentOf(t, cfg.Dir)
	torn := bytes.Clone(data)
	clear(torn[groups[3]+40:])
	if err := os.WriteFile(name, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	l := start(t, cfg, m)
	for _, ref := range refs[:2] {
		mustHave(t, l, ref)
	}
	leaf, err := l.Leaf(context.Background(), refs[2].Index)
	if err != nil || !strings.Contains(string(leaf), `"type":"log.open"`) {
		t.Errorf("the index of a torn leaf was not used again: %s, %v", leaf, err)
	}
	call(t, l, 9)
	stop(t, l)
	stop(t, start(t, cfg, m))
	verifyOK(t, cfg.Dir, audit.VerifyOptions{Complete: true})
}

func TestDamageRefusesToStart(t *testing.T) {
	tests := map[string]func(t *testing.T, cfg *audit.Config){
		"a tile of the right edge": func(t *testing.T, cfg *audit.Config) { flipIn(t, cfg.Dir, "log/tile/0/000.p/1", 3) },
		"the checkpoint":           func(t *testing.T, cfg *audit.Config) { flipIn(t, cfg.Dir, "log/checkpoint", 40) },
		"a bundle":                 func(t *testing.T, cfg *audit.Config) { flipIn(t, cfg.Dir, "log/tile/entries/000.p/1", 20) },
		"a segment's header": func(t *testing.T, cfg *audit.Config) {
			name, _, _ := segmentOf(t, cfg.Dir)
			flipIn(t, cfg.Dir, "wal/"+filepath.Base(name), 50)
		},
		"an early group": func(t *testing.T, cfg *audit.Config) {
			name, _, groups := segmentOf(t, cfg.Dir)
			flipIn(t, cfg.Dir, "wal/"+filepath.Base(name), groups[1]+60)
		},
		"a missing write-ahead log": func(t *testing.T, cfg *audit.Config) {
			name, _, _ := segmentOf(t, cfg.Dir)
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		},
		"a missing tile": func(t *testing.T, cfg *audit.Config) {
			if err := os.Remove(filepath.Join(cfg.Dir, "log/tile/0/000.p/1")); err != nil {
				t.Fatal(err)
			}
		},
		"a missing checkpoint": func(t *testing.T, cfg *audit.Config) {
			if err := os.Remove(filepath.Join(cfg.Dir, "log/checkpoint")); err != nil {
				t.Fatal(err)
			}
		},
		"a missing log": func(t *testing.T, cfg *audit.Config) { // only its payloads are left
			if err := errors.Join(os.RemoveAll(filepath.Join(cfg.Dir, "log")), os.RemoveAll(filepath.Join(cfg.Dir, "wal")),
				os.MkdirAll(filepath.Join(cfg.Dir, "log"), 0o700), os.MkdirAll(filepath.Join(cfg.Dir, "wal"), 0o700),
				os.MkdirAll(filepath.Join(cfg.Dir, "payload", "decision"), 0o700)); err != nil {
				t.Fatal(err)
			}
		},
		"a boot counter that is none": func(t *testing.T, cfg *audit.Config) {
			if err := os.WriteFile(filepath.Join(cfg.Dir, "boot"), []byte("many\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"a missing key": func(t *testing.T, cfg *audit.Config) {
			if err := os.Remove(cfg.Dir + "-signing.key"); err != nil {
				t.Fatal(err)
			}
		},
		"another origin": func(t *testing.T, cfg *audit.Config) { cfg.Origin = "example.org/rutile/main/n2/1" },
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			cfg, m, _ := live(t, 3)
			damage(t, &cfg)
			before := tree(t, cfg.Dir)
			_, err := audit.Open(context.Background(), cfg, m, newSealer(), m)
			if access.CodeOf(err) != access.CodeEvidence {
				t.Fatalf("opened with %v, want an evidence error", err)
			}
			if diff := cmp.Diff(before, tree(t, cfg.Dir)); diff != "" {
				t.Errorf("a refused directory was changed (-before +after):\n%s", diff)
			}
		})
	}
}

func flipIn(t *testing.T, dir, name string, at int) {
	t.Helper()
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// tree returns the hash of every file below dir.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "next" {
			return err
		}
		b, err := os.ReadFile(path)
		out[path] = fmt.Sprintf("%x", sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOldDirectory(t *testing.T) {
	dir := t.TempDir()
	cfg, m := config(dir), newMemory()
	l := start(t, cfg, m)
	call(t, l, 1)
	stop(t, l)
	old := t.TempDir()
	copyLog(t, cfg.Dir, old)
	l = start(t, cfg, m)
	call(t, l, 2)
	if err := l.AwaitIndex(context.Background()); err != nil {
		t.Fatal(err)
	}
	stop(t, l)

	restored := cfg
	restored.Dir = filepath.Join(old, "evidence")
	before := tree(t, restored.Dir)
	_, err := audit.Open(context.Background(), restored, m, newSealer(), m)
	if access.CodeOf(err) != access.CodeEvidence || !strings.Contains(err.Error(), "older copy") {
		t.Errorf("an old copy opened: %v", err)
	}
	if diff := cmp.Diff(before, tree(t, restored.Dir)); diff != "" {
		t.Errorf("it was changed:\n%s", diff)
	}
}

// Two histories of one log: the one that was not signed first is refused even
// though it is as long.
func TestAlteredDirectoryRefused(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	stop(t, l)
	fork := t.TempDir()
	copyLog(t, cfg.Dir, fork)
	forked := cfg
	forked.Dir = filepath.Join(fork, "evidence")
	other := m.keysOnly()
	for range 2 { // longer, so that only the root can tell
		stop(t, start(t, forked, other))
	}
	l = start(t, cfg, m)
	call(t, l, 1)
	stop(t, l)
	if s, _ := m.LatestHead(context.Background(), testOrigin); s.Size == 0 {
		t.Fatal("no head was remembered")
	}
	m.mu.Lock()
	m.mark = 0
	m.mu.Unlock()
	_, err := audit.Open(context.Background(), forked, m, newSealer(), m)
	if access.CodeOf(err) != access.CodeEvidence || !strings.Contains(err.Error(), "root at size") {
		t.Errorf("another history opened: %v", err)
	}
}

// What was durable in the write-ahead log alone is there after a restart, its
// payloads too, and open intents are closed with an unknown outcome.
func TestRestartKeepsTheTail(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	var refs []audit.Ref
	for i := range 3 {
		a, b := call(t, l, i)
		refs = append(refs, a, b)
	}
	r := request(t, 7)
	open, err := l.Intent(context.Background(), audit.Intent{Request: r, Decision: permit(r)})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	copyLog(t, cfg.Dir, dir)
	stop(t, l)

	cfg.Dir = filepath.Join(dir, "evidence")
	m2 := m.keysOnly()
	l = start(t, cfg, m2)
	for _, ref := range append(refs, open) {
		mustHave(t, l, ref)
		rev, err := l.Reveal(context.Background(), ref.Index)
		if err != nil || len(rev.Payload) == 0 {
			t.Errorf("leaf %d: payload %q, %v", ref.Index, rev.Payload, err)
		}
	}
	rows, err := l.ByDecision(context.Background(), r.ID)
	if err != nil || len(rows) != 1 {
		t.Fatalf("%d rows of the open call, %v", len(rows), err)
	}
	want := audit.Row{
		Origin: testOrigin, Index: open.Index, Ends: []uint64{open.Index + 1}, Ended: rows[0].Ended, LeafID: rows[0].LeafID, Type: "intent", At: rows[0].At,
		Decision: r.ID, Outcome: "permit", Status: "unknown", Agent: "release-bot", Subject: "alice", Session: "ses_1", Task: "ship it", Server: "files",
		Method: "tools/call", Tool: "read_file", Policies: []string{"allow.release-bot.files", "agent-tools"}, TraceID: "0af7651916cd43dd8448eb211c80319c", Intent: -1,
		Text: "files tools/call read_file release-bot alice permit allow.release-bot.files agent-tools unknown",
	}
	if diff := cmp.Diff(want, rows[0]); diff != "" || rows[0].Ended.Before(rows[0].At) {
		t.Errorf("the open call, closed (-want +got):\n%s", diff)
	}
	rev, err := l.Reveal(context.Background(), open.Index+1)
	if err != nil {
		t.Fatal(err)
	}
	want = audit.Row{
		Origin: testOrigin, Index: open.Index + 1, LeafID: rev.Row.LeafID, Type: "outcome", At: rows[0].Ended, Decision: r.ID,
		Status: "unknown", Agent: "release-bot", Subject: "alice", Session: "ses_1", Task: "ship it", Server: "files",
		Method: "tools/call", Tool: "read_file", TraceID: "0af7651916cd43dd8448eb211c80319c", Intent: int64(open.Index),
		Text: "files tools/call read_file release-bot alice unknown",
	}
	if diff := cmp.Diff(want, rev.Row); diff != "" {
		t.Errorf("outcome of the open intent (-want +got):\n%s", diff)
	}
	stop(t, l)
	verifyOK(t, cfg.Dir, audit.VerifyOptions{Complete: true})
}

// The boot counter never goes back, even without its file: a verifier takes that
// for a log put together from pieces.
func TestBootsGoOnWithoutTheirFile(t *testing.T) {
	for name, leaves := range map[string]int{"a tail": -1, "a partial bundle": 0, "a full bundle": 256} {
		t.Run(name, func(t *testing.T) {
			cfg, m := config(t.TempDir()), newMemory()
			for range 3 {
				stop(t, start(t, cfg, m))
			}
			l := start(t, cfg, m)
			for l.Size() < uint64(max(leaves-1, 0)) { // log.close is the last
				r := request(t, int(l.Size()))
				if _, err := l.Verdict(context.Background(), audit.Intent{Request: r, Decision: deny(r)}); err != nil {
					t.Fatal(err)
				}
			}
			if leaves < 0 {
				call(t, l, 1)
				dir := t.TempDir()
				copyLog(t, cfg.Dir, dir)
				cfg.Dir, m = filepath.Join(dir, "evidence"), m.keysOnly()
			}
			stop(t, l)
			if err := os.Remove(filepath.Join(cfg.Dir, "boot")); err != nil {
				t.Fatal(err)
			}
			l = start(t, cfg, m)
			leaf, err := l.Leaf(context.Background(), l.Size()-1)
			if err != nil || !strings.Contains(string(leaf), `"boot":5,`) {
				t.Errorf("the fifth boot wrote %s, %v", leaf, err)
			}
			stop(t, l)
			verifyOK(t, cfg.Dir, audit.VerifyOptions{Complete: true})
		})
	}
}

// Many segments: rotation, pruning of those that are sealed, recovery of those
// that are not.
func TestSegmentsRotate(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	cfg.WALBytes = 64 << 10
	l := start(t, cfg, m)
	var refs []audit.Ref
	seen := map[string]bool{} // sealed segments go away while others come
	for i := range 150 {
		a, b := call(t, l, i)
		refs = append(refs, a, b)
		names, _ := filepath.Glob(filepath.Join(cfg.Dir, "wal", "*.wal"))
		for _, n := range names {
			seen[n] = true
		}
	}
	if len(seen) < 2 {
		t.Errorf("segments %v, want several", seen)
	}
	dir := t.TempDir()
	copyLog(t, cfg.Dir, dir)
	if _, err := l.Prove(context.Background(), l.Size()-1); err != nil {
		t.Fatal(err)
	}
	stop(t, l)
	names, _ := filepath.Glob(filepath.Join(cfg.Dir, "wal", "*.wal"))
	if len(names) != 1 {
		t.Errorf("segments %v are left after everything was sealed", names)
	}
	cfg.Dir = filepath.Join(dir, "evidence")
	m2 := m.keysOnly()
	l = start(t, cfg, m2)
	for _, ref := range refs {
		mustHave(t, l, ref)
	}
	stop(t, l)
	verifyOK(t, cfg.Dir, audit.VerifyOptions{Complete: true})
}
