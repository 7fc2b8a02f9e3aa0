package store_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/credential"
	"rutile/internal/store"
	"rutile/internal/store/storetest"
)

// A gateway that runs for 500 days, with retention every day and a restart now and then:
// no call goes before its 400 days are over, excerpts go a month after theirs, changes stay,
// what is searched is what is there, and the log verifies on every restart.
func TestFiveHundredDaysOfRetention(t *testing.T) {
	const day = 24 * time.Hour
	began := time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)
	var at atomic.Pointer[time.Time]
	at.Store(&began)
	now := func() time.Time { return *at.Load() }
	dir := storetest.Dir(t)
	s, err := store.Open(t.Context(), store.Config{DSN: "sqlite", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	vault, err := credential.New(t.Context(), credential.Config{Tenant: "default", Dir: dir}, s)
	if err != nil {
		t.Fatal(err)
	}
	evidence := filepath.Join(dir, "evidence")
	open := func() *audit.Log {
		l, err := audit.Open(t.Context(), audit.Config{
			Dir: evidence, Node: "n1", Tenant: "default", Payloads: true, Origin: origin, Now: now,
			Uptime: func() time.Duration { return now().Sub(began) }, Retention: audit.RetentionPolicy{Payload: 30, Decision: 400},
		}, s, vault, s)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := open()
	defer func() { l.Close(context.WithoutCancel(t.Context())) }()
	type call struct {
		at      time.Time
		outcome uint64
	}
	var calls []call
	restart := func() audit.Report {
		if err := l.AwaitIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, err := audit.Verify(evidence, audit.VerifyOptions{Complete: true})
		if err != nil || len(r.Problems) > 0 {
			t.Fatalf("day %v: %v, %v", now().Sub(began)/day, r.Problems, err)
		}
		l = open()
		return r
	}
	changes := 0
	for n := range 500 {
		today := began.AddDate(0, 0, n)
		at.Store(&today)
		if n%10 == 0 {
			var mu sync.Mutex
			var work sync.WaitGroup
			for i := range 26 {
				work.Go(func() { // together, so that the disk is waited for once
					r := &access.Request{ID: fmt.Sprintf("dec_%d_%d", n, i), At: today, Protocol: "mcp", Version: "2026-07-28", Method: "tools/call", Server: "files", Kind: access.KindTool, Target: "read",
						Who: access.Identity{Actor: access.Actor{Agent: "bot", Attested: true}, Subject: access.Subject{Issuer: "https://idp", ID: "ann"}, Session: "ses_1"}}
					ref, err := l.Intent(t.Context(), audit.Intent{Request: r, Decision: &access.Decision{Outcome: access.Permit}})
					if err != nil {
						t.Error(err)
						return
					}
					out, err := l.Outcome(t.Context(), audit.Outcome{Request: r, Intent: ref, Status: audit.StatusOK, Reached: "yes", Result: []byte(`{"said":"something"}`)})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					calls = append(calls, call{today, out.Index})
				})
			}
			work.Wait()
			if _, err := l.Admin(t.Context(), audit.Admin{ID: "chg_1", Actor: "user:root", Verb: "apply", Kind: "Server", Object: fmt.Sprintf("srv-%d", n)}); err != nil {
				t.Fatal(err)
			}
			changes++
		}
		if _, err := l.Retain(t.Context(), audit.RetentionOrder{}); err != nil {
			t.Fatalf("day %d: %v", n, err)
		}
		for _, c := range calls {
			if c.outcome < l.Minimum() && today.Sub(c.at) < 400*day {
				t.Fatalf("day %d: a call of day %v went", n, c.at.Sub(began)/day)
			}
		}
		if n%100 == 99 {
			restart()
		}
	}
	old, young := calls[0], calls[len(calls)-1]
	if _, err := l.Leaf(t.Context(), old.outcome); access.CodeOf(err) != access.CodeNotFound {
		t.Errorf("the first call: %v", err)
	}
	excerpt := func(c call) bool {
		r, err := l.Reveal(t.Context(), c.outcome)
		if err != nil {
			t.Fatal(err)
		}
		return r.Payload != nil
	}
	for _, c := range calls {
		if c.outcome >= l.Minimum() && now().Sub(c.at) > 62*day && excerpt(c) {
			t.Errorf("the excerpt of day %v is left", c.at.Sub(began)/day)
			break
		}
	}
	if !excerpt(young) {
		t.Error("the newest excerpt went")
	}
	r := restart()
	if r.Pruned == 0 || r.Pruned+r.Leaves != r.Size {
		t.Errorf("%+v", r)
	}
	if err := l.AwaitIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	count := func(q audit.Query) int {
		q.Origin = origin
		n, err := s.Count(t.Context(), q, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	there := 0
	for _, c := range calls {
		if c.outcome >= l.Minimum() {
			there++
		}
	}
	if n := count(audit.Query{Agent: "bot", Until: began.Add(10 * day)}); n != 0 {
		t.Errorf("%d rows of the first days are found", n)
	}
	if n := count(audit.Query{Types: []string{"admin"}}); n != changes {
		t.Errorf("%d of %d changes are found", n, changes)
	}
	if there == len(calls) || there == 0 {
		t.Errorf("%d of %d calls are there", there, len(calls))
	}
}
