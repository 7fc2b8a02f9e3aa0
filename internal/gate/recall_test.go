package gate_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/gate"
	"rutile/internal/grant"
)

// afterwards has a call begin when grants made now are in force.
func afterwards(r *access.Request) { r.At = now.Add(time.Second) }

// A call in flight ends once its grant is revoked, and nothing of what comes back is
// shown, whether it was cut or answered before anybody looked. A call under another
// grant runs on.
func TestWhatARevokedGrantPermittedEndsInFlight(t *testing.T) {
	for name, tt := range map[string]struct {
		other  bool // another grant is revoked
		recall bool // somebody looks while the call runs
		cut    bool
	}{
		"it is cut":                 {recall: true, cut: true},
		"it answers before the cut": {cut: true},
		"another is revoked":        {other: true, recall: true},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, grant.Rule{Quorum: 1})
			g := o.grant(1)
			revoke := g.ID
			if tt.other {
				h, err := o.grants.Create(t.Context(), grant.Spec{Party: grant.Party{Agent: "other"}, By: "user:ann", Target: g.Target})
				if err != nil {
					t.Fatal(err)
				}
				revoke = h.ID
			}
			resp, dec, err := o.Do(t.Context(), call(t, "bot", afterwards), func(ctx context.Context, _ *gate.Dispatch) (access.Response, error) {
				if n := o.Recall(ctx); n != 0 {
					t.Errorf("%d calls were cut before", n)
				}
				if _, err := o.grants.Revoke(ctx, revoke, "user:ann", "a mistake"); err != nil {
					t.Error(err)
				}
				if tt.recall {
					if n := o.Recall(ctx); n != 0 != tt.cut {
						t.Errorf("%d calls were cut", n)
					}
					if n := o.Recall(ctx); n != 0 {
						t.Errorf("%d calls were cut twice", n)
					}
					if tt.cut {
						<-ctx.Done() // else the test hangs
					}
				}
				return access.Response{Body: []byte("late"), Reached: access.ReachYes}, ctx.Err()
			})
			if !tt.cut {
				if err != nil || !dec.Allowed() || string(resp.Body) != "late" {
					t.Errorf("it ended with %q, %+v, %v", resp.Body, dec, err)
				}
				return
			}
			if err != nil || dec.Allowed() || dec.Reason != "grant "+g.ID+" was revoked" || len(resp.Body) > 0 {
				t.Errorf("the agent gets %q under %+v, %v", resp.Body, dec, err)
			}
			status := audit.StatusRevoked
			if !tt.recall { // nothing had cut it when it answered
				status = audit.StatusLateResult
			}
			if !slices.Contains(o.log.leaves, "outcome "+string(status)) || !slices.Contains(o.log.leaves, "settle "+string(grant.UseUnknown)) {
				t.Errorf("the evidence says %v", o.log.leaves)
			}
		})
	}
}

// A grant that is used up ends no call that began under it.
func TestAUsedUpGrantCutsNothing(t *testing.T) {
	o := newOffice(t, grant.Rule{Quorum: 1})
	o.grant(2)
	resp, dec, err := o.Do(t.Context(), call(t, "bot", afterwards), func(ctx context.Context, _ *gate.Dispatch) (access.Response, error) {
		if _, dec, err := o.do(call(t, "bot", afterwards), access.Response{Reached: access.ReachYes}, nil); err != nil || !dec.Allowed() {
			t.Errorf("the second: %+v, %v", dec, err)
		}
		if n := o.Recall(ctx); n != 0 {
			t.Errorf("%d calls were cut", n)
		}
		return access.Response{Body: []byte("done"), Reached: access.ReachYes}, nil
	})
	if err != nil || !dec.Allowed() || string(resp.Body) != "done" {
		t.Errorf("it ended with %q, %+v, %v", resp.Body, dec, err)
	}
}

// However calls, a revocation and who looks meet, no result is released that came
// after the revocation had returned.
func TestRevokingRacesWithDispatching(t *testing.T) {
	o := newOffice(t, grant.Rule{Quorum: 1})
	g := o.grant(0)
	revoked := make(chan struct{})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 4 {
				late := false
				resp, dec, _ := o.Do(t.Context(), call(t, "bot", afterwards), func(ctx context.Context, _ *gate.Dispatch) (access.Response, error) {
					select {
					case <-revoked:
						late = true
					default:
					}
					return access.Response{Body: []byte("x"), Reached: access.ReachYes}, ctx.Err()
				})
				if late && (dec.Allowed() || len(resp.Body) > 0) {
					t.Errorf("a result came out after the revocation: %+v", dec)
				}
			}
		})
	}
	wg.Go(func() {
		if _, err := o.grants.Revoke(t.Context(), g.ID, "user:ann", ""); err != nil {
			t.Error(err)
		}
		close(revoked)
		o.Recall(t.Context())
	})
	wg.Wait()
	if _, dec, _ := o.do(call(t, "bot", afterwards), access.Response{}, nil); dec.Allowed() {
		t.Error("a call begins under a revoked grant")
	}
}
