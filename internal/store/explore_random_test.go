package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rutile/internal/audit"
	"rutile/internal/store"
)

// dice throws rows and queries out of few values, so that many meet.
type dice struct{ *rand.Rand }

func (d dice) of(vs ...string) string { return vs[d.IntN(len(vs))] }

func (d dice) some(vs ...string) (out []string) {
	for _, v := range vs {
		if d.IntN(3) == 0 {
			out = append(out, v)
		}
	}
	return out
}

// What is thrown holds values that no index can hold as they are, and words of several
// alphabets.
var (
	thrownNames  = []string{"", "a", "b", "A", "a b", "é", "\x01a", "a\x00b", "%", "_", "'; --", strings.Repeat("x", 3000), strings.Repeat("x", 2999) + "y"}
	thrownWords  = []string{"alpha", "beta", "rm", "or", "not", "near", "확인", "grün", "日本語", "42", "ok"}
	thrownLabels = []string{"pii", "secret", "PII", strings.Repeat("l", 700), "l'"}
)

func (d dice) time(n int) time.Time { return exploreBegin.Add(time.Duration(d.IntN(n)) * time.Second) }

func (d dice) row(i uint64, n int) audit.Row {
	r := audit.Row{
		Index: i, LeafID: fmt.Sprintf("%026d", i), Type: d.of("intent", "intent", "verdict", "admin", "loss", "outcome", "later.type"), At: d.time(n), Intent: -1,
		Agent: d.of(thrownNames...), Subject: d.of(thrownNames...), Session: d.of(thrownNames...), Task: d.of(thrownNames...), Server: d.of(thrownNames...),
		Tool: d.of(thrownNames...), Grant: d.of(thrownNames...), Decision: d.of(thrownNames...), TraceID: d.of(thrownNames...),
		Outcome: d.of("", "permit", "permit", "deny"), Policies: d.some(thrownLabels...), Labels: d.some(thrownLabels...), Text: strings.Join(d.some(thrownWords...), " "),
	}
	if r.Type == "outcome" {
		r.Status = d.of("ok", "timeout")
	}
	return r
}

// ended is a row of which an outcome came later.
func (d dice) ended(r audit.Row, at uint64) audit.Row {
	r.Ends, r.Ended, r.Status = append(slices.Clip(r.Ends), at), r.At.Add(time.Second), d.of("ok", "ok", "timeout", "tool_error")
	r.Text = strings.TrimSpace(r.Text + " ok")
	for _, l := range d.some(thrownLabels...) {
		if !slices.Contains(r.Labels, l) {
			r.Labels = append(slices.Clip(r.Labels), l)
		}
	}
	return r
}

func (d dice) query(n int) audit.Query {
	var q audit.Query
	for _, f := range []*string{&q.Agent, &q.Subject, &q.Session, &q.Task, &q.Server, &q.Tool, &q.Grant, &q.Decision, &q.Trace} {
		if d.IntN(8) == 0 {
			*f = d.of(thrownNames...)
		}
	}
	rarely := func(set func()) {
		if d.IntN(4) == 0 {
			set()
		}
	}
	rarely(func() { q.Outcome = d.of("permit", "deny", "terminate") })
	rarely(func() { q.Status = d.of("ok", "timeout", string(audit.StatusOpen)) })
	rarely(func() { q.Types = d.some("intent", "verdict", "admin", "loss", "outcome", "later.type", "loss") })
	rarely(func() { q.Policy = d.of(thrownLabels...) })
	rarely(func() { q.Label = d.of(thrownLabels...) })
	rarely(func() {
		q.Text = strings.ToUpper(strings.Join(append(d.some(thrownWords...), d.of(thrownWords...)), "-"))
	})
	rarely(func() { q.Since = d.time(n) })
	rarely(func() { q.Until = d.time(n) })
	rarely(func() { q.Before = 1 + uint64(d.IntN(3*n)) })
	if q.Ascending = d.IntN(3) == 0; q.Ascending {
		q.From, q.Following = uint64(d.IntN(n)), d.IntN(2) == 0
	}
	return q
}

// thrown looks at a row as a query is meant.
func thrown(q *audit.Query, r *audit.Row) bool {
	at := r.Index
	if q.Following {
		at = r.Last()
	}
	bare := *q
	bare.Before, bare.From, bare.Types, bare.Text, bare.Trace = 0, 0, nil, "", ""
	switch {
	case !selects(&bare, r), q.Trace != "" && q.Trace != r.TraceID, q.Before > 0 && at >= q.Before, at < q.From:
		return false
	case len(q.Types) > 0 && !slices.Contains(q.Types, r.Type) && !(r.Status != "" && slices.Contains(q.Types, audit.TypeOutcome)):
		return false
	}
	has := strings.Fields(r.Text)
	for _, w := range strings.FieldsFunc(strings.ToLower(q.Text), func(r rune) bool { return r == '-' }) {
		if !slices.Contains(has, w) {
			return false
		}
	}
	return true
}

// Whatever is asked, in whatever order rows came and ended, and whatever other logs are
// in the database: a search gives what a look at each row gives.
func TestASearchIsWhatALookAtEachRowGives(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		d := dice{rand.New(rand.NewPCG(7, 7))}
		const n, asked = 1400, 100 // more than a span
		logs := map[string][]audit.Row{}
		for _, log := range []string{origin, "other"} {
			rows := make([]audit.Row, n)
			for i := range rows {
				rows[i] = d.row(uint64(i), n)
			}
			for at := 0; at < n; {
				to := min(n, at+1+d.IntN(500))
				batch := slices.Clone(rows[at:to])
				for range d.IntN(150) { // some end, of this batch or one before
					if i := d.IntN(to); rows[i].Type == "intent" {
						rows[i] = d.ended(rows[i], max(rows[i].Last(), uint64(to))+1)
						batch = append(batch, rows[i])
					}
				}
				if err := s.PutRows(t.Context(), log, batch, uint64(to)); err != nil {
					t.Fatal(err)
				}
				at = to
			}
			logs[log] = rows
		}
		found := 0
		for i := range asked {
			s.FewTexts([]int{8000, 20, 0}[i%3])
			q := d.query(n)
			q.Origin, q.Limit = d.of(origin, "other"), 1000
			var want []audit.Row
			for _, r := range logs[q.Origin] {
				if thrown(&q, &r) {
					want = append(want, r)
				}
			}
			if got := must[int](t)(s.Count(t.Context(), q, 10*n)); got != len(want) {
				t.Errorf("%+v: counted %d, want %d", q, got, len(want))
			}
			slices.SortFunc(want, func(a, b audit.Row) int {
				x, y := a.Index, b.Index
				if q.Following {
					x, y = a.Last(), b.Last()
				}
				if !q.Ascending {
					x, y = y, x
				}
				return int(int64(x) - int64(y))
			})
			got := search(t, s, q)
			found += len(got)
			places := func(rows []audit.Row) []uint64 {
				out := indexes(rows[:min(len(rows), q.Limit)])
				if q.Following { // of several that ended with one leaf any may be first
					slices.Sort(out)
				}
				return out
			}
			if a, b := places(got), places(want); len(want) <= q.Limit && !slices.Equal(a, b) && len(a)+len(b) > 0 {
				t.Errorf("%+v: got %d rows, want %d", q, len(a), len(b))
			}
		}
		if found < 1000 {
			t.Errorf("only %d rows were found", found)
		}
	})
}
