package admin_test

import (
	"strings"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/fact"
)

const facts = `kind: Fact
id: transfers_1h
owner: team
purpose: "what was sent: an hour"
type: limit
on: {server: pay, tool: transfer}
window: 1h
key: [subject, agent]
agg: sum(/amount)
---
kind: Fact
id: calls_1m
owner: team
type: rate
on: {action: call}
window: 1m
key: [agent]
agg: count
---
kind: Fact
id: checked
owner: team
type: prior
on: {server: "pay*", tool: "fraud_*", outcome: ok}
within: 15m
key: [agent]
bind: {/who/customer: /customer, "/a~1b/0": /b}
---
kind: Fact
id: saw_web
owner: team
type: taint
on: {resultLabel: "source:web"}
scope: session
agg: seen
---
kind: Policy
id: limits
cedar: |
  forbid (principal, action in Mcp::Action::"call", resource)
  when { context.facts.transfers_1h > 5000 || context.facts.calls_1m >= 120 || context.facts.saw_web }
  unless { context.facts.checked };
`

// TestFactsRoundTrip: what is applied is what is exported, and a second apply
// changes nothing.
func TestFactsRoundTrip(t *testing.T) {
	a := open(t)
	plan := a.apply(facts)
	f := a.Current().Facts["transfers_1h"]
	equal(t, "key", f.Key, []string{"agent", "subject"})
	equal(t, "window", f.Seconds, int64(3600))
	equal(t, "state", f.State, fact.Active)
	equal(t, "bind", a.Current().Facts["checked"].Bind, []fact.Bind{{Earlier: "/a~1b/0", Now: "/b"}, {Earlier: "/who/customer", Now: "/customer"}})
	for _, it := range plan.Items {
		if it.Kind == "Fact" && strings.Contains(strings.Join(it.Notes, " "), "no policy reads") {
			t.Errorf("%s is read: %v", it.ID, it.Notes)
		}
	}
	if p := a.apply(facts); p.Changes() {
		t.Errorf("a second apply changes %+v", p.Items)
	}
	text := a.export()
	if p := a.apply(text); p.Changes() {
		t.Errorf("applying the export changes %+v", p.Items)
	}
	b := open(t)
	b.apply(text)
	equal(t, "export of the export", b.export(), text)
	equal(t, "facts", b.Current().Facts, a.Current().Facts)
	c := reopen(t, a.store, a.evidence, admin.ModeEnforce)
	equal(t, "stored", c.Current().Facts, a.Current().Facts)
	equal(t, "read", c.Current().Set.FactsRead(), []string{"calls_1m", "checked", "saw_web", "transfers_1h"})
}

// TestFactsPoliciesReadCannotGo: neither by name nor by retiring them, and a
// policy cannot come before its fact. Nothing half-applies.
func TestFactsPoliciesReadCannotGo(t *testing.T) {
	a := open(t)
	first, rest, _ := strings.Cut(facts, "---\n")
	if _, err := a.Apply(t.Context(), ann, doc(rest), false); err == nil || !strings.Contains(err.Error(), "m.yaml:31:22: cedar: no fact `transfers_1h` is declared") {
		t.Errorf("a policy before its fact: %v", err)
	}
	if len(a.Current().Facts) != 0 {
		t.Error("half of it was applied")
	}
	a.apply(facts)
	retired := first + "state: retired\n"
	if _, err := a.Apply(t.Context(), ann, doc(retired), false); err == nil || !strings.Contains(err.Error(), "make it active again") {
		t.Errorf("a fact goes that is read: %v", err)
	}
	if a.Current().Facts["transfers_1h"].State != fact.Active {
		t.Error("it has gone")
	}
	other := "---\nkind: Policy\nid: limits\ncedar: |\n  forbid (principal, action, resource) when { context.facts.calls_1m > 3 };\n"
	a.apply(retired + other)
	a.apply(first) // a manifest that says no state leaves it
	if a.Current().Facts["transfers_1h"].State != fact.Retired {
		t.Error("a manifest without a state brings it back")
	}
	if _, err := a.Apply(t.Context(), ann, doc(facts), false); err == nil {
		t.Error("a retired fact is read")
	}
	if p := a.apply(first + "state: active\n"); !strings.Contains(strings.Join(p.Items[0].Notes, " "), "no policy reads context.facts.transfers_1h") {
		t.Errorf("nobody is told that nothing is counted: %v", p.Items[0].Notes)
	}
}

func TestFactManifestsThatAreRefused(t *testing.T) {
	const good = "kind: Fact\nid: f\nowner: team\ntype: limit\non: {server: s, tool: t}\nwindow: 1h\nkey: [agent]\nagg: count\n"
	const prior = "kind: Fact\nid: f\nowner: team\ntype: prior\non: {server: s, tool: t}\nwithin: 1h\nkey: [agent]\n"
	const taint = "kind: Fact\nid: f\nowner: team\ntype: taint\non: {server: s}\n"
	swap := func(text, old, with string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("%q is not in %q", old, text)
		}
		return strings.Replace(text, old, with, 1)
	}
	for name, c := range map[string]struct{ text, want string }{
		"an id with a dash":      {swap(good, "id: f", "id: a-b"), `m.yaml:2:5: id: "a-b" cannot be the id of a fact`},
		"an id of Cedar":         {swap(good, "id: f", "id: like"), `id: "like" cannot be`},
		"no owner":               {swap(good, "owner: team\n", ""), "owner: is required"},
		"no type":                {swap(good, "type: limit\n", ""), "type: is required"},
		"another type":           {swap(good, "type: limit", "type: quota"), `m.yaml:4:7: type: "quota" is unknown: use limit, rate, prior, taint`},
		"on nothing":             {swap(good, "on: {server: s, tool: t}\n", ""), "on: is required"},
		"on every call":          {swap(good, "{server: s, tool: t}", "{}"), "on: is required"},
		"a tool of any server":   {swap(good, "server: s, ", ""), "m.yaml:5:5: on.server: is required with tool"},
		"an unknown group":       {swap(good, "{server: s, tool: t}", "{action: admin}"), `on.action: "admin" is no group`},
		"an outcome of a limit":  {swap(good, "tool: t}", "tool: t, outcome: ok}"), "m.yaml:5:35: on.outcome: how a call ends is not known"},
		"a label of a limit":     {swap(good, "tool: t}", "tool: t, resultLabel: x}"), "on.resultLabel: is known only after a call"},
		"no window":              {swap(good, "window: 1h\n", ""), "window: must be from 1s to 744h0m0s for a limit"},
		"half a second":          {swap(good, "window: 1h", "window: 1500ms"), "m.yaml:6:9: window: must be whole seconds"},
		"a long window":          {swap(good, "window: 1h", "window: 800h"), "m.yaml:6:9: window:"},
		"a long rate":            {swap(swap(good, "limit", "rate"), "1h", "25h"), "window: must be from 1s to 24h0m0s for a rate"},
		"no key":                 {swap(good, "key: [agent]\n", ""), "key: is required"},
		"a key a caller chooses": {swap(good, "[agent]", "[agent, client]"), `m.yaml:7:6: key: "client" cannot be part of a key: a key is made of what the gateway has verified`},
		"a key of an argument":   {swap(good, "[agent]", `["$.customer"]`), "because a caller would escape a counter whose key it can choose"},
		"no aggregate":           {swap(good, "agg: count\n", ""), "agg: is required"},
		"another aggregate":      {swap(good, "count", "avg(/n)"), `m.yaml:8:6: agg: "avg(/n)" is no aggregate`},
		"a path":                 {swap(good, "count", "sum($.amount)"), "agg:"},
		"a sum of everything":    {swap(good, "count", "sum()"), "agg:"},
		"within of a limit":      {good + "within: 1h\n", "m.yaml:9:9: within: a limit has no within: remove it"},
		"bind of a limit":        {good + "bind: {/a: /b}\n", "bind: a limit has no bind"},
		"an unknown key":         {good + "windows: 1h\n", `do you mean "window"?`},
		"another outcome":        {swap(prior, "tool: t}", "tool: t, outcome: error}"), `on.outcome: "error" is unknown`},
		"a bad pointer":          {prior + "bind: {customer: /customer}\n", `m.yaml:8:7: bind: "customer": not a JSON pointer`},
		"a prior of anybody":     {swap(prior, "[agent]", "[server]"), "key: must hold agent, subject, session or task"},
		"agg of a prior":         {prior + "agg: count\n", "agg: a prior has no agg"},
		"a taint of a task":      {taint + "scope: task\n", `m.yaml:6:8: scope: "task" is unknown`},
		"a key of a taint":       {taint + "key: [agent]\n", "key: a taint has no key"},
		"agg of a taint":         {taint + "agg: count\n", `agg: "count" is unknown`},
		"a state":                {good + "state: suspended\n", "state:"},
	} {
		a := open(t)
		_, err := a.Apply(t.Context(), ann, doc(c.text), false)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %q", name, err, c.want)
		}
		if len(a.Current().Facts) != 0 {
			t.Errorf("%s: it is declared", name)
		}
	}
	a := open(t)
	for _, text := range []string{good, prior, taint} {
		a.apply(text)
		a.apply(swap(text, "id: f", "id: g2_x"))
	}
}
