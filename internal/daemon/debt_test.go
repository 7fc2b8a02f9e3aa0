package daemon_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/daemon"
	"rutile/internal/identity"
	"rutile/internal/store"
)

// A gateway that was killed between a revocation and its evidence writes the leaf at
// its next start, once.
func TestTheStartWritesWhatAKillLeftOut(t *testing.T) {
	dir := t.TempDir()
	d := start(t, daemon.Config{Data: dir})
	if err := d.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	id, err := os.ReadFile(filepath.Join(dir, "node"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), store.Config{DSN: "sqlite", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if _, err := db.JoinFamily(t.Context(), identity.Family{ID: "ses_1", Agent: "bot", Proof: "p", Source: "dev", Opened: now, Last: now, Absolute: now.Add(time.Hour)}, time.Hour); err != nil {
		t.Fatal(err)
	}
	const change = "chg_0000000000000000000000000a"
	list, err := db.StateFamilies(t.Context(), identity.Selection{ID: "ses_1"}, identity.SessionRevoked, "a rule", func(f identity.Family) access.Owed {
		return access.Owed{ID: change, Node: strings.TrimSpace(string(id)), Actor: "system", Verb: "revoke", Kind: "Session", Object: f.ID, Reason: "a rule"}
	})
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if err := db.Close(); err != nil { // and here it was killed
		t.Fatal(err)
	}
	for range 2 {
		d := start(t, daemon.Config{Data: dir})
		rows, err := d.Evidence.Search(t.Context(), audit.Query{Decision: change})
		if err != nil || len(rows) != 1 || rows[0].Object != "ses_1" {
			t.Errorf("leaves %+v, %v; want one", rows, err)
		}
		if err := d.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}
