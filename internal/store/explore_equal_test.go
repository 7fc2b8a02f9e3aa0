package store_test

import (
	"slices"
	"strings"
	"testing"

	"rutile/internal/audit"
	"rutile/internal/store"
)

// What serves a search must not change what it finds: every page of the explorer, the
// first and a deep one, both ways, is what a look at each row gives, and as many are
// counted.
func TestEveryPageIsWhatALookAtEachRowGives(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		const n = 1500
		e := newEvents(n)
		rows := make([]audit.Row, n)
		for i := range rows {
			rows[i] = e.row(uint64(i))
			rows[i].At = rows[i].At.Truncate(1000)
			if i%500 == 450 { // a clock that was put back
				rows[i].At = rows[i].At.AddDate(0, 0, -40)
			}
		}
		putRows(t, s, rows, n)
		found := 0
		for _, few := range []int{8000, 3} {
			s.FewTexts(few)
			s.Sampled(min(int64(few), 40)) // of which words are found that are in others as often
			for _, p := range pages(n) {
				for _, way := range []audit.Query{{}, {Before: n / 3}, {Ascending: true, From: n / 2}, {Ascending: true, Following: true}} {
					q := p.query
					q.Origin, q.Limit, q.Before, q.From, q.Ascending, q.Following = origin, 51, way.Before, way.From, way.Ascending, way.Following
					var want []uint64
					for i := range rows {
						if selects(&q, &rows[i]) {
							want = append(want, rows[i].Index)
						}
					}
					if got := must[int](t)(s.Count(t.Context(), q, n)); got != len(want) {
						t.Errorf("%s %+v: counted %d, want %d", p.name, way, got, len(want))
					}
					if got := must[int](t)(s.Count(t.Context(), q, 2)); got != min(2, len(want)) {
						t.Errorf("%s %+v: counted %d of 2", p.name, way, got)
					}
					if !q.Ascending {
						slices.Reverse(want)
					}
					want = want[:min(len(want), q.Limit)]
					found += len(want)
					if got := indexes(search(t, s, q)); !slices.Equal(got, want) && len(got)+len(want) > 0 {
						t.Errorf("%s %+v with %d texts: got %v, want %v", p.name, way, few, got, want)
					}
				}
			}
		}
		if found < 3000 {
			t.Errorf("only %d rows were found", found)
		}
	})
}

// selects looks at a row as a query is meant.
func selects(q *audit.Query, r *audit.Row) bool {
	for _, f := range [][2]string{{q.Agent, r.Agent}, {q.Subject, r.Subject}, {q.Session, r.Session}, {q.Task, r.Task}, {q.Server, r.Server}, {q.Tool, r.Tool},
		{q.Decision, r.Decision}, {q.Outcome, r.Outcome}, {q.Grant, r.Grant}} {
		if f[0] != "" && f[0] != f[1] {
			return false
		}
	}
	switch {
	case q.Status == string(audit.StatusOpen) && (r.Type != "intent" || r.Status != ""),
		q.Status != "" && q.Status != string(audit.StatusOpen) && q.Status != r.Status,
		len(q.Types) > 0 && !slices.Contains(q.Types, r.Type),
		q.Policy != "" && !slices.Contains(r.Policies, q.Policy),
		q.Label != "" && !slices.Contains(r.Labels, q.Label),
		!q.Since.IsZero() && r.At.Before(q.Since), !q.Until.IsZero() && !r.At.Before(q.Until),
		q.Before > 0 && r.Index >= q.Before, q.From > 0 && r.Index < q.From:
		return false
	}
	has := wordsOf(r.Text)
	for _, w := range wordsOf(q.Text) {
		if !slices.Contains(has, w) {
			return false
		}
	}
	return true
}

func wordsOf(s string) []string {
	return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9') })
}
