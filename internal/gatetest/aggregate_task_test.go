package gatetest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// At the aggregate a task lives as it does at its server: it is made, asked
// about, answered, cancelled and pushed, and its id says where. The suite's
// scenarios, whose tools have no prefix, cannot be run there.
func TestAggregateTasks(t *testing.T) {
	t.Parallel()
	r, up := taskRig(t, askPolicy("elicitation"))
	token := r.token("bot", "*")
	if got := r.ask(token, "server/discover", "", ""); !strings.Contains(got.body, `"extensions":{"io.modelcontextprotocol/tasks":{}}`) {
		t.Errorf("not advertised: %s", got.body)
	}
	if got := r.legacy(token, "", v2511, `{}`); strings.Contains(string(got.init.Result), "extensions") {
		t.Errorf("a legacy client is told of an extension: %s", got.init.Result)
	}
	if got := r.call(token, "", "up__slow_compute", `{"seconds":0}`); strings.Contains(got.body, "taskId") || !strings.Contains(got.body, "computed") {
		t.Errorf("without declaring it: %s", got.body) // capability negotiation
	}
	id := r.startTask(token, "", "up__slow_compute", `{"seconds":0}`)
	if st := r.await(token, "", id, "completed"); st.TaskID != id || !strings.Contains(string(st.Result), "computed") || st.ResultType != "complete" {
		t.Errorf("a task ended as %+v", st) // lifecycle, wire fields, envelope
	}
	for _, seen := range up.Seen() {
		if strings.Contains(string(seen.Params), id) || strings.Contains(string(seen.Params), "up__") || seen.Name == id {
			t.Errorf("%s reached the server with %q: %s", seen.Method, seen.Name, seen.Params)
		}
	}
	if st := r.await(token, "", r.startTask(token, "", "up__failing_job", `{}`), "completed"); !strings.Contains(string(st.Result), `"isError":true`) {
		t.Errorf("a tool error is %s", st.Result)
	}
	if st := r.await(token, "", r.startTask(token, "", "up__protocol_error_job", `{}`), "failed"); st.Error == nil || st.Error.Code != -32603 {
		t.Errorf("a protocol error is %+v", st)
	}
	id = r.startTask(token, "", "up__multi_input", `{}`)
	if st := r.await(token, "", id, "input_required"); len(st.InputRequests) != 2 {
		t.Errorf("it asks %v", st.InputRequests)
	}
	for _, key := range []string{"first", "second"} {
		got := r.about(token, "", "tasks/update", id, fmt.Sprintf(`,"inputResponses":{%q:{"action":"accept","content":{%q:"x"}}}`, key, key))
		if got.msg.Result == nil {
			t.Errorf("an answer: %s", got.body)
		}
	}
	r.await(token, "", id, "completed")
	id = r.startTask(token, "", "up__slow_compute", `{"seconds":60}`)
	if got := r.about(token, "", "tasks/cancel", id, ""); got.msg.Result == nil {
		t.Errorf("cancelling: %s", got.body)
	}
	r.await(token, "", id, "cancelled")
	if got := r.task(token, "", "tools/call", "up__test_tool_with_task", `"name":"up__test_tool_with_task","arguments":{}`); !strings.Contains(got.body, "input_required") {
		t.Errorf("a call that asks first: %s", got.body)
	} else { // MRTR composition: the retry becomes a task
		var asked struct{ RequestState json.RawMessage }
		if err := json.Unmarshal(got.msg.Result, &asked); err != nil {
			t.Fatal(err)
		}
		again := r.task(token, "", "tools/call", "up__test_tool_with_task", `"name":"up__test_tool_with_task","arguments":{},"inputResponses":{"user_name":{"action":"accept","content":{"name":"Ada"}}},"requestState":`+string(asked.RequestState))
		st := taskState(t, again)
		if st.ResultType != "task" || strings.Contains(again.body, "requestState") {
			t.Errorf("the retry answered %s", again.body)
		} else if end := r.await(token, "", st.TaskID, "completed"); !strings.Contains(string(end.Result), "Ada") {
			t.Errorf("it ended as %+v", end)
		}
	}
}

// A task id is good at both endpoints, and for its principal only.
func TestAggregateTaskIDs(t *testing.T) {
	t.Parallel()
	r, up := taskRig(t, "")
	all, own, eve := r.token("bot", "*"), r.token("bot", "up"), r.token("eve", "*")
	there, here := r.startTask(own, "up", "slow_compute", `{"seconds":60}`), r.startTask(all, "", "up__slow_compute", `{"seconds":60}`)
	if st := r.await(all, "", there, "working"); st.TaskID != there {
		t.Errorf("an id of the server's endpoint: %+v", st)
	}
	if st := r.await(own, "up", here, "working"); st.TaskID != here {
		t.Errorf("an id of the aggregate: %+v", st)
	}
	before := len(up.Seen())
	for what, got := range map[string]reply{
		"another principal's": r.about(eve, "", "tasks/get", here, ""),
		"a made-up one":       r.about(all, "", "tasks/get", "made-up", ""),
		"a changed one":       r.about(all, "", "tasks/cancel", here[:len(here)-1]+swapped(here[len(here)-1:]), ""),
		"another server's":    r.about(r.token("bot", "other"), "other", "tasks/get", here, ""),
	} {
		if got.msg.code() != -32602 || !strings.Contains(got.body, "no such task") {
			t.Errorf("%s: %s", what, got.body)
		}
	}
	raw, _ := json.Marshal(here)
	if got := post(t, r.all(), modernHeaders(all, "tasks/get", here), modernBody("1", "tasks/get", `"taskId":`+string(raw))); got.status != http.StatusBadRequest || got.msg.code() != -32021 {
		t.Errorf("undeclared: %d %s", got.status, got.body)
	}
	if got := post(t, r.all(), modernHeaders(all, "tasks/get", there), strings.Replace(modernBody("1", "tasks/get", `"taskId":`+string(raw)), meta, taskMembers, 1)); got.status != http.StatusBadRequest || got.msg.code() != -32020 {
		t.Errorf("a header that names another: %d %s", got.status, got.body)
	}
	if n := len(up.Seen()); n != before {
		t.Errorf("%d requests reached the server", n-before)
	}
	r.apply("kind: Server\nid: up\nstate: quarantined\nstateWhy: test\ntransport: {http: {url: \"http://127.0.0.1:1\"}}\n")
	if got := r.about(all, "", "tasks/get", here, ""); !strings.Contains(got.body, "quarantined") || strings.Contains(got.body, "working") {
		t.Errorf("a task of a quarantined server: %s", got.body)
	}
}

// One subscription follows tasks of several servers.
func TestAggregateTaskSubscription(t *testing.T) {
	t.Parallel()
	r, _ := taskRig(t, "")
	token, eve := r.token("bot", "*"), r.token("eve", "*")
	one, two := r.startTask(token, "", "up__slow_compute", `{"seconds":1}`), r.startTask(token, "", "other__slow_compute", `{"seconds":1}`)
	foreign := r.startTask(eve, "", "up__slow_compute", `{"seconds":1}`)
	want, _ := json.Marshal([]string{two, foreign, "made-up", one})
	body := `{"jsonrpc":"2.0","id":"sub","method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true,"taskIds":` + string(want) + `},` + taskMembers + `}}`
	s := stream(t, http.MethodPost, r.all(), modernHeaders(token, "subscriptions/listen", ""), body)
	got, _ := json.Marshal([]string{two, one})
	if ack := s.next(); !strings.Contains(ack, `"taskIds":`+string(got)) || !strings.Contains(ack, `subscriptionId":"sub"`) {
		t.Fatalf("acknowledged %s", ack)
	}
	done := map[string]bool{}
	for end := time.Now().Add(patience); len(done) < 2 && time.Now().Before(end); {
		var n struct {
			Method string
			Params struct {
				TaskID, Status string
				Meta           map[string]any `json:"_meta"`
			}
		}
		if err := json.Unmarshal([]byte(s.next()), &n); err != nil {
			t.Fatal(err)
		}
		if n.Method != "notifications/tasks" || n.Params.TaskID != one && n.Params.TaskID != two || n.Params.Meta["io.modelcontextprotocol/subscriptionId"] != "sub" {
			t.Errorf("told %+v", n)
		}
		if n.Params.Status == "completed" {
			done[n.Params.TaskID] = true
		}
	}
	body = strings.Replace(body, taskMembers, meta, 1)
	if got := post(t, r.all(), modernHeaders(token, "subscriptions/listen", ""), body); got.status != http.StatusBadRequest || got.msg.code() != -32021 {
		t.Errorf("undeclared: %d %s", got.status, got.body)
	}
}
