package policy_test

import (
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/policy"
)

func ownCatalog() policy.Catalog {
	return policy.Catalog{
		Servers: []policy.ServerInfo{{ID: "up"}},
		Tools:   []policy.ToolInfo{{Server: "up", Name: "echo", Classes: []string{"read"}}, {Server: access.OwnServer, Name: "rutile_task_open", Classes: []string{"read"}}},
	}
}

func ownQuery(attested bool) *policy.Query {
	q := &policy.Query{Action: access.OwnServer + "/rutile_task_open", Target: "rutile_task_open", Method: "tools/call"}
	q.Agent = policy.AgentFacts{ID: "bot", Status: "active", Attested: attested}
	q.Server = policy.ServerFacts{ID: access.OwnServer, State: "sanctioned"}
	q.Tool = policy.ToolFacts{Server: access.OwnServer, Name: "rutile_task_open", Kind: access.KindTool, Classes: []string{"read"}, Pinned: true}
	return q
}

// The gateway's own tools are every attested agent's until a policy forbids them,
// and no right with a pattern is about them.
func TestOwnToolsAreBaseline(t *testing.T) {
	for name, tt := range map[string]struct {
		cedar    string
		right    bool
		attested bool
		want     access.Outcome
	}{
		"by default":                    {"", false, true, access.Permit},
		"not attested":                  {"", false, false, access.Deny},
		"beside a right to everything":  {"", true, true, access.Permit},
		"a policy forbids one":          {`forbid (principal, action == Mcp::Action::"rutile/rutile_task_open", resource);`, false, true, access.Deny},
		"a policy forbids all":          {`forbid (principal, action in Mcp::Action::"call", resource in Mcp::Server::"rutile");`, false, true, access.Deny},
		"a policy forbids all writing":  {`forbid (principal, action in Mcp::Action::"write", resource);`, false, true, access.Permit},
		"a policy asks for every call":  {`@outcome("require_approval") forbid (principal, action in Mcp::Action::"call", resource) unless { context has grant };`, false, true, access.RequireApproval},
		"a policy of some other server": {`forbid (principal, action in Mcp::Action::"call", resource in Mcp::Server::"up");`, false, true, access.Permit},
	} {
		c := ownCatalog()
		if tt.right {
			c.Entitlements = []policy.Entitlement{{ID: "all", Agents: []string{"bot"}, Patterns: []string{"*/*"}}}
			c.AllowLists = []policy.AllowList{{Agent: "bot", Expires: time.Unix(1<<40, 0), Patterns: []string{"*/*"}}}
		}
		var policies []policy.Policy
		if tt.cedar != "" {
			policies = []policy.Policy{{ID: "p", Cedar: tt.cedar}}
		}
		set, err := policy.Compile(policies, c)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := set.Evaluate(ownQuery(tt.attested)); got.Outcome != tt.want {
			t.Errorf("%s: %s, want %s (%+v)", name, got.Outcome, tt.want, got)
		}
	}
}

// What every agent has cannot be something to ask for.
func TestOwnToolsAreNoRight(t *testing.T) {
	for _, pattern := range []string{"rutile/rutile_task_open", "rutile/*", "rutile/prompts/x"} {
		c := ownCatalog()
		c.Entitlements = []policy.Entitlement{{ID: "own", Agents: []string{"bot"}, Patterns: []string{"up/echo", pattern}}}
		set, err := policy.Compile(nil, c)
		if strings.Contains(pattern, "*") {
			if err != nil || set.Evaluate(ownQuery(true)).Outcome != access.Permit {
				t.Errorf("%s: %v", pattern, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "is every agent's") {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}
