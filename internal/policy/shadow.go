package policy

import (
	"slices"
	"strings"
)

// modeShadow is the value of @mode: evaluated, never enforced.
const modeShadow = "shadow"

// part takes the statements that are only tried out of the set and keeps beside
// it a set in which they count.
func (s *Set) part() {
	if !slices.ContainsFunc(s.statements, func(st *statement) bool { return st.shadow }) {
		return
	}
	tried := *s
	tried.index = newIndex(tried.statements)
	s.tried = &tried
	s.statements = slices.DeleteFunc(slices.Clone(s.statements), func(st *statement) bool { return st.shadow })
}

// all returns the statements with those that are only tried.
func (s *Set) all() []*statement {
	if s.tried != nil {
		return s.tried.statements
	}
	return s.statements
}

// Tried returns the set in which what has @mode("shadow") counts like the rest,
// nil if nothing has.
func (s *Set) Tried() *Set { return s.tried }

// Shadows returns which of the statements that are only tried v, a verdict of
// Tried, comes from: those that matched or erred, sorted.
func (s *Set) Shadows(v *Verdict) []string {
	var out []string
	for _, st := range s.all() {
		if st.shadow && (slices.Contains(v.Permits, st.id) || slices.Contains(v.Forbids, st.id) || slices.Contains(v.Errors, st.id)) {
			out = append(out, st.id)
		}
	}
	slices.SortFunc(out, strings.Compare)
	return out
}
