package policy

import (
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
)

// covers reports whether t certainly matches every request that s matches. Both
// scopes passed validation, which leaves "==" to agents, tools and single actions.
func (l *linter) covers(t, s *scope) bool {
	return l.coversAgents(&t.principal, &s.principal) && l.coversActions(&t.action, &s.action) && l.coversResources(t, s)
}

func (l *linter) coversAgents(t, s *dim) bool {
	if t.ids == nil {
		return true // every principal is an agent
	}
	return s.ids != nil && every(s.ids, func(id types.EntityUID) bool {
		return t.ids[0] == id || slices.Contains(l.classOf(id), t.ids[0])
	})
}

// classOf returns the class of an agent the catalog knows.
func (l *linter) classOf(id types.EntityUID) []types.EntityUID {
	for _, a := range l.catalog.Agents {
		if id.Type == typeAgent && a.ID == string(id.ID) && a.Class != "" {
			return []types.EntityUID{uid(typeAgentClass, a.Class)}
		}
	}
	return nil
}

func (l *linter) coversActions(t, s *dim) bool {
	if t.ids == nil {
		return true
	}
	return s.ids != nil && every(s.ids, func(id types.EntityUID) bool {
		return slices.ContainsFunc(t.ids, func(g types.EntityUID) bool {
			if g == id {
				return !t.eq || s.eq || !l.isGroup(id)
			}
			return !t.eq && slices.Contains(l.above(id), g)
		})
	})
}

func (l *linter) isGroup(id types.EntityUID) bool {
	_, group := l.groups[string(id.ID)]
	return group || strings.HasSuffix(string(id.ID), "/prompts/*")
}

// above returns the groups every request for the action is in.
func (l *linter) above(id types.EntityUID) []types.EntityUID {
	if f := l.actions[string(id.ID)]; f != nil {
		if server, name, _ := strings.Cut(string(id.ID), "/"); strings.HasPrefix(name, "prompts/") {
			return append(slices.Clone(f.ancestors), uid(typeAction, promptGroup(server)))
		}
		return f.ancestors
	}
	var out []types.EntityUID
	for _, g := range l.groups[string(id.ID)].parents {
		out = append(append(out, uid(typeAction, g)), l.above(uid(typeAction, g))...)
	}
	return out
}

func (l *linter) coversResources(t, s *scope) bool {
	if t.resource.ids == nil {
		return true // every resource is a tool
	}
	want := t.resource.ids[0]
	if len(s.resource.ids) > 0 {
		id := s.resource.ids[0]
		server, _, _ := strings.Cut(string(id.ID), "/")
		if id == want || want.Type == typeServer && id.Type == typeTool && server == string(want.ID) {
			return true
		}
	}
	// The action says what the resource is.
	return every(s.action.ids, func(id types.EntityUID) bool {
		server, _, one := l.single(id)
		return one && (want.Type == typeServer && server == string(want.ID) || want.Type == typeTool && !l.isGroup(id) && id.ID == want.ID)
	})
}

func every(ids []types.EntityUID, holds func(types.EntityUID) bool) bool {
	return len(ids) > 0 && !slices.ContainsFunc(ids, func(id types.EntityUID) bool { return !holds(id) })
}
