package policy_test

import (
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/policy"
	"rutile/internal/rawjson"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func args(t testing.TB, s string) rawjson.Value {
	t.Helper()
	if s == "" {
		return rawjson.Value{}
	}
	v, err := rawjson.Parse([]byte(s), rawjson.Limits{})
	if err != nil {
		t.Fatalf("parsing arguments %s: %v", s, err)
	}
	return v
}

// query asks for a tool as an attested, active agent.
func query(t testing.TB, agent, server, tool, arguments string, classes ...string) *policy.Query {
	t.Helper()
	if classes == nil {
		classes = []string{"read"}
	}
	return &policy.Query{
		Agent:  policy.AgentFacts{ID: agent, Owner: "team-platform", Status: "active", Attested: true},
		Tool:   policy.ToolFacts{Server: server, Name: tool, Kind: access.KindTool, Classes: classes, Pinned: true, Digest: "sha256:00"},
		Server: policy.ServerFacts{ID: server, Owner: "team-dev", State: "sanctioned"},
		Action: server + "/" + tool, Method: "tools/call", Target: tool,
		Arguments: args(t, arguments), Now: now,
	}
}

func compile(t testing.TB, c policy.Catalog, texts ...string) *policy.Set {
	t.Helper()
	var ps []policy.Policy
	for i, s := range texts {
		ps = append(ps, policy.Policy{ID: "p" + string(rune('a'+i)), Cedar: s})
	}
	set, err := policy.Compile(ps, c)
	if err != nil {
		t.Fatalf("compiling: %v", err)
	}
	return set
}

func TestContractExample(t *testing.T) {
	c := policy.Catalog{
		Servers: []policy.ServerInfo{{ID: "github"}},
		Tools: []policy.ToolInfo{{Server: "github", Name: "create_release", Classes: []string{"write"},
			InputSchema: []byte(`{"type":"object","properties":{"tag":{"type":"string"}}}`)}},
		AllowLists: []policy.AllowList{{Agent: "release-bot", Expires: now.Add(time.Hour), Patterns: []string{"github/*"}}},
	}
	set := compile(t, c, `forbid (principal, action == Mcp::Action::"github/create_release", resource)
unless { context.input.tag like "v*" };`)
	for _, tt := range []struct {
		arguments string
		want      access.Outcome
	}{{`{"tag":"v1.2"}`, access.Permit}, {`{"tag":"x"}`, access.Deny}, {`{}`, access.Deny}, {`{"tag":7}`, access.Deny}, {`{"tag":null}`, access.Deny}, {``, access.Deny}} {
		got := set.Evaluate(query(t, "release-bot", "github", "create_release", tt.arguments, "write"))
		if got.Outcome != tt.want {
			t.Errorf("%s: %+v, want %s", tt.arguments, got, tt.want)
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000} {
		b.Run(itoa(n), func(b *testing.B) {
			set, q := benchSet(b, n)
			if v := set.Evaluate(q); v.Outcome != access.Permit {
				b.Fatalf("%+v", v)
			}
			b.ReportAllocs()
			for b.Loop() {
				set.Evaluate(q)
			}
		})
	}
}

func rawParse(s string) (rawjson.Value, error) { return rawjson.Parse([]byte(s), rawjson.Limits{}) }
