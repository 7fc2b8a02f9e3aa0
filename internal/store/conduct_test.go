package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/conduct"
	"rutile/internal/store"
)

// How tools behave is kept for each node by itself, and replaced as a whole.
func TestConductIsOfANode(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		row := func(tool, doc string) conduct.Row {
			return conduct.Row{Key: conduct.Key{Server: "files", Tool: tool}, Tally: []byte(doc)}
		}
		for _, step := range []struct {
			node string
			put  []conduct.Row
			drop []conduct.Key
		}{
			{"a", []conduct.Row{row("read", `{"n":1}`), row("write", `{"n":2}`)}, nil},
			{"b", []conduct.Row{row("read", `{"n":3}`)}, nil},
			{"a", []conduct.Row{row("read", `{"n":4}`)}, []conduct.Key{{Server: "files", Tool: "write"}, {Server: "none", Tool: "none"}}},
		} {
			if err := s.SaveConduct(t.Context(), step.node, step.put, step.drop); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.SaveConduct(t.Context(), "a", []conduct.Row{row("b\x00d", "{}")}, nil); err == nil {
			t.Error("a name with a zero byte is kept")
		}
		for node, want := range map[string][]conduct.Row{"a": {row("read", `{"n":4}`)}, "b": {row("read", `{"n":3}`)}, "c": nil} {
			if d := cmp.Diff(want, must[[]conduct.Row](t)(s.Conduct(t.Context(), node))); d != "" {
				t.Errorf("node %s (-want +got):\n%s", node, d)
			}
		}
	})
}
