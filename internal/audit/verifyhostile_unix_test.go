//go:build unix

package audit_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"rutile/internal/audit"
)

// Whatever stands in the place of a file, the verifier neither waits for it nor
// reads it without end, and what it says of the rest is not "verified".
func TestVerifierIsNotHeldUp(t *testing.T) {
	cfg, m, vkey := filled(t, 300)
	l := start(t, cfg, m)
	bundle := filepath.Join(t.TempDir(), "bundle")
	if err := l.Export(context.Background(), audit.Query{Before: 20}, bundle, audit.ExportOptions{Payloads: true, Disclose: true}); err != nil {
		t.Fatal(err)
	}
	stop(t, l)
	obstacles := map[string]func(path string) error{
		"a pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a device":    func(path string) error { return os.Symlink("/dev/zero", path) },
		"a way out":   func(path string) error { return os.Symlink("/etc/passwd", path) },
		"itself":      func(path string) error { return os.Symlink(filepath.Base(path), path) },
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"a huge file": func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40)) },
	}
	for root, names := range map[string][]string{
		cfg.Dir: {"log/checkpoint", "log/tile/0/000", "log/tile/1/000.p/2", "log/tile/entries/000", "checkpoints/5", "payload/decision/209901/0000000000000001.pack", "payload/decision", "checkpoints"},
		bundle:  {"MANIFEST", "leaves/1.json", "proofs/1.tlog-proof", "disclosed/1.json", "payload/1.bin", "trust/policy", "leaves", "extra"},
	} {
		for _, name := range names {
			for what, obstruct := range obstacles {
				path := filepath.Join(root, name)
				kept := filepath.Join(t.TempDir(), "kept")
				had := os.Rename(path, kept) == nil
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), obstruct(path)); err != nil {
					t.Fatal(err)
				}
				r, err := audit.Verify(root, audit.VerifyOptions{Keys: []string{vkey}})
				// A pack that holds nothing and an empty directory of them are not
				// wrong: payloads may go.
				pruned := strings.Contains(name, "payload/decision") && (what == "a huge file" || what == "a directory") || what == "a directory" && name == "checkpoints"
				if err == nil && r.ExitStatus() != audit.ExitProblems && !pruned {
					t.Errorf("%s in the place of %s: status %d", what, name, r.ExitStatus())
				}
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
				if had {
					if err := os.Rename(kept, path); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	if err := os.RemoveAll(filepath.Join(cfg.Dir, "payload/decision/209901")); err != nil {
		t.Fatal(err)
	}
	verifyOK(t, cfg.Dir, audit.VerifyOptions{Keys: []string{vkey}})
	verifyOK(t, bundle, audit.VerifyOptions{Keys: []string{vkey}})
}
