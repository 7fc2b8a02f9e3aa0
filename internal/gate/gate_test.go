package gate_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/credential"
	"rutile/internal/fact"
	"rutile/internal/gate"
	"rutile/internal/pdp"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// written is evidence that notes what it was given, and can refuse a kind.
type written struct {
	mu     sync.Mutex // calls at once write, one test reads
	leaves []string
	refuse string
}

func (w *written) add(kind, status string) (audit.Ref, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if kind == w.refuse {
		return audit.Ref{}, errors.New("no")
	}
	w.leaves = append(w.leaves, kind+" "+status)
	return audit.Ref{Index: uint64(len(w.leaves))}, nil
}

func (w *written) Intent(context.Context, audit.Intent) (audit.Ref, error) {
	return w.add("intent", "")
}
func (w *written) Verdict(context.Context, audit.Intent) (audit.Ref, error) {
	return w.add("verdict", "")
}

func (w *written) Outcome(_ context.Context, o audit.Outcome) (audit.Ref, error) {
	return w.add("outcome", string(o.Status))
}

func (w *written) Listed(context.Context, audit.Intent) error {
	_, err := w.add("verdict", "")
	return err
}

// fixed is a state in which agent "bot" may call tool "echo" of server "up".
type fixed struct{ state *pdp.State }

func (f fixed) State() *pdp.State { return f.state }

func (fixed) Lease(context.Context, credential.LeaseRequest) (*credential.Lease, error) {
	return nil, errors.New("the server needs none")
}
func (fixed) Start(ctx context.Context, _ *access.Request) context.Context { return ctx }
func (fixed) Forward(ctx context.Context, _ *access.Request, _ *registry.Server) context.Context {
	return ctx
}
func (fixed) Forwarded(context.Context, *access.Request, audit.Status, time.Duration)     {}
func (fixed) End(context.Context, *access.Request, *access.Decision, audit.Status, error) {}

// noGrants is for calls nobody needs a grant for.
type noGrants struct{ gate.Grants }

func (noGrants) TaskOf(access.Identity, string, time.Time) (string, error) { return "", nil }

// noEffects is for calls nothing follows from.
type noEffects struct{}

func (noEffects) Carry(context.Context, access.Consequence, *access.Request, *access.Decision) error {
	return errors.New("nothing was to follow")
}

func (noEffects) Refusal(*access.Identity) (access.Outcome, string) { return access.Deny, "" }

// noFacts is for policies that read none.
type noFacts struct{ gate.Ledger }

func (noFacts) Enter(*fact.Plan, *fact.Call, bool) (*fact.Entry, error) { return nil, nil }

func newGate(t *testing.T, log gate.Evidence) *gate.Gate {
	t.Helper()
	return newGateOf(t, log, noEffects{})
}

func newGateOf(t *testing.T, log gate.Evidence, effects gate.Effects) *gate.Gate {
	t.Helper()
	view, err := registry.NewView(registry.Content{
		Agents:  []registry.Agent{{ID: "bot", Owner: "team", State: registry.AgentActive, Expires: now.Add(time.Hour)}},
		Servers: []registry.Server{{ID: "up", Owner: "team", State: registry.ServerSanctioned}},
		Tools:   []registry.Tool{{Server: "up", Name: "echo", State: registry.ToolApproved, SeenDigest: "sha256:1", PinDigest: "sha256:1", Class: registry.ToolClass{Class: "read"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.Compile(nil, policy.Catalog{
		Servers:    []policy.ServerInfo{{ID: "up"}},
		Tools:      []policy.ToolInfo{{Server: "up", Name: "echo", Kind: access.KindTool, Classes: []string{"read"}}},
		AllowLists: []policy.AllowList{{Agent: "bot", Expires: now.Add(time.Hour), Patterns: []string{"up/echo"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f := fixed{&pdp.State{View: view, Set: set}}
	g, err := gate.New(f, log, f, noGrants{}, noFacts{}, effects, engine(t), noValues{}, noLabels{}, f, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func request() *access.Request {
	return &access.Request{
		ID: "dec_1", At: now, Protocol: "mcp", Method: "tools/call", Server: "up", Kind: access.KindTool, Target: "echo",
		Who: access.Identity{Actor: access.Actor{Agent: "bot", Attested: true, Source: "private_key_jwt"}, Session: "ses_1"},
	}
}

// A continuation that panics leaves no intent without an outcome: nobody knows
// what it did, and that is what the outcome says.
func TestPanicEndsInAnOutcome(t *testing.T) {
	w := &written{}
	g := newGate(t, w)
	func() {
		defer func() {
			if p := recover(); p != "boom" {
				t.Errorf("recovered %v, want what was thrown", p)
			}
		}()
		_, _, _ = g.Do(context.Background(), request(), func(context.Context, *gate.Dispatch) (access.Response, error) { panic("boom") })
	}()
	if want := []string{"intent ", "outcome unknown"}; !slices.Equal(w.leaves, want) {
		t.Errorf("recorded %q, want %q", w.leaves, want)
	}
}

// Without an intent nothing runs; without an outcome nothing is released.
func TestNothingRunsOrReturnsUnrecorded(t *testing.T) {
	for refuse, wantRuns := range map[string]int{"intent": 0, "outcome": 1} {
		w, runs := &written{refuse: refuse}, 0
		resp, _, err := newGate(t, w).Do(context.Background(), request(), func(context.Context, *gate.Dispatch) (access.Response, error) {
			runs++
			return access.Response{Body: []byte("secret result"), Reached: access.ReachYes}, nil
		})
		if access.CodeOf(err) != access.CodeEvidence || len(resp.Body) != 0 || runs != wantRuns {
			t.Errorf("without an %s: %q, %d runs, %v", refuse, resp.Body, runs, err)
		}
	}
}
