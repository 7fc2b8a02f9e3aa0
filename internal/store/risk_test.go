package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/risk"
	"rutile/internal/store"
)

// Scores are kept for each node by itself and read of all of them.
func TestScoresAreOfANode(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		row := func(node, id, doc string) risk.Row {
			return risk.Row{Node: node, Key: risk.Key{Kind: risk.KindAgent, ID: id}, Doc: []byte(doc)}
		}
		for _, step := range []struct {
			node string
			put  []risk.Row
			drop []risk.Key
		}{
			{"a", []risk.Row{row("", "bot", `{"n":1}`), row("", "old", `{"n":2}`)}, nil},
			{"b", []risk.Row{row("", "bot", `{"n":3}`)}, nil},
			{"a", []risk.Row{row("", "bot", `{"n":4}`)}, []risk.Key{{Kind: risk.KindAgent, ID: "old"}, {Kind: risk.KindPerson, ID: "none"}}},
		} {
			if err := s.SaveRisks(t.Context(), step.node, step.put, step.drop); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.SaveRisks(t.Context(), "a", []risk.Row{row("", "b\x00d", "{}")}, nil); err == nil {
			t.Error("a name with a zero byte is kept")
		}
		want := []risk.Row{row("a", "bot", `{"n":4}`), row("b", "bot", `{"n":3}`)}
		if d := cmp.Diff(want, must[[]risk.Row](t)(s.Risks(t.Context()))); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}
