package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
)

// linter warns about statements that are valid and do nothing. It is sound: it
// warns only where no request, of any agent with any arguments, makes a
// difference, going by the scopes as written and the classes of the catalog.
type linter struct {
	*builder
	actions map[string]*family // of the approved tools
	groups  map[string]actionDef
	bodies  map[*statement]string
	byAgent map[types.EntityUID][]*statement // candidates to cover others; zero: any agent
}

// lint adds its warnings to the report. What is built in or compiled from an
// allow-list is nobody's text and is not warned about.
func (b *builder) lint() {
	l := &linter{builder: b, actions: make(map[string]*family), groups: groupActions(contextType(b.catalog.Facts)), bodies: make(map[*statement]string), byAgent: make(map[types.EntityUID][]*statement)}
	for _, t := range b.catalog.Tools {
		f := &family{self: uid(typeAction, t.action())}
		groupsOf(f, t.Classes)
		l.actions[t.action()] = f
	}
	var mine []*statement
	for _, s := range b.set.statements {
		if s.list == nil && s.source.Layer != LayerBaseline && s.source.Layer != LayerGenerated {
			mine = append(mine, s)
		}
	}
	live := slices.DeleteFunc(slices.Clone(mine), l.dead)
	for _, s := range live {
		if !plain(s) {
			continue
		}
		l.bodies[s] = conditionsOf(s.full)
		for _, p := range s.scope.principal.orAny() {
			l.byAgent[p] = append(l.byAgent[p], s)
		}
	}
	for _, s := range live {
		if t := l.overrides(s); t != nil {
			l.warn(s, "never permits anything: %s forbids all it is about", l.name(t))
		} else if t := l.shadows(s); t != nil {
			l.warn(s, "adds nothing: %s is about all of it and says the same", l.name(t))
		}
	}
	b.report.Warnings.sort()
}

func (l *linter) warn(s *statement, format string, args ...any) {
	l.problem(SeverityWarning, s.source, s.piece.line, s.piece.col, format, args...)
}

func (l *linter) name(s *statement) string {
	return fmt.Sprintf("%s (%s:%d)", s.id, cmpOr(s.file(), "policy "+s.source.ID), s.line())
}

// dead warns about a statement that never matches, and about conditions that
// are always true.
func (l *linter) dead(s *statement) bool {
	if why := l.scopeNever(&s.scope); why != "" {
		l.warn(s, "never matches: %s", why)
		return true
	}
	for i, m := range conditions(s.full) {
		line, col := s.piece.condition(i)
		switch {
		case !m.hold:
			l.problem(SeverityWarning, s.source, line, col, "never matches: this condition cannot come to be met, whatever is asked")
			return true
		case !m.fail:
			l.problem(SeverityWarning, s.source, line, col, "this condition is always met and can be left out")
		}
	}
	if i, found := contradiction(s.full); found {
		line, col := s.piece.condition(i)
		l.problem(SeverityWarning, s.source, line, col, "never matches: this condition contradicts itself, the scope or a condition before it")
		return true
	}
	return false
}

// scopeNever says why no request can match the scope, "" if one may. Scopes of
// other types of entities are no longer there: validation refuses them.
func (l *linter) scopeNever(s *scope) string {
	for _, id := range s.resource.ids {
		if s.action.ids != nil && !slices.ContainsFunc(s.action.ids, func(a types.EntityUID) bool { return l.meets(a, id) }) {
			return fmt.Sprintf("none of its actions is one of %s", id)
		}
	}
	return ""
}

// meets reports whether a request for the action can be about the resource: the
// resource of "server/tool" is that tool, in that server.
func (l *linter) meets(action, resource types.EntityUID) bool {
	server, name, one := l.single(action)
	switch {
	case !one:
		return true
	case resource.Type == typeServer:
		return string(resource.ID) == server
	case resource.Type == typeTool && name == "prompts/*":
		return strings.HasPrefix(string(resource.ID), server+"/prompts/")
	case resource.Type == typeTool:
		return resource.ID == action.ID
	}
	return true
}

// single returns the server and name of an action that is no group of several
// servers.
func (l *linter) single(action types.EntityUID) (server, name string, ok bool) {
	if _, group := l.groups[string(action.ID)]; group || action.Type != typeAction {
		return "", "", false
	}
	return strings.Cut(string(action.ID), "/")
}

// plain reports whether nothing in the annotations gives the statement another
// effect than the word it begins with.
func plain(s *statement) bool {
	for key, value := range annotationsOf(s.full) {
		switch key {
		case "id", "advice", "owner", "doc":
		case "outcome":
			if value != "deny" {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// overrides returns a forbid without conditions that matches whenever the permit
// s does.
func (l *linter) overrides(s *statement) *statement {
	if !s.permit {
		return nil
	}
	return l.find(s, func(t *statement) bool { return !t.permit && t.bare })
}

// shadows returns a statement of the same effect that matches whenever s does. Of
// two that match alike the first stays.
func (l *linter) shadows(s *statement) *statement {
	body, ok := l.bodies[s]
	if !ok {
		return nil
	}
	return l.find(s, func(t *statement) bool {
		if t == s || t.permit != s.permit || !t.bare && l.bodies[t] != body {
			return false
		}
		alike := l.bodies[t] == body && l.covers(&s.scope, &t.scope)
		same := alike && s.said == t.said // reported as such
		return !same && (!alike || slices.Index(l.set.statements, t) < slices.Index(l.set.statements, s))
	})
}

// find returns the first candidate that is wanted and covers the scope of s.
func (l *linter) find(s *statement, want func(*statement) bool) *statement {
	keys := []types.EntityUID{{}}
	for _, id := range s.scope.principal.ids {
		keys = append(append(keys, id), l.classOf(id)...)
	}
	for _, k := range keys {
		for _, t := range l.byAgent[k] {
			if t.asking == s.asking && l.covers(&t.scope, &s.scope) && want(t) {
				return t
			}
		}
	}
	return nil
}

// orAny returns what the part of a scope names, or the zero id for any.
func (d *dim) orAny() []types.EntityUID {
	if d.ids == nil {
		return []types.EntityUID{{}}
	}
	return d.ids
}
