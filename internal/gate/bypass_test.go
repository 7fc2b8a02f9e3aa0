package gate_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/fact"
	"rutile/internal/gate"
	"rutile/internal/grant"
	"rutile/internal/store"
)

// A call that waits for input has been made: a retry that does not get to the
// server, which its caller can see to, gives back nothing of it.
func TestAnUnsentRetryGivesNothingBack(t *testing.T) {
	w := newTill(t, "sqlite", perHour, sum())
	first := w.request("transfer", `{"amount":3000}`)
	w.run(first, access.Response{Asked: true, Reached: access.ReachYes}, nil)
	on := func(r *access.Request) { r.Use = first.Use }
	for range 2 {
		if _, ran := w.run(w.request("transfer", `{"amount":3000}`, on), access.Response{Reached: access.ReachNo}, context.Canceled); !ran {
			t.Error("it does not go on")
		}
		if w.total("sum") != 3000 {
			t.Fatalf("the counter is %d after a retry that was not sent", w.total("sum"))
		}
	}
	if _, ran := w.call("transfer", `{"amount":3000}`, on); !ran || w.total("sum") != 3000 {
		t.Errorf("ran %v, the counter is %d", ran, w.total("sum"))
	}
}

// failingEffects fail at the first consequence of a decision.
type failingEffects struct {
	noEffects
	carried []access.Target
}

func (e *failingEffects) Carry(_ context.Context, c access.Consequence, _ *access.Request, _ *access.Decision) error {
	e.carried = append(e.carried, c.Target)
	if len(e.carried) == 1 {
		return access.Errorf(access.CodeUnavailable, "it could not be done")
	}
	return nil
}

// Of several consequences one that fails keeps the others from nothing.
func TestAConsequenceThatFailsKeepsNoOther(t *testing.T) {
	w := newTill(t, "sqlite", `@id("cut") @outcome("terminate") @target("session") forbid (principal, action in Mcp::Action::"call", resource);
@id("hold") @outcome("quarantine") @target("agent") forbid (principal, action in Mcp::Action::"call", resource);`)
	e, f := &failingEffects{}, fixed{w.state}
	g, err := gate.New(f, w.log, f, w.broker, w.ledger, e, engine(t), noValues{}, noLabels{}, f, w.now)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = g.Do(t.Context(), w.request("transfer", `{}`), func(context.Context, *gate.Dispatch) (access.Response, error) {
		t.Error("it was sent")
		return fine, nil
	})
	if access.CodeOf(err) != access.CodeUnavailable || len(e.carried) != 2 {
		t.Errorf("%v; carried %v", err, e.carried)
	}
}

// forgetful is a store that keeps no mark.
type forgetful struct{ *store.Store }

func (forgetful) PutMark(context.Context, fact.Mark) error { return errors.New("the disk is full") }

// What cannot be written down about a task leaves nothing behind that keeps the
// grants from being looked after.
func TestAFailedLookAtATaskLeavesNothingBehind(t *testing.T) {
	w := newTill(t, "sqlite", nothingAfter, sawWeb())
	var err error
	if w.ledger, err = fact.New(t.Context(), forgetful{w.store}, nothing{}, false, w.now); err != nil {
		t.Fatal(err)
	}
	f := fixed{w.state}
	if w.Gate, err = gate.New(f, w.log, f, w.broker, w.ledger, noEffects{}, engine(w.t), noValues{}, noLabels{}, f, w.now); err != nil {
		t.Fatal(err)
	}
	_, _, err = w.Do(t.Context(), w.request("look", `{}`, func(r *access.Request) { r.Follows, r.Use = true, "use_1" }), func(context.Context, *gate.Dispatch) (access.Response, error) {
		t.Error("it was sent")
		return fine, nil
	})
	if err == nil {
		t.Error("what is seen is not written down")
	}
	w.clock.Store(int64(time.Hour))
	if err := w.broker.Sweep(t.Context(), grant.Standing{}); err != nil {
		t.Errorf("an hour later: %v", err)
	}
}
