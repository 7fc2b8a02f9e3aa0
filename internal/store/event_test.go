package store_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"rutile/internal/audit"
	"rutile/internal/store"
)

// A call that ended replaces the row it had, in every way it can be found; a row
// that knows less does not come back.
func TestACallThatEndedReplacesItsRow(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		begun := rowsUpTo(6)
		putRows(t, s, begun, 6)
		asked, gone := ended(begun[2], "input_required", 6), ended(begun[2], "abandoned", 6, 9)
		gone.Text = asked.Text + " abandoned"
		putRows(t, s, []audit.Row{asked, ended(begun[4], "ok", 7), row(8)}, 9)
		putRows(t, s, []audit.Row{gone, row(10), gone, asked}, 11) // two of one row at once
		putRows(t, s, begun, 11)                                   // as after a dropping that was interrupted
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		want := []audit.Row{begun[0], begun[1], gone, begun[3], ended(begun[4], "ok", 7), begun[5], row(8), row(10)}
		if diff := cmp.Diff(want, search(t, s, audit.Query{Ascending: true})); diff != "" {
			t.Errorf("rows differ (-want +got):\n%s", diff)
		}
		for name, tt := range map[string]struct {
			q    audit.Query
			want []uint64
		}{
			"words it had":       {audit.Query{Text: "tool_2"}, []uint64{2}},
			"words that came":    {audit.Query{Text: "abandoned"}, []uint64{2}},
			"words in between":   {audit.Query{Text: "input_required tool_2"}, []uint64{2}},
			"status it had":      {audit.Query{Status: "input_required"}, []uint64{}},
			"status":             {audit.Query{Status: "abandoned"}, []uint64{2}},
			"ended":              {audit.Query{Types: []string{"outcome"}}, []uint64{4, 2}},
			"ended and verdicts": {audit.Query{Types: []string{"verdict", "outcome"}}, []uint64{4, 2}},
			"calls":              {audit.Query{Types: []string{"intent"}}, []uint64{10, 8, 5, 4, 3, 2, 1, 0}},
			"policy":             {audit.Query{Policy: "baseline", Limit: 3, Before: 5}, []uint64{4, 3, 2}},
		} {
			if got := indexes(search(t, s, tt.q)); !slices.Equal(got, tt.want) {
				t.Errorf("%s: got %v, want %v", name, got, tt.want)
			}
		}
		if err := s.DropRows(t.Context(), origin); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"tool_2", "abandoned", "input_required"} {
			if got := search(t, s, audit.Query{Text: text}); len(got) > 0 {
				t.Errorf("%q is found after the rows were dropped: %v", text, indexes(got))
			}
		}
	})
}

// Whoever follows from leaf to leaf sees each call when it begins and when it
// ends, whatever he filters by, and comes to an end.
func TestFollowersSeeEveryChangeOfARow(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		type sight struct{ Index, Last uint64 }
		queries := map[string]audit.Query{
			"all": {}, "agent": {Agent: "agent-3"}, "policy": {Policy: "baseline"}, "text": {Text: "release"}, "type": {Types: []string{"intent"}}, "session": {Session: "ses_3"},
			"outcome": {Outcome: "permit"}, "ended": {Types: []string{"outcome"}}, "origin": {Origin: origin}, "all of it": {Origin: origin, Agent: "agent-3", Policy: "baseline", Text: "release", Server: "github", Tool: "tool_3"},
		}
		next := map[string]uint64{}
		look := func(name string) (seen []sight) {
			t.Helper()
			q := queries[name]
			q.Ascending, q.Following, q.Limit = true, true, 2
			for range 100 {
				q.From = next[name]
				rows := search(t, s, q)
				for i := range rows {
					seen = append(seen, sight{rows[i].Index, rows[i].Last()})
					next[name] = rows[i].Last() + 1
				}
				if len(rows) < q.Limit {
					return seen
				}
			}
			t.Fatalf("%s: it goes on for ever", name)
			return nil
		}
		steps := []struct {
			rows      []audit.Row
			all, some []sight
		}{
			{rowsUpTo(5), []sight{{0, 0}, {1, 1}, {2, 2}, {3, 3}, {4, 4}}, []sight{{3, 3}}},
			{[]audit.Row{ended(row(3), "input_required", 5), row(6), ended(row(0), "ok", 7)}, []sight{{3, 5}, {6, 6}, {0, 7}}, []sight{{3, 5}}},
			{[]audit.Row{ended(row(3), "ok", 5, 9), ended(row(8), "ok", 10)}, []sight{{3, 9}, {8, 10}}, []sight{{3, 9}}},
			{nil, nil, nil},
		}
		for n, step := range steps {
			putRows(t, s, step.rows, 11)
			for name := range queries {
				want := step.all
				switch name {
				case "agent", "session", "all of it":
					want = step.some
				case "ended":
					want = slices.DeleteFunc(slices.Clone(want), func(x sight) bool { return x.Index == x.Last })
				}
				if diff := cmp.Diff(want, look(name), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("step %d, %s (-want +got):\n%s", n, name, diff)
				}
			}
		}
	})
}
