package inventory_test

import (
	"strings"
	"testing"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
)

// How grave it is that a server is seen past the gateway follows from what was
// decided about it, and what is retired is told as that alone.
func TestWhatIsSeenIsJudgedByWhatWasDecided(t *testing.T) {
	for state, want := range map[string]string{
		"":            "medium SHADOW_SERVER, tier 0",
		"discovered":  "medium BYPASS_ENTRY, tier 2",
		"triaged":     "medium BYPASS_ENTRY, tier 2",
		"sanctioned":  "high BYPASS_ENTRY, tier 2",
		"deprecated":  "medium BYPASS_ENTRY, tier 2",
		"quarantined": "high BYPASS_ENTRY, tier 2",
		"blocked":     "high BYPASS_ENTRY, tier 2",
		"retired":     "high REAPPEARED, tier 2",
	} {
		const key = "pkg:npm/notes"
		target := discovery.Target{Key: key, Kind: discovery.KindPackage, Package: key, Version: "1.0.0"}
		reg := discovery.Registry{Known: true}
		if state != "" {
			reg.Servers = []discovery.Registered{{ID: "notes", State: state, Key: key, Target: target, Tier: 2}}
		}
		seen := inventory.Sighting{ID: "sgt_1", Server: key, Variant: "var_1", Host: hostOf(1), Fact: discovery.Configured, Strength: 0.9, Place: discovery.Place{Path: "~/mcp.json"}, Last: noon}
		judge := func(s inventory.Sighting) []finding.Raised {
			g := inventory.Groups([]string{key}, []inventory.Variant{{ID: "var_1", Server: key, Target: target}}, []inventory.Sighting{s}, nil)
			return g[0].Judge(reg, nil, noon.Add(-inventory.DefaultMissing))
		}
		got := judge(seen)
		if len(got) != 1 || string(got[0].Severity)+" "+got[0].Rule+", tier "+string(rune('0'+got[0].Tier)) != want {
			t.Errorf("%s: %+v, want %s", state, got, want)
			continue
		}
		if connects := strings.Contains(got[0].Next, "rutile connect"); connects == (state == "" || state == "retired" || state == "blocked" || state == "quarantined") {
			t.Errorf("%s: the next step is %q", state, got[0].Next)
		}
		gone := seen
		gone.Gone = noon
		old := seen
		old.Last = noon.Add(-inventory.DefaultMissing - time.Hour)
		if g, o := judge(gone), judge(old); len(g)+len(o) > 0 {
			t.Errorf("%s: of what is gone or missing: %+v %+v", state, g, o)
		}
	}
}
