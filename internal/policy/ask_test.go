package policy_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/policy"
)

// baselineAsks are the three permits of access.md 2.4, as far as this version has
// what they read.
const baselineAsks = `@id("ask.auto") @approve("auto")
permit (principal, action == Mcp::Action::"request", resource)
when { context.tier <= 1 && context.seconds <= 3600 && context.uses <= 50 };
@id("ask.owner") @approve("quorum:1:owner")
permit (principal, action == Mcp::Action::"request", resource) when { context.tier <= 2 && context.seconds <= 28800 }
unless { context.tier <= 1 && context.seconds <= 3600 && context.uses <= 50 };
@id("ask.secops") @approve("quorum:2:secops")
permit (principal, action == Mcp::Action::"request", resource) when { context.tier >= 3 && context.seconds <= 3600 };`

// TestWhatIsAskedForIsAnsweredByItsReach: tier, seconds and uses, agent, server and
// class of the tool decide who must approve.
func TestWhatIsAskedForIsAnsweredByItsReach(t *testing.T) {
	set := compile(t, policy.Catalog{}, baselineAsks,
		`@id("ask.pay") @approve("quorum:1:finance") permit (principal, action == Mcp::Action::"request", resource in Mcp::Server::"pay");`,
		`@id("ask.never") @advice("ask ann") forbid (principal == Mcp::Agent::"rogue", action == Mcp::Action::"request", resource);`,
		`@id("ask.no") @approve("deny") permit (principal, action == Mcp::Action::"request", resource in Mcp::ToolClass::"destroy");`)
	for name, tt := range map[string]struct {
		agent, server string
		tier          int
		seconds, uses int64
		class         string
		denied        bool
		approve       string
	}{
		"a little":              {"bot", "s", 0, 600, 1, "read", false, "auto"},
		"any number of uses":    {"bot", "s", 0, 600, 0, "read", false, "quorum:1:owner"},
		"a long time":           {"bot", "s", 1, 3601, 1, "read", false, "quorum:1:owner"},
		"longer than anybody":   {"bot", "s", 2, 28801, 1, "write", true, ""},
		"a dangerous tool":      {"bot", "s", 3, 3600, 1, "write", false, "quorum:2:secops"},
		"of a server that adds": {"bot", "pay", 2, 600, 1, "write", false, "quorum:1:owner quorum:1:finance"},
		"a class nobody may":    {"bot", "s", 2, 600, 1, "destroy", true, "deny quorum:1:owner"},
		"an agent that may not": {"rogue", "s", 0, 600, 1, "read", true, "auto"},
	} {
		q := query(t, tt.agent, tt.server, "t", `{"anything":1}`, tt.class)
		q.Tool.Tier = tt.tier
		a := set.Ask(q, tt.seconds, tt.uses)
		var approve []string
		for _, x := range a.Approve {
			approve = append(approve, x.String())
		}
		if got := strings.Join(approve, " "); a.Denied() != tt.denied || got != tt.approve {
			t.Errorf("%s: denied %t by %v, approve %q; want %t, %q", name, a.Denied(), a.Forbids, got, tt.denied, tt.approve)
		}
		if tt.agent == "rogue" && cmp.Diff([]string{"ask ann"}, a.Advice) != "" {
			t.Errorf("advice %v", a.Advice)
		}
	}
}

// TestPoliciesAboutCallsAreNotAboutAsking: one that names no action neither permits
// to ask nor forbids it, and one about asking permits no call.
func TestPoliciesAboutCallsAreNotAboutAsking(t *testing.T) {
	for text, want := range map[string]struct{ approves, denied bool }{
		`permit (principal, action, resource);`:                                                           {false, true},
		`forbid (principal, action, resource);`:                                                           {false, true},
		`@approve("auto") permit (principal, action == Mcp::Action::"request", resource);`:                {true, false},
		`@approve("quorum:2") permit (principal, action in [Mcp::Action::"request"], resource);`:          {true, false},
		`permit (principal, action in Mcp::Action::"call", resource);`:                                    {false, true},
		`forbid (principal, action == Mcp::Action::"request", resource);`:                                 {false, true},
		`@outcome("deny") forbid (principal, action == Mcp::Action::"request", resource) when { false };`: {false, true},
	} {
		set := compile(t, policy.Catalog{}, text)
		a := set.Ask(query(t, "bot", "s", "t", `{}`), 60, 1)
		asking := strings.Contains(text, "request")
		if set.Approves() != want.approves || a.Denied() != want.denied || !asking && len(a.Permits)+len(a.Forbids) > 0 {
			t.Errorf("%s: %+v", text, a)
		}
		if v := set.Evaluate(query(t, "bot", "s", "t", `{}`)); asking && (v.Outcome == access.Permit || len(v.Permits)+len(v.Forbids) > 0) {
			t.Errorf("%s is about a call: %+v", text, v)
		}
	}
	both := compile(t, policy.Catalog{}, `forbid (principal, action, resource);`, `@approve("auto") permit (principal, action == Mcp::Action::"request", resource);`)
	if a := both.Ask(query(t, "bot", "s", "t", `{}`), 60, 1); a.Denied() {
		t.Errorf("a policy about every call forbids to ask: %+v", a)
	}
}

// TestWhatIsWrongAboutAskingIsRefusedWithItsPlace, and nothing of it is active.
func TestWhatIsWrongAboutAskingIsRefusedWithItsPlace(t *testing.T) {
	ask := "permit (principal, action == Mcp::Action::\"request\", resource)"
	for text, want := range map[string]string{
		"\n" + `@approve("maybe") ` + ask + ";":                                                                  `2:2: error: unknown @approve("maybe")`,
		`@approve ` + ask + ";":                                                                                  `1:2: error: unknown @approve("")`,
		`@approve("quorum:0") ` + ask + ";":                                                                      `unknown @approve`,
		`@approve("quorum:11:a") ` + ask + ";":                                                                   `unknown @approve`,
		`@approve("quorum:1:") ` + ask + ";":                                                                     `unknown @approve`,
		`@approve("quorum:1:Team") ` + ask + ";":                                                                 `unknown @approve`,
		`@approve("quorum:01:a") ` + ask + ";":                                                                   `unknown @approve`,
		`@approve("quorum:1:a then quorum:1:b") ` + ask + ";":                                                    `unknown @approve`,
		"// who?\n" + ask + ";":                                                                                  `2:1: error: a permit about the action "request" needs @approve`,
		`@approve("auto") permit (principal, action, resource);`:                                                 `@approve belongs to a permit about`,
		`@approve("auto") permit (principal, action in Mcp::Action::"call", resource);`:                          `@approve belongs to a permit about`,
		`@approve("auto") forbid (principal, action == Mcp::Action::"request", resource);`:                       `@approve belongs to a permit about`,
		`@approve("auto") permit (principal, action in [Mcp::Action::"request", Mcp::Action::"s/t"], resource);`: `stands alone`,
		`@outcome("require_approval") forbid (principal, action == Mcp::Action::"request", resource);`:           `can only permit or deny`,
		`@mode("shadow") @approve("auto") ` + ask + ";":                                                          `@mode is not for`,
		`@approve("auto") ` + ask + ` when { context.input.a == 1 };`:                                            "attribute `input` in context",
		`@approve("auto") ` + ask + ` when { context.derived.call_bytes < 5 };`:                                  "attribute `derived` in context",
		`@approve("auto") ` + ask + ` when { context.grant.quorum > 1 };`:                                        "attribute `grant` in context",
		`@approve("auto") ` + ask + ` when { context.facts.n > 1 };`:                                             "attribute `facts` in context",
		`@approve("auto") ` + ask + ` when { context.subject == Mcp::Human::"a" };`:                              "`subject`",
		`@approve("auto") ` + ask + ` when { context.tier == "low" };`:                                           "",
	} {
		_, err := policy.Compile([]policy.Policy{{ID: "p", Cedar: text}}, policy.Catalog{Facts: []policy.FactInfo{{ID: "n"}}})
		if ps := policy.ProblemsOf(err); len(ps) != 1 || !strings.Contains(ps[0].String(), want) || ps[0].Line == 0 || ps[0].Column == 0 {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
}

// TestTheDocumentedPermitsAreThese, which are tried above.
func TestTheDocumentedPermitsAreThese(t *testing.T) {
	doc, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	words := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if !strings.Contains(words(string(doc)), words(baselineAsks)) {
		t.Error("docs/policy.md shows other permits")
	}
}

// TestAnErrorAboutAskingDenies as one about a call does.
func TestAnErrorAboutAskingDenies(t *testing.T) {
	set := compile(t, policy.Catalog{}, `@approve("auto") permit (principal, action == Mcp::Action::"request", resource);`,
		`forbid (principal, action == Mcp::Action::"request", resource) when { context.uses + 1 > 5 };`)
	q := query(t, "bot", "s", "t", `{}`)
	if a := set.Ask(q, 60, 4); a.Denied() {
		t.Errorf("4 uses: %+v", a)
	}
	if a := set.Ask(q, 60, 0); !a.Denied() || len(a.Errors) != 1 { // any number is the largest there is
		t.Errorf("any number: %+v", a)
	}
}

// TestNobodyToApproveIsWarnedAbout where teams are known.
func TestNobodyToApproveIsWarnedAbout(t *testing.T) {
	text := []policy.Policy{{ID: "p", Cedar: baselineAsks}}
	warned := policy.Check(text, policy.Catalog{Groups: []string{"finance"}}).Warnings
	if len(warned) != 1 || !strings.Contains(warned[0].Message, `"secops"`) || warned[0].Line != 7 {
		t.Errorf("%v", warned)
	}
	for _, groups := range [][]string{nil, {"secops"}} {
		if w := policy.Check(text, policy.Catalog{Groups: groups}).Warnings; len(w) > 0 {
			t.Errorf("%v: %v", groups, w)
		}
	}
}

// TestAskingIsTested by cases with when.request.
func TestAskingIsTested(t *testing.T) {
	file := `kind: PolicyTest
given: {agent: {id: bot}, tool: {classes: [read], tier: 0}}
cases:
  - {name: little, when: {server: s, tool: t, request: {seconds: 60, uses: 1}}, then: {outcome: permit, by: [ask.auto], approve: [auto]}}
  - {name: much, when: {server: s, tool: t, request: {seconds: 28801}}, then: {outcome: deny, by: []}}
  - {name: wrong, when: {server: s, tool: t, request: {seconds: 60, uses: 1}}, then: {approve: ["quorum:1"]}}
  - {name: misplaced, when: {server: s, tool: t}, then: {approve: [auto]}}
  - {name: listed, when: {server: s, tool: t, request: {}}, then: {listed: true}}
`
	report := policy.RunTests(t.Context(), []policy.TestFile{{Path: "t.yaml", Text: file}}, []policy.Policy{{ID: "p", Cedar: baselineAsks}}, policy.Catalog{})
	var got []string
	for _, r := range report.Tests {
		got = append(got, r.Name+" "+r.Message)
	}
	want := []string{"little ", "much ", "wrong must be approved by auto, expected quorum:1", "misplaced then.approve is for a case with when.request", "listed then.listed is not for a case with when.request"}
	if d := cmp.Diff(want, got); d != "" || len(report.Errors) > 0 {
		t.Errorf("%v %s", report.Errors, d)
	}
	for _, c := range report.Coverage {
		if c.ID == "ask.auto" && c.Cases == 0 || c.ID == "ask.secops" && c.Cases > 0 {
			t.Errorf("coverage %+v", c)
		}
	}
}
