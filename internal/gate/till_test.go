package gate_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/boundary"
	"rutile/internal/fact"
	"rutile/internal/gate"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/policy"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
	"rutile/internal/store"
	"rutile/internal/store/pgtest"
	"rutile/internal/store/storetest"
)

// cluster is the PostgreSQL of this test binary.
var cluster pgtest.Cluster

func TestMain(m *testing.M) {
	code := m.Run()
	if err := cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping PostgreSQL:", err)
		code = 1
	}
	os.Exit(code)
}

// leaves is evidence many calls write to.
type leaves struct {
	mu   sync.Mutex
	seen map[string]int
}

func (l *leaves) add(what string) (audit.Ref, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[string]int{}
	}
	l.seen[what]++
	return audit.Ref{}, nil
}

func (l *leaves) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[what]
}

func (l *leaves) Intent(context.Context, audit.Intent) (audit.Ref, error)  { return l.add("intent") }
func (l *leaves) Verdict(context.Context, audit.Intent) (audit.Ref, error) { return l.add("verdict") }
func (l *leaves) Listed(context.Context, audit.Intent) error               { return nil }
func (l *leaves) Outcome(_ context.Context, o audit.Outcome) (audit.Ref, error) {
	return l.add("outcome " + string(o.Status))
}

// till is a gate whose agents may call every tool of server pay, as far as policy
// lets them.
type till struct {
	*gate.Gate
	t      testing.TB
	cfg    store.Config
	store  *store.Store
	broker *grant.Broker
	ledger *fact.Ledger
	labels *boundary.Labels
	log    *leaves
	state  *pdp.State
	clock  atomic.Int64 // nanoseconds since now
	boot   int
	node   string // "" is n1
}

func (w *till) now() time.Time { return now.Add(time.Duration(w.clock.Load())) }

const perHour = `forbid (principal, action in Mcp::Action::"call", resource) when { context.facts.sum > 5000 };`

// sum is what transfers of an hour come to.
func sum() fact.Fact {
	return fact.Fact{ID: "sum", Owner: "team", Type: fact.Limit, On: fact.On{Server: "pay", Tool: "transfer"}, Seconds: 3600,
		Key: []string{"agent", "subject"}, Agg: fact.Agg{Func: fact.Sum, At: "/amount"}, State: fact.Active}
}

func onBoth(t *testing.T, f func(t *testing.T, dialect string)) {
	t.Helper()
	for _, dialect := range []string{"sqlite", "postgres"} {
		t.Run(dialect, func(t *testing.T) { f(t, dialect) })
	}
}

func newTill(t testing.TB, dialect, cedar string, facts ...fact.Fact) *till {
	t.Helper()
	w := &till{t: t, cfg: store.Config{DSN: "sqlite", Dir: storetest.Dir(t)}, log: &leaves{}}
	if dialect == "postgres" {
		w.cfg.DSN = storetest.Postgres(t, &cluster)
	}
	content := registry.Content{Servers: []registry.Server{{ID: "pay", Owner: "team", State: registry.ServerSanctioned, DataScopes: []string{"source:web"}}}}
	cat := policy.Catalog{Servers: []policy.ServerInfo{{ID: "pay"}}}
	for _, id := range []string{"bot", "other"} {
		content.Agents = append(content.Agents, registry.Agent{ID: id, Owner: "team", State: registry.AgentActive, Expires: now.AddDate(1, 0, 0)})
		cat.AllowLists = append(cat.AllowLists, policy.AllowList{Agent: id, Expires: now.AddDate(1, 0, 0), Patterns: []string{"pay/*"}})
	}
	for _, name := range []string{"transfer", "look", "fraud_check"} {
		content.Tools = append(content.Tools, registry.Tool{Server: "pay", Name: name, State: registry.ToolApproved, SeenDigest: "sha256:1", PinDigest: "sha256:1", Class: registry.ToolClass{Class: "read"}})
		cat.Tools = append(cat.Tools, policy.ToolInfo{Server: "pay", Name: name, Classes: []string{"read"}})
	}
	declared := map[string]fact.Fact{}
	for _, f := range facts {
		if bad := f.Check(); len(bad) > 0 {
			t.Fatalf("fact %s: %v", f.ID, bad)
		}
		declared[f.ID] = f
		cat.Facts = append(cat.Facts, policy.FactInfo{ID: f.ID, Bool: !f.Counts()})
	}
	view, err := registry.NewView(content)
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.Compile([]policy.Policy{{ID: "p", Cedar: cedar}}, cat)
	if err != nil {
		t.Fatal(err)
	}
	w.state = &pdp.State{View: view, Set: set, Facts: fact.NewPlan(declared, set.FactsRead(), set.FactsEnforced())}
	w.start()
	t.Cleanup(func() { _ = w.store.Close() })
	return w
}

// start begins anew on the same store, as a restart of the process would: nobody
// settled what was under way.
func (w *till) start() {
	w.t.Helper()
	if w.store != nil {
		_ = w.store.Close()
	}
	w.boot++
	if w.node == "" {
		w.node = "n1"
	}
	var err error
	if w.store, err = store.Open(w.t.Context(), w.cfg); err != nil {
		w.t.Fatal(err)
	}
	if w.broker, err = grant.New(w.t.Context(), grant.Config{Node: w.node, Boot: fmt.Sprint(w.boot)}, w.store, nothing{}, nothing{}, w.now); err != nil {
		w.t.Fatal(err)
	}
	if w.ledger, err = fact.New(w.t.Context(), w.store, nothing{}, w.cfg.DSN != "sqlite", w.now); err != nil {
		w.t.Fatal(err)
	}
	if w.labels, err = boundary.NewLabels(w.store, fixedKeys{}, w.cfg.DSN != "sqlite", w.now); err != nil {
		w.t.Fatal(err)
	}
	w.state.Grants = w.broker
	f := fixed{w.state}
	if w.Gate, err = gate.New(f, w.log, f, w.broker, w.ledger, noEffects{}, engine(w.t), noValues{}, w.labels, f, w.now); err != nil {
		w.t.Fatal(err)
	}
}

func (w *till) request(tool, args string, change ...func(*access.Request)) *access.Request {
	w.t.Helper()
	r := request()
	r.ID, r.Server, r.Target, r.At = access.NewID(access.PrefixDecision), "pay", tool, w.now()
	v, err := rawjson.Parse([]byte(args), rawjson.Limits{})
	if err != nil {
		w.t.Fatal(err)
	}
	r.Arguments = v
	for _, f := range change {
		f(r)
	}
	return r
}

// call makes a call that ends well and reports whether it ran.
func (w *till) call(tool, args string, change ...func(*access.Request)) (access.Decision, bool) {
	w.t.Helper()
	return w.run(w.request(tool, args, change...), fine, nil)
}

func (w *till) run(r *access.Request, resp access.Response, fail error) (access.Decision, bool) {
	w.t.Helper()
	ran := false
	_, dec, err := w.Do(w.t.Context(), r, func(context.Context, *gate.Dispatch) (access.Response, error) {
		ran = true
		return resp, fail
	})
	if err != nil && fail == nil {
		w.t.Errorf("a call: %v", err)
	}
	return dec, ran
}

// total is what the counter of a fact of bot stands at.
func (w *till) total(id string) int64 {
	w.t.Helper()
	return w.values(id).Total
}

func (w *till) values(id string) fact.Value {
	w.t.Helper()
	f := sum()
	f.ID = id
	list, _, err := w.ledger.Values(w.t.Context(), f)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(list) == 0 {
		return fact.Value{}
	}
	return list[0]
}
