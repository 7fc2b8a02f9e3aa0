package inventory

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"rutile/internal/discovery"
)

// Run is how the newest run of one source at a host ended: how many places ended how,
// and those it could not look into.
type Run struct {
	Source      string           `json:"source"`
	Rutile      string           `json:"rutile,omitempty"` // version that looked
	Started     time.Time        `json:"started"`
	Ended       time.Time        `json:"ended"`
	Interrupted bool             `json:"interrupted,omitempty"`
	Counts      discovery.Counts `json:"counts"`
	Entries     int              `json:"entries"` // servers named there
	Gaps        []Gap            `json:"gaps,omitempty"`
	More        int              `json:"more,omitempty"` // gaps that are not kept
}

// Gap is a place that a source could not look into.
type Gap struct {
	Place   string            `json:"place"`
	User    string            `json:"user,omitempty"`
	Outcome discovery.Outcome `json:"outcome"`
	Why     string            `json:"why,omitempty"`
}

// Bounds of what is kept of the runs of a host.
const (
	maxRuns = 16
	maxGaps = 40 // of one run
	maxGap  = 300
)

// Missed is how many places a run could not look into.
func (r *Run) Missed() int { return len(r.Gaps) + r.More }

// runs are the newest runs of a host: those of a batch, and those had before of sources
// the batch did not ask.
func (b *Batch) runs(had []Run) []Run {
	var out []Run
	for _, source := range b.Sources {
		r := Run{Source: source, Rutile: b.Rutile, Started: b.Started, Ended: b.Ended, Interrupted: b.Interrupted, Counts: discovery.Counts{}}
		for i := range b.Coverage {
			if b.Coverage[i].Source == source {
				r.count(&b.Coverage[i])
			}
		}
		out = append(out, r)
	}
	for _, r := range had {
		if !slices.ContainsFunc(out, func(x Run) bool { return x.Source == r.Source }) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(x, y Run) int { return cmp.Compare(x.Source, y.Source) })
	return out[:min(len(out), maxRuns)]
}

func (r *Run) count(c *discovery.Coverage) {
	r.Counts[c.Outcome]++
	r.Entries += c.Entries
	switch {
	case c.Outcome == discovery.Read || c.Outcome == discovery.Absent || c.Outcome == discovery.Skipped:
	case len(r.Gaps) == maxGaps:
		r.More++
	default:
		r.Gaps = append(r.Gaps, Gap{Place: short(c.Place), User: c.User, Outcome: c.Outcome, Why: short(c.Why)})
	}
}

// short is the beginning of a text.
func short(s string) string {
	if len(s) > maxGap {
		return strings.ToValidUTF8(s[:maxGap], "") + "…"
	}
	return s
}
