package gatetest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"rutile/internal/admin"
)

const eveAsks = `---
kind: Agent
id: eve
owner: team
purpose: spy
riskTier: 1
tools: ["up/else"]
---
kind: Entitlement
id: say-too
owner: team
agents: [eve]
tools: ["up/echo"]
`

// forSomebody is a token of an agent that acts for a person.
func (r *rig) forSomebody(agent, server, subject string) string {
	r.t.Helper()
	tk, err := r.d.Admin.IssueDevelopmentToken(r.t.Context(), operator, admin.TokenRequest{Agent: agent, Server: server, Subject: subject, TTL: time.Hour})
	if err != nil {
		r.t.Fatalf("issuing a token: %v", err)
	}
	return tk.Value
}

// What belongs to one party is nobody else's: another agent, the same agent for a
// person and the same agent for nobody see, close and use nothing of it, and are
// told what they would be told if it were not there.
func TestOwnToolsShowNothingOfOthers(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r := mayAsk(t, u, eveAsks)
	mine := r.forSomebody("bot", "rutile", "ann")
	task, _, _ := r.own(mine, "rutile", "rutile_task_open", `{"purpose":"mine"}`)
	asked, _, raw := r.own(mine, "rutile", "rutile_access_request", `{"server":"up","tool":"echo","scope":"once","arguments":{},"reason":"mine"}`)
	if task.Task.ID == "" || asked.Request.ID == "" {
		t.Fatalf("asking answered %s", raw.body)
	}
	absentTask, absentRequest := "tsk_01ARZ3NDEKTSV4RRFFQ69G5FAV", "req_01ARZ3NDEKTSV4RRFFQ69G5FAV"
	for name, as := range map[string][2]string{"another agent": {"eve", ""}, "the agent for nobody": {"bot", ""}, "the agent for another": {"bot", "ben"}, "another agent for the same": {"eve", "ann"}} {
		t.Run(name, func(t *testing.T) {
			token := r.forSomebody(as[0], "rutile", as[1])
			for _, c := range []struct{ tool, format, own, absent string }{
				{"rutile_access_status", `{"request":%q}`, asked.Request.ID, absentRequest},
				{"rutile_task_close", `{"task":%q}`, task.Task.ID, absentTask},
				{"rutile_access_withdraw", `{"request":%q}`, asked.Request.ID, absentRequest},
			} {
				_, got, raw := r.own(token, "rutile", c.tool, fmt.Sprintf(c.format, c.own))
				_, want, _ := r.own(token, "rutile", c.tool, fmt.Sprintf(c.format, c.absent))
				if got == "" || strings.ReplaceAll(got, c.own, c.absent) != want {
					t.Errorf("%s of somebody else's answered %s, of nothing %q", c.tool, raw.body, want)
				}
			}
			if said, _, raw := r.own(token, "rutile", "rutile_access_status", `{}`); len(said.Tasks)+len(said.Requests)+len(said.Grants) != 0 || said.Tasks == nil {
				t.Errorf("the status shows %s", raw.body)
			}
			// Nor does a call belong to a task it only names.
			body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rutile_task_close","arguments":{},` + meta + `}}`
			named := strings.Replace(body, `"_meta":{`, `"_meta":{"io.rutile/task":"`+task.Task.ID+`",`, 1)
			h := modernHeaders(token, "tools/call", "rutile_task_close")
			if got := denied(t, post(t, r.url("rutile"), h, named)); got.Class != "task" {
				t.Errorf("naming the task in _meta answered %+v", got)
			}
			h["Rutile-Task"] = []string{task.Task.ID}
			if got := denied(t, post(t, r.url("rutile"), h, body)); got.Class != "task" {
				t.Errorf("naming the task in a header answered %+v", got)
			}
			// What is approved for one party lets no other pass.
			if got := r.call(r.forSomebody(as[0], "up", as[1]), "up", "echo", `{}`); !strings.Contains(got.body, "asks for an approval") {
				t.Errorf("the call of another party answered %s", got.body)
			}
		})
	}
	approve(t, r, asked.Request.ID)
	if got := r.call(r.token("bot", "up"), "up", "echo", `{}`); !strings.Contains(got.body, "asks for an approval") || u.count() != 0 {
		t.Errorf("with somebody else's grant the call answered %s", got.body)
	}
	if said, _, raw := r.own(mine, "rutile", "rutile_access_status", `{}`); len(said.Tasks) != 1 || len(said.Grants) != 1 {
		t.Errorf("after the attacks the party has %s", raw.body)
	}
	if got := r.call(r.forSomebody("bot", "up", "ann"), "up", "echo", `{}`); problemOf(got.msg.Result) != "" || u.count() != 1 {
		t.Errorf("the party's own call answered %s", got.body)
	}
}

// A task is closed once, and nothing brings it back.
func TestAClosedTaskStaysClosed(t *testing.T) {
	t.Parallel()
	r := mayAsk(t, newUpstream(t), "")
	token := r.token("bot", "rutile")
	open := func() string {
		t.Helper()
		said, problem, _ := r.own(token, "rutile", "rutile_task_open", `{"purpose":"work"}`)
		if said.Task.ID == "" {
			t.Fatal(problem)
		}
		return said.Task.ID
	}
	problem := func(args string) string {
		t.Helper()
		_, p, raw := r.own(token, "rutile", "rutile_task_close", args)
		if p == "" {
			t.Errorf("closing with %s answered %s", args, raw.body)
		}
		return p
	}
	if got := problem(`{}`); !strings.Contains(got, "no task of yours is open") {
		t.Errorf("closing nothing answered %q", got)
	}
	first, second := open(), open()
	if got := problem(`{}`); !strings.Contains(got, "2 tasks of yours are open") {
		t.Errorf("closing one of two answered %q", got)
	}
	if said, _, raw := r.own(token, "rutile", "rutile_task_close", `{"task":"`+first+`"}`); said.Task.ID != first {
		t.Fatalf("closing one answered %s", raw.body)
	}
	if got := problem(`{"task":"` + first + `"}`); !strings.Contains(got, "belongs to task "+second) {
		t.Errorf("closing it again beside another answered %q", got)
	}
	if said, _, raw := r.own(token, "rutile", "rutile_task_close", `{}`); said.Task.ID != second {
		t.Fatalf("closing the other answered %s", raw.body)
	}
	for _, args := range []string{`{"task":"` + second + `"}`, `{"task":"` + first + `"}`} {
		if got := problem(args); !strings.Contains(got, "is closed") {
			t.Errorf("closing again answered %q", got)
		}
	}
	// A call that names it is refused before it reaches a tool.
	h := modernHeaders(token, "tools/call", "rutile_access_status")
	h["Rutile-Task"] = []string{first}
	if got := denied(t, post(t, r.url("rutile"), h, modernBody("1", "tools/call", `"name":"rutile_access_status","arguments":{}`))); got.Class != "task" {
		t.Errorf("a call in a closed task answered %+v", got)
	}
	_, got, _ := r.own(token, "rutile", "rutile_access_request", `{"server":"up","tool":"echo","scope":"task","reason":"more"}`)
	if !strings.Contains(got, "no open task") {
		t.Errorf("asking for a task that is over answered %q", got)
	}
}

// A party waits for a bounded number of answers and opens a bounded number of
// tasks; asking again for the same is the same request.
func TestOwnToolsAreBounded(t *testing.T) {
	t.Parallel()
	r := mayAsk(t, newUpstream(t), "")
	token := r.token("bot", "rutile")
	ask := func(i int) (told, string) {
		said, problem, _ := r.own(token, "rutile", "rutile_access_request", fmt.Sprintf(`{"server":"up","tool":"echo","scope":"once","arguments":{"text":"%d"},"reason":"flood"}`, i))
		return said, problem
	}
	first, problem := ask(0)
	if first.Request.ID == "" {
		t.Fatal(problem)
	}
	if again, _ := ask(0); again.Request.ID != first.Request.ID {
		t.Errorf("asking again is request %q beside %q", again.Request.ID, first.Request.ID)
	}
	for i := range 63 {
		if said, problem := ask(i + 1); said.Request.ID == "" {
			t.Fatalf("request %d: %s", i+2, problem)
		}
	}
	if _, problem := ask(64); !strings.Contains(problem, "64 requests of this agent wait") {
		t.Errorf("request 65 answered %q", problem)
	}
	if said, _, raw := r.own(token, "rutile", "rutile_access_status", `{}`); len(said.Requests) != 64 {
		t.Errorf("the status shows %s", raw.body)
	}
	for i := range 17 {
		_, problem, raw := r.own(token, "rutile", "rutile_task_open", `{"purpose":"flood"}`)
		if i < 16 == (problem != "") {
			t.Errorf("task %d answered %s", i+1, raw.body)
		}
	}
}

// Arguments are read strictly; what is not one of them does nothing, above all
// not say who calls.
func TestOwnToolsReadTheirArgumentsStrictly(t *testing.T) {
	t.Parallel()
	r := mayAsk(t, newUpstream(t), "")
	token := r.token("bot", "rutile")
	for tool, calls := range map[string]map[string]string{
		"rutile_task_open": {
			"no purpose": `{}`, "an empty purpose": `{"purpose":""}`, "blanks": `{"purpose":"   "}`, "a number": `{"purpose":7}`, "null": `{"purpose":null}`,
			"a long purpose": `{"purpose":"` + strings.Repeat("x", 1001) + `"}`, "a huge purpose": `{"purpose":"` + strings.Repeat("x", 1<<20) + `"}`,
			"a line break": `{"purpose":"a\nb"}`, "an escape": `{"purpose":"a\u001b[2Jb"}`, "a zero": `{"purpose":"a\u0000b"}`, "right to left": `{"purpose":"a\u202eb"}`,
			"a long ticket": `{"purpose":"a","ticket":"` + strings.Repeat("x", 129) + `"}`, "a ticket of two lines": `{"purpose":"a","ticket":"a\r\nb"}`,
			"another agent": `{"purpose":"a","agent":"eve"}`, "a party": `{"purpose":"a","party":{"agent":"eve"}}`, "a subject": `{"purpose":"a","subject":"ann"}`,
			"for no time": `{"purpose":"a","ttlSeconds":0}`, "for less": `{"purpose":"a","ttlSeconds":-1}`, "for ever": `{"purpose":"a","ttlSeconds":9223372036854775807}`,
			"for more": `{"purpose":"a","ttlSeconds":1e300}`, "for a text": `{"purpose":"a","ttlSeconds":"60"}`, "for a part": `{"purpose":"a","ttlSeconds":1.5}`,
		},
		"rutile_access_withdraw": {"nothing": `{}`, "a number": `{"request":7}`, "an agent": `{"request":"req_x","agent":"eve"}`, "a reason of two lines": `{"request":"req_x","reason":"a\nb"}`},
		"rutile_access_delegate": {
			"nothing": `{}`, "no reason": `{"grant":"grt_x","agent":"eve"}`, "a subject": `{"grant":"grt_x","agent":"eve","reason":"a","subject":"ann"}`, "no grant of its own": `{"grant":"grt_x","agent":"eve","reason":"a"}`,
			"a deep one": `{"grant":"grt_x","agent":"eve","reason":"a","maxDepth":4}`, "limits that are none": `{"grant":"grt_x","agent":"eve","reason":"a","limits":[1]}`,
			"an unknown limit": `{"grant":"grt_x","agent":"eve","reason":"a","limits":{"everything":1}}`, "half a use": `{"grant":"grt_x","agent":"eve","reason":"a","uses":0.5}`,
		},
		"rutile_task_close":    {"a list": `{"task":["a"]}`, "an unknown name": `{"id":"a"}`, "a reason of two lines": `{"task":"tsk_x","reason":"a\nb"}`},
		"rutile_access_status": {"an empty id": `{"request":""}`, "a number": `{"request":7}`, "an agent": `{"agent":"eve"}`, "a path": `{"request":"../req"}`, "a wildcard": `{"request":"%"}`},
		"rutile_access_request": {
			"nothing": `{}`, "no scope": `{"server":"up","tool":"echo","arguments":{},"reason":"a"}`, "another scope": `{"server":"up","tool":"echo","scope":"ever","reason":"a"}`,
			"no reason": `{"server":"up","tool":"echo","scope":"once","arguments":{}}`, "a reason of two lines": `{"server":"up","tool":"echo","scope":"once","arguments":{},"reason":"a\nb"}`,
			"no arguments": `{"server":"up","tool":"echo","scope":"once","reason":"a"}`, "arguments that are none": `{"server":"up","tool":"echo","scope":"once","arguments":[1],"reason":"a"}`,
			"both": `{"server":"up","tool":"echo","scope":"once","arguments":{},"constraints":[],"reason":"a"}`, "arguments for a time": `{"server":"up","tool":"echo","scope":"time","arguments":{},"reason":"a"}`,
			"an unknown operator":        `{"server":"up","tool":"echo","scope":"time","constraints":[{"at":"/text","like":"a"}],"reason":"a"}`,
			"constraints that are none":  `{"server":"up","tool":"echo","scope":"time","constraints":{"at":"/text"},"reason":"a"}`,
			"more uses than the ceiling": `{"server":"up","tool":"echo","scope":"time","uses":6,"reason":"a"}`, "no uses": `{"server":"up","tool":"echo","scope":"time","uses":0,"reason":"a"}`,
			"a longer time than the ceiling": `{"server":"up","tool":"echo","scope":"time","ttlSeconds":3601,"reason":"a"}`, "many uses of one call": `{"server":"up","tool":"echo","scope":"once","arguments":{},"uses":2,"reason":"a"}`,
			"an unknown limit": `{"server":"up","tool":"echo","scope":"time","limits":{"x":1},"reason":"a"}`, "a limit below 0": `{"server":"up","tool":"echo","scope":"time","limits":{"concurrencyMax":-1},"reason":"a"}`,
			"limits of one call": `{"server":"up","tool":"echo","scope":"once","arguments":{},"limits":{"idleSeconds":1},"reason":"a"}`, "its own approval": `{"server":"up","tool":"echo","scope":"once","arguments":{},"reason":"a","approve":true}`, "a grant": `{"server":"up","tool":"echo","scope":"once","arguments":{},"reason":"a","state":"issued"}`,
		},
	} {
		for name, args := range calls {
			if _, problem, raw := r.own(token, "rutile", tool, args); problem == "" || len(problem) > 600 || strings.ContainsAny(problem, "\n\x1b\x00\u202e") {
				t.Errorf("%s with %s answered %.300s", tool, name, raw.body)
			}
		}
	}
	// What two readers would read differently never reaches a tool.
	for name, args := range map[string]string{
		"a name twice": `{"purpose":"a","purpose":"b"}`, "a name in two cases": `{"purpose":"a","Purpose":"b"}`, "another case": `{"Purpose":"a"}`,
		"a name twice, escaped": `{"purpose":"a","purp\u006fse":"b"}`, "no object": `["a"]`,
	} {
		if got := r.call(token, "rutile", "rutile_task_open", args); got.msg.code() == 0 {
			t.Errorf("%s answered %s", name, got.body)
		}
	}
	if got := r.call(token, "rutile", "rutile_task_reopen", `{}`); got.msg.code() != -32602 {
		t.Errorf("a tool that is not there answered %s", got.body)
	}
	if said, _, raw := r.own(token, "rutile", "rutile_access_status", `{}`); len(said.Tasks)+len(said.Requests)+len(said.Grants) != 0 {
		t.Errorf("something came of it: %s", raw.body)
	}
}

// What may be asked for is what a call would ask for. A tool nobody may ask for
// and one that is not there answer alike, unless the agent's lists show it.
func TestOnlyWhatMayBeApprovedIsAskedFor(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, echoTool, tool("else"), tool("secret"), tool("shown"), tool("bounded"))
	r := mayAsk(t, u, `---
kind: Entitlement
id: bounded
owner: team
agents: [bot]
tools: ["up/bounded"]
args: [{at: /text, prefix: "ok"}]
approve: auto
---
kind: Policy
id: shown
cedar: |
  permit (principal, action == Mcp::Action::"up/shown", resource) when { context.input has text && context.input.text == "yes" };
`)
	token := r.token("bot", "rutile")
	ask := func(server, tool, rest string) (told, string) {
		t.Helper()
		said, problem, _ := r.own(token, "rutile", "rutile_access_request", `{"server":"`+server+`","tool":"`+tool+`","reason":"please",`+rest+`}`)
		return said, problem
	}
	const once, always = `"scope":"once","arguments":{"text":"no"}`, `"scope":"time"`
	for _, rest := range []string{once, always} {
		_, want := ask("nowhere", "nothing", rest)
		for _, target := range [][2]string{{"up", "nothing"}, {"up", "secret"}, {"nowhere", "echo"}, {"up", "prompts/x"}, {"up", "resources/read"}, {"", "x"}, {"rutile", "nothing"}} {
			if _, got := ask(target[0], target[1], rest); got != want && target[0] != "" || got == "" {
				t.Errorf("asking for %s answered %q, want %q", target, got, want)
			}
		}
		if _, got := ask("up", "shown", rest); !strings.Contains(got, "nobody can approve this") || got == want {
			t.Errorf("asking for a tool that is shown answered %q", got)
		}
		if said, got := ask("up", "else", rest); said.State != "permitted" || said.Request.ID != "" {
			t.Errorf("asking for what is permitted answered %+v %q", said, got)
		}
	}
	if said, got := ask("up", "shown", `"scope":"once","arguments":{"text":"yes"}`); said.State != "permitted" {
		t.Errorf("asking for a call that is permitted answered %+v %q", said, got)
	}
	if _, got := ask("up", "bounded", once); !strings.Contains(got, "does not reach that far") {
		t.Errorf("asking beyond the entitlement answered %q", got)
	}
	if _, got := ask("up", "bounded", always); !strings.Contains(got, "does not reach that far") {
		t.Errorf("asking without its constraints answered %q", got)
	}
	said, got := ask("up", "bounded", `"scope":"once","arguments":{"text":"ok 1"}`)
	if said.State != "issued" || said.Grant.State != "active" || said.Grant.Expires == "" {
		t.Fatalf("asking for what is approved by itself answered %+v %q", said, got)
	}
	call := func(args string) reply { return r.call(r.token("bot", "up"), "up", "bounded", args) }
	if got := call(`{"text":"ok 1"}`); problemOf(got.msg.Result) != "" || u.count() != 1 {
		t.Errorf("the call answered %s", got.body)
	}
	if got := call(`{"text":"no"}`); problemOf(got.msg.Result) == "" || u.count() != 1 {
		t.Errorf("another call answered %s", got.body)
	}
}

// Policies have the last word: a forbid hides and stops the gateway's own tools,
// at both endpoints; entitlements and allow-lists are not about them.
func TestPoliciesForbidOwnTools(t *testing.T) {
	t.Parallel()
	r := mayAsk(t, newUpstream(t), eveAsks+`---
kind: Entitlement
id: all
owner: team
agents: [bot, eve]
tools: ["*/*"]
---
kind: Policy
id: no-tasks
cedar: |
  forbid (principal == Mcp::Agent::"bot", action == Mcp::Action::"rutile/rutile_task_open", resource);
  forbid (principal == Mcp::Agent::"eve", action in Mcp::Action::"call", resource in Mcp::Server::"rutile");
`)
	for agent, want := range map[string][]string{"bot": {"rutile_access_delegate", "rutile_access_request", "rutile_access_status", "rutile_access_withdraw", "rutile_task_close"}, "eve": nil} {
		for at, token := range map[string]string{"rutile": r.token(agent, "rutile"), "": r.token(agent, "*")} {
			got := slices.DeleteFunc(listed(t, r.list(token, at).msg.Result), func(n string) bool { return !strings.HasPrefix(n, "rutile_") })
			if !slices.Equal(got, want) {
				t.Errorf("%s sees %q at %q, want %q", agent, got, at, want)
			}
			for _, tool := range ownTools {
				raw := r.call(token, at, tool, `{"purpose":"a"}`)
				if permitted := slices.Contains(want, tool); !permitted && denied(t, raw).Class != "policy" {
					t.Errorf("%s calls %s at %q: %s", agent, tool, at, raw.body)
				} else if permitted && strings.Contains(raw.body, "io.rutile/denial") {
					t.Errorf("%s may not call %s at %q: %s", agent, tool, at, raw.body)
				}
			}
		}
	}
}

// The gateway's own server is nobody's to declare, ask for or delete, and a server
// that an agent names so at the aggregate is not it.
func TestTheOwnServerIsReserved(t *testing.T) {
	t.Parallel()
	r := mayAsk(t, newUpstream(t), "")
	for name, manifest := range map[string]string{
		"a server":       "kind: Server\nid: rutile\nowner: team\ntransport: {http: {url: \"https://a.example/mcp\"}}\nstate: sanctioned\n",
		"an entitlement": "kind: Entitlement\nid: own\nowner: team\nagents: [bot]\ntools: [\"rutile/rutile_task_open\"]\n",
	} {
		docs, err := admin.ParseReader("own.yaml", t.TempDir(), strings.NewReader(manifest))
		if err == nil {
			_, err = r.d.Admin.Apply(t.Context(), operator, docs, false)
		}
		if err == nil || !strings.Contains(err.Error(), "rutile") {
			t.Errorf("%s with the id: %v", name, err)
		}
	}
	all := r.token("bot", "*")
	for _, name := range []string{"rutile__rutile_task_open", "rutile__task_open", "rutile_", "rutile_task", "Rutile_task_open"} {
		if got := r.call(all, "", name, `{"purpose":"a"}`); got.msg.code() != -32602 {
			t.Errorf("calling %s answered %s", name, got.body)
		}
	}
	if got := post(t, r.url("rutile"), modernHeaders(r.token("bot", "up"), "tools/list", ""), modernBody("1", "tools/list", "")); got.status != http.StatusUnauthorized {
		t.Errorf("a token for another server answered %d", got.status)
	}
	if got := listed(t, r.list(r.token("bot", "up"), "up").msg.Result); len(got) != 1 {
		t.Errorf("a server lists %q", got)
	}
	for method, want := range map[string]int{"prompts/list": -32601, "resources/list": -32601, "completion/complete": -32602, "subscriptions/listen": -32601} {
		if got := post(t, r.url("rutile"), modernHeaders(r.token("bot", "rutile"), method, ""), modernBody("1", method, `"notifications":{},"ref":{"type":"ref/prompt","name":"x"}`)); got.msg.code() != want {
			t.Errorf("%s answered %d %s", method, got.status, got.body)
		}
	}
}
