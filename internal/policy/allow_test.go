package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/policy"
)

// mirror is every kind of name a server may give, honest and hostile.
var mirrorTools = []string{"list_issues", "list_prs", "create_release", "delete_repo", "a/b", `q"uote`, `back\slash`, "uni\u00e9", "unie\u0301", "co::lon", "prompts",
	"resources", "x prompts/y", `x", resource); permit (principal, action, resource); //`, "List_issues", "list", "списoк"}

// The list and the policy compiled from it agree for every agent and tool, in
// calls and in lists.
func TestAllowListMirror(t *testing.T) {
	lists := map[string][]string{
		"nobody":   {},
		"reader":   {"github/list_*"},
		"exact":    {"github/create_release", "github/a/b", `github/q"uote`},
		"all":      {"github/*"},
		"anyone":   {"*/list*"},
		"stars":    {"git*/*_*"},
		"tricky":   {`github/back\*`, "github/*::*", "github/uni?"},
		"prompts":  {"github/prompts/*"},
		"prompt":   {"github/prompts/greet"},
		"globbed":  {"github/prompts/g*"},
		"resource": {"github/resources/read"},
		"letter":   {"github/p*", "github/r*"},
		"many":     {"github/list_*", "github-evil/delete_repo", "github/list_issues"},
	}
	c := policy.Catalog{}
	for _, s := range []string{"github", "github-evil", "git"} {
		c.Servers = append(c.Servers, policy.ServerInfo{ID: s})
		for _, n := range mirrorTools {
			c.Tools = append(c.Tools, policy.ToolInfo{Server: s, Name: n, Classes: []string{"read"}})
		}
		for _, n := range []string{"greet", "list_issues"} {
			c.Tools = append(c.Tools, policy.ToolInfo{Server: s, Name: n, Kind: access.KindPrompt})
		}
	}
	for a, l := range lists {
		c.AllowLists = append(c.AllowLists, policy.AllowList{Agent: a, Expires: now.Add(time.Hour), Patterns: l})
	}
	set := compile(t, c)
	covered := 0
	for agent, patterns := range lists {
		for _, s := range c.Servers {
			ask := func(kind access.Kind, target string) {
				want := slices.ContainsFunc(patterns, func(text string) bool {
					p, err := policy.ParsePattern(text)
					return err == nil && p.Covers(s.ID, kind, target)
				})
				r := access.Request{Server: s.ID, Kind: kind, Target: target}
				q := query(t, agent, s.ID, target, `{"x":1}`)
				q.Action, q.Tool.Kind = r.Action(), kind
				v := set.Evaluate(q)
				q.Unknown = true
				l := set.Evaluate(q)
				if got := v.Outcome == access.Permit; got != want {
					t.Errorf("%s %v, %s %s %q: permitted %t, listed in the manifest %t", agent, patterns, s.ID, kind, target, got, want)
				}
				if got := l.Outcome == access.Permit || l.Maybe; got != want {
					t.Errorf("%s %v, %s %s %q: shown %t, listed in the manifest %t", agent, patterns, s.ID, kind, target, got, want)
				}
				if want {
					covered++
					if diff := cmp.Diff([]string{"allow." + agent + "." + s.ID}, v.Permits); diff != "" {
						t.Errorf("%s: %s", agent, diff)
					}
				}
			}
			for _, n := range mirrorTools {
				ask(access.KindTool, n)
			}
			for _, n := range []string{"greet", "list_issues"} {
				ask(access.KindPrompt, n)
			}
			ask(access.KindResource, "file:///etc/passwd")
			for _, n := range []string{"sampling", "elicitation", "roots"} {
				ask(access.KindAsk, n)
			}
		}
	}
	if covered < 60 {
		t.Errorf("only %d pairs are covered: the test shows little", covered)
	}
}

func TestPatternAttacks(t *testing.T) {
	for _, tt := range []struct {
		pattern, server string
		kind            access.Kind
		target          string
		want            bool
	}{
		{"github/*", "github", access.KindTool, "anything", true},
		{"github/*", "github-evil", access.KindTool, "anything", false},
		{"github/*", "githu", access.KindTool, "b", false},
		{"github/*", "github", access.KindTool, "a/b", true},
		{"github/*", "github", access.KindTool, "", true},
		{"github/*", "github", access.KindTool, "requests/sampling", false},
		{"github/*", "github", access.KindTool, "prompts/x", false},
		{"github/*", "github", access.KindAsk, "sampling", false},
		{"github/*", "github", access.KindServer, "", false},
		{"github/*", "github", "", "x", false},
		{"github/list_*", "github", access.KindTool, "LIST_x", false},
		{"github/list_*", "github", access.KindTool, "xlist_x", false},
		{"github/l?st", "github", access.KindTool, "list", false},
		{"github/[a-z]", "github", access.KindTool, "b", false},
		{`github/\*`, "github", access.KindTool, "*", false},
		{`github/\*`, "github", access.KindTool, `\x`, true},
		{"github/caf\u00e9", "github", access.KindTool, "cafe\u0301", false},
		{"git*/x", "github", access.KindTool, "x", true},
		{"git*/x", "git", access.KindTool, "hub/x", false},
		{"*/x", "a", access.KindTool, "b/x", false},
		{"s/**a**b**", "s", access.KindTool, "xaxbx", true},
		{"s/*ab", "s", access.KindTool, "aab", true},
		{"s/a*a", "s", access.KindTool, "a", false},
		{"s/p*", "s", access.KindPrompt, "x", false},
		{"s/p*", "s", access.KindTool, "ping", true},
		{"s/r*", "s", access.KindResource, "file:///x", false},
		{"s/resources/*", "s", access.KindResource, "file:///x", true},
		{"s/resources/x*", "s", access.KindResource, "file:///x", false},
		{"s/prompts/a*", "s", access.KindPrompt, "ab", true},
		{"s/prompts/a*", "s", access.KindPrompt, "ba", false},
	} {
		p, err := policy.ParsePattern(tt.pattern)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		if got := p.Covers(tt.server, tt.kind, tt.target); got != tt.want {
			t.Errorf("%s covers %s %s %q: %t, want %t", tt.pattern, tt.server, tt.kind, tt.target, got, tt.want)
		}
	}
	for _, bad := range []string{"", "*", "/", "github", "github/", "/x", "GitHub/x", "git hub/x", `gi"t/x`, "-x/y", "s/requests/sampling", "s/requests/*", strings.Repeat("a", 64) + "/x", "../x"} {
		if p, err := policy.ParsePattern(bad); err == nil {
			t.Errorf("%q is accepted as %+v", bad, p)
		}
	}
}

// A pattern with many stars must not cost more than the product of the lengths.
func TestPatternIsNotExponential(t *testing.T) {
	p, err := policy.ParsePattern("s/" + strings.Repeat("*a", 200) + "b")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool, 1)
	go func() { done <- p.Covers("s", access.KindTool, strings.Repeat("a", 20_000)) }()
	select {
	case got := <-done:
		if got {
			t.Error("it matches")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("matching does not end")
	}
}

// No id, tool name or pattern is ever read as Cedar.
func TestNamesAreNotCedar(t *testing.T) {
	evil := `x", resource); permit (principal, action, resource); //`
	c := policy.Catalog{Servers: []policy.ServerInfo{{ID: "s"}},
		Tools:      []policy.ToolInfo{{Server: "s", Name: evil}, {Server: "s", Name: "other"}},
		AllowLists: []policy.AllowList{{Agent: "bot", Patterns: []string{"s/x*", "s/" + evil}}}}
	set := compile(t, c)
	for tool, want := range map[string]access.Outcome{evil: access.Permit, "other": access.Deny} {
		if v := set.Evaluate(query(t, "bot", "s", tool, `{}`)); v.Outcome != want {
			t.Errorf("%q: %+v", tool, v)
		}
	}
	if v := set.Evaluate(query(t, "mallory", "s", "other", `{}`)); v.Outcome != access.Deny {
		t.Errorf("mallory: %+v", v)
	}
	// What the set shows of itself reads back as the one permit it is.
	for _, st := range set.Policies() {
		if st.ID != "allow.bot.s" {
			continue
		}
		again, err := policy.Compile([]policy.Policy{{ID: "again", Cedar: strings.Replace(st.Cedar, "allow.bot.s", "copy", 1)}}, c)
		if err != nil {
			t.Fatalf("%s: %v", st.Cedar, err)
		}
		if n := len(again.Policies()); n != len(set.Policies())+1 {
			t.Errorf("the text of one permit reads as %d policies", n-len(set.Policies()))
		}
	}
	for _, agent := range []string{`bot", action, resource); //`, "", "Bot", "a.b", "*"} {
		c.AllowLists[0].Agent = agent
		if _, err := policy.Compile(nil, c); err == nil {
			t.Errorf("agent %q is accepted", agent)
		}
	}
}

// A tool that appears after the list was written is not covered until a set is
// compiled over its approval.
func TestGlobNeverCoversUnseenTool(t *testing.T) {
	c := policy.Catalog{Servers: []policy.ServerInfo{{ID: "s"}}, Tools: []policy.ToolInfo{{Server: "s", Name: "list_a"}},
		AllowLists: []policy.AllowList{{Agent: "bot", Patterns: []string{"s/list_*"}}}}
	before := compile(t, c)
	c.Tools = append(c.Tools, policy.ToolInfo{Server: "s", Name: "list_b"})
	after := compile(t, c)
	for _, tt := range []struct {
		set  *policy.Set
		tool string
		want access.Outcome
	}{{before, "list_a", access.Permit}, {before, "list_b", access.Deny}, {after, "list_b", access.Permit}} {
		if v := tt.set.Evaluate(query(t, "bot", "s", tt.tool, `{}`)); v.Outcome != tt.want {
			t.Errorf("%s: %+v", tt.tool, v)
		}
	}
	if before.Digest() == after.Digest() {
		t.Error("the sets differ and their digests do not")
	}
}

func TestStandingGrantOnlyWhereTheListCovers(t *testing.T) {
	c := policy.Catalog{Servers: []policy.ServerInfo{{ID: "s"}}, Tools: []policy.ToolInfo{{Server: "s", Name: "listed", Classes: []string{"write"}}},
		AllowLists: []policy.AllowList{{Agent: "bot", Expires: now.Add(time.Hour), Patterns: []string{"s/listed"}}}}
	set := compile(t, c, `permit (principal, action, resource);
forbid (principal, action in Mcp::Action::"write", resource)
unless { context has grant && context.grant.remaining > 0 && context.now < context.grant.expiresAt };`,
		`forbid (principal, action in Mcp::Action::"destroy", resource) unless { context has grant && context.grant.quorum >= 2 && context.grant.argsBound };`)
	for i, tt := range []struct {
		tool, class string
		grant       *policy.GrantFacts
		late        bool
		want        access.Outcome
	}{
		{"listed", "write", nil, false, access.Permit},
		{"listed", "write", nil, true, access.Deny}, // the agent's end has passed
		{"unlisted", "write", nil, false, access.Deny},
		{"listed", "destroy", nil, false, access.Deny}, // a standing grant has no quorum
		{"unlisted", "write", &policy.GrantFacts{Remaining: 1, ExpiresAt: now.Add(time.Hour)}, false, access.Permit},
		{"listed", "write", &policy.GrantFacts{Remaining: 0, ExpiresAt: now.Add(time.Hour)}, false, access.Deny}, // its own grant goes first
		{"unlisted", "destroy", &policy.GrantFacts{Remaining: 1, ExpiresAt: now.Add(time.Hour), Quorum: 2, ArgsBound: true}, false, access.Permit},
	} {
		q := query(t, "bot", "s", tt.tool, `{}`, tt.class)
		q.Grant = tt.grant
		if tt.late {
			q.Now = now.Add(2 * time.Hour)
		}
		if v := set.Evaluate(q); v.Outcome != tt.want {
			t.Errorf("%d %s %s: %+v", i, tt.tool, tt.class, v)
		}
	}
}

// Two people never look like one.
func TestSubjectsAreDistinct(t *testing.T) {
	set := compile(t, policy.Catalog{}, `permit (principal, action, resource) when { context has subject && context.subject == Mcp::Human::"https://idp.example|ann" };`)
	for i, tt := range []struct {
		s    access.Subject
		want access.Outcome
	}{
		{access.Subject{Issuer: "https://idp.example", ID: "ann"}, access.Permit},
		{access.Subject{ID: "https://idp.example|ann"}, access.Deny},
		{access.Subject{Issuer: "https://idp.example|ann", ID: ""}, access.Deny},
		{access.Subject{Issuer: "https", ID: "//idp.example|ann"}, access.Deny},
		{access.Subject{}, access.Deny},
	} {
		q := query(t, "bot", "s", "t", `{}`)
		q.Subject = tt.s
		if v := set.Evaluate(q); v.Outcome != tt.want {
			t.Errorf("%d %+v: %+v", i, tt.s, v)
		}
	}
}

func TestCompileIsDeterministic(t *testing.T) {
	var ps []policy.Policy
	for i := range 20 {
		ps = append(ps, policy.Policy{ID: fmt.Sprintf("p%d", i), Cedar: `permit (principal, action, resource) when { context.session.bound };`})
	}
	a, err := policy.Compile(ps, policy.Catalog{})
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(ps)
	b, err := policy.Compile(ps, policy.Catalog{})
	if err != nil {
		t.Fatal(err)
	}
	if a.Digest() != b.Digest() || a.Schema() != b.Schema() {
		t.Error("the order of the policies changes the digest")
	}
	if diff := cmp.Diff(a.Policies(), b.Policies()); diff != "" {
		t.Error(diff)
	}
}

func TestIdlePatternsAreReported(t *testing.T) {
	c := policy.Catalog{Servers: []policy.ServerInfo{{ID: "s"}, {ID: "new"}}, Tools: []policy.ToolInfo{{Server: "s", Name: "list"}},
		AllowLists: []policy.AllowList{{Agent: "bot", Patterns: []string{"s/l*", "s/lsit*", "new/x*", "s/*", "s/exact", "s/prompts/*"}}}}
	r := policy.Check(nil, c)
	if len(r.Errors) != 0 || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0].Message, `"s/lsit*" covers none`) {
		t.Errorf("%v %v", r.Errors, r.Warnings)
	}
}
