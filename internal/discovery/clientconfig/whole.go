package clientconfig

import (
	"maps"
	"slices"

	"rutile/internal/discovery"
)

// whole gathers what was looked for to the end in one home.
type whole struct {
	patterns map[string]bool // whether each was
	projects map[string]*below
}

// below are folders of projects, by how rows go up from them, and what was looked
// for in each.
type below struct {
	roots map[string]bool
	rests map[string]bool
}

func newWhole() *whole { return &whole{patterns: map[string]bool{}, projects: map[string]*below{}} }

// add takes how looking for a pattern ended. A folder of a project counts only if
// everything was looked for in it.
func (w *whole) add(p pattern, done bool) {
	if p.root == "" {
		note(w.patterns, p.path, done)
		return
	}
	b := w.projects[p.walk]
	if b == nil {
		b = &below{map[string]bool{}, map[string]bool{}}
		w.projects[p.walk] = b
	}
	note(b.roots, p.root, done)
	b.rests[p.rest] = true
}

func note(of map[string]bool, key string, done bool) {
	had, ok := of[key]
	of[key] = done && (had || !ok)
}

// looked tells what was looked through.
func (x *scan) looked() {
	kept := func(of map[string]bool) []string {
		var out []string
		for _, p := range slices.Sorted(maps.Keys(of)) {
			if of[p] {
				out = append(out, x.cfg.Paths.Show(p))
			}
		}
		return out
	}
	x.into.Whole(discovery.Whole{Patterns: kept(x.whole.patterns)})
	for _, walk := range slices.Sorted(maps.Keys(x.whole.projects)) {
		b := x.whole.projects[walk]
		x.into.Whole(discovery.Whole{Roots: kept(b.roots), Below: slices.Sorted(maps.Keys(b.rests))})
	}
}

// tried tells who watches of a path that is looked for.
func (x *scan) tried(path string) {
	if x.cfg.Tried != nil {
		x.cfg.Tried(path)
	}
}
