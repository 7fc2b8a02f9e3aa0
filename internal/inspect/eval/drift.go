package eval

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"rutile/internal/inspect"
	"rutile/internal/rawjson"
)

// Drifts is what a set shows of changes.
type Drifts struct {
	Set       string                    `json:"set"`
	N         int                       `json:"n"`
	Positives int                       `json:"positives"`
	Negatives int                       `json:"negatives"`
	Stopped   Rate                      `json:"-"` // rug pulls that do not pass
	Passed    Rate                      `json:"-"` // updates nobody has to look at
	By        map[string]DriftsOf       `json:"-"`
	Grades    map[string]map[string]int `json:"grades"` // by label, how many of each grade
	Micros    Micros                    `json:"usPerItem"`
	Misses    *Misses                   `json:"misses,omitempty"`
}

// DriftsOf are those of one category.
type DriftsOf struct {
	N       int  `json:"n"`
	Stopped Rate `json:"-"`
}

// MarshalJSON writes the rates of the contract with their counts and bounds.
func (d Drifts) MarshalJSON() ([]byte, error) {
	type plain Drifts
	b, err := json.Marshal(plain(d))
	if err != nil {
		return nil, err
	}
	m := map[string]any{}
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	Put(m, "rugPullsStopped", d.Stopped)
	Put(m, "updatesPassed", d.Passed)
	by := map[string]any{}
	for name, of := range d.By {
		g := map[string]any{"n": of.N}
		Put(g, "stopped", of.Stopped)
		by[name] = g
	}
	m["by"] = map[string]any{"category": by}
	return json.Marshal(m)
}

// Put writes a rate with its counts and bounds.
func Put(m map[string]any, name string, r Rate) {
	low, high := r.Bounds()
	m[name], m[name+"K"], m[name+"N"], m[name+"Low"], m[name+"High"] = r.Rate, r.K, r.N, low, high
}

// Drift measures the grading of changes: before was approved, after comes.
func Drift(e *inspect.Engine, in io.Reader, o Options) (Drifts, error) {
	out := Drifts{Set: "drift", By: map[string]DriftsOf{}, Grades: map[string]map[string]int{"benign": {}, "poisoned": {}}}
	if o.Misses {
		out.Misses = &Misses{Missed: []string{}, Flagged: []string{}, BlockedWrong: []string{}}
	}
	now := o.Now
	if now == nil {
		now = func() time.Time { return time.Time{} }
	}
	var micros []float64
	stopped, passed, byStopped := 0, 0, map[string]int{}
	err := Lines(in, func(line []byte) error {
		v, err := rawjson.Parse(line, rawjson.Limits{Bytes: maxLine})
		if err != nil {
			return err
		}
		var a answers
		if err := json.Unmarshal(line, &a); err != nil {
			return fmt.Errorf("reading the record: %w", err)
		}
		r, err := a.row("poisoned")
		if err != nil {
			return err
		}
		before, after := v.Get("before"), v.Get("after")
		if before.Kind() != rawjson.Object || after.Kind() != rawjson.Object {
			return fmt.Errorf("record %q: it has no before and after", a.ID)
		}
		start := now()
		d := e.Drift(before, after)
		micros = append(micros, float64(now().Sub(start).Nanoseconds())/1000)
		out.N++
		out.Grades[a.Label][d.Grade.String()]++
		of := out.By[a.Category]
		of.N++
		out.By[a.Category] = of
		if !d.Passes() {
			byStopped[a.Category]++
		}
		switch {
		case r.poisoned:
			out.Positives++
			if !d.Passes() {
				stopped++
			} else if o.Misses {
				out.Misses.Missed = append(out.Misses.Missed, a.ID)
			}
		default:
			out.Negatives++
			if d.Passes() {
				passed++
			} else if o.Misses {
				out.Misses.Flagged = append(out.Misses.Flagged, a.ID)
			}
		}
		return nil
	})
	if err != nil {
		return Drifts{}, err
	}
	out.Stopped, out.Passed = Share(stopped, out.Positives), Share(passed, out.Negatives)
	for name, of := range out.By {
		of.Stopped = Share(byStopped[name], of.N)
		out.By[name] = of
	}
	out.Micros = Quantiles(micros)
	return out, nil
}
