package policy_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"rutile/internal/policy"
)

func itoa(n int) string { return strconv.Itoa(n) }

// benchSet is n policies of the kinds people write, of which a handful concern
// the query: allow-lists, argument conditions per tool, and group-wide forbids.
func benchSet(tb testing.TB, n int) (*policy.Set, *policy.Query) {
	c := policy.Catalog{Servers: []policy.ServerInfo{{ID: "github"}}}
	for i := range 50 {
		c.Tools = append(c.Tools, policy.ToolInfo{Server: "github", Name: fmt.Sprintf("tool_%d", i), Classes: []string{"write"},
			InputSchema: []byte(`{"type":"object","properties":{"path":{"type":"string"},"n":{"type":"integer"}},"required":["path"]}`)})
	}
	var ps []policy.Policy
	for i := range n {
		switch {
		case i%2 == 0:
			c.AllowLists = append(c.AllowLists, policy.AllowList{Agent: fmt.Sprintf("agent-%d", i), Expires: now.Add(time.Hour), Patterns: []string{"github/*"}})
		case i < 50:
			ps = append(ps, policy.Policy{ID: fmt.Sprintf("p%d", i), Cedar: fmt.Sprintf(
				`forbid (principal, action == Mcp::Action::"github/tool_%d", resource) unless { context.input.path like "/srv/*" && !(context.input.path like "*..*") };`, i)})
		default:
			ps = append(ps, policy.Policy{ID: fmt.Sprintf("p%d", i), Cedar: fmt.Sprintf(
				`forbid (principal == Mcp::Agent::"agent-%d", action in Mcp::Action::"write", resource) when { context.session.depth > %d };`, i, i)})
		}
	}
	set, err := policy.Compile(ps, c)
	if err != nil {
		tb.Fatal(err)
	}
	return set, query(tb, "agent-0", "github", "tool_1", `{"path":"/srv/docs/a.txt","n":3,"body":"unread"}`, "write")
}
