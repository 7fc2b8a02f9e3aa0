package audit_test

import (
	"testing"

	"rutile/internal/audit"
)

// A database that comes back without what was stored last gets it again, in the same
// process: the watermark it has counts, not the one that was stored.
func TestIndexFollowsADatabaseThatWentBack(t *testing.T) {
	for _, keep := range []uint64{0, 2, 3, 4, 9} { // within a call, between two, and nothing
		m := newMemory()
		l := start(t, config(t.TempDir()), m)
		for n := range 5 {
			call(t, l, n)
		}
		if err := l.AwaitIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.mu.Lock()
		had := m.mark
		m.mark = keep
		for i, r := range m.rows {
			switch {
			case i >= keep:
				delete(m.rows, i)
			case r.Last() >= keep: // how it ended was not stored yet
				r.Ends, r.Status = nil, ""
				m.rows[i] = r
			}
		}
		m.mu.Unlock()
		call(t, l, 9)
		if err := l.AwaitIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		rows, err := l.Search(t.Context(), audit.Query{Types: []string{"intent"}, Limit: 100})
		if err != nil || len(rows) != 6 {
			t.Errorf("%d of 6 calls are found, %v (%d leaves were indexed, and %d are left)", len(rows), err, had, keep)
		}
		for _, r := range rows {
			if len(r.Ends) != 1 {
				t.Errorf("with %d left, call %d has ends %v", keep, r.Index, r.Ends)
			}
		}
	}
}
