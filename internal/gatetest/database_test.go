package gatetest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/audit"
	"rutile/internal/daemon"
	"rutile/internal/registry"
	"rutile/internal/store/pgtest"
	"rutile/internal/store/storetest"
)

// readiness asks what is ready.
func (r *rig) readiness() (int, map[string]string) {
	r.t.Helper()
	status, body := r.operators("/readyz")
	parts := map[string]string{}
	if err := json.Unmarshal([]byte(body), &parts); err != nil {
		r.t.Fatalf("%s: %v", body, err)
	}
	return status, parts
}

// onPostgres is a rig whose database can be made silent.
func onPostgres(t *testing.T, lease time.Duration) (*rig, *upstream, *pgtest.Road) {
	t.Helper()
	road, dsn := pgtest.NewRoad(t, storetest.Postgres(t, &cluster))
	a, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := a.Query()
	q.Set("statement_timeout", "2s")
	q.Set("connect_timeout", "2")
	a.RawQuery = q.Encode()
	u := newUpstream(t)
	r := startRig(t, []func(*daemon.Options){func(o *daemon.Options) { o.ViewLease = lease }}, func(c *daemon.Config) { c.Store = a.String() })
	r.apply(strings.ReplaceAll(governs, "UP", u.URL+"/mcp"), "up")
	return r, u, road
}

// TestExpiredViewDenies: a node that cannot learn what others changed permits
// nothing, on any path, until it can again.
func TestExpiredViewDenies(t *testing.T) {
	t.Parallel()
	r, u, road := onPostgres(t, 6*time.Second)
	token := r.token("bot", "up")
	if got := r.call(token, "up", "echo", `{}`); got.msg.Result == nil || strings.Contains(got.body, `"isError":true`) {
		t.Fatalf("with the database: %s", got.body)
	}
	road.Block()
	eventually(t, "the view expires", func() bool {
		status, parts := r.readiness()
		return status == http.StatusServiceUnavailable && parts["store"] == "failing" && strings.Contains(r.call(token, "up", "echo", `{}`).body, "denial")
	})
	before := u.count()
	if got := r.call(token, "up", "echo", `{}`); !strings.Contains(got.body, "nothing to decide on") || u.count() != before {
		t.Errorf("a call on an expired view answered %s", got.body)
	}
	if got := r.list(token, "up"); strings.Contains(got.body, `"echo"`) {
		t.Errorf("a list on an expired view answered %s", got.body)
	}
	road.Unblock()
	eventually(t, "the view is fresh again", func() bool {
		status, _ := r.readiness()
		return status == http.StatusOK && !strings.Contains(r.call(token, "up", "echo", `{}`).body, "denial")
	})
}

// TestNodesShareADatabase: what an operator changes on one node holds on the
// other, each writes a log of its own, and one vault key opens what both seal.
func TestNodesShareADatabase(t *testing.T) {
	t.Parallel()
	one, u, _ := onPostgres(t, time.Hour)
	other := daemon.Config{Store: one.d.Config.Store, Vault: daemon.Vault{KeyFile: filepath.Join(one.d.Config.Data, "vault.key")}}
	two := startRig(t, nil, func(c *daemon.Config) { c.Store, c.Vault = other.Store, other.Vault })
	token := two.token("bot", "up")
	if got := two.call(token, "up", "echo", `{}`); got.msg.Result == nil || u.count() != 1 {
		t.Fatalf("a call through the second node: %s", got.body)
	}
	if _, err := one.d.Admin.ChangeAgent(t.Context(), operator, "bot", registry.VerbSuspend, "test"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other node denies", func() bool {
		return strings.Contains(two.call(token, "up", "echo", `{}`).body, "suspended")
	})
	if one.d.Evidence.Origin() == two.d.Evidence.Origin() {
		t.Errorf("both nodes write %s", one.d.Evidence.Origin())
	}
}

// TestSilentDatabaseDoesNotHoldUpTheStop, nor does it cost evidence.
func TestSilentDatabaseDoesNotHoldUpTheStop(t *testing.T) {
	t.Parallel()
	r, _, road := onPostgres(t, time.Hour)
	token := r.token("bot", "up")
	r.call(token, "up", "echo", `{}`)
	road.Block()
	if got := r.call(token, "up", "echo", `{}`); got.msg.Result == nil {
		t.Errorf("a call that needs nothing of the database: %s", got.body)
	}
	http.DefaultClient.CloseIdleConnections()
	done := make(chan error, 1)
	go func() { done <- r.d.Close(context.Background()) }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the stop waits for the database")
	}
	rep, err := audit.VerifyDir(filepath.Join(r.d.Config.Data, "evidence"), audit.VerifyOptions{Complete: true})
	if err != nil || len(rep.Problems) > 0 {
		t.Errorf("the evidence: %v, %v", rep.Problems, err)
	}
}

// TestReadyzTellsThatEvidenceIsLost: the log lives, but there is no room for
// more, so calls are refused; readyz, the metrics and the log say so, and the
// next record that is kept clears it.
func TestReadyzTellsThatEvidenceIsLost(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r, token := governed(t, u)
	// The next segment of the log cannot be made where something stands.
	inTheWay := filepath.Join(r.d.Config.Data, "evidence", "wal", "next", "x")
	if err := os.MkdirAll(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	args := `{"text":"` + strings.Repeat("x", 8<<10) + `"}`
	var full atomic.Bool
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 1000 {
				if full.Load() || t.Failed() {
					return
				}
				if got := r.call(token, "up", "echo", args); got.msg.kind() == "evidence_unavailable" {
					full.Store(true)
				} else if got.msg.Result == nil {
					t.Errorf("answered %s", got.body)
				}
			}
		})
	}
	callers.Wait()
	before, got := u.count(), reply{}
	for range 64 { // where several did not fit, one still may
		before = u.count()
		if got = r.call(token, "up", "echo", args); got.msg.kind() == "evidence_unavailable" && u.count() == before {
			break
		}
	}
	if got.msg.kind() != "evidence_unavailable" || u.count() != before {
		t.Fatalf("without room for evidence: %.200s", got.body)
	}
	if status, parts := r.readiness(); status != http.StatusServiceUnavailable || parts["evidence"] != "failing" {
		t.Errorf("readyz: %d %v", status, parts)
	}
	if _, m := r.operators("/metrics"); !strings.Contains(m, "rutile_evidence_healthy 0") {
		t.Error("the metrics say that evidence is kept")
	}
	if logs := r.logs.String(); !strings.Contains(logs, "making room for evidence") || !strings.Contains(logs, "code=evidence error=") || !strings.Contains(logs, "is a directory") {
		t.Errorf("the log does not say why:\n%s", tail(logs, 2000))
	}
	if err := os.RemoveAll(filepath.Dir(inTheWay)); err != nil {
		t.Fatal(err)
	}
	if got := r.call(token, "up", "echo", args); got.msg.Result == nil {
		t.Errorf("with room again: %.200s", got.body)
	}
	if status, parts := r.readiness(); status != http.StatusOK {
		t.Errorf("readyz afterwards: %d %v", status, parts)
	}
	if _, m := r.operators("/metrics"); !strings.Contains(m, "rutile_evidence_healthy 1") {
		t.Error("the metrics say that evidence is lost")
	}
}
