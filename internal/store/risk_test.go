package store_test

import (
	"fmt"
	"sync"
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

// Two nodes keep scores of the same agents at the same time, in another order each: none
// waits for the other, each has its own, and a node that starts again reads both.
func TestTwoNodesKeepScoresOfTheSameAgents(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		nodes := map[string]*store.Store{"a": s, "b": s}
		if s.Dialect() == "postgres" {
			other := must[*store.Store](t)(store.Open(t.Context(), cfg))
			defer other.Close()
			nodes["b"] = other
		}
		const agents, rounds = 20, 15
		var work sync.WaitGroup
		for node, s := range nodes {
			work.Go(func() {
				for n := range rounds {
					var put []risk.Row
					for i := range agents {
						if node == "b" {
							i = agents - 1 - i
						}
						put = append(put, risk.Row{Key: risk.Key{Kind: risk.KindAgent, ID: fmt.Sprintf("bot-%02d", i)}, Doc: fmt.Appendf(nil, `{"of":%q,"n":%d}`, node, n)})
					}
					drop := []risk.Key{{Kind: risk.KindAgent, ID: "gone"}}
					if n == 0 {
						put, drop = append(put, risk.Row{Key: drop[0], Doc: []byte("{}")}), nil
					}
					if err := s.SaveRisks(t.Context(), node, put, drop); err != nil {
						t.Error(err)
					}
				}
			})
		}
		work.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		again := must[*store.Store](t)(store.Open(t.Context(), cfg)) // as a node that starts
		defer again.Close()
		var want []risk.Row
		for _, node := range []string{"a", "b"} {
			for i := range agents {
				want = append(want, risk.Row{Node: node, Key: risk.Key{Kind: risk.KindAgent, ID: fmt.Sprintf("bot-%02d", i)}, Doc: fmt.Appendf(nil, `{"of":%q,"n":%d}`, node, rounds-1)})
			}
		}
		if d := cmp.Diff(want, must[[]risk.Row](t)(again.Risks(t.Context()))); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}
