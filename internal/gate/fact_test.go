package gate_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/fact"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

// Three transfers of 2,000 at once against 5,000 an hour: exactly two pass, and
// the third is denied although none of them had ended (access.md 2.9).
func TestConcurrentTransfersNeverExceedTheLimit(t *testing.T) {
	onBoth(t, func(t *testing.T, dialect string) {
		w := newTill(t, dialect, perHour, sum())
		var ran, denied atomic.Int64
		var wg sync.WaitGroup
		free := make(chan struct{})
		for range 3 {
			wg.Go(func() {
				_, dec, err := w.Do(t.Context(), w.request("transfer", `{"amount":2000}`), func(context.Context, *gate.Dispatch) (access.Response, error) {
					ran.Add(1)
					<-free
					return fine, nil
				})
				if err != nil {
					t.Error(err)
				}
				if !dec.Allowed() {
					denied.Add(1)
					close(free) // it did not wait for the others to end
				}
			})
		}
		wg.Wait()
		if ran.Load() != 2 || denied.Load() != 1 || w.total("sum") != 4000 {
			t.Errorf("%d ran, %d were denied, the counter is %d", ran.Load(), denied.Load(), w.total("sum"))
		}
		if _, ok := w.call("transfer", `{"amount":1001}`); ok {
			t.Error("one unit too many passes")
		}
		if _, ok := w.call("transfer", `{"amount":1000}`); !ok {
			t.Error("what is left is not given")
		}
	})
}

// However many calls come at once, exactly as many as the limit says run.
func TestParallelCallsAreCountedExactly(t *testing.T) {
	count := sum()
	count.Agg = fact.Agg{Func: fact.Count}
	rate := count
	rate.ID, rate.Type = "rate", fact.Rate
	for name, f := range map[string]struct {
		fact  fact.Fact
		cedar string
		calls int
	}{
		"limit": {count, `forbid (principal, action, resource) when { context has facts && context.facts.sum > 40 };`, 150},
		"rate":  {rate, `forbid (principal, action, resource) when { context.facts.rate >= 41 };`, 600},
	} {
		onBoth(t, func(t *testing.T, dialect string) {
			if name == "rate" && dialect != "sqlite" {
				return // it knows no store
			}
			w := newTill(t, dialect, f.cedar, f.fact)
			var ran, denied atomic.Int64
			var wg sync.WaitGroup
			for range f.calls {
				wg.Go(func() {
					switch _, ok := w.call("transfer", `{}`); {
					case ok:
						ran.Add(1)
					default:
						denied.Add(1)
					}
				})
			}
			wg.Wait()
			if ran.Load() != 40 || denied.Load() != int64(f.calls-40) || w.log.count("outcome ok") != 40 {
				t.Errorf("%s: %d ran, %d were denied", name, ran.Load(), denied.Load())
			}
			if w.log.count("intent") != w.log.count("outcome ok")+w.log.count("outcome refused") || w.log.count("verdict") != f.calls-40 {
				t.Errorf("%s: evidence %v", name, w.log.seen)
			}
		})
	}
}

// What a caller chooses moves it to no other counter.
func TestCallersDoNotChooseTheirCounter(t *testing.T) {
	w := newTill(t, "sqlite", perHour, sum())
	w.call("transfer", `{"amount":5000}`)
	for name, change := range map[string]func(*access.Request){
		"another session":           func(r *access.Request) { r.Who.Session = "ses_other" },
		"another transport session": func(r *access.Request) { r.Session = "x" },
		"another instance":          func(r *access.Request) { r.Who.Actor.Instance, r.Who.Actor.Version = "i", "v" },
		"another token":             func(r *access.Request) { r.Who.TokenID = "t" },
		"another trace":             func(r *access.Request) { r.Trace.Baggage, r.RPC = "agent=other", `"7"` },
		"another method":            func(r *access.Request) { r.Version = "2025-11-25" },
	} {
		if _, ok := w.call("transfer", `{"amount":1}`, change); ok {
			t.Errorf("%s: it passes", name)
		}
	}
	if _, ok := w.call("transfer", `{"amount":1,"_meta":{"agent":"other"}}`); ok {
		t.Error("metadata in the arguments: it passes")
	}
	if dec, _ := w.call("transfer", `{"amount":1}`, func(r *access.Request) { r.Task = "tsk_made_up" }); dec.Class != access.ClassTask {
		t.Errorf("a task nobody opened: %+v", dec)
	}
	if _, ok := w.call("transfer", `{"amount":1}`, func(r *access.Request) { r.Who.Subject = access.Subject{Issuer: "i", ID: "ann"} }); !ok {
		t.Error("another person has no counter of her own")
	}
	if _, ok := w.call("transfer", `{"amount":1}`, func(r *access.Request) { r.Who.Actor.Agent = "other" }); !ok {
		t.Error("another agent has no counter of its own")
	}
}

// An amount that is not one is an error, and an error denies.
func TestAmountsThatCannotBeCountedDeny(t *testing.T) {
	w := newTill(t, "sqlite", perHour, sum())
	for _, args := range []string{
		`{}`, `{"amount":null}`, `{"amount":"100"}`, `{"amount":-1}`, `{"amount":-0}`, `{"amount":1e3}`, `{"amount":1.0}`, `{"amount":0.5}`, `{"amount":[1]}`, `{"amount":{"a":1}}`, `{"amount":true}`,
		`{"amount":9007199254740992}`, `{"amount":9223372036854775807}`, `{"amount":18446744073709551617}`, `{"amount":1,"Amount":9000}`, `{"AMOUNT":9000}`, `{"a":{"amount":1}}`, `[1]`,
	} {
		dec, ok := w.call("transfer", args)
		if ok || dec.Class != access.ClassArguments || dec.Reason == "" {
			t.Errorf("%s: %+v", args, dec)
		}
	}
	if _, err := rawjson.Parse([]byte(`{"amount":1,"amount":9000}`), rawjson.Limits{}); err == nil {
		t.Error("duplicate keys are read")
	}
	if w.total("sum") != 0 || w.log.count("intent") != 0 {
		t.Errorf("denied calls cost %d", w.total("sum"))
	}
	if _, ok := w.call("look", `{"amount":-1}`); !ok {
		t.Error("a call the fact is not about is held to its amount")
	}
	if _, ok := w.call("transfer", `{"amount":0}`); !ok {
		t.Error("nothing is an amount")
	}
}

// Uses are spent as those of grants are: what was not made costs nothing, and what
// nobody knows of counts.
func TestCountersSettleAsCallsEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, dialect string) {
		w := newTill(t, dialect, perHour, sum())
		lost := errors.New("the connection broke")
		for _, c := range []struct {
			name string
			resp access.Response
			err  error
			want int64
		}{
			{"ok", fine, nil, 100},
			{"a tool's error", access.Response{Reached: access.ReachYes, ToolErr: true}, nil, 200},
			{"never sent", access.Response{Reached: access.ReachNo}, lost, 200},
			{"sent and lost", access.Response{Reached: access.ReachYes}, lost, 300},
			{"nobody knows", access.Response{}, lost, 400},
		} {
			w.run(w.request("transfer", `{"amount":100}`), c.resp, c.err)
			if got := w.values("sum"); got.Total != c.want || got.Reserved != 0 {
				t.Errorf("%s: the counter is %+v, want %d", c.name, got, c.want)
			}
		}
		func() {
			defer func() { _ = recover() }()
			_, _, _ = w.Do(t.Context(), w.request("transfer", `{"amount":100}`), func(context.Context, *gate.Dispatch) (access.Response, error) { panic("boom") })
		}()
		if got := w.total("sum"); got != 500 {
			t.Errorf("a panic: the counter is %d", got)
		}
	})
}

// A call that asks its client and goes on is one call; one that is over is not
// gone on with.
func TestCallsThatGoOnCountOnce(t *testing.T) {
	count := sum()
	count.ID, count.Type, count.Agg = "rate", fact.Rate, fact.Agg{Func: fact.Count}
	for _, f := range []fact.Fact{sum(), count} {
		w := newTill(t, "sqlite", fmt.Sprintf(`forbid (principal, action, resource) when { context.facts.%s > 5000 };`, f.ID), f)
		r := w.request("transfer", `{"amount":3000}`)
		asking := fine
		asking.Asked = true
		w.run(r, asking, nil)
		value := func() int64 {
			t.Helper()
			list, _, err := w.ledger.Values(t.Context(), f)
			if err != nil || len(list) != 1 {
				t.Fatalf("%s: %+v, %v", f.ID, list, err)
			}
			return list[0].Total
		}
		first := value()
		use := r.Use
		on := func(r *access.Request) { r.Use = use }
		for range 3 {
			if _, ok := w.run(w.request("transfer", `{"amount":3000}`, on), asking, nil); !ok {
				t.Fatalf("%s: it does not go on", f.ID)
			}
		}
		w.call("transfer", `{"amount":3000}`, on)
		if value() != first {
			t.Errorf("%s: counted %d, want %d", f.ID, value(), first)
		}
		_, _, err := w.Do(t.Context(), w.request("transfer", `{"amount":3000}`, on), func(context.Context, *gate.Dispatch) (access.Response, error) { return fine, nil })
		if access.CodeOf(err) != access.CodeDenied {
			t.Errorf("%s: a call that is over goes on: %v", f.ID, err)
		}
	}
}

// What was reserved when the process died counts, until the window has moved.
func TestReservationsOfADeadProcessCount(t *testing.T) {
	onBoth(t, func(t *testing.T, dialect string) {
		w := newTill(t, dialect, perHour, sum())
		r := w.request("transfer", `{"amount":3000}`)
		asking := fine
		asking.Asked = true
		w.run(r, asking, nil) // it waits, and is reserved
		if got := w.values("sum"); got.Total != 3000 || got.Reserved != 3000 {
			t.Fatalf("before: %+v", got)
		}
		w.start()
		if got := w.values("sum"); got.Total != 3000 || got.Reserved != 0 {
			t.Errorf("after: %+v", got)
		}
		if _, ok := w.call("transfer", `{"amount":2001}`); ok {
			t.Error("a restart makes room")
		}
		w.clock.Add(int64(time.Hour + time.Minute))
		if _, ok := w.call("transfer", `{"amount":5000}`); !ok {
			t.Error("it counts for ever")
		}
	})
}

// The edge of the window is on the strict side, and a clock that steps makes no
// room by going back.
func TestWindowEdges(t *testing.T) {
	w := newTill(t, "sqlite", perHour, sum())
	w.call("transfer", `{"amount":5000}`)
	for _, c := range []struct {
		at time.Duration
		ok bool
	}{
		{time.Hour - time.Second, false}, {time.Hour, false}, {-time.Hour, false}, {-24 * time.Hour, false}, {time.Minute, false}, {time.Hour + time.Second, false}, {59 * time.Minute, false},
	} {
		w.clock.Store(int64(c.at))
		if _, ok := w.call("transfer", `{"amount":1}`); ok != c.ok {
			t.Errorf("at %s it passes: %v", c.at, ok)
		}
	}
	w.clock.Store(int64(time.Hour + time.Minute)) // the step of a minute has gone
	if _, ok := w.call("transfer", `{"amount":5000}`); !ok {
		t.Error("after the window it does not pass")
	}
	w.clock.Store(int64(30 * time.Minute)) // back again: both count
	if _, ok := w.call("transfer", `{"amount":1}`); ok {
		t.Error("going back makes room")
	}
}

// A call that only the others under way are in the way of waits for them, and
// takes what they give back.
func TestACallWaitsForRoom(t *testing.T) {
	w := newTill(t, "sqlite", perHour, sum())
	inside, free := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _, _ = w.Do(t.Context(), w.request("transfer", `{"amount":4000}`), func(context.Context, *gate.Dispatch) (access.Response, error) {
			close(inside)
			<-free
			return access.Response{Reached: access.ReachNo}, errors.New("no route")
		})
	})
	<-inside
	wg.Go(func() {
		if _, ok := w.call("transfer", `{"amount":4000}`); !ok {
			t.Error("it does not get what was given back")
		}
	})
	wg.Go(func() {
		if _, ok := w.call("transfer", `{"amount":6000}`); ok {
			t.Error("what never fits passes")
		}
		close(free)
	})
	wg.Wait()
	if w.total("sum") != 4000 {
		t.Errorf("the counter is %d", w.total("sum"))
	}
}
