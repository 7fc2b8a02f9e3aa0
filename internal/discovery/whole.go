package discovery

import (
	"path"
	"slices"
	"strings"
)

// Whole is what a source looked through to the end in the places of one user:
// what lies there and is not told of is not there. Paths are as they may be
// shown. In patterns * stands for a part of one element, and ** for any number of
// elements.
type Whole struct {
	Source   string   `json:"source"`
	User     string   `json:"user,omitempty"`
	Patterns []string `json:"patterns,omitempty"`
	// Roots are folders, and Below patterns that were looked for in each of them.
	Roots []string `json:"roots,omitempty"`
	Below []string `json:"below,omitempty"`
}

// Looker answers whether places were looked through. Make one with Lookers.
type Looker struct {
	exact    map[string]bool
	patterns [][]string
	groups   []group
}

// group are folders, and what was looked for in each of them.
type group struct {
	roots map[string]bool
	below [][]string
}

// Lookers draws what was looked through together, by source and user.
func Lookers(all []Whole) map[[2]string]*Looker {
	out := map[[2]string]*Looker{}
	for i := range all {
		w := &all[i]
		at := [2]string{w.Source, w.User}
		l := out[at]
		if l == nil {
			l = &Looker{exact: map[string]bool{}}
			out[at] = l
		}
		for _, p := range w.Patterns {
			if strings.Contains(p, "*") {
				l.patterns = append(l.patterns, strings.Split(p, "/"))
			} else {
				l.exact[p] = true
			}
		}
		g := group{roots: map[string]bool{}}
		for _, r := range w.Roots {
			g.roots[r] = true
		}
		for _, b := range w.Below {
			g.below = append(g.below, strings.Split(strings.TrimPrefix(b, "/"), "/"))
		}
		if len(g.roots) > 0 {
			l.groups = append(l.groups, g)
		}
	}
	return out
}

// Looked reports whether a place was looked through to the end.
func (l *Looker) Looked(place string) bool {
	if l == nil {
		return false
	}
	if l.exact[place] {
		return true
	}
	parts := strings.Split(place, "/")
	if slices.ContainsFunc(l.patterns, func(p []string) bool { return matches(p, parts) }) {
		return true
	}
	return slices.ContainsFunc(l.groups, func(g group) bool { return g.looked(place) })
}

func (g *group) looked(place string) bool {
	for end := strings.LastIndexByte(place, '/'); end > 0; end = strings.LastIndexByte(place[:end], '/') {
		if !g.roots[place[:end]] {
			continue
		}
		rest := strings.Split(place[end+1:], "/")
		if slices.ContainsFunc(g.below, func(p []string) bool { return matches(p, rest) }) {
			return true
		}
	}
	return false
}

// matches reports whether elements of a path fit those of a pattern. A pattern
// has ** once, as the table of clients does; more would be another's, and fits
// nothing.
func matches(pattern, parts []string) bool {
	i := slices.Index(pattern, "**")
	if i < 0 {
		return fits(pattern, parts)
	}
	head, tail := pattern[:i], pattern[i+1:]
	return len(parts) >= len(head)+len(tail) && fits(head, parts[:len(head)]) && fits(tail, parts[len(parts)-len(tail):])
}

func fits(pattern, parts []string) bool {
	if len(pattern) != len(parts) {
		return false
	}
	for i, p := range pattern {
		if p == parts[i] {
			continue
		}
		if !strings.Contains(p, "*") {
			return false
		}
		if ok, err := path.Match(p, parts[i]); err != nil || !ok {
			return false
		}
	}
	return true
}
