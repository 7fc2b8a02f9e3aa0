package store_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/store"
	"rutile/internal/store/pgtest"
)

// TestSilentServerIsGivenUp: a server that is frozen, or behind a network that
// drops everything, ends in an error that says so, on a connection in use and on
// a new one, and the store works again when the server does.
func TestSilentServerIsGivenUp(t *testing.T) {
	t.Parallel()
	cfg := config(t, "postgres")
	r, dsn := pgtest.NewRoad(t, cfg.DSN)
	cfg.DSN = with(t, with(t, dsn, "statement_timeout", "1s"), "connect_timeout", "2")
	s := open(t, cfg)
	commit(t, s, everything())
	r.Block()
	for _, what := range []string{"on a connection of the pool", "on a new connection"} {
		began := time.Now()
		err := s.SetMeta(context.Background(), "k", "v") // no limit of the caller's
		if code := access.CodeOf(err); code != access.CodeUnavailable && code != access.CodeTimeout || !strings.Contains(err.Error(), "did not answer in time") {
			t.Errorf("%s: %v (%s)", what, err, code)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("%s: it took %v", what, took)
		}
	}
	r.Unblock()
	if err := s.SetMeta(t.Context(), "k", "v"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestTheCallersLimitStands: a caller that gives up earlier is not made to wait
// for ours, and its connection does not come back half used.
func TestTheCallersLimitStands(t *testing.T) {
	t.Parallel()
	cfg := config(t, "postgres")
	s := open(t, cfg)
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		_, err := s.Writer().ExecContext(ctx, "SELECT pg_sleep(10)")
		cancel()
		if err == nil {
			t.Fatal("a statement of ten seconds ended in time")
		}
	}
	if err := s.SetMeta(t.Context(), "k", "v"); err != nil {
		t.Error(err)
	}
	if v, _, err := s.Meta(t.Context(), "k"); err != nil || v != "v" {
		t.Errorf("read %q, %v", v, err)
	}
}

func TestStatementLimit(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "1500": 1500 * time.Millisecond, "200ms": 200 * time.Millisecond, "2min": 2 * time.Minute, "1 h": time.Hour,
		"0": 0, "": 0, "soon": 0, "-1": 0, "1d": 0,
	} {
		if got, ok := store.StatementLimit(text); ok != (want > 0) || ok && got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, ok, want)
		}
	}
}
