package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"rutile/internal/discovery"
)

// source is one that sees what a test says.
type source struct {
	name string
	see  func(context.Context, *discovery.Sink) error
}

func (s source) Name() string { return s.name }

func (s source) Discover(ctx context.Context, into *discovery.Sink) error { return s.see(ctx, into) }

func clock() time.Time { return time.Unix(1_700_000_000, 0).UTC() }

func saw(fact discovery.Fact, strength float64, spec discovery.Spec, at discovery.Place) func(context.Context, *discovery.Sink) error {
	return func(_ context.Context, into *discovery.Sink) error {
		d := describer().Describe(spec)
		into.Saw(discovery.Sighting{Fact: fact, Strength: strength, Place: at, Target: d.Target})
		return nil
	}
}

// Forty laptops with the same package are one server, a few variants, forty
// sightings, and the ids do not change from run to run.
func TestLaptopsAreOneServer(t *testing.T) {
	var sources []discovery.Source
	for i := range 40 {
		args := [][]string{{"-y", "notes@1.0.0"}, {"-y", "notes@1.1.0"}, {"-y", "notes"}}[i%3]
		sources = append(sources, source{"client", saw(discovery.Configured, 0.9, discovery.Spec{Command: "npx", Args: args}, discovery.Place{Path: fmt.Sprintf("laptop-%d/mcp.json", i)})})
	}
	one := discovery.Run(t.Context(), sources, clock, nil).Report(discovery.Registry{})
	two := discovery.Run(t.Context(), sources, clock, nil).Report(discovery.Registry{})
	if len(one.Servers) != 1 || len(one.Servers[0].Variants) != 3 || len(one.Servers[0].Sightings()) != 40 {
		t.Fatalf("%d servers, %+v", len(one.Servers), one.Servers)
	}
	for i, s := range one.Servers[0].Sightings() {
		if s.ID != two.Servers[0].Sightings()[i].ID {
			t.Errorf("the id of %s changed", s.Place)
		}
	}
	for i, f := range one.Findings {
		if f.ID != two.Findings[i].ID {
			t.Errorf("the id of %s changed", f.Rule)
		}
	}
}

// Independent sources make a server surer, the same source seen again does not.
func TestIndependentSourcesAdd(t *testing.T) {
	spec := discovery.Spec{URL: "https://a.example.com/mcp"}
	score := func(sources ...discovery.Source) float64 {
		return discovery.Run(t.Context(), sources, clock, nil).Report(discovery.Registry{}).Servers[0].Score
	}
	a := source{"client", saw(discovery.Configured, 0.5, spec, discovery.Place{Path: "a"})}
	b := source{"client", saw(discovery.Configured, 0.5, spec, discovery.Place{Path: "b"})}
	c := source{"probe", saw(discovery.Reachable, 0.5, spec, discovery.Place{Address: "a.example.com:443"})}
	if got := score(a, b); got != 0.5 {
		t.Errorf("one source twice has the score %v", got)
	}
	if got := score(a, c); got != 0.75 {
		t.Errorf("two sources have the score %v", got)
	}
}

// What is found stands where the registry says (discovery.md 2 and 15).
func TestFoundIsComparedWithRegistered(t *testing.T) {
	notes := discovery.Spec{Command: "npx", Args: []string{"notes@1.0.0"}}
	shim := discovery.Spec{Command: "/usr/bin/rutile", Args: []string{"connect", "notes"}}
	key := describer().Describe(notes).Target.Key
	reg := func(state string) discovery.Registry {
		return discovery.Registry{Known: true, Servers: []discovery.Registered{{ID: "notes", State: state, Key: key, Target: describer().Describe(notes).Target}}}
	}
	direct := source{"client", saw(discovery.Configured, 0.9, notes, discovery.Place{Path: "a.json"})}
	runs := source{"process", saw(discovery.Running, 0.9, notes, discovery.Place{PID: 7})}
	routed := source{"client", saw(discovery.Configured, 0.9, shim, discovery.Place{Path: "b.json"})}
	for _, c := range []struct {
		name     string
		reg      discovery.Registry
		sources  []discovery.Source
		status   discovery.Status
		rule     discovery.Rule
		severity discovery.Severity
	}{
		{"not registered", discovery.Registry{Known: true}, []discovery.Source{direct}, discovery.StatusShadow, discovery.ShadowServer, discovery.Medium},
		{"not registered and running", discovery.Registry{Known: true}, []discovery.Source{direct, runs}, discovery.StatusShadow, discovery.ShadowServer, discovery.High},
		{"no registry", discovery.Registry{}, []discovery.Source{direct}, discovery.StatusShadow, discovery.ShadowServer, discovery.Medium},
		{"registered, direct", reg("triaged"), []discovery.Source{direct}, discovery.StatusBypass, discovery.BypassEntry, discovery.Medium},
		{"sanctioned, direct beside routed", reg("sanctioned"), []discovery.Source{direct, routed}, discovery.StatusBypass, discovery.BypassEntry, discovery.High},
		{"routed", reg("sanctioned"), []discovery.Source{routed}, discovery.StatusRouted, "", ""},
		{"routed, no registry", discovery.Registry{}, []discovery.Source{routed}, discovery.StatusRouted, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := discovery.Run(t.Context(), c.sources, clock, nil).Report(c.reg)
			if len(r.Servers) != 1 || r.Servers[0].Status != c.status {
				t.Fatalf("servers %+v, want one that is %s", r.Servers, c.status)
			}
			switch {
			case c.rule == "" && len(r.Findings) > 0:
				t.Errorf("findings %+v", r.Findings)
			case c.rule != "" && (len(r.Findings) != 1 || r.Findings[0].Rule != c.rule || r.Findings[0].Severity != c.severity):
				t.Errorf("findings %+v, want %s %s", r.Findings, c.severity, c.rule)
			}
		})
	}
}

// One source that fails hides nothing of the others.
func TestAFailingSourceHidesNothing(t *testing.T) {
	bad := source{"broken", func(context.Context, *discovery.Sink) error { return errors.New("no such device") }}
	good := source{"client", saw(discovery.Configured, 0.9, discovery.Spec{Command: "a"}, discovery.Place{Path: "a"})}
	r := discovery.Run(t.Context(), []discovery.Source{bad, good}, clock, nil).Report(discovery.Registry{})
	if len(r.Servers) != 1 || len(r.Failed()) != 1 || r.Failed()[0].Source != "broken" {
		t.Errorf("servers %d, failed %+v", len(r.Servers), r.Failed())
	}
}
