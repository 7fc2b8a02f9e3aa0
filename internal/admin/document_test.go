package admin_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// What the document about policies shows must apply, and its tests must pass.
func TestPolicyDocumentIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	var docs []admin.Document
	var tests []policy.TestFile
	for i, part := range strings.Split(string(text), "```yaml\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		if strings.HasPrefix(block, "kind: PolicyTest") {
			tests = append(tests, policy.TestFile{Path: "policy.md", Text: block})
		} else {
			docs = append(docs, admin.Document{File: "policy.md", Text: block})
		}
		if i > 1 {
			t.Error("another block: is it tested?")
		}
	}
	d, err := admin.Declare(docs, day)
	if err != nil {
		t.Fatal(err)
	}
	r := policy.RunTests(t.Context(), tests, d.Policies, d.Catalog())
	if !r.OK() || len(r.Tests) != 3 {
		t.Errorf("%+v", r)
	}
	for _, w := range r.Warnings {
		if w.Policy == "release-window" {
			t.Error(w)
		}
	}
}

// What the document about people shows must apply, and its table of roles must
// be what is decided, for every operation.
func TestPeopleDocumentIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/people.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, _ := strings.Cut(string(text), "```yaml\n")
	block, rest, _ := strings.Cut(part, "```")
	if strings.Contains(rest, "```yaml") {
		t.Error("another block: is it tested?")
	}
	o := open(t)
	for _, r := range registry.Roles() {
		block += "---\nkind: User\nid: is-" + string(r) + "\nroles: [" + string(r) + "]\n"
	}
	o.apply(block)
	var roles []string
	seen := map[admin.Op]bool{}
	name := regexp.MustCompile("`([a-z]+\\.[a-z]+)`")
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		switch {
		case strings.HasPrefix(line, "| operation |"):
			for _, c := range cells[1:] {
				roles = append(roles, strings.TrimSpace(c))
			}
		case strings.HasPrefix(line, "| `"):
			for _, m := range name.FindAllStringSubmatch(cells[0], -1) {
				op := admin.Op(m[1])
				seen[op] = true
				for i, role := range roles {
					err := o.Authorize(t.Context(), admin.Actor{Kind: "user", ID: "is-" + role}, op)
					if says := strings.TrimSpace(cells[i+1]) != ""; says != (err == nil) {
						t.Errorf("%s, %s: the document says %t, the decision is %v", op, role, says, err)
					}
				}
			}
		}
	}
	if len(roles) != len(registry.Roles()) {
		t.Errorf("the table has the roles %v", roles)
	}
	for _, op := range admin.Ops() {
		if !seen[op] {
			t.Errorf("%s is not in the table", op)
		}
	}
}

// What the document about facts shows must apply, and its tests must pass.
func TestFactsDocumentIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/facts.md")
	if err != nil {
		t.Fatal(err)
	}
	var docs []admin.Document
	var tests []policy.TestFile
	for _, part := range strings.Split(string(text), "```yaml\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		if strings.HasPrefix(block, "kind: PolicyTest") {
			tests = append(tests, policy.TestFile{Path: "facts.md", Text: block})
		} else {
			docs = append(docs, admin.Document{File: "facts.md", Text: block})
		}
	}
	d, err := admin.Declare(docs, day)
	if err != nil {
		t.Fatal(err)
	}
	r := policy.RunTests(t.Context(), tests, d.Policies, d.Catalog())
	if !r.OK() || len(r.Tests) != 2 {
		t.Errorf("%+v", r)
	}
}

// The three rules for labels outside of an agent's scopes do what the document says,
// each alone, also for an agent whose allow-list covers the call.
func TestDocumentedLabelRulesDenyAskAndMask(t *testing.T) {
	text, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, _ := strings.Cut(string(text), "## Labels outside of an agent's scopes")
	_, part, _ = strings.Cut(part, "```cedar\n")
	block, _, _ := strings.Cut(part, "```")
	rules := strings.Split(strings.TrimSpace(block), "\n\n")
	cases := `kind: PolicyTest
given: {agent: {id: bot, dataScopes: ["data:public"], tools: ["crm/find"]}, tool: {classes: [read], tier: 1}}
cases:
  - given: {tool: {classes: [read], tier: 1, labels: ["data:public"]}}
    name: a label within
    when: {server: crm, tool: find, output: {labels: ["data:public"]}}
    then: {outcome: WITHIN}
  - given: {tool: {classes: [read], tier: 1, labels: ["data:public", "data:pii"]}}
    name: a label outside
    when: {server: crm, tool: find, output: {labels: ["data:public", "data:pii"]}}
    then: {outcome: OUTSIDE}
`
	outcomes := [][2]string{{"permit", "deny"}, {"permit", "require_approval"}, {"mask", "mask"}}
	if len(rules) != len(outcomes) {
		t.Fatalf("%d rules, %d outcomes", len(rules), len(outcomes))
	}
	for i, want := range outcomes {
		say := strings.NewReplacer("WITHIN", want[0], "OUTSIDE", want[1]).Replace(cases)
		r := policy.RunTests(t.Context(), []policy.TestFile{{Path: "labels.yaml", Text: say}}, []policy.Policy{{ID: "labels", Cedar: rules[i]}}, policy.Catalog{})
		if !r.OK() || len(r.Tests) != 2 {
			t.Errorf("rule %d: %+v", i, r)
		}
	}
}
