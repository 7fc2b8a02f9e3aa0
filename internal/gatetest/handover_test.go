package gatetest_test

import (
	"fmt"
	"strings"
	"testing"

	"rutile/internal/admin"
)

const spendRight = `---
kind: Entitlement
id: spend
owner: team
agents: [bot]
tools: ["up/echo"]
budget: {unit: EUR-cent, amount: 100, arg: /n}
maxUses: 5
delegate: {maxDepth: 1, agents: [eve]}
---
kind: Agent
id: eve
owner: team
riskTier: 2
`

// A right with a budget is handed on in part from agent to agent: who receives it
// sees the tool and spends no more than its part, and loses it with the giver's.
func TestARightIsHandedOn(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r := newRig(t)
	r.apply(strings.NewReplacer(`tools: ["up/*"]`, `tools: ["up/else"]`, "UP", u.URL+"/mcp").Replace(governs)+spendRight, "up")
	bot, eve, third := r.token("bot", "rutile"), r.token("eve", "rutile"), r.token("bot", "up")
	upEve := r.token("eve", "up")
	if got := listed(t, r.list(upEve, "up").msg.Result); len(got) != 0 {
		t.Errorf("who holds nothing sees %q", got)
	}
	asked, problem, _ := r.own(bot, "rutile", "rutile_access_request", `{"server":"up","tool":"echo","scope":"time","limits":{"budget":{"amount":60}},"reason":"we buy"}`)
	if asked.Request.ID == "" {
		t.Fatal(problem)
	}
	approve(t, r, asked.Request.ID)
	said, _, _ := r.own(bot, "rutile", "rutile_access_status", `{}`)
	root := said.Grants[0].ID
	hand := func(args string) (told, string) {
		said, problem, _ := r.own(bot, "rutile", "rutile_access_delegate", args)
		return said, problem
	}
	if _, problem := hand(fmt.Sprintf(`{"grant":%q,"agent":"nobody","reason":"help"}`, root)); !strings.Contains(problem, "does not let agent") {
		t.Errorf("to an agent that is none: %q", problem)
	}
	if _, problem := hand(fmt.Sprintf(`{"grant":%q,"agent":"eve","uses":2,"limits":{"budget":{"amount":61}},"reason":"help"}`, root)); !strings.Contains(problem, "at most 60") {
		t.Errorf("more than there is: %q", problem)
	}
	args := fmt.Sprintf(`{"grant":%q,"agent":"eve","uses":2,"limits":{"budget":{"amount":20}},"reason":"help"}`, root)
	if _, problem := hand(args); !strings.Contains(problem, "risk tier") {
		t.Errorf("to a riskier agent: %q", problem)
	}
	r.apply(strings.NewReplacer(`tools: ["up/*"]`, `tools: ["up/else"]`, "UP", u.URL+"/mcp").Replace(governs) + strings.Replace(spendRight, "riskTier: 2", "riskTier: 1", 1))
	if _, err := r.d.Admin.ChangeAgent(t.Context(), operator, "eve", "suspend", "away"); err != nil {
		t.Fatal(err)
	}
	if _, problem := hand(args); !strings.Contains(problem, "not active") {
		t.Errorf("to a suspended agent: %q", problem)
	}
	if _, err := r.d.Admin.ChangeAgent(t.Context(), operator, "eve", "resume", "back"); err != nil {
		t.Fatal(err)
	}
	part, problem := hand(args)
	if part.Grant.ID == "" {
		t.Fatal(problem)
	}
	if got := listed(t, r.list(upEve, "up").msg.Result); len(got) != 1 || got[0] != "echo" {
		t.Errorf("who received a part sees %q", got)
	}
	if _, problem, _ := r.own(eve, "rutile", "rutile_access_delegate", fmt.Sprintf(`{"grant":%q,"agent":"bot","reason":"back"}`, part.Grant.ID)); problem == "" {
		t.Error("it was handed back in a circle")
	}
	spend := func(token string, amount string) string {
		t.Helper()
		raw := r.call(token, "up", "echo", `{"n":`+amount+`}`)
		return problemOf(raw.msg.Result)
	}
	for _, c := range []struct {
		token, amount string
		passes        bool
	}{{upEve, "15", true}, {upEve, "6", false}, {upEve, "5.0", false}, {upEve, `"5"`, false}, {third, "41", false}, {third, "40", true}, {third, "1", false}, {upEve, "5", true}, {upEve, "0", false}} {
		n := u.count()
		problem := spend(c.token, c.amount)
		if passed := problem == "" && u.count() == n+1; passed != c.passes || !passed && u.count() != n {
			t.Errorf("%s: %q, %d calls arrived", c.amount, problem, u.count()-n)
		}
	}
	// One step ends the tree.
	g, err := r.d.Desk.CreateGrant(t.Context(), operator, admin.GrantSpec{Agent: "bot", Server: "up", Tool: "echo"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.d.Desk.DelegateGrant(t.Context(), operator, g.ID, admin.Handover{To: "eve"}); err == nil {
		t.Error("a grant without an entitlement was handed on")
	}
}
