package store_test

import (
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"rutile/internal/store"
	"rutile/internal/store/pgtest"
	"rutile/internal/store/storetest"
)

// cluster is the PostgreSQL of this test binary.
var cluster pgtest.Cluster

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	code := m.Run()
	if err := cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping PostgreSQL:", err)
		code = 1
	}
	os.Exit(code)
}

// both runs a test on each database, on a fresh store each. cfg opens the same
// store again after it was closed.
func both(t *testing.T, f func(t *testing.T, s *store.Store, cfg store.Config)) {
	t.Helper()
	for _, dialect := range []string{"sqlite", "postgres"} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, "sqlite")
			if dialect == "postgres" {
				cfg.DSN = storetest.Postgres(t, &cluster)
			} else {
				storetest.Seed(t, cfg.Dir)
			}
			f(t, open(t, cfg), cfg)
		})
	}
}

// config is for a store on nothing: its first start brings it up to date.
func config(t testing.TB, dialect string) store.Config {
	t.Helper()
	cfg := store.Config{
		DSN: "sqlite", Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(logged{t}, nil)),
		Now: func() time.Time { return at(0) }, // what the tests store must not grow old with the calendar
	}
	if dialect == "postgres" {
		cfg.DSN = cluster.DSN(t)
	}
	return cfg
}

func open(t testing.TB, cfg store.Config) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("opening the store: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	return s
}

// logged writes the store's log to the test's.
type logged struct{ t testing.TB }

func (l logged) Write(b []byte) (int, error) {
	l.t.Logf("%s", b)
	return len(b), nil
}

// at is a time as every store keeps it.
func at(seconds int) time.Time {
	return time.Date(2026, 11, 24, 12, 0, 0, 123456000, time.UTC).Add(time.Duration(seconds) * time.Second)
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
