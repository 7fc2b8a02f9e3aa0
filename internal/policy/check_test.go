package policy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"rutile/internal/access"
	"rutile/internal/policy"
	"rutile/internal/rawjson"
)

var issueSchema = []byte(`{"type":"object","required":["repo","title"],"properties":{
	"repo":{"type":"string"},"title":{"type":"string"},"body":{"type":"string"},"labels":{"type":"array","items":{"type":"string"}},
	"weight":{"type":"number"},"count":{"type":"integer"},"draft":{"type":["boolean","null"]},
	"when":{"oneOf":[{"type":"string"},{"type":"integer"}]},
	"meta":{"type":"object","properties":{"lang":{"type":"string"}},"required":["lang"]},
	"extra":{"type":"object"}}}`)

func issues() policy.Catalog {
	return policy.Catalog{
		Servers: []policy.ServerInfo{{ID: "github"}},
		Agents:  []policy.AgentInfo{{ID: "bot", Class: "coding"}},
		Tools: []policy.ToolInfo{
			{Server: "github", Name: "create_issue", Classes: []string{"write"}, InputSchema: issueSchema},
			{Server: "github", Name: "free_form", Classes: []string{"write"}, InputSchema: []byte(`{"type":"object"}`)},
			{Server: "github", Name: "odd", Classes: []string{"read"}, InputSchema: []byte(`{"$ref":"https://example.com/x"}`)},
		},
	}
}

const onIssue = `(principal, action == Mcp::Action::"github/create_issue", resource)`

// The corpus of what activation accepts and refuses (access.md 2.7, 2.10).
func TestValidationCorpus(t *testing.T) {
	for _, tt := range []struct {
		name, cedar string
		errors      []string // a part of each
		warnings    []string
	}{
		{"required member", `permit ` + onIssue + ` when { context.input.repo like "acme/*" };`, nil, nil},
		{"guarded optional", `permit ` + onIssue + ` when { context.input has body && context.input.body like "x*" };`, nil, nil},
		{"unguarded optional", `forbid ` + onIssue + ` when { context.input.body like "x*" };`, nil, []string{"guard it with"}},
		{"misspelt member", `permit ` + onIssue + ` when { context.input.rep like "acme/*" };`, []string{"attribute `rep`"}, nil},
		{"misspelt optional and misspelt member", `permit ` + onIssue + ` when { context.input.body like "x" && context.input.tite == "x" };`, []string{"`tite`"}, []string{"`input.body`"}},
		{"wrong type", `permit ` + onIssue + ` when { context.input.repo > 5 };`, []string{"unexpected type"}, nil},
		{"number is decimal", `permit ` + onIssue + ` when { context.input has weight && context.input.weight.lessThan(decimal("1.5")) };`, nil, nil},
		{"number is not long", `permit ` + onIssue + ` when { context.input has weight && context.input.weight < 2 };`, []string{"unexpected type"}, nil},
		{"nested member", `permit ` + onIssue + ` when { context.input has meta && context.input.meta.lang == "go" };`, nil, nil},
		{"nested misspelt member", `permit ` + onIssue + ` when { context.input has meta && context.input.meta.lng == "go" };`, []string{"`lng`"}, nil},
		{"member without a type", `permit ` + onIssue + ` when { context.input.when == "now" };`, nil, nil},
		{"below a member without properties", `permit ` + onIssue + ` when { context.input.extra.anything == "x" };`, nil, nil},
		{"tool without properties", `permit (principal, action == Mcp::Action::"github/free_form", resource) when { context.input.tag like "v*" };`, nil, nil},
		{"tool without a usable schema", `permit (principal, action == Mcp::Action::"github/odd", resource) when { context.input.tag like "v*" };`, nil, nil},
		{"elsewhere wrong, tool without a schema", `permit (principal, action == Mcp::Action::"github/odd", resource) when { context.input.tag like "v*" } when { principal.sped == 3 };`, []string{"`sped`"}, nil},
		{"wrong principal type", `permit (principal is Mcp::Tool, action, resource);`, []string{"applicable action"}, nil},
		{"unknown entity type", `permit (principal == Mcp::Agnet::"bot", action, resource);`, []string{"Mcp::Agnet"}, nil},
		{"unknown attribute", `permit (principal, action, resource) when { principal.trusted };`, []string{"`trusted`"}, nil},
		{"later attribute", `forbid (principal, action, resource) when { context.session.weather > 5 };`, []string{"`weather`"}, nil},
		{"group without guard", `forbid (principal, action in Mcp::Action::"write", resource) when { context.input.repo == "x" };`, []string{"name the action"}, nil},
		{"group with guard", `forbid (principal, action in Mcp::Action::"write", resource) when { context.input has repo && context.input.repo == "x" };`, nil, nil},
		{"group nobody is in", `forbid (principal, action in Mcp::Action::"destroy", resource) when { resource.tier > 2 };`, nil, nil},
		{"unknown tool", `permit (principal, action == Mcp::Action::"github/close_issue", resource) when { context.input.n > 1 };`, nil, []string{`no approved tool "close_issue"`}},
		{"unknown server", `permit (principal, action == Mcp::Action::"gitlab/x", resource in Mcp::Server::"gitlab");`, nil, []string{`no server "gitlab"`, `no server "gitlab"`}},
		{"unknown agent", `permit (principal == Mcp::Agent::"bob", action, resource);`, nil, []string{`Mcp::Agent::"bob"`}},
		{"unknown class", `permit (principal in Mcp::AgentClass::"cooking", action, resource);`, nil, []string{`cooking`}},
		{"known class", `permit (principal in Mcp::AgentClass::"coding", action, resource);`, nil, nil},
		{"action without a server", `permit (principal, action == Mcp::Action::"create_issue", resource);`, []string{"unknown action"}, nil},
		{"misspelt group", `forbid (principal, action in Mcp::Action::"destory", resource);`, []string{"unknown action"}, nil},
		{"misspelt group among others", `forbid (principal, action in [Mcp::Action::"write", Mcp::Action::"destory"], resource);`, []string{"unknown action"}, nil},
		{"prompt", `permit (principal, action == Mcp::Action::"github/prompts/x", resource) when { context.input.y == "1" };`, nil, nil},
		{"resource", `permit (principal, action == Mcp::Action::"github/resources/read", resource) when { context.input.uri like "file:*" };`, nil, nil},
		{"resource misspelt", `permit (principal, action == Mcp::Action::"github/resources/read", resource) when { context.input.url like "file:*" };`, []string{"`url`"}, nil},
		{"two actions, one without a type", `permit (principal, action in [Mcp::Action::"github/create_issue", Mcp::Action::"github/odd"], resource) when { context.input.repo == "x" };`, nil, nil},
		{"two actions, one misspelt", `permit (principal, action in [Mcp::Action::"github/create_issue", Mcp::Action::"github/odd"], resource) when { context.input.rep == "x" };`, []string{"`rep`"}, nil},
		{"grant unguarded", `permit (principal, action, resource) when { context.grant.quorum > 1 };`, []string{"guard it with"}, nil},
		{"empty", `// nothing`, []string{"no policy"}, nil},
		{"not Cedar", `allow everything;`, []string{"not Cedar"}, nil},
		{"two mistakes of two policies", "permit (principal, action, resource) when { principal.a };\npermit (principal, action, resource) when { principal.b };", []string{"`a`", "`b`"}, nil},
		{"broken then wrong", "permit (principal, action resource);\npermit (principal, action, resource) when { principal.b };", []string{"not Cedar", "`b`"}, nil},
		{"says the same", "permit (principal, action, resource);\n@doc(\"x\") permit(principal,action,resource);", nil, []string{"says the same as p.1"}},
		{"same id", "@id(\"x\") permit (principal, action, resource);\n@id(\"x\") forbid (principal, action, resource);", []string{`the id "x" is taken`}, nil},
		{"bad id", `@id("a b") permit (principal, action, resource);`, []string{"@id"}, nil},
		{"too deep", `permit (principal, action, resource) when { ` + strings.Repeat("(", 65) + "true" + strings.Repeat(")", 65) + ` };`, []string{"nested"}, nil},
		{"too long", `permit (principal, action, resource) when { context.session.id == "` + strings.Repeat("x", 1<<16) + `" };`, []string{"65"}, nil},
		{"too many operators", `permit (principal, action, resource) when { context has ` + strings.Repeat("a.", 3000) + `a };`, []string{"operators"}, nil},
		{"semicolons and comments", "permit (principal, action, resource) // a ; and a \"\nwhen { context.session.id == \"a;b\\\";c\" }; // end;", nil, nil},
	} {
		report := policy.Check([]policy.Policy{{ID: "p", Cedar: tt.cedar}}, issues())
		match := func(what string, got policy.Problems, want []string) {
			ok := len(got) == len(want)
			for i := range want {
				ok = ok && strings.Contains(got[i].Message, want[i])
			}
			if !ok {
				t.Errorf("%s: %s are\n%v\nwant %q", tt.name, what, got, want)
			}
		}
		match("errors", report.Errors, tt.errors)
		match("warnings", report.Warnings, tt.warnings)
		_, err := policy.Compile([]policy.Policy{{ID: "p", Cedar: tt.cedar}}, issues())
		if (err == nil) != (len(tt.errors) == 0) || err != nil && access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("%s: compile and check disagree: %v", tt.name, err)
		}
		// What was accepted once must load over any catalog and stay strict.
		if _, rep, err := policy.Load([]policy.Policy{{ID: "p", Cedar: tt.cedar}}, issues()); err == nil && len(rep.Errors) > 0 {
			t.Errorf("%s: loaded with errors %v", tt.name, rep.Errors)
		}
	}
}

func TestProblemsNameThePlace(t *testing.T) {
	p := policy.Policy{ID: "p", File: "rules.yaml", Line: 10, Cedar: "// first\npermit (principal, action, resource)\nwhen { principal.attested &&\n       principal.sped };\n\n  forbid (principal, action resource);\n@colour(\"red\")\nforbid (principal, action, resource);\n"}
	q := policy.Policy{ID: "a", Cedar: "permit(principal,action,resource)"}
	_, err := policy.Compile([]policy.Policy{p, q}, policy.Catalog{})
	var got []string
	for _, x := range policy.ProblemsOf(err) {
		got = append(got, x.Place()+" | "+x.Source)
	}
	want := []string{
		"policy a:1:34 | permit(principal,action,resource)",
		"rules.yaml:13:18 |        principal.sped };",
		"rules.yaml:15:29 |   forbid (principal, action resource);",
		`rules.yaml:16:2 | @colour("red")`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s\n%v", diff, err)
	}
}

func TestUntypedInputsAreReported(t *testing.T) {
	got := policy.Check(nil, issues()).Untyped
	want := []string{
		"github/create_issue: parts of its input schema have no type in Cedar",
		"github/free_form: its input schema names no properties",
		"github/odd: its input schema is not a plain object",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The schema is part of what a decision stands on.
func TestSchemaDigestFollowsTheTools(t *testing.T) {
	a := compile(t, issues())
	c := issues()
	c.Tools[0].InputSchema = []byte(strings.Replace(string(issueSchema), `"count":{"type":"integer"}`, `"count":{"type":"number"}`, 1))
	if b := compile(t, c); a.Schema() == b.Schema() || a.Digest() != b.Digest() {
		t.Errorf("schema %s and %s, set %s and %s", a.Schema(), b.Schema(), a.Digest(), b.Digest())
	}
}

// Golden cases: a policy set, questions, and the verdict to each.
func TestGoldenDecisions(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var ps []policy.Policy
			c := issues()
			var cases []byte
			for _, f := range ar.Files {
				switch name, ext := strings.TrimSuffix(f.Name, filepath.Ext(f.Name)), filepath.Ext(f.Name); ext {
				case ".cedar":
					ps = append(ps, policy.Policy{ID: name, File: f.Name, Line: 1, Cedar: string(f.Data)})
				case ".list":
					c.AllowLists = append(c.AllowLists, policy.AllowList{Agent: name, Expires: now.AddDate(1, 0, 0), Patterns: strings.Fields(string(f.Data))})
				default:
					cases = f.Data
				}
			}
			set, err := policy.Compile(ps, c)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for line := range strings.Lines(string(cases)) {
				question, _, _ := strings.Cut(strings.TrimSpace(line), " => ")
				if question == "" || question[0] == '#' {
					got.WriteString(line)
					continue
				}
				fmt.Fprintf(&got, "%s => %s\n", question, ask(t, set, question))
			}
			if diff := cmp.Diff(string(cases), got.String()); diff != "" {
				if os.Getenv("UPDATE_GOLDEN") != "" {
					ar.Files[len(ar.Files)-1].Data = []byte(got.String())
					if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// ask answers "agent class server/tool {arguments}" or "… ?" for unknown ones.
func ask(t *testing.T, set *policy.Set, question string) string {
	t.Helper()
	part := strings.SplitN(question, " ", 4)
	if len(part) != 4 {
		t.Fatalf("not a question: %s", question)
	}
	server, tool, _ := strings.Cut(part[2], "/")
	q := query(t, part[0], server, tool, "", strings.Split(part[1], ",")...)
	if part[3] == "?" {
		q.Unknown = true
	} else {
		v, err := rawjson.Parse([]byte(part[3]), rawjson.Limits{})
		if err != nil {
			t.Fatalf("%s: %v", question, err)
		}
		q.Arguments = v
	}
	v := set.Evaluate(q)
	out := v.Outcome.String()
	if v.Maybe {
		out = "maybe"
	}
	for _, x := range []struct {
		name string
		ids  []string
	}{{"permits", v.Permits}, {"forbids", v.Forbids}, {"errors", v.Errors}} {
		if len(x.ids) > 0 {
			out += " " + x.name + "=" + strings.Join(x.ids, ",")
		}
	}
	return out
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{"", ";", "permit(principal,action,resource);", `@id("x") forbid (principal, action, resource) when { context.input.a.b like "*\*" };`,
		"permit (principal in Mcp::Agent::\"a\", action in [], resource is Mcp::Tool in Mcp::Server::\"s\") unless { [1,2].containsAny([context.session.depth]) };",
		`permit(principal,action,resource) when { if true then {"a": 1}.a == 1 else ip("1.2.3.4").isLoopback() };`, "\"", "//", `permit(principal,action,resource) when { context["input"]["a b"] == 1 };`,
		`forbid(principal,action,resource) when { principal.getTag("x") == resource.getTag("y") && principal.hasTag("z") };`,
		`permit(principal,action,resource) when { context.derived.call_bytes > 1 && context.derived.url_host has repo };`, `permit(principal,action,resource) when { context.derived == {c: context}.c.derived };`,
		"permit(principal,action,resource) when { 1 < 2 }\nunless { principal.tier > 3 && principal.tier < 2 || if 1 == 1 then false else true };"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := policy.Compile([]policy.Policy{{ID: "p", Cedar: text}}, issues())
		if err != nil {
			ps := policy.ProblemsOf(err)
			if len(ps) == 0 {
				t.Fatalf("an error without problems: %v", err)
			}
			lines := strings.Count(text, "\n") + 1
			for _, p := range ps {
				if p.Line < 1 || p.Line > lines || p.Column < 1 || p.Message == "" {
					t.Fatalf("a problem without a place: %+v", p)
				}
			}
			return
		}
		for _, w := range policy.Check([]policy.Policy{{ID: "p", Cedar: text}}, issues()).Warnings {
			if w.Line < 1 || w.Line > strings.Count(text, "\n")+1 || w.Column < 1 {
				t.Fatalf("a warning without a place: %+v", w)
			}
		}
		q := query(t, "bot", "github", "create_issue", `{"repo":"a","a":{"b":1},"a b":1}`, "write")
		v, full := set.Evaluate(q), set.FullScan(q)
		if v.Outcome != full.Outcome || cmp.Diff(v.Errors, full.Errors) != "" || cmp.Diff(v.Forbids, full.Forbids) != "" {
			t.Fatalf("%+v, full scan %+v", v, full)
		}
		q.Unknown = true
		if l := set.Evaluate(q); v.Outcome == access.Permit && l.Outcome != access.Permit && !l.Maybe {
			t.Fatalf("permitted and yet not listed: %+v", l)
		}
		set.Explain(q)
	})
}
