package finding_test

import (
	"slices"
	"testing"
	"time"

	"rutile/internal/finding"
)

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

func raised(severity finding.Severity) finding.Raised {
	return finding.Raised{Rule: "UNPINNED", Subject: finding.Subject{Kind: finding.SubjectFound, ID: "pkg:npm/notes"}, Severity: severity, Why: "why", Next: "next"}
}

// kept is a row as a store would keep it.
func kept(had map[string]finding.Finding, c *finding.Changes) []finding.Finding {
	for _, f := range c.Put {
		f.Rev++
		f.Sources = had[f.ID].Sources
		had[f.ID] = f
	}
	for _, id := range c.Seen {
		f := had[id]
		f.Last = c.At
		had[id] = f
	}
	for _, h := range c.Hold {
		f := had[h.Finding]
		f.Sources = append(slices.Clone(f.Sources), h.Source)
		slices.Sort(f.Sources)
		had[h.Finding] = f
	}
	for _, h := range c.LetGo {
		f := had[h.Finding]
		f.Sources = slices.DeleteFunc(slices.Clone(f.Sources), func(s string) bool { return s == h.Source })
		had[h.Finding] = f
	}
	var out []finding.Finding
	for _, f := range had {
		out = append(out, f)
	}
	return out
}

// A finding is one however many sources raise it, stays while one of them does, and
// is resolved when the last lets go.
func TestAFindingStaysWhileASourceHoldsIt(t *testing.T) {
	rows := map[string]finding.Finding{}
	var have []finding.Finding
	say := func(hour int, source string, list ...finding.Raised) finding.Changes {
		c := finding.Plan(have, []finding.Says{{Source: source, At: noon.Add(time.Duration(hour) * time.Hour), Raised: list, Covers: finding.Everything}})
		have = kept(rows, &c)
		return c
	}
	if c := say(0, "a", raised(finding.Medium)); len(c.Put) != 1 || len(c.Opened) != 1 {
		t.Fatalf("%+v", c)
	}
	if c := say(1, "b", raised(finding.Medium)); len(c.Put) != 0 || len(c.Hold) != 1 || len(c.Seen) != 1 {
		t.Errorf("another source: %+v", c)
	}
	if c := say(2, "b", raised(finding.Medium)); len(c.Put)+len(c.Hold)+len(c.LetGo) != 0 || len(c.Seen) != 1 {
		t.Errorf("the same again: %+v", c)
	}
	if c := say(3, "a"); len(c.LetGo) != 1 || len(c.Ended) != 0 || have[0].State != finding.Open {
		t.Errorf("one lets go: %+v", c)
	}
	if c := say(4, "b"); len(c.Ended) != 1 || have[0].State != finding.Resolved || !have[0].Resolved.Equal(noon.Add(4*time.Hour)) {
		t.Errorf("the last lets go: %+v", c)
	}
	if c := say(5, "b", raised(finding.High)); len(c.Opened) != 1 || have[0].Reopened != 1 || have[0].Severity != finding.High || !have[0].First.Equal(noon) {
		t.Errorf("back again: %+v", have[0])
	}
}

// A source that did not look takes nothing away.
func TestWhoDidNotLookResolvesNothing(t *testing.T) {
	rows := map[string]finding.Finding{}
	c := finding.Plan(nil, []finding.Says{{Source: "a", At: noon, Raised: []finding.Raised{raised(finding.Low)}}})
	have := kept(rows, &c)
	for name, covers := range map[string]func(*finding.Finding) bool{"nothing": nil, "something else": func(*finding.Finding) bool { return false }} {
		if c := finding.Plan(have, []finding.Says{{Source: "a", At: noon.Add(time.Hour), Covers: covers}}); !c.Empty() {
			t.Errorf("covering %s: %+v", name, c)
		}
	}
	if c := finding.Plan(have, []finding.Says{{Source: "stranger", At: noon, Covers: finding.Everything}}); !c.Empty() {
		t.Errorf("another source lets it go: %+v", c)
	}
}

// A mute ends by itself, and neither hides what came back after it nor outlives
// what it was for.
func TestAMuteEnds(t *testing.T) {
	f := finding.Finding{State: finding.Muted, Mute: &finding.Mute{Until: noon}}
	if f.Now(noon.Add(-time.Second)) != finding.Muted || f.Now(noon) != finding.Open {
		t.Error("the end of a mute is not when it says")
	}
	f.Mute = nil
	if f.Now(noon.Add(-time.Hour)) != finding.Open {
		t.Error("muted by nobody")
	}
	rows := map[string]finding.Finding{}
	c := finding.Plan(nil, []finding.Says{{Source: "a", At: noon, Raised: []finding.Raised{raised(finding.Low)}}})
	have := kept(rows, &c)
	have[0].State, have[0].Mute = finding.Muted, &finding.Mute{Until: noon.Add(24 * time.Hour)}
	rows[have[0].ID] = have[0]
	c = finding.Plan(have, []finding.Says{{Source: "a", At: noon.Add(time.Hour), Covers: finding.Everything}})
	have = kept(rows, &c)
	if have[0].State != finding.Resolved {
		t.Fatalf("what is so no more is %s", have[0].State)
	}
	for hours, want := range map[int]finding.State{2: finding.Muted, 30: finding.Open} {
		c := finding.Plan(have, []finding.Says{{Source: "a", At: noon.Add(time.Duration(hours) * time.Hour), Raised: []finding.Raised{raised(finding.Low)}}})
		if len(c.Put) != 1 || c.Put[0].State != want {
			t.Errorf("back after %d hours: %+v", hours, c.Put)
		}
	}
}

// What nobody graded is the worst, and ids tell rule, subject and place apart.
func TestWhatNobodyGradedIsTheWorst(t *testing.T) {
	if !finding.Severity("").AtLeast(finding.Critical) || finding.Low.AtLeast(finding.Medium) {
		t.Error("severities are out of order")
	}
	about := finding.Subject{Kind: "found", ID: "x"}
	ids := map[string]bool{finding.ID("A", about, ""): true, finding.ID("B", about, ""): true, finding.ID("A", about, "p"): true, finding.ID("A", finding.Subject{Kind: "server", ID: "x"}, ""): true, finding.ID("Af", finding.Subject{Kind: "ound", ID: "x"}, ""): true}
	if len(ids) != 5 {
		t.Errorf("%d ids of five findings", len(ids))
	}
}

// When a finding is due follows from when it came up, its severity and the tier of
// what it is about, until a person says otherwise.
func TestFindingsAreDue(t *testing.T) {
	const day = 24 * time.Hour
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		severity finding.Severity
		tier     int
		within   time.Duration
	}{
		{finding.Info, 3, 0}, {finding.Low, 0, 30 * day}, {finding.Medium, 1, 30 * day}, {finding.Medium, 2, 5 * day}, {finding.Low, 3, day},
		{finding.High, 0, 5 * day}, {finding.High, 3, day}, {finding.Critical, 0, day}, {"", 0, day},
	} {
		if got := finding.Within(c.severity, c.tier); got != c.within {
			t.Errorf("%q at tier %d: %s, want %s", c.severity, c.tier, got, c.within)
		}
	}
	var kept []finding.Finding
	tell := func(when time.Time, raised ...finding.Raised) finding.Finding {
		t.Helper()
		c := finding.Plan(kept, []finding.Says{{Source: "a", At: when, Raised: raised, Covers: finding.Everything}})
		if len(c.Put) > 0 {
			kept = c.Put
			kept[0].Sources = nil
			if len(raised) > 0 {
				kept[0].Sources = []string{"a"}
			}
		}
		return kept[0]
	}
	r := finding.Raised{Rule: "X", Subject: finding.Subject{Kind: finding.SubjectServer, ID: "s"}, Severity: finding.Medium}
	if f := tell(at, r); !f.Due.Equal(at.Add(30*day)) || f.DueBy != "" {
		t.Fatalf("new: due %s", f.Due)
	}
	if f := tell(at.Add(day), r); !f.Due.Equal(at.Add(30 * day)) {
		t.Errorf("seen again: due %s", f.Due)
	}
	worse := r
	worse.Tier = 3
	if f := tell(at.Add(2*day), worse); !f.Due.Equal(at.Add(day)) || !f.Overdue(at.Add(2*day)) {
		t.Errorf("of a worse tier: due %s", f.Due)
	}
	kept[0].Promise("user:ann", at.Add(9*day))
	if f := tell(at.Add(3*day), r); !f.Due.Equal(at.Add(9*day)) || f.DueBy != "user:ann" {
		t.Errorf("promised: due %s by %q", f.Due, f.DueBy)
	}
	kept[0].Promise("user:bob", time.Time{})
	if f := kept[0]; f.DueBy != "user:ann" {
		t.Errorf("nothing was promised, and it is by %q", f.DueBy)
	}
	kept[0].Promise("", time.Time{})
	if f := kept[0]; !f.Due.Equal(at.Add(30*day)) || f.DueBy != "" {
		t.Errorf("taken back: due %s by %q", f.Due, f.DueBy)
	}
	kept[0].Promise("user:ann", at.Add(9*day))
	tell(at.Add(4 * day)) // resolved
	back := at.Add(100 * day)
	if f := tell(back, r); !f.Due.Equal(back.Add(30*day)) || f.DueBy != "" || f.Reopened != 1 {
		t.Errorf("it came back: due %s by %q", f.Due, f.DueBy)
	}
	// One of an earlier version has no time it was opened; what was promised stands.
	kept[0].Opened, kept[0].Due, kept[0].DueBy, kept[0].Owner = time.Time{}, at, "", "ann"
	if f := tell(back.Add(day), r); !f.Due.Equal(at) || f.DueBy != "ann" {
		t.Errorf("an older one that was promised: due %s by %q", f.Due, f.DueBy)
	}
	kept[0].Opened, kept[0].Due, kept[0].DueBy = time.Time{}, time.Time{}, ""
	if f := tell(back.Add(2*day), r); !f.Due.Equal(back.Add(32 * day)) {
		t.Errorf("an older one: due %s", f.Due)
	}
}
