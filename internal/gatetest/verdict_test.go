package gatetest_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"rutile/internal/registry"
)

// TestSameVerdictOnListAndCall draws agents with random allow-lists and
// policies. Whatever is listed for one can be called with some arguments, and
// what is not listed cannot, whatever the arguments, in both eras alike.
//
// Conditions that permit read one argument and those that forbid another, so
// that the arguments tried below reach every verdict a set of them can give.
func TestSameVerdictOnListAndCall(t *testing.T) {
	t.Parallel()
	const worlds = 16
	const seed = 20261124
	rnd := rand.New(rand.NewPCG(seed, 1))
	p := newPeer(t, v2026)
	var defs []string
	for i := range 6 {
		defs = append(defs, fmt.Sprintf(`{"name":"t%d","inputSchema":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}}},"annotations":{"readOnlyHint":true}}`, i))
	}
	p.list("tools/list", `"tools":[`+strings.Join(defs, ",")+`]`)
	p.list("prompts/list", `"prompts":[{"name":"p0"},{"name":"p1"}]`)
	p.list("resources/list", `"resources":[{"uri":"test://r0","name":"r0"},{"uri":"test://r1","name":"r1"}]`)
	r := newRig(t)
	manifests := botAndServer(p.URL+"/mcp", "[]")
	var worldsText []string
	for w := range worlds {
		text := world(rnd, w)
		worldsText = append(worldsText, text)
		manifests += text
	}
	r.apply(manifests, "up")
	// t4 is never approved and t5 is blocked: no allow-list may bring them back.
	if _, err := r.d.Admin.ChangeTool(t.Context(), operator, "up", "t5", registry.VerbBlock, "test"); err != nil {
		t.Fatal(err)
	}
	p.list("tools/list", `"tools":[`+strings.Join(append(defs[:4:4], strings.Replace(defs[4], `"a"`, `"A"`, 1), defs[5]), ",")+`]`)
	if err := r.d.Proxy.Learn(t.Context(), "up"); err != nil {
		t.Fatal(err)
	}
	listed, hidden := 0, 0
	for w := range worlds {
		token := r.token(fmt.Sprintf("w%d", w), "up")
		old := r.legacy(token, "up", v2511, `{}`)
		check := func(method, list, what string, permits bool) {
			t.Helper()
			shown := listShows(t, post(t, r.url("up"), modernHeaders(token, method, ""), modernBody("1", method, "")), list, what)
			if also := listShows(t, old.request(method, `{}`), list, what); also != shown {
				t.Errorf("world %d: %s is listed %v in one era and %v in the other", w, what, shown, also)
			}
			if shown != permits {
				t.Errorf("world %d: %s is listed: %v, some call of it is permitted: %v\n%s", w, what, shown, permits, worldsText[w])
			}
			if shown {
				listed++
			} else {
				hidden++
			}
		}
		for i := range 6 {
			name, permits := fmt.Sprintf("t%d", i), false
			for _, args := range []string{`{}`, `{"a":"yes","b":"ok"}`, `{"a":"no","b":"ok"}`, `{"a":"yes","b":"no"}`} {
				got := permitted(t, r.call(token, "up", name, args))
				if also := permitted(t, old.call(name, args)); also != got {
					t.Errorf("world %d: %s%s is permitted %v in one era and %v in the other", w, name, args, got, also)
				}
				permits = permits || got
			}
			check("tools/list", "tools", name, permits)
		}
		for i := range 2 {
			name, uri := fmt.Sprintf("p%d", i), fmt.Sprintf("test://r%d", i)
			check("prompts/list", "prompts", name, permitted(t, r.modern(token, "prompts/get", name, `"name":"`+name+`"`)))
			check("resources/list", "resources", uri, permitted(t, r.modern(token, "resources/read", uri, `"uri":"`+uri+`"`)))
		}
	}
	if listed < worlds || hidden < worlds {
		t.Errorf("only %d entries were listed and %d hidden: the worlds show nothing", listed, hidden)
	}
	t.Logf("%d entries listed, %d hidden", listed, hidden)
}

// world is an agent with a random allow-list and random policies.
func world(rnd *rand.Rand, n int) string {
	patterns := []string{"up/t0", "up/t1", "up/t2", "up/t*", "up/*", "up/prompts/p0", "up/prompts/*", "up/resources/read", "up/t5", "up/t4"}
	var tools []string
	for _, p := range patterns {
		if rnd.IntN(6) == 0 {
			tools = append(tools, `"`+p+`"`)
		}
	}
	text := fmt.Sprintf("---\nkind: Agent\nid: w%d\nowner: team\npurpose: test\nriskTier: 1\ntools: [%s]\n", n, strings.Join(tools, ", "))
	actions := []string{"up/t0", "up/t1", "up/t2", "up/t3", "up/t5", "up/prompts/p0", "up/prompts/p1", "up/resources/read"}
	permits := []string{"", ` when { context.input has a && context.input.a == "yes" }`, ` when { context.input.a like "y*" }`, ` unless { context.input has a && context.input.a == "no" }`}
	forbids := []string{"", ` when { context.input has b && context.input.b == "no" }`, ` unless { context.input.b like "o*" }`, ` when { context.session.depth > 3 }`}
	var cedar []string
	for range rnd.IntN(4) {
		effect, conditions := "permit", permits
		if rnd.IntN(2) == 0 {
			effect, conditions = "forbid", forbids
		}
		action := actions[rnd.IntN(len(actions))]
		condition := conditions[rnd.IntN(len(conditions))]
		if !strings.HasPrefix(action, "up/t") && strings.Contains(condition, "input") {
			condition = ""
		}
		cedar = append(cedar, fmt.Sprintf("  %s (principal == Mcp::Agent::\"w%d\", action == Mcp::Action::%q, resource)%s;\n", effect, n, action, condition))
	}
	if len(cedar) == 0 {
		return text
	}
	return text + fmt.Sprintf("---\nkind: Policy\nid: p%d\ncedar: |\n%s", n, strings.Join(cedar, ""))
}

// permitted reports whether a call was answered by the server; anything but
// that and a denial fails the test.
func permitted(t *testing.T, got reply) bool {
	t.Helper()
	switch {
	case got.msg.Error != nil && (got.msg.code() == -32602 || got.msg.code() == 4030):
		return false
	case got.msg.Result == nil:
		t.Fatalf("answered %d %s", got.status, got.body)
	case strings.Contains(string(got.msg.Result), "io.rutile/denial"):
		denied(t, got)
		return false
	}
	return true
}

// listShows reports whether a list holds an entry of that name or URI.
func listShows(t *testing.T, got reply, list, what string) bool {
	t.Helper()
	var res map[string]json.RawMessage
	var items []struct{ Name, URI string }
	if got.msg.Result == nil || json.Unmarshal(got.msg.Result, &res) != nil || json.Unmarshal(res[list], &items) != nil {
		t.Fatalf("not a list: %d %s", got.status, got.body)
	}
	for _, i := range items {
		if i.Name == what || i.URI == what {
			return true
		}
	}
	return false
}
