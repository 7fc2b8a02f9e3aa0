package api_test

import (
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"rutile/internal/api"
	"rutile/internal/audit"
)

// A search that gives up says how far back it looked and where it goes on, also where it
// found nothing; asked for part by part nothing is lost and nothing comes twice, and one
// that breaks off says how far it came.
func TestASearchInPartsLosesNothing(t *testing.T) {
	ev := &fakeEvidence{looks: 4}
	r := newRig(t, func(_ *api.Config, d *api.Deps) { d.Evidence = ev })
	begin := time.Date(2026, 11, 3, 14, 0, 0, 0, time.UTC)
	var want []uint64
	for i := range uint64(50) {
		row := audit.Row{Type: "verdict", Agent: "other", At: begin.Add(time.Duration(i) * time.Minute)}
		if i%9 == 3 {
			row.Agent = "rare"
			want = append(want, i)
		}
		ev.add(row)
	}
	slices.Reverse(want)
	got := read[api.Rows](t, r.ok("GET", "/api/v1/audit?agent=rare&limit=2", ""))
	if got.SearchedTo == nil || !got.SearchedTo.Equal(begin.Add(46*time.Minute)) || got.Next != "46" || got.More != -1 || len(got.Items) != 1 {
		t.Errorf("the first part: %+v", got)
	}
	got = read[api.Rows](t, r.ok("GET", "/api/v1/audit?agent=nobody&cursor=5", ""))
	if got.SearchedTo == nil || got.Next != "1" || got.Items == nil {
		t.Errorf("a part without rows: %+v", got)
	}
	if got = read[api.Rows](t, r.ok("GET", "/api/v1/audit?agent=nobody&cursor=4", "")); got.SearchedTo != nil || got.Next != "" {
		t.Errorf("the last part: %+v", got)
	}
	c, done := r.serveClient(t)
	defer done()
	for _, limit := range []int{1, 2, 6, 100} {
		between := 0
		got, err := c.SearchAll(t.Context(), url.Values{"agent": {"rare"}}, limit, func(api.Rows) { between++ })
		if err != nil {
			t.Fatal(err)
		}
		var found []uint64
		for _, row := range got.Items {
			found = append(found, row.Index)
		}
		if whole := limit > len(want); !slices.Equal(found, want[:min(limit, len(want))]) || got.SearchedTo != nil || whole != (got.Next == "") || between == 0 && limit > 1 {
			t.Errorf("%d asked for: %v, %+v after %d parts", limit, found, got.Page.Next, between)
		}
	}
	partly, err := c.SearchAll(t.Context(), url.Values{"agent": {"rare"}}, 6, func(rows api.Rows) {
		if len(rows.Items) == 2 {
			ev.fail(fmt.Errorf("gone"))
		}
	})
	if err == nil || partly.SearchedTo == nil || partly.Next == "" || len(partly.Items) != 2 {
		t.Errorf("one that broke off: %+v, %v", partly, err)
	}
}

func (e *fakeEvidence) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = err
}
