package store_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/store"
)

// unsealed seals nothing: what these tests ask is whether a key is there.
type unsealed struct{}

func (unsealed) Seal(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }
func (unsealed) Open(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }

// stuck makes the database refuse to delete the index row of one leaf, so that a
// dropping ends with its mark gone and rows left. free ends that.
func stuck(t *testing.T, s *store.Store, leaf int) (free func()) {
	t.Helper()
	put := []string{fmt.Sprintf(`CREATE TRIGGER stuck BEFORE DELETE ON evidence WHEN old.idx = %d BEGIN SELECT RAISE(ABORT, 'stuck'); END`, leaf)}
	drop := `DROP TRIGGER stuck`
	if s.Dialect() == "postgres" {
		put = []string{
			`CREATE FUNCTION stuck() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'stuck'; END $$`,
			fmt.Sprintf(`CREATE TRIGGER stuck BEFORE DELETE ON evidence FOR EACH ROW WHEN (old.idx = %d) EXECUTE FUNCTION stuck()`, leaf),
		}
		drop = `DROP FUNCTION stuck CASCADE`
	}
	run := func(q string) {
		t.Helper()
		if _, err := s.Writer().ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	for _, q := range put {
		run(q)
	}
	return func() { t.Helper(); run(drop) }
}

// A rebuild that destroys what the index shows of somebody, and is interrupted,
// is finished before anything can be found: in the same process, and at the next
// start.
func TestAnInterruptedRebuildNamesNobodyErased(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		ctx := t.Context()
		logCfg := audit.Config{Dir: filepath.Join(t.TempDir(), "evidence"), Origin: origin, Node: "n1", Tenant: "t1", Now: cfg.Now}
		start := func() *audit.Log {
			t.Helper()
			l := must[*audit.Log](t)(audit.Open(ctx, logCfg, s, unsealed{}, s))
			t.Cleanup(func() { l.Close(context.Background()) })
			return l
		}
		call := func(l *audit.Log, id, who string) {
			t.Helper()
			r := &access.Request{
				ID: id, At: at(0), Protocol: "mcp", Version: "2026-07-28", Method: "tools/call", Server: "files", Kind: access.KindTool, Target: "read_file",
				Who: access.Identity{Actor: access.Actor{Agent: "bot"}, Subject: access.Subject{Issuer: "https://idp.example", ID: who}, Session: "ses_" + who, Task: "for " + who},
			}
			ref, err := l.Intent(ctx, audit.Intent{Request: r, Decision: &access.Decision{ID: id, Outcome: access.Permit, Permits: []string{"baseline"}}})
			if err == nil {
				_, err = l.Outcome(ctx, audit.Outcome{Request: r, Intent: ref, Status: audit.StatusOK, Reached: "yes"})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		nobody := func(l *audit.Log, when string, who ...string) {
			t.Helper()
			for _, w := range who {
				for name, q := range map[string]audit.Query{"subject": {Subject: w}, "session": {Session: "ses_" + w}, "task": {Task: "for " + w}, "text": {Text: w}} {
					if rows, err := l.Search(ctx, q); err != nil || len(rows) > 0 {
						t.Errorf("%s: %s is found by %s: %+v, %v", when, w, name, rows, err)
					}
				}
			}
			rows, err := l.Search(ctx, audit.Query{Tool: "read_file"})
			if err != nil || len(rows) != 2 {
				t.Fatalf("%s: %d calls, %v", when, len(rows), err)
			}
			for _, r := range rows {
				if r.Status != "ok" || r.Subject+r.Session+r.Task != "" {
					t.Errorf("%s: %+v", when, r)
				}
			}
		}
		erase := func() {
			t.Helper()
			if _, err := s.Writer().ExecContext(ctx, `DELETE FROM evidence_keys WHERE name <> 'lookup'`); err != nil {
				t.Fatal(err)
			}
		}

		l := start()
		call(l, "dec_1", "ann")
		call(l, "dec_2", "bob")
		if err := l.AwaitIndex(ctx); err != nil {
			t.Fatal(err)
		}
		erase()
		free := stuck(t, s, 1)
		if err := l.Reindex(ctx); err == nil {
			t.Fatal("a rebuild that could not drop the rows succeeded")
		}
		free()
		nobody(l, "the process goes on", "ann", "bob")
		if err := l.Close(ctx); err != nil {
			t.Fatal(err)
		}

		logCfg.Dir, logCfg.Origin = filepath.Join(t.TempDir(), "evidence"), origin+"2"
		l = start()
		call(l, "dec_3", "cid")
		call(l, "dec_4", "dan")
		if err := l.AwaitIndex(ctx); err != nil {
			t.Fatal(err)
		}
		erase()
		free = stuck(t, s, 1)
		if err := l.Reindex(ctx); err == nil {
			t.Fatal("a rebuild that could not drop the rows succeeded")
		}
		if err := l.Close(ctx); err != nil {
			t.Fatal(err)
		}
		free()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		l = start()
		nobody(l, "after a restart", "cid", "dan")
	})
}
