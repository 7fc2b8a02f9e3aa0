//go:build unix

package daemon_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"rutile/internal/access"
	"rutile/internal/daemon"
)

// refused starts a daemon that must not start.
func refused(t *testing.T, cfg daemon.Config, code access.Code, want ...string) {
	t.Helper()
	cfg.Listen = free
	d, err := daemon.New(t.Context(), cfg, daemon.Options{Log: io.Discard})
	if err == nil {
		_ = d.Close(context.Background())
		t.Fatal("it started")
	}
	if access.CodeOf(err) != code {
		t.Errorf("code %q, want %q", access.CodeOf(err), code)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// TestOpenDirectoryOfOthersIsLeftAlone: a directory named by mistake, a home or
// /tmp, keeps its mode and its content.
func TestOpenDirectoryOfOthersIsLeftAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "letter"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	refused(t, daemon.Config{Data: dir}, access.CodeInvalid, dir, "0755", "directory of its own")
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o755 {
		t.Errorf("the directory's mode became %v, %v", fi.Mode(), err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("the refused start left %d files", len(entries)-1)
	}
}

// TestOwnDirectoryIsClosedAgain: what was opened to others between two starts.
func TestOwnDirectoryIsClosedAgain(t *testing.T) {
	dir := t.TempDir()
	d := start(t, daemon.Config{Data: dir})
	if err := d.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d = start(t, daemon.Config{Data: dir})
	defer d.Close(context.Background())
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v; want 0700", fi.Mode(), err)
	}
}

// TestEveryFileIsTheOwnersOnly whatever the umask is.
func TestEveryFileIsTheOwnersOnly(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(t.TempDir(), "data")
	d := start(t, daemon.Config{Data: dir})
	defer d.Close(context.Background())
	n := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // renamed meanwhile
		}
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if n++; err == nil && fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, fi.Mode())
		}
		return err
	})
	if err != nil || n < 10 {
		t.Fatalf("%d files, %v", n, err)
	}
}

func TestLongDataDirectoryIsRefusedBeforeAnythingIsMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("x", 100))
	refused(t, daemon.Config{Data: dir}, access.CodeInvalid, "too long for a unix socket")
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory was made: %v", err)
	}
}

// TestLostNodeIsNotReplaced: evidence goes on under the name it began with.
func TestLostNodeIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	d := start(t, daemon.Config{Data: dir})
	if err := d.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	node := filepath.Join(dir, "node")
	id, err := os.ReadFile(node)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(node); err != nil {
		t.Fatal(err)
	}
	refused(t, daemon.Config{Data: dir}, access.CodeConflict, node, "restore it")
	if _, err := os.Stat(node); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("another node was made: %v", err)
	}
	if err := os.WriteFile(node, id, 0o600); err != nil {
		t.Fatal(err)
	}
	d = start(t, daemon.Config{Data: dir})
	defer d.Close(context.Background())
}

// TestLostVaultKeyIsNotReplaced: what is sealed stays sealed, and is not joined
// by what another key seals.
func TestLostVaultKeyIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	d := start(t, daemon.Config{Data: dir})
	if err := d.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	key, safe := filepath.Join(dir, "vault.key"), filepath.Join(t.TempDir(), "safe")
	if err := os.Rename(key, safe); err != nil {
		t.Fatal(err)
	}
	refused(t, daemon.Config{Data: dir}, access.CodeConflict, key, "missing", "restore it")
	if _, err := os.Stat(key); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("another key was made: %v", err)
	}
	// The key may lie where no backup of the data goes.
	d = start(t, daemon.Config{Data: dir, Vault: daemon.Vault{KeyFile: safe}})
	if err := d.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// TestLostDatabaseIsSaid: the gateway starts, and nobody has to find out from
// what is denied.
func TestLostDatabaseIsSaid(t *testing.T) {
	dir := t.TempDir()
	for n, want := range []bool{false, false, true} {
		if want {
			for _, name := range []string{"rutile.db", "rutile.db-wal", "rutile.db-shm"} {
				if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
			}
		}
		var log strings.Builder
		d, err := daemon.New(t.Context(), daemon.Config{Data: dir, Listen: free}, daemon.Options{Log: &log})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), "the database is new although there is evidence"); got != want {
			t.Errorf("start %d: said %t, want %t:\n%s", n+1, got, want, log.String())
		}
	}
}

// TestPassphraseSealsTheData: with it no key lies beside what it opens, and
// without it, or with another, nothing starts.
func TestPassphraseSealsTheData(t *testing.T) {
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "passphrase")
	write := func(phrase string) {
		if err := os.WriteFile(file, []byte(phrase), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := daemon.Config{Data: dir, Vault: daemon.Vault{PassphraseFile: file}}
	refused(t, cfg, access.CodeInvalid, file)
	write("correct horse battery\n")
	for range 2 {
		d := start(t, cfg)
		if err := d.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "vault.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a key file: %v", err)
	}
	refused(t, daemon.Config{Data: dir}, access.CodeConflict, "vault.key", "missing")
	write("another horse battery")
	refused(t, cfg, access.CodeEvidence, "sealing key")
}

// TestOneDirectoryUnderTwoNamesIsOne: a symbolic link does not get a second
// daemon past the lock, and the socket works through it.
func TestOneDirectoryUnderTwoNamesIsOne(t *testing.T) {
	tmp := t.TempDir()
	dir, link := filepath.Join(tmp, "data"), filepath.Join(tmp, "link")
	d := start(t, daemon.Config{Data: dir})
	defer d.Close(context.Background())
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	refused(t, daemon.Config{Data: link}, access.CodeConflict, "already uses this data directory")
	if _, err := os.Stat(filepath.Join(dir, daemon.SocketName)); err != nil {
		t.Errorf("the refused start took the socket of the running one: %v", err)
	}
}

// TestUnusableDirectoryIsNamed: each says what is wrong with which path.
func TestUnusableDirectoryIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, daemon.Config{Data: file}, access.CodeUnavailable, file, "not a directory")
	refused(t, daemon.Config{Data: filepath.Join(file, "below")}, access.CodeUnavailable, file, "not a directory")
	refused(t, daemon.Config{Data: "/proc/rutile"}, access.CodeUnavailable, "/proc/rutile", "cannot be made")
}
