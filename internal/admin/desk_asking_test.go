package admin_test

import (
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
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

// TestAGrantByHandIsGivenByWhoMustApprove: whoever may give grants by hand is not a
// way around more people, another team, or what policies do not let be asked for.
func TestAGrantByHandIsGivenByWhoMustApprove(t *testing.T) {
	operator := admin.Actor{Kind: "user", ID: admin.OperatorToken, Host: true}
	forbid := "kind: Policy\nid: asking\ncedar: |\n  forbid (principal, action == Mcp::Action::\"request\", resource);\n"
	for name, tt := range map[string]struct {
		approve, policies string
		who               admin.Actor
		denied            string // a part of why, "" if it is given
	}{
		"one person":                    {"quorum:1", "", user("two"), ""},
		"the operator, as one person":   {"quorum:1", "", operator, ""},
		"nobody need approve":           {"auto", "", user("two"), ""},
		"two people":                    {"quorum:2", "", user("two"), "files/read needs quorum:2"},
		"two stages":                    {"quorum:1:team-a then quorum:1", "", user("app"), "let the agent ask"},
		"a member of the team":          {"quorum:1:team-a", "", user("app"), ""},
		"another":                       {"quorum:1:team-a", "", user("two"), `members of team "team-a"`},
		"the operator is of no team":    {"quorum:1:team-a", "", operator, `members of team "team-a"`},
		"a policy wants two":            {"quorum:1", asking("quorum:2"), user("two"), "needs quorum:2"},
		"a policy wants a team":         {"quorum:1", asking("quorum:1:team-a"), user("two"), `members of team "team-a"`},
		"a policy asks no more":         {"quorum:1", asking("auto"), user("two"), ""},
		"a policy lets nobody ask":      {"quorum:1", forbid, user("two"), "asking"},
		"a policy lets only less be so": {"quorum:1", strings.ReplaceAll(asking("auto"), "resource)", "resource) when { context.seconds <= 60 }"), user("two"), "no rule permits"},
	} {
		t.Run(name, func(t *testing.T) {
			c := desk(t)
			c.apply(strings.ReplaceAll(deskRight, "quorum:1", tt.approve))
			if tt.policies != "" {
				c.apply(tt.policies)
			}
			_, err := c.CreateGrant(t.Context(), tt.who, admin.GrantSpec{Agent: "bot", Server: "files", Tool: "read", Seconds: 600})
			if tt.denied == "" && err != nil || tt.denied != "" && (access.CodeOf(err) != access.CodeDenied || !strings.Contains(err.Error(), tt.denied)) {
				t.Errorf("%v, want %q", err, tt.denied)
			}
			kept, err := c.Grants(t.Context(), grant.Filter{})
			if err != nil || len(kept) > 0 != (tt.denied == "") {
				t.Errorf("%d grants, %v", len(kept), err)
			}
		})
	}
}
