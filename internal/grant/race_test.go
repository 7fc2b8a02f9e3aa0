package grant_test

import (
	"fmt"
	"sync"
	"testing"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/rawjson"
)

// together runs all at once and waits.
func together(fs ...func()) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for _, f := range fs {
		wg.Go(func() { <-start; f() })
	}
	close(start)
	wg.Wait()
}

// TestOneAnswerCounts of an approval, a denial and the end of the task at once,
// here and on another node.
func TestOneAnswerCounts(t *testing.T) {
	r := newRig(t)
	second := r.boot("n2", "b")
	for i := range 15 {
		k := r.task(bot)
		q := r.open(r.ask(oneYes, func(a *grant.Ask) { a.Task, a.Args = k.ID, args(t, fmt.Sprintf(`{"i":%d}`, i)) }))
		if err := second.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		var approved, denied, closed error
		together(
			func() { _, approved = r.Approve(t.Context(), q.ID, grant.Answer{By: "user:ann"}) },
			func() { _, denied = second.Deny(t.Context(), q.ID, "user:bob", "") },
			func() { _, closed = r.CloseTask(t.Context(), k.ID, bot, "agent:bot", "") },
		)
		if closed != nil {
			t.Errorf("the task was not closed: %v", closed)
		}
		for what, err := range map[string]error{"approve": approved, "deny": denied} {
			if c := access.CodeOf(err); err != nil && c != access.CodeConflict {
				t.Errorf("%s: %v", what, err)
			}
		}
		q = r.request(q.ID)
		switch q.State {
		case grant.RequestIssued:
			if approved != nil || denied == nil {
				t.Errorf("issued: approve %v, deny %v", approved, denied)
			}
			if s := r.grant(q.Grant).State; s != grant.GrantCompleted {
				t.Errorf("its task is closed and the grant is %s", s)
			}
		case grant.RequestDenied:
			if denied != nil || approved == nil {
				t.Errorf("denied: approve %v, deny %v", approved, denied)
			}
		case grant.RequestWithdrawn:
			if denied == nil || approved == nil {
				t.Errorf("withdrawn: approve %v, deny %v", approved, denied)
			}
		default:
			t.Errorf("the request is %s", q.State)
		}
		if err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTwoYesesMakeOneGrant where one is enough, and where both are needed.
func TestTwoYesesMakeOneGrant(t *testing.T) {
	r := newRig(t)
	second := r.boot("n2", "b")
	for i := range 10 {
		quorum := 1 + i%2
		q := r.open(r.ask(grant.Rule{Quorum: quorum}, func(a *grant.Ask) { a.Args = args(t, fmt.Sprintf(`{"i":%d}`, i)) }))
		answer := func(b *grant.Broker, by string) func() {
			return func() {
				for range 5 { // who loses the race reads what is there and tries again
					if _, err := b.Approve(t.Context(), q.ID, grant.Answer{By: by}); err == nil {
						return
					}
				}
			}
		}
		together(answer(r.Broker, "user:ann"), answer(second, "user:bob"), answer(r.Broker, "user:ann"))
		q = r.request(q.ID)
		if q.State != grant.RequestIssued || len(q.Approvals) != quorum {
			t.Errorf("quorum %d: %s with %d approvals", quorum, q.State, len(q.Approvals))
		}
	}
	gs, err := r.Archive().Grants(t.Context(), grant.Filter{})
	if err != nil || len(gs) != 10 {
		t.Errorf("%d grants of 10 requests, %v", len(gs), err)
	}
}

// TestNothingIsReservedAfterARevocation returned, and never more than there is.
func TestNothingIsReservedAfterARevocation(t *testing.T) {
	r := newRig(t)
	for i := range 10 {
		g := r.create(func(s *grant.Spec) { s.Uses = 4 })
		var mu sync.Mutex
		revoked, got := false, 0
		var fs []func()
		for n := range 8 {
			fs = append(fs, func() {
				mu.Lock()
				late := revoked
				mu.Unlock()
				u, err := r.Reserve(t.Context(), g.ID, fmt.Sprint("dec_", i, "_", n), rawjson.Value{})
				if err != nil {
					hasCode(t, "reserving", err, access.CodeConflict)
					return
				}
				if late {
					t.Error("a use was reserved after the revocation")
				}
				mu.Lock()
				got++
				mu.Unlock()
				r.settle(u, grant.UseCommitted)
			})
		}
		var err error
		together(append(fs, func() {
			_, err = r.Revoke(t.Context(), g.ID, "user:ann", "enough")
			mu.Lock()
			revoked = true
			mu.Unlock()
		})...)
		g = r.grant(g.ID)
		if want := grant.GrantRevoked; err == nil && g.State != want || err != nil && (g.State != grant.GrantExhausted || access.CodeOf(err) != access.CodeConflict) {
			t.Errorf("revoked: %v, it is %s", err, g.State)
		}
		if got > 4 || g.Counts.Spent != int64(got) || g.Counts.Reserved != 0 {
			t.Errorf("%d uses went through: %+v", got, g.Counts)
		}
		equal(t, "covering", r.covering(), []string{})
	}
}

// TestAskingAtOnceIsOneRequest on two nodes.
func TestAskingAtOnceIsOneRequest(t *testing.T) {
	r := newRig(t)
	second := r.boot("n2", "b")
	var mu sync.Mutex
	seen := map[string]bool{}
	var fs []func()
	for i := range 12 {
		b := []*grant.Broker{r.Broker, second}[i%2]
		fs = append(fs, func() {
			q, err := b.Open(t.Context(), r.ask(oneYes))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("asking: %v", err)
			}
			seen[q.ID] = true
		})
	}
	together(fs...)
	if len(seen) != 1 {
		t.Errorf("%d requests for one call", len(seen))
	}
}
