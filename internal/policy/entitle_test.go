package policy_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/policy"
)

// rights is a catalog in which agent bot and the class coding may ask for
// ops/deploy, and reader may read.
func rights() policy.Catalog {
	return policy.Catalog{
		Servers: []policy.ServerInfo{{ID: "ops"}},
		Tools: []policy.ToolInfo{
			{Server: "ops", Name: "deploy", Classes: []string{"write"}, InputSchema: []byte(`{"type":"object","properties":{"to":{"type":"string"}},"required":["to"]}`)},
			{Server: "ops", Name: "read", Classes: []string{"read"}},
			{Server: "ops", Name: "greet", Kind: access.KindPrompt},
		},
		AllowLists:   []policy.AllowList{{Agent: "bot", Expires: now.Add(time.Hour), Patterns: []string{"ops/read"}}},
		Entitlements: []policy.Entitlement{{ID: "deploys", Agents: []string{"bot"}, Classes: []string{"coding"}, Patterns: []string{"ops/deploy", "ops/prompts/*"}}},
	}
}

const asking = `@outcome("require_approval") `

func granted(q *policy.Query) *policy.Query {
	q.Grant = &policy.GrantFacts{ID: "grt_1", Remaining: 1, ExpiresAt: now.Add(time.Hour), Quorum: 1, ArgsBound: true}
	return q
}

// TestAnEntitlementAsksAndAGrantPasses, for its agents, classes and tools only.
func TestAnEntitlementAsksAndAGrantPasses(t *testing.T) {
	set := compile(t, rights())
	q := func(agent, class, tool string) *policy.Query {
		q := query(t, agent, "ops", tool, `{"to":"prod"}`, "write")
		q.Agent.Class = class
		return q
	}
	for name, c := range map[string]struct {
		q    *policy.Query
		want access.Outcome
	}{
		"without a grant":            {q("bot", "", "deploy"), access.RequireApproval},
		"with one":                   {granted(q("bot", "", "deploy")), access.Permit},
		"by class":                   {q("dev", "coding", "deploy"), access.RequireApproval},
		"by class, with one":         {granted(q("dev", "coding", "deploy")), access.Permit},
		"by both":                    {q("bot", "coding", "deploy"), access.RequireApproval},
		"another agent":              {q("other", "", "deploy"), access.Deny},
		"another agent with a grant": {granted(q("other", "", "deploy")), access.Deny},
		"another class":              {q("dev", "writing", "deploy"), access.Deny},
		"an agent called coding":     {q("coding", "", "deploy"), access.Deny},
		"an unlisted tool":           {granted(q("bot", "", "drop")), access.Deny},
		"what a list covers":         {q("bot", "", "read"), access.Permit},
	} {
		if v := set.Evaluate(c.q); v.Outcome != c.want || len(v.Errors) != 0 {
			t.Errorf("%s: %+v, want %s", name, v, c.want)
		}
	}
	p := q("bot", "", "prompts/greet")
	p.Tool = policy.ToolFacts{Server: "ops", Name: "greet", Kind: access.KindPrompt, Pinned: true}
	if v := set.Evaluate(p); v.Outcome != access.RequireApproval {
		t.Errorf("a prompt: %+v", v)
	}
	v := set.Evaluate(q("bot", "coding", "deploy"))
	want := []string{"entitlement.deploys.bot.ops.ask", "entitlement.deploys.class_coding.ops.ask"}
	if d := cmp.Diff([][]string{want, want}, [][]string{v.Forbids, v.Asks}); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, id := range append(want, v.Permits...) {
		if got := set.EntitlementOf(id); got != "deploys" {
			t.Errorf("%s is of entitlement %q", id, got)
		}
	}
	for _, id := range []string{"", "allow.bot.ops", "deploys", "entitlement.deploys", "entitlement.deploys.other.ops"} {
		if got := set.EntitlementOf(id); got != "" {
			t.Errorf("%q is of entitlement %q", id, got)
		}
	}
}

// TestStandingRightsAndEntitlementsMeet: an allow-list counts as a grant, so it
// lifts what asks; taking it away asks again.
func TestStandingRightsAndEntitlementsMeet(t *testing.T) {
	c := rights()
	c.AllowLists = append(c.AllowLists, policy.AllowList{Agent: "dev", Expires: now.Add(time.Hour), Patterns: []string{"ops/deploy"}})
	q := query(t, "dev", "ops", "deploy", `{"to":"prod"}`, "write")
	q.Agent.Class = "coding"
	if v := compile(t, c).Evaluate(q); v.Outcome != access.Permit {
		t.Errorf("with both: %+v", v)
	}
	if v := compile(t, rights()).Evaluate(q); v.Outcome != access.RequireApproval {
		t.Errorf("with the entitlement: %+v", v)
	}
}

// TestAnApprovalIsAskedForOnlyWhereItHelps: something permits, and every forbid
// that matches is lifted by one. All other combinations deny.
func TestAnApprovalIsAskedForOnlyWhereItHelps(t *testing.T) {
	permit := `permit (principal, action == Mcp::Action::"ops/deploy", resource);`
	asks := asking + `forbid (principal, action == Mcp::Action::"ops/deploy", resource) unless { context has grant && context.grant.quorum >= 1 };`
	hard := `forbid (principal, action == Mcp::Action::"ops/deploy", resource) when { context.input.to == "prod" };`
	plain := `@outcome("deny") ` + hard
	errs := `forbid (principal, action == Mcp::Action::"ops/deploy", resource) when { context.session.depth + 9223372036854775807 > 3 };`
	c := rights()
	c.Entitlements = nil
	for name, tt := range map[string]struct {
		texts []string
		want  access.Outcome
	}{
		"permit":                  {[]string{permit}, access.Permit},
		"permit and ask":          {[]string{permit, asks}, access.RequireApproval},
		"ask alone":               {[]string{asks}, access.Deny},
		"permit, two asks":        {[]string{permit, asks, strings.Replace(asks, "1", "2", 1)}, access.RequireApproval},
		"permit, ask, forbid":     {[]string{permit, asks, hard}, access.Deny},
		"permit, ask, deny":       {[]string{permit, asks, plain}, access.Deny},
		"permit, forbid":          {[]string{permit, hard}, access.Deny},
		"permit, ask, error":      {[]string{permit, asks, errs}, access.Deny},
		"an ask that errs":        {[]string{permit, asking + errs}, access.Deny},
		"two asks, one errs":      {[]string{permit, asks, asking + errs}, access.Deny},
		"an ask that matches not": {[]string{permit, asking + `forbid (principal, action == Mcp::Action::"ops/deploy", resource) when { context.input.to == "test" };`}, access.Permit},
	} {
		set := compile(t, c, tt.texts...)
		q := query(t, "bot", "ops", "deploy", `{"to":"prod"}`, "write")
		q.Session.Depth = 1
		v := set.Evaluate(q)
		if v.Outcome != tt.want || len(v.Asks) > len(v.Forbids) {
			t.Errorf("%s: %+v, want %s", name, v, tt.want)
		}
		// Without annotations everything that asked denies, and nothing else changes.
		bare := make([]string, len(tt.texts))
		for i, s := range tt.texts {
			bare[i] = strings.TrimPrefix(strings.TrimPrefix(s, asking), `@outcome("deny") `)
		}
		want := tt.want
		if want == access.RequireApproval {
			want = access.Deny
		}
		if v := compile(t, c, bare...).Evaluate(q); v.Outcome != want || len(v.Asks) != 0 {
			t.Errorf("%s without annotations: %+v, want %s", name, v, want)
		}
	}
	set := compile(t, c, permit, asks)
	if v := set.Evaluate(granted(query(t, "bot", "ops", "deploy", `{"to":"prod"}`, "write"))); v.Outcome != access.Permit {
		t.Errorf("with a grant: %+v", v)
	}
	few := granted(query(t, "bot", "ops", "deploy", `{"to":"prod"}`, "write"))
	few.Grant.Quorum = 0
	if v := set.Evaluate(few); v.Outcome != access.RequireApproval {
		t.Errorf("with a grant nobody approved: %+v", v)
	}
}

// TestListsShowWhatWouldAsk, and not what is denied whatever the arguments.
func TestListsShowWhatWouldAsk(t *testing.T) {
	c := rights()
	forbid := `forbid (principal, action == Mcp::Action::"ops/deploy", resource)`
	for name, tt := range map[string]struct {
		texts []string
		shown bool
	}{
		"asks":                               {nil, true},
		"asks, and some arguments are not":   {[]string{forbid + ` when { context.input.to == "prod" };`}, true},
		"asks, and none may":                 {[]string{forbid + `;`}, false},
		"asks only for some arguments":       {[]string{asking + forbid + ` when { context.input.to == "prod" };`}, true},
		"asks, and a hard condition matches": {[]string{forbid + ` when { context.session.depth == 0 };`}, false},
	} {
		q := query(t, "bot", "ops", "deploy", "", "write")
		q.Unknown = true
		v := compile(t, c, tt.texts...).Evaluate(q)
		if got := v.Outcome != access.Deny || v.Maybe; got != tt.shown || v.Outcome == access.Permit {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// TestEntitlementsAreCompiledWithCare: hostile names are names, two scopes never
// share an id, and what covers nothing is a warning.
func TestEntitlementsAreCompiledWithCare(t *testing.T) {
	c := policy.Catalog{
		Servers: []policy.ServerInfo{{ID: "foo"}, {ID: "ask"}},
		Tools:   []policy.ToolInfo{{Server: "foo", Name: `x", resource); permit (principal, action, resource); //`}, {Server: "ask", Name: "t"}, {Server: "foo", Name: "t"}},
		Entitlements: []policy.Entitlement{
			{ID: "e", Agents: []string{"class", "class-foo"}, Classes: []string{"foo"}, Patterns: []string{"foo/*", "ask/*"}},
			{ID: "e2", Agents: []string{"bot"}, Patterns: []string{"foo/none", "foo/zz*"}},
		},
	}
	if report := policy.Check(nil, c); len(report.Errors) != 0 || len(report.Warnings) == 0 {
		t.Fatalf("%+v", report)
	}
	set := compile(t, c)
	v := set.Evaluate(query(t, "class", "foo", "t", "{}"))
	if d := cmp.Diff([]string{"entitlement.e.class.foo"}, v.Permits); d != "" || v.Outcome != access.RequireApproval {
		t.Errorf("%+v", v)
	}
	q := query(t, "x", "ask", "t", "{}")
	q.Agent.Class = "foo"
	if v := set.Evaluate(q); !slices.Equal(v.Permits, []string{"entitlement.e.class_foo.ask"}) || !slices.Equal(v.Asks, []string{"entitlement.e.class_foo.ask.ask"}) {
		t.Errorf("%+v", v)
	}
	if v := set.Evaluate(query(t, "stranger", "foo", "t", "{}")); v.Outcome != access.Deny || len(v.Permits) != 0 {
		t.Errorf("a name became a policy: %+v", v)
	}
	for _, bad := range []policy.Entitlement{{ID: "E"}, {ID: ""}, {ID: "a.b", Agents: []string{"x"}, Patterns: []string{"foo/*"}}, {ID: "e", Agents: []string{"x"}, Patterns: []string{"foo"}}} {
		if _, err := policy.Compile(nil, policy.Catalog{Servers: c.Servers, Tools: c.Tools, Entitlements: []policy.Entitlement{bad}}); err == nil {
			t.Errorf("%+v was compiled", bad)
		}
	}
	for _, id := range []string{"entitlement.x", "entitlement.e.class.foo"} {
		if _, err := policy.Compile([]policy.Policy{{ID: "p", Cedar: fmt.Sprintf("@id(%q) permit (principal, action, resource);", id)}}, c); err == nil {
			t.Errorf("a person's policy is called %s", id)
		}
	}
}

// TestEntitlementsInTheIndex: sliced and full evaluation agree where both ask.
func TestEntitlementsInTheIndex(t *testing.T) {
	set := compile(t, rights(), asking+`forbid (principal, action in Mcp::Action::"write", resource) unless { context has grant };`, `permit (principal in Mcp::AgentClass::"coding", action, resource);`)
	for _, agent := range []string{"bot", "dev", "other"} {
		for _, class := range []string{"", "coding"} {
			for _, tool := range []string{"deploy", "read", "none"} {
				for _, with := range []bool{false, true} {
					q := query(t, agent, "ops", tool, `{"to":"x"}`, "write")
					q.Agent.Class = class
					if with {
						granted(q).Grant.Remaining = math.MaxInt64
					}
					if d := cmp.Diff(set.FullScan(q), set.Evaluate(q)); d != "" {
						t.Errorf("%s %s %s %t (-full +indexed):\n%s", agent, class, tool, with, d)
					}
				}
			}
		}
	}
}

// TestWhoMayReceiveIsPermittedWhatWasHandedOn and nothing else: neither without a
// grant nor with one of its own.
func TestWhoMayReceiveIsPermittedWhatWasHandedOn(t *testing.T) {
	c := rights()
	c.Entitlements[0].Heirs, c.Entitlements[0].HeirClasses = []string{"helper"}, []string{"helping"}
	set := compile(t, c)
	for name, x := range map[string]struct {
		agent, class string
		depth        int
		want         access.Outcome
	}{
		"handed on": {"helper", "", 1, access.Permit}, "handed on twice": {"helper", "", 2, access.Permit}, "to a class": {"x", "helping", 1, access.Permit},
		"none": {"helper", "", -1, access.Deny}, "its own": {"helper", "", 0, access.Deny}, "another": {"x", "", 1, access.Deny}, "another class": {"x", "coding", 1, access.Permit},
		"who may ask": {"bot", "", 1, access.Permit},
	} {
		q := query(t, x.agent, "ops", "deploy", `{"to":"prod"}`, "write")
		q.Agent.Class = x.class
		if x.depth >= 0 {
			granted(q).Grant.Depth = x.depth
		}
		if v := set.Evaluate(q); v.Outcome != x.want || len(v.Errors) != 0 {
			t.Errorf("%s: %+v, want %s", name, v, x.want)
		}
	}
}
