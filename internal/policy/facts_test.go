package policy_test

import (
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/policy"
	"rutile/internal/rawjson"
)

// counted is a catalog with a fact that counts and one that remembers.
func counted() policy.Catalog {
	return policy.Catalog{
		Servers: []policy.ServerInfo{{ID: "s"}},
		Tools:   []policy.ToolInfo{{Server: "s", Name: "t", Classes: []string{"write"}}, {Server: "s", Name: "u", Classes: []string{"read"}}},
		Facts:   []policy.FactInfo{{ID: "n"}, {ID: "seen", Bool: true}},
	}
}

func question(facts *access.Facts) *policy.Query {
	q := &policy.Query{Action: "s/t", Server: policy.ServerFacts{ID: "s", State: "sanctioned"}, Facts: facts}
	q.Agent = policy.AgentFacts{ID: "a", Status: "active", Attested: true}
	q.Tool = policy.ToolFacts{Server: "s", Name: "t", Kind: access.KindTool, Classes: []string{"write"}, Pinned: true}
	return q
}

func known(n int64, seen bool) *access.Facts {
	return &access.Facts{Values: map[string]access.FactValue{"n": {Long: n}, "seen": {Bool: seen}}}
}

// A policy that reads a fact nobody declared, or reads it as what it is not, is
// refused with its place; so it is when the fact is taken away.
func TestOnlyDeclaredFactsAreRead(t *testing.T) {
	for cedar, want := range map[string]string{
		`context.facts.n > 3`:                             "",
		`context.facts.seen`:                              "",
		`context has facts && context.facts has n`:        "",
		`context.facts has m && context.facts.m > 3`:      "p:1:63: error: no fact `m` is declared",
		`context.facts.m > 3`:                             "no fact `m` is declared",
		`context.facts["m m"] > 3`:                        "no fact `m m` is declared",
		`context.facts.seen > 3`:                          "p:1:",
		`context.facts.n`:                                 "p:1:",
		`context.facts.n == "3"`:                          "p:1:",
		`context.facts == {n: 3, seen: false}`:            "`facts` has no value as a whole",
		`(if true then context else context).facts.n > 3`: "`facts` has no value as a whole",
		`{c: context}.c.facts.n > 3`:                      "`facts` has no value as a whole",
		`context.n > 3`:                                   "p:1:",
		`principal.facts.n > 3`:                           "p:1:",
	} {
		text := `forbid (principal, action, resource) when { ` + cedar + ` };`
		_, err := policy.Compile([]policy.Policy{{ID: "p", Cedar: text}}, counted())
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", cedar, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", cedar, err, want)
		}
		less := counted()
		less.Facts = nil
		if _, err := policy.Compile([]policy.Policy{{ID: "p", Cedar: text}}, less); err == nil && !strings.HasPrefix(cedar, "context has facts") {
			t.Errorf("%s: accepted without the facts", cedar)
		}
	}
	for name, cedar := range map[string]string{"true or false": `@outcome("rate_limit") @fact("seen") forbid (principal, action, resource) when { context.facts.seen };`} {
		if _, err := policy.Compile([]policy.Policy{{ID: "p", Cedar: cedar}}, counted()); err == nil || !strings.Contains(err.Error(), "must name a fact that counts") {
			t.Errorf("@fact of %s: %v", name, err)
		}
	}
}

// What cannot be computed makes the policies err that read it, and only those; an
// error denies. What nobody has looked at permits nothing.
func TestFactsThatCannotBeComputedDeny(t *testing.T) {
	broken := known(3, false)
	broken.Values["n"] = access.FactValue{Err: "fact n cannot be computed: argument /a: it is missing"}
	missing := known(3, false)
	delete(missing.Values, "n")
	for name, c := range map[string]struct {
		cedar  string
		facts  *access.Facts
		want   access.Outcome
		errs   int
		matter string
	}{
		"below":                       {`forbid (principal, action, resource) when { context.facts.n > 3 };`, known(3, false), access.Permit, 0, ""},
		"above":                       {`forbid (principal, action, resource) when { context.facts.n > 3 };`, known(4, false), access.Deny, 0, ""},
		"seen":                        {`forbid (principal, action, resource) when { context.facts.seen };`, known(0, true), access.Deny, 0, ""},
		"with arguments":              {`forbid (principal, action, resource) when { context.input has a && context.input.a == 1 && context.facts.n > 3 };`, known(4, false), access.Deny, 0, ""},
		"broken":                      {`forbid (principal, action, resource) when { context.facts.n > 3 };`, broken, access.Deny, 1, "argument /a"},
		"broken and not decisive":     {`forbid (principal, action, resource) when { false && context.facts.n > 3 };`, broken, access.Deny, 1, "argument /a"},
		"broken and guarded":          {`forbid (principal, action, resource) when { context.facts has n && context.facts.n > 3 };`, broken, access.Deny, 1, "argument /a"},
		"broken and another reads":    {`@id("x") permit (principal == Mcp::Agent::"b", action, resource) when { context.facts.n > 3 }; @id("y") forbid (principal, action, resource) when { context.facts.seen };`, broken, access.Permit, 0, ""},
		"missing":                     {`forbid (principal, action, resource) when { context.facts.n > 3 };`, missing, access.Deny, 1, "fact n"},
		"unknown":                     {`forbid (principal, action, resource) when { context.facts.n > 3 };`, nil, access.Deny, 0, ""},
		"unknown and not decisive":    {`forbid (principal, action, resource) when { false && context.facts.n > 3 };`, nil, access.Deny, 0, ""},
		"unknown and nobody reads it": {`forbid (principal, action == Mcp::Action::"s/u", resource) when { context.facts.n > 3 };`, nil, access.Permit, 0, ""},
		"a permit that is broken":     {`permit (principal, action, resource) when { context.facts.n > 3 };`, broken, access.Deny, 1, "argument /a"},
	} {
		set, err := policy.Compile([]policy.Policy{{ID: "p", Cedar: `@id("open") permit (principal, action, resource);` + c.cedar}}, counted())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		q := question(c.facts)
		q.Arguments = arguments(t, `{"a":1}`)
		v := set.Evaluate(q)
		if v.Outcome != c.want || len(v.Errors) != c.errs || c.matter != "" && !strings.Contains(strings.Join(v.Lacking, " "), c.matter) {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// arguments parses the arguments of a call.
func arguments(t *testing.T, text string) rawjson.Value {
	t.Helper()
	v, err := rawjson.Parse([]byte(text), rawjson.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A limit hides nothing from a list: there the facts are not known.
func TestListsDoNotDependOnFacts(t *testing.T) {
	for cedar, listed := range map[string]bool{
		`forbid (principal, action, resource) when { context.facts.n > 3 };`:          true,
		`forbid (principal, action, resource) when { context.facts.n > 3 || true };`:  false,
		`forbid (principal, action, resource) when { false && context.facts.n > 3 };`: true,
	} {
		set, err := policy.Compile([]policy.Policy{{ID: "p", Cedar: `@id("open") permit (principal, action, resource);` + cedar}}, counted())
		if err != nil {
			t.Fatal(err)
		}
		for _, facts := range []*access.Facts{nil, known(9, true)} {
			q := question(facts)
			q.Unknown = true
			if v := set.Evaluate(q); (v.Outcome == access.Permit || v.Maybe) != listed {
				t.Errorf("%s: %+v", cedar, v)
			}
		}
	}
}

// A set says which facts it reads at all, and which for one request.
func TestFactsAreReadWhereTheScopeMatches(t *testing.T) {
	set, err := policy.Compile([]policy.Policy{{ID: "p", Cedar: `
		@id("a") forbid (principal, action in Mcp::Action::"write", resource) when { context.facts.n > 3 && context.facts.n < 9 };
		@id("b") forbid (principal == Mcp::Agent::"b", action, resource) when { context.facts.seen };`}}, counted())
	if err != nil {
		t.Fatal(err)
	}
	equal := func(what string, got []string, want string) {
		t.Helper()
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", what, got, want)
		}
	}
	equal("the set", set.FactsRead(), "n seen")
	q := question(nil)
	equal("a write", set.FactsOf(q), "n")
	q.Agent.ID = "b"
	equal("a write of b", set.FactsOf(q), "n seen")
	q.Tool.Classes, q.Action, q.Tool.Name = []string{"read"}, "s/u", "u"
	equal("a read of b", set.FactsOf(q), "seen")
	q.Agent.ID = "a"
	equal("a read", set.FactsOf(q), "")
}

// A test gives facts their values; what it does not give cannot be computed.
func TestCasesGiveFacts(t *testing.T) {
	const cedar = `@id("open") permit (principal, action, resource); @id("max") forbid (principal, action, resource) when { context.facts.n > 3 };`
	for facts, want := range map[string]string{
		"{n: 3}":             "",
		"{n: 4}":             "outcome is deny by max, expected permit",
		"{}":                 "outcome is deny by max, expected permit",
		"{n: 3, seen: true}": "",
		"{n: 3, x: 1}":       `no fact "x" is declared`,
		"{n: true}":          `"n" is a number`,
		"{n: 3, seen: 1}":    `"seen" is true or false`,
		`{n: "3"}`:           `"n" must be a whole number, true or false`,
		"{n: 3.5}":           `"n" must be a whole number, true or false`,
	} {
		text := "kind: PolicyTest\ngiven: {agent: {id: a}, facts: " + facts + "}\ncases:\n  - name: it may\n    when: {server: s, tool: t}\n    then: {outcome: permit}\n"
		r := policy.RunTests(t.Context(), []policy.TestFile{{Path: "t", Text: text}}, []policy.Policy{{ID: "p", Cedar: cedar}}, counted())
		var got string
		for _, e := range r.Errors {
			got += e.Message
		}
		for _, res := range r.Tests {
			got += res.Message
		}
		if want == "" && !r.OK() || want != "" && !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", facts, got, want)
		}
	}
}
