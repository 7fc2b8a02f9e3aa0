package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
	"rutile/internal/store"
)

// What lists say of sightings, variants and findings is counted the same on both
// databases, and a change of a finding changes their revision, once more for each.
func TestListsAreCounted(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		ctx := t.Context()
		empty := must[finding.Revision](t)(s.Revision(ctx))
		b := laptop(1)
		b.Sightings[0].User, b.Sightings[0].Target.Transport = "usr_1", "stdio"
		taken(ctx, t, s, b, at(1))
		taken(ctx, t, s, laptop(2), at(2))
		marks, ways, err := s.FoundBy(ctx, at(2))
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(marks, func(a, b inventory.Mark) int { return len(b.User) - len(a.User) })
		want := []inventory.Mark{{Server: "pkg:npm/notes", Host: "hst_000000000001", User: "usr_1", Source: "client", Gone: true}, {Server: "pkg:npm/notes", Host: "hst_000000000002", Source: "client"}}
		if !slices.Equal(marks, want) {
			t.Errorf("sightings: %+v", marks)
		}
		if len(ways) != 2 || !slices.Contains(ways, inventory.Way{Server: "pkg:npm/notes", Transport: "stdio"}) {
			t.Errorf("variants: %+v", ways)
		}
		counted := func() map[string]int {
			t.Helper()
			out := map[string]int{}
			for _, x := range must[[]finding.Standing](t)(s.Standing(ctx, finding.SubjectFound)) {
				out[fmt.Sprintf("%s %s %s %v", x.Subject, x.Rule, x.Severity, x.Until.IsZero())] += x.Count
			}
			return out
		}
		if got := counted(); fmt.Sprint(got) != "map[pkg:npm/notes LITERAL_SECRET medium true:2 pkg:npm/notes UNPINNED medium true:1]" {
			t.Errorf("findings: %v", got)
		}
		before := must[finding.Revision](t)(s.Revision(ctx))
		if before == empty {
			t.Error("findings were added and the revision is as before")
		}
		taken(ctx, t, s, laptop(2), at(3))
		if again := must[finding.Revision](t)(s.Revision(ctx)); again != before {
			t.Errorf("seen again, the revision went from %+v to %+v", before, again)
		}
		f := must[[]finding.Finding](t)(s.Findings(ctx, finding.Filter{Rule: string(discovery.Unpinned)}))[0]
		f.State, f.Mute = finding.Muted, &finding.Mute{By: "user:ann", Why: "known", At: at(3), Until: at(3).Add(time.Hour)}
		if err := s.CommitFindings(ctx, finding.Changes{At: at(3), Put: []finding.Finding{f}}); err != nil {
			t.Fatal(err)
		}
		if after := must[finding.Revision](t)(s.Revision(ctx)); after == before {
			t.Error("a finding was muted and the revision is as before")
		}
		if got := counted(); fmt.Sprint(got) != "map[pkg:npm/notes LITERAL_SECRET medium true:2 pkg:npm/notes UNPINNED medium false:1]" {
			t.Errorf("findings after a mute: %v", got)
		}
	})
}
