package pdp

import (
	"slices"

	"rutile/internal/access"
	"rutile/internal/registry"
)

// ReadsTouched reports whether a rule about r may read what its session has touched: a
// rule of the baseline where r changes or sends something, else one that people wrote.
func ReadsTouched(s *State, r *access.Request) bool {
	if s == nil || s.View == nil || s.Set == nil || r.Unknown {
		return false
	}
	return s.Set.ReadsTouched() || Sink(s, r)
}

// Sink reports whether r changes or sends something, as far as is known.
func Sink(s *State, r *access.Request) bool {
	kind, ok := map[access.Kind]registry.Kind{access.KindTool: registry.KindTool, access.KindPrompt: registry.KindPrompt, access.KindResource: registry.KindResource}[r.Kind]
	if !ok {
		return false
	}
	t, ok := s.View.Tool(r.Server, registry.NameOf(kind, r.Target))
	if !ok {
		return false
	}
	words, err := s.View.Class(t).Words()
	return err != nil || slices.ContainsFunc(words, func(w string) bool { return w != registry.ClassRead })
}

// Labels are those of what the call brings back: of its server and tool.
func (ru *Ruling) Labels() []string {
	if ru.facts == nil {
		return nil
	}
	return ru.facts.Query.Tool.Labels
}

// From is the session that handed on the right the call is made under, "" if none did.
func (ru *Ruling) From() string {
	if ru.facts == nil || ru.facts.Query.Grant == nil {
		return ""
	}
	return ru.facts.Query.Grant.From
}
