package gatetest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/daemon"
	"rutile/internal/registry"
	"rutile/internal/revocation"
	"rutile/internal/store"
	"rutile/internal/store/pgtest"
	"rutile/internal/store/storetest"
)

// waits makes calls that say "waits" wait until they are cut; began gets one for each.
func (u *upstream) waits() (began chan struct{}) {
	began = make(chan struct{}, 16)
	u.onCall(func(_ http.ResponseWriter, req *http.Request, _ json.RawMessage, body []byte) bool {
		if !strings.Contains(string(body), "waits") {
			return false
		}
		began <- struct{}{}
		<-req.Context().Done()
		return true
	})
	return began
}

func (r *rig) revoke(kind, id string) admin.Receipt {
	r.t.Helper()
	rec, err := r.d.Effects.Revoke(r.t.Context(), operator, admin.Order{Kind: kind, ID: id, Reason: "a test"})
	if err != nil {
		r.t.Fatalf("revoking %s %s: %v", kind, id, err)
	}
	return rec
}

// Whatever is revoked ends the call in flight, here and at the server, and is denied
// from then on; the receipt says so and is evidence. Doing it again says that nothing
// was left. What undoes it works.
func TestRevokingEndsWhatRunsWithAReceipt(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r, _ := governed(t, u)
	began := u.waits()
	session := ""
	for _, tt := range []struct {
		kind string
		id   func() string
		undo func(t *testing.T)
	}{
		{"agent", func() string { return "bot" }, nil},
		{"session", func() string { return session }, nil},
		{"user", func() string { return "annabelle" }, nil},
		{"tenant", func() string { return "default" }, nil},
		{"tool", func() string { return "up/echo" }, func(t *testing.T) {
			if _, err := r.d.Admin.ChangeTool(t.Context(), operator, "up", "echo", registry.VerbRelease, "a mistake"); err != nil {
				t.Fatal(err)
			}
			if _, err := r.d.Admin.ApproveTool(t.Context(), operator, "up", "echo", admin.Approval{}); err != nil {
				t.Fatal(err)
			}
		}},
		{"server", func() string { return "up" }, func(t *testing.T) {
			if _, err := r.d.Admin.ChangeServer(t.Context(), operator, "up", registry.VerbApprove, "a mistake"); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			token := r.forSomebody("bot", "up", "annabelle")
			list, err := r.d.Effects.List(t.Context(), "", 1, false)
			if err != nil || len(list) != 1 {
				t.Fatalf("%v %v", list, err)
			}
			session = list[0].ID
			long := make(chan reply, 1)
			go func() { long <- r.call(token, "up", "echo", `{"text":"waits"}`) }()
			<-began
			plan, err := r.d.Effects.Plan(t.Context(), operator, admin.Order{Kind: tt.kind, ID: tt.id()})
			if err != nil || plan.Calls != 1 {
				t.Errorf("the plan: %+v %v", plan, err)
			}
			rec := r.revoke(tt.kind, tt.id())
			if rec.Calls != 1 || rec.Running != 0 || rec.State != admin.ReceiptDone || rec.Again || len(rec.Nodes) != 1 || rec.DeniedUS <= 0 || rec.CutUS < rec.DeniedUS || rec.Undo == "" {
				t.Errorf("the receipt: %+v", rec)
			}
			before := u.count()
			if got := r.call(token, "up", "echo", `{}`); got.status != http.StatusUnauthorized && !strings.Contains(got.body, "io.rutile/denial") || u.count() != before {
				t.Errorf("a call after it: %d %s", got.status, got.body)
			}
			if got := <-long; !strings.Contains(got.body, "io.rutile/denial") {
				t.Errorf("the call that ran: %d %s", got.status, got.body)
			}
			if again := r.revoke(tt.kind, tt.id()); !again.Again || again.Epoch <= rec.Epoch {
				t.Errorf("the second receipt: %+v", again)
			}
			leaves := r.written(rec.Kind)
			for _, want := range []string{`"type":"revocation"`, `"type":"receipt"`, `"id":"` + rec.Revocation + `"`, `"calls":1`} {
				if !strings.Contains(leaves, want) {
					t.Errorf("the evidence does not say %s: %s", want, leaves)
				}
			}
			if tt.kind == "user" && strings.Contains(leaves, "annabelle") {
				t.Error("a leaf names the person")
			}
			if tt.undo != nil {
				tt.undo(t)
			}
			if got := r.call(r.forSomebody("bot", "up", "annabelle"), "up", "echo", `{}`); got.msg.Result == nil || strings.Contains(got.body, "denial") {
				t.Errorf("after signing in anew: %d %s", got.status, got.body)
			}
		})
	}
	for _, o := range []admin.Order{{Kind: "agent", ID: "nobody"}, {Kind: "session", ID: "ses_x"}, {Kind: "grant", ID: "grt_x"}, {Kind: "server", ID: "x"}, {Kind: "tool", ID: "up/x"}, {Kind: "credential", ID: "x"}, {Kind: "approver", ID: "x"}, {Kind: "user", ID: "x"}} {
		if _, err := r.d.Effects.Revoke(t.Context(), operator, o); access.CodeOf(err) != access.CodeNotFound {
			t.Errorf("%s %s: %v", o.Kind, o.ID, err)
		}
	}
	if _, err := r.d.Effects.Revoke(t.Context(), operator, admin.Order{Kind: "tool", ID: "up/echo@sha256:00"}); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("another definition: %v", err)
	}
}

// A process that ended after it wrote that something is revoked and before it ended it
// does so before it serves anybody, with a receipt.
func TestAnInterruptedRevocationIsCarriedOutAtTheStart(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	data, addr := t.TempDir(), freeAddr(t)
	r := rigAt(t, data, addr)
	r.apply(strings.ReplaceAll(governs, "UP", u.URL+"/mcp"), "up")
	token := r.token("bot", "up")
	node := r.revoke("agent", "bot").Nodes[0].Node
	token2 := r.token("bot", "up")
	r.stop()
	s, err := store.Open(t.Context(), store.Config{DSN: "sqlite", Dir: data})
	if err != nil {
		t.Fatal(err)
	}
	e := revocation.Entry{ID: "rev_cut", Target: revocation.Target{Kind: revocation.Agent, ID: "bot"}, Cause: "killed meanwhile", Actor: "user:ann", Node: node, At: time.Now()}
	_, err = s.BeginRevocation(t.Context(), e, func(e revocation.Entry) access.Owed {
		return access.Owed{ID: "chg_cut", Node: node, Actor: e.Actor, Verb: "revoke", Kind: "Revocation", Object: "agent bot", Detail: json.RawMessage(`{"revocation":"rev_cut","epoch":2,"kind":"agent","id":"bot"}`)}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r = rigAt(t, data, addr)
	for _, token := range []string{token, token2} {
		if got := r.call(token, "up", "echo", `{}`); got.status != http.StatusUnauthorized {
			t.Errorf("a token from before answers %d %s", got.status, got.body)
		}
	}
	rec, err := r.d.Effects.Receipt(t.Context(), "rev_cut")
	if err != nil || rec.State != admin.ReceiptDone || len(rec.Sessions) != 1 || rec.Actor != "user:ann" {
		t.Errorf("the receipt: %+v %v", rec, err)
	}
	if leaves := r.written("receipt"); !strings.Contains(leaves, `"id":"rev_cut"`) {
		t.Errorf("the evidence does not hold it: %s", leaves)
	}
	if got := r.call(r.token("bot", "up"), "up", "echo", `{}`); got.msg.Result == nil {
		t.Errorf("a token made anew answers %d %s", got.status, got.body)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(nil)
	defer s.Close()
	return s.Listener.Addr().String()
}

// Two gateways share a database: what one revokes the other cuts and says so before
// the order returns; one that hears nothing is waited for until its view has expired,
// and permits nothing by then.
func TestEveryGatewayCarriesARevocationOut(t *testing.T) {
	t.Parallel()
	const lease = 4 * time.Second
	dsn := storetest.Postgres(t, &cluster)
	road, near := pgtest.NewRoad(t, dsn)
	key := filepath.Join(t.TempDir(), "vault.key")
	start := func(dsn string) *rig {
		return startRig(t, []func(*daemon.Options){func(o *daemon.Options) { o.ViewLease = lease }}, func(c *daemon.Config) { c.Store, c.Vault.KeyFile = dsn, key })
	}
	u := newUpstream(t)
	there, here := start(dsn), start(near)
	here.apply(strings.ReplaceAll(governs, "UP", u.URL+"/mcp"), "up")
	began := u.waits()
	token := here.token("bot", "up")
	long := make(chan reply, 1)
	go func() { long <- here.call(token, "up", "echo", `{"text":"waits"}`) }()
	<-began
	eventually(t, "the other gateway knows the agent", func() bool { _, ok := there.d.Admin.Current().View.Agent("bot"); return ok })
	rec := there.revoke("agent", "bot")
	if len(rec.Nodes) != 2 || rec.Nodes[1].Lapsed || rec.Nodes[1].US <= 0 {
		t.Errorf("the receipt: %+v", rec)
	}
	if got := <-long; !strings.Contains(got.body, "io.rutile/denial") {
		t.Errorf("the call at the other gateway: %d %s", got.status, got.body)
	}
	if got := here.call(token, "up", "echo", `{}`); got.status != http.StatusUnauthorized {
		t.Errorf("the token at the other gateway: %d %s", got.status, got.body)
	}
	token = here.token("bot", "up")
	road.Block()
	rec = there.revoke("agent", "bot")
	if !slices.ContainsFunc(rec.Nodes, func(n admin.Node) bool { return n.Lapsed }) {
		t.Errorf("a gateway that hears nothing: %+v", rec.Nodes)
	}
	before := u.count()
	if got := here.call(token, "up", "echo", `{}`); got.msg.Result != nil && !strings.Contains(got.body, "io.rutile/denial") || u.count() != before {
		t.Errorf("a gateway whose view expired: %d %s", got.status, got.body)
	}
	road.Unblock()
}
