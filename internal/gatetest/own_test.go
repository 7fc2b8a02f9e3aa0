package gatetest_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// ownTools are the gateway's own, as the lists have them.
var ownTools = []string{"rutile_access_delegate", "rutile_access_request", "rutile_access_status", "rutile_access_withdraw", "rutile_task_close", "rutile_task_open"}

// told is the structured content of a result.
type told struct {
	State   string
	Next    string
	Task    struct{ ID, State, Purpose, Expires string }
	Request struct{ ID, State, Server, Tool, Scope, Task, NotBefore string }
	Grant   struct{ ID, State, NotBefore, Expires string }
	Tasks   []struct{ ID, State string }
	Requests,
	Grants []struct{ ID, State, Task, NotBefore string }
}

// own calls one of the gateway's own tools and returns what it says; problem is
// the text of a result that is an error.
func (r *rig) own(token, at, tool, args string) (said told, problem string, raw reply) {
	r.t.Helper()
	raw = r.call(token, at, tool, args)
	return readTold(r.t, raw.msg.Result), problemOf(raw.msg.Result), raw
}

func readTold(t *testing.T, result json.RawMessage) (said told) {
	t.Helper()
	var m struct {
		StructuredContent json.RawMessage
		Content           []struct{ Text string }
		IsError           bool
	}
	if len(result) == 0 || json.Unmarshal(result, &m) != nil || m.IsError {
		return told{}
	}
	var text, structured any
	if len(m.Content) != 1 || json.Unmarshal([]byte(m.Content[0].Text), &text) != nil || json.Unmarshal(m.StructuredContent, &structured) != nil ||
		!reflect.DeepEqual(text, structured) {
		t.Errorf("the text and the structured content differ: %s", result)
	}
	if err := json.Unmarshal(m.StructuredContent, &said); err != nil {
		t.Errorf("the structured content %s: %v", m.StructuredContent, err)
	}
	return said
}

func problemOf(result json.RawMessage) string {
	var m struct {
		Content []struct{ Text string }
		IsError bool
	}
	if len(result) == 0 || json.Unmarshal(result, &m) != nil || !m.IsError || len(m.Content) != 1 {
		return ""
	}
	return m.Content[0].Text
}

func listed(t *testing.T, result json.RawMessage) (names []string) {
	t.Helper()
	var m struct{ Tools []struct{ Name string } }
	if err := json.Unmarshal(result, &m); err != nil {
		t.Fatalf("a list %s: %v", result, err)
	}
	for _, tool := range m.Tools {
		names = append(names, tool.Name)
	}
	return names
}

// The gateway's own tools stand at /mcp/rutile and, under the same names, in the
// aggregate, in every revision.
func TestOwnToolsAreOfferedToEveryAgent(t *testing.T) {
	t.Parallel()
	r, _ := governed(t, newUpstream(t))
	token, all := r.token("bot", "rutile"), r.token("bot", "*")
	if got := listed(t, r.list(token, "rutile").msg.Result); !slices.Equal(got, ownTools) {
		t.Errorf("at /mcp/rutile there is %q", got)
	}
	if got, want := listed(t, r.list(all, "").msg.Result), append(slices.Clone(ownTools), "up__echo"); !slices.Equal(got, want) {
		t.Errorf("at /mcp there is %q, want %q", got, want)
	}
	for _, at := range []string{"rutile", ""} {
		token := map[string]string{"rutile": token, "": all}[at]
		said, problem, raw := r.own(token, at, "rutile_task_open", `{"purpose":"try it","ticket":"OPS-7","ttlSeconds":60}`)
		if problem != "" || !strings.HasPrefix(said.Task.ID, "tsk_") || said.Task.State != "open" || said.Next == "" {
			t.Fatalf("opening a task at %q answered %s", at, raw.body)
		}
		if said, problem, raw := r.own(token, at, "rutile_task_close", `{}`); problem != "" || said.Task.State != "closed" {
			t.Fatalf("closing it answered %s", raw.body)
		}
		for _, version := range []string{v2511, "2025-06-18", "2025-03-26"} {
			c := r.legacy(token, at, version, `{}`)
			if got := listed(t, c.post(`{"jsonrpc":"2.0","id":8,"method":"tools/list"}`).msg.Result); !slices.Equal(got[:len(ownTools)], ownTools) {
				t.Errorf("%s at %q: there is %q", version, at, got)
			}
			if got := readTold(t, c.call("rutile_task_open", `{"purpose":"try it"}`).msg.Result); got.Task.State != "open" {
				t.Errorf("%s at %q: opening a task answered %+v", version, at, got)
			}
			if got := readTold(t, c.call("rutile_task_close", `{}`).msg.Result); got.Task.State != "closed" {
				t.Errorf("%s at %q: closing a task answered %+v", version, at, got)
			}
		}
	}
}

// A session with the gateway's own server is a session like any other: what it does
// not have is said to be unknown, and it ends when its client ends it.
func TestTheOwnServerInASession(t *testing.T) {
	t.Parallel()
	r, _ := governed(t, newUpstream(t))
	c := r.legacy(r.token("bot", "rutile"), "rutile", v2511, `{"elicitation":{},"sampling":{},"roots":{}}`)
	var init struct {
		Capabilities json.RawMessage
		Instructions string
		ServerInfo   struct{ Name string }
	}
	if err := json.Unmarshal(c.init.Result, &init); err != nil || string(init.Capabilities) != `{"tools":{}}` || init.Instructions == "" || init.ServerInfo.Name != "rutile" {
		t.Errorf("initialize answered %s", c.init.Result)
	}
	if got := c.request("ping", `{}`); got.msg.Result == nil {
		t.Errorf("ping answered %s", got.body)
	}
	for _, method := range []string{"prompts/list", "resources/list", "resources/templates/list", "vendor/x"} {
		if got := c.request(method, `{"level":"info"}`); got.msg.code() != -32601 {
			t.Errorf("%s answered %s", method, got.body)
		}
	}
	if got := c.request("resources/subscribe", `{"uri":"test://a"}`); got.msg.Error == nil {
		t.Errorf("subscribing answered %s", got.body)
	}
	if got := readTold(t, c.call("rutile_access_status", `{}`).msg.Result); got.Tasks == nil {
		t.Errorf("the status is %+v", got)
	}
	gone := stream(t, "DELETE", r.url("rutile"), c.headers(), "")
	gone.rest()
	if got := c.call("rutile_access_status", `{}`); got.status != 404 {
		t.Errorf("after its end the session answered %d %s", got.status, got.body)
	}
	got := post(t, r.url("rutile"), modernHeaders(r.token("bot", "rutile"), "server/discover", ""), modernBody("1", "server/discover", ""))
	if !strings.Contains(got.body, `"capabilities":{"tools":{}}`) || !strings.Contains(got.body, `"name":"rutile"`) {
		t.Errorf("server/discover answered %s", got.body)
	}
}
