package policy_test

import (
	"strings"
	"testing"

	"rutile/internal/policy"
)

// TestUnknownLabelsAreTold: every way to look for a word in a set of labels is read, a
// word that is looked for elsewhere is not, and nothing is said where nothing is known.
func TestUnknownLabelsAreTold(t *testing.T) {
	for _, c := range []struct{ name, when, want string }{
		{"labels of the session", `context.session.labels.contains("source:cmr")`, `"source:cmr": no server has it, and no manifest of kind Label declares it, or was source:crm meant?`},
		{"what is sent", `context.facts.flow_content_labels.containsAll(["pii", "db:live"])`, `"db:live"`},
		{"the other way round", `["secret", "db:live"].containsAny(context.session.taint)`, `"db:live"`},
		{"labels of the tool", `!resource.labels.contains("db:live")`, `"db:live"`},
		{"scopes of the agent", `if principal.dataScopes.contains("db:live") then true else false`, `"db:live"`},
		{"known", `context.session.labels.containsAny(["source:crm", "secret", "pii"])`, ""},
		{"of a kind", `context.session.taint.contains("untrusted:mail")`, ""},
		{"of the gateway", `context.session.taint.containsAny(["untrusted", "finding", "lost", "server:any"])`, ""},
		{"another set", `context.facts.flow_asked.contains("no") || context.facts.args_findings.contains("secret.token")`, ""},
		{"another word", `context.session.task == "source:cmr"`, ""},
	} {
		text := []policy.Policy{{ID: "p", Cedar: "@id(\"p\")\nforbid (principal, action in Mcp::Action::\"egress\", resource)\nwhen {\n  " + c.when + " };"}}
		catalog := policy.Catalog{Labels: []string{"source:crm", "untrusted:*"}}
		report := policy.Check(text, catalog)
		said := policy.Problems{}
		for _, w := range report.Warnings {
			if strings.Contains(w.Message, "no label") {
				said = append(said, w)
			}
		}
		if len(report.Errors) > 0 || (c.want == "") != (len(said) == 0) || len(said) > 1 {
			t.Errorf("%s: %v %v", c.name, report.Errors, report.Warnings)
			continue
		}
		if c.want != "" && (!strings.Contains(said[0].Message, c.want) || said[0].Line != 4 || said[0].Column < 5) {
			t.Errorf("%s: %v, want %s", c.name, said[0], c.want)
		}
		catalog.Declared = true
		if strict := policy.Check(text, catalog); (c.want == "") != strict.OK() {
			t.Errorf("%s: declared: %v", c.name, strict.Errors)
		}
		if set, err := policy.Compile(text, catalog); err != nil || (c.want == "") != (len(set.Unlabelled()) == 0) {
			t.Errorf("%s: what stands is refused, or not told: %v", c.name, err)
		}
		if open := policy.Check(text, policy.Catalog{}); !open.OK() || strings.Contains(open.Warnings.Error(), "no label") {
			t.Errorf("%s: nothing is known, and %v", c.name, open)
		}
	}
}
