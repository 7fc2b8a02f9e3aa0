package admin

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"rutile/internal/access"
	"rutile/internal/fact"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// label reads a label: its id is the label as servers, agents and policies write it.
func (d *decoder) label(n *yaml.Node, m *manifest) {
	o := d.object(n, "", "kind", "id", "owner", "description", "state")
	o.required("id", "source:code")
	o.required("owner", "team-name")
	m.id = o.text("id")
	kind, name, _ := strings.Cut(m.id, ":")
	if m.id != "" && (slices.Contains(registry.LabelWords(), m.id) || len(m.id) > 128 || !scope(m.id) && (name != "*" || kind == "" || strings.ContainsAny(kind, " *,"))) {
		o.fail("id", "%q cannot be declared: write kind:name, or kind:* for every label of a kind; untrusted, public, pii and secret are there already", clip(m.id))
		m.id = ""
	}
	m.label = &registry.Label{ID: m.id, Owner: o.owner(), Description: o.text("description"), State: o.choice("state", registry.LabelActive, registry.LabelRetired)}
}

func (p *planner) label(m *manifest, it *Item) {
	next := *m.label
	if declare(p, it, p.cur.Labels, p.draft.changes.Labels, &next, func(x *registry.Label) standing { return standing{&x.Created, &x.Changed, &x.State} }) {
		p.owner(next.Owner, it)
	}
}

func (e *emitter) label(l registry.Label) {
	e.document(kindLabel, l.ID)
	e.text(0, "owner", l.Owner)
	e.text(0, "description", l.Description)
	e.text(0, "state", l.State)
}

// labels are those that data may have, and whether somebody declared them. Where nobody
// did they are those that servers have; nil where there are none either, so that nothing
// can be compared with them.
func labels(v *registry.View, known map[string]registry.Label) (out []string, declared bool) {
	for _, id := range keysOf(known) {
		if known[id].State == registry.LabelActive {
			out = append(out, id)
		}
	}
	if len(out) > 0 {
		return out, true
	}
	for _, s := range v.Servers() {
		out = append(out, labelsOf(&s)...)
	}
	slices.Sort(out)
	return slices.Compact(out), false
}

// labelsOf are the labels that a server's answers may have, sorted.
func labelsOf(s *registry.Server) []string {
	out := slices.Clone(s.DataScopes)
	for _, of := range s.Labels {
		out = append(out, of...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// unknownLabel says of the first of some labels that is neither built in nor known that
// it is none, "" if all are.
func unknownLabel(named, known []string) string {
	words := slices.Concat(known, registry.LabelWords())
	for _, l := range named {
		if l == "" || access.HasLabel(words, l) {
			continue
		}
		near := access.Nearest(l, words)
		if near != "" {
			near = ", or write " + near
		}
		return fmt.Sprintf("no label is called %q: declare it in a manifest of kind Label%s", clip(l), near)
	}
	return ""
}

// unlabelled refuses labels that nobody declared once anybody declared one: in what is
// applied, and where labels are declared or retired in everything that stands.
func (p *planner) unlabelled(manifests []*manifest, next *Current) {
	known, declared := labels(next.View, next.Labels)
	if !declared {
		return
	}
	given := map[string]*manifest{}
	for _, m := range manifests {
		given[m.key()] = m
	}
	check := func(kind, id, field string, named []string) {
		m := given[kind+"/"+id]
		if m == nil && len(p.draft.changes.Labels) == 0 {
			return
		}
		if m == nil {
			m = &manifest{place: Problem{File: strings.ToLower(kind) + " " + id}}
		}
		if msg := unknownLabel(named, known); msg != "" {
			p.fail(m, field, "%s", msg)
		}
	}
	for _, a := range next.View.Agents() {
		if a.State != registry.AgentRetired {
			check(kindAgent, a.ID, "dataScopes", a.DataScopes)
		}
	}
	for _, s := range next.View.Servers() {
		if s.State == registry.ServerRetired {
			continue
		}
		check(kindServer, s.ID, "dataScopes", s.DataScopes)
		for _, pattern := range keysOf(s.Labels) {
			check(kindServer, s.ID, "labels."+pattern, s.Labels[pattern])
		}
	}
	for _, id := range keysOf(next.Facts) {
		if f := next.Facts[id]; f.State == fact.Active {
			check(kindFact, id, "on.resultLabel", []string{f.On.ResultLabel})
		}
	}
	for _, x := range next.Set.Unlabelled() {
		if given[kindPolicy+"/"+x.Policy] != nil || len(p.draft.changes.Labels) > 0 {
			p.problems = append(p.problems, problemOf(x))
		}
	}
}

// labelNotes says of agents that are given a label which no server has that it allows
// them nothing, where nobody declares labels.
func (p *planner) labelNotes(items []Item, next *Current) {
	known, declared := labels(next.View, next.Labels)
	if declared || known == nil {
		return
	}
	for i := range items {
		if it := &items[i]; it.Kind == kindAgent && it.Action != ActionUnchanged {
			a, _ := next.View.Agent(it.ID)
			if msg := unknownLabel(a.DataScopes, known); msg != "" {
				it.note("dataScopes: no server has one of them: %s", msg)
			}
		}
	}
}

// problemOf is a problem of a policy with its place.
func problemOf(p policy.Problem) Problem {
	file := p.File
	if file == "" {
		file = "policy " + p.Policy
	}
	msg := p.Message
	if p.Source != "" {
		msg += "\n    " + p.Source
	}
	return Problem{File: file, Line: p.Line, Column: p.Column, Field: "cedar", Msg: msg}
}
