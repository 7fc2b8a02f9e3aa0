// Package storetest gives tests databases that are up to date already.
//
// To bring a new database up to date costs more than most tests do with it. Here
// it is done once for a test binary, and each test gets a copy of the empty
// database. Tests of the migrations open the store on nothing, as a first start
// does.
package storetest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"rutile/internal/store"
	"rutile/internal/store/pgtest"
)

const database = "rutile.db"

// empty is an empty SQLite database of this version.
var empty = sync.OnceValues(func() ([]byte, error) { //nolint:gochecknoglobals // made once for a test binary, and never changed
	dir, err := os.MkdirTemp("", "storetest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	s, err := store.Open(context.Background(), store.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil { // what it wrote is in one file then
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, database))
})

// Dir returns a temporary directory with an empty database, for
// store.Config.Dir.
func Dir(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	Seed(tb, dir)
	return dir
}

// Seed puts an empty database into a directory that is empty or not there; any
// other is left as it is.
func Seed(tb testing.TB, dir string) {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		tb.Fatal(err)
	}
	if len(entries) > 0 {
		return
	}
	b, err := empty()
	if err != nil {
		tb.Fatalf("making an empty database: %v", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, database), b, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// Postgres returns the address of an empty database of this version on a cluster,
// which goes away with tb.
func Postgres(tb testing.TB, c *pgtest.Cluster) string {
	tb.Helper()
	return c.Copy(tb, func(dsn string) error {
		s, err := store.Open(context.Background(), store.Config{DSN: dsn})
		if err != nil {
			return err
		}
		return s.Close()
	})
}
