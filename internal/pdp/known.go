package pdp

import (
	"rutile/internal/access"
	"rutile/internal/registry"
)

// Known reports whether the registry knows the agent, the server and the definition
// r is about, whatever their standing: without them there are no facts to judge it on.
func Known(s *State, r *access.Request) bool {
	if _, ok := s.View.Agent(r.Who.Actor.Agent); !ok {
		return false
	}
	if _, ok := s.View.Server(r.Server); !ok {
		return false
	}
	kind, ok := map[access.Kind]registry.Kind{access.KindTool: registry.KindTool, access.KindPrompt: registry.KindPrompt}[r.Kind]
	if !ok {
		return true
	}
	_, ok = s.View.Tool(r.Server, registry.NameOf(kind, r.Target))
	return ok
}

// Survey decides r with its arguments unknown: maybe reports whether some call of
// its target would be permitted although not every call is.
func Survey(s *State, r *access.Request) (d access.Decision, maybe bool) {
	q := *r
	q.Unknown = true
	return decide(s, &q)
}
