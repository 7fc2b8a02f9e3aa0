package audit_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rutile/internal/audit"
)

// put writes a file of a directory that is to be verified.
func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What stands beside a copy of log/ is no part of it, whatever it is called.
func TestNeighboursOfACopyAreNotRead(t *testing.T) {
	cfg, _, vkey := filled(t, 2)
	dir := t.TempDir()
	copyTree(t, filepath.Join(cfg.Dir, "log"), filepath.Join(dir, "copy"))
	put(t, dir, "checkpoints/3", "not a checkpoint")
	r := verifyOK(t, filepath.Join(dir, "copy"), audit.VerifyOptions{Keys: []string{vkey}})
	if r.Leaves == 0 || r.Payloads != 0 {
		t.Errorf("%+v", r)
	}
	if r := verifyOK(t, filepath.Join(cfg.Dir, "log"), audit.VerifyOptions{Keys: []string{vkey}}); r.Payloads == 0 {
		t.Error("the payloads beside log/ in its own directory were not read")
	}
}

// named adds a line for a file to a bundle's MANIFEST, as somebody who hands a
// bundle on can.
func named(t *testing.T, dir, name string) {
	t.Helper()
	sum := sha256.Sum256([]byte(get(t, dir, name)))
	put(t, dir, "MANIFEST", get(t, dir, "MANIFEST")+fmt.Sprintf("%x  %s\n", sum, name))
}

// A bundle that verifies holds nothing that was not verified.
func TestBundleHoldsOnlyWhatVerifies(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	for i := range 3 {
		call(t, l, i)
	}
	whole := filepath.Join(t.TempDir(), "bundle")
	if err := l.Export(context.Background(), audit.Query{}, whole, audit.ExportOptions{Disclose: true, Payloads: true}); err != nil {
		t.Fatal(err)
	}
	opts := audit.VerifyOptions{Keys: []string{l.VerifierKey()}}
	for name, change := range map[string]func(dir string){
		"a leaf nobody named":       func(dir string) { put(t, dir, "leaves/99.json", `{"forged":true}`) },
		"a disclosure nobody named": func(dir string) { put(t, dir, "disclosed/99.json", `[]`) },
		"a note at the top":         func(dir string) { put(t, dir, "README", "all of this is true") },
		"a directory at the top":    func(dir string) { put(t, dir, "more/leaves/1.json", "{}") },
		"a leaf without a proof": func(dir string) {
			put(t, dir, "leaves/99.json", get(t, dir, "leaves/1.json"))
			named(t, dir, "leaves/99.json")
		},
		"a proof without a leaf": func(dir string) {
			put(t, dir, "proofs/99.tlog-proof", get(t, dir, "proofs/1.tlog-proof"))
			named(t, dir, "proofs/99.tlog-proof")
		},
		"a leaf under a second name": func(dir string) {
			put(t, dir, "leaves/01.json", get(t, dir, "leaves/1.json"))
			put(t, dir, "proofs/01.tlog-proof", get(t, dir, "proofs/1.tlog-proof"))
			named(t, dir, "leaves/01.json")
			named(t, dir, "proofs/01.tlog-proof")
		},
		"a file twice in MANIFEST": func(dir string) { named(t, dir, "leaves/1.json") },
		"a file of no kind": func(dir string) {
			put(t, dir, "leaves/note.txt", "true")
			named(t, dir, "leaves/note.txt")
		},
		"a path out of it": func(dir string) {
			put(t, filepath.Dir(dir), "outside", "x")
			put(t, dir, "MANIFEST", get(t, dir, "MANIFEST")+fmt.Sprintf("%x  ../outside\n", sha256.Sum256([]byte("x"))))
		},
	} {
		dir := filepath.Join(t.TempDir(), "bundle")
		copyTree(t, whole, dir)
		change(dir)
		r, err := audit.Verify(dir, opts)
		if err != nil || r.ExitStatus() != audit.ExitProblems {
			t.Errorf("%s: status %d, %v", name, r.ExitStatus(), err)
		}
	}
	verifyOK(t, whole, opts)
}

// Leaves handed over as one proof belong together: the outcome of one call is
// not that of another.
func TestProofsOfDifferentCallsDoNotPair(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	var all []audit.Proven
	for i := range 2 {
		for _, ref := range first2(call(t, l, i)) {
			p, err := l.Prove(context.Background(), ref.Index)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, audit.Proven{Index: p.Index, Proof: p.Text(), Leaf: p.Leaf})
		}
	}
	opts := audit.VerifyOptions{Keys: []string{l.VerifierKey()}}
	for name, tt := range map[string]struct {
		proven []audit.Proven
		want   int
	}{
		"both calls":               {all, audit.ExitVerified},
		"one leaf":                 {all[1:2], audit.ExitVerified},
		"an outcome of another":    {[]audit.Proven{all[0], all[3]}, audit.ExitLacking},
		"two intents":              {[]audit.Proven{all[0], all[2]}, audit.ExitLacking},
		"a leaf twice":             {[]audit.Proven{all[0], all[1], all[1]}, audit.ExitProblems},
		"a leaf under a false one": {[]audit.Proven{{Index: 9, Proof: all[0].Proof, Leaf: all[0].Leaf}}, audit.ExitProblems},
		"nothing":                  {nil, audit.ExitLacking},
	} {
		r, err := audit.VerifyProofs(tt.proven, opts)
		if err != nil || r.ExitStatus() != tt.want {
			t.Errorf("%s: status %d, want %d: %q %q %v", name, r.ExitStatus(), tt.want, r.Problems, r.Lacking, err)
		}
	}
}

func first2(a, b audit.Ref) []audit.Ref { return []audit.Ref{a, b} }

// A log that signed two histories is convicted by two proofs of one size.
func TestTwoHistoriesConvict(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	stop(t, start(t, cfg, m))
	fork := t.TempDir()
	copyLog(t, cfg.Dir, fork)
	var proven []audit.Proven
	var key string
	for index, dir := range []string{cfg.Dir, filepath.Join(fork, "evidence")} {
		cfg.Dir, cfg.KeyFile = dir, ""
		l := start(t, cfg, m.keysOnly())
		key = l.VerifierKey()
		p, err := l.Prove(context.Background(), uint64(index)) // leaves both histories have
		if err != nil {
			t.Fatal(err)
		}
		proven = append(proven, audit.Proven{Index: p.Index, Proof: p.Text(), Leaf: p.Leaf})
		stop(t, l)
	}
	opts := audit.VerifyOptions{Keys: []string{key}}
	for _, p := range proven {
		if r, err := audit.VerifyProof(p.Proof, p.Leaf, opts); err != nil || r.ExitStatus() != 0 {
			t.Fatalf("%+v %v", r, err)
		}
	}
	r, err := audit.VerifyProofs(proven, opts)
	if err != nil || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "two histories") {
		t.Errorf("problems %q, %v", r.Problems, err)
	}
}
