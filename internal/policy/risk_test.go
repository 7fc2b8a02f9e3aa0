package policy_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/policy"
)

// Each rung begins at its bound, for whom it is about, and does what the ladder says.
func TestEachRungBeginsAtItsBound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		session, agent, person, tier int
		want                         access.Outcome
		forbids                      []string
	}{
		{0, 0, 0, 2, access.Permit, nil},
		{59, 74, 79, 2, access.Permit, nil},
		{60, 0, 0, 0, access.Permit, nil},
		{60, 0, 0, 1, access.RequireApproval, []string{"baseline.risk-step-up"}},
		{0, 75, 0, 1, access.RequireApproval, []string{"baseline.risk-step-up"}},
		{75, 0, 0, 0, access.Quarantine, []string{"baseline.risk-suspend"}},
		{0, 0, 80, 0, access.Quarantine, []string{"baseline.subject-risk"}},
		{0, 90, 0, 0, access.Quarantine, []string{"baseline.risk-quarantine"}},
		{90, 0, 0, 0, access.Terminate, []string{"baseline.risk-quarantine", "baseline.risk-suspend", "baseline.risk-terminate"}},
	} {
		t.Run(fmt.Sprint(c.session, c.agent, c.person, c.tier), func(t *testing.T) {
			for _, ladder := range []string{"", policy.LadderEnforce, policy.LadderShadow, policy.LadderOff} {
				set, err := policy.Compile([]policy.Policy{{ID: "all", Cedar: "permit (principal, action, resource);"}}, policy.Catalog{Ladder: ladder})
				if err != nil {
					t.Fatal(err)
				}
				q := query(t, "bot", "s", "t", `{}`)
				q.Subject, q.Tool.Tier = access.Subject{ID: "ann"}, c.tier
				q.Risk = &access.Risk{Session: c.session, Agent: c.agent, Person: c.person}
				want, forbids := c.want, c.forbids
				if ladder == policy.LadderShadow || ladder == policy.LadderOff {
					want, forbids = access.Permit, nil
				}
				var met []string
				for _, g := range policy.Rungs() {
					if g.Meets(q.Risk, c.tier > 0, false) {
						met = append(met, g.Rule)
					}
				}
				if slices.Sort(met); !slices.Equal(met, c.forbids) {
					t.Errorf("Rungs says %v, the rules %v", met, c.forbids)
				}
				v := set.Evaluate(q)
				if d := cmp.Diff(forbids, v.Forbids); d != "" || v.Outcome != want {
					t.Errorf("%q: %s, forbids (-want +got):\n%s", ladder, v.Outcome, d)
				}
				if tried := set.Tried(); (tried != nil) != (ladder == policy.LadderShadow) {
					t.Errorf("%q: tried is %v", ladder, tried)
				} else if tried != nil {
					v := tried.Evaluate(q)
					if d := cmp.Diff(c.forbids, set.Shadows(&v), cmp.FilterValues(func(x, y []string) bool { return len(x)+len(y) == 0 }, cmp.Ignore())); d != "" || v.Outcome != c.want {
						t.Errorf("tried: %s (-want +got):\n%s", v.Outcome, d)
					}
				}
			}
		})
	}
}

// A grant that a person approved meets the step-up; one that came by itself, and an
// allow-list, do not.
func TestAPersonMeetsTheStepUp(t *testing.T) {
	t.Parallel()
	set := compile(t, policy.Catalog{}, `permit (principal, action, resource);`)
	for quorum, want := range []access.Outcome{access.RequireApproval, access.Permit} {
		q := query(t, "bot", "s", "t", `{}`)
		q.Tool.Tier, q.Risk, q.Grant = 2, &access.Risk{Session: 74}, &policy.GrantFacts{ID: "g", Remaining: 1, Quorum: quorum, ExpiresAt: now}
		if v := set.Evaluate(q); v.Outcome != want {
			t.Errorf("quorum %d: %s", quorum, v.Outcome)
		}
	}
}
