package admin_test

import (
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/grant"
)

const askPolicy = "kind: Policy\nid: asking\ncedar: |\n  @approve(\"APPROVE\") permit (principal, action == Mcp::Action::\"request\", resource);\n"

func asking(approve string) string { return strings.ReplaceAll(askPolicy, "APPROVE", approve) }

// TestWhatPoliciesWantNowIsWantedOfWhatWaits: stricter policies void a request at the
// next answer and at the next look; looser ones change nothing.
func TestWhatPoliciesWantNowIsWantedOfWhatWaits(t *testing.T) {
	c := desk(t)
	first, second := c.ask(grant.Rule{Quorum: 1}, 2), c.ask(grant.Rule{Quorum: 1}, 2)
	c.apply(asking("auto"))
	if err := c.broker.Sweep(t.Context(), c.Standing()); err != nil {
		t.Fatal(err)
	}
	if v, _ := c.Request(t.Context(), second.ID); v.State != grant.RequestPending {
		t.Errorf("looser policies: %s because %s", v.State, v.Why)
	}
	c.apply(asking("quorum:1:team-a"))
	_, err := c.Approve(t.Context(), user("two"), first.ID, grant.Answer{Method: "api"})
	if access.CodeOf(err) != access.CodeConflict || !strings.Contains(err.Error(), "another approval") {
		t.Errorf("answered: %v", err)
	}
	if err := c.broker.Sweep(t.Context(), c.Standing()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{first.ID, second.ID} {
		if v, _ := c.Request(t.Context(), id); v.State != grant.RequestInvalid || !strings.Contains(v.Why, "another approval") {
			t.Errorf("%s because %s", v.State, v.Why)
		}
	}
	q := c.ask(grant.Rule{Quorum: 1, Team: "team-a"}, 2)
	if _, err := c.Approve(t.Context(), user("app"), q.ID, grant.Answer{Method: "api"}); err != nil {
		t.Errorf("asked as they want: %v", err)
	}
}

// TestAPersonIsATeamOfOne, unless a team has the name.
func TestAPersonIsATeamOfOne(t *testing.T) {
	c := desk(t)
	q := c.ask(grant.Rule{Quorum: 1, Team: "two"}, 2)
	if _, err := c.Approve(t.Context(), user("app"), q.ID, grant.Answer{Method: "api"}); access.CodeOf(err) != access.CodeDenied {
		t.Errorf("somebody else: %v", err)
	}
	c.apply("kind: Team\nid: two\nmembers: [zoe]\n")
	if _, err := c.Approve(t.Context(), user("two"), q.ID, grant.Answer{Method: "api"}); access.CodeOf(err) != access.CodeDenied {
		t.Errorf("a person called like a team: %v", err)
	}
	if _, err := c.Approve(t.Context(), user("zoe"), q.ID, grant.Answer{Method: "api"}); err != nil {
		t.Errorf("its member: %v", err)
	}
}
