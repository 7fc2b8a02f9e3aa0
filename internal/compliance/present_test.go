package compliance_test

import (
	"context"
	"testing"
	"time"

	"rutile/internal/audit"
	"rutile/internal/compliance"
	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
	"rutile/internal/registry"
)

// nothing is a log without evidence.
type nothing struct{}

func (nothing) Count(context.Context, audit.Query, int) (int, error) { return 0, nil }
func (nothing) Size() uint64                                         { return 0 }
func (nothing) Checkpoint() []byte                                   { return nil }
func (nothing) VerifierKey() string                                  { return "" }

// present holds, of each list, a different number of entries in each state.
func present(t *testing.T, at time.Time) compliance.Present {
	t.Helper()
	view, err := registry.NewView(registry.Content{
		Servers: []registry.Server{
			{ID: "a", State: registry.ServerSanctioned}, {ID: "b", State: registry.ServerSanctioned}, {ID: "c", State: registry.ServerSanctioned},
			{ID: "d", State: registry.ServerTriaged}, {ID: "e", State: registry.ServerQuarantined}, {ID: "f", State: registry.ServerQuarantined}, {ID: "g", State: registry.ServerRetired},
		},
		Agents: []registry.Agent{
			{ID: "x", State: registry.AgentActive, Expires: at.Add(time.Hour)}, {ID: "y", State: registry.AgentActive, Expires: at.Add(time.Second)},
			{ID: "z", State: registry.AgentActive, Expires: at.Add(-time.Second)}, {ID: "w", State: registry.AgentSuspended},
		},
		Tools: []registry.Tool{
			{Server: "a", Name: "1", State: registry.ToolPending}, {Server: "a", Name: "2", State: registry.ToolChanged}, {Server: "d", Name: "3", State: registry.ToolPending},
			{Server: "d", Name: "4", State: registry.ToolApproved}, {Server: "e", Name: "5", State: registry.ToolPending},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	found := []inventory.Entry{
		{Server: inventory.Server{Key: "1"}, Status: discovery.StatusShadow}, {Server: inventory.Server{Key: "2", Owner: "ann"}, Status: discovery.StatusShadow}, {Server: inventory.Server{Key: "3"}, Status: discovery.StatusBypass},
		{Server: inventory.Server{Key: "4"}, Status: discovery.StatusRouted}, {Server: inventory.Server{Key: "5"}, Status: inventory.StatusGone},
	}
	late, soon := at.Add(-time.Hour), at.Add(time.Hour)
	open := []finding.Finding{
		{ID: "1", Severity: finding.Critical, State: finding.Open, Due: late}, {ID: "2", Severity: finding.High, State: finding.Open, Due: soon},
		{ID: "3", Severity: finding.Medium, State: finding.Open, Due: late}, {ID: "4", Severity: finding.Low, State: finding.Open, Due: late}, {ID: "5", Severity: finding.Info, State: finding.Open},
	}
	return compliance.NewPresent(at, view, found, open)
}

// What there is is counted as it is at the time of the report, and every figure of it
// comes with the command that counts the same.
func TestFiguresOfThePresentAreCounted(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	p := present(t, at)
	got := map[string]int{}
	for _, id := range compliance.Frameworks() {
		r, err := compliance.New(t.Context(), nothing{}, &p, id, at.AddDate(-2, 0, 0), at.AddDate(-1, 0, 0))
		if err != nil {
			t.Fatal(err)
		}
		if !r.At.Equal(at) {
			t.Errorf("%s was counted at %s", id, r.At)
		}
		for _, c := range r.Controls {
			for _, m := range c.Measures {
				for _, f := range m.Figures {
					if f.Query.Of == compliance.Events {
						continue
					}
					if f.More {
						t.Errorf("%s %s: %q is not exact", id, c.ID, f.Name)
					}
					got[f.Command+" "+f.Console] = f.Count
				}
			}
		}
	}
	for figure, want := range map[string]int{
		"rutile server list --count --state sanctioned /console/servers?state=sanctioned":                 3,
		"rutile server list --count --state triaged /console/servers?state=triaged":                       1,
		"rutile server list --count --state quarantined /console/servers?state=quarantined":               2,
		"rutile agent list --count --state active /console/agents?state=active":                           2,
		"rutile agent list --count --state expired /console/agents?state=expired":                         1,
		"rutile tool list --count --state pending ":                                                       3,
		"rutile tool list --count --state changed ":                                                       1,
		"rutile tool list --count --state quarantined ":                                                   0,
		"rutile inventory list --count /console/inventory":                                                5,
		"rutile inventory list --count --status bypass /console/inventory?status=bypass":                  1,
		"rutile inventory list --count --status shadow /console/inventory?status=shadow":                  2,
		"rutile inventory list --count --unowned /console/inventory?unowned=true":                         4,
		"rutile finding list --count --state open /console/findings?state=open":                           5,
		"rutile finding list --count --state open --severity high /console/findings?from=high&state=open": 2,
		"rutile finding list --count --state open --overdue /console/findings?due=overdue&state=open":     3,
	} {
		if n, ok := got[figure]; !ok || n != want {
			t.Errorf("%q is %d (known: %t), and not %d", figure, n, ok, want)
		}
		delete(got, figure)
	}
	for figure, n := range got {
		t.Errorf("no test knows %q, which is %d", figure, n)
	}
}
