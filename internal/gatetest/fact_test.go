package gatetest_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
)

// spending lets bot echo for 5,000 an hour.
const spending = `
kind: Agent
id: bot
owner: team
tools: ["up/*"]
---
kind: Server
id: up
owner: team
transport: {http: {url: "UP"}}
state: sanctioned
---
kind: Fact
id: spent_1h
owner: team
type: limit
on: {server: up, tool: echo}
window: 1h
key: [agent]
agg: sum(/n)
---
kind: Policy
id: budget
cedar: |
  @outcome("rate_limit") @fact("spent_1h")
  forbid (principal, action == Mcp::Action::"up/echo", resource)
  when { context.facts.spent_1h > 5000 };
`

// refusal is what a denial says.
func refusal(t *testing.T, got reply) (d struct {
	Outcome, Class, Reason string
	After                  int64 `json:"retry_after_ms"`
}) {
	t.Helper()
	var res struct {
		Meta map[string]json.RawMessage `json:"_meta"`
	}
	if err := json.Unmarshal(got.msg.Result, &res); err != nil || json.Unmarshal(res.Meta["io.rutile/denial"], &d) != nil {
		t.Fatalf("not a denial: %s", got.body)
	}
	return d
}

// A limit holds on every path, says when to come again, and a restart forgets
// nothing.
func TestALimitHoldsOnEveryPath(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	data := t.TempDir()
	r := rigAt(t, data, "127.0.0.1:0")
	r.apply(strings.ReplaceAll(spending, "UP", u.URL+"/mcp"), "up")
	token := r.token("bot", "up")
	var wg sync.WaitGroup
	var mu sync.Mutex
	ran := 0
	for range 6 {
		wg.Go(func() {
			got := r.call(token, "up", "echo", `{"n":2000}`)
			mu.Lock()
			defer mu.Unlock()
			if !strings.Contains(got.body, "isError") {
				ran++
			} else if d := refusal(t, got); d.Outcome != "rate_limit" || d.Class != "rate" || d.After <= 0 || d.After > 2*3600*1000 {
				t.Errorf("denied with %+v", d)
			}
		})
	}
	wg.Wait()
	if ran != 2 || u.count() != 2 {
		t.Fatalf("%d of six ran, %d reached the server", ran, u.count())
	}
	limited := func(when string, got reply) {
		t.Helper()
		if d := refusal(t, got); d.Outcome != "rate_limit" {
			t.Errorf("%s: %s", when, got.body)
		}
	}
	limited("another token", r.call(r.token("bot", "up"), "up", "echo", `{"n":1001}`))
	limited("a legacy session", r.legacy(token, "up", v2511, `{}`).call("echo", `{"n":1001}`))
	limited("the aggregate", r.ask(r.token("bot", "*"), "tools/call", "up__echo", `"name":"up__echo","arguments":{"n":1001}`))
	for _, n := range []string{`-3000`, `1e3`, `"1"`, `99999999999999999999`} {
		if d := refusal(t, r.call(token, "up", "echo", `{"n":`+n+`}`)); d.Class != "arguments" || !strings.Contains(d.Reason, "/n") {
			t.Errorf("an amount of %s: %+v", n, d)
		}
	}
	if got := r.list(token, "up"); !strings.Contains(got.body, `"echo"`) {
		t.Errorf("a limit hides the tool: %s", got.body)
	}
	addr := strings.TrimPrefix(r.d.AgentsURL, "http://")
	r.stop()
	r = rigAt(t, data, addr)
	limited("after a restart", r.call(r.token("bot", "up"), "up", "echo", `{"n":1001}`))
	if got := r.call(r.token("bot", "up"), "up", "echo", `{"n":1000}`); strings.Contains(got.body, "isError") || u.count() != 3 {
		t.Errorf("what is left is not given: %s", got.body)
	}
}

// A call that asks its client for input counts once, however often it comes back.
func TestRoundsCountOnce(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	p.list("tools/list", toolList(echoTool))
	p.handle("tools/call", func(x *exchange) {
		if strings.Contains(x.params, "inputResponses") {
			x.text("the client said yes")
			return
		}
		x.result(`{"resultType":"input_required","inputRequests":{"a":{` + elicit + `}},"requestState":"s"}`)
	})
	r := newRig(t)
	r.apply(strings.ReplaceAll(spending, "UP", p.URL+"/mcp")+askPolicy("elicitation"), "up")
	u := turn{r: r, token: r.token("bot", "up"), server: "up", id: "1", tool: "echo", args: `{"n":3000}`, caps: `{"elicitation":{"form":{}}}`}
	good := u.answering(asked(t, u.send()), accept)
	if d := refusal(t, u.send()); d.Outcome != "rate_limit" {
		t.Errorf("another call while one waits: %+v", d)
	}
	if got := good.send(); !strings.Contains(got.body, "the client said") {
		t.Fatalf("the retry answered %s", got.body)
	}
	calls := len(p.got("tools/call"))
	if got := good.send(); strings.Contains(got.body, "the client said") || len(p.got("tools/call")) != calls {
		t.Errorf("a state used twice answered %s", got.body)
	}
	u.args = `{"n":2000}`
	asked(t, u.send())
}
