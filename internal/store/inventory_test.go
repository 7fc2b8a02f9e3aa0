package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
	"rutile/internal/store"
)

func laptop(n int) *inventory.Batch {
	version := []string{"1.0.0", "1.1.0", ""}[n%3]
	return &inventory.Batch{
		Version: 1, ID: access.NewID(inventory.PrefixBatch), Host: fmt.Sprintf("hst_%012x", n), System: "linux", Started: at(0), Ended: at(1), Sources: []string{"client"},
		Sightings: []discovery.Sighting{{
			Source: "client", Fact: discovery.Configured, Strength: 0.9, Place: discovery.Place{Path: "~/mcp.json", Pointer: "/mcpServers/notes"}, Name: "notés \u202e=1+1",
			Target: discovery.Target{Key: "pkg:npm/notes", Kind: discovery.KindPackage, Package: "pkg:npm/notes", Version: version},
		}},
		Findings: []discovery.Finding{
			{Rule: discovery.Unpinned, Severity: discovery.Medium, Key: "pkg:npm/notes", Source: "client", Place: discovery.Place{Path: "~/mcp.json"}, Why: "why"},
			{Rule: discovery.LiteralSecret, Severity: discovery.Medium, Key: "pkg:npm/notes", Source: "client", Place: discovery.Place{Path: "~/mcp.json"}, Why: "why"},
		},
		Agents:      []discovery.Agent{{Client: "cursor", Name: "Cursor", Home: "~"}},
		Credentials: []discovery.Credential{{Name: "TOKEN", Kind: discovery.SecretLiteral, Where: "env", Place: discovery.Place{Path: "~/mcp.json"}, UsedBy: []string{"pkg:npm/notes"}}},
		Coverage:    []discovery.Coverage{{Source: "client", Place: "~/mcp.json", Outcome: discovery.Read}},
	}
}

// taken plans and commits a batch.
func taken(ctx context.Context, t *testing.T, s *store.Store, b *inventory.Batch, now time.Time) inventory.Result {
	t.Helper()
	taking := inventory.Taking{Batch: b, Now: now}
	kept, err := s.Inventory(ctx, taking.Scope())
	if err != nil {
		t.Fatal(err)
	}
	c, res, covered := taking.Plan(kept)
	says := taking.Says(kept, covered)
	var have []finding.Finding
	var ids []string
	for i := range says {
		for j := range says[i].Raised {
			ids = append(ids, says[i].Raised[j].ID())
		}
		have = append(have, must[[]finding.Finding](t)(s.Findings(ctx, finding.Filter{Source: says[i].Source}))...)
	}
	for _, f := range must[[]finding.Finding](t)(s.Findings(ctx, finding.Filter{IDs: ids})) {
		known := false
		for i := range have {
			known = known || have[i].ID == f.ID
		}
		if !known {
			have = append(have, f)
		}
	}
	changes := finding.Plan(have, says)
	c.Findings = &changes
	c.Taken = &inventory.Taken{ID: b.ID, Host: b.Host, Digest: "sha256:0", At: now, Result: res}
	if err := s.CommitInventory(ctx, c); err != nil {
		t.Fatal(err)
	}
	return res
}

// A fleet of forty machines is one server, three variants and forty sightings, and
// the second scan writes nothing of them but when they were seen last, and what each
// host's last run came to.
func TestASecondScanWritesOnlyWhenThingsWereSeen(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		for n := range 40 {
			taken(t.Context(), t, s, laptop(n), at(n))
		}
		before := rowsOf(t, s)
		if got := fmt.Sprint(before.servers, before.variants, len(before.sightings)); got != "1 3 40" {
			t.Fatalf("servers, variants, sightings: %s", got)
		}
		if len(before.findings) != 41 { // one of the package, one of each place
			t.Errorf("%d findings", len(before.findings))
		}
		if s.Dialect() == "sqlite" {
			countWrites(t, s)
		}
		for n := range 40 {
			if res := taken(t.Context(), t, s, laptop(n), at(100+n)); res.Seen != 1 || res.Changed+res.Sightings+res.Gone > 0 {
				t.Fatalf("laptop %d: %+v", n, res)
			}
		}
		after := rowsOf(t, s)
		if d := cmp.Diff(before.docs, after.docs); d != "" {
			t.Errorf("documents changed (-before +after):\n%s", d)
		}
		for id, v := range after.sightings {
			if !v.Last.After(before.sightings[id].Last) || !v.First.Equal(before.sightings[id].First) {
				t.Errorf("%s was seen from %s to %s", id, v.First, v.Last)
			}
		}
		if s.Dialect() == "sqlite" {
			if got := writes(t, s); got != "40 rows, such as an update of inventory_hosts" {
				t.Errorf("the second scan wrote other than times and each host's last run: %s", got)
			}
		}
	})
}

// rows is what is kept, with documents apart from times.
type rows struct {
	servers, variants int
	sightings         map[string]inventory.Sighting
	findings          []finding.Finding
	docs              map[string]any
}

func rowsOf(t *testing.T, s *store.Store) rows {
	t.Helper()
	out := rows{sightings: map[string]inventory.Sighting{}, docs: map[string]any{}}
	servers, _, err := s.Found(t.Context(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, v := range servers {
		keys = append(keys, v.Key)
		out.docs[v.Key] = v
	}
	variants, seen, err := s.Seen(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range variants {
		out.docs[v.ID] = v
	}
	for _, v := range seen {
		out.sightings[v.ID] = v
		v.Last = time.Time{}
		out.docs[v.ID] = v
	}
	around := must[inventory.Around](t)(s.Around(t.Context()))
	for _, v := range around.Hosts {
		v.Last, v.Took = time.Time{}, ""
		out.docs[v.ID] = v
	}
	for _, v := range around.Agents {
		v.Last = time.Time{}
		out.docs[v.ID] = v
	}
	for _, v := range around.Credentials {
		v.Last = time.Time{}
		out.docs[v.ID] = v
	}
	out.findings = must[[]finding.Finding](t)(s.Findings(t.Context(), finding.Filter{}))
	for _, v := range out.findings {
		v.Last = time.Time{}
		out.docs[v.ID] = v
	}
	out.servers, out.variants = len(servers), len(variants)
	return out
}

// countWrites has the database note every row that is written in another way than
// by moving last_seen, and what newest batch a host has.
func countWrites(t *testing.T, s *store.Store) {
	t.Helper()
	script := `CREATE TABLE written (what TEXT);`
	for _, table := range []string{"inventory_servers", "inventory_variants", "inventory_sightings", "inventory_hosts", "inventory_agents", "inventory_credentials", "inventory_merges", "findings", "finding_sources"} {
		script += fmt.Sprintf(`CREATE TRIGGER count_insert_%[1]s AFTER INSERT ON %[1]s BEGIN INSERT INTO written VALUES ('insert into %[1]s'); END;
			CREATE TRIGGER count_delete_%[1]s AFTER DELETE ON %[1]s BEGIN INSERT INTO written VALUES ('delete from %[1]s'); END;`, table)
		if table == "finding_sources" {
			continue
		}
		script += fmt.Sprintf(`CREATE TRIGGER count_update_%[1]s AFTER UPDATE OF doc ON %[1]s BEGIN INSERT INTO written VALUES ('update of %[1]s'); END;`, table)
	}
	if _, err := s.Writer().ExecContext(t.Context(), script); err != nil {
		t.Fatal(err)
	}
}

func writes(t *testing.T, s *store.Store) string {
	t.Helper()
	var n int
	var one string
	if err := s.Writer().QueryRowContext(t.Context(), `SELECT COUNT(*), COALESCE(MIN(what), '') FROM written`).Scan(&n, &one); err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d rows, such as an %s", n, one)
}

// Two that plan on the same state cannot both commit.
func TestTheInventoryIsChangedByOneAtATime(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		taking := inventory.Taking{Batch: laptop(1), Now: at(1)}
		kept := must[inventory.Kept](t)(s.Inventory(t.Context(), taking.Scope()))
		one, _, _ := taking.Plan(kept)
		two, _, _ := taking.Plan(kept)
		if err := s.CommitInventory(t.Context(), one); err != nil {
			t.Fatal(err)
		}
		conflicts(t, "a commit on what is another inventory by now", s.CommitInventory(t.Context(), two))
	})
}

// A finding is changed only as it was read, and a batch is taken under its id once.
func TestAFindingIsChangedAsItWasRead(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		f := finding.Finding{ID: "fnd_1", Rule: "R", Subject: finding.Subject{Kind: "server", ID: "files"}, State: finding.Open, Severity: finding.High, First: at(1), Last: at(1)}
		put := func(f finding.Finding) error {
			return s.CommitFindings(t.Context(), finding.Changes{At: at(2), Put: []finding.Finding{f}, Hold: []finding.Hold{{Finding: f.ID, Source: "drift"}}})
		}
		if err := put(f); err != nil {
			t.Fatal(err)
		}
		conflicts(t, "making it twice", put(f))
		got := must[[]finding.Finding](t)(s.Findings(t.Context(), finding.Filter{Source: "drift", From: finding.Medium, State: finding.Open, Rule: "R", Subject: "files"}))
		if len(got) != 1 || got[0].Rev != 1 || got[0].Sources[0] != "drift" {
			t.Fatalf("%+v", got)
		}
		got[0].Owner, got[0].Mute = "team", &finding.Mute{By: "ann", Why: "because", At: at(3), Until: at(9)}
		if err := put(got[0]); err != nil {
			t.Fatal(err)
		}
		conflicts(t, "changing what was changed", put(got[0]))
		if list := must[[]finding.Finding](t)(s.Findings(t.Context(), finding.Filter{From: finding.Critical})); len(list) > 0 {
			t.Errorf("%+v are critical", list)
		}
	})
}

// What a report is about is read of the findings, and nothing else that its source
// holds; and what a host holds is found whichever source of it does.
func TestFindingsAreReadBySubjectAndByWhoHoldsThem(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		ctx := t.Context()
		says := []finding.Says{{Source: "inventory", At: at(0)}, {Source: "host:hst_000000000001/client", At: at(0)}, {Source: "host:hst_000000000001/é", At: at(0)}, {Source: "host:hst_0000000000012/client", At: at(0)}}
		for i := range says {
			for _, key := range []string{"a", "b", "c"} {
				says[i].Raised = append(says[i].Raised, finding.Raised{Rule: "R", Place: says[i].Source, Severity: finding.Low, Subject: finding.Subject{Kind: finding.SubjectFound, ID: key}})
			}
		}
		if err := s.CommitFindings(ctx, finding.Plan(nil, says)); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			filter finding.Filter
			want   int
		}{
			"a source, of subjects":      {finding.Filter{Source: "inventory", Subjects: []string{"a", "c", "none"}}, 2},
			"a source, of no subject":    {finding.Filter{Source: "inventory", Subjects: []string{}}, 0},
			"a source":                   {finding.Filter{Source: "inventory"}, 3},
			"of subjects, whoever holds": {finding.Filter{Subjects: []string{"a"}}, 4},
			"whatever a host holds":      {finding.Filter{Sources: "host:hst_000000000001/"}, 6},
			"a source with an accent":    {finding.Filter{Sources: "host:hst_000000000001/é"}, 3},
			"a wildcard is a letter":     {finding.Filter{Sources: "host:hst%"}, 0},
		} {
			if got := must[[]finding.Finding](t)(s.Findings(ctx, c.filter)); len(got) != c.want {
				t.Errorf("%s: %d findings, want %d", name, len(got), c.want)
			}
		}
	})
}
