package store_test

import (
	"slices"
	"testing"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/store"
)

// However little is looked at for a part of a search, its parts together are what a
// look at each row gives: nothing is lost between them and nothing found twice, each
// goes further down than the one before, and none looks at more than it may.
func TestThePartsOfASearchAreTheWhole(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		const n = 240
		e := newEvents(n)
		rows := make([]audit.Row, n)
		for i := range rows {
			rows[i] = e.row(uint64(i))
			rows[i].At = rows[i].At.Truncate(1000)
			if i%120 == 100 { // a clock that was put back
				rows[i].At = rows[i].At.AddDate(0, 0, -40)
			}
		}
		putRows(t, s, rows, n)
		cut := 0
		for _, b := range []struct {
			looks int64
			few   int
			limit int
		}{{7, 8000, 5}, {1, 3, 2}, {40, 3, 51}} {
			s.Looks(b.looks)
			s.FewTexts(b.few)
			for i, p := range pages(n) {
				if b.looks == 1 && i%9 != 0 || b.looks > 1 && i%2 != 0 { // each part costs some statements
					continue
				}
				q := p.query
				q.Origin, q.Limit = origin, b.limit
				var want []uint64
				for i := range rows {
					if selects(&q, &rows[i]) {
						want = append(want, rows[i].Index)
					}
				}
				slices.Reverse(want)
				got, parts := inParts(t, s, q, rows, b.looks)
				cut += parts
				if !slices.Equal(got, want) && len(got)+len(want) > 0 {
					t.Errorf("%s with %+v: got %v, want %v", p.name, b, got, want)
				}
			}
		}
		if cut < 300 {
			t.Errorf("only %d searches ended before they were whole", cut)
		}
	})
}

// inParts searches to the end, a part at a time, and counts the parts that ended
// because of what they had looked at.
func inParts(t *testing.T, s *store.Store, q audit.Query, rows []audit.Row, looks int64) (got []uint64, cut int) {
	t.Helper()
	for {
		p, err := s.SearchPart(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, indexes(p.Rows)...)
		var below uint64
		switch {
		case len(p.Rows) == q.Limit:
			if below = p.Rows[q.Limit-1].Index; p.Below != 0 {
				t.Fatalf("%+v: a full page is said to end at %d", q, p.Below)
			}
		case p.Below == 0:
			return got, cut
		default:
			below = p.Below
			cut++
			if !p.Back.Equal(rows[below].At) {
				t.Fatalf("%+v: looked back to %s, and row %d is of %s", q, p.Back, below, rows[below].At)
			}
		}
		if int64(len(p.Rows)) > looks+1 {
			t.Fatalf("%+v: %d rows of %d looked at", q, len(p.Rows), looks)
		}
		if below == 0 {
			return got, cut
		}
		if q.Before != 0 && below >= q.Before {
			t.Fatalf("%+v: goes on below %d", q, below)
		}
		q.Before = below
	}
}

// A log that shares its database with one that is much larger is not looked for among
// what is above its own newest row.
func TestAPartBeginsAtTheNewestRowOfItsLog(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		s.Looks(10)
		e := newEvents(200)
		var small, large []audit.Row
		for i := range uint64(200) {
			r := e.row(i)
			r.Agent = "agent-0"
			if i < 5 {
				small = append(small, r)
			}
			r.Origin = "other"
			large = append(large, r)
		}
		putRows(t, s, small, 5)
		if err := s.PutRows(t.Context(), "other", large, 200); err != nil {
			t.Fatal(err)
		}
		for name, q := range map[string]audit.Query{"all": {Limit: 3}, "agent": {Agent: "agent-0", Limit: 3}} {
			q.Origin = origin
			p, err := s.SearchPart(t.Context(), q)
			if err != nil || !slices.Equal(indexes(p.Rows), []uint64{4, 3, 2}) || p.Below != 0 {
				t.Errorf("%s: %v, below %d, %v", name, indexes(p.Rows), p.Below, err)
			}
		}
	})
}

func TestAPartIsOfTheNewestFirst(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		if _, err := s.SearchPart(t.Context(), audit.Query{Ascending: true}); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("upwards: %v", err)
		}
	})
}
