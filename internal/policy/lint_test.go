package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/policy"
)

// The corpus of what "check" warns about and what it must not warn about.
func TestLintCorpus(t *testing.T) {
	const on = `(principal, action == Mcp::Action::"github/create_issue", resource)`
	for _, tt := range []struct{ name, cedar, want string }{
		// Conditions.
		{"constantly false", `permit ` + on + ` when { 1 > 2 };`, "never matches: this condition"},
		{"constantly false with and", `permit ` + on + ` when { principal.attested && false };`, "never matches: this condition"},
		{"constantly false with unless", `permit ` + on + ` unless { true || principal.attested };`, "never matches: this condition"},
		{"always errs", `permit ` + on + ` when { 9223372036854775807 + 1 > 2 };`, "never matches: this condition"},
		{"constantly true", `permit ` + on + ` when { true };`, "always met"},
		{"constantly true with or", `permit ` + on + ` when { true || principal.attested };`, "always met"},
		{"unless never", `forbid ` + on + ` unless { "a" == "b" };`, "always met"},
		{"an if that can be either", `permit ` + on + ` when { if principal.attested then true else false };`, ""},
		{"an if that cannot", `permit ` + on + ` when { if principal.attested then false else 1 == 2 };`, "never matches"},
		{"the same on both sides", `permit ` + on + ` when { principal.tier != principal.tier };`, "never matches"},
		{"two values", `permit ` + on + ` when { principal.status == "a" } when { "b" == principal.status };`, "contradicts"},
		{"a value and not it", `permit ` + on + ` when { principal.status == "a" } unless { principal.status == "a" };`, "contradicts"},
		{"a condition and not it", `permit ` + on + ` when { principal.attested && !(principal.attested) };`, "contradicts"},
		{"an empty range", `permit ` + on + ` when { principal.tier > 3 && principal.tier <= 3 };`, "contradicts"},
		{"an empty range, mirrored", `permit ` + on + ` when { 3 < principal.tier } unless { principal.tier >= 4 };`, "contradicts"},
		{"a value out of range", `permit ` + on + ` when { principal.tier == 1 && principal.tier >= 2 };`, "contradicts"},
		{"below every number", `permit ` + on + ` when { principal.tier < -9223372036854775808 };`, "contradicts"},
		{"another agent than the scope's", `permit (principal == Mcp::Agent::"bot", action, resource) when { principal == Mcp::Agent::"other" };`, "contradicts"},
		{"unless either", `permit ` + on + ` when { principal.tier == 1 } unless { principal.tier == 1 || principal.attested };`, "contradicts"},
		{"a range of one", `permit ` + on + ` when { principal.tier >= 3 && principal.tier <= 3 };`, ""},
		{"either of two values", `permit ` + on + ` when { principal.status == "a" || principal.status == "b" };`, ""},
		{"values of two things", `permit ` + on + ` when { principal.status == "a" && principal.class == "b" };`, ""},
		{"not both", `permit ` + on + ` when { principal.attested } unless { principal.attested && principal.tier > 1 };`, ""},
		{"not one value, not another", `permit ` + on + ` when { principal.status != "a" && principal.status != "b" };`, ""},
		{"the agent of the scope", `permit (principal == Mcp::Agent::"bot", action, resource) when { principal == Mcp::Agent::"bot" };`, ""},
		{"entities are not constants", `permit ` + on + ` when { Mcp::Agent::"bot" in Mcp::AgentClass::"coding" || principal.attested };`, ""},
		// Scopes.
		{"tool of another server", `forbid (principal, action == Mcp::Action::"github/create_issue", resource in Mcp::Server::"files");`, "none of its actions"},
		{"another tool", `forbid (principal, action == Mcp::Action::"github/create_issue", resource == Mcp::Tool::"github/odd");`, "none of its actions"},
		{"one of the actions", `forbid (principal, action in [Mcp::Action::"github/create_issue", Mcp::Action::"files/read"], resource in Mcp::Server::"files");`, ""},
		{"a group in a server", `forbid (principal, action in Mcp::Action::"write", resource in Mcp::Server::"files");`, ""},
		{"its own tool", `forbid (principal, action == Mcp::Action::"github/odd", resource == Mcp::Tool::"github/odd");`, ""},
		// A permit that a forbid always overrides.
		{"overridden whole", `permit ` + on + ` when { principal.attested }; forbid (principal, action, resource);`, "never permits anything: p.2 (policy p:1)"},
		{"overridden by group", `permit ` + on + `; forbid (principal, action in Mcp::Action::"write", resource);`, "never permits anything"},
		{"overridden by a higher group", `permit (principal, action in Mcp::Action::"destroy", resource); forbid (principal, action in Mcp::Action::"write", resource);`, "never permits anything"},
		{"overridden by class", `permit (principal == Mcp::Agent::"bot", action, resource); forbid (principal in Mcp::AgentClass::"coding", action, resource);`, "never permits anything"},
		{"overridden by server", `permit ` + on + `; forbid (principal, action, resource in Mcp::Server::"github");`, "never permits anything"},
		{"overridden by tool", `permit (principal, action, resource == Mcp::Tool::"github/odd"); forbid (principal, action in Mcp::Action::"call", resource == Mcp::Tool::"github/odd");`, ""}, // discovery is no call
		{"overridden in a list of actions", `permit (principal, action in [Mcp::Action::"github/create_issue", Mcp::Action::"github/free_form"], resource); forbid (principal, action in [Mcp::Action::"write", Mcp::Action::"read"], resource);`, "never permits anything"},
		{"not all actions", `permit (principal, action in [Mcp::Action::"github/create_issue", Mcp::Action::"github/odd"], resource); forbid (principal, action in Mcp::Action::"write", resource);`, ""},
		{"a forbid with a condition", `permit ` + on + `; forbid (principal, action, resource) unless { principal.attested };`, ""},
		{"another class", `permit (principal in Mcp::AgentClass::"coding", action, resource); forbid (principal == Mcp::Agent::"bot", action, resource);`, ""},
		{"another server", `permit ` + on + `; forbid (principal, action, resource in Mcp::Server::"files");`, ""},
		{"the forbid is dead", `permit ` + on + `; forbid (principal, action in Mcp::Action::"write", resource) when { false };`, "never matches"},
		{"plain outcome", `permit ` + on + `; @outcome("deny") @advice("x") forbid (principal, action, resource);`, "never permits anything"},
		// A statement that another of its effect covers.
		{"shadowed by a wider permit", `permit (principal, action in Mcp::Action::"write", resource); permit ` + on + ` when { principal.attested };`, "adds nothing: p.1"},
		{"shadowed by a later one", `forbid ` + on + ` when { principal.attested }; forbid (principal, action, resource);`, "adds nothing: p.2"},
		{"the same conditions", `forbid (principal, action, resource) when { principal.tier > 1 }; forbid (principal == Mcp::Agent::"bot", action, resource) when {principal.tier>1};`, "adds nothing: p.1"},
		{"the same in other words", `permit (principal, action, resource in Mcp::Server::"github"); permit (principal is Mcp::Agent, action, resource in Mcp::Server::"github");`, "adds nothing: p.1"},
		{"the same text is said elsewhere", `permit ` + on + `; permit ` + on + `;`, ""},
		{"other conditions", `forbid (principal, action, resource) when { principal.tier > 1 }; forbid ` + on + ` when { principal.tier > 2 };`, ""},
		{"narrower first", `permit ` + on + `; permit (principal, action in Mcp::Action::"write", resource) when { principal.attested };`, ""},
		{"other effect", `permit (principal, action in Mcp::Action::"read", resource); forbid (principal, action in Mcp::Action::"read", resource) when { principal.tier > 1 };`, ""},
	} {
		c := issues()
		c.Servers = append(c.Servers, policy.ServerInfo{ID: "files"})
		c.Tools = append(c.Tools, policy.ToolInfo{Server: "files", Name: "read", Classes: []string{"read"}})
		report := policy.Check([]policy.Policy{{ID: "p", Cedar: tt.cedar}}, c)
		if len(report.Errors) > 0 {
			t.Errorf("%s: %v", tt.name, report.Errors)
			continue
		}
		got := slices.DeleteFunc(messages(report.Warnings), func(m string) bool { return strings.HasPrefix(m, "says the same as") })
		if tt.want == "" && len(got) > 0 || tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestLintNamesThePlace(t *testing.T) {
	p := policy.Policy{ID: "p", File: "rules.yaml", Line: 10, Cedar: `@advice("when { unless { ( ")
// when never
permit (principal, action, resource)
when { context.session.id == "unless" }
  unless { true };
  permit (principal, action, resource) when { principal.attested };
forbid (principal, action, resource);`}
	var got []string
	for _, w := range policy.Check([]policy.Policy{p}, policy.Catalog{}).Warnings {
		got = append(got, w.Place()+" "+w.Message)
	}
	want := []string{
		"rules.yaml:14:3 never matches: this condition cannot come to be met, whatever is asked",
		"rules.yaml:15:3 never permits anything: p.3 (rules.yaml:16) forbids all it is about",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Nothing is warned about that makes a difference for any request tried.
func TestLintIsSound(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 4))
	rounds, seen, hit := 400, map[string]int{}, 0
	if testing.Short() {
		rounds = 60
	}
	for round := range rounds {
		c := randomCatalog(r)
		c.Agents = []policy.AgentInfo{{ID: "x", Class: "c"}, {ID: "y", Class: "d"}, {ID: "z"}}
		var ps []policy.Policy
		for i := range 2 + r.IntN(40) {
			text := randomPolicy(r)
			for range r.IntN(3) {
				text = strings.TrimSuffix(text, ";") + pick(r, ` when { true };`, ` unless { false };`, ` when { principal.tier > 1 };`, ` unless { principal.tier >= 2 };`, ` when { principal.tier == 1 };`,
					` when { principal.status == "active" };`, ` unless { principal.status == "active" };`, ` when { principal == Mcp::Agent::"x" };`, ` when { principal.tier < 3 || principal.attested };`)
			}
			p := policy.Policy{ID: fmt.Sprintf("p%d", i), Cedar: text}
			if len(policy.Check([]policy.Policy{p}, c).Errors) == 0 {
				ps = append(ps, p)
			}
		}
		set, err := policy.Compile(ps, c)
		if err != nil {
			t.Fatal(err)
		}
		warnings := policy.Check(ps, c).Warnings
		for range 60 {
			q := randomQuery(t, r)
			q.Agent.Class = map[string]string{"x": "c", "y": "d"}[q.Agent.ID]
			if q.Tool.Kind == access.KindTool && q.Tool.Name != "c" {
				q.Tool.Classes = []string{"read"}
			}
			v := set.Evaluate(q)
			matched := append(slices.Clone(v.Permits), v.Forbids...)
			for _, w := range warnings {
				kind, other, _ := strings.Cut(w.Message, ":")
				seen[kind]++
				if !slices.Contains(matched, w.Policy) {
					continue
				}
				other, _, _ = strings.Cut(strings.TrimSpace(other), " ")
				hit++
				switch kind {
				case "never matches":
					t.Fatalf("seed %d round %d: %s matches %+v\n%v", seed, round, w, q, ps)
				case "never permits anything":
					if !slices.Contains(v.Forbids, other) {
						t.Fatalf("seed %d round %d: %s: %+v\n%+v\n%v", seed, round, w, v, q, ps)
					}
				case "adds nothing":
					if !slices.Contains(matched, other) {
						t.Fatalf("seed %d round %d: %s: %+v\n%+v\n%v", seed, round, w, v, q, ps)
					}
				}
			}
		}
	}
	if len(seen) < 4 || hit == 0 {
		t.Errorf("the random sets are dull: %v, %d", seen, hit)
	}
}
