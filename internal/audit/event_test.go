package audit_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/audit"
)

// One row tells of a call what its intent and its outcomes say, whenever they
// come: in one batch, later, a second one, after a restart, or when the row is
// no longer where it was put. A reindex makes the same of the log.
func TestACallIsOneRow(t *testing.T) {
	ctx := context.Background()
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	await := func() {
		t.Helper()
		if err := l.AwaitIndex(ctx); err != nil {
			t.Fatal(err)
		}
	}
	var intents []audit.Ref
	want := map[uint64][]audit.Status{}
	begin := func() int {
		t.Helper()
		n := len(intents)
		r := request(t, n)
		ref, err := l.Intent(ctx, audit.Intent{Request: r, Decision: permit(r)})
		if err != nil {
			t.Fatal(err)
		}
		intents = append(intents, ref)
		return n
	}
	end := func(n int, st audit.Status) {
		t.Helper()
		o := outcomeOf(request(t, n), intents[n])
		o.Status, o.Findings = st, []string{"rule." + string(st)}
		if _, err := l.Outcome(ctx, o); err != nil {
			t.Fatal(err)
		}
		want[intents[n].Index] = append(want[intents[n].Index], st)
	}
	check := func(when string) {
		t.Helper()
		await()
		rows := m.all()
		everyLeafOnce(t, rows, l.Size())
		for _, r := range rows {
			if r.Type == "outcome" {
				t.Errorf("%s: leaf %d has a row of its own", when, r.Index)
			}
			sts := want[r.Index]
			if len(sts) != len(r.Ends) || len(sts) > 0 && audit.Status(r.Status) != sts[len(sts)-1] || len(sts) == 0 && (r.Status != "" || !r.Ended.IsZero()) {
				t.Errorf("%s: the row of leaf %d ended %v with %q, want %q", when, r.Index, r.Ends, r.Status, sts)
			}
			for i, st := range sts {
				rev, err := l.Reveal(ctx, r.Ends[i])
				if err != nil || audit.Status(rev.Row.Status) != st || rev.Row.Decision != r.Decision || rev.Row.Agent != "release-bot" {
					t.Errorf("%s: leaf %d is %+v, %v", when, r.Ends[i], rev, err)
				}
				if i == len(sts)-1 && rev != nil && !rev.Row.At.Equal(r.Ended) {
					t.Errorf("%s: leaf %d ended the call at %s, its row says %s", when, r.Ends[i], rev.Row.At, r.Ended)
				}
				if found, err := l.Search(ctx, audit.Query{Text: "rule." + string(st), Limit: 1000}); err != nil || !slices.ContainsFunc(found, func(f audit.Row) bool { return f.Index == r.Index }) {
					t.Errorf("%s: leaf %d is not found by %s, %v", when, r.Index, st, err)
				}
			}
		}
		if err := l.Reindex(ctx); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(rows, m.all()); diff != "" {
			t.Errorf("%s: a reindex changes rows (-before +after):\n%s", when, diff)
		}
	}

	end(begin(), audit.StatusOK) // likely in one batch
	slow, asks := begin(), begin()
	await()
	end(slow, audit.StatusTimeout) // its row is stored
	end(asks, audit.StatusInputRequired)
	check("later")
	end(asks, audit.StatusAbandoned)
	end(slow, audit.StatusLateResult)
	check("a second one")
	stop(t, l)
	l = start(t, cfg, m)
	end(0, audit.StatusLateResult)
	check("after a restart")
	n := begin()
	await()
	stop(t, l)
	want[intents[n].Index] = []audit.Status{audit.StatusUnknown}
	m.mu.Lock()
	delete(m.rows, intents[n].Index) // as if the database had lost it
	m.mu.Unlock()
	l = start(t, cfg, m)
	await()
	if rows, err := l.ByDecision(ctx, request(t, n).ID); err != nil || len(rows) != 1 || rows[0].Status != "unknown" || len(rows[0].Ends) != 1 {
		t.Errorf("a lost row is made again as %+v, %v", rows, err)
	}
}

// What an index still holds of a dropping that was interrupted is brought up to
// the log: no outcome stays away because an older row is in its place.
func TestLeftOverRowsAreBroughtUpToTheLog(t *testing.T) {
	ctx := context.Background()
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	r := request(t, 1)
	ref, err := l.Intent(ctx, audit.Intent{Request: r, Decision: permit(r)})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.AwaitIndex(ctx); err != nil {
		t.Fatal(err)
	}
	old := m.all()
	if _, err := l.Outcome(ctx, outcomeOf(r, ref)); err != nil {
		t.Fatal(err)
	}
	stop(t, l)
	whole := m.all()
	m.mu.Lock()
	m.mark = 0
	for _, r := range old { // of the call only that it began
		m.rows[r.Index] = r
	}
	m.mu.Unlock()
	l = start(t, cfg, m)
	if err := l.AwaitIndex(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(whole, m.all()[:len(whole)]); diff != "" {
		t.Errorf("rows differ (-want +got):\n%s", diff)
	}
}
