package admin_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/grant"
	"rutile/internal/rawjson"
	"rutile/internal/store"
	"rutile/internal/store/storetest"
)

const deskRight = `kind: Entitlement
id: deploys
owner: team-platform
agents: [bot]
tools: ["files/*"]
approve: quorum:1
`

const deskPeople = `kind: User
id: app
roles: [approver]
---
kind: User
id: two
roles: [approver]
---
kind: User
id: zoe
roles: [approver]
---
kind: User
id: vic
roles: [viewer]
---
kind: User
id: oper
roles: [operator]
---
kind: Team
id: team-a
members: [app, vic, zoe]
---
kind: Team
id: team-platform
---
kind: Agent
id: bot
owner: team-platform
`

// counter is an office with a desk.
type counter struct {
	*office
	*admin.Desk
	broker *grant.Broker
	now    time.Time
}

type silent struct{}

func (silent) Record(context.Context, []grant.Event) error                { return nil }
func (silent) Settle(context.Context, []access.Owed) error                { return nil }
func (silent) Seal(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }
func (silent) Open(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }

// noIssuer ends whatever was minted.
func noIssuer(context.Context, grant.Minted, []byte) string { return "" }

func user(id string) admin.Actor { return admin.Actor{Kind: "user", ID: id} }

// desk is a gateway with people, a server with the approved tool read of tier 2,
// and an entitlement.
func desk(t *testing.T) *counter {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{DSN: "sqlite", Dir: storetest.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	c := &counter{office: open(t), now: day}
	c.apply(deskPeople + "---\n" + filesServer + "---\n" + deskRight)
	c.listing("files", "read", "reads")
	if c.broker, err = grant.New(t.Context(), grant.Config{Node: "n1", Boot: "b1"}, s, silent{}, silent{}, func() time.Time { return c.now }); err != nil {
		t.Fatal(err)
	}
	if c.Desk, err = admin.NewDesk(c.Admin, c.broker, "https://gw", noIssuer, noCalls{}); err != nil {
		t.Fatal(err)
	}
	return c
}

// ask opens a request of bot, acting for zoe, on the tool as it is now.
func (c *counter) ask(rule grant.Rule, tier int) grant.Request {
	c.t.Helper()
	args, err := rawjson.Parse([]byte(`{"tag":"`+access.NewID("")+`"}`), rawjson.Limits{})
	if err != nil {
		c.t.Fatal(err)
	}
	return c.asks(rule, tier, args, "zoe")
}

// asks opens one with these arguments, for a person.
func (c *counter) asks(rule grant.Rule, tier int, args rawjson.Value, subject string) grant.Request {
	c.t.Helper()
	tool, _ := c.Current().View.Tool("files", "read")
	q, err := c.broker.Open(c.t.Context(), grant.Ask{Call: grant.Call{Party: grant.Party{Agent: "bot", Issuer: "https://gw", Subject: subject}, Args: args, At: c.now,
		Target: grant.Target{Server: "files", Kind: access.KindTool, Name: "read", Digest: tool.PinDigest, Tier: tier}},
		Entitlement: &grant.Entitlement{ID: "deploys", Approve: rule}})
	if err != nil {
		c.t.Fatal(err)
	}
	return q
}

// TestWhoMayApprove what by which rule.
func TestWhoMayApprove(t *testing.T) {
	c := desk(t)
	one, two, team := grant.Rule{Quorum: 1}, grant.Rule{Quorum: 2}, grant.Rule{Quorum: 1, Team: "team-a"}
	operator := admin.Actor{Kind: "user", ID: admin.OperatorToken, Host: true}
	root := admin.Actor{Kind: "local", ID: "0", Host: true}
	for name, tt := range map[string]struct {
		actor admin.Actor
		rule  grant.Rule
		tier  int
		code  access.Code
		words string
	}{
		"an approver":                       {user("app"), one, 2, "", ""},
		"an approver, of two":               {user("app"), two, 2, "", ""},
		"a member":                          {user("app"), team, 2, "", ""},
		"the person it acts for, below 3":   {user("zoe"), one, 2, "", ""},
		"the keeper alone":                  {operator, one, 2, "", ""},
		"root alone":                        {root, one, 2, "", ""},
		"no member":                         {user("two"), team, 2, access.CodeDenied, "team-a"},
		"a member without the role":         {user("vic"), team, 2, access.CodeDenied, "needs the role"},
		"an operator":                       {user("oper"), one, 2, access.CodeDenied, "needs the role"},
		"nobody registered":                 {user("eve"), one, 2, access.CodeUnauthenticated, ""},
		"nobody":                            {admin.Actor{}, one, 2, access.CodeUnauthenticated, ""},
		"an agent":                          {admin.Actor{Kind: "agent", ID: "bot", Host: true}, one, 2, access.CodeUnauthenticated, ""},
		"the gateway itself":                {admin.System(), one, 2, access.CodeDenied, "only a person"},
		"the keeper, of two":                {operator, two, 2, access.CodeDenied, "registered user"},
		"root, of a team":                   {root, team, 2, access.CodeDenied, "registered user"},
		"the keeper at tier 3":              {operator, one, 3, access.CodeDenied, "registered user"},
		"the person it acts for, at tier 3": {user("zoe"), one, 3, access.CodeDenied, "acts for"},
		"somebody else at tier 3":           {user("app"), one, 3, "", ""},
		"a keeper who is a user, at tier 3": {admin.Actor{Kind: "user", ID: "app", Host: true}, one, 3, "", ""},
		"the person, as keeper, at tier 3":  {admin.Actor{Kind: "user", ID: "zoe", Host: true}, one, 3, access.CodeDenied, "acts for"},
		"a token that does not count":       {admin.Actor{Kind: "user", ID: "app", Token: "pat_none"}, one, 2, access.CodeUnauthenticated, ""},
		"a keeper's token that counts not":  {admin.Actor{Kind: "user", ID: "app", Token: "pat_none", Host: true}, one, 2, access.CodeUnauthenticated, ""},
	} {
		q := c.ask(tt.rule, tt.tier)
		v, err := c.Approve(t.Context(), tt.actor, q.ID, grant.Answer{By: "user:forged", Method: "api"})
		if tt.code != "" {
			hasCode(t, name, err, tt.code, tt.words)
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		kept, _, rerr := c.broker.Archive().Request(t.Context(), q.ID)
		if rerr != nil || len(kept.Approvals) != len(v.Approvals) || (err == nil) != (len(kept.Approvals) == 1) {
			t.Errorf("%s: %+v, %v", name, kept, rerr)
		} else if err == nil && kept.Approvals[0].By != tt.actor.String() {
			t.Errorf("%s: approved by %q", name, kept.Approvals[0].By)
		}
		if err == nil {
			continue
		}
		_, err = c.Deny(t.Context(), tt.actor, q.ID, "")
		if allowed := strings.Contains(tt.words, "registered") || strings.Contains(tt.words, "acts for") || tt.words == "team-a"; allowed != (err == nil) {
			t.Errorf("%s denies: %v", name, err)
		}
	}
}

// TestAQuorumIsOfPeople: one person with two faces is one.
func TestAQuorumIsOfPeople(t *testing.T) {
	c := desk(t)
	q := c.ask(grant.Rule{Quorum: 2}, 3)
	if _, err := c.Approve(t.Context(), user("app"), q.ID, grant.Answer{}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Approve(t.Context(), admin.Actor{Kind: "user", ID: "app", Host: true}, q.ID, grant.Answer{})
	hasCode(t, "again as the keeper", err, access.CodeConflict, "already")
	tok := c.token("app")
	again, err := c.Authenticate(t.Context(), tok.Token)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Approve(t.Context(), again, q.ID, grant.Answer{})
	hasCode(t, "again with a token", err, access.CodeConflict, "already")
	v, err := c.Approve(t.Context(), user("two"), q.ID, grant.Answer{})
	if err != nil || v.State != grant.RequestIssued {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestWhatChangedIsVoid: another definition and a higher tier; the answer says
// so and the request is over.
func TestWhatChangedIsVoid(t *testing.T) {
	for name, tier := range map[string]int{"the definition": 2, "the tier": 1} {
		c := desk(t)
		q := c.ask(grant.Rule{Quorum: 1}, tier) // the tool is of tier 2
		if tier == 2 {
			c.listing("files", "read", "reads everything")
			if _, err := c.ApproveTool(t.Context(), ann, "files", "read", admin.Approval{}); err != nil {
				t.Fatal(err)
			}
		}
		_, err := c.Approve(t.Context(), user("app"), q.ID, grant.Answer{})
		hasCode(t, name, err, access.CodeConflict, "void", name)
		v, err := c.Request(t.Context(), q.ID)
		if err != nil || v.State != grant.RequestInvalid || v.Grant != "" {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
		_, err = c.Approve(t.Context(), user("app"), q.ID, grant.Answer{})
		hasCode(t, name+", again", err, access.CodeConflict)
	}
}

// TestTheDeskShowsWhatIsAsked exactly as it was sent.
func TestTheDeskShowsWhatIsAsked(t *testing.T) {
	c := desk(t)
	q := c.ask(grant.Rule{Quorum: 1}, 2)
	v, err := c.Request(t.Context(), q.ID)
	if err != nil || !v.Current || !strings.HasPrefix(string(v.Arguments), `{"tag":"`) {
		t.Errorf("%+v, %v", v, err)
	}
	for what, err := range map[string]error{
		"request": second(c.Request(t.Context(), "req_x")), "grant": second(c.Desk.Grant(t.Context(), "grt_x")), "task": second(c.Task(t.Context(), "tsk_x")),
		"approve": second(c.Approve(t.Context(), user("app"), "req_x", grant.Answer{})), "deny": second(c.Deny(t.Context(), user("app"), "req_x", "")),
		"revoke": second(c.RevokeGrant(t.Context(), user("app"), "grt_x", "")), "close": second(c.CloseTask(t.Context(), user("app"), "tsk_x", "")),
	} {
		hasCode(t, what, err, access.CodeNotFound)
	}
}

func second[T any](_ T, err error) error { return err }

// TestGrantsByHand need a registered agent, an approved tool and the right role.
func TestGrantsByHand(t *testing.T) {
	c := desk(t)
	good := admin.GrantSpec{Agent: "bot", Server: "files", Tool: "read", Subject: "zoe", Uses: 2, Seconds: 60}
	g, err := c.CreateGrant(t.Context(), user("oper"), good)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "party", g.Party, grant.Party{Agent: "bot", Issuer: "https://gw", Subject: "zoe"})
	if g.Target.Digest == "" || g.Target.Digest != c.Digest(g.Target) || g.Approvals[0].By != "user:oper" || !g.Expires.Equal(day.Add(time.Minute)) {
		t.Errorf("%+v", g)
	}
	for name, tt := range map[string]struct {
		actor  admin.Actor
		change func(*admin.GrantSpec)
		code   access.Code
	}{
		"unknown agent":  {ann, func(s *admin.GrantSpec) { s.Agent = "eve" }, access.CodeNotFound},
		"unknown server": {ann, func(s *admin.GrantSpec) { s.Server = "none" }, access.CodeNotFound},
		"unknown tool":   {ann, func(s *admin.GrantSpec) { s.Tool = "none" }, access.CodeNotFound},
		"unknown task":   {ann, func(s *admin.GrantSpec) { s.Task = "tsk_none" }, access.CodeInvalid},
		"negative uses":  {ann, func(s *admin.GrantSpec) { s.Uses = -1 }, access.CodeInvalid},
		"backwards":      {ann, func(s *admin.GrantSpec) { s.Seconds = -5 }, access.CodeInvalid},
		"over a day":     {ann, func(s *admin.GrantSpec) { s.Seconds = 86401 }, access.CodeInvalid},
		"wrapped around": {ann, func(s *admin.GrantSpec) { s.Seconds = 18446744077 }, access.CodeInvalid},
		"a viewer":       {user("vic"), func(*admin.GrantSpec) {}, access.CodeDenied},
		"the gateway":    {admin.System(), func(*admin.GrantSpec) {}, access.CodeDenied},
		"two lines":      {ann, func(s *admin.GrantSpec) { s.Reason = "a\nb" }, access.CodeInvalid},
	} {
		s := good
		tt.change(&s)
		_, err := c.CreateGrant(t.Context(), tt.actor, s)
		hasCode(t, name, err, tt.code)
	}
	task, err := c.OpenTask(t.Context(), user("app"), grant.Party{Agent: "bot", Subject: "zoe"}, grant.TaskSpec{Purpose: "x"})
	if err != nil {
		t.Fatal(err)
	}
	s := good
	s.Task = task.ID
	if _, err := c.CreateGrant(t.Context(), ann, s); err != nil {
		t.Fatal(err)
	}
	v, err := c.Task(t.Context(), task.ID)
	if err != nil || len(v.Grants) != 1 {
		t.Errorf("%+v, %v", v, err)
	}
	for what, err := range map[string]error{
		"revoke": second(c.RevokeGrant(t.Context(), user("vic"), g.ID, "")), "close": second(c.CloseTask(t.Context(), user("vic"), task.ID, "")),
		"open": second(c.OpenTask(t.Context(), user("vic"), grant.Party{Agent: "bot"}, grant.TaskSpec{Purpose: "x"})),
	} {
		hasCode(t, what+" as a viewer", err, access.CodeDenied)
	}
	_, err = c.OpenTask(t.Context(), ann, grant.Party{Agent: "eve"}, grant.TaskSpec{Purpose: "x"})
	hasCode(t, "a task of an unknown agent", err, access.CodeNotFound)
	if _, err := c.RevokeGrant(t.Context(), user("app"), g.ID, "enough"); err != nil {
		t.Error(err)
	}
	if _, err := c.CloseTask(t.Context(), user("app"), task.ID, "done"); err != nil {
		t.Error(err)
	}
}

// noCalls is that nothing runs.
type noCalls struct{}

func (noCalls) Recalling() func([]string) int { return func([]string) int { return 0 } }
