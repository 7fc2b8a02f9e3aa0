package audit_test

import (
	"errors"
	"testing"

	"rutile/internal/audit"
)

// A database that comes back without what was stored last gets it again, in the same
// process: the watermark it has counts, not the one that was stored.
func TestIndexFollowsADatabaseThatWentBack(t *testing.T) {
	m := newMemory()
	l := start(t, config(t.TempDir()), m)
	for n := range 2 {
		call(t, l, n)
	}
	if err := l.AwaitIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	mark := m.mark
	m.mu.Unlock()
	for n := range 3 {
		call(t, l, n+2)
	}
	if err := l.AwaitIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	had := m.mark
	m.mark = mark
	for i := range m.rows {
		if i >= mark {
			delete(m.rows, i)
		}
	}
	m.fail = errors.New("rows that were stored are gone")
	failed := make(chan struct{})
	m.onFail = func() { m.fail, m.onFail = nil, nil; close(failed) }
	m.mu.Unlock()
	call(t, l, 9)
	<-failed
	if err := l.AwaitIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows, err := l.Search(t.Context(), audit.Query{Types: []string{"intent"}, Limit: 100})
	if err != nil || len(rows) != 6 {
		t.Errorf("%d calls of 6 are found, %v (%d leaves were indexed, and %d are left)", len(rows), err, had, mark)
	}
	for _, r := range rows {
		if len(r.Ends) != 1 {
			t.Errorf("call %d has ends %v", r.Index, r.Ends)
		}
	}
}
