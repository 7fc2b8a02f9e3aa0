package eval

import (
	"fmt"
	"math"
	"slices"

	"rutile/internal/inspect"
)

// hold judges every source with what the others teach: a rule counts only if it
// is right about a poisoned row of another source, and the score that calls for a
// review is the lowest, from the shipped one up, that flags no more than the allowed share of the other
// sources' benign rows. It cannot undo that people who knew a source wrote the
// rules.
func hold(rows []row, allowed float64) *Holdout {
	var sources []string
	taught := map[string]map[string]bool{} // rule → sources whose poisoned rows it sees
	for _, r := range rows {
		if !slices.Contains(sources, r.source) {
			sources = append(sources, r.source)
		}
		for _, f := range r.report.Findings {
			if !r.poisoned {
				continue
			}
			if taught[f.Rule] == nil {
				taught[f.Rule] = map[string]bool{}
			}
			taught[f.Rule][r.source] = true
		}
	}
	tier := map[string]inspect.Tier{}
	for _, out := range sources {
		known := func(rule string) bool {
			n := len(taught[rule])
			return n > 1 || n == 1 && !taught[rule][out]
		}
		limit := threshold(rows, out, allowed, known)
		for _, r := range rows {
			if r.source == out && score(r, known) >= limit {
				tier[r.id] = inspect.Review
			}
		}
	}
	held := func(r row) inspect.Tier { return tier[r.id] }
	var all tally
	for _, r := range rows {
		all.add(r.poisoned, held(r))
	}
	return &Holdout{
		Rule:     fmt.Sprintf("each source judged by rules and a score the others teach, at most %g %% of their benign rows flagged", allowed*100),
		Review:   all.tiers().Review,
		BySignal: reviews(groups(rows, func(r row) string { return r.signal }, held)),
		BySource: reviews(groups(rows, func(r row) string { return r.source }, held)),
	}
}

// reviews leaves out the tier that was not judged.
func reviews(groups map[string]Group) map[string]Group {
	for name, g := range groups {
		g.Block = nil
		groups[name] = g
	}
	return groups
}

// score is what the findings of known rules come to.
func score(r row, known func(string) bool) float64 {
	var kept []inspect.Finding
	for _, f := range r.report.Findings {
		if known(f.Rule) {
			kept = append(kept, f)
		}
	}
	return inspect.Combine(kept).Score
}

// shipped is the lowest score that calls for a review in the shipped rules. Benign
// rows without hard cases would teach a lower one that means nothing.
const shipped = 0.5

// threshold is the lowest score, from the shipped one up, over which at most the allowed share of benign
// rows of all sources but one lie.
func threshold(rows []row, but string, allowed float64, known func(string) bool) float64 {
	var scores []float64
	for _, r := range rows {
		if !r.poisoned && r.source != but {
			scores = append(scores, score(r, known))
		}
	}
	if len(scores) == 0 {
		return shipped
	}
	slices.Sort(scores)
	at := scores[len(scores)-1-int(allowed*float64(len(scores)))]
	return max(shipped, math.Nextafter(at, 2))
}
