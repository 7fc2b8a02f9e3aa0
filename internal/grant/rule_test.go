package grant_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"rutile/internal/grant"
)

// TestRulesAreMetTogether: the strictest wins, and every team that is named has its
// say.
func TestRulesAreMetTogether(t *testing.T) {
	for _, tt := range []struct{ a, b, want string }{
		{"policy", "policy", "policy"}, {"policy", "auto", "auto"}, {"auto", "policy", "auto"}, {"auto", "auto", "auto"},
		{"policy", "quorum:1", "quorum:1"}, {"auto", "quorum:2:a", "quorum:2:a"}, {"quorum:2:a", "auto", "quorum:2:a"},
		{"quorum:1", "quorum:3", "quorum:3"}, {"quorum:2:a", "quorum:1:a", "quorum:2:a"}, {"quorum:1:a", "quorum:2:a", "quorum:2:a"},
		{"quorum:1:a", "quorum:1:b", "quorum:1:a then quorum:1:b"}, {"quorum:1:a", "quorum:1", "quorum:1:a"},
		{"quorum:2", "quorum:1:a", "quorum:1:a then quorum:1"}, {"quorum:1:a", "quorum:3", "quorum:1:a then quorum:2"},
		{"quorum:1:b then quorum:1:a", "quorum:1:a", "quorum:1:b then quorum:1:a"}, // as it was said
		{"quorum:1:a then quorum:1:b", "quorum:2:b then quorum:1:c", "quorum:1:a then quorum:2:b then quorum:1:c"},
		{"quorum:1:a then quorum:1:b", "quorum:1:c then quorum:1:d", "quorum:1:a then quorum:1:b then quorum:1:c then quorum:1:d"},
	} {
		a, b := rule(t, tt.a), rule(t, tt.b)
		got, ok := a.Join(b)
		if !ok || got.String() != tt.want {
			t.Errorf("%s with %s: %s, %t; want %s", tt.a, tt.b, got, ok, tt.want)
		}
	}
	four, _ := rule(t, "quorum:1:a then quorum:1:b").Join(rule(t, "quorum:1:c then quorum:1:d"))
	if got, ok := four.Join(rule(t, "quorum:1:e")); ok {
		t.Errorf("five teams are met by %s", got)
	}
}

// TestAJoinedRuleIsNoLooserThanEither, whatever they are: who meets it meets both.
func TestAJoinedRuleIsNoLooserThanEither(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func() grant.Rule {
		stage := func() string {
			team := []string{"", ":a", ":b", ":c"}[r.IntN(4)]
			return fmt.Sprintf("quorum:%d%s", 1+r.IntN(3), team)
		}
		switch r.IntN(6) {
		case 0:
			return grant.Rule{Auto: true}
		case 1:
			return grant.Rule{}
		case 2:
			return rule(t, stage()+" then "+stage())
		default:
			return rule(t, stage())
		}
	}
	for range 2000 {
		a, b := random(), random()
		j, ok := a.Join(b)
		if !ok {
			continue
		}
		if a.Stricter(j) || b.Stricter(j) {
			t.Fatalf("%s with %s is %s, which is looser", a, b, j)
		}
		if teams(a)["a"] > teams(j)["a"] || teams(b)["b"] > teams(j)["b"] || max(a.People(), b.People()) > j.People() {
			t.Fatalf("%s with %s is %s", a, b, j)
		}
		if again, ok := j.Join(b); !ok || again != j {
			t.Fatalf("%s with %s again is %s", j, b, again)
		}
	}
}

func teams(r grant.Rule) map[string]int {
	out := map[string]int{}
	for _, s := range r.Stages() {
		out[s.Team] += s.Quorum
	}
	return out
}

func rule(t testing.TB, s string) grant.Rule {
	t.Helper()
	r, err := grant.ParseRule(s)
	if err != nil {
		t.Fatal(err)
	}
	if r.String() != s {
		t.Errorf("%s is written %s", s, r)
	}
	return r
}

// TestThirdAndFourthStagesWaitForTheOthers.
func TestThirdAndFourthStagesWaitForTheOthers(t *testing.T) {
	r := newRig(t)
	four, _ := rule(t, "quorum:1:a then quorum:1:b").Join(rule(t, "quorum:1:c then quorum:1:d"))
	q := r.open(r.ask(four))
	for n, team := range []string{"a", "b", "c", "d"} {
		if _, err := r.Approve(t.Context(), q.ID, grant.Answer{By: "user:early", May: member([]string{"b", "c", "d", "a"}[n])}); err == nil {
			t.Errorf("stage %d lets another team in", n)
		}
		if _, err := r.Approve(t.Context(), q.ID, grant.Answer{By: "user:" + team, May: member(team)}); err != nil {
			t.Fatal(err)
		}
	}
	got := r.request(q.ID)
	equal(t, "issued", []any{got.State, r.grant(got.Grant).Quorum}, []any{grant.RequestIssued, 4})
}
