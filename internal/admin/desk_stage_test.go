package admin_test

import (
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/grant"
)

// TestTwoStagesNeedTheirTeams, and only people who are known.
func TestTwoStagesNeedTheirTeams(t *testing.T) {
	c := desk(t)
	c.apply("kind: Team\nid: team-b\nmembers: [two]\n---\nkind: User\nid: three\nroles: [approver]\n")
	q := c.ask(grant.Rule{Quorum: 1, Team: "team-a", Then: grant.Stage{Quorum: 1, Team: "team-b"}}, 2)
	say := func(a admin.Actor) error {
		_, err := c.Approve(t.Context(), a, q.ID, grant.Answer{Method: "api"})
		return err
	}
	for what, a := range map[string]admin.Actor{"the second stage first": user("two"), "of no team": user("three"), "the operator": {Kind: "user", ID: admin.OperatorToken, Host: true}} {
		if err := say(a); access.CodeOf(err) != access.CodeDenied {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := say(user("app")); err != nil {
		t.Fatal(err)
	}
	if card, err := c.Card(t.Context(), user("app"), q.ID); err != nil || card.Bar == nil {
		t.Errorf("who approved can do so again: %v, %v", card.Bar, err)
	}
	if card, err := c.Card(t.Context(), user("two"), q.ID); err != nil || card.Bar != nil {
		t.Errorf("the second stage cannot: %v, %v", card.Bar, err)
	}
	if err := say(user("two")); err != nil {
		t.Fatal(err)
	}
	if v, err := c.Request(t.Context(), q.ID); err != nil || v.State != grant.RequestIssued {
		t.Errorf("%s, %v", v.State, err)
	}
}
