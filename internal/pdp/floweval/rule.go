package floweval

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/flow"
	"rutile/internal/policy"
)

// The set is judged by the shipped rules: the baseline alone, with one agent that may
// call every tool.
const (
	agent  = "agent"
	server = "set"
)

// rules are the shipped rules, compiled for the tools of a set.
func rules(rows []*record) (*policy.Set, error) {
	c := policy.Catalog{Servers: []policy.ServerInfo{{ID: server}}}
	known := map[string]bool{}
	for _, r := range rows {
		for _, s := range r.Steps {
			if name := s.name(); !known[name] {
				known[name] = true
				c.Tools = append(c.Tools, policy.ToolInfo{Server: server, Name: name, Classes: s.classes()})
			}
		}
	}
	set, err := policy.Compile([]policy.Policy{{ID: "everything", Cedar: `permit (principal, action in Mcp::Action::"call", resource);`}}, c)
	if err != nil {
		return nil, fmt.Errorf("compiling the shipped rules: %w", err)
	}
	return set, nil
}

// name is the tool's name with its classes: one tool of a set may have other labels in
// other rows.
func (s *step) name() string { return s.Tool + "." + strings.Join(s.classes(), "-") }

// classes are those of the tool, by its labels and name.
func (s *step) classes() []string {
	t := s.traits()
	out := []string{"read"}
	if t.Changes {
		out = []string{"write"}
	}
	if t.Sends {
		out = append(out, "egress")
	}
	return out
}

func (s *step) traits() flow.Traits { return flow.TraitsOf(s.Tool, nil, s.Labels) }

// decide is what the rules say of a step, and which decided.
func decide(set *policy.Set, s *step, q *policy.Query) (flow.Decision, string) {
	q.Agent = policy.AgentFacts{ID: agent, Owner: "owner", Status: "active", Attested: true}
	q.Tool = policy.ToolFacts{Server: server, Name: s.name(), Kind: access.KindTool, Classes: s.classes(), Pinned: true}
	q.Server = policy.ServerFacts{ID: server, Owner: "owner", State: "sanctioned"}
	q.Action, q.Target, q.Method = server+"/"+s.name(), s.name(), "tools/call"
	q.Now, q.Facts = time.Unix(0, 0), &access.Facts{}
	v := set.Evaluate(q)
	rule, asked := "", false
	for _, id := range v.Forbids {
		name, ok := strings.CutPrefix(id, "baseline.")
		if ok && (rule == "" || asked && !slices.Contains(v.Asks, id)) {
			rule, asked = name, slices.Contains(v.Asks, id)
		}
	}
	switch {
	case v.Outcome == access.Permit:
		return flow.Permit, ""
	case len(v.Errors) > 0:
		return flow.Deny, "error in " + v.Errors[0]
	case v.Outcome == access.RequireApproval:
		return flow.Ask, rule
	}
	return flow.Deny, rule
}
