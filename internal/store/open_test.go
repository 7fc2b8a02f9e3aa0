package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/identity"
	"rutile/internal/registry"
	"rutile/internal/store"
)

func sqliteConfig(t *testing.T) store.Config { return config(t, "sqlite") }

func TestSecondDaemonOnOneFileIsRefused(t *testing.T) {
	cfg := sqliteConfig(t)
	s := open(t, cfg)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(filepath.Join(cfg.Dir, "rutile.db"), link); err != nil {
		t.Fatal(err)
	}
	for _, second := range []store.Config{cfg, {DSN: "sqlite:" + filepath.Join(cfg.Dir, "rutile.db")}, {DSN: "sqlite:" + link}} {
		_, err := store.Open(t.Context(), second)
		if access.CodeOf(err) != access.CodeConflict || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) || !strings.Contains(err.Error(), "rutile.db.lock") {
			t.Errorf("got %v, want a conflict that names the process and the lock file", err)
		}
	}
	commit(t, s, everything()) // the first is not disturbed
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, cfg)
}

func TestOnlyTheOwnerCanReadTheFiles(t *testing.T) {
	cfg := sqliteConfig(t)
	cfg.Dir = filepath.Join(cfg.Dir, "new", "data")
	s := open(t, cfg)
	commit(t, s, everything())
	check := func(name string, want os.FileMode) {
		t.Helper()
		fi, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := fi.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", filepath.Base(name), got, want)
		}
	}
	check(cfg.Dir, 0o700)
	for _, name := range []string{"rutile.db", "rutile.db-wal", "rutile.db-shm", "rutile.db.lock"} {
		check(filepath.Join(cfg.Dir, name), 0o600)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(cfg.Dir, "rutile.db"), 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, cfg)
	check(filepath.Join(cfg.Dir, "rutile.db"), 0o600)
}

// A path is a path, whatever a URI would make of it.
func TestPathIsTakenLiterally(t *testing.T) {
	for _, name := range []string{"a b?mode=memory.db", "c#d%20e.db", "f&_pragma=x;.db", "日本.db"} {
		path := filepath.Join(t.TempDir(), name)
		cfg := store.Config{DSN: "sqlite:" + path}
		s := open(t, cfg)
		commit(t, s, everything())
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if fi, err := os.Stat(path); err != nil || fi.Size() == 0 {
			t.Errorf("%q: %v", name, err)
		}
		if gen := must[uint64](t)(open(t, cfg).Generation(t.Context())); gen != 1 {
			t.Errorf("%q: generation is %d", name, gen)
		}
	}
}

func TestBadAddressIsRefusedWithoutRepeatingIt(t *testing.T) {
	for _, dsn := range []string{"mysql://u:hunter2@h/d", "hunter2", "postgres://u:hunter2@host:port/d", "postgres://u:hunter2@[::1/d", "postgres://u:hunter2@h/d?sslmode=hunter2", "SQLITE:hunter2"} {
		_, err := store.Open(t.Context(), store.Config{DSN: dsn, Dir: t.TempDir()})
		if access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("%s: got %v, want invalid", dsn, err)
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if strings.Contains(e.Error(), "hunter2") {
				t.Errorf("the error repeats the address: %v", e)
			}
		}
	}
}

func TestUnusableFilesAreNamed(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("dear diary ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "foreign.db")
	db := must[*sql.DB](t)(sql.Open("sqlite", foreign))
	if _, err := db.Exec("CREATE TABLE bookmarks (url)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]access.Code{
		dir: access.CodeUnavailable, filepath.Join(text, "x.db"): access.CodeUnavailable, text: access.CodeUnavailable, foreign: access.CodeConflict,
	} {
		_, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + path})
		if access.CodeOf(err) != want || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %s and the path", path, err, want)
		}
	}
	if b, err := os.ReadFile(text); err != nil || !strings.HasPrefix(string(b), "dear diary") {
		t.Errorf("a file that is no database was changed: %v", err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		commit(t, s, everything())
		know := must[int64](t)(s.SchemaVersion(t.Context()))
		if _, err := s.Writer().Exec("INSERT INTO rutile_schema (version_id, is_applied) VALUES ($1, true)", know+1); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := store.Open(t.Context(), cfg)
		for _, word := range []string{fmt.Sprint("version ", know+1), "newer Rutile", "backup"} {
			if access.CodeOf(err) != access.CodeConflict || !strings.Contains(err.Error(), word) {
				t.Errorf("got %v, want a conflict that says %q", err, word)
			}
		}
	})
}

func TestEveryEarlierSchemaIsMigrated(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		know := must[int64](t)(s.SchemaVersion(t.Context()))
		if know < 2 {
			t.Fatalf("there are %d versions", know)
		}
		for _, version := range earlier(know) {
			cfg := config(t, s.Dialect())
			old := must[*store.Store](t)(store.OpenAt(t.Context(), cfg, version))
			commit(t, old, everythingAt(version))
			must[identity.Family](t)(old.JoinFamily(t.Context(), family("ses_1", 0), idle))
			if version == 2 || version == 3 { // with an index that has what it needs no more
				if _, err := old.Writer().Exec("INSERT INTO evidence_marks (origin, size) VALUES ($1, 7)", origin); err != nil {
					t.Fatal(err)
				}
				if _, err := old.Writer().Exec("INSERT INTO evidence (origin, idx, at, type, words, doc) VALUES ($1, 2, 3, 'intent', 'release', '{}')", origin); err != nil {
					t.Fatal(err)
				}
			}
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			s := open(t, cfg)
			if got := must[registry.Content](t)(s.LoadRegistry(t.Context())); got.Generation != 1 || len(got.Tools) != 4 {
				t.Errorf("from version %d: generation %d with %d tools", version, got.Generation, len(got.Tools))
			}
			if _, ok, err := s.LoadFamily(t.Context(), "ses_1"); !ok || err != nil {
				t.Errorf("from version %d: the session is lost: %v", version, err)
			}
			if mark := must[uint64](t)(s.Watermark(t.Context(), origin)); mark != 0 {
				t.Errorf("from version %d: the index is thought to hold %d leaves", version, mark)
			}
			putRows(t, s, rowsUpTo(3), 3)
			if got := search(t, s, audit.Query{Text: "release"}); len(got) != 3 {
				t.Errorf("from version %d: %d rows are found", version, len(got))
			}
		}
	})
}

// earlier are the versions before know that are migrated from. Each runs every later
// migration, so the short form takes those whose rows need care, every fifth and the last
// three: a migration is run from before it by each.
func earlier(know int64) []int64 {
	var out []int64
	for v := int64(1); v < know; v++ {
		if !testing.Short() || v <= 5 || v%5 == 0 || v >= know-3 {
			out = append(out, v)
		}
	}
	return out
}

// everythingAt is everything an earlier schema has tables for.
func everythingAt(version int64) admin.Changes {
	c := everything()
	if version < 5 {
		c.Users = nil
	}
	return c
}

func TestFailedMigrationLeavesTheOldSchema(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		cfg := config(t, s.Dialect())
		old := must[*store.Store](t)(store.OpenAt(t.Context(), cfg, 1))
		commit(t, old, everythingAt(1))
		// The last table of the second migration is in the way.
		if _, err := old.Writer().Exec("CREATE TABLE evidence_marks (x TEXT)"); err != nil {
			t.Fatal(err)
		}
		if err := old.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := store.Open(t.Context(), cfg)
		if err == nil || strings.Contains(err.Error(), "CREATE") {
			t.Fatalf("got %v, want an error without SQL", err)
		}
		again := must[*store.Store](t)(store.OpenAt(t.Context(), cfg, 1))
		if _, err := again.Writer().Exec("DROP TABLE evidence_marks"); err != nil {
			t.Fatal(err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		if gen := must[uint64](t)(s.Generation(t.Context())); gen != 1 {
			t.Errorf("generation is %d", gen)
		}
		putRows(t, s, rowsUpTo(3), 3)
	})
}

func TestPingSaysWhetherTheDatabaseAnswers(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		if want, _, _ := strings.Cut(cfg.DSN, ":"); s.Dialect() != want {
			t.Errorf("dialect is %s, want %s", s.Dialect(), want)
		}
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("closing again: %v", err)
		}
		if err := s.Ping(t.Context()); access.CodeOf(err) != access.CodeUnavailable {
			t.Errorf("after close: got %v, want unavailable", err)
		}
		if _, err := s.Commit(t.Context(), admin.Changes{}); access.CodeOf(err) != access.CodeUnavailable {
			t.Errorf("after close: got %v, want unavailable", err)
		}
	})
}

func TestEndedContextIsSaid(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Commit(gone, everything()); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want cancelled", err)
		}
		late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		if _, err := s.LoadRegistry(late); access.CodeOf(err) != access.CodeTimeout {
			t.Errorf("got %v, want a timeout", err)
		}
		if diff := cmp.Diff(registry.Content{}, must[registry.Content](t)(s.LoadRegistry(t.Context()))); diff != "" {
			t.Errorf("a cancelled commit changed something:\n%s", diff)
		}
	})
}

func TestFullDiskIsSaidAndHarmless(t *testing.T) {
	s := open(t, sqliteConfig(t))
	commit(t, s, everything())
	before := must[registry.Content](t)(s.LoadRegistry(t.Context()))
	var pages int
	if err := s.Writer().QueryRow("PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Writer().Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
		t.Fatal(err)
	}
	big := server("files")
	big.StateWhy = strings.Repeat("secret value ", 100_000)
	_, err := s.Commit(t.Context(), admin.Changes{Base: 1, Servers: map[string]*registry.Server{"files": big}})
	if access.CodeOf(err) != access.CodeUnavailable || !strings.Contains(err.Error(), "no space") || strings.Contains(err.Error(), "secret") {
		t.Fatalf("got %v, want unavailable for want of space", err)
	}
	if diff := cmp.Diff(before, must[registry.Content](t)(s.LoadRegistry(t.Context()))); diff != "" {
		t.Errorf("a refused commit changed something:\n%s", diff)
	}
	if _, err := s.Writer().Exec("PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	commit(t, s, admin.Changes{Base: 1, Servers: map[string]*registry.Server{"files": big}})
}

func TestReadOnlyDatabaseIsSaid(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		set, unset := "PRAGMA query_only = 1", "PRAGMA query_only = 0"
		if s.Dialect() == "postgres" {
			s.Writer().SetMaxOpenConns(1)
			set, unset = "SET default_transaction_read_only = on", "SET default_transaction_read_only = off"
		}
		if _, err := s.Writer().Exec(set); err != nil {
			t.Fatal(err)
		}
		for name, err := range map[string]error{
			"commit": func() error { _, err := s.Commit(t.Context(), everything()); return err }(),
			"meta":   s.SetMeta(t.Context(), "k", "v"),
			"rows":   s.PutRows(t.Context(), origin, rowsUpTo(1), 1),
		} {
			if access.CodeOf(err) != access.CodeUnavailable || !strings.Contains(err.Error(), "cannot be written") {
				t.Errorf("%s: got %v, want unavailable because it cannot be written", name, err)
			}
		}
		if _, err := s.Writer().Exec(unset); err != nil {
			t.Fatal(err)
		}
		commit(t, s, everything())
	})
}
