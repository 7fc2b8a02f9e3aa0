// Package eval measures the detectors of inspect on labelled sets.
//
// A set is JSON lines (inspection.md section 12). What is measured is the shipped
// engine with its shipped rules, which MUST NOT see anything of a record but what
// a gateway would: labels, categories, sources and ids are the answers. Every
// rate comes with its counts and its Wilson 95 % interval. No text of a record is
// ever part of a result.
package eval

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"rutile/internal/inspect"
)

// Rate is k of n with its Wilson 95 % interval.
type Rate struct {
	Rate float64
	K, N int
}

// Bounds returns the Wilson score interval at 95 %, 0 and 1 of nothing.
func (r Rate) Bounds() (low, high float64) {
	if r.N == 0 {
		return 0, 1
	}
	const z = 1.959964
	n, p := float64(r.N), float64(r.K)/float64(r.N)
	middle, half := p+z*z/(2*n), z*math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return max(0, (middle-half)/(1+z*z/n)), min(1, (middle+half)/(1+z*z/n))
}

// Share is k of n.
func Share(k, n int) Rate {
	if n == 0 {
		return Rate{}
	}
	return Rate{Rate: float64(k) / float64(n), K: k, N: n}
}

// Tier is how one tier does: recall of the poisoned, fpr of the benign.
type Tier struct {
	Recall *Rate
	FPR    *Rate
}

// MarshalJSON writes recall and fpr as rates from 0 to 1, with their counts and
// bounds beside them.
func (t Tier) MarshalJSON() ([]byte, error) {
	m := map[string]any{}
	for name, r := range map[string]*Rate{"recall": t.Recall, "fpr": t.FPR} {
		if r != nil {
			low, high := r.Bounds()
			m[name], m[name+"K"], m[name+"N"], m[name+"Low"], m[name+"High"] = r.Rate, r.K, r.N, low, high
		}
	}
	return json.Marshal(m)
}

// Group is how the rows do that have one signal, category or source.
type Group struct {
	N      int   `json:"n"`
	Review Tier  `json:"review"`
	Block  *Tier `json:"block,omitempty"` // nil where only reviews were counted
}

// Tiers are both tiers of a set.
type Tiers struct {
	Review Tier `json:"review"`
	Block  Tier `json:"block"`
}

// Micros are microseconds of one row.
type Micros struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// Holdout is how the set does when each source is judged with what the others
// teach (see Hold).
type Holdout struct {
	Rule     string           `json:"rule"`
	Review   Tier             `json:"review"`
	BySignal map[string]Group `json:"bySignal"`
	BySource map[string]Group `json:"bySource"`
}

// Misses are the ids a tier got wrong.
type Misses struct {
	Missed       []string `json:"missed"`       // poisoned, not even a review
	Flagged      []string `json:"flagged"`      // benign, at review or over
	BlockedWrong []string `json:"blockedWrong"` // benign, at block
}

// Result is what a set shows of tools or outputs.
type Result struct {
	Set       string                      `json:"set"`
	N         int                         `json:"n"`
	Positives int                         `json:"positives"`
	Negatives int                         `json:"negatives"`
	Tiers     Tiers                       `json:"tiers"`
	By        map[string]map[string]Group `json:"by"`
	Micros    Micros                      `json:"usPerItem"`
	Holdout   *Holdout                    `json:"holdout,omitempty"`
	Misses    *Misses                     `json:"misses,omitempty"`
}

// Options say what to add to a result.
type Options struct {
	Misses  bool
	Holdout bool
	// Now is the clock the rows are timed by; nil leaves usPerItem at 0.
	Now func() time.Time
}

// row is what became of one record.
type row struct {
	id, source, category, signal string
	poisoned                     bool
	report                       inspect.Report
}

// answers is what the engine may not see.
type answers struct {
	ID       string `json:"id"`
	Source   string `json:"source"`
	Label    string `json:"label"`
	Category string `json:"category"`
	Signal   string `json:"signal"`
	Derived  bool   `json:"derived"`
}

const maxLine = 16 << 20

// Lines calls do for every line of r, with the line's number in errors.
func Lines(r io.Reader, do func(line []byte) error) error {
	in := bufio.NewReaderSize(r, 1<<16)
	for n := 1; ; n++ {
		line, err := readLine(in)
		if len(line) > 0 {
			if err := do(line); err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
}

func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return nil, fmt.Errorf("more than %d bytes", maxLine)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return []byte(strings.TrimSpace(string(line))), err
		}
	}
}

func (a answers) row(positive ...string) (row, error) {
	r := row{id: a.ID, source: sourceOf(a.Source), category: a.Category, signal: a.Signal}
	switch {
	case slices.Contains(positive, a.Label):
		r.poisoned = true
	case a.Label != "benign":
		return row{}, fmt.Errorf("label %q is not known here: use benign or %s", a.Label, strings.Join(positive, ", "))
	}
	switch {
	case !r.poisoned:
		r.signal = "benign"
	case a.Derived:
		r.signal = "evasion"
	case r.signal == "":
		r.signal = "none"
	}
	return r, nil
}

// sourceOf returns the project a record comes from, of a made one that of its
// payload.
func sourceOf(s string) string {
	if _, payload, made := strings.Cut(s, " + payload "); made {
		s = payload
	}
	s, _, _ = strings.Cut(s, ":")
	s, _, _ = strings.Cut(s, " ")
	return s
}
