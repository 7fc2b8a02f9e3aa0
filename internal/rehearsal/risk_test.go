package rehearsal_test

import (
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/pdp"
	"rutile/internal/rehearsal"
)

// TestReplayJudgesOnTheScoresOfThen: a candidate that reads how unusual a session, an agent
// or a person is sees what the evidence says it was, and what it says nothing of was nothing.
func TestReplayJudgesOnTheScoresOfThen(t *testing.T) {
	r := newRig(t)
	for _, of := range []*access.Risk{nil, {Session: 45, Agent: 20, Model: "1"}, {Session: 55, Agent: 20, Model: "1"}, {Session: 80, Agent: 20, Model: "1"}} {
		q := r.request("bot", "read", `{}`)
		q.Risk = of
		d := pdp.Decide(r.State(), q)
		r.record(q, &d)
	}
	strict := "kind: Policy\nid: strict\ncedar: 'forbid (principal, action, resource) when { context.session.risk >= 50 };'\n"
	got := r.replay(func(o *rehearsal.Replaying) { o.Candidate = r.candidate(strict) })
	if !strings.Contains(counts(got), "same 3, denied 1, permitted 0") || got.Changed != 0 {
		t.Errorf("%s, changed %d", counts(got), got.Changed)
	}
}
