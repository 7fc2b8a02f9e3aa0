package gate_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/grant"
	"rutile/internal/rawjson"
)

// later is after people had time to answer: the broker's clock is ahead of a call's.
func later(r *access.Request) { r.At = now.Add(time.Second) }

// storm makes the same call n times at once, and returns how many ran.
func (o *office) storm(n int) int64 {
	var ran atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range n {
		r := call(o.t, "bot", later)
		wg.Go(func() {
			<-start
			_, dec, err := o.Do(o.t.Context(), r, func(context.Context, *gate.Dispatch) (access.Response, error) {
				ran.Add(1)
				return fine, nil
			})
			if err != nil || dec.Allowed() != (dec.Outcome == access.Permit) {
				o.t.Errorf("%+v, %v", dec, err)
			}
		})
	}
	close(start)
	wg.Wait()
	return ran.Load()
}

// TestARetryStormIsOneRequestAndOneCall: however often and at once an agent tries,
// people are asked once, and what they approved runs once.
func TestARetryStormIsOneRequestAndOneCall(t *testing.T) {
	o := newOffice(t, grant.Rule{Quorum: 1})
	pending := func() []grant.Request {
		list, err := o.grants.Archive().Requests(t.Context(), grant.Filter{State: grant.RequestPending})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	for round := range 2 {
		if n := o.storm(32); n != 0 {
			t.Fatalf("%d calls ran before anybody approved", n)
		}
		list := pending()
		if len(list) != 1 {
			t.Fatalf("%d requests wait for one call", len(list))
		}
		if _, err := o.grants.Approve(t.Context(), list[0].ID, grant.Answer{By: "user:ann"}); err != nil {
			t.Fatal(err)
		}
		if n := o.storm(32); n != 1 {
			t.Fatalf("round %d: what was approved once ran %d times", round, n)
		}
	}
}

// TestWhatWasApprovedIsWhatRuns: whatever an agent changes about a call after people
// approved it, it is another call; and only its spelling is no change.
func TestWhatWasApprovedIsWhatRuns(t *testing.T) {
	o := newOffice(t, grant.Rule{Quorum: 1})
	with := func(text string) func(*access.Request) {
		return func(r *access.Request) {
			v, err := rawjson.Parse([]byte(text), rawjson.Limits{})
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			r.Arguments = v
		}
	}
	_, dec, err := o.do(call(t, "bot", with(`{"to":"prod","n":1}`)), fine, nil)
	if err != nil || dec.Request == "" {
		t.Fatalf("%+v, %v", dec, err)
	}
	if _, err := o.grants.Approve(t.Context(), dec.Request, grant.Answer{By: "user:ann"}); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*access.Request){
		"another value":    with(`{"to":"test","n":1}`),
		"another type":     with(`{"to":"prod","n":"1"}`),
		"a list of it":     with(`{"to":["prod"],"n":1}`),
		"a member more":    with(`{"to":"prod","n":1,"force":true}`),
		"a null more":      with(`{"to":"prod","n":1,"force":null}`),
		"a member less":    with(`{"to":"prod"}`),
		"another case":     with(`{"To":"prod","n":1}`),
		"a space":          with(`{"to":"prod ","n":1}`),
		"a lookalike":      with(`{"to":"prоd","n":1}`),
		"a larger number":  with(`{"to":"prod","n":1.0000000000000000001}`),
		"nothing":          with(`{}`),
		"no arguments":     func(r *access.Request) { r.Arguments = rawjson.Value{} },
		"another tool":     func(r *access.Request) { r.Target = "never" },
		"another agent":    func(r *access.Request) { r.Who.Actor.Agent = "other" },
		"another person":   func(r *access.Request) { r.Who.Subject = access.Subject{Issuer: "https://idp", ID: "eve"} },
		"another kind":     func(r *access.Request) { r.Kind = access.KindPrompt },
		"after it expired": func(r *access.Request) { r.At = now.Add(2 * time.Hour) },
		"before it began":  func(r *access.Request) { r.At = now.Add(-time.Hour) },
	} {
		r := call(t, "bot", later, with(`{"to":"prod","n":1}`))
		change(r)
		if _, dec, err := o.do(r, fine, nil); err == nil && dec.Allowed() {
			t.Errorf("%s: what was not approved runs: %+v", name, dec)
		}
	}
	for n, text := range []string{`{ "n" : 1.0e0, "to" : "p\u0072od" }`, `{"to":"prod","n":1}`} {
		_, dec, err := o.do(call(t, "bot", later, with(text)), fine, nil)
		if err != nil || dec.Allowed() != (n == 0) {
			t.Errorf("%s, the %s time: %+v, %v", text, fmt.Sprint(n+1), dec, err)
		}
	}
}
