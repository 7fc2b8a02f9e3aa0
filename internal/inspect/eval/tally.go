package eval

import (
	"slices"

	"rutile/internal/inspect"
)

// tally counts rows at both tiers.
type tally struct{ pos, neg, posReview, negReview, posBlock, negBlock int }

func (t *tally) add(poisoned bool, tier inspect.Tier) {
	review, block := 0, 0
	if tier >= inspect.Review {
		review = 1
	}
	if tier >= inspect.Block {
		block = 1
	}
	if poisoned {
		t.pos, t.posReview, t.posBlock = t.pos+1, t.posReview+review, t.posBlock+block
	} else {
		t.neg, t.negReview, t.negBlock = t.neg+1, t.negReview+review, t.negBlock+block
	}
}

func (t *tally) tiers() Tiers {
	return Tiers{Review: tierOf(t.posReview, t.pos, t.negReview, t.neg), Block: tierOf(t.posBlock, t.pos, t.negBlock, t.neg)}
}

func tierOf(k, pos, wrong, neg int) (out Tier) {
	if pos > 0 {
		r := Share(k, pos)
		out.Recall = &r
	}
	if neg > 0 {
		r := Share(wrong, neg)
		out.FPR = &r
	}
	return out
}

func (t *tally) group() Group {
	two := t.tiers()
	return Group{N: t.pos + t.neg, Review: two.Review, Block: &two.Block}
}

// groups counts rows by a key.
func groups(rows []row, key func(row) string, tier func(row) inspect.Tier) map[string]Group {
	counts := map[string]*tally{}
	for _, r := range rows {
		k := key(r)
		if counts[k] == nil {
			counts[k] = &tally{}
		}
		counts[k].add(r.poisoned, tier(r))
	}
	out := make(map[string]Group, len(counts))
	for k, t := range counts {
		out[k] = t.group()
	}
	return out
}

func reported(r row) inspect.Tier { return r.report.Tier }

// result makes a result of judged rows.
func result(set string, rows []row, micros []float64, o Options) Result {
	var all tally
	for _, r := range rows {
		all.add(r.poisoned, r.report.Tier)
	}
	out := Result{Set: set, N: len(rows), Positives: all.pos, Negatives: all.neg, Tiers: all.tiers(), By: map[string]map[string]Group{
		"signal":   groups(rows, func(r row) string { return r.signal }, reported),
		"category": groups(rows, func(r row) string { return r.category }, reported),
		"source":   groups(rows, func(r row) string { return r.source }, reported),
	}}
	out.Micros = Quantiles(micros)
	if o.Misses {
		out.Misses = misses(rows)
	}
	if o.Holdout {
		out.Holdout = hold(rows, allowed(set))
	}
	return out
}

// Quantiles are those of rows that took so long. It sorts its argument.
func Quantiles(micros []float64) Micros {
	if len(micros) == 0 {
		return Micros{}
	}
	slices.Sort(micros)
	return Micros{P50: micros[len(micros)/2], P99: micros[len(micros)*99/100]}
}

func misses(rows []row) *Misses {
	m := &Misses{Missed: []string{}, Flagged: []string{}, BlockedWrong: []string{}}
	for _, r := range rows {
		switch tier := r.report.Tier; {
		case r.poisoned && tier < inspect.Review:
			m.Missed = append(m.Missed, r.id)
		case !r.poisoned && tier >= inspect.Review:
			m.Flagged = append(m.Flagged, r.id)
			if tier == inspect.Block {
				m.BlockedWrong = append(m.BlockedWrong, r.id)
			}
		}
	}
	return m
}

// allowed is the share of benign rows that may be flagged (inspection.md 12).
func allowed(set string) float64 {
	if set == "outputs" {
		return 0.02
	}
	return 0.01
}
