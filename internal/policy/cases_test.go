package policy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"rutile/internal/access"
	"rutile/internal/policy"
)

const releaseWindow = `forbid (principal, action == Mcp::Action::"github/create_release", resource)
unless { context.input.tag like "v*" };`

func TestPolicyTestsRun(t *testing.T) {
	file := policy.TestFile{Path: "release.test.yaml", Text: `kind: PolicyTest
given:
  agent: {id: release-bot, tools: ["github/*"]}
  tool: {classes: [write], schema: {type: object, properties: {tag: {type: string}}}}
cases:
  - name: a version may be released
    when: {server: github, tool: create_release, arguments: {tag: v1.2}}
    then: {outcome: permit, by: [allow.release-bot.github], listed: true}
  - name: nothing else may
    when: {server: github, tool: create_release, arguments: {tag: nightly}}
    then: {outcome: deny, by: [release-window]}
  - name: the tag is needed
    when: {server: github, tool: create_release}
    then: {outcome: deny, by: [release-window]}
  - name: not without proof
    given: {agent: {id: release-bot, tools: ["github/*"], attested: false}}
    when: {server: github, tool: create_release, arguments: {tag: v1}}
    then: {outcome: deny, by: [baseline.attested], listed: false}
  - name: others have no list
    given: {agent: {id: other}}
    when: {server: github, tool: create_release, arguments: {tag: v1}}
    then: {outcome: deny, by: []}
  - name: this one is wrong
    when: {server: github, tool: create_release, arguments: {tag: v1}}
    then: {outcome: deny}
  - name: so is this
    when: {server: github, tool: create_release, arguments: {tag: v1}}
    then: {outcome: permit, by: [release-window]}
  - name: and this
    when: {server: github, prompt: hello}
    then: {listed: false}
  - name: lists are seen
    when: {server: github}
    then: {outcome: permit, by: [baseline.discover]}
  - name: resources are read
    when: {server: github, resource: "file:///x"}
    then: {outcome: permit}
  - name: sampling is not covered
    when: {server: github, ask: sampling}
    then: {outcome: deny}
  - name: a person, a grant, a session
    given:
      subject: {issuer: "https://idp", id: ann}
      session: {bound: true, task: t, depth: 1}
      grant: {id: g, remaining: 1, quorum: 2, argsBound: true}
      server: {owner: team-dev}
      now: 2026-11-24T12:00:00Z
    when: {server: github, tool: create_release, arguments: {tag: v1, n: 1.5}}
    then: {outcome: permit}
`}
	got := policy.RunTests(t.Context(), []policy.TestFile{file}, []policy.Policy{{ID: "release-window", Cedar: releaseWindow}}, policy.Catalog{})
	if len(got.Errors) > 0 {
		t.Fatal(got.Errors)
	}
	want := map[string]string{
		"this one is wrong": "outcome is permit by allow.release-bot.github, expected deny",
		"so is this":        "decided by allow.release-bot.github, expected release-window",
		"and this":          "listed is true, expected false",
	}
	for _, r := range got.Tests {
		if r.OK != (want[r.Name] == "") || r.Message != want[r.Name] || r.File != "release.test.yaml" || r.Line < 6 {
			t.Errorf("%+v, want %q", r, want[r.Name])
		}
	}
	if len(got.Tests) != 12 || got.OK() {
		t.Errorf("%d results, ok %t", len(got.Tests), got.OK())
	}
}

// A test must not pass because it left out what the gateway knows: a case is
// about the registered tool and agent, as far as it does not say otherwise.
func TestCasesAreAboutWhatIsRegistered(t *testing.T) {
	c := policy.Catalog{
		Servers: []policy.ServerInfo{{ID: "bank"}},
		Agents:  []policy.AgentInfo{{ID: "bot", Class: "trainee"}, {ID: "boss", Class: "lead"}},
		Tools: []policy.ToolInfo{
			{Server: "bank", Name: "pay", Classes: []string{"write", "egress"}, Tier: 3},
			{Server: "bank", Name: "pay", Kind: access.KindPrompt, Classes: []string{"read"}, Tier: 1},
		},
	}
	policies := []policy.Policy{
		{ID: "all", Cedar: `permit (principal, action, resource);`},
		{ID: "no-writes", Cedar: `forbid (principal, action in Mcp::Action::"egress", resource);`},
		{ID: "no-harm", Cedar: `forbid (principal, action, resource) when { resource.tier > 2 };`},
		{ID: "no-trainees", Cedar: `forbid (principal in Mcp::AgentClass::"trainee", action, resource);`},
	}
	file := policy.TestFile{Path: "t.yaml", Text: `kind: PolicyTest
given: {agent: {id: bot}}
cases:
  - name: nothing said
    when: {server: bank, tool: pay}
    then: {outcome: deny, by: [no-harm, no-trainees, no-writes]}
  - name: something said
    given: {agent: {id: bot, class: lead}, tool: {classes: [read]}}
    when: {server: bank, tool: pay}
    then: {outcome: deny, by: [no-harm]}
  - name: tier said
    given: {agent: {id: boss}, tool: {tier: 0}}
    when: {server: bank, tool: pay}
    then: {outcome: deny, by: [no-writes]}
  - name: the prompt is another
    given: {agent: {id: boss}}
    when: {server: bank, prompt: pay}
    then: {outcome: permit}
  - name: a resource is read
    given: {agent: {id: boss}, tool: {classes: [egress]}}
    when: {server: bank, resource: "file:///x"}
    then: {outcome: permit}
  - name: another case says nothing about an unknown tool
    given: {agent: {id: boss}, tool: {classes: [egress], tier: 3}}
    when: {server: bank, tool: later}
    then: {outcome: deny, by: [no-harm, no-writes]}
  - name: nor does this
    given: {agent: {id: boss}}
    when: {server: bank, tool: later}
    then: {outcome: permit}
`}
	r := policy.RunTests(t.Context(), []policy.TestFile{file}, policies, c)
	if !r.OK() || len(r.Tests) != 7 {
		t.Errorf("%+v", r)
	}
}

// A case is about the arguments as a call would hold them, digit for digit.
func TestCaseArgumentsAreWhatACallHolds(t *testing.T) {
	for arguments, want := range map[string]string{
		`{v: 2026-01-01}`:                   `context.input.v == "2026-01-01"`,
		`{v: 2026-01-01T10:00:00Z}`:         `context.input.v == "2026-01-01T10:00:00Z"`,
		`{v: "1"}`:                          `context.input.v == "1"`,
		`{v: 1.10}`:                         `context.input.v == decimal("1.1")`,
		`{v: 922337203685477.5807}`:         `context.input.v == decimal("922337203685477.5807")`,
		`{v: 9223372036854775807}`:          `context.input.v == 9223372036854775807`,
		`{1: a, true: b}`:                   `context.input["1"] == "a" && context.input["true"] == "b"`,
		`{v: ~, w: [yes, false, null, {}]}`: `!(context.input has v) && context.input.w == ["yes", false, {}]`,
		`{v: &x {k: 1}, w: *x}`:             `context.input.v == context.input.w`,
		`{v: "a\tb\u0001\U0001F600"}`:       `context.input.v like "a*b*"`,
		`{}`:                                `context.input == {}`,
		`{v: 0x10}`:                         "not how JSON writes it",
		`{v: .inf}`:                         "not how JSON writes it",
		`{? [a] : b}`:                       "must be text",
		`{v: 1, v: 2}`:                      "duplicate key",
		`[1]`:                               `error`,
	} {
		file := policy.TestFile{Path: "t.yaml", Text: "kind: PolicyTest\ncases:\n  - name: x\n    given: {agent: {id: bot}}\n    when: {server: s, tool: t, arguments: " + arguments + "}\n    then: {outcome: permit}\n"}
		condition := want
		if !strings.Contains(want, "context") {
			condition = "context.input has x"
		}
		r := policy.RunTests(t.Context(), []policy.TestFile{file}, []policy.Policy{{ID: "p", Cedar: "permit (principal, action == Mcp::Action::\"s/t\", resource) when { " + condition + " };"}}, policy.Catalog{})
		text := fmt.Sprint(r.Errors, r.Tests)
		if condition == want && !r.OK() || condition != want && (r.OK() || want != "error" && !strings.Contains(text, want)) {
			t.Errorf("%s: %s", arguments, text)
		}
	}
}

func TestBrokenTestFilesAreErrors(t *testing.T) {
	const head = "kind: PolicyTest\ngiven: {agent: {id: bot}}\ncases:\n"
	for name, tt := range map[string]struct {
		text, message string
		line          int
	}{
		"not YAML":          {"\t:", "", 1},
		"other kind":        {"kind: Policy\n", `kind is "Policy"`, 1},
		"unknown member":    {"kind: PolicyTest\ncase: []\n", `unknown key "case"`, 2},
		"unknown in a case": {head + "  - name: x\n    whne: {}\n", `unknown key "whne"`, 5},
		"wrong type":        {head + "  - name: [x]\n", "", 4},
		"no name":           {head + "  - when: {server: s}\n    then: {outcome: deny}\n", "no name", 4},
		"no agent":          {"kind: PolicyTest\ncases:\n  - name: x\n    when: {server: s}\n    then: {outcome: deny}\n", "given.agent.id", 3},
		"no server":         {head + "  - name: x\n    then: {outcome: deny}\n", "when.server", 4},
		"two targets":       {head + "  - name: x\n    when: {server: s, tool: t, prompt: p}\n    then: {outcome: deny}\n", "more than one", 4},
		"no expectation":    {head + "  - name: x\n    when: {server: s}\n", "then says nothing", 4},
		"no case":           {"kind: PolicyTest\ncases: []\n", "no cases", 1},
		"unknown class":     {head + "  - name: x\n    given: {tool: {classes: [wirte]}}\n    when: {server: s, tool: t}\n    then: {outcome: deny}\n", `"wirte"`, 4},
		"other outcome":     {head + "  - name: x\n    when: {server: s}\n    then: {outcome: maybe}\n", "not permit, deny, require_approval", 4},
	} {
		r := policy.RunTests(t.Context(), []policy.TestFile{{Path: "t.yaml", Text: tt.text}}, nil, policy.Catalog{})
		if r.OK() || len(r.Errors) != 1 || len(r.Tests) != 0 {
			t.Errorf("%s: %+v", name, r)
			continue
		}
		if e := r.Errors[0]; !strings.Contains(e.Message, tt.message) || e.File != "t.yaml" || e.Line != tt.line {
			t.Errorf("%s: %s", name, e)
		}
	}
}

func TestBrokenPoliciesAreNotTested(t *testing.T) {
	file := policy.TestFile{Path: "t.yaml", Text: "kind: PolicyTest\ngiven: {agent: {id: bot}}\ncases:\n  - name: x\n    when: {server: s}\n    then: {outcome: permit}\n"}
	r := policy.RunTests(t.Context(), []policy.TestFile{file}, []policy.Policy{{ID: "p", Cedar: "permit"}}, policy.Catalog{})
	if r.OK() || len(r.Tests) != 0 || len(r.Errors) != 1 {
		t.Errorf("%+v", r)
	}
	file.Text = strings.Replace(file.Text, "{id: bot}", `{id: bot, tools: ["nonsense"]}`, 1)
	r = policy.RunTests(t.Context(), []policy.TestFile{file}, nil, policy.Catalog{})
	if r.OK() || len(r.Tests) != 1 || !strings.Contains(r.Tests[0].Message, "server/name") {
		t.Errorf("%+v", r)
	}
}

func FuzzReadTests(f *testing.F) {
	f.Add("kind: PolicyTest\ngiven: {agent: {id: bot}}\ncases:\n  - name: x\n    when: {server: s, tool: t, arguments: {a: [1, 2.5, {b: null}]}}\n    then: {outcome: permit}\n")
	f.Add("kind: PolicyTest\ncases: [{name: x, given: {tool: {schema: {type: [a, b]}}}}]")
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		r := policy.RunTests(t.Context(), []policy.TestFile{{Path: "t.yaml", Text: text}}, nil, policy.Catalog{})
		for _, e := range r.Errors {
			if e.Line < 1 || e.Message == "" {
				t.Fatalf("an error without a place: %+v", e)
			}
		}
	})
}

func TestExplainPermit(t *testing.T) {
	set := compile(t, issues(), "// one\n@id(\"acme\") permit (principal == Mcp::Agent::\"bot\", action == Mcp::Action::\"github/create_issue\", resource)\nwhen { context.input.repo like \"acme/*\" && principal.attested };")
	x := set.Explain(query(t, "bot", "github", "create_issue", `{"repo":"acme/secret-name"}`, "write"))
	if x.Verdict.Outcome != access.Permit || len(x.Determining) != 1 || x.Determining[0].ID != "acme" || x.Determining[0].Line != 2 || x.Flip != nil || x.Evaluations != 0 {
		t.Errorf("%+v", x)
	}
	want := []policy.Input{{Name: "context.input.repo", Present: true, Type: "string"}, {Name: "principal.attested", Present: true}}
	if diff := cmp.Diff(want, x.Inputs); diff != "" {
		t.Error(diff)
	}
}

func TestExplainCounterfactual(t *testing.T) {
	c := issues()
	c.AllowLists = []policy.AllowList{{Agent: "bot", Expires: now.Add(time.Hour), Patterns: []string{"github/create_issue"}}}
	set := compile(t, c, `@id("acme-only") forbid (principal, action == Mcp::Action::"github/create_issue", resource) unless { context.input.repo like "acme/*" };
@id("quorum") forbid (principal, action in Mcp::Action::"destroy", resource) unless { context has grant && context.grant.quorum >= 2 };
@id("possession") forbid (principal, action == Mcp::Action::"github/odd", resource) unless { context.session.bound };`)
	for _, tt := range []struct {
		name, agent, tool, arguments, class string
		change                              func(*policy.Query)
		determining, flip                   []string
	}{
		{"a forbid", "bot", "create_issue", `{"repo":"x"}`, "write", nil, []string{"acme-only"}, []string{"policy acme-only is lifted"}},
		{"an error", "bot", "create_issue", `{}`, "write", nil, []string{"acme-only"}, []string{"policy acme-only is lifted"}},
		{"nobody permits", "other", "create_issue", `{"repo":"acme/x"}`, "write", nil, nil, []string{"a permit for this call is added"}},
		{"a grant", "bot", "create_issue", `{"repo":"acme/x"}`, "destroy", nil, []string{"quorum"}, []string{"a grant for this call is there"}},
		{"attestation", "bot", "create_issue", `{"repo":"acme/x"}`, "write", func(q *policy.Query) { q.Agent.Attested = false }, []string{"baseline.attested"}, []string{"the agent is attested"}},
		{"two things", "bot", "create_issue", `{"repo":"acme/x"}`, "write", func(q *policy.Query) { q.Agent.Attested, q.Tool.Pinned = false, false },
			[]string{"baseline.attested"}, []string{"policy baseline.attested is lifted"}},
		{"status, possession and a permit", "other", "odd", `{}`, "read", func(q *policy.Query) { q.Agent.Status = "suspended" },
			[]string{"baseline.attested", "possession"}, []string{"a permit for this call is added", "policy baseline.attested is lifted", "policy possession is lifted"}},
	} {
		q := query(t, tt.agent, "github", tt.tool, tt.arguments, tt.class)
		if tt.change != nil {
			tt.change(q)
		}
		x := set.Explain(q)
		var ids []string
		for _, d := range x.Determining {
			ids = append(ids, d.ID)
		}
		if diff := cmp.Diff(tt.determining, ids, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: determining %s", tt.name, diff)
		}
		if diff := cmp.Diff(tt.flip, x.Flip); diff != "" {
			t.Errorf("%s: flip %s", tt.name, diff)
		}
		if x.Evaluations > 16 || x.Evaluations == 0 {
			t.Errorf("%s: %d evaluations", tt.name, x.Evaluations)
		}
		if diff := cmp.Diff(set.Evaluate(q), x.Verdict); diff != "" {
			t.Errorf("%s: the verdict explained is another: %s", tt.name, diff)
		}
	}
}

func TestExplainIsBounded(t *testing.T) {
	var b strings.Builder
	for range 40 {
		b.WriteString("forbid (principal, action, resource) when { principal.attested };\n")
	}
	set := compile(t, policy.Catalog{}, b.String())
	q := query(t, "bot", "s", "t", `{}`)
	q.Agent.Status, q.Tool.Pinned = "suspended", false
	if x := set.Explain(q); x.Evaluations > 16 || x.Flip != nil || len(x.Determining) != 41 {
		t.Errorf("%d evaluations, flip %v, %d determining", x.Evaluations, x.Flip, len(x.Determining))
	}
}

func TestExplainNearestPermits(t *testing.T) {
	set := compile(t, issues(), `@id("elsewhere") permit (principal == Mcp::Agent::"bot", action == Mcp::Action::"github/odd", resource);
@id("other-agent") permit (principal == Mcp::Agent::"ann", action == Mcp::Action::"github/create_issue", resource);
@id("condition") permit (principal == Mcp::Agent::"bot", action == Mcp::Action::"github/create_issue", resource) when { context.input.repo == "x" };
@id("nothing") permit (principal == Mcp::Agent::"ann", action == Mcp::Action::"github/odd", resource in Mcp::Server::"gitlab");`)
	x := set.Explain(query(t, "bot", "github", "create_issue", `{"repo":"y"}`, "write"))
	got := map[string][]string{}
	var order []string
	for _, n := range x.Nearest {
		got[n.ID], order = n.Why, append(order, n.ID)
	}
	want := map[string][]string{"condition": {"its conditions do not hold"}, "other-agent": {"it is for another agent"}, "elsewhere": {"it is for another action"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"condition", "other-agent", "elsewhere"}, order); diff != "" {
		t.Error(diff)
	}
	if len(x.Inputs) != 1 || x.Inputs[0].Name != "context.input.repo" {
		t.Errorf("inputs: %v", x.Inputs)
	}
}

// A schema that arrives later makes a policy stricter, it does not stop the
// gateway.
func TestLoadKeepsWhatWasAccepted(t *testing.T) {
	ps := []policy.Policy{{ID: "p", Cedar: `permit (principal, action == Mcp::Action::"github/create_issue", resource) when { context.input.rep == "x" };`}}
	if _, err := policy.Compile(ps, policy.Catalog{}); err != nil {
		t.Fatalf("before the tool is known: %v", err)
	}
	if _, err := policy.Compile(ps, issues()); err == nil {
		t.Fatal("a misspelt member is accepted")
	}
	set, report, err := policy.Load(ps, issues())
	if err != nil || len(report.Warnings) != 1 {
		t.Fatalf("%v, %v", err, report.Warnings)
	}
	if v := set.Evaluate(query(t, "bot", "github", "create_issue", `{"repo":"x"}`, "write")); v.Outcome != access.Deny || len(v.Errors) != 1 {
		t.Errorf("%+v", v)
	}
	if _, report, err := policy.Load([]policy.Policy{{ID: "p", Cedar: "nonsense"}}, issues()); err == nil || len(report.Errors) != 1 {
		t.Errorf("nonsense loads: %v", report)
	}
}

// TestCasesEndWithTheirReader: what nobody waits for is not run, and is no success.
func TestCasesEndWithTheirReader(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	file := policy.TestFile{Path: "t.yaml", Text: "kind: PolicyTest\ncases:\n- name: one\n  given: {agent: {id: a}}\n  when: {server: s, tool: t}\n  then: {outcome: deny}\n"}
	if r := policy.RunTests(t.Context(), []policy.TestFile{file}, nil, policy.Catalog{}); !r.OK() || len(r.Tests) != 1 {
		t.Fatalf("%+v", r)
	}
	if r := policy.RunTests(ctx, []policy.TestFile{file}, nil, policy.Catalog{}); r.OK() || len(r.Tests) != 1 || !strings.Contains(r.Tests[0].Message, "was not run") {
		t.Errorf("%+v", r)
	}
}
