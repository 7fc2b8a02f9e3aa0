package risk

import (
	"slices"
	"strings"

	"rutile/internal/access"
)

// Rule reports whether a rule of the baseline is one of the ladder.
func Rule(id string) bool {
	return strings.HasPrefix(id, "baseline.risk-") || id == "baseline.subject-risk"
}

// Denial is the end of a call that was denied. To be told to ask or to wait is no sign of
// anything, nor is what a score itself brings about: it would hold itself up.
func Denial(class access.Class, outcome access.Outcome, forbids []string) End {
	e := End{Flagged: true}
	switch class {
	case access.ClassRate, access.ClassBusy, access.ClassApproval, access.ClassConnect, access.ClassMask:
	default:
		own := len(forbids) > 0 && !slices.ContainsFunc(forbids, func(id string) bool { return !Rule(id) })
		e.Denied = !own && !outcome.Conditional()
	}
	return e
}

// Answer is what came back of a call that was made.
type Answer struct {
	// Fine says that the server answered, with an error of its tool or not, and that
	// nothing was masked or only let pass because nothing is enforced.
	Fine     bool
	Findings []string // as context.output.findings has them
	Bytes    int
}

// End is the end of a call that was answered.
func (a Answer) End() End {
	e := End{Bytes: a.Bytes, Flagged: !a.Fine}
	switch {
	case slices.Contains(a.Findings, access.FoundBlock):
		e.Found = 2
	case slices.Contains(a.Findings, access.FoundReview):
		e.Found = 1
	}
	kept := func(id string) bool { return strings.HasPrefix(id, "withheld.") || strings.HasPrefix(id, "late.") }
	e.Flagged = e.Flagged || e.Found > 0 || slices.ContainsFunc(a.Findings, kept)
	return e
}
