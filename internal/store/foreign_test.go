package store_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"rutile/internal/store"
)

// A file of another program is read and not written, and only what is a table.
func TestForeignFilesAreOnlyRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "opencode.db")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		`PRAGMA journal_mode = WAL`,
		`CREATE TABLE project (id TEXT, worktree TEXT)`,
		`INSERT INTO project VALUES ('a', '/src/one'), ('b', '/src/two'), ('c', NULL)`,
		`CREATE VIEW endless AS WITH RECURSIVE n(worktree) AS (SELECT 1 UNION ALL SELECT worktree + 1 FROM n) SELECT worktree FROM n`,
	} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	live, err := store.ForeignRows(t.Context(), file, "project", "worktree", 10) // the other program has it open
	if err != nil || len(live) != 2 {
		t.Errorf("rows %q, %v", live, err)
	}
	db.Close()
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.ForeignRows(t.Context(), file, "project", "worktree", 10)
	if err != nil || !slices.Equal(got, []string{"/src/one", "/src/two"}) {
		t.Errorf("rows %q, %v", got, err)
	}
	if got, err := store.ForeignRows(t.Context(), file, "project", "worktree", 1); err != nil || len(got) != 1 {
		t.Errorf("the limit: %q, %v", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, c := range [][2]string{{"endless", "worktree"}, {"nowhere", "worktree"}, {"project", "nothing"}, {`project"; DROP TABLE project; --`, "worktree"}} {
		if got, err := store.ForeignRows(ctx, file, c[0], c[1], 10); err == nil {
			t.Errorf("%q has rows %q", c, got)
		}
	}
	after, err := os.ReadFile(file)
	if err != nil || !slices.Equal(before, after) {
		t.Errorf("the file changed: %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("something was left beside it: %v, %v", entries, err)
	}
	other := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(other, []byte("no database, but s3cr3t"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.ForeignRows(t.Context(), other, "project", "worktree", 10); err == nil {
		t.Error("what is no database was read")
	}
	if _, err := store.ForeignRows(t.Context(), filepath.Join(t.TempDir(), "none.db"), "project", "worktree", 10); err == nil {
		t.Error("what is not there was read")
	}
}
