package api_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/audit"
)

// busyEvidence is a log that grows while it is searched.
type busyEvidence struct {
	fakeEvidence
	until uint64
}

func (e *busyEvidence) Search(ctx context.Context, q audit.Query) ([]audit.Row, error) {
	if e.Size() < e.until {
		e.add(audit.Row{Type: "verdict", Agent: "reader"}, audit.Row{Type: "verdict", Agent: "other"})
	}
	return e.fakeEvidence.Search(ctx, q)
}

// TestTailShowsEachLeafOnce: leaves that come while the tail looks are neither
// lost nor shown twice.
func TestTailShowsEachLeafOnce(t *testing.T) {
	ev := &busyEvidence{until: 30}
	ev.add(audit.Row{Type: "verdict", Agent: "reader"})
	r := newRig(t, func(_ *api.Config, d *api.Deps) { d.Evidence = ev })
	c, done := r.serveClient(t)
	defer done()
	enough := errors.New("enough")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []uint64
	err := c.Tail(ctx, url.Values{"follow": {"true"}, "limit": {"10"}, "agent": {"reader"}}, func(row audit.Row) error {
		if got = append(got, row.Index); row.Index >= ev.until-1 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatalf("the tail ended with %v after %v", err, got)
	}
	rows, err := ev.fakeEvidence.Search(t.Context(), audit.Query{Agent: "reader", Ascending: true, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var want []uint64
	for _, row := range rows {
		if row.Index <= got[len(got)-1] {
			want = append(want, row.Index)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("leaves (-want +got):\n%s", d)
	}
}

// brokenEvidence fails some searches after the first.
type brokenEvidence struct {
	*fakeEvidence
	fails []error
	n     int
}

func (e *brokenEvidence) Search(ctx context.Context, q audit.Query) ([]audit.Row, error) {
	e.mu.Lock()
	e.n++
	n := e.n - 2
	e.mu.Unlock()
	if n >= 0 && n < len(e.fails) {
		return nil, e.fails[n]
	}
	if n == len(e.fails) {
		e.add(audit.Row{Type: "verdict", Agent: "reader"})
	}
	return e.fakeEvidence.Search(ctx, q)
}

// TestTailOutlivesABusyIndex: an index that is away for a while ends no tail,
// and one that ends otherwise does not look like an orderly end.
func TestTailOutlivesABusyIndex(t *testing.T) {
	away := access.Errorf(access.CodeUnavailable, "the index is behind")
	for name, tt := range map[string]struct {
		fails []error
		want  []uint64
	}{
		"away":   {[]error{away, away}, []uint64{0, 1, 2}},
		"broken": {[]error{errors.New("disk")}, []uint64{0}},
	} {
		ev := &brokenEvidence{fakeEvidence: &fakeEvidence{}, fails: tt.fails}
		ev.add(audit.Row{Type: "verdict", Agent: "reader"})
		r := newRig(t, func(_ *api.Config, d *api.Deps) { d.Evidence = ev })
		c, done := r.serveClient(t)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		enough := errors.New("enough")
		var got []uint64
		err := c.Tail(ctx, url.Values{"follow": {"true"}, "limit": {"10"}}, func(row audit.Row) error {
			if got = append(got, row.Index); len(got) == 1 {
				ev.add(audit.Row{Type: "verdict", Agent: "reader"})
			}
			if len(got) == 3 {
				return enough
			}
			return nil
		})
		if !slices.Equal(got, tt.want) || err == nil || errors.Is(err, enough) != (name == "away") {
			t.Errorf("%s: showed %v and ended with %v", name, got, err)
		}
		cancel()
		done()
	}
}

// endingEvidence is a log in which a call ends while its newest rows are
// searched for, and another begins.
type endingEvidence struct {
	fakeEvidence
	once sync.Once
}

func (e *endingEvidence) Search(ctx context.Context, q audit.Query) ([]audit.Row, error) {
	e.once.Do(func() {
		e.end(1, "ok")
		e.add(audit.Row{Type: "intent", Agent: "reader"})
	})
	return e.fakeEvidence.Search(ctx, q)
}

// TestTailShowsACallWhenItBeginsAndWhenItEnds: also one that is older than all
// that was shown, and never twice as it was.
func TestTailShowsACallWhenItBeginsAndWhenItEnds(t *testing.T) {
	for _, tt := range []struct {
		limit string
		want  [][2]uint64 // first and newest leaf of what is shown
	}{
		{"1", [][2]uint64{{2, 2}, {1, 3}, {4, 4}, {0, 5}, {4, 6}, {1, 7}, {8, 8}}},
		{"2", [][2]uint64{{1, 3}, {2, 2}, {4, 4}, {0, 5}, {4, 6}, {1, 7}, {8, 8}}},
	} {
		ev := &endingEvidence{}
		for range 3 {
			ev.add(audit.Row{Type: "intent", Agent: "reader"})
		}
		r := newRig(t, func(_ *api.Config, d *api.Deps) { d.Evidence = ev })
		c, done := r.serveClient(t)
		defer done()
		enough := errors.New("enough")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var got [][2]uint64
		v := url.Values{"follow": {"true"}, "agent": {"reader"}, "limit": {tt.limit}}
		err := c.Tail(ctx, v, func(row audit.Row) error {
			got = append(got, [2]uint64{row.Index, row.Last()})
			switch {
			case row.Last() == 4:
				ev.end(0, "timeout")
				ev.end(4, "ok")
			case row.Last() == 6:
				ev.end(1, "late_result")
				ev.add(audit.Row{Type: "intent", Agent: "reader"})
			case row.Last() == 8:
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Fatalf("the tail ended with %v after %v", err, got)
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("limit %s (-want +got):\n%s", tt.limit, d)
		}
	}
}

// TestBundleOfALeafIsThatOfItsRow: an outcome comes with its intent.
func TestBundleOfALeafIsThatOfItsRow(t *testing.T) {
	ev := &fakeEvidence{}
	ev.add(audit.Row{Type: "verdict"}, audit.Row{Type: "intent"}, audit.Row{Type: "verdict"})
	ev.end(1, "ok")
	r := newRig(t, func(_ *api.Config, d *api.Deps) { d.Evidence = ev })
	c, done := r.serveClient(t)
	defer done()
	for leaf, row := range map[string]uint64{"0": 0, "1": 1, "2": 2, "3": 1} {
		body, err := c.Bundle(t.Context(), url.Values{"index": {leaf}})
		if err == nil { // the fake breaks off what it sends
			body.Close()
		}
		ev.mu.Lock()
		sent := ev.sent
		ev.mu.Unlock()
		if sent.From != row || sent.Before != row+1 || !sent.Ascending {
			t.Errorf("leaf %s: asked for %+v, want the row of leaf %d", leaf, sent, row)
		}
	}
}
