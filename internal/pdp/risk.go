package pdp

import (
	"rutile/internal/access"
	"rutile/internal/registry"
)

// Traits are what of the registry says how much a call counts: the classes of its
// target, and whether its definition is another than the approved one. Of a target whose
// class is not known it may do anything.
func Traits(s *State, r *access.Request) (classes []string, drift bool) {
	if s == nil || s.View == nil {
		return nil, false
	}
	kind, ok := map[access.Kind]registry.Kind{access.KindTool: registry.KindTool, access.KindPrompt: registry.KindPrompt}[r.Kind]
	if !ok {
		return []string{registry.ClassRead}, false
	}
	name := registry.NameOf(kind, r.Target)
	t, ok := s.View.Tool(r.Server, name)
	if !ok {
		return []string{registry.ClassWrite}, false
	}
	words, err := s.View.Class(t).Words()
	if err != nil {
		words = []string{registry.ClassWrite}
	}
	_, st := s.View.Callable(r.Server, name)
	return words, st.Drift
}
