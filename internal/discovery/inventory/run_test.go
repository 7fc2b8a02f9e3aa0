package inventory_test

import (
	"fmt"
	"testing"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
)

// TestTheNewestRunOfEachSourceIsKept: how many places ended how, and those it could not
// look into; a source that a later batch does not ask keeps its run.
func TestTheNewestRunOfEachSourceIsKept(t *testing.T) {
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	take := func(kept inventory.Kept, sources []string, coverage ...discovery.Coverage) *inventory.Host {
		b := inventory.NewBatch(&discovery.Seen{Started: at, Ended: at, Coverage: coverage}, "hst_000000000000", "linux", "test", sources)
		taking := inventory.Taking{Batch: &b, Now: at, Missing: time.Hour}
		c, _, _ := taking.Plan(kept)
		if c.Host == nil {
			t.Fatal("the host is not written")
		}
		return c.Host
	}
	denied := []discovery.Coverage{{Source: "client", Place: "~/a", Outcome: discovery.Read, Entries: 2}, {Source: "client", Place: "~/b", Outcome: discovery.Absent}}
	for i := range 50 {
		denied = append(denied, discovery.Coverage{Source: "client", Place: fmt.Sprint("~/c", i), Outcome: discovery.Denied, Why: "no right"})
	}
	h := take(inventory.Kept{}, []string{"client", "process"}, denied...)
	if len(h.Runs) != 2 || h.Runs[0].Source != "client" || h.Runs[1].Source != "process" {
		t.Fatalf("runs: %+v", h.Runs)
	}
	r := h.Runs[0]
	if r.Counts[discovery.Denied] != 50 || r.Counts[discovery.Read] != 1 || r.Counts[discovery.Absent] != 1 || r.Entries != 2 || r.Missed() != 50 || len(r.Gaps) >= 50 || r.Gaps[0].Why != "no right" {
		t.Errorf("the run is %+v", r)
	}
	at = at.Add(time.Hour)
	h = take(inventory.Kept{Host: h}, []string{"client"}, discovery.Coverage{Source: "client", Place: "~/a", Outcome: discovery.Read})
	if len(h.Runs) != 2 || h.Runs[0].Missed() != 0 || !h.Runs[0].Ended.Equal(at) || h.Runs[1].Source != "process" || h.Runs[1].Ended.Equal(at) {
		t.Errorf("after another batch: %+v", h.Runs)
	}
}
