package gate_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/gate"
	"rutile/internal/pdp"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// moving is a state that changes while calls run.
type moving struct {
	fixed
	state   atomic.Pointer[pdp.State]
	clock   atomic.Int64
	refused atomic.Bool // its session
	once    func()      // what happens after the state was read once
}

func (m *moving) State() *pdp.State {
	if f := m.once; f != nil {
		m.once = nil
		defer f()
	}
	return m.state.Load()
}

func (m *moving) Carry(context.Context, access.Consequence, *access.Request, *access.Decision) error {
	return nil
}

func (m *moving) Refusal(who *access.Identity) (access.Outcome, string) {
	if m.refused.Load() && who.Session == "ses_1" {
		return access.Revoke, "the session was revoked"
	}
	return access.Deny, ""
}

// endings is evidence that keeps outcomes.
type endings struct {
	written
	out atomic.Pointer[audit.Outcome]
}

func (e *endings) Outcome(_ context.Context, o audit.Outcome) (audit.Ref, error) {
	e.out.Store(&o)
	return audit.Ref{}, nil
}

// gate is a gate on what m is at each moment.
func (m *moving) gate(t *testing.T, log gate.Evidence) *gate.Gate {
	t.Helper()
	g, err := gate.New(m, log, m, noGrants{}, noFacts{}, m, engine(t), noValues{}, noLabels{}, m, func() time.Time { return now.Add(time.Duration(m.clock.Load())) })
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func stateWith(t *testing.T, change func(*registry.Content), policies ...policy.Policy) *pdp.State {
	t.Helper()
	c := registry.Content{
		Agents:  []registry.Agent{{ID: "bot", Owner: "team", State: registry.AgentActive, Expires: now.Add(time.Hour)}, {ID: "other", Owner: "team", State: registry.AgentActive, Expires: now.Add(time.Hour)}},
		Servers: []registry.Server{{ID: "up", Owner: "team", State: registry.ServerSanctioned}, {ID: "elsewhere", Owner: "team", State: registry.ServerSanctioned}},
		Tools:   []registry.Tool{{Server: "up", Name: "echo", State: registry.ToolApproved, SeenDigest: "sha256:1", PinDigest: "sha256:1", Class: registry.ToolClass{Class: "read"}}},
	}
	if change != nil {
		change(&c)
	}
	view, err := registry.NewView(c)
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.Compile(policies, policy.Catalog{
		Servers:    []policy.ServerInfo{{ID: "up"}},
		Tools:      []policy.ToolInfo{{Server: "up", Name: "echo", Kind: access.KindTool, Classes: []string{"read"}}},
		AllowLists: []policy.AllowList{{Agent: "bot", Expires: now.Add(time.Hour), Patterns: []string{"up/echo"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &pdp.State{View: view, Set: set}
}

// A call in flight ends, and shows nothing of its result, once its agent, session or
// server is taken out of use, whoever did it; the evidence says so. What is about
// others lets it run.
func TestWhatIsWithdrawnEndsCallsInFlight(t *testing.T) {
	agent := func(s registry.AgentState) func(*registry.Content) {
		return func(c *registry.Content) { c.Agents[0].State = s }
	}
	server := func(i int, s registry.ServerState) func(*registry.Content) {
		return func(c *registry.Content) { c.Servers[i].State = s }
	}
	for name, tt := range map[string]struct {
		change func(*registry.Content)
		later  time.Duration
		refuse bool
		cut    string // "" lets it run
	}{
		"the agent is suspended":       {change: agent(registry.AgentSuspended), cut: "agent"},
		"the agent is quarantined":     {change: agent(registry.AgentQuarantined), cut: "agent"},
		"the agent is retired":         {change: agent(registry.AgentRetired), cut: "agent"},
		"the agent is gone":            {change: func(c *registry.Content) { c.Agents = c.Agents[1:] }, cut: "agent"},
		"the agent expires":            {later: time.Hour, cut: "agent"},
		"the server is quarantined":    {change: server(0, registry.ServerQuarantined), cut: "server"},
		"the server is blocked":        {change: server(0, registry.ServerBlocked), cut: "server"},
		"the session is revoked":       {refuse: true, cut: "session"},
		"nothing":                      {},
		"another agent is suspended":   {change: func(c *registry.Content) { c.Agents[1].State = registry.AgentSuspended }},
		"another server is blocked":    {change: server(1, registry.ServerBlocked)},
		"the definition is pending":    {change: func(c *registry.Content) { c.Tools[0].State = registry.ToolPending }},
		"the agent is soon to expire":  {later: time.Hour - 1},
		"the agent may do less by now": {change: func(c *registry.Content) { c.Agents[0].RiskTier = 3 }},
	} {
		t.Run(name, func(t *testing.T) {
			log, m := &endings{}, &moving{}
			m.state.Store(stateWith(t, nil))
			g := m.gate(t, log)
			resp, dec, err := g.Do(t.Context(), request(), func(ctx context.Context, _ *gate.Dispatch) (access.Response, error) {
				m.state.Store(stateWith(t, tt.change))
				m.clock.Store(int64(tt.later))
				m.refused.Store(tt.refuse)
				if n := g.Withdraw(); n != 0 != (tt.cut != "") {
					t.Errorf("%d calls were ended", n)
				}
				if tt.cut != "" {
					<-ctx.Done() // else the test hangs
				}
				return access.Response{Body: []byte("late"), Reached: access.ReachYes}, ctx.Err()
			})
			out := log.out.Load()
			if tt.cut == "" {
				if err != nil || !dec.Allowed() || string(resp.Body) != "late" || out.Status != audit.StatusOK {
					t.Errorf("it ended with %q, %v, %v, %s", resp.Body, dec, err, out.Status)
				}
				return
			}
			if err != nil || dec.Allowed() || dec.Reason == "" || len(resp.Body) > 0 {
				t.Errorf("the agent gets %q under %+v, %v", resp.Body, dec, err)
			}
			if out.Status != audit.StatusRevoked || !slices.Contains(out.Findings, "cut."+tt.cut) || len(out.Result) > 0 {
				t.Errorf("the evidence says %s %v %q", out.Status, out.Findings, out.Result)
			}
			if tt.cut == "agent" && !strings.Contains(dec.Reason, `"bot"`) {
				t.Errorf("the reason is %q", dec.Reason)
			}
		})
	}
}
