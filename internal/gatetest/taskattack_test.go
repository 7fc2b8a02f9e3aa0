package gatetest_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"rutile/internal/daemon"
	"rutile/internal/gatetest"
	"rutile/internal/mcpproxy"
	"rutile/internal/registry"
)

// taskMembers declare the tasks extension and everything a server may ask.
const taskMembers = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{},"sampling":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}}`

// taskRig governs a server with tasks, "up", and another of the same, "other",
// for the agents "bot" and "eve".
func taskRig(t *testing.T, more string, change ...func(*daemon.Config)) (*rig, *gatetest.TaskServer) {
	t.Helper()
	up := &gatetest.TaskServer{}
	s, o := httptest.NewServer(up), httptest.NewServer(&gatetest.TaskServer{})
	t.Cleanup(s.Close)
	t.Cleanup(o.Close)
	r := newRig(t, change...)
	bot, server, _ := strings.Cut(botAndServer(s.URL, `["up/*", "other/*"]`), "---")
	_, other, _ := strings.Cut(botAndServer(o.URL, "[]"), "---")
	eve, other := strings.Replace(bot, "id: bot", "id: eve", 1), strings.Replace(other, "id: up", "id: other", 1)
	r.apply(bot+"---"+eve+"---"+server+"---"+other+more, "up", "other")
	return r, up
}

// askPolicyIf permits the server's requests of a kind under a condition.
func askPolicyIf(kind, condition string) string {
	return strings.Replace(askPolicy(kind), "resource);", "resource) when { "+condition+" };", 1)
}

// task sends a request of the modern era that declares the extension.
func (r *rig) task(token, server, method, name, params string) reply {
	r.t.Helper()
	if params != "" {
		params += ","
	}
	body := `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` + params + taskMembers + `}}`
	return post(r.t, r.url(server), modernHeaders(token, method, name), body)
}

// about asks about a task.
func (r *rig) about(token, server, method, id, more string) reply {
	r.t.Helper()
	raw, _ := json.Marshal(id)
	return r.task(token, server, method, id, `"taskId":`+string(raw)+more)
}

// start makes a task and returns its id.
func (r *rig) startTask(token, server, tool, args string) string {
	r.t.Helper()
	got := r.task(token, server, "tools/call", tool, `"name":"`+tool+`","arguments":`+args)
	st := taskState(r.t, got)
	if st.ResultType != "task" || st.TaskID == "" {
		r.t.Fatalf("no task was made: %s", got.body)
	}
	return st.TaskID
}

type taskShown struct {
	ResultType    string                     `json:"resultType"`
	TaskID        string                     `json:"taskId"`
	Status        string                     `json:"status"`
	InputRequests map[string]json.RawMessage `json:"inputRequests"`
	Result        json.RawMessage            `json:"result"`
	Error         *struct {
		Code    int
		Message string
	} `json:"error"`
}

func taskState(t *testing.T, got reply) taskShown {
	t.Helper()
	var st taskShown
	if err := json.Unmarshal(got.msg.Result, &st); err != nil {
		t.Fatalf("not the state of a task: %s", got.body)
	}
	return st
}

// await polls a task until its state is the one wanted.
func (r *rig) await(token, server, id, status string) (st taskShown) {
	r.t.Helper()
	eventually(r.t, "the task is "+status, func() bool {
		got := r.about(token, server, "tasks/get", id, "")
		if got.msg.Result == nil {
			r.t.Fatalf("the task answered %s", got.body)
		}
		st = taskState(r.t, got)
		return st.Status == status
	})
	return st
}

// A task is of the principal and the server it was made for. Any other id gets
// one and the same answer, and the server is not asked.
func TestTaskIDOtherPrincipal(t *testing.T) {
	t.Parallel()
	r, up := taskRig(t, "")
	token := r.token("bot", "up")
	id := r.startTask(token, "up", "slow_compute", `{"seconds":60}`)
	theirs := ""
	for _, q := range up.Seen() {
		if strings.Contains(string(q.Params), id) || q.Name == id {
			t.Errorf("the server saw the id the gateway gave: %s", q.Params)
		}
	}
	if st := r.await(token, "up", id, "working"); st.TaskID != id {
		t.Fatalf("the id changed to %q", st.TaskID)
	}
	for _, q := range up.Seen() {
		if q.Method == "tasks/get" {
			var p struct{ TaskID string }
			if json.Unmarshal(q.Params, &p) != nil || p.TaskID == "" || q.Name != p.TaskID {
				t.Fatalf("the server was asked with name %q about %s", q.Name, q.Params)
			}
			theirs = p.TaskID
		}
	}
	before := len(up.Seen())
	want := r.about(token, "up", "tasks/get", "never-given", "")
	if want.msg.code() != -32602 || want.status != 200 {
		t.Fatalf("an unknown id: %d %s", want.status, want.body)
	}
	ask := func(token, server, method, id string) reply {
		if method == "tasks/update" {
			return r.about(token, server, method, id, `,"inputResponses":{}`)
		}
		return r.about(token, server, method, id, "")
	}
	for name, asked := range map[string]func(method string) reply{
		"another agent":    func(m string) reply { return ask(r.token("eve", "up"), "up", m, id) },
		"another server":   func(m string) reply { return ask(r.token("bot", "other"), "other", m, id) },
		"another person":   func(m string) reply { return ask(r.subjectToken("bot", "ann"), "up", m, id) },
		"the server's own": func(m string) reply { return ask(token, "up", m, theirs) },
		"cut":              func(m string) reply { return ask(token, "up", m, id[:len(id)-4]) },
		"changed":          func(m string) reply { return ask(token, "up", m, id[:40]+swapped(id[40:41])+id[41:]) },
		"padded":           func(m string) reply { return ask(token, "up", m, id+"=") },
	} {
		for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
			if got := asked(method); got.body != want.body || got.status != want.status {
				t.Errorf("%s, %s: %d %s, want %s", name, method, got.status, got.body, want.body)
			}
		}
	}
	if n := len(up.Seen()); n != before {
		t.Errorf("%d requests reached the server", n-before)
	}
	// It is still the owner's.
	if got := r.about(token, "up", "tasks/cancel", id, ""); got.msg.Result == nil {
		t.Errorf("cancelling: %s", got.body)
	}
	r.await(token, "up", id, "cancelled")
}

// refusedTask requires that what was asked about a task is denied as methods
// other than tools/call are: by an error that says by which decision.
func refusedTask(t *testing.T, got reply, code int) {
	t.Helper()
	var data struct{ Decision string }
	if got.msg.Error != nil {
		_ = json.Unmarshal(got.msg.Error.Data, &data)
	}
	if got.status != 200 || got.msg.code() != code || data.Decision == "" || got.msg.Result != nil {
		t.Errorf("answered %d %s", got.status, got.body)
	}
}

// Asking about a task is decided as the call it came from, each time: with the
// arguments of that call, on the policy and the standing of now.
func TestTaskIsDecidedAsItsCall(t *testing.T) {
	t.Parallel()
	r, up := taskRig(t, "")
	token := r.token("bot", "up")
	small := r.startTask(token, "up", "slow_compute", `{"seconds":60,"label":"secret"}`)
	other := r.startTask(token, "up", "slow_compute", `{"seconds":60,"label":"plain"}`)
	noise := make([]byte, 20_000) // which does not compress into an id
	for i, x := 0, uint32(7); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[x>>26]
	}
	large := r.startTask(token, "up", "slow_compute", `{"seconds":60,"label":"`+string(noise)+`"}`)
	repeated := r.startTask(token, "up", "slow_compute", `{"seconds":60,"label":"`+strings.Repeat("plain ", 5000)+`"}`)
	if len(large) > 2000 || len(repeated) > 2000 {
		t.Errorf("ids of %d and %d bytes", len(large), len(repeated))
	}
	for _, id := range []string{small, other, large, repeated} {
		r.await(token, "up", id, "working")
	}
	r.apply("kind: Policy\nid: no-secrets\ncedar: |\n  forbid (principal, action == Mcp::Action::\"up/slow_compute\", resource) when { context.input.label == \"secret\" };\n")
	for id, want := range map[string]bool{small: false, other: true, repeated: true, large: false} {
		before := len(up.Seen())
		got := r.about(token, "up", "tasks/get", id, "")
		if want && taskState(t, got).Status != "working" {
			t.Errorf("a task whose call is permitted: %s", got.body)
		}
		if want {
			continue
		}
		refusedTask(t, got, 4030) // the call is denied, or may be
		all := r.token("bot", "*")
		for _, method := range []string{"tasks/get", "tasks/cancel"} {
			refusedTask(t, r.about(all, "", method, id, ""), 4030)
		}
		refusedTask(t, r.about(token, "up", "tasks/update", id, `,"inputResponses":{}`), 4030)
		if len(up.Seen()) != before {
			t.Error("what is denied reached the server")
		}
	}
	if _, err := r.d.Admin.ChangeTool(t.Context(), operator, "up", "slow_compute", registry.VerbQuarantine, "test"); err != nil {
		t.Fatal(err)
	}
	before := len(up.Seen())
	refusedTask(t, r.about(token, "up", "tasks/get", other, ""), 4030)
	if len(up.Seen()) != before {
		t.Error("a task of a quarantined tool was asked for")
	}
}

// Ids need no memory: they are good after a restart, and so is whose they are.
func TestTaskOutlivesTheGateway(t *testing.T) {
	t.Parallel()
	up := &gatetest.TaskServer{}
	s := httptest.NewServer(up)
	t.Cleanup(s.Close)
	data := t.TempDir()
	r := rigAt(t, data, "127.0.0.1:0")
	eve := strings.Replace(strings.SplitN(botAndServer("x", `["up/*"]`), "---", 2)[0], "id: bot", "id: eve", 1)
	r.apply(botAndServer(s.URL, `["up/*"]`)+"---"+eve, "up")
	id := r.startTask(r.token("bot", "up"), "up", "slow_compute", `{"seconds":60}`)
	r.stop()
	r = rigAt(t, data, "127.0.0.1:0")
	r.await(r.token("bot", "up"), "up", id, "working")
	if got := r.about(r.token("eve", "up"), "up", "tasks/get", id, ""); got.msg.code() != -32602 {
		t.Errorf("another agent after the restart: %s", got.body)
	}
	up.Forget()
	if got := r.about(r.token("bot", "up"), "up", "tasks/get", id, ""); got.msg.code() != -32602 {
		t.Errorf("a task the server forgot: %s", got.body)
	}
}

// What a task asks for is decided like what a call asks for: what may not be
// asked is answered by the gateway and not shown.
func TestTaskAsksOnlyWhatMayBeAsked(t *testing.T) {
	t.Parallel()
	r, up := taskRig(t, askPolicyIf("elicitation", `context.input.message == "another"`))
	token := r.token("bot", "up")
	id := r.startTask(token, "up", "confirm_delete", `{}`)
	st := r.await(token, "up", id, "completed") // declined in the client's stead
	if !strings.Contains(string(st.Result), "decline") || st.InputRequests != nil {
		t.Errorf("the task ended with %+v", st)
	}
	told := 0
	for _, q := range up.Seen() {
		if q.Method == "tasks/update" {
			told++
		}
	}
	if told == 0 {
		t.Error("nothing was answered")
	}
	permitted, _ := taskRig(t, askPolicy("elicitation"))
	token = permitted.token("bot", "up")
	id = permitted.startTask(token, "up", "confirm_delete", `{}`)
	if st := permitted.await(token, "up", id, "input_required"); len(st.InputRequests) != 1 {
		t.Errorf("permitted, it shows %+v", st)
	}
	if got := permitted.about(token, "up", "tasks/update", id, `,"inputResponses":{"confirm":{"action":"accept","content":{"confirm":"yes"}}}`); got.msg.Result == nil {
		t.Errorf("answering: %s", got.body)
	}
	if st := permitted.await(token, "up", id, "completed"); !strings.Contains(string(st.Result), "accept") {
		t.Errorf("answered, the task ended with %s", st.Result)
	}
}

// Without the extension declared there are no tasks, whatever a server says; a
// server that breaks the form of tasks is not relayed.
func TestTasksNeedTheExtensionAndTheirForm(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	p.caps = `{"tools":{},"resources":{},"extensions":{"io.modelcontextprotocol/tasks":{},"com.example/other":{}}}`
	r, token := governPeer(t, p, "")
	const seed = `"resultType":"task","taskId":"t1","status":"working","createdAt":"2026-01-01T00:00:00Z","lastUpdatedAt":"2026-01-01T00:00:00Z","ttlMs":null`
	p.handle("tools/call", func(x *exchange) { x.result(`{` + seed + `}`) })
	if got := r.call(token, "up", "echo", `{}`); got.msg.kind() != "upstream_malformed" || strings.Contains(got.body, "t1") {
		t.Errorf("a task for a client that did not declare them: %s", got.body)
	}
	for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
		got := post(t, r.url("up"), modernHeaders(token, method, "x"), modernBody("1", method, `"taskId":"x","inputResponses":{}`))
		if method != "tasks/update" {
			got = post(t, r.url("up"), modernHeaders(token, method, "x"), modernBody("1", method, `"taskId":"x"`))
		}
		if got.status != 400 || got.msg.code() != -32021 || !strings.Contains(string(got.msg.Error.Data), "io.modelcontextprotocol/tasks") {
			t.Errorf("%s undeclared: %d %s", method, got.status, got.body)
		}
	}
	call := func() reply { return r.task(token, "up", "tools/call", "echo", `"name":"echo","arguments":{}`) }
	id := taskState(t, call()).TaskID
	for name, bad := range map[string]string{
		"no id": `"resultType":"task","status":"working"`, "a number": `"resultType":"task","taskId":1,"status":"working"`, "a long id": `"resultType":"task","taskId":"` + strings.Repeat("x", 2000) + `","status":"working"`,
		"no status": `"resultType":"task","taskId":"t"`, "odd status": `"resultType":"task","taskId":"t","status":"Working"`,
		"a result": seed + `,"result":{"content":[]}`, "questions": seed + `,"inputRequests":{"a":{"method":"elicitation/create"}}`, "a state": seed + `,"requestState":"s"`,
		"another type": strings.Replace(seed, `"task"`, `"tusk"`, 1),
	} {
		p.handle("tools/call", func(x *exchange) { x.result(`{` + bad + `}`) })
		if got := call(); got.msg.kind() != "upstream_malformed" {
			t.Errorf("a new task with %s: %s", name, got.body)
		}
	}
	for name, bad := range map[string]string{
		"of another": `"resultType":"complete","taskId":"t2","status":"working"`, "without id": `"resultType":"complete","status":"working"`, "without status": `"resultType":"complete","taskId":"t1"`,
		"questions while working": `"resultType":"complete","taskId":"t1","status":"working","inputRequests":{"a":{"method":"elicitation/create"}}`,
		"undeclared question":     `"resultType":"complete","taskId":"t1","status":"input_required","inputRequests":{"a":{"method":"roots/list"}}`,
		"folded id":               `"resultType":"complete","taskId":"t1","TaskID":"t9","status":"working"`, "folded status": `"resultType":"complete","taskId":"t1","status":"working","Status":"completed"`,
	} {
		p.handle("tasks/get", func(x *exchange) { x.result(`{` + bad + `}`) })
		if got := r.about(token, "up", "tasks/get", id, ""); got.msg.kind() != "upstream_malformed" {
			t.Errorf("the state of a task, %s: %s", name, got.body)
		}
	}
	// A task is made by a call of a tool, nothing else.
	p.handle("resources/read", func(x *exchange) { x.result(`{` + seed + `}`) })
	r.apply("kind: Policy\nid: read\ncedar: |\n  permit (principal, action == Mcp::Action::\"up/resources/read\", resource);\n")
	if got := r.task(token, "up", "resources/read", "test://a", `"uri":"test://a"`); got.msg.kind() != "upstream_malformed" {
		t.Errorf("a task of a reading: %s", got.body)
	}
}

// Sampling has no answer that says no: a task that wants it and may not have it
// is cancelled and fails.
func TestTaskThatMayNotSampleFails(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	p.caps = `{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}`
	r, token := governPeer(t, p, askPolicyIf("sampling", "context.input.maxTokens == 5"))
	p.handle("tools/call", func(x *exchange) { x.result(`{"resultType":"task","taskId":"t1","status":"working"}`) })
	p.handle("tasks/cancel", func(x *exchange) { x.result(`{"resultType":"complete"}`) })
	p.handle("tasks/get", func(x *exchange) {
		x.result(`{"resultType":"complete","taskId":"t1","status":"input_required","inputRequests":{"a":{"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}}}}`)
	})
	id := r.startTask(token, "up", "echo", `{}`)
	st := taskState(t, r.about(token, "up", "tasks/get", id, ""))
	if st.Status != "failed" || st.Error == nil || st.InputRequests != nil || !strings.Contains(st.Error.Message, "sampling") {
		t.Errorf("it is shown as %+v", st)
	}
	if got := p.got("tasks/cancel"); len(got) != 1 || got[0].header.Get("Mcp-Name") != "t1" {
		t.Errorf("%d cancellations reached the server", len(got))
	}
}

// A subscription tells of tasks of this principal only, under the ids it was
// given, and what it tells is decided and recorded.
func TestTaskSubscription(t *testing.T) {
	t.Parallel()
	r, _ := taskRig(t, "")
	token := r.token("bot", "up")
	mine := r.startTask(token, "up", "slow_compute", `{"seconds":1}`)
	theirs := r.startTask(r.token("eve", "up"), "up", "slow_compute", `{"seconds":1}`)
	got := post(t, r.url("up"), modernHeaders(token, "subscriptions/listen", ""), modernBody(`"s"`, "subscriptions/listen", `"notifications":{"taskIds":["`+mine+`"]}`))
	if got.msg.code() != -32021 {
		t.Errorf("undeclared: %d %s", got.status, got.body)
	}
	from := uint64(len(r.leaves(0)))
	body := `{"jsonrpc":"2.0","id":"s","method":"subscriptions/listen","params":{"notifications":{"taskIds":["` + mine + `","` + theirs + `","t-unknown",7]},` + taskMembers + `}}`
	s := stream(t, "POST", r.url("up"), modernHeaders(token, "subscriptions/listen", ""), body)
	type note struct {
		Method string
		Params struct {
			TaskID        string
			Status        string
			Result        json.RawMessage
			Notifications struct{ TaskIDs []string }
		}
	}
	next := func() (n note) {
		t.Helper()
		if err := json.Unmarshal([]byte(s.next()), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if ack := next(); !slices.Equal(ack.Params.Notifications.TaskIDs, []string{mine}) {
		t.Errorf("acknowledged %q", ack.Params.Notifications.TaskIDs)
	}
	for _, status := range []string{"working", "completed"} {
		n := next()
		if n.Method != "notifications/tasks" || n.Params.TaskID != mine || n.Params.Status != status {
			t.Fatalf("told %+v, want %s", n, status)
		}
		if status == "completed" && !strings.Contains(string(n.Params.Result), "computed") {
			t.Errorf("told of the end without the result: %+v", n)
		}
	}
	told := 0
	for _, l := range r.leaves(from) {
		if l.Type == "outcome" {
			told++
		}
	}
	if told != 2 {
		t.Errorf("%d outcomes are recorded for two states shown", told)
	}
}

// Who is told that a task works has not been told that it ended well.
func TestATaskThatWorksIsNoPriorCall(t *testing.T) {
	t.Parallel()
	r, _ := taskRig(t, `
---
kind: Fact
id: computed
owner: team
type: prior
on: {server: up, tool: slow_compute}
within: 15m
key: [agent]
---
kind: Policy
id: first
cedar: |
  forbid (principal, action == Mcp::Action::"up/greet", resource) unless { context.facts.computed };
`)
	token := r.token("bot", "up")
	id := r.startTask(token, "up", "slow_compute", `{"seconds":60}`)
	s := stream(t, "POST", r.url("up"), modernHeaders(token, "subscriptions/listen", ""),
		`{"jsonrpc":"2.0","id":"s","method":"subscriptions/listen","params":{"notifications":{"taskIds":["`+id+`"]},`+taskMembers+`}}`)
	s.next() // the acknowledgement
	if n := s.next(); !strings.Contains(n, `"working"`) {
		t.Fatalf("told %s", n)
	}
	if got := r.call(token, "up", "greet", `{}`); !strings.Contains(got.body, "isError") {
		t.Errorf("a call that needs the result passed: %s", got.body)
	}
}

// Extensions are carried if the gateway knows them or the configuration says so.
func TestExtensionsAreCarriedByAllowList(t *testing.T) {
	t.Parallel()
	const caps = `{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{},"com.example/known":{"a":1},"com.example/other":{}}}`
	for _, allow := range [][]string{nil, {"com.example/known"}} {
		p := newPeer(t, v2026, v2511)
		p.caps = caps
		r, token := governPeer(t, p, "", func(o *daemon.Options) { o.MCP = mcpproxy.Config{Extensions: allow} })
		var d struct {
			Capabilities struct{ Extensions map[string]json.RawMessage }
		}
		if err := json.Unmarshal(r.modern(token, "server/discover", "", "").msg.Result, &d); err != nil {
			t.Fatal(err)
		}
		want := map[string]bool{"io.modelcontextprotocol/tasks": true}
		for _, a := range allow {
			want[a] = true
		}
		for _, name := range []string{"io.modelcontextprotocol/tasks", "com.example/known", "com.example/other"} {
			if (d.Capabilities.Extensions[name] != nil) != want[name] {
				t.Errorf("with %q allowed, %s is advertised: %v", allow, name, !want[name])
			}
		}
		body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{},` + strings.Replace(meta, `clientCapabilities":{`, `clientCapabilities":{"extensions":{"com.example/other":{"x":[1.0]},"com.example/known":{"b":2.50},"io.modelcontextprotocol/tasks":{}}`, 1) + `}}`
		if got := post(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), body); got.msg.Result == nil {
			t.Fatalf("a call answered %s", got.body)
		}
		sent := p.last("tools/call").body
		for name, carried := range map[string]bool{"com.example/other": false, `"com.example/known":{"b":2.50}`: len(allow) > 0, "io.modelcontextprotocol/tasks": true} {
			if strings.Contains(sent, name) != carried {
				t.Errorf("with %q allowed, %s reached the server: %v", allow, name, !carried)
			}
		}
		if init := r.legacy(token, "up", v2511, `{"extensions":{"com.example/known":{}}}`).init; strings.Contains(string(init.Result), "extensions") {
			t.Errorf("a legacy client is told of extensions: %s", init.Result)
		}
		if got := r.modern(token, "com.example/known/do", "", ""); got.status != 404 || got.msg.code() != -32601 {
			t.Errorf("a method of an extension: %d %s", got.status, got.body)
		}
		p.handle("tools/call", func(x *exchange) {
			x.fault(-32021, "needs", fmt.Sprintf(`{"requiredCapabilities":{"extensions":{%q:{}}}}`, "com.example/other"))
		})
		if got := post(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), body); got.msg.code() != 4030 {
			t.Errorf("a server that needs what is not carried: %s", got.body)
		}
		if got := r.call(token, "up", "echo", `{}`); got.msg.code() != -32021 {
			t.Errorf("a server that needs what was not declared: %s", got.body)
		}
	}
}

// swapped is another character of the same alphabet.
func swapped(c string) string {
	if c == "b" {
		return "c"
	}
	return "b"
}
