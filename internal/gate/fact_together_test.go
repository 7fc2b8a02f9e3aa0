package gate_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/grant"
)

// asking also wants a grant for every transfer.
const asking = perHour + `@id("ask") @outcome("require_approval") forbid (principal, action == Mcp::Action::"pay/transfer", resource) unless { context has grant && context.grant.id like "grt_*" };`

func (w *till) grant(uses int64) grant.Grant {
	w.t.Helper()
	g, err := w.broker.Create(w.t.Context(), grant.Spec{Party: grant.Party{Agent: "bot"}, Uses: uses, By: "user:ann",
		Target: grant.Target{Server: "pay", Kind: access.KindTool, Name: "transfer", Digest: "sha256:1", Tier: 1}})
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

// A call that needs a grant and is counted takes both or neither, however many
// come at once: neither is spent on a call that does not run.
func TestAGrantAndALimitAreTakenTogether(t *testing.T) {
	onBoth(t, func(t *testing.T, dialect string) {
		for _, c := range []struct{ uses, want, total int64 }{{2, 2, 2000}, {9, 5, 5000}} {
			w := newTill(t, dialect, asking, sum())
			g := w.grant(c.uses)
			var ran atomic.Int64
			var wg sync.WaitGroup
			for range 12 {
				wg.Go(func() {
					r := w.request("transfer", `{"amount":1000}`)
					_, _, err := w.Do(t.Context(), r, func(context.Context, *gate.Dispatch) (access.Response, error) {
						ran.Add(1)
						return fine, nil
					})
					if err != nil && access.CodeOf(err) != access.CodeConflict {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			now, _, err := w.broker.Archive().Grant(t.Context(), g.ID)
			if err != nil || ran.Load() != c.want || w.values("sum").Total != c.total || now.Counts.Spent != c.want || now.Counts.Reserved != 0 {
				t.Errorf("of a grant of %d: %d ran, the counter is %+v, the grant's %+v, %v", c.uses, ran.Load(), w.values("sum"), now.Counts, err)
			}
		}
	})
}

// Where the gateway only observes, a call that cannot be counted passes uncounted,
// and one over a limit passes and is counted.
func TestMonitoringCountsWhatItCan(t *testing.T) {
	w := newTill(t, "sqlite", perHour, sum())
	w.state.Monitor = true
	for _, c := range []struct {
		args  string
		total int64
		would access.Outcome
	}{{`{"amount":4000}`, 4000, access.Permit}, {`{"amount":-1}`, 4000, access.Deny}, {`{"amount":4000}`, 8000, access.Deny}} {
		dec, ok := w.call("transfer", c.args)
		if !ok || dec.Would != c.would || w.total("sum") != c.total {
			t.Errorf("%s: it runs %v, %s, the counter is %d", c.args, ok, dec.Would, w.total("sum"))
		}
	}
}

// A policy that is only tried never denies: not by what it says, and not by what
// it makes the gateway count.
func TestAFactThatIsOnlyTriedDeniesNothing(t *testing.T) {
	w := newTill(t, "sqlite", `@mode("shadow") `+perHour, sum())
	for _, c := range []struct {
		args  string
		total int64
	}{{`{"amount":4000}`, 4000}, {`{"amount":-1}`, 4000}, {`{}`, 4000}, {`{"amount":4000}`, 8000}, {`{"amount":1}`, 8001}} {
		if dec, ok := w.call("transfer", c.args); !ok || dec.Outcome != access.Permit || w.total("sum") != c.total {
			t.Errorf("%s: it runs %v, %s (%s), the counter is %d", c.args, ok, dec.Outcome, dec.Reason, w.total("sum"))
		}
	}
}
