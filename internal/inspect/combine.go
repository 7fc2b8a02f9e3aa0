package inspect

import (
	"cmp"
	"slices"
)

// What a weight calls for.
const (
	reviewAt = .5  // a soft finding alone, or all families together
	scoreAt  = .55 // all families together
	blockAt  = .7  // two soft families, each
)

// report combines what was found and forgets it.
func (s *scan) report() Report {
	r := Combine(s.found)
	s.found = nil
	return r
}

// Combine judges findings together: it sets the tier of each, and tier and score
// of all; the strongest of each family counts once. It keeps the slice and sorts
// it by place.
func Combine(found []Finding) Report {
	var r Report
	best := map[string]float64{}
	for i := range found {
		f := &found[i]
		f.Tier = Clean
		switch {
		case f.Hard:
			f.Tier = Block
		case f.Weight >= reviewAt:
			f.Tier = Review
		}
		r.Tier = max(r.Tier, f.Tier)
		best[f.Family] = max(best[f.Family], f.Weight)
	}
	clean, strong := 1.0, 0
	for _, family := range sortedKeys(best) {
		clean *= 1 - best[family]
		if best[family] >= blockAt {
			strong++
		}
	}
	r.Score = 1 - clean
	if r.Score >= scoreAt {
		r.Tier = max(r.Tier, Review)
	}
	if strong >= 2 {
		r.Tier = Block
	}
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Pointer, b.Pointer), cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.Rule, b.Rule))
	})
	r.Findings = found
	return r
}
