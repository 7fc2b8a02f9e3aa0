package store_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"rutile/internal/access"
	"rutile/internal/registry"
	"rutile/internal/store"
	"rutile/internal/store/pgtest"
)

func TestLostConnectionsAreReplaced(t *testing.T) {
	other := config(t, "postgres")
	cfg := other
	cfg.DSN = with(t, cfg.DSN, "application_name", "cut_"+rand.Text())
	s := open(t, cfg)
	commit(t, s, everything())
	// Several idle connections of the pool are cut at once, as by a restart.
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := s.LoadRegistry(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	cutter := open(t, other)
	cut := func() {
		t.Helper()
		if _, err := cutter.Writer().Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", parameter(t, cfg.DSN, "application_name")); err != nil {
			t.Fatal(err)
		}
	}
	cut()
	if got := must[registry.Content](t)(s.LoadRegistry(t.Context())); got.Generation != 1 {
		t.Errorf("generation is %d", got.Generation)
	}
	cut()
	next := everything()
	next.Base = 1
	commit(t, s, next)
	cut()
	if err := s.SetMeta(t.Context(), "k", "v"); err != nil {
		t.Error(err)
	}
}

// with returns the address with one parameter set.
func with(t *testing.T, dsn, name, value string) string {
	t.Helper()
	u := must[*url.URL](t)(url.Parse(dsn))
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

func parameter(t *testing.T, dsn, name string) string {
	t.Helper()
	return must[*url.URL](t)(url.Parse(dsn)).Query().Get(name)
}

func TestRestartOfTheServerIsSurvived(t *testing.T) {
	own := pgtest.Cluster{Private: true} // others must not feel it
	t.Cleanup(func() {
		if err := own.Stop(); err != nil {
			t.Error(err)
		}
	})
	dsn := own.DSN(t)
	s := open(t, store.Config{DSN: dsn})
	commit(t, s, everything())
	own.Halt(t)
	for name, err := range map[string]error{
		"ping":   s.Ping(t.Context()),
		"commit": func() error { _, err := s.Commit(t.Context(), everything()); return err }(),
		"open":   func() error { _, err := store.Open(t.Context(), store.Config{DSN: dsn}); return err }(),
	} {
		if access.CodeOf(err) != access.CodeUnavailable || !strings.Contains(err.Error(), "cannot be reached") {
			t.Errorf("%s without a server: got %v, want unavailable", name, err)
		}
	}
	own.Resume(t)
	if got := must[registry.Content](t)(s.LoadRegistry(t.Context())); got.Generation != 1 {
		t.Errorf("generation is %d", got.Generation)
	}
	next := everything()
	next.Base = 1
	commit(t, s, next)
}

// What the database takes back is tried again, a bounded number of times.
func TestTransactionsTakenBackAreTriedAgain(t *testing.T) {
	s := open(t, config(t, "postgres"))
	if _, err := s.Writer().Exec(`
		CREATE SEQUENCE tries;
		CREATE FUNCTION stale() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF nextval('tries') < 3 THEN RAISE EXCEPTION 'secret value' USING ERRCODE = '40001'; END IF;
			RETURN new;
		END $$;
		CREATE TRIGGER stale BEFORE INSERT ON meta FOR EACH ROW EXECUTE FUNCTION stale()`); err != nil {
		t.Fatal(err)
	}
	if err := s.SetMeta(t.Context(), "k", "v"); err != nil {
		t.Errorf("a transaction taken back twice: %v", err)
	}
	if _, err := s.Writer().Exec("ALTER SEQUENCE tries RESTART MINVALUE -1000 START -1000"); err != nil {
		t.Fatal(err)
	}
	err := s.SetMeta(t.Context(), "k", "v")
	if access.CodeOf(err) != access.CodeUnavailable {
		t.Errorf("a transaction taken back always: got %v, want unavailable", err)
	}
	var tries int
	if err := s.Writer().QueryRow("SELECT last_value + 1001 FROM tries").Scan(&tries); err != nil || tries != 4 {
		t.Errorf("it was tried %d times, %v", tries, err)
	}
}

// Nothing of a driver's error leaves the package: it quotes SQL and values.
func TestErrorsHoldNeitherSQLNorValues(t *testing.T) {
	s := open(t, config(t, "postgres"))
	for i, code := range []string{"22023", "42601", "23514", "53100", "57014", "58030", "XX001", "54000", "25006", "40P01", "P0001"} {
		name := fmt.Sprint("k", i)
		if _, err := s.Writer().Exec(fmt.Sprintf(`
			CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				RAISE EXCEPTION 'hunter2 in INSERT INTO meta' USING ERRCODE = '%s', DETAIL = 'hunter2'; END $$;
			DROP TRIGGER IF EXISTS fail ON meta;
			CREATE TRIGGER fail BEFORE INSERT ON meta FOR EACH ROW EXECUTE FUNCTION fail()`, code)); err != nil {
			t.Fatal(err)
		}
		err := s.SetMeta(t.Context(), name, "hunter2")
		if err == nil {
			t.Fatalf("%s: it was stored", code)
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if strings.Contains(e.Error(), "hunter2") || strings.Contains(e.Error(), "INSERT") {
				t.Errorf("%s: the error says too much: %v", code, e)
			}
		}
		if !strings.Contains(fmt.Sprint(err, errors.Unwrap(err)), code) {
			t.Errorf("%s: the log cannot tell what it was: %v, %v", code, err, errors.Unwrap(err))
		}
	}
}

func TestSlowStatementIsCutOff(t *testing.T) {
	cfg := config(t, "postgres")
	if err := open(t, cfg).Close(); err != nil { // which needs time of its own
		t.Fatal(err)
	}
	cfg.DSN = with(t, cfg.DSN, "statement_timeout", "100ms") // the address overrides ours
	s := open(t, cfg)
	if _, err := s.Writer().Exec(`
		CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN new; END $$;
		CREATE TRIGGER wait BEFORE INSERT ON meta FOR EACH ROW EXECUTE FUNCTION wait()`); err != nil {
		t.Fatal(err)
	}
	if err := s.SetMeta(t.Context(), "k", "v"); access.CodeOf(err) != access.CodeUnavailable || !strings.Contains(err.Error(), "in time") {
		t.Errorf("got %v, want unavailable because of a time limit", err)
	}
}

func TestRefusedAccountAndMissingDatabaseAreSaid(t *testing.T) {
	dsn := config(t, "postgres").DSN
	for name, change := range map[string]func(*url.URL){
		"database": func(u *url.URL) { u.Path = "/hunter2" },
		"user":     func(u *url.URL) { u.User = url.UserPassword("hunter2", "hunter2") },
	} {
		u := must[*url.URL](t)(url.Parse(dsn))
		change(u)
		_, err := store.Open(t.Context(), store.Config{DSN: u.String()})
		if access.CodeOf(err) != access.CodeUnavailable || !strings.Contains(err.Error(), "refuses") {
			t.Errorf("%s: got %v, want unavailable because it is refused", name, err)
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if strings.Contains(e.Error(), "hunter2") {
				t.Errorf("%s: the error says too much: %v", name, e)
			}
		}
	}
}

// A database that does not answer is said with host and port, since another may
// answer beside it.
func TestUnreachableDatabaseIsSaidWithItsAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close() // nobody answers there now
	for dsn, where := range map[string]string{
		"postgres://u:hunter2@" + address + "/db":                       address,
		"postgres://u:hunter2@/db?host=" + url.QueryEscape(t.TempDir()): "PostgreSQL at /",
	} {
		_, err = store.Open(t.Context(), store.Config{DSN: dsn})
		if access.CodeOf(err) != access.CodeUnavailable || !strings.Contains(err.Error(), where) || !strings.Contains(err.Error(), "sslmode") || strings.Contains(access.Reasons(err), "hunter2") {
			t.Errorf("%s: %v", where, err)
		}
	}
}

// Nodes that start together migrate once.
func TestNodesStartingTogetherShareOneMigration(t *testing.T) {
	cfg := config(t, "postgres")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := store.Open(t.Context(), cfg)
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s := open(t, cfg)
	var n int
	if err := s.Writer().QueryRow("SELECT count(*) FROM generation").Scan(&n); err != nil || n != 1 {
		t.Errorf("the first migration ran %d times, %v", n, err)
	}
}
