package policy_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"rutile/internal/access"
	"rutile/internal/policy"
)

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// randomPolicy writes a policy from the vocabulary of randomQuery, so that
// scopes and conditions hit, miss and err.
func randomPolicy(r *rand.Rand) string {
	action := func() string {
		return `Mcp::Action::"` + pick(r, "s1/a", "s1/b", "s2/a", "read", "write", "destroy", "egress", "call", "discover", "s1/prompts/*", "s1/prompts/p", "s1/resources/read", "s1/tools/list", "s1/requests/sampling") + `"`
	}
	principal := pick(r, `principal`, `principal`, `principal == Mcp::Agent::"x"`, `principal in Mcp::AgentClass::"c"`,
		`principal is Mcp::Agent`, `principal is Mcp::Agent in Mcp::AgentClass::"c"`, `principal in Mcp::Agent::"y"`, `principal is Mcp::Human`, `principal == Mcp::AgentClass::"c"`)
	act := pick(r, `action`, `action == `+action(), `action in `+action(), `action in [`+action()+`, `+action()+`, `+action()+`]`)
	resource := pick(r, `resource`, `resource`, `resource == Mcp::Tool::"s1/a"`, `resource in Mcp::Server::"s1"`, `resource in Mcp::ToolClass::"write"`,
		`resource is Mcp::Tool`, `resource is Mcp::Tool in Mcp::Server::"s2"`, `resource is Mcp::Server`, `resource is Mcp::Server in Mcp::Server::"s1"`, `resource == Mcp::Server::"s1"`)
	effect := pick(r, "permit", "permit", "forbid", `@outcome("require_approval") forbid`, `@outcome("rate_limit") @fact("calls_1m") forbid`,
		`@outcome("mask") @mask("args/s, args/o/*") forbid`, `@outcome("quarantine") @target("agent") forbid`, `@outcome("revoke") @target("session") forbid`,
		`@outcome("terminate") @target("session") forbid`)
	out := `principal.attested`
	if !strings.Contains(effect, "mask") && !strings.Contains(effect, "require") && !strings.Contains(effect, "rate") { // those cannot stand on the output
		out = pick(r, `context has output`, `context.output.bytes > 3`, `context has output && context.output.labels.contains("pii")`)
	}
	leaf := func() string {
		return pick(r, `principal.attested`, `principal.status == "active"`, `principal.tier > 1`, `resource.pinned`, `resource.tier >= 2`,
			`resource.destructive`, `resource.egress`, `resource.labels.contains("pii")`, `resource.kind == "tool"`, `resource in Mcp::ToolClass::"read"`,
			`action in Mcp::Action::"write"`, `principal in Mcp::AgentClass::"c"`, `context.session.bound`, `context.session.depth > 1`,
			`context.session.taint.contains("untrusted")`, `context.session.labels.containsAny(["pii", "source:docs"])`,
			`context.session.risk >= 40`, `principal.risk > 50`, `context has subject && context.subject.risk >= 80`, `{c: context}.c.session.risk > 60`,
			`context.facts.flow_recipient_untrusted`, `context.facts.flow_content_labels.contains("pii")`,
			`context has subject`, `context.subject == Mcp::Human::"ann"`, `context has grant && context.grant.remaining > 0`, `context.grant.quorum >= 2`,
			`context.now > datetime("2026-01-01")`, `context.input.n > 3`, `context.input has s && context.input.s like "v*"`, `context.input.s == "v1"`,
			`context.input.o.k`, `context.input has o && context.input.o has k`, `context.input.l.contains("x")`, `context.input == {s: "v1"}`,
			`context.derived.bytes.s > 2`, `context.derived.url_host.s == "h"`, `context.derived.url_host has s && context.derived.url_host.s == "h"`,
			`context.derived.path_canon.s like "v*"`, `context.derived.path_canon.uri like "/x*"`, `context.derived.call_bytes > 9`, `context.derived has bytes`,
			`context.derived.bytes has o && context.derived.bytes.o has k`, `{c: context}.c.session.bound`, `{c: context}.c has derived`,
			`principal.owner == Mcp::Group::"team"`, out, `Mcp::Server::"s1".state == "sanctioned"`, `(if principal.attested then principal else resource) has tier`)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s, %s, %s)", effect, principal, act, resource)
	for range r.IntN(3) {
		fmt.Fprintf(&b, " %s { %s %s %s }", pick(r, "when", "unless"), leaf(), pick(r, "&&", "||"), leaf())
	}
	return b.String() + ";"
}

func randomQuery(t testing.TB, r *rand.Rand) *policy.Query {
	server := pick(r, "s1", "s2")
	req := access.Request{Server: server, Kind: access.KindTool, Target: pick(r, "a", "b", "c")}
	switch r.IntN(8) {
	case 0:
		req.Kind, req.Target = access.KindPrompt, pick(r, "p", "q")
	case 1:
		req.Kind, req.Target = access.KindResource, "file:///x"
	case 2:
		req.Kind, req.Target, req.Method = access.KindServer, "", "tools/list"
	case 3:
		req.Kind, req.Target = access.KindAsk, "sampling"
	}
	q := &policy.Query{
		Agent: policy.AgentFacts{ID: pick(r, "x", "y", "z"), Owner: pick(r, "team", "other"), Class: pick(r, "", "c", "d"), Status: pick(r, "active", "suspended"),
			Tier: r.IntN(4), Attested: r.IntN(4) > 0},
		Tool: policy.ToolFacts{Server: server, Name: req.Target, Kind: req.Kind, Pinned: r.IntN(4) > 0, Tier: r.IntN(4), Labels: pick(r, nil, []string{"pii"}),
			Classes: pick(r, []string{"read"}, []string{"write"}, []string{"destroy"}, []string{"write", "egress"}, []string{"what?"}, nil)},
		Server: policy.ServerFacts{ID: server, State: "sanctioned"}, Action: req.Action(), Target: req.Target, Method: req.Method,
		Session: policy.SessionFacts{Bound: r.IntN(2) == 0, Depth: r.IntN(4)}, Now: now,
		Arguments: args(t, pick(r, ``, `{}`, `{"n":5}`, `{"n":"5"}`, `{"s":"v1"}`, `{"s":"v1","n":2.5}`, `{"o":{"k":true}}`, `{"o":{}}`, `{"o":7,"l":["x"]}`,
			`{"l":["y",null]}`, `{"s":null,"n":4}`, `{"n":922337203685477}`, `{"S":"v1"}`, `{"o":{"K":true}}`, `{"s":["v1"],"n":1e-9}`, `{"s":"http://h/"}`, `{"o":{"k":"v"},"s":"a\\b"}`)),
	}
	q.Touched = &access.Touched{Taint: pick(r, nil, []string{"untrusted"}), Labels: pick(r, nil, []string{"pii"}, []string{"source:docs"})}
	if r.IntN(2) == 0 {
		q.Touched.Flow = map[string]access.FactValue{policy.FactFlowRecipient: {Bool: r.IntN(2) == 0}, policy.FactFlowContent: {Set: pick(r, nil, []string{"pii"})},
			policy.FactFlowLost: {Bool: r.IntN(2) == 0}, policy.FactFlowSourceFinding: {Set: pick(r, nil, []string{"review"})}, policy.FactFlowAsked: {Set: pick(r, []string{"no"}, []string{"unknown"})}}
	}
	if r.IntN(3) == 0 {
		q.Output = &policy.OutputFacts{Labels: pick(r, nil, []string{"pii"}), Bytes: r.IntN(9)}
	}
	if r.IntN(4) == 0 {
		q.Masked = []string{"p0", "p1", "p2", "p3", "p4", "p5"}
	}
	if r.IntN(2) == 0 {
		q.Risk = &access.Risk{Session: r.IntN(101), Agent: r.IntN(101), Person: r.IntN(101)}
	}
	if r.IntN(2) == 0 {
		q.Subject = access.Subject{ID: pick(r, "ann", "bob")}
	}
	if r.IntN(3) == 0 {
		q.Grant = &policy.GrantFacts{ID: "g", Remaining: int64(r.IntN(2)), Quorum: r.IntN(3), ExpiresAt: now.Add(time.Hour)}
	}
	return q
}

func randomCatalog(r *rand.Rand) policy.Catalog {
	c := policy.Catalog{Servers: []policy.ServerInfo{{ID: "s1"}, {ID: "s2"}}}
	for _, s := range []string{"s1", "s2"} {
		for _, n := range []string{"a", "b"} {
			c.Tools = append(c.Tools, policy.ToolInfo{Server: s, Name: n, Classes: []string{"read"}, InputSchema: []byte(pick(r, ``, `{"type":"object"}`,
				`{"type":"object","properties":{"n":{"type":"number"},"s":{"type":"string"}}}`))})
		}
	}
	for _, a := range []string{"x", "y"} {
		if r.IntN(2) == 0 {
			c.AllowLists = append(c.AllowLists, policy.AllowList{Agent: a, Expires: now.Add(time.Hour), Patterns: []string{pick(r, "s1/*", "*/a", "s2/b", "s1/prompts/p", "s1/resources/*")}})
		}
	}
	return c
}

// The index, the lazily built entities and the stripped scopes must give the
// verdict, the reasons and the errors of Cedar over everything.
func TestIndexSameAsFullScan(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	rounds, outcomes := 300, map[string]int{}
	if testing.Short() {
		rounds = 30
	}
	for round := range rounds {
		var ps []policy.Policy
		for i := range 1 + r.IntN(30) {
			ps = append(ps, policy.Policy{ID: fmt.Sprintf("p%d", i), Cedar: randomPolicy(r)})
		}
		set, report, err := policy.Load(ps, randomCatalog(r))
		if err != nil {
			t.Fatalf("seed %d round %d: %v\n%v", seed, round, err, report.Errors)
		}
		for range 30 {
			q := randomQuery(t, r)
			got, want := set.Evaluate(q), set.FullScan(q)
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(policy.Verdict{}, "Advice", "ReadsOutput", "ReadsData"), cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("seed %d round %d: %+v\n(-full +index):\n%s", seed, round, q, diff)
			}
			outcomes[fmt.Sprint(got.Outcome, len(got.Permits) > 0, len(got.Forbids) > 0, len(got.Errors) > 0)]++
		}
	}
	if len(outcomes) < 6 {
		t.Errorf("the random sets are dull: %v", outcomes)
	}
}

// What a list shows must not hide a target some call of which is permitted, and
// must hide one that is denied whatever its arguments.
func TestListingIsSound(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 2))
	hidden, listed := 0, 0
	for round := range 400 {
		var ps []policy.Policy
		for i := range 1 + r.IntN(6) {
			ps = append(ps, policy.Policy{ID: fmt.Sprintf("p%d", i), Cedar: randomPolicy(r)})
		}
		set, _, err := policy.Load(ps, randomCatalog(r))
		if err != nil {
			t.Fatal(err)
		}
		for range 30 {
			q := randomQuery(t, r)
			unknown := *q
			unknown.Unknown = true
			l, call := set.Evaluate(&unknown), set.Evaluate(q)
			shown := l.Outcome == access.Permit || l.Maybe
			if call.Outcome == access.Permit && !shown {
				t.Fatalf("seed %d round %d: a permitted call is hidden: %+v\nlist %+v\ncall %+v", seed, round, q, l, call)
			}
			if l.Outcome == access.Permit && call.Outcome != access.Permit {
				t.Fatalf("seed %d round %d: every call is said to be permitted, this one is not: %+v\nlist %+v\ncall %+v\n%v", seed, round, q, l, call, ps)
			}
			if shown {
				listed++
			} else {
				hidden++
			}
		}
	}
	if hidden == 0 || listed == 0 {
		t.Errorf("listed %d, hidden %d: the test shows nothing", listed, hidden)
	}
}
