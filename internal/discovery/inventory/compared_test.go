package inventory_test

import (
	"slices"
	"testing"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
)

// A finding that follows from a copy of public data is taken back only by a run
// that read the copy and looked at the server.
func TestFindingOfACopyIsTakenBackOnlyByWhoReadIt(t *testing.T) {
	at := finding.Finding{Rule: string(discovery.KnownVulnerable), Subject: finding.Subject{Kind: finding.SubjectFound, ID: "pkg:npm/notes"}}
	for name, c := range map[string]struct {
		change    func(*inventory.Batch)
		said, yes bool
	}{
		"read":            {func(*inventory.Batch) {}, true, true},
		"not asked":       {func(b *inventory.Batch) { b.Sources = b.Sources[:1]; b.Coverage = b.Coverage[:1] }, false, false},
		"failed":          {func(b *inventory.Batch) { b.Coverage[1].Outcome = discovery.Failed }, true, false},
		"a record unread": {func(b *inventory.Batch) { b.Coverage[1].Outcome = discovery.Unreadable }, true, false},
		"interrupted":     {func(b *inventory.Batch) { b.Coverage = b.Coverage[:1] }, true, false},
		"looked elsewhere": {func(b *inventory.Batch) {
			b.Sightings, b.Coverage = nil, b.Coverage[1:]
		}, true, false},
		"gone": {func(b *inventory.Batch) { b.Sightings = nil }, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			m.take(t, laptop(0, noon), noon)
			b := laptop(0, noon.Add(time.Hour))
			b.Sources = append(b.Sources, "vulnerabilities")
			b.Coverage = append(b.Coverage, discovery.Coverage{Source: "vulnerabilities", Place: "~/npm.zip", Outcome: discovery.Read})
			c.change(b)
			if err := b.Check(); err != nil {
				t.Fatal(err)
			}
			kept := m.Kept
			kept.Host = &inventory.Host{ID: b.Host, System: b.System}
			taking := inventory.Taking{Batch: b, Now: noon.Add(time.Hour)}
			_, _, covered := taking.Plan(kept)
			says := taking.Says(kept, covered)
			i := slices.IndexFunc(says, func(s finding.Says) bool { return s.Source == inventory.SourceOf(b.Host, "vulnerabilities") })
			if (i >= 0) != c.said {
				t.Fatalf("said %v, want %v", i >= 0, c.said)
			}
			if i >= 0 && says[i].Covers(&at) != c.yes {
				t.Errorf("covers %v, want %v", !c.yes, c.yes)
			}
		})
	}
}
