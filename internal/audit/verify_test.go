package audit_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/audit"
)

// filled returns a closed log of n calls, one denial and one change, and its
// verifier key.
func filled(t *testing.T, n int) (cfg audit.Config, m *memory, vkey string) {
	t.Helper()
	cfg, m = config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	for i := range n {
		call(t, l, i)
	}
	r := request(t, n)
	if _, err := l.Verdict(context.Background(), audit.Intent{Request: r, Decision: deny(r)}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Admin(context.Background(), change()); err != nil {
		t.Fatal(err)
	}
	vkey = l.VerifierKey()
	stop(t, l)
	return cfg, m, vkey
}

func change() audit.Admin {
	return audit.Admin{
		ID: "chg_1", Actor: "user:roberta", Verb: "approve", Kind: "server", Object: "files", Before: "sha256:a", After: "sha256:b",
		Reason: "reviewed with Carol", Detail: []byte(`{"state":"sanctioned"}`),
	}
}

func verifyOK(t *testing.T, path string, opts audit.VerifyOptions) audit.Report {
	t.Helper()
	r, err := audit.Verify(path, opts)
	if err != nil {
		t.Fatalf("verifying %s: %v", path, err)
	}
	if r.ExitStatus() != audit.ExitVerified {
		t.Fatalf("%s: status %d, problems %q, lacking %q", path, r.ExitStatus(), r.Problems, r.Lacking)
	}
	return r
}

func TestWholeLogVerifies(t *testing.T) {
	cfg, _, vkey := filled(t, 300) // 605 leaves: full and partial tiles of two levels
	r := verifyOK(t, cfg.Dir, audit.VerifyOptions{Keys: []string{vkey}, Complete: true})
	want := audit.Report{
		Path: cfg.Dir, Kind: "log", Origin: testOrigin, Key: vkey, Size: 604, Root: r.Root, Leaves: 604, Payloads: 602,
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	copyTree(t, filepath.Join(cfg.Dir, "log"), copied)
	r = verifyOK(t, copied, audit.VerifyOptions{})
	if !r.SelfTrusted || r.Key != vkey || r.Missing != 602 {
		t.Errorf("a copy of log/: self-trusted %v, key %s, %d payloads missing", r.SelfTrusted, r.Key, r.Missing)
	}
}

func TestForeignKeyDoesNotVerify(t *testing.T) {
	cfg, _, _ := filled(t, 1)
	_, _, other := filled(t, 1)
	r, err := audit.Verify(cfg.Dir, audit.VerifyOptions{Keys: []string{other}})
	if err != nil || r.ExitStatus() != audit.ExitProblems {
		t.Errorf("status %d, error %v", r.ExitStatus(), err)
	}
}

// Every byte of every file of a small log is changed in turn: each must be
// noticed.
func TestEveryAlteredByteIsFound(t *testing.T) {
	cfg, _, vkey := filled(t, 2)
	step := 7
	if long() {
		step = 1
	}
	for _, sub := range []string{"log", "payload"} {
		root := filepath.Join(cfg.Dir, sub)
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || superseded(path) {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for i := 0; i < len(b); i += step {
				alter(t, cfg.Dir, vkey, path, b, i)
			}
			return os.WriteFile(path, b, 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	verifyOK(t, cfg.Dir, audit.VerifyOptions{Keys: []string{vkey}})
}

// superseded reports whether a newer partial tile stands beside path: a
// verifier has no use for the older one.
func superseded(path string) bool {
	dir := filepath.Dir(path)
	if !strings.HasSuffix(dir, ".p") {
		return false
	}
	have, _ := strconv.Atoi(filepath.Base(path))
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if w, _ := strconv.Atoi(e.Name()); w > have {
			return true
		}
	}
	return false
}

func alter(t *testing.T, dir, vkey, path string, b []byte, i int) {
	t.Helper()
	bad := bytes.Clone(b)
	bad[i] ^= 0x15
	if err := os.WriteFile(path, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := audit.Verify(dir, audit.VerifyOptions{Keys: []string{vkey}})
	if err != nil {
		return // could not run: noticed
	}
	if strings.HasSuffix(path, ".pack") {
		if r.Missing == 0 && len(r.Problems) == 0 {
			t.Errorf("%s: byte %d changed and every payload verifies", path, i)
		}
		return
	}
	if r.ExitStatus() != audit.ExitProblems {
		t.Errorf("%s: byte %d changed (%q to %q) and the status is %d", path, i, b[i], bad[i], r.ExitStatus())
	}
}

func TestUnansweredIntentIsVisible(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	r := request(t, 1)
	ref, err := l.Intent(context.Background(), audit.Intent{Request: r, Decision: permit(r)})
	if err != nil {
		t.Fatal(err)
	}
	stop(t, l)
	rep := verifyOK(t, cfg.Dir, audit.VerifyOptions{})
	if diff := cmp.Diff([]uint64{ref.Index}, rep.Unmatched); diff != "" {
		t.Error(diff)
	}
	rep, err = audit.Verify(cfg.Dir, audit.VerifyOptions{Complete: true})
	if err != nil || rep.ExitStatus() != audit.ExitLacking {
		t.Errorf("demanding completeness: status %d, error %v", rep.ExitStatus(), err)
	}
	stop(t, start(t, cfg, m)) // the next boot closes it
	rep = verifyOK(t, cfg.Dir, audit.VerifyOptions{Complete: true})
	if len(rep.Unmatched) != 0 {
		t.Errorf("after a restart %v are unmatched", rep.Unmatched)
	}
}

// A call that asked its client for input may end once more, when nobody comes
// back; any other call ends once, but for a late result.
func TestOutcomesEndACallOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		ends []audit.Status
		want int
	}{
		"once":                 {[]audit.Status{audit.StatusOK}, audit.ExitVerified},
		"late":                 {[]audit.Status{audit.StatusTimeout, audit.StatusLateResult}, audit.ExitVerified},
		"asked":                {[]audit.Status{audit.StatusInputRequired}, audit.ExitVerified},
		"asked in vain":        {[]audit.Status{audit.StatusInputRequired, audit.StatusTimeout}, audit.ExitVerified},
		"asked, came too late": {[]audit.Status{audit.StatusInputRequired, audit.StatusTimeout, audit.StatusLateResult}, audit.ExitVerified},
		"twice":                {[]audit.Status{audit.StatusOK, audit.StatusTimeout}, audit.ExitProblems},
		"asked twice":          {[]audit.Status{audit.StatusInputRequired, audit.StatusInputRequired, audit.StatusOK}, audit.ExitProblems},
		"asked, ended twice":   {[]audit.Status{audit.StatusInputRequired, audit.StatusTimeout, audit.StatusOK}, audit.ExitProblems},
		"asked after its end":  {[]audit.Status{audit.StatusOK, audit.StatusInputRequired}, audit.ExitProblems},
	} {
		cfg, m := config(t.TempDir()), newMemory()
		l := start(t, cfg, m)
		r := request(t, 1)
		intent, err := l.Intent(context.Background(), audit.Intent{Request: r, Decision: permit(r)})
		if err != nil {
			t.Fatal(err)
		}
		for _, status := range tt.ends {
			o := outcomeOf(r, intent)
			o.Status = status
			if _, err := l.Outcome(context.Background(), o); err != nil {
				t.Fatal(err)
			}
		}
		stop(t, l)
		got, err := audit.Verify(cfg.Dir, audit.VerifyOptions{Complete: true})
		if err != nil || got.ExitStatus() != tt.want {
			t.Errorf("%s: status %d, want %d: %q %q %v", name, got.ExitStatus(), tt.want, got.Problems, got.Lacking, err)
		}
	}
}

func TestProofOfOneCall(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	for i := range 5 {
		call(t, l, i)
	}
	proofs, err := l.ProveCall(context.Background(), request(t, 3).ID)
	if err != nil || len(proofs) != 2 {
		t.Fatalf("%d proofs, error %v", len(proofs), err)
	}
	opts := audit.VerifyOptions{Keys: []string{l.VerifierKey()}}
	for _, p := range proofs {
		r, err := audit.VerifyProof(p.Text(), p.Leaf, opts)
		if err != nil || r.ExitStatus() != 0 || r.Leaves != 1 {
			t.Errorf("leaf %d: %+v, error %v", p.Index, r, err)
		}
		again, err := audit.ParseProof(p.Text())
		if err != nil {
			t.Fatal(err)
		}
		again.Leaf = p.Leaf
		if diff := cmp.Diff(p, again); diff != "" {
			t.Errorf("proof read back (-want +got):\n%s", diff)
		}
		forged := bytes.Replace(p.Leaf, []byte(`"v":1`), []byte(`"v":1 `), 1)
		if r, err := audit.VerifyProof(p.Text(), forged, opts); err != nil || r.ExitStatus() != audit.ExitProblems {
			t.Errorf("a forged leaf: status %d, error %v", r.ExitStatus(), err)
		}
	}
	if r, _ := audit.VerifyProof(proofs[0].Text(), proofs[1].Leaf, opts); r.ExitStatus() != audit.ExitProblems {
		t.Error("the proof of one leaf proves another")
	}
	if _, err := audit.VerifyProof(proofs[0].Text(), proofs[0].Leaf, audit.VerifyOptions{}); err == nil {
		t.Error("a leaf vouches for its own log")
	}
	dir := filepath.Join(t.TempDir(), "proofs")
	if err := l.ExportProofs(proofs, dir); err != nil {
		t.Fatal(err)
	}
	if r := verifyOK(t, dir, audit.VerifyOptions{}); r.Leaves != 2 || !r.SelfTrusted {
		t.Errorf("bundle: %+v", r)
	}
	verifyOK(t, filepath.Join(dir, "proofs", strconv.FormatUint(proofs[0].Index, 10)+".tlog-proof"), opts)
}

func TestBundleVerifiesAndShowsAlteration(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	for i := range 4 {
		call(t, l, i)
	}
	if _, err := l.Admin(context.Background(), change()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "bundle")
	err := l.Export(context.Background(), audit.Query{Agent: "release-bot"}, dir, audit.ExportOptions{Disclose: true, Payloads: true})
	if err != nil {
		t.Fatal(err)
	}
	stop(t, l)
	r := verifyOK(t, dir, audit.VerifyOptions{Keys: []string{l.VerifierKey()}})
	if r.Leaves != 8 || r.Payloads != 8 || r.Opened != 8 {
		t.Errorf("%d leaves, %d payloads, %d opened, want 8 of each", r.Leaves, r.Payloads, r.Opened)
	}
	verifyOK(t, cfg.Dir, audit.VerifyOptions{}) // with the kept checkpoint
	if names, _ := os.ReadDir(filepath.Join(cfg.Dir, "checkpoints")); len(names) != 1 {
		t.Errorf("%d checkpoints kept, want the one that was exported", len(names))
	}
	for _, sub := range []string{"leaves", "proofs", "disclosed", "payload"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil || len(entries) == 0 {
			t.Fatalf("%s: %d entries, %v", sub, len(entries), err)
		}
		name := filepath.Join(dir, sub, entries[0].Name())
		b, _ := os.ReadFile(name)
		bad := bytes.Clone(b)
		bad[len(bad)/2] ^= 1
		os.WriteFile(name, bad, 0o600)
		if r, err := audit.Verify(dir, audit.VerifyOptions{}); err == nil && r.ExitStatus() != audit.ExitProblems {
			t.Errorf("%s altered: status %d", sub, r.ExitStatus())
		}
		os.WriteFile(name, b, 0o600)
	}
	if err := l.Export(context.Background(), audit.Query{}, dir, audit.ExportOptions{}); err == nil {
		t.Error("exported into a directory that is not empty")
	}
}

// The verifier's files must build alone: a reader of them needs to trust
// nothing else of this program.
func TestVerifierStandsAlone(t *testing.T) {
	files, err := filepath.Glob("verify*.go")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"vet", "tile.go", "checkpoint.go", "canon.go", "policyfile.go"}
	for _, f := range files {
		if !strings.HasSuffix(f, "_test.go") {
			args = append(args, f)
		}
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, f := range args[1:] {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(b), "\n") {
			path, ok := strings.CutPrefix(strings.TrimSpace(line), `"`)
			path, quoted := strings.CutSuffix(path, `"`)
			if ok && quoted && strings.Contains(path, ".") && strings.Contains(path, "/") && !strings.HasPrefix(path, "golang.org/x/mod/") || ok && quoted && strings.HasPrefix(path, "rutile/") {
				t.Errorf("%s imports %s", f, path)
			}
		}
	}
}
