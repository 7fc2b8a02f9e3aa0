package gatetest_test

import (
	"path/filepath"
	"testing"

	"rutile/internal/api"
	"rutile/internal/audit"
	"rutile/internal/daemon"
)

// A person's call is found until they are erased through the API, and not after a
// restart either; the log verifies.
func TestWhoIsErasedIsFoundNoMore(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	data := t.TempDir()
	set := func(c *daemon.Config) { c.Data = data }
	r := startRig(t, nil, set)
	r.apply(botAndServer(p.URL+"/mcp", `["up/*"]`), "up")
	for _, who := range []string{"ann", "bob"} {
		if got := r.call(r.subjectToken("bot", who), "up", "echo", `{"text":"hello"}`); got.msg.Result == nil {
			t.Fatalf("the call answered %s", got.body)
		}
	}
	found := func(r *rig, who string) int {
		t.Helper()
		rows, err := r.d.Evidence.Search(t.Context(), audit.Query{Subject: who})
		if err != nil {
			t.Fatal(err)
		}
		return len(rows)
	}
	if found(r, "ann") == 0 || found(r, "bob") == 0 {
		t.Fatal("the calls are not found")
	}
	got, err := operatorClient(t, r).Erase(t.Context(), api.EraseSpec{Person: "ann", Reason: "request 4711"})
	if err != nil || got.ID == "" || got.Keys < 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	bob := found(r, "bob")
	for range 2 {
		if n := found(r, "ann"); n != 0 {
			t.Errorf("ann is found %d times", n)
		}
		if n := found(r, "bob"); n != bob {
			t.Errorf("bob is found %d times", n)
		}
		r.stop()
		rep, err := audit.Verify(filepath.Join(data, "evidence"), audit.VerifyOptions{})
		if err != nil || rep.ExitStatus() != 0 {
			t.Errorf("%+v, %v", rep, err)
		}
		r = startRig(t, nil, set)
	}
}
