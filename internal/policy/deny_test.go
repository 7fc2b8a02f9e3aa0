package policy_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/policy"
)

// The table of access.md 2.7: Cedar alone would allow the last two.
func TestPolicyErrorDenies(t *testing.T) {
	set := compile(t, policy.Catalog{}, `permit (principal, action, resource);
forbid (principal, action == Mcp::Action::"pay/transfer", resource) when { context.input.amount > 100 };`)
	for _, tt := range []struct {
		arguments       string
		want            access.Outcome
		forbids, errors []string
	}{
		{`{"amount":50}`, access.Permit, nil, nil},
		{`{"amount":500}`, access.Deny, []string{"pa.2"}, nil},
		{`{}`, access.Deny, nil, []string{"pa.2"}},
		{``, access.Deny, nil, []string{"pa.2"}},
		{`{"amount":null}`, access.Deny, nil, []string{"pa.2"}},
		{`{"amount":"500"}`, access.Deny, nil, []string{"pa.2"}},
		{`{"amount":[500]}`, access.Deny, nil, []string{"pa.2"}},
		{`{"amount":{"amount":5}}`, access.Deny, nil, []string{"pa.2"}},
		{`{"amount":5e1}`, access.Permit, nil, nil},
		{`{"amount":5e2}`, access.Deny, []string{"pa.2"}, nil},
		{`{"amount":50.5}`, access.Deny, nil, []string{"pa.2"}}, // a decimal is not a Long
		{`{"amount":9223372036854775808}`, access.Deny, nil, []string{"pa.2"}},
		{`{"amount":1e400}`, access.Deny, nil, []string{"pa.2"}},
		{`{"amount":0.00001}`, access.Deny, nil, []string{"pa.2"}},
		{`{"Amount":50}`, access.Deny, nil, []string{"pa.2"}},
		{`[{"amount":50}]`, access.Deny, nil, []string{"pa.2"}},
		{`"amount"`, access.Deny, nil, []string{"pa.2"}},
	} {
		got := set.Evaluate(query(t, "bot", "pay", "transfer", tt.arguments))
		want := policy.Verdict{Outcome: tt.want, Permits: []string{"pa.1"}, Forbids: tt.forbids, Errors: tt.errors}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.arguments, diff)
		}
	}
}

// A value no Cedar type holds exactly concerns only the policies that read it.
func TestUnreadValueThatCannotBeJudgedIsIgnored(t *testing.T) {
	set := compile(t, policy.Catalog{}, `permit (principal, action, resource);
forbid (principal, action == Mcp::Action::"s/t", resource) unless { context.input.mode == "safe" };`,
		`forbid (principal == Mcp::Agent::"picky", action == Mcp::Action::"s/t", resource) unless { context.input.x.y < 5 };`)
	for agent, want := range map[string]access.Outcome{"bot": access.Permit, "picky": access.Deny} {
		v := set.Evaluate(query(t, agent, "s", "t", `{"mode":"safe","x":{"y":1e-9,"z":1},"w":[1e99]}`))
		if v.Outcome != want {
			t.Errorf("%s: %+v", agent, v)
		}
		if agent == "picky" && cmp.Diff([]string{"pb"}, v.Errors) != "" {
			t.Errorf("%s: errors are %v, only pb reads the value", agent, v.Errors)
		}
	}
	// A sibling of a member that is read is not judged either.
	if v := set.Evaluate(query(t, "picky", "s", "t", `{"mode":"safe","x":{"y":1,"z":1e-9}}`)); v.Outcome != access.Permit {
		t.Errorf("sibling: %+v", v)
	}
}

func TestForbidWins(t *testing.T) {
	set := compile(t, policy.Catalog{Servers: []policy.ServerInfo{{ID: "s"}}, AllowLists: []policy.AllowList{{Agent: "bot", Patterns: []string{"s/t"}}}},
		`permit (principal, action, resource);`, `permit (principal == Mcp::Agent::"bot", action == Mcp::Action::"s/t", resource);`,
		`@advice("Use s/u.") forbid (principal, action in Mcp::Action::"read", resource in Mcp::Server::"s");`)
	got := set.Evaluate(query(t, "bot", "s", "t", `{}`))
	want := policy.Verdict{Permits: []string{"allow.bot.s", "pa", "pb"}, Forbids: []string{"pc"}, Advice: []string{"Use s/u."}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDefaultDenies(t *testing.T) {
	var zero policy.Verdict
	if zero.Outcome == access.Permit || zero.Maybe {
		t.Error("the zero verdict permits")
	}
	if v := (&policy.Set{}).Evaluate(&policy.Query{}); v.Outcome != access.Deny || v.Maybe {
		t.Errorf("the zero set: %+v", v)
	}
	set := compile(t, policy.Catalog{}) // the baseline alone
	if diff := cmp.Diff(policy.Verdict{}, set.Evaluate(query(t, "bot", "s", "t", `{}`))); diff != "" {
		t.Error(diff)
	}
}

func TestBaselineCannotBeLeftOut(t *testing.T) {
	set := compile(t, policy.Catalog{}, `permit (principal, action, resource);`)
	for name, change := range map[string]func(*policy.Query){
		"not attested": func(q *policy.Query) { q.Agent.Attested = false },
		"suspended":    func(q *policy.Query) { q.Agent.Status = "suspended" },
		"no status":    func(q *policy.Query) { q.Agent.Status = "" },
		"not pinned":   func(q *policy.Query) { q.Tool.Pinned = false },
	} {
		q := query(t, "bot", "s", "t", `{}`)
		change(q)
		if v := set.Evaluate(q); v.Outcome != access.Deny || cmp.Diff([]string{"baseline.attested"}, v.Forbids) != "" {
			t.Errorf("%s: %+v", name, v)
		}
	}
	for _, text := range []string{`@id("baseline.attested") permit (principal, action, resource);`, `@id("allow.bot.s") permit (principal, action, resource);`} {
		if _, err := policy.Compile([]policy.Policy{{ID: "p", Cedar: text}}, policy.Catalog{}); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

// With every annotation stripped a policy must not permit less, and adding any
// annotation must not make a deny a permit: what this version does not enforce,
// it refuses.
func TestAnnotationsDoNotPermit(t *testing.T) {
	forbid := `forbid (principal, action, resource);`
	for _, a := range []string{`@advice("x")`, `@owner("x")`, `@doc("x")`, `@outcome("deny")`, `@id("x")`, ``} {
		set := compile(t, policy.Catalog{}, `permit (principal, action, resource);`, a+" "+forbid)
		if v := set.Evaluate(query(t, "bot", "s", "t", `{}`)); v.Outcome != access.Deny {
			t.Errorf("%s: %+v", a, v)
		}
	}
	for _, a := range []string{`@outcome("permit")`, `@outcome("mask")`, `@outcome("rate_limit")`, `@outcome("quarantine")`,
		`@outcome("revoke")`, `@outcome("terminate")`, `@outcome("")`, `@outcome`, `@mask("pii")`, `@approve("auto")`, `@fact("x")`, `@target("agent")`, `@mode("monitor")`, `@mode`, `@Outcome("deny")`, `@severity("low")`} {
		_, err := policy.Compile([]policy.Policy{{ID: "p", Cedar: a + " " + forbid}}, policy.Catalog{})
		if ps := policy.ProblemsOf(err); len(ps) != 1 || ps[0].Line != 1 {
			t.Errorf("%s: %v", a, err)
		}
	}
	_, err := policy.Compile([]policy.Policy{{ID: "p", Cedar: `@outcome("deny") permit (principal, action, resource);`}}, policy.Catalog{})
	if policy.ProblemsOf(err) == nil {
		t.Errorf("a permit with an outcome is accepted")
	}
}

// A tool whose class nobody understands must be in every group a forbid names.
func TestUnknownClassIsForbiddenAsEveryClass(t *testing.T) {
	for _, group := range []string{"write", "destroy", "egress", "call"} {
		set := compile(t, policy.Catalog{}, `permit (principal, action, resource);`, `forbid (principal, action in Mcp::Action::"`+group+`", resource);`)
		if v := set.Evaluate(query(t, "bot", "s", "t", `{}`, "harmless")); v.Outcome != access.Deny {
			t.Errorf("%s: %+v", group, v)
		}
	}
}

func TestClassesAreGroups(t *testing.T) {
	in := map[string][]string{"read": {"read", "call"}, "write": {"write", "call"}, "destroy": {"destroy", "write", "call"}, "egress": {"egress", "call"}}
	for class, groups := range in {
		for _, g := range []string{"read", "write", "destroy", "egress", "call", "discover"} {
			set := compile(t, policy.Catalog{}, `permit (principal, action in Mcp::Action::"`+g+`", resource);`)
			want := strings.Contains(" "+strings.Join(groups, " ")+" ", " "+g+" ")
			if v := set.Evaluate(query(t, "bot", "s", "t", `{}`, class)); (v.Outcome == access.Permit) != want {
				t.Errorf("class %s, group %s: %+v", class, g, v)
			}
		}
	}
	// == on a group is about the group itself, which nobody asks.
	group := []policy.Policy{{ID: "p", Cedar: `permit (principal, action == Mcp::Action::"read", resource);`}}
	if _, err := policy.Compile(group, policy.Catalog{}); policy.ProblemsOf(err) == nil {
		t.Errorf("== group is accepted")
	}
	set, report, err := policy.Load(group, policy.Catalog{})
	if err != nil || len(report.Warnings) != 1 {
		t.Fatalf("loading: %v, %v", err, report.Warnings)
	}
	if v := set.Evaluate(query(t, "bot", "s", "t", `{}`, "read")); v.Outcome == access.Permit {
		t.Errorf("== group permits: %+v", v)
	}
}

// FuzzErrorDenies drops, retypes and overflows arguments under random policy
// sets: a verdict with an error or a forbid never permits, and without a permit
// neither.
func FuzzErrorDenies(f *testing.F) {
	for i := range uint64(8) {
		f.Add(i, `{"n":5,"s":"v1","o":{"k":true},"l":["x"]}`)
	}
	f.Add(uint64(9), `{"n":1e400}`)
	f.Add(uint64(10), `{"o":7,"s":[[[]]],"l":{"x":null}}`)
	f.Fuzz(func(t *testing.T, seed uint64, arguments string) {
		r := rand.New(rand.NewPCG(seed, 3))
		var ps []policy.Policy
		for i := range 1 + r.IntN(8) {
			ps = append(ps, policy.Policy{ID: fmt.Sprintf("p%d", i), Cedar: randomPolicy(r)})
		}
		set, _, err := policy.Load(ps, randomCatalog(r))
		if err != nil {
			t.Fatal(err)
		}
		q := randomQuery(t, r)
		if v, err := rawParse(arguments); err == nil {
			q.Arguments = v
		}
		v := set.Evaluate(q)
		if v.Outcome == access.Permit && (len(v.Errors) > 0 || len(v.Forbids) > 0 || len(v.Permits) == 0) {
			t.Fatalf("permitted: %+v", v)
		}
		if v.Maybe {
			t.Fatalf("known arguments, and yet maybe: %+v", v)
		}
		full := set.FullScan(q)
		if v.Outcome == access.Permit && full.Outcome != access.Permit && full.Errors == nil {
			t.Fatalf("permitted, but Cedar over everything denies: %+v, %+v", v, full)
		}
		q.Unknown = true
		if l := set.Evaluate(q); v.Outcome == access.Permit && l.Outcome != access.Permit && !l.Maybe {
			t.Fatalf("permitted and yet not listed: %+v", l)
		}
		set.Explain(q)
	})
}
