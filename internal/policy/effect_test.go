package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"rutile/internal/access"
	"rutile/internal/policy"
)

// The closed list of annotations about outcomes, and which belong together
// (access.md 2.5). Every mistake names the annotation it is in.
func TestOutcomeAnnotations(t *testing.T) {
	const scope = ` (principal, action in Mcp::Action::"call", resource)`
	const output = ` when { context has output };`
	for _, tt := range []struct {
		name, cedar string
		wrong       string // a part of the one mistake, "" if there is none
		column      int
	}{
		{"deny", `@outcome("deny") forbid` + scope + `;`, "", 0},
		{"rate limit", `@outcome("rate_limit") @fact("calls_1m") forbid` + scope + `;`, "", 0},
		{"quarantine", `@outcome("quarantine") @target("agent") forbid` + scope + `;`, "", 0},
		{"quarantine a tool", `@outcome("quarantine") @target("tool") forbid` + scope + `;`, "", 0},
		{"revoke", `@outcome("revoke") @target("subject") forbid` + scope + `;`, "", 0},
		{"terminate", `@outcome("terminate") @target("session") forbid` + scope + output, "", 0},
		{"mask arguments", `@outcome("mask") @mask("args/a~1b/*, args/c/0") forbid` + scope + `;`, "", 0},
		{"mask a result", `@outcome("mask") @mask("result/rows/*/ssn, labels") forbid` + scope + output, "", 0},

		{"unknown outcome", `@outcome("explode") forbid` + scope + `;`, `unknown @outcome("explode")`, 2},
		{"permit as an outcome", `@outcome("permit") forbid` + scope + `;`, `unknown @outcome("permit")`, 2},
		{"other case", `@outcome("Deny") forbid` + scope + `;`, `unknown @outcome("Deny")`, 2},
		{"empty outcome", `@outcome("") forbid` + scope + `;`, `unknown @outcome("")`, 2},
		{"unknown annotation", `@outcom("deny") forbid` + scope + `;`, `unknown annotation @outcom`, 2},
		{"shadow", `@mode("monitor") forbid` + scope + `;`, `unknown @mode`, 2},
		{"on a permit", `@outcome("deny") permit` + scope + `;`, `a permit cannot have @outcome`, 2},
		{"mask on a permit", `@id("x") @mask("args/a") permit` + scope + `;`, `a permit cannot have @mask`, 11},
		{"fact on a permit", `@fact("f") permit` + scope + `;`, `a permit cannot have @fact`, 2},
		{"target on a permit", `@target("agent") permit` + scope + `;`, `a permit cannot have @target`, 2},

		{"mask without @mask", `@outcome("mask") forbid` + scope + `;`, `needs @mask besides`, 2},
		{"rate without @fact", `@outcome("rate_limit") forbid` + scope + `;`, `needs @fact besides`, 2},
		{"quarantine without @target", `@outcome("quarantine") forbid` + scope + `;`, `needs @target besides`, 2},
		{"revoke without @target", `@outcome("revoke") forbid` + scope + `;`, `needs @target besides`, 2},
		{"target on a plain forbid", `@target("agent") forbid` + scope + `;`, `@target does not belong to @outcome("deny")`, 2},
		{"target on an approval", `@outcome("require_approval") @target("agent") forbid` + scope + `;`, `@target does not belong`, 31},
		{"fact on a mask", `@outcome("mask") @mask("args/a") @fact("f") forbid` + scope + `;`, `@fact does not belong`, 35},
		{"mask on a quarantine", `@outcome("quarantine") @target("agent") @mask("args/a") forbid` + scope + `;`, `@mask does not belong`, 42},

		{"unknown target", `@outcome("quarantine") @target("planet") forbid` + scope + `;`, `known are agent, server, session, tool`, 25},
		{"target of another outcome", `@outcome("terminate") @target("tool") forbid` + scope + `;`, `known are agent, session`, 24},
		{"a target of a later version", `@outcome("quarantine") @target("instance") forbid` + scope + `;`, `not supported by this version`, 25},
		{"two facts", `@outcome("rate_limit") @fact("a, b") forbid` + scope + `;`, `name of one fact`, 25},
		{"no fact", `@outcome("rate_limit") @fact("") forbid` + scope + `;`, `name of one fact`, 25},

		{"no place", `@outcome("mask") @mask("") forbid` + scope + `;`, `neither args/POINTER`, 19},
		{"an empty place", `@outcome("mask") @mask("args/a,") forbid` + scope + `;`, `neither args/POINTER`, 19},
		{"a place elsewhere", `@outcome("mask") @mask("input/a") forbid` + scope + `;`, `neither args/POINTER`, 19},
		{"all arguments", `@outcome("mask") @mask("args/") forbid` + scope + `;`, `is all of it`, 19},
		{"a wrong escape", `@outcome("mask") @mask("args/a~2") forbid` + scope + `;`, `neither ~0 nor ~1`, 19},
		{"a tilde at the end", `@outcome("mask") @mask("args/a~") forbid` + scope + `;`, `neither ~0 nor ~1`, 19},
		{"too deep", `@outcome("mask") @mask("args` + strings.Repeat("/a", 17) + `") forbid` + scope + `;`, `levels deep`, 19},
		{"a result before the call", `@outcome("mask") @mask("result/a") forbid` + scope + `;`, `context has output`, 2},
		{"labels before the call", `@outcome("mask") @mask("labels") forbid` + scope + `;`, `context has output`, 2},
		{"arguments after the call", `@outcome("mask") @mask("args/a") forbid` + scope + output, `have been sent`, 2},
		{"an approval after the call", `@outcome("require_approval") forbid` + scope + output, `the call has been made`, 2},
		{"a limit after the call", `@outcome("rate_limit") @fact("f") forbid` + scope + output, `the call has been made`, 2},
		{"output without a guard", `forbid` + scope + ` when { context.output.bytes > 3 };`, `guard it with "has"`, 0},
		{"unknown member of the output", `forbid` + scope + ` when { context has output && context.output.size > 3 };`, "`size`", 0},
	} {
		r := policy.Check([]policy.Policy{{ID: "p", Cedar: tt.cedar}}, policy.Catalog{})
		if tt.wrong == "" {
			if len(r.Errors) > 0 {
				t.Errorf("%s: %v", tt.name, r.Errors)
			}
			continue
		}
		if len(r.Errors) != 1 || !strings.Contains(r.Errors[0].Message, tt.wrong) {
			t.Errorf("%s: %v, want %q", tt.name, r.Errors, tt.wrong)
			continue
		}
		if e := r.Errors[0]; e.Line != 1 || tt.column > 0 && e.Column != tt.column {
			t.Errorf("%s: at %s, want column %d", tt.name, e.Place(), tt.column)
		}
	}
}

// All consequences happen, the strongest first; without them one forbid that has
// no remedy denies; else the remedies come in their order.
func TestEffectsTogether(t *testing.T) {
	rules := map[string]string{
		"permit":    `permit`,
		"deny":      `forbid`,
		"approve":   `@outcome("require_approval") forbid`,
		"limit":     `@outcome("rate_limit") @fact("calls_1m") forbid`,
		"mask":      `@outcome("mask") @mask("args/a") forbid`,
		"isolate":   `@outcome("quarantine") @target("agent") forbid`,
		"revoke":    `@outcome("revoke") @target("session") forbid`,
		"terminate": `@outcome("terminate") @target("session") forbid`,
		"error":     `forbid`,
		"mask err":  `@outcome("mask") @mask("args/a") forbid`,
	}
	for _, tt := range []struct {
		rules        string
		want         access.Outcome
		consequences string
	}{
		{"permit", access.Permit, ""},
		{"permit,limit", access.RateLimit, ""},
		{"permit,approve", access.RequireApproval, ""},
		{"permit,mask", access.Mask, ""},
		{"permit,mask,approve", access.RequireApproval, ""},
		{"permit,mask,approve,limit", access.RateLimit, ""},
		{"permit,limit,deny", access.Deny, ""},
		{"permit,approve,deny", access.Deny, ""},
		{"permit,mask,deny", access.Deny, ""},
		{"limit", access.Deny, ""},
		{"mask", access.Deny, ""},
		{"approve", access.Deny, ""},
		{"permit,mask,error", access.Deny, ""},
		{"permit,mask err", access.Deny, ""},
		{"permit,limit,error", access.Deny, ""},
		{"permit,isolate", access.Quarantine, "isolate"},
		{"isolate", access.Quarantine, "isolate"},
		{"permit,isolate,deny", access.Quarantine, "isolate"},
		{"permit,isolate,mask,limit,approve", access.Quarantine, "isolate"},
		{"permit,isolate,error", access.Quarantine, "isolate"},
		{"permit,isolate,revoke", access.Revoke, "revoke,isolate"},
		{"isolate,terminate,revoke,deny,error", access.Terminate, "terminate,revoke,isolate"},
	} {
		var ps []policy.Policy
		for name := range strings.SplitSeq(tt.rules, ",") {
			id := strings.ReplaceAll(name, " ", "-")
			text := `@id("` + id + `") ` + rules[name] + ` (principal, action, resource)`
			if strings.Contains(name, "err") {
				text += ` when { resource.tier + 9223372036854775807 > 0 }`
			}
			ps = append(ps, policy.Policy{ID: id, Cedar: text + ";"})
		}
		set, err := policy.Compile(ps, policy.Catalog{})
		if err != nil {
			t.Fatal(err)
		}
		q := query(t, "bot", "s", "t", `{}`)
		q.Tool.Tier = 1 // the conditions of "error" overflow
		v := set.Evaluate(q)
		var got []string
		for _, c := range v.Consequences {
			got = append(got, c.Policy)
		}
		if v.Outcome != tt.want || strings.Join(got, ",") != tt.consequences {
			t.Errorf("%s: %s with %v, want %s with %q", tt.rules, v.Outcome, got, tt.want, tt.consequences)
		}
		// Without its annotations every set says no where it does not permit.
		if stripped := strip(t, ps).Evaluate(q); (stripped.Outcome == access.Permit) != (tt.want == access.Permit) {
			t.Errorf("%s: without annotations %s", tt.rules, stripped.Outcome)
		}
	}
}

func strip(t *testing.T, ps []policy.Policy) *policy.Set {
	t.Helper()
	var out []policy.Policy
	for _, p := range ps {
		words := strings.Fields(p.Cedar)
		for strings.HasPrefix(words[0], "@") {
			words = words[1:]
		}
		out = append(out, policy.Policy{ID: p.ID, Cedar: strings.Join(words, " ")})
	}
	set, err := policy.Compile(out, policy.Catalog{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// A rule whose mask has been applied forbids no more; every other rule does, also
// one that masks and was not applied.
func TestMaskedRuleIsMet(t *testing.T) {
	set := compile(t, policy.Catalog{}, `permit (principal, action, resource);`,
		`@id("one") @outcome("mask") @mask("args/a") forbid (principal, action, resource);`,
		`@id("two") @outcome("mask") @mask("args/b") forbid (principal, action, resource) when { context.input has b };`,
		`@id("no") forbid (principal, action, resource) when { context.input has c };`)
	for _, tt := range []struct {
		arguments string
		masked    []string
		want      access.Outcome
		met       []string
	}{
		{`{"a":1}`, nil, access.Mask, nil},
		{`{"a":1}`, []string{"one"}, access.Permit, []string{"one"}},
		{`{"a":1,"b":2}`, []string{"one"}, access.Mask, []string{"one"}},
		{`{"a":1,"b":2}`, []string{"one", "two"}, access.Permit, []string{"one", "two"}},
		{`{"a":1,"c":2}`, []string{"one", "no"}, access.Deny, []string{"one"}}, // only masks can be met
	} {
		q := query(t, "bot", "s", "t", tt.arguments)
		q.Masked = tt.masked
		if v := set.Evaluate(q); v.Outcome != tt.want || cmp.Diff(tt.met, v.Met, cmpopts.EquateEmpty()) != "" {
			t.Errorf("%s after %v: %s, met %v; want %s", tt.arguments, tt.masked, v.Outcome, v.Met, tt.want)
		}
	}
}

// What came back is judged only with it: before, a policy that reads it is silent.
func TestOutputIsJudgedAtRelease(t *testing.T) {
	set := compile(t, policy.Catalog{}, `permit (principal, action, resource);`,
		`@id("pii") forbid (principal, action, resource) when { context has output && context.output.labels.contains("pii") };`,
		`@id("large") forbid (principal, action, resource) when { context has output && context.output.bytes > 100 };`,
		`@id("leak") @outcome("terminate") @target("session") forbid (principal, action, resource) when { context has output && context.output.findings.contains("canary") };`)
	for name, tt := range map[string]struct {
		output *policy.OutputFacts
		want   access.Outcome
	}{
		"before":   {nil, access.Permit},
		"harmless": {&policy.OutputFacts{Bytes: 100}, access.Permit},
		"labelled": {&policy.OutputFacts{Labels: []string{"docs", "pii"}}, access.Deny},
		"large":    {&policy.OutputFacts{Bytes: 101}, access.Deny},
		"found":    {&policy.OutputFacts{Findings: []string{"canary"}}, access.Terminate},
	} {
		q := query(t, "bot", "s", "t", `{}`)
		q.Output = tt.output
		if v := set.Evaluate(q); v.Outcome != tt.want || !v.ReadsOutput {
			t.Errorf("%s: %+v, want %s", name, v, tt.want)
		}
	}
	if v := compile(t, policy.Catalog{}, `permit (principal, action, resource) when { context.session.bound };`).Evaluate(query(t, "bot", "s", "t", `{}`)); v.ReadsOutput {
		t.Error("a set that does not read the output has it judged")
	}
}

// Policy tests know every outcome and what came back.
func TestCasesKnowEveryOutcome(t *testing.T) {
	ps := []policy.Policy{{ID: "p", Cedar: `@id("all") permit (principal, action, resource);
@id("masked") @outcome("mask") @mask("args/ssn") forbid (principal, action == Mcp::Action::"s/t", resource) when { context.input has ssn };
@id("slow") @outcome("rate_limit") @fact("calls_1m") forbid (principal, action == Mcp::Action::"s/u", resource);
@id("out") @outcome("quarantine") @target("server") forbid (principal, action, resource) when { context has output && context.output.findings.contains("x") };`}}
	text := `kind: PolicyTest
given: {agent: {id: bot}}
cases:
  - {name: a, when: {server: s, tool: t, arguments: {ssn: "1"}}, then: {outcome: mask, by: [masked], listed: true}}
  - {name: b, when: {server: s, tool: u}, then: {outcome: rate_limit, by: [slow], listed: true}}
  - {name: c, when: {server: s, tool: t, output: {findings: [x], labels: [l], bytes: 7}}, then: {outcome: quarantine, by: [out]}}
  - {name: d, when: {server: s, tool: t, output: {}}, then: {outcome: permit}}
`
	r := policy.RunTests(t.Context(), []policy.TestFile{{Path: "t.yaml", Text: text}}, ps, policy.Catalog{Servers: []policy.ServerInfo{{ID: "s"}}})
	if !r.OK() || len(r.Tests) != 4 {
		t.Errorf("%v %+v", r.Errors, r.Tests)
	}
	wrong := strings.ReplaceAll(text, "outcome: mask", "outcome: permit")
	if r := policy.RunTests(t.Context(), []policy.TestFile{{Path: "t.yaml", Text: wrong}}, ps, policy.Catalog{Servers: []policy.ServerInfo{{ID: "s"}}}); r.OK() {
		t.Error("a case that expects another outcome passes")
	}
}
