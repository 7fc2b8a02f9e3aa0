package admin_test

import (
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/grant"
)

const refunds = `kind: Entitlement
id: refunds
owner: team-platform
agents: [bot]
tools: ["files/*"]
args: [{at: /path, prefix: /srv/}]
maxUses: 5
approve: quorum:2:team-a
`

// presented is a person with a personal token in hand.
func (c *counter) presented(id string) admin.Actor {
	c.t.Helper()
	k, err := c.CreateUserToken(c.t.Context(), admin.Actor{Kind: "user", ID: admin.OperatorToken, Host: true}, id, "t", time.Hour)
	if err != nil {
		c.t.Fatal(err)
	}
	a := user(id)
	a.Token = k.ID
	return a
}

// bare is a gateway in which only refunds lets bot ask for files/read.
func bare(t *testing.T) (*counter, admin.EmergencySpec) {
	t.Helper()
	c := desk(t)
	c.apply("kind: Entitlement\nid: deploys\nowner: team-platform\nagents: [bot]\ntools: [\"files/*\"]\nstate: retired\n---\n" + refunds)
	bound, err := grant.ParseConstraints([]byte(`[{"at":"/path","eq":"/srv/a"}]`))
	if err != nil {
		t.Fatal(err)
	}
	return c, admin.EmergencySpec{GrantSpec: admin.GrantSpec{Agent: "bot", Server: "files", Tool: "read", Args: bound, Reason: "it burns"}}
}

// TestWhoMayBreakTheGlass: a registered person with a role, who presents a token with
// it; and what of.
func TestWhoMayBreakTheGlass(t *testing.T) {
	c, spec := bare(t)
	wide, err := grant.ParseConstraints([]byte(`[{"at":"/path","prefix":"/"}]`))
	if err != nil {
		t.Fatal(err)
	}
	account := user("app")
	account.Account = admin.Account{UID: "1", Name: "app"}
	for name, tt := range map[string]struct {
		actor  admin.Actor
		change func(*admin.EmergencySpec)
		code   access.Code
		words  string
	}{
		"a viewer":                 {c.presented("vic"), nil, access.CodeDenied, "needs the role"},
		"the operator token":       {admin.Actor{Kind: "user", ID: admin.OperatorToken, Host: true}, nil, access.CodeDenied, "only a registered user"},
		"root":                     {admin.Actor{Kind: "local", ID: "0", Host: true}, nil, access.CodeDenied, "only a registered user"},
		"without a token":          {user("app"), nil, access.CodeDenied, "presents a personal token"},
		"an account of the socket": {account, nil, access.CodeUnauthenticated, ""},
		"the gateway":              {admin.System(), nil, access.CodeDenied, "only a person"},
		"an agent":                 {admin.Actor{Kind: "agent", ID: "bot", Host: true}, nil, access.CodeUnauthenticated, ""},
		"of another agent":         {c.presented("app"), func(s *admin.EmergencySpec) { s.Agent = "other" }, access.CodeNotFound, "is not registered"},
		"of no tool":               {c.presented("app"), func(s *admin.EmergencySpec) { s.Tool = "nothing" }, access.CodeNotFound, "no approved tool"},
		"of what is retired":       {c.presented("app"), func(s *admin.EmergencySpec) { s.Entitlement = "deploys" }, access.CodeDenied, "does not let agent"},
		"wider than it may":        {c.presented("app"), func(s *admin.EmergencySpec) { s.Args = wide }, access.CodeDenied, "does not reach"},
		"without a reason":         {c.presented("app"), func(s *admin.EmergencySpec) { s.Reason = "" }, access.CodeInvalid, "reason is required"},
	} {
		s := spec
		if tt.change != nil {
			tt.change(&s)
		}
		_, err := c.BreakGlass(t.Context(), tt.actor, s)
		hasCode(t, name, err, tt.code, tt.words)
	}
	g, err := c.BreakGlass(t.Context(), c.presented("oper"), spec)
	if err != nil || g.Entitlement != "refunds" || g.Mode != grant.ModeBreakGlass || g.Approvals[0].By != "user:oper" {
		t.Errorf("an operator: %+v, %v", g, err)
	}
	c.apply(deskRight + "state: active\n")
	if _, err := c.BreakGlass(t.Context(), c.presented("app"), spec); access.CodeOf(err) != access.CodeInvalid {
		t.Errorf("under one of two: %v", err)
	}
	spec.Entitlement = "refunds"
	if _, err := c.BreakGlass(t.Context(), c.presented("app"), spec); err != nil {
		t.Errorf("under one that is named: %v", err)
	}
}

// TestBreakGlassLiftsNoRule: what forbids, what wants to see more people, what does
// not let it be asked for, and an agent, a server or a definition that is not in order
// refuse plainly.
func TestBreakGlassLiftsNoRule(t *testing.T) {
	c, spec := bare(t)
	policy := func(cedar string) string { return "kind: Policy\nid: rule\ncedar: |\n  " + cedar + "\n" }
	ann := c.presented("app")
	for name, tt := range map[string]struct{ rule, words string }{
		"a forbid":           {policy(`forbid (principal, action == Mcp::Action::"files/read", resource);`), `rule "rule" forbids`},
		"one that wants two": {policy(`@outcome("require_approval") forbid (principal, action in Mcp::Action::"call", resource) unless { context has grant && context.grant.quorum >= 2 };`), `rule "rule" asks`},
		"no asking":          {policy(`forbid (principal, action == Mcp::Action::"request", resource);`), `rule "rule" forbids`},
		"no permit to ask":   {policy(`@approve("auto") permit (principal == Mcp::Agent::"x", action == Mcp::Action::"request", resource);`), "no rule permits"},
		"an error":           {policy(`forbid (principal, action in Mcp::Action::"call", resource) when { resource.tier + 9223372036854775807 > 0 };`), "cannot be evaluated"},
	} {
		c.apply(tt.rule)
		_, err := c.BreakGlass(t.Context(), ann, spec)
		hasCode(t, name, err, access.CodeDenied, "one person alone lifts no rule", tt.words)
	}
	c.apply(policy(`@approve("quorum:9") permit (principal, action == Mcp::Action::"request", resource) when { context.seconds < 900 };`))
	_, err := c.BreakGlass(t.Context(), ann, spec)
	hasCode(t, "longer than may be asked for", err, access.CodeDenied, "no rule permits")
	c.apply(policy(`permit (principal == Mcp::Agent::"x", action, resource);`) + "---\nkind: Agent\nid: bot\nowner: team-platform\nstate: suspended\n")
	_, err = c.BreakGlass(t.Context(), ann, spec)
	hasCode(t, "an agent that is stopped", err, access.CodeDenied, "suspended")
	if list, err := c.Grants(t.Context(), grant.Filter{}); err != nil || len(list) > 0 {
		t.Errorf("%d grants, %v", len(list), err)
	}
}

// TestBreakGlassReplacesWhoApproves, however many policies want of whatever lives 15
// minutes.
func TestBreakGlassReplacesWhoApproves(t *testing.T) {
	c, spec := bare(t)
	c.apply("kind: Policy\nid: rule\ncedar: |\n  @approve(\"quorum:9\") permit (principal, action == Mcp::Action::\"request\", resource) when { context.seconds <= 900 };\n")
	if g, err := c.BreakGlass(t.Context(), c.presented("app"), spec); err != nil || g.Quorum != 1 {
		t.Errorf("%+v, %v", g, err)
	}
}

// TestWhoMayReview: another registered person with a role, and not whom the agent
// acted for.
func TestWhoMayReview(t *testing.T) {
	c, spec := bare(t)
	c.apply("kind: User\nid: aud\nroles: [auditor]\n")
	spec.Subject = "zoe"
	g, err := c.BreakGlass(t.Context(), c.presented("app"), spec)
	if err != nil {
		t.Fatal(err)
	}
	c.now = c.now.Add(time.Hour)
	say := admin.ReviewSpec{Verdict: grant.Justified, Comment: "it did"}
	for name, tt := range map[string]struct {
		actor admin.Actor
		words string
	}{
		"by self":                {user("app"), "another one"},
		"whom it acted for":      {user("zoe"), "acted for you"},
		"an operator":            {user("oper"), "needs the role"},
		"the operator token":     {admin.Actor{Kind: "user", ID: admin.OperatorToken, Host: true}, "a registered user"},
		"by self, as the keeper": {admin.Actor{Kind: "user", ID: "app", Host: true}, "another one"},
	} {
		_, err := c.ReviewGrant(t.Context(), tt.actor, g.ID, say)
		hasCode(t, name, err, access.CodeDenied, tt.words)
	}
	if r, err := c.ReviewGrant(t.Context(), user("aud"), g.ID, say); err != nil || r.By != "user:aud" {
		t.Errorf("%+v, %v", r, err)
	}
	list, err := c.Reviews(t.Context(), grant.Filter{State: grant.ReviewDone})
	if err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestNobodyBreaksTheGlassForThemselvesAtTierThree: where the agent acts for the
// person, another one must; below tier 3 the person may.
func TestNobodyBreaksTheGlassForThemselvesAtTierThree(t *testing.T) {
	for _, tt := range []struct {
		tier, by, subject string
		refused           bool
	}{
		{"2", "app", "app", false},
		{"3", "app", "app", true},
		{"3", "app", "zoe", false},
		{"3", "app", "", false},
	} {
		c, spec := bare(t)
		c.apply(filesServer + "classes: {read: {class: write, tier: " + tt.tier + "}}\n")
		spec.Subject = tt.subject
		_, err := c.BreakGlass(t.Context(), c.presented(tt.by), spec)
		switch {
		case tt.refused:
			hasCode(t, tt.by+" for "+tt.subject+" at tier "+tt.tier, err, access.CodeDenied, "somebody else must break the glass")
		case err != nil:
			t.Errorf("%s for %q at tier %s: %v", tt.by, tt.subject, tt.tier, err)
		}
	}
}
