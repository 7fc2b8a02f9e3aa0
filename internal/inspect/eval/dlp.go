package eval

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"rutile/internal/inspect"
	"rutile/internal/rawjson"
)

// Data is what a set shows of secrets and personal data.
type Data struct {
	Set       string  `json:"set"`
	N         int     `json:"n"`
	Positives int     `json:"positives"`
	Negatives int     `json:"negatives"`
	ByLabel   []Label `json:"-"` // secret, pii, benign
	Category  []Label `json:"-"`
	Micros    Micros  `json:"usPerItem"`
	Misses    *Misses `json:"misses,omitempty"`
}

// Label is how the rows of one label or category do: found where there is
// something, flagged where there is nothing.
type Label struct {
	Name           string
	N              int
	Found, Flagged Rate
	// Expected counts the values rows say they hold, Seen those found in them.
	Expected, Seen int
}

// MarshalJSON writes the rates with their counts and bounds.
func (d Data) MarshalJSON() ([]byte, error) {
	m := map[string]any{"set": d.Set, "n": d.N, "positives": d.Positives, "negatives": d.Negatives, "usPerItem": d.Micros}
	if d.Misses != nil {
		m["misses"] = d.Misses
	}
	list := func(labels []Label) map[string]any {
		out := map[string]any{}
		for _, l := range labels {
			one := map[string]any{"n": l.N}
			if l.Found.N > 0 {
				Put(one, "recall", l.Found)
			}
			if l.Flagged.N > 0 {
				Put(one, "fpr", l.Flagged)
			}
			if l.Expected > 0 {
				one["expected"], one["seen"] = l.Expected, l.Seen
			}
			out[l.Name] = one
		}
		return out
	}
	m["by"] = map[string]any{"label": list(d.ByLabel), "category": list(d.Category)}
	return json.Marshal(m)
}

// DLP measures the detectors of data: a row is found when at least one datum of
// its label is in it, a benign row flagged when any is. Rows are searched as the
// gateway searches results, which first looks for what stands out.
func DLP(e *inspect.Engine, in io.Reader, o Options) (Data, error) {
	out := Data{Set: "dlp"}
	if o.Misses {
		out.Misses = &Misses{Missed: []string{}, Flagged: []string{}, BlockedWrong: []string{}}
	}
	now := o.Now
	if now == nil {
		now = func() time.Time { return time.Time{} }
	}
	var micros []float64
	counts := map[string]*dataCount{}
	err := Lines(in, func(line []byte) error {
		v, err := rawjson.Parse(line, rawjson.Limits{Bytes: maxLine})
		if err != nil {
			return err
		}
		var a struct {
			answers
			Expected int `json:"expected_count"`
		}
		if err := json.Unmarshal(line, &a); err != nil {
			return fmt.Errorf("reading the record: %w", err)
		}
		r, err := a.row("secret", "pii")
		if err != nil {
			return err
		}
		text, err := content(v)
		if err != nil {
			return fmt.Errorf("record %q: %w", a.ID, err)
		}
		start := now()
		found := e.Values(text)
		micros = append(micros, float64(now().Sub(start).Nanoseconds())/1000)
		seen := 0
		for _, d := range found {
			if !r.poisoned || string(d.Label) == a.Label {
				seen++
			}
		}
		out.N++
		if r.poisoned {
			out.Positives++
		} else {
			out.Negatives++
		}
		for _, name := range []string{"label " + a.Label, "category " + a.Category} {
			if counts[name] == nil {
				counts[name] = &dataCount{}
			}
			counts[name].add(r.poisoned, seen, a.Expected)
		}
		out.miss(r, seen)
		return nil
	})
	if err != nil {
		return Data{}, err
	}
	out.ByLabel, out.Category = labels(counts, "label "), labels(counts, "category ")
	out.Micros = Quantiles(micros)
	return out, nil
}

func (d *Data) miss(r row, seen int) {
	switch {
	case d.Misses == nil:
	case r.poisoned && seen == 0:
		d.Misses.Missed = append(d.Misses.Missed, r.id)
	case !r.poisoned && seen > 0:
		d.Misses.Flagged = append(d.Misses.Flagged, r.id)
	}
}

type dataCount struct{ pos, found, neg, flagged, expected, seen int }

func (c *dataCount) add(positive bool, seen, expected int) {
	hit := min(seen, 1)
	if positive {
		c.pos, c.found = c.pos+1, c.found+hit
		if expected > 0 {
			c.expected, c.seen = c.expected+expected, c.seen+seen
		}
	} else {
		c.neg, c.flagged = c.neg+1, c.flagged+hit
	}
}

// labels lists the counts whose names begin with a prefix, by name.
func labels(counts map[string]*dataCount, prefix string) (out []Label) {
	for name, c := range counts {
		if len(name) > len(prefix) && name[:len(prefix)] == prefix {
			out = append(out, Label{Name: name[len(prefix):], N: c.pos + c.neg, Found: Share(c.found, c.pos), Flagged: Share(c.flagged, c.neg), Expected: c.expected, Seen: c.seen})
		}
	}
	slices.SortFunc(out, func(a, b Label) int {
		switch {
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		}
		return 0
	})
	return out
}
