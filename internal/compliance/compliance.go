// Package compliance says what of a framework's controls Rutile does, and what the
// evidence of a period shows of it.
//
// It claims readiness, never conformity: a control is covered, partly covered or not
// by Rutile, and every figure MUST be the count of one query that anybody can repeat.
// The package decides nothing and keeps nothing.
package compliance

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// State says how far a control is Rutile's.
type State string

// States.
const (
	Covered State = "covered" // what Rutile can do for it, it does
	Partly  State = "partly"  // some of it; Gap says what stays with others
	Not     State = "not"     // it is a matter for the organisation or another system
)

// Query selects evidence, in the words of the command line and of addresses, or what
// else Of says.
type Query struct {
	Of      List   `json:"of,omitempty"`
	Type    string `json:"type,omitempty"`
	Outcome string `json:"outcome,omitempty"`
	Status  string `json:"status,omitempty"`
	Text    string `json:"text,omitempty"`

	State    string `json:"state,omitempty"`
	Severity string `json:"severity,omitempty"` // this one or worse
	Unowned  bool   `json:"unowned,omitempty"`
	Overdue  bool   `json:"overdue,omitempty"`
}

// Figure is what a query counts: evidence in the period, anything else when the report
// is made.
type Figure struct {
	Name    string `json:"name"`
	Count   int    `json:"count"`
	More    bool   `json:"more,omitempty"` // it is at least so many
	Query   Query  `json:"query"`
	Console string `json:"console"` // where it is shown, below the operators' address; "" if no page shows it
	Command string `json:"command"` // prints the same count
}

// Measure is something Rutile does.
type Measure struct {
	Does    string   `json:"does"`
	Figures []Figure `json:"figures"`
}

// Control is one control of a framework.
type Control struct {
	ID       string    `json:"id"`
	Title    string    `json:"title"` // in our words
	State    State     `json:"state"`
	Gap      string    `json:"gap,omitempty"` // what Rutile does not do for it
	Measures []Measure `json:"measures,omitempty"`
}

// Report is what a framework asks and what the evidence of a period shows.
type Report struct {
	Framework  string    `json:"framework"`
	Title      string    `json:"title"`
	Edition    string    `json:"edition"` // which text it follows, and what of it was not verified
	Since      time.Time `json:"since"`
	Until      time.Time `json:"until"`
	At         time.Time `json:"at"`         // when it was made: what is not evidence was counted then
	Leaves     uint64    `json:"leaves"`     // of the log the figures are of: those of the checkpoint or more
	Checkpoint string    `json:"checkpoint"` // signed, as it was when the figures were counted
	Key        string    `json:"key"`        // the log's vkey: its own word
	Controls   []Control `json:"controls"`
}

// Evidence is what a report reads.
type Evidence interface {
	// Count returns how many events match, and counts no further than most.
	Count(ctx context.Context, q audit.Query, most int) (int, error)
	// Size returns the number of durable leaves.
	Size() uint64
	// Checkpoint returns the newest signed checkpoint.
	Checkpoint() []byte
	// VerifierKey returns the key it verifies under, in C2SP form.
	VerifierKey() string
}

// Frameworks returns the ids of the frameworks there are, in the order they are
// offered.
func Frameworks() []string {
	var out []string
	for _, f := range frameworks() {
		out = append(out, f.id)
	}
	return out
}

// Title is the name of a framework, "" if there is none of that id.
func Title(id string) string {
	for _, f := range frameworks() {
		if f.id == id {
			return f.title
		}
	}
	return ""
}

// New makes the report of a framework over what began from since to before until, and
// over what there is at present.
func New(ctx context.Context, ev Evidence, present *Present, id string, since, until time.Time) (Report, error) {
	list := frameworks()
	i := slices.IndexFunc(list, func(f framework) bool { return f.id == id })
	if i < 0 {
		return Report{}, access.Errorf(access.CodeInvalid, "there is no framework %q: name one of %s", id, strings.Join(Frameworks(), ", "))
	}
	// As the queries behind the figures are written: to the microsecond.
	since, until = since.UTC().Truncate(time.Microsecond), until.UTC().Truncate(time.Microsecond)
	if !since.Before(until) {
		return Report{}, access.Errorf(access.CodeInvalid, "the period ends before it begins: --since must be before --until")
	}
	f := list[i]
	r := Report{Framework: f.id, Title: f.title, Edition: f.edition, Since: since, Until: until, At: present.At.UTC().Truncate(time.Microsecond), Leaves: ev.Size(), Checkpoint: string(ev.Checkpoint()), Key: ev.VerifierKey()}
	counted := map[Query]Figure{}
	for _, c := range f.controls {
		control := Control{ID: c.id, Title: c.title, State: c.state, Gap: c.gap}
		for _, name := range c.measures {
			m := measures()[name]
			measure := Measure{Does: m.does, Figures: []Figure{}}
			for _, fig := range m.figures {
				known, ok := counted[fig.query]
				if !ok {
					if fig.query.Of != Events {
						known = present.figure(fig.query)
					} else if n, err := count(ctx, ev, fig.query, since, until); err != nil {
						return Report{}, err
					} else {
						known = n
					}
					counted[fig.query] = known
				}
				known.Name = fig.name
				measure.Figures = append(measure.Figures, known)
			}
			control.Measures = append(control.Measures, measure)
		}
		r.Controls = append(r.Controls, control)
	}
	return r, nil
}

func count(ctx context.Context, ev Evidence, q Query, since, until time.Time) (Figure, error) {
	n, err := ev.Count(ctx, q.of(since, until), audit.MostCounted)
	if err != nil {
		return Figure{}, err
	}
	return Figure{Count: n, More: n == audit.MostCounted, Query: q, Console: "/console/evidence?" + q.values(since, until).Encode(), Command: q.command(since, until)}, nil
}

// of is the query over a period as the index takes it.
func (q Query) of(since, until time.Time) audit.Query {
	out := audit.Query{Outcome: q.Outcome, Status: q.Status, Text: q.Text, Since: since, Until: until}
	if q.Type != "" {
		out.Types = strings.Split(q.Type, ",")
	}
	return out
}

func (q Query) values(since, until time.Time) url.Values {
	v := url.Values{"since": {instant(since)}, "until": {instant(until)}}
	for _, f := range q.fields() {
		v.Set(f[0], f[1])
	}
	return v
}

func (q Query) command(since, until time.Time) string {
	var b strings.Builder
	b.WriteString("rutile audit search --count --since " + instant(since) + " --until " + instant(until))
	for _, f := range q.fields() {
		value := f[1]
		if strings.Contains(value, " ") {
			value = "'" + value + "'"
		}
		b.WriteString(" --" + f[0] + " " + value)
	}
	return b.String()
}

// fields are the names and values of what the query restricts.
func (q Query) fields() [][2]string {
	var out [][2]string
	for _, f := range [][2]string{{"type", q.Type}, {"outcome", q.Outcome}, {"status", q.Status}, {"text", q.Text}} {
		if f[1] != "" {
			out = append(out, f)
		}
	}
	return out
}

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
