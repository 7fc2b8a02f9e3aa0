package policy_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/policy"
)

// Whatever changes of policies and catalog, a set that takes over what an earlier one
// has says, decides and complains like one compiled from nothing.
func TestRecompileIsCompile(t *testing.T) {
	texts := []string{
		`permit (principal, action, resource);`,
		`forbid (principal, action == Mcp::Action::"files/read", resource) when { context.input.path like "/etc/*" };`,
		`@id("named") @advice("ask") forbid (principal, action, resource) when { principal.tier > 3 };`,
		`@mode("shadow") forbid (principal, action == Mcp::Action::"files/read", resource);`,
		`forbid (principal, action == Mcp::Action::"gone/tool", resource); forbid (principal, action == Mcp::Action::"files/write", resource);`,
		`@outcome("require_approval") forbid (principal == Mcp::Agent::"nobody", action, resource);`,
		"\n\nforbid (principal, action == Mcp::Action::\"files/read\", resource)\nwhen { context.input.missing == 3 };",
		`forbid (principal`,
		`@id("baseline.mine") permit (principal, action, resource);`,
	}
	schemas := []string{`{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}`, `{"type":"object","properties":{"path":{"type":"integer"}}}`, ``}
	r := rand.New(rand.NewPCG(7, 0))
	var earlier *policy.Set
	held := make(map[string]policy.Policy)
	compiled, failed := 0, 0
	for range 400 {
		id := fmt.Sprintf("p%d", r.IntN(4))
		switch p, ok := held[id]; {
		case !ok || r.IntN(3) == 0:
			held[id] = policy.Policy{ID: id, Cedar: texts[r.IntN(len(texts))], File: "a.yaml", Line: 1}
		case r.IntN(3) == 0:
			delete(held, id)
		case r.IntN(3) == 0:
			p.State = policy.Retired
			held[id] = p
		default:
			p.File, p.Line, p.Layer = []string{"a.yaml", "b.yaml"}[r.IntN(2)], r.IntN(9), []string{"", policy.LayerTeam}[r.IntN(2)]
			held[id] = p
		}
		policies := slices.Collect(maps.Values(held))
		if r.IntN(8) == 0 { // two of one id, which tell their statements apart themselves
			policies = append(policies, policy.Policy{ID: "twice", Cedar: `@id("x") permit (principal, action, resource);`}, policy.Policy{ID: "twice", Cedar: `@id("y") forbid (principal, action, resource);`})
		}
		c := policy.Catalog{Servers: []policy.ServerInfo{{ID: "files"}}, Agents: []policy.AgentInfo{{ID: "bot"}}}
		for _, name := range []string{"read", "write"} {
			if r.IntN(3) > 0 {
				c.Tools = append(c.Tools, policy.ToolInfo{Server: "files", Name: name, Classes: []string{"read"}, InputSchema: []byte(schemas[r.IntN(len(schemas))])})
			}
		}
		c.Ladder = []string{policy.LadderEnforce, policy.LadderOff}[r.IntN(2)]
		want, wantErr := policy.Compile(policies, c)
		got, err := earlier.Recompile(policies, c)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("%v, not %v", err, wantErr)
		}
		if err != nil {
			failed++
			continue
		}
		compiled++
		for what, of := range map[string]func(*policy.Set) any{
			"digest": func(s *policy.Set) any { return s.Digest() }, "schema": func(s *policy.Set) any { return s.Schema() },
			"warnings": func(s *policy.Set) any { return s.Warnings() }, "statements": func(s *policy.Set) any { return s.Policies() },
			"verdict": func(s *policy.Set) any { return s.Evaluate(query(t, "bot", "files", "read", `{"path":"/etc/x"}`)) },
		} {
			if d := cmp.Diff(of(want), of(got)); d != "" {
				t.Fatalf("%s (-compiled +recompiled):\n%s", what, d)
			}
		}
		earlier = got
	}
	if compiled < 50 || failed < 50 {
		t.Errorf("%d sets and %d mistakes are too few to say anything", compiled, failed)
	}
}

// A change of the catalog reads no policy anew: an idle gateway with ten thousand of them
// once rested at three times its size, since each look at a server's list made them all
// again.
func TestRecompileTakesStatementsOver(t *testing.T) {
	policies, c := manyPolicies(600), policy.Catalog{Servers: []policy.ServerInfo{{ID: "files"}}}
	set, err := policy.Compile(policies, c)
	if err != nil {
		t.Fatal(err)
	}
	c.Tools = append(c.Tools, policy.ToolInfo{Server: "files", Name: "read", Classes: []string{"read"}})
	parse := testing.AllocsPerRun(2, func() { _, err = policy.Compile(policies, c) })
	take := testing.AllocsPerRun(2, func() { set, err = set.Recompile(policies, c) })
	if err != nil {
		t.Fatal(err)
	}
	if take > parse*0.6 {
		t.Errorf("recompiling takes %.0f allocations, compiling %.0f", take, parse)
	}
}

// manyPolicies are n statements about tools nobody has listed, 100 a policy.
func manyPolicies(n int) []policy.Policy {
	var out []policy.Policy
	for from := 0; from < n; from += 100 {
		var b strings.Builder
		for i := from; i < min(from+100, n); i++ {
			fmt.Fprintf(&b, "forbid (principal, action == Mcp::Action::\"server%d/tool%d\", resource)\nunless { context.input.nonce like \"a%d*\" };\n", i%500, i, i)
		}
		out = append(out, policy.Policy{ID: fmt.Sprintf("p%05d", from), Cedar: b.String()})
	}
	return out
}

// BenchmarkRecompile measures what a look at a server's list costs beside ten thousand
// policies.
func BenchmarkRecompile(b *testing.B) {
	policies, c := manyPolicies(10000), policy.Catalog{Servers: []policy.ServerInfo{{ID: "files"}}}
	set, err := policy.Compile(policies, c)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if set, err = set.Recompile(policies, c); err != nil {
			b.Fatal(err)
		}
	}
}
