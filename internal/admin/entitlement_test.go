package admin_test

import (
	"encoding/json"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/grant"
)

const entitlement = `kind: Entitlement
id: deploys
owner: team-ops
purpose: "ship: fixes # fast"
agents: [bot, other-bot]
classes: [coding]
tools: [ops/deploy, "ops/read_*"]
args:
  - {at: /to, in: [prod, "yes", "12", null, true]}
  - at: /n
    range: [-1.50, 12345678901234567890]
  - {at: "/a~1b", eq: {x: [1e3, "\u2028<&>"], "y z": {}}}
  - at: /q
    regex: '^a\d+"$'
maxTTL: 30m
maxUses: 5
budget: {unit: EUR-cent, amount: 50000, arg: "/total/amount"}
maxConcurrency: 3
window: {uses: 10, per: 90m}
maxBytesOut: 1000000
idleTTL: 10m
delegate: {maxDepth: 2, agents: [helper], classes: [helping]}
pendingTTL: 90s
approve: quorum:2:team-ops
---
kind: Team
id: team-ops
`

// TestEntitlementsRoundTrip: what is applied is what is exported, and a second
// apply changes nothing, constraints of every form included.
func TestEntitlementsRoundTrip(t *testing.T) {
	a := open(t)
	plan := a.apply(entitlement)
	e := a.Current().Rights["deploys"]
	equal(t, "ceiling", e.Ceiling, grant.Ceiling{Seconds: 1800, Uses: 5, Pending: 90, Limits: grant.Limits{Budget: grant.Budget{Unit: "EUR-cent", Amount: 50000, Arg: "/total/amount"},
		Concurrency: 3, Window: grant.Window{Uses: 10, Seconds: 5400}, BytesOut: 1_000_000, Idle: 600}})
	equal(t, "rule", e.Approve, grant.Rule{Quorum: 2, Team: "team-ops"})
	equal(t, "state", e.State, grant.EntitlementActive)
	equal(t, "delegate", e.Delegate, grant.Delegate{MaxDepth: 2, Agents: []string{"helper"}, Classes: []string{"helping"}})
	equal(t, "constraints", len(e.Args), 4)
	equal(t, "a number", string(e.Args[1].Operand()), "[-1.5,12345678901234567890]")
	var notes []string
	for _, it := range plan.Items {
		notes = append(notes, it.Notes...)
	}
	if got := strings.Join(notes, "\n"); !strings.Contains(got, `agents: "bot" is not registered`) {
		t.Errorf("notes: %s", got)
	}
	if p := a.apply(entitlement); p.Changes() {
		t.Errorf("a second apply changes %+v", p.Items)
	}
	text := a.export()
	if p := a.apply(text); p.Changes() {
		t.Errorf("applying the export changes %+v", p.Items)
	}
	b := open(t)
	b.apply(text)
	equal(t, "export of the export", b.export(), text)
	equal(t, "entitlement", b.Current().Rights["deploys"], e)
	c := reopen(t, a.store, a.evidence, admin.ModeEnforce) // as the store keeps it
	equal(t, "stored", c.Current().Rights["deploys"], e)
}

// TestDiffOfEntitlements shows what would change and changes nothing.
func TestDiffOfEntitlements(t *testing.T) {
	a := open(t)
	a.apply(entitlement)
	p, err := a.Diff(t.Context(), doc(strings.Replace(strings.Replace(entitlement, "maxUses: 5", "maxUses: 6", 1), "[prod,", "[prod, test,", 1)))
	if err != nil || !p.Changes() {
		t.Fatalf("%+v, %v", p, err)
	}
	raw, err := json.Marshal(p.Items)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, w := range []string{"args", "6", "test"} {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in %s", w, text)
		}
	}
	equal(t, "uses", a.Current().Rights["deploys"].Ceiling.Uses, int64(5))
}

func TestEntitlementManifestsThatAreRefused(t *testing.T) {
	const good = "kind: Entitlement\nid: e\nowner: team\nagents: [a]\ntools: [s/t]\n"
	for name, c := range map[string]struct{ text, want string }{
		"no owner":           {"kind: Entitlement\nid: e\nagents: [a]\ntools: [s/t]\n", "owner: is required"},
		"no tools":           {"kind: Entitlement\nid: e\nowner: team\nagents: [a]\n", "tools: is required"},
		"nobody":             {"kind: Entitlement\nid: e\nowner: team\ntools: [s/t]\n", "m.yaml:1:1: agents: is required"},
		"bad id":             {strings.Replace(good, "id: e", "id: E", 1), `m.yaml:2:5: id: "E" cannot be an id`},
		"bad agent":          {strings.Replace(good, "[a]", "[a, B]", 1), `agents: "B" cannot be an id`},
		"bad class":          {good + "classes: [\"x y\"]\n", `m.yaml:6:10: classes: "x y" cannot be an id`},
		"bad tool":           {strings.Replace(good, "[s/t]", "[s/t, nonsense]", 1), "m.yaml:5:14: tools[1]:"},
		"tools as text":      {strings.Replace(good, "[s/t]", "s/t", 1), "m.yaml:5:8: tools: must be a list"},
		"unknown key":        {good + "maxUse: 3\n", `do you mean "maxUses"?`},
		"no uses":            {good + "maxUses: 0\n", "m.yaml:6:10: maxUses:"},
		"half a use":         {good + "maxUses: 1.5\n", "maxUses:"},
		"half a budget":      {good + "budget: {unit: x, amount: 5}\n", "arg"},
		"a budget of parts":  {good + "budget: {unit: x, amount: 1.5, arg: /a}\n", "amount"},
		"no pointer":         {good + "budget: {unit: x, amount: 5, arg: a}\n", "JSON pointer"},
		"a window of none":   {good + "window: {uses: 0, per: 1h}\n", "uses"},
		"a long window":      {good + "window: {uses: 1, per: 25h}\n", "per"},
		"too deep":           {good + "delegate: {maxDepth: 4, agents: [a]}\n", "maxDepth"},
		"to nobody":          {good + "delegate: {maxDepth: 1}\n", "agents"},
		"to a bad id":        {good + "delegate: {maxDepth: 1, agents: [A_b]}\n", "cannot be an id"},
		"many uses":          {good + "maxUses: 1000001\n", "maxUses:"},
		"a long life":        {good + "maxTTL: 25h\n", "m.yaml:6:9: maxTTL:"},
		"a short life":       {good + "maxTTL: 100ms\n", "maxTTL:"},
		"a life of words":    {good + "maxTTL: soon\n", "maxTTL:"},
		"a long wait":        {good + "pendingTTL: 48h\n", "pendingTTL:"},
		"rule":               {good + "approve: quorum:0\n", `m.yaml:6:10: approve: "quorum:0" is not a rule`},
		"rule of a team":     {good + "approve: quorum:1:Team\n", "approve:"},
		"state":              {good + "state: paused\n", `state: "paused" is unknown`},
		"args as text":       {good + "args: none\n", "m.yaml:6:7: args: constraints: must be an array"},
		"args without at":    {good + "args: [{eq: 1}]\n", "args: constraint 0"},
		"unknown operator":   {good + "args: [{at: /x, like: a}]\n", "args: constraint 0"},
		"operator twice":     {good + "args: [{at: /x, eq: 1, in: [1]}]\n", "args: constraint 0"},
		"second of them":     {good + "args:\n- {at: /x, eq: 1}\n- {at: x, eq: 1}\n", "args: constraint 1"},
		"key twice":          {good + "args: [{at: /x, at: /y, eq: 1}]\n", "args"},
		"key twice, deep":    {good + "args: [{at: /x, eq: {a: 1, a: 2}}]\n", "args"},
		"octal":              {good + "args: [{at: /x, eq: 0o17}]\n", `"0o17" is not a number JSON has`},
		"infinity":           {good + "args: [{at: /x, eq: .inf}]\n", `".inf" is not a number JSON has`},
		"hexadecimal":        {good + "args: [{at: /x, eq: 0xff}]\n", `"0xff" is not a number JSON has`},
		"deep":               {good + "args: [{at: /x, eq: " + strings.Repeat("[", 20) + strings.Repeat("]", 20) + "}]\n", "nested more than 16 deep"},
		"a bad expression":   {good + "args: [{at: /x, regex: '('}]\n", "args: constraint 0"},
		"an alias":           {good + "args: [{at: /x, eq: &a 1}, {at: /y, eq: *a}]\n", ""},
		"declared twice":     {good + "---\n" + good, `Entitlement "e" is declared twice`},
		"a policy of its id": {good + "---\nkind: Policy\nid: p\ncedar: |\n  @id(\"entitlement.e.a.s\") forbid (principal, action, resource);\n", "reserved"},
	} {
		o := open(t)
		_, err := o.Apply(t.Context(), ann, doc(c.text), false)
		hasCode(t, name, err, access.CodeInvalid, c.want)
		if len(o.Current().Rights) != 0 || len(o.evidence.said()) != 0 {
			t.Errorf("%s: something was changed", name)
		}
	}
}

// TestRetiredEntitlementsStopAsking, and one that says no state keeps its own.
func TestRetiredEntitlementsStopAsking(t *testing.T) {
	o := desk(t)
	asks := func() bool {
		set := o.Current().Set
		return set.EntitlementOf("entitlement.deploys.bot.files") == "deploys"
	}
	if !asks() {
		t.Fatal("the control asks not")
	}
	o.apply(strings.Replace(deskRight, "approve:", "state: retired\napprove:", 1))
	if asks() {
		t.Error("a retired one asks")
	}
	o.apply(deskRight)
	if asks() || o.Current().Rights["deploys"].State != grant.EntitlementRetired {
		t.Error("a manifest that says no state lifts its retirement")
	}
	o.apply(strings.Replace(deskRight, "approve:", "state: active\napprove:", 1))
	if !asks() {
		t.Error("it cannot come back")
	}
	if !strings.Contains(strings.Join(o.evidence.said(), "\n"), "Entitlement deploys") {
		t.Errorf("evidence: %v", o.evidence.said())
	}
}

// TestWhoMayDeclareEntitlements: as policies; another role changes nothing.
func TestWhoMayDeclareEntitlements(t *testing.T) {
	for role, may := range map[string]bool{"viewer": false, "auditor": false, "approver": false, "operator": true, "admin": true} {
		o := open(t)
		o.apply("kind: User\nid: x\nroles: [" + role + "]\n")
		_, err := o.Apply(t.Context(), admin.Actor{Kind: "user", ID: "x"}, doc(strings.SplitN(entitlement, "---", 2)[0]), false)
		if may != (err == nil) || len(o.Current().Rights) == 1 != may {
			t.Errorf("%s: %v", role, err)
		}
		if !may {
			hasCode(t, role, err, access.CodeDenied, "needs the role")
		}
	}
}
