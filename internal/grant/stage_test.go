package grant_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
)

var staged = grant.Rule{Quorum: 1, Team: "team-a", Then: grant.Stage{Quorum: 2, Team: "secops"}}

// member lets people approve in the stages of their teams.
func member(teams ...string) func(grant.Request, grant.Stage) error {
	return func(_ grant.Request, s grant.Stage) error {
		if !slices.Contains(teams, s.Team) {
			return access.Errorf(access.CodeDenied, "not a member of %s", s.Team)
		}
		return nil
	}
}

// TestTheSecondStageFollowsTheFirst: each needs its own people, and nobody counts in
// both.
func TestTheSecondStageFollowsTheFirst(t *testing.T) {
	r := newRig(t)
	q := r.open(r.ask(staged))
	say := func(by string, teams ...string) error {
		_, err := r.Approve(t.Context(), q.ID, grant.Answer{By: by, May: member(teams...)})
		return err
	}
	hasCode(t, "the second before the first", say("user:sec", "secops"), access.CodeDenied)
	if err := say("user:ann", "team-a", "secops"); err != nil {
		t.Fatal(err)
	}
	hasCode(t, "one person in both", say("user:ann", "team-a", "secops"), access.CodeConflict)
	hasCode(t, "another one of the first", say("user:bob", "team-a"), access.CodeDenied)
	if err := say("user:sec", "secops"); err != nil {
		t.Fatal(err)
	}
	equal(t, "not yet", r.request(q.ID).State, grant.RequestPending)
	if err := say("user:tom", "secops"); err != nil {
		t.Fatal(err)
	}
	got := r.request(q.ID)
	equal(t, "issued", []any{got.State, r.grant(got.Grant).Quorum}, []any{grant.RequestIssued, 3})
	var stages []int
	for _, a := range got.Approvals {
		stages = append(stages, a.Stage)
	}
	equal(t, "stages", stages, []int{0, 1, 1})
}

// TestAFirstStageThatCountsNoLongerIsGivenAnew before anything is issued.
func TestAFirstStageThatCountsNoLongerIsGivenAnew(t *testing.T) {
	r := newRig(t)
	q := r.open(r.ask(grant.Rule{Quorum: 1, Team: "team-a", Then: grant.Stage{Quorum: 1, Team: "secops"}}))
	if _, err := r.Approve(t.Context(), q.ID, grant.Answer{By: "user:ann", May: member("team-a")}); err != nil {
		t.Fatal(err)
	}
	gone := func(x grant.Approval) bool { return x.By != "user:ann" }
	_, err := r.Approve(t.Context(), q.ID, grant.Answer{By: "user:sec", Counts: gone, May: member("secops")})
	hasCode(t, "the second stage alone", err, access.CodeDenied)
	if _, err := r.Approve(t.Context(), q.ID, grant.Answer{By: "user:bob", Counts: gone, May: member("team-a")}); err != nil {
		t.Fatal(err)
	}
	equal(t, "waits for the second", r.request(q.ID).State, grant.RequestPending)
	if _, err := r.Approve(t.Context(), q.ID, grant.Answer{By: "user:sec", Counts: gone, May: member("secops")}); err != nil {
		t.Fatal(err)
	}
	equal(t, "issued", r.request(q.ID).State, grant.RequestIssued)
}

// TestWhoseApprovalCountsNoLongerApprovesAnew: the token it was given with was revoked,
// and the person has another. It counts once.
func TestWhoseApprovalCountsNoLongerApprovesAnew(t *testing.T) {
	r := newRig(t)
	q := r.open(r.ask(grant.Rule{Quorum: 2}))
	say := func(by, token string) error {
		_, err := r.Approve(t.Context(), q.ID, grant.Answer{By: by, Token: token, Counts: func(x grant.Approval) bool { return x.Token != "tok_stolen" }})
		return err
	}
	if err := say("user:ann", "tok_stolen"); err != nil {
		t.Fatal(err)
	}
	if err := say("user:ann", "tok_new"); err != nil {
		t.Fatal(err)
	}
	equal(t, "one person", []any{r.request(q.ID).State, len(r.request(q.ID).Approvals)}, []any{grant.RequestPending, 1})
	hasCode(t, "once more", say("user:ann", "tok_new"), access.CodeConflict)
	if err := say("user:bob", "tok_bob"); err != nil {
		t.Fatal(err)
	}
	equal(t, "issued", r.request(q.ID).State, grant.RequestIssued)
}

// TestNobodySlipsIntoAnotherStage: two of the first stage answer at once; one of
// them is in it, and the other does not count in the second.
func TestNobodySlipsIntoAnotherStage(t *testing.T) {
	r := newRig(t)
	second := r.boot("n2", "b")
	for i := range 12 {
		q := r.open(r.ask(grant.Rule{Quorum: 1, Team: "team-a", Then: grant.Stage{Quorum: 1, Team: "secops"}}, func(a *grant.Ask) { a.Args = args(t, fmt.Sprintf(`{"i":%d}`, i)) }))
		answer := func(b *grant.Broker, by string) func() {
			return func() {
				for range 3 {
					if _, err := b.Approve(t.Context(), q.ID, grant.Answer{By: by, May: member("team-a")}); err == nil {
						return
					}
				}
			}
		}
		together(answer(r.Broker, "user:ann"), answer(second, "user:bob"))
		if got := r.request(q.ID); got.State != grant.RequestPending || len(got.Approvals) != 1 {
			t.Errorf("%s with %+v", got.State, got.Approvals)
		}
	}
}

// TestTooManyApprovalsOfOnePersonAreSaid, not refused; those of another hour and of
// other people do not count.
func TestTooManyApprovalsOfOnePersonAreSaid(t *testing.T) {
	r := newRig(t)
	said := func() int { return strings.Count(strings.Join(r.log.said(0), ","), "exceed Request") }
	n := 0
	approve := func(by string) {
		t.Helper()
		n++
		r.approve(r.open(r.ask(oneYes, func(a *grant.Ask) { a.Args, a.Party.Agent = args(t, fmt.Sprintf(`{"i":%d}`, n)), fmt.Sprint("a", n) })).ID, by)
	}
	for range 60 {
		approve("user:ann")
	}
	approve("user:bob")
	equal(t, "within", said(), 0)
	approve("user:ann")
	equal(t, "beyond", said(), 1)
	r.clock.set(noon.Add(-time.Hour)) // a clock that is set back forgets nothing
	approve("user:ann")
	equal(t, "set back", said(), 2)
	r.clock.set(noon.Add(time.Hour))
	approve("user:ann")
	equal(t, "an hour later", said(), 2)
}
