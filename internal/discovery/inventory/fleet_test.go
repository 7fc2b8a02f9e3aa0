package inventory_test

import (
	"fmt"
	"testing"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
)

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

func hostOf(n int) string { return fmt.Sprintf("hst_%012x", n) }

// laptop is what a run on laptop n sees: one entry of one package.
func laptop(n int, at time.Time) *inventory.Batch {
	args := [][]string{{"-y", "notes@1.0.0"}, {"-y", "notes@1.1.0"}, {"-y", "notes"}}[n%3]
	d := &discovery.Describer{Paths: &discovery.Paths{Home: "/home/mina", Salt: fmt.Append(nil, n)}}
	target := d.Describe(discovery.Spec{Command: "npx", Args: args}).Target
	seen := discovery.Sighting{
		Source: "client", User: "usr_0123456789ab", Fact: discovery.Configured, Strength: 0.9, Clients: []string{"cursor"}, Rows: []string{"cursor.user"}, Scope: discovery.ScopeUser,
		Place: discovery.Place{Path: "~/.cursor/mcp.json", Pointer: "/mcpServers/notes", Line: 3}, Name: "notes", Target: target,
		Secrets: []discovery.SecretRef{{Name: "NOTES_TOKEN", Where: "env", Kind: discovery.SecretLiteral, Sensitive: true}}, Why: []string{"an entry of Cursor"},
	}
	b := inventory.NewBatch(&discovery.Seen{
		Started: at, Ended: at.Add(time.Second), Sightings: []discovery.Sighting{seen},
		Coverage: []discovery.Coverage{{Source: "client", User: seen.User, Row: "cursor.user", Place: seen.Place.Path, Outcome: discovery.Read, Entries: 1}},
		Agents:   []discovery.Agent{{Client: "cursor", Name: "Cursor", Home: "~", User: seen.User, Supported: true}},
	}, hostOf(n), "linux", "test", []string{"client"})
	return &b
}

// memory keeps what plans change, as a store does.
type memory struct{ inventory.Kept }

func newMemory() *memory {
	return &memory{inventory.Kept{
		Servers: map[string]inventory.Server{}, Variants: map[string]inventory.Variant{}, Sightings: map[string]inventory.Sighting{},
		Agents: map[string]inventory.Agent{}, Credentials: map[string]inventory.Credential{},
	}}
}

// take plans a batch on what is kept and applies it.
func (m *memory) take(t *testing.T, b *inventory.Batch, at time.Time) (inventory.Changes, inventory.Result) {
	t.Helper()
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	taking := inventory.Taking{Batch: b, Now: at}
	kept := m.Kept
	kept.Sightings, kept.Host = map[string]inventory.Sighting{}, nil
	for id, s := range m.Sightings {
		if s.Host == b.Host {
			kept.Sightings[id] = s
			kept.Host = &inventory.Host{ID: b.Host, System: b.System}
		}
	}
	c, res, _ := taking.Plan(kept)
	for _, v := range c.Servers {
		m.Servers[v.Key] = v
	}
	for _, v := range c.Variants {
		m.Variants[v.ID] = v
	}
	for _, v := range c.Sightings {
		m.Sightings[v.ID] = v
	}
	for _, id := range c.SeenSightings {
		s := m.Sightings[id]
		s.Last = at
		m.Sightings[id] = s
	}
	for _, v := range c.Agents {
		m.Agents[v.ID] = v
	}
	for _, v := range c.Credentials {
		m.Credentials[v.ID] = v
	}
	return c, res
}

// Forty laptops with one package are one server, three variants and forty
// sightings, and the same again writes nothing but when they were seen
// (discovery.md 23, test 6).
func TestAFleetIsOneServer(t *testing.T) {
	m := newMemory()
	for n := range 40 {
		m.take(t, laptop(n, noon), noon)
	}
	if len(m.Servers) != 1 || len(m.Variants) != 3 || len(m.Sightings) != 40 || len(m.Agents) != 40 || len(m.Credentials) != 40 {
		t.Fatalf("%d servers, %d variants, %d sightings, %d agents, %d credentials", len(m.Servers), len(m.Variants), len(m.Sightings), len(m.Agents), len(m.Credentials))
	}
	later := noon.Add(time.Hour)
	for n := range 40 {
		c, res := m.take(t, laptop(n, later), later)
		if len(c.Servers)+len(c.Variants)+len(c.Sightings)+len(c.Agents)+len(c.Credentials) > 0 {
			t.Fatalf("laptop %d writes %+v", n, c)
		}
		if c.Host == nil || len(c.Host.Runs) != len(laptop(n, later).Sources) { // when each source ran is in its row
			t.Fatalf("laptop %d: the host is %+v", n, c.Host)
		}
		if res.Seen != 1 || len(c.SeenSightings) != 1 {
			t.Fatalf("laptop %d: %+v", n, res)
		}
	}
	for _, s := range m.Sightings {
		if !s.First.Equal(noon) || !s.Last.Equal(later) {
			t.Fatalf("seen from %s to %s", s.First, s.Last)
		}
	}
}

// What is not there at a place that was read is gone, and comes back as the same.
func TestWhatIsNotThereAnyMoreIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		coverage []discovery.Coverage
		dropped  int
		gone     int
	}{
		"the file was read":             {[]discovery.Coverage{{Source: "client", User: "usr_0123456789ab", Place: "~/.cursor/mcp.json", Outcome: discovery.Read}}, 0, 1},
		"the file is not there":         {[]discovery.Coverage{{Source: "client", User: "usr_0123456789ab", Row: "cursor.user", Place: "Cursor", Outcome: discovery.Absent}}, 0, 1},
		"the file could not be read":    {[]discovery.Coverage{{Source: "client", User: "usr_0123456789ab", Place: "~/.cursor/mcp.json", Outcome: discovery.Unreadable}}, 0, 0},
		"the file was not visible":      {[]discovery.Coverage{{Source: "client", User: "usr_0123456789ab", Place: "~/.cursor/mcp.json", Outcome: discovery.Denied}}, 0, 0},
		"another user's was read":       {[]discovery.Coverage{{Source: "client", User: "usr_ffffffffffff", Place: "~/.cursor/mcp.json", Outcome: discovery.Read}}, 0, 0},
		"nobody looked":                 {nil, 0, 0},
		"some of it was not kept":       {[]discovery.Coverage{{Source: "client", User: "usr_0123456789ab", Place: "~/.cursor/mcp.json", Outcome: discovery.Read}}, 1, 0},
		"only processes were read":      {[]discovery.Coverage{{Source: "process", Place: "processes", Outcome: discovery.Read}}, 0, 0},
		"read, and cut by an interrupt": {[]discovery.Coverage{{Source: "client", User: "usr_0123456789ab", Place: "~/.cursor/mcp.json", Outcome: discovery.Read}, {Source: "client", User: "usr_0123456789ab", Place: "~/.cursor/mcp.json", Outcome: discovery.Cut}}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			m.take(t, laptop(1, noon), noon)
			b := laptop(1, noon.Add(time.Hour))
			b.Sightings, b.Coverage, b.Dropped, b.Sources = nil, c.coverage, c.dropped, []string{"client", "process"}
			if _, res := m.take(t, b, noon.Add(time.Hour)); res.Gone != c.gone {
				t.Fatalf("%d are gone, want %d", res.Gone, c.gone)
			}
			back, res := m.take(t, laptop(1, noon.Add(2*time.Hour)), noon.Add(2*time.Hour))
			if c.gone == 1 && (res.Changed != 1 || !back.Sightings[0].Gone.IsZero() || !back.Sightings[0].Reappeared.Equal(noon.Add(2*time.Hour))) {
				t.Errorf("back again: %+v %+v", res, back.Sightings)
			}
			if c.gone == 0 && res.Seen != 1 {
				t.Errorf("seen again: %+v", res)
			}
		})
	}
}

// Unseen for long and then seen is back, though nobody saw it gone.
func TestWhatWasMissingReappears(t *testing.T) {
	m := newMemory()
	m.take(t, laptop(1, noon), noon)
	at := noon.Add(inventory.DefaultMissing + time.Hour)
	c, _ := m.take(t, laptop(1, at), at)
	if len(c.Sightings) != 1 || !c.Sightings[0].Reappeared.Equal(at) {
		t.Fatalf("%+v", c.Sightings)
	}
}

// What a path or a bare name on one machine makes is never another machine's.
func TestLocalKeysStayWithTheirHost(t *testing.T) {
	for key, scoped := range map[string]bool{"path:0123": true, "script:0123": true, "command:notes": true, "pkg:npm/notes": false, "https://a.example/mcp": false, "git:host/x//y.py": false, "sha256:00": false} {
		one, two := inventory.Key(hostOf(1), key), inventory.Key(hostOf(2), key)
		if (one != two) != scoped {
			t.Errorf("%s: %s and %s", key, one, two)
		}
	}
}

// A machine says whatever it likes, and stands for itself alone: it names no key of
// another's paths, and routes nothing of others by saying so.
func TestAMachineSpeaksForItselfAlone(t *testing.T) {
	const known = "pkg:npm/known"
	theirs := inventory.Key(hostOf(2), "path:0123")
	reg := discovery.Registry{Known: true, Servers: []discovery.Registered{{ID: "notes", State: "sanctioned", Key: theirs, Target: discovery.Target{Kind: discovery.KindLocal}},
		{ID: "known", State: "sanctioned", Key: known, Target: discovery.Target{Kind: discovery.KindPackage}}}}
	for name, c := range map[string]struct {
		target discovery.Target
		routed bool // as the machine has it
		key    string
		counts bool // as routed
	}{
		"the key of another's path":        {discovery.Target{Key: theirs, Kind: discovery.KindLocal}, false, "host:" + hostOf(1) + "/" + theirs, false},
		"its own, with its host":           {discovery.Target{Key: inventory.Key(hostOf(1), "path:0123"), Kind: discovery.KindLocal}, false, inventory.Key(hostOf(1), "path:0123"), false},
		"routed, it says":                  {discovery.Target{Key: "pkg:npm/notes", Kind: discovery.KindPackage}, true, "pkg:npm/notes", false},
		"routed to what is not registered": {discovery.Target{Key: "pkg:npm/notes", Kind: discovery.KindGateway, Server: "other"}, false, "rutile:other", true},
		"routed to what is registered":     {discovery.Target{Key: "rutile:notes", Kind: discovery.KindGateway, Server: "notes"}, false, theirs, true},
		"resolved where it was seen":       {discovery.Target{Key: "pkg:npm/odd", Kind: discovery.KindLocal, Server: "notes"}, true, theirs, true},
		"a package that is registered":     {discovery.Target{Key: known, Kind: discovery.KindPackage}, true, known, false},
	} {
		b := laptop(1, noon)
		b.Sightings[0].Target, b.Sightings[0].Routed = c.target, c.routed
		taking := inventory.Taking{Batch: b, Now: noon, Registry: reg}
		got, _, _ := taking.Plan(inventory.Kept{})
		if s := got.Sightings[0]; s.Server != c.key || s.Routed != c.counts {
			t.Errorf("%s: %s, routed %v", name, s.Server, s.Routed)
		}
	}
	// A process that the gateway started is its server's, if that is registered: by its
	// package or, on the same machine alone, by its path.
	own := inventory.Key(hostOf(1), "path:4567")
	reg.Servers = append(reg.Servers, discovery.Registered{ID: "own", State: "sanctioned", Key: own, Target: discovery.Target{Kind: discovery.KindLocal}})
	for _, c := range []struct {
		seen, key string
		routed    bool
	}{
		{known, known, true}, {"pkg:npm/shadow", "pkg:npm/shadow", false},
		{"path:4567", own, true}, {"path:0123", inventory.Key(hostOf(1), "path:0123"), false},
	} {
		b := laptop(1, noon)
		b.Sightings[0].Fact, b.Sightings[0].Routed, b.Sightings[0].Target = discovery.Running, true, discovery.Target{Key: c.seen, Kind: discovery.KindPackage}
		taking := inventory.Taking{Batch: b, Now: noon, Registry: reg}
		if got, _, _ := taking.Plan(inventory.Kept{}); got.Sightings[0].Server != c.key || got.Sightings[0].Routed != c.routed {
			t.Errorf("a process of %s: %+v", c.seen, got.Sightings[0])
		}
	}
	b := laptop(1, noon)
	b.Findings = []discovery.Finding{{Rule: discovery.KnownVulnerable, Severity: discovery.Critical, Key: theirs, Source: "client"}}
	taking := inventory.Taking{Batch: b, Now: noon}
	_, _, covered := taking.Plan(inventory.Kept{})
	if about := taking.Says(inventory.Kept{}, covered)[0].Raised[0].Subject.ID; about == theirs {
		t.Error("a finding of one machine is about a path of another")
	}
}
