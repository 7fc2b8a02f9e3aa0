package gate_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/fact"
	"rutile/internal/gate"
)

const (
	checkedFirst = `forbid (principal, action == Mcp::Action::"pay/transfer", resource) unless { context.facts.checked };`
	nothingAfter = `forbid (principal, action == Mcp::Action::"pay/transfer", resource) when { context.facts.saw_web };`
)

// checked says that the customer of a transfer was looked at within a quarter of
// an hour.
func checked() fact.Fact {
	return fact.Fact{ID: "checked", Owner: "team", Type: fact.Prior, On: fact.On{Server: "pay", Tool: "fraud_check"}, Seconds: 900, Key: []string{"agent", "subject"},
		Bind: []fact.Bind{{Earlier: "/who/customer", Now: "/customer"}}, State: fact.Active}
}

func sawWeb() fact.Fact {
	return fact.Fact{ID: "saw_web", Owner: "team", Type: fact.Taint, On: fact.On{Server: "pay", Tool: "look", ResultLabel: "source:web"}, State: fact.Active}
}

// An earlier call counts if it ended well, was about the same, by the same caller
// and not too long ago, and a restart does not forget it.
func TestPriorCallsAreRemembered(t *testing.T) {
	onBoth(t, func(t *testing.T, dialect string) {
		w := newTill(t, dialect, checkedFirst, checked())
		passes := func(customer string, change ...func(*access.Request)) bool {
			t.Helper()
			_, ok := w.call("transfer", `{"customer":`+customer+`}`, change...)
			return ok
		}
		if passes(`"c1"`) {
			t.Error("before any check")
		}
		failed := fine
		failed.ToolErr = true
		w.run(w.request("fraud_check", `{"who":{"customer":"c1"}}`), failed, nil)
		w.run(w.request("fraud_check", `{"who":{"customer":"c1"}}`), access.Response{}, errors.New("lost"))
		w.run(w.request("fraud_check", `{}`), fine, nil)
		goesOn := fine
		goesOn.Started = true
		task := w.request("fraud_check", `{"who":{"customer":"t1"}}`)
		w.run(task, goesOn, nil)
		after := func(r *access.Request) { r.Follows, r.Use = true, task.Use }
		w.run(w.request("fraud_check", `{"who":{"customer":"t1"}}`, after), goesOn, nil)
		if passes(`"t1"`) {
			t.Error("after a check that goes on as a task")
		}
		w.run(w.request("fraud_check", `{"who":{"customer":"t1"}}`, after), fine, nil)
		if !passes(`"t1"`) {
			t.Error("after the task of the check ended well")
		}
		if passes(`"c1"`) {
			t.Error("after checks that failed")
		}
		w.call("fraud_check", `{"who":{"customer":"c1"}}`, func(r *access.Request) { r.Who.Actor.Agent = "other" })
		if passes(`"c1"`) {
			t.Error("after a check by somebody else")
		}
		w.call("fraud_check", `{"who":{"customer":"\u00631"}}`)
		w.start()
		if !passes(`"c1"`) {
			t.Error("after the check and a restart")
		}
		for _, other := range []string{`"c2"`, `"C1"`, `"c1 "`, `["c1"]`, `null`, `true`} {
			if passes(other) {
				t.Errorf("for %s", other)
			}
		}
		if dec, ok := w.call("transfer", `{"Customer":"c1"}`); ok || dec.Class != access.ClassPolicyError || !bytes.Contains([]byte(dec.Reason), []byte("argument /customer")) {
			t.Errorf("where it cannot be computed: %+v", dec)
		}
		w.clock.Store(int64(15 * time.Minute))
		if passes(`"c1"`) {
			t.Error("after its time")
		}
	})
}

// A call waits for the earlier one that is under way, and not for ever.
func TestACallWaitsForAPriorUnderWay(t *testing.T) {
	w := newTill(t, "sqlite", checkedFirst, checked())
	inside, free := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _, _ = w.Do(t.Context(), w.request("fraud_check", `{"who":{"customer":"c1"}}`), func(context.Context, *gate.Dispatch) (access.Response, error) {
			close(inside)
			<-free
			return fine, nil
		})
	})
	<-inside
	wg.Go(func() {
		if _, ok := w.call("transfer", `{"customer":"c1"}`); !ok {
			t.Error("it does not wait")
		}
	})
	wg.Go(func() {
		if _, ok := w.call("transfer", `{"customer":"c2"}`); ok {
			t.Error("another customer passes")
		}
		close(free)
	})
	wg.Wait()
}

// What a session has seen sticks to it, before anything of the result can reach
// the caller, and a restart does not forget it.
func TestATaintSticksToItsSession(t *testing.T) {
	onBoth(t, func(t *testing.T, dialect string) {
		w := newTill(t, dialect, nothingAfter, sawWeb())
		if _, ok := w.call("transfer", `{}`); !ok {
			t.Fatal("denied before anything was seen")
		}
		_, _, err := w.Do(t.Context(), w.request("look", `{}`), func(context.Context, *gate.Dispatch) (access.Response, error) {
			if _, ok := w.call("transfer", `{}`); ok {
				t.Error("while the result comes")
			}
			return fine, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		w.start()
		for name, at := range map[string]time.Duration{"after a restart": 0, "a day later": 24 * time.Hour, "the day before": -24 * time.Hour} {
			w.clock.Store(int64(at))
			if _, ok := w.call("transfer", `{}`); ok {
				t.Error(name)
			}
		}
		if _, ok := w.call("transfer", `{}`, func(r *access.Request) { r.Who.Session = "ses_2" }); !ok {
			t.Error("another session is tainted")
		}
		if _, ok := w.call("transfer", `{}`, func(r *access.Request) { r.Session, r.Who.TokenID = "x", "y" }); ok {
			t.Error("another connection or token washes it off")
		}
	})
}

// What cannot be written down is not seen: the call is not sent.
func TestATaintThatCannotBeKeptStopsTheCall(t *testing.T) {
	w := newTill(t, "sqlite", nothingAfter, sawWeb())
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	_, _, err := w.Do(t.Context(), w.request("look", `{}`), func(context.Context, *gate.Dispatch) (access.Response, error) {
		t.Error("it was sent")
		return fine, nil
	})
	if err == nil || w.log.count("outcome refused") != 1 {
		t.Errorf("%v, %v", err, w.log.seen)
	}
}

// A counter that cannot be read is an error of the fact, and denies.
func TestACounterThatCannotBeReadDenies(t *testing.T) {
	w := newTill(t, "sqlite", perHour, sum())
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	if dec, ok := w.call("transfer", `{"amount":1}`); ok || dec.Class != access.ClassPolicyError {
		t.Errorf("%+v", dec)
	}
}

// The store holds no argument, however many are compared and counted.
func TestTheStoreHoldsNoArgument(t *testing.T) {
	distinct := sum()
	distinct.ID, distinct.Agg = "spread", fact.Agg{Func: fact.Distinct, At: "/customer"}
	w := newTill(t, "sqlite", checkedFirst+`forbid (principal, action, resource) when { context.facts.spread > 2 };`, checked(), distinct)
	for _, c := range []string{"canary-1", "canary-2", "canary-1", "canary-3"} {
		w.call("fraud_check", `{"who":{"customer":"`+c+`"}}`)
		_, ok := w.call("transfer", `{"customer":"`+c+`"}`)
		if ok != (c != "canary-3") {
			t.Errorf("transfer for %s passes: %v", c, ok)
		}
	}
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(w.cfg.Dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("canary")) {
			t.Errorf("%s holds an argument", f)
		}
	}
}

// Where no policy reads a fact nothing is counted, remembered or looked up.
func TestFactsNobodyReadsCostNothing(t *testing.T) {
	w := newTill(t, "sqlite", `permit (principal, action, resource);`, sum(), checked(), sawWeb())
	if w.state.Facts != nil {
		t.Error("there is a plan")
	}
	r := w.request("transfer", `{"amount":-1}`)
	if _, ok := w.run(r, fine, nil); !ok || r.Facts != nil || w.total("sum") != 0 {
		t.Errorf("%v, %+v", ok, r.Facts)
	}
}
