package grant_test

import (
	"fmt"
	"testing"

	"rutile/internal/access"
	"rutile/internal/grant"
)

// A grant is for a tool as dangerous as it was: one of a higher tier now is
// another thing to approve.
func TestGrantDoesNotCoverAHigherTier(t *testing.T) {
	r := newRig(t)
	r.approve(r.open(r.ask(oneYes)).ID, "user:ann")
	if got := r.covering(func(c *grant.Call) { c.Target.Tier++ }); len(got) != 0 {
		t.Errorf("covered by %v", got)
	}
	if got := r.covering(func(c *grant.Call) { c.Target.Tier = 0 }); len(got) != 1 {
		t.Errorf("of a lower tier it is covered by %v", got)
	}
}

// Asking again for what is granted gives the same grant, and what one agent can
// hold is bounded.
func TestLiveGrantsOfOnePartyAreBounded(t *testing.T) {
	r := newRig(t)
	auto := func(n int) grant.Ask {
		return r.ask(grant.Rule{Auto: true}, func(a *grant.Ask) { a.Args = args(t, fmt.Sprintf(`{"to":"x","n":%d}`, n)) })
	}
	first := r.open(auto(0))
	if again := r.open(auto(0)); again.ID != first.ID || again.Grant != first.Grant {
		t.Errorf("asked again: %s, %s", first.Grant, again.Grant)
	}
	for n := 1; ; n++ {
		if _, err := r.Open(t.Context(), auto(n)); access.CodeOf(err) == access.CodeConflict && n == 256 {
			break
		} else if err != nil || n > 256 {
			t.Fatalf("grant %d: %v", n, err)
		}
	}
	r.settle(r.reserve(first.Grant), grant.UseCommitted)
	if q := r.open(auto(300)); q.State != grant.RequestIssued {
		t.Errorf("with room: %s", q.State)
	}
}
