package policy

import (
	"cmp"
	"maps"
	"slices"
)

// Covered says how many test cases made one statement match. A case that made it
// err does not count: what its conditions say was not tried.
type Covered struct {
	ID     string `json:"id"`
	Policy string `json:"policy"` // the Policy it came from
	File   string `json:"file,omitempty"`
	Line   int    `json:"line"` // in File, or in the Policy's Cedar if File is ""
	Cases  int    `json:"cases"`
}

// Uncovered returns the statements of these policies that no test case made
// match, in the order of Coverage. A policy that Coverage does not know, because
// no test ran, counts whole.
func (r *Report) Uncovered(policies []Policy) []Covered {
	var out []Covered
	for _, c := range r.Coverage {
		if c.Cases == 0 && slices.ContainsFunc(policies, func(p Policy) bool { return p.ID == c.Policy }) {
			out = append(out, c)
		}
	}
	for _, p := range policies {
		if !p.Retired() && !slices.ContainsFunc(r.Coverage, func(c Covered) bool { return c.Policy == p.ID }) {
			out = append(out, Covered{ID: p.ID, Policy: p.ID, File: p.File, Line: max(p.Line, 1)})
		}
	}
	return out
}

// coverage counts by the id of the statement.
type coverage map[string]*Covered

// declare adds the statements people wrote, which the baseline and what is
// compiled from allow-lists are not.
func (c coverage) declare(s *Set) {
	for _, st := range s.all() {
		if l := st.source.Layer; st.list != nil || l == LayerBaseline || l == LayerGenerated || c[st.id] != nil {
			continue
		}
		c[st.id] = &Covered{ID: st.id, Policy: st.source.ID, File: st.file(), Line: st.line()}
	}
}

// count notes what one case made match, each statement once.
func (c coverage) count(matched []string) {
	slices.Sort(matched)
	for _, id := range slices.Compact(matched) {
		if x := c[id]; x != nil {
			x.Cases++
		}
	}
}

func (c coverage) sorted() []Covered {
	var out []Covered
	for _, id := range slices.Sorted(maps.Keys(c)) {
		out = append(out, *c[id])
	}
	slices.SortStableFunc(out, func(a, b Covered) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Line, b.Line))
	})
	return out
}
