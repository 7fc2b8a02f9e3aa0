package store_test

import (
	"fmt"
	"testing"

	"rutile/internal/audit"
	"rutile/internal/store"
)

// Rows of calls below the minimum go with the words and names only they had; those of
// changes, of what lies above and of other logs stay, and can be found. What is put later
// has its words again.
func TestPruneRows(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		row := func(log string, i int, typ, who string) audit.Row {
			return audit.Row{
				Origin: log, Index: uint64(i), LeafID: fmt.Sprintf("%s%026d", log[:1], i), Type: typ, At: at(i), Decision: fmt.Sprintf("dec_%s_%d", log[:1], i), Intent: -1,
				Agent: "bot", Subject: who, Text: "calls of " + who, Policies: []string{"allow-" + who}, Labels: []string{"label-" + who},
			}
		}
		other := "other.example/rutile/main/n9/1"
		rows := []audit.Row{row(origin, 1, "intent", "ann"), row(origin, 2, "verdict", "ann"), row(origin, 3, "admin", "root"), row(origin, 9, "intent", "bob")}
		for _, put := range []struct {
			log  string
			rows []audit.Row
		}{{origin, rows}, {other, []audit.Row{row(other, 1, "intent", "ann")}}} {
			if err := s.PutRows(t.Context(), put.log, put.rows, 10); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := s.PruneRows(t.Context(), origin, 9); err != nil {
				t.Fatal(err)
			}
			for _, want := range []struct {
				q audit.Query
				n int
			}{
				{audit.Query{Origin: origin}, 2}, {audit.Query{Origin: origin, Subject: "ann"}, 0}, {audit.Query{Origin: origin, Text: "ann"}, 0},
				{audit.Query{Origin: origin, Text: "root"}, 1}, {audit.Query{Origin: origin, Text: "bob"}, 1}, {audit.Query{Origin: origin, Policy: "allow-bob", Label: "label-bob"}, 1},
				{audit.Query{Origin: other, Text: "ann"}, 1}, {audit.Query{Origin: other, Policy: "allow-ann", Label: "label-ann"}, 1},
			} {
				if got := must[[]audit.Row](t)(s.Search(t.Context(), want.q)); len(got) != want.n {
					t.Errorf("%+v: %d rows, want %d", want.q, len(got), want.n)
				}
			}
			for _, table := range []string{"evidence_texts", "evidence_rules", "evidence_labels"} {
				var n int
				if err := s.Writer().QueryRowContext(t.Context(), `SELECT count(*) FROM `+table+` WHERE log = $1`, origin).Scan(&n); err != nil || n != 2 {
					t.Errorf("%s has %d of the log, %v", table, n, err)
				}
			}
		}
		if err := s.PutRows(t.Context(), origin, []audit.Row{row(origin, 11, "intent", "ann")}, 12); err != nil {
			t.Fatal(err)
		}
		if got := must[[]audit.Row](t)(s.Search(t.Context(), audit.Query{Origin: origin, Text: "ann", Policy: "allow-ann"})); len(got) != 1 {
			t.Errorf("%d rows of what was put later", len(got))
		}
	})
}
