package admin_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/discovery"
	"rutile/internal/discovery/export"
	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
)

// seen is a sighting of a package in a configuration.
func seen(name, user, transport, version string) discovery.Sighting {
	return discovery.Sighting{
		Source: "client", Fact: discovery.Configured, Strength: 0.9, User: user, Place: discovery.Place{Path: "~/" + name + user, Pointer: "/mcpServers/" + name}, Name: name,
		Target: discovery.Target{Key: "pkg:npm/" + name, Kind: discovery.KindPackage, Package: "pkg:npm/" + name, Version: version, Transport: transport},
	}
}

// reported is a batch of a machine.
func reported(n int, findings []discovery.Finding, s ...discovery.Sighting) inventory.Batch {
	return inventory.Batch{
		Version: 1, ID: access.NewID(inventory.PrefixBatch), Host: fmt.Sprintf("hst_%012x", n), System: "linux", Started: day, Ended: day, Sources: []string{"client"}, Sightings: s, Findings: findings,
		Coverage: []discovery.Coverage{{Source: "client", Place: "~/x", Outcome: discovery.Read}},
	}
}

func surveyed(t *testing.T) (*watched, *admin.Inventory, *admin.Findings) {
	t.Helper()
	w := watching(t)
	v, f := found(t, w.Admin)
	w.apply("kind: User\nid: ann\nroles: [operator]\n---\nkind: User\nid: vic\nroles: [viewer]\n")
	unpinned := []discovery.Finding{{Rule: discovery.Unpinned, Severity: discovery.Medium, Key: "pkg:npm/notes", Source: "client", Place: discovery.Place{Path: "~/notesusr_000000000001"}, Why: "why"}}
	for _, b := range []inventory.Batch{
		reported(1, unpinned, seen("notes", "usr_000000000001", "stdio", ""), seen("notes", "usr_000000000002", "stdio", "1.0.0"), seen("mail", "usr_000000000001", "http", "1.0.0")),
		reported(2, nil, seen("notes", "usr_000000000001", "stdio", "1.0.0"), seen("maps", "", "http", "1.0.0")),
	} {
		if _, err := v.Report(t.Context(), ann, b); err != nil {
			t.Fatal(err)
		}
	}
	return w, v, f
}

// What a survey counts for a value is what choosing it in place of the chosen one leaves.
func TestASurveyCountsWhatEachChoiceLeaves(t *testing.T) {
	_, v, _ := surveyed(t)
	if _, err := v.Own(t.Context(), ann, "pkg:npm/mail", "ann", ""); err != nil {
		t.Fatal(err)
	}
	for _, f := range []admin.InventoryFilter{
		{}, {Owner: "ann"}, {Unowned: true}, {Transport: "stdio"}, {Transport: "http", Unowned: true}, {Has: []string{"unpinned"}}, {Lacks: []string{"unpinned"}, Text: "ma"}, {Source: "client", Status: "shadow"}, {Has: []string{"configured", "unpinned"}, Owner: "ann"},
	} {
		s, err := v.Survey(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		list, err := v.List(t.Context(), f)
		if err != nil || len(list) != len(s.Rows) || s.Total != 3 {
			t.Errorf("%+v: %d rows, the list has %d of %d, %v", f, len(s.Rows), len(list), s.Total, err)
		}
		for name, x := range map[string]struct {
			values []admin.Facet
			choose func(*admin.InventoryFilter, string)
		}{
			"status": {s.Status, func(f *admin.InventoryFilter, v string) { f.Status = v }},
			"owner":  {s.Owner, func(f *admin.InventoryFilter, v string) { f.Owner, f.Unowned = v, v == "" }},
			"source": {s.Source, func(f *admin.InventoryFilter, v string) { f.Source = v }}, "transport": {s.Transport, func(f *admin.InventoryFilter, v string) { f.Transport = v }},
		} {
			for _, value := range x.values {
				other := f
				x.choose(&other, value.Value)
				left, err := v.List(t.Context(), other)
				if err != nil || len(left) != value.Count || value.Count == 0 {
					t.Errorf("%+v: %s %q says %d and leaves %d, %v", f, name, value.Value, value.Count, len(left), err)
				}
			}
		}
		for _, m := range admin.Marks() {
			other := f
			other.Has = append(slices.Clone(f.Has), m)
			if slices.Contains(f.Lacks, m) {
				continue
			}
			if left, err := v.List(t.Context(), other); err != nil || len(left) != s.Marks[m] {
				t.Errorf("%+v: %s says %d and leaves %d, %v", f, m, s.Marks[m], len(left), err)
			}
		}
	}
	notes, err := v.List(t.Context(), admin.InventoryFilter{Text: "notes"})
	if err != nil || len(notes) != 1 {
		t.Fatalf("notes: %+v, %v", notes, err)
	}
	if n := notes[0]; n.Hosts != 2 || n.Users != 3 || n.Ways != 2 || !slices.Equal(n.Traits, []inventory.Trait{inventory.Unpinned}) || !slices.Equal(n.Transports, []string{"stdio"}) || n.Tier != nil {
		t.Errorf("notes: %+v", n)
	}
	for _, f := range []admin.InventoryFilter{{Has: []string{"used"}, Lacks: []string{"used"}}, {Has: []string{"evil"}}, {Owner: "ann", Unowned: true}} {
		if _, err := v.Survey(t.Context(), f); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

// Nothing that was written before a list is asked for is missing in it: neither what was
// found, nor a finding, nor a mute, nor the registry, nor who owns what.
func TestListsAreNeverOld(t *testing.T) {
	w, v, f := surveyed(t)
	mark := func() int {
		t.Helper()
		s, err := v.Survey(t.Context(), admin.InventoryFilter{Has: []string{"unpinned"}})
		if err != nil {
			t.Fatal(err)
		}
		return len(s.Rows)
	}
	if mark() != 1 {
		t.Fatalf("%d are not pinned", mark())
	}
	list, err := f.List(t.Context(), finding.Filter{Rule: string(discovery.Unpinned)})
	if err != nil || len(list) != 1 {
		t.Fatalf("findings: %+v, %v", list, err)
	}
	if _, err := f.Mute(t.Context(), ann, list[0].ID, "known", w.now.AddDate(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	if mark() != 0 {
		t.Error("a muted finding counts")
	}
	if _, err := f.Unmute(t.Context(), ann, list[0].ID, ""); err != nil {
		t.Fatal(err)
	}
	if mark() != 1 {
		t.Error("a finding that counts again does not")
	}
	if _, err := v.Report(t.Context(), ann, reported(3, nil, seen("fresh", "usr_000000000009", "stdio", "1"))); err != nil {
		t.Fatal(err)
	}
	if all, err := v.List(t.Context(), admin.InventoryFilter{}); err != nil || len(all) != 4 {
		t.Errorf("after a report: %d, %v", len(all), err)
	}
	if _, err := v.Own(t.Context(), ann, "pkg:npm/fresh", "ann", ""); err != nil {
		t.Fatal(err)
	}
	if own, err := v.List(t.Context(), admin.InventoryFilter{Owner: "ann"}); err != nil || len(own) != 1 {
		t.Errorf("after owning: %+v, %v", own, err)
	}
	if _, err := v.Merge(t.Context(), ann, "pkg:npm/fresh", "pkg:npm/notes", ""); err != nil {
		t.Fatal(err)
	}
	if all, err := v.List(t.Context(), admin.InventoryFilter{}); err != nil || len(all) != 3 {
		t.Errorf("after a merge: %d, %v", len(all), err)
	}
}

// Several servers are given to somebody together, what would change is known before, and
// whoever may not does nothing.
func TestManyServersAreOwnedTogether(t *testing.T) {
	_, v, _ := surveyed(t)
	keys := []string{"pkg:npm/notes", "pkg:npm/mail", "pkg:npm/notes"}
	if _, err := v.Own(t.Context(), ann, "pkg:npm/mail", "ann", ""); err != nil {
		t.Fatal(err)
	}
	plan, err := v.OwnPlan(t.Context(), keys, "ann")
	if err != nil || fmt.Sprintf("%+v", plan) != "[{Key:pkg:npm/mail Names:[mail] From:ann Left:theirs} {Key:pkg:npm/notes Names:[notes] From: Left:}]" {
		t.Fatalf("the plan: %+v, %v", plan, err)
	}
	if own, err := v.List(t.Context(), admin.InventoryFilter{Owner: "ann"}); err != nil || len(own) != 1 {
		t.Errorf("a plan changed something: %+v, %v", own, err)
	}
	for name, f := range map[string]func() error{
		"nobody known": func() error { _, err := v.OwnMany(t.Context(), ann, keys, "ghost", ""); return err },
		"no server":    func() error { _, err := v.OwnMany(t.Context(), ann, nil, "ann", ""); return err },
		"one is unknown": func() error {
			_, err := v.OwnMany(t.Context(), ann, append(keys, "pkg:npm/none"), "ann", "")
			return err
		},
		"too many": func() error {
			var many []string
			for i := range 501 {
				many = append(many, fmt.Sprint(i))
			}
			_, err := v.OwnMany(t.Context(), ann, many, "ann", "")
			return err
		},
		"a reason of two lines": func() error { _, err := v.OwnMany(t.Context(), ann, keys, "ann", "a\nb"); return err },
		"a viewer": func() error {
			_, err := v.OwnMany(t.Context(), admin.Actor{Kind: "user", ID: "vic"}, keys, "ann", "")
			return err
		},
		"what is theirs already": func() error { _, err := v.OwnMany(t.Context(), ann, []string{"pkg:npm/mail"}, "ann", ""); return err },
	} {
		if err := f(); err == nil {
			t.Errorf("%s: done", name)
		}
	}
	if own, err := v.List(t.Context(), admin.InventoryFilter{Owner: "ann"}); err != nil || len(own) != 1 {
		t.Errorf("what was refused changed something: %+v, %v", own, err)
	}
	if _, err := v.OwnMany(t.Context(), ann, keys, "ann", "they wrote both"); err != nil {
		t.Fatal(err)
	}
	if own, err := v.List(t.Context(), admin.InventoryFilter{Owner: "ann"}); err != nil || len(own) != 2 {
		t.Errorf("afterwards: %+v, %v", own, err)
	}
}

// An export of a filtered list has the rows of the list and nothing of the others.
func TestAnExportIsFilteredLikeTheList(t *testing.T) {
	_, v, _ := surveyed(t)
	for as, rows := range map[export.Format][]export.Rows{export.CSV: {export.Servers, export.Variants, export.Sightings}, export.JSON: {""}, export.SARIF: {""}} {
		for _, of := range rows {
			d, err := v.Export(t.Context(), export.Options{As: as, Rows: of}, admin.InventoryFilter{Text: "mail"})
			if err != nil {
				t.Fatal(err)
			}
			if text := string(d.Bytes); strings.Contains(text, "pkg:npm/notes") || as != export.SARIF && !strings.Contains(text, "pkg:npm/mail") {
				t.Errorf("%s %s of mail: %s", as, of, text)
			}
		}
	}
}
