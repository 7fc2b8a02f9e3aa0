package gatetest_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// A process with tasks is governed as a server over HTTP is: at both endpoints a
// call becomes a task that is the caller's alone, is asked after, told of in a
// listen, answers what it asks and is cancelled, each time under the verdict of
// its call. It ends with its process, since the server keeps it there.
func TestTasksOfAProcess(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []string{"up", ""} {
		t.Run("/mcp/"+endpoint, func(t *testing.T) {
			t.Parallel()
			r, _, notes := stdioRig(t, "modern tasks", "sanctioned", eve+askPolicy("elicitation"))
			token, tool, ask := r.token("bot", "up"), func(name string) string { return name }, r.about
			if endpoint == "" {
				token, tool = r.token("bot", "*"), func(name string) string { return "up__" + name }
			}
			id := r.startTask(token, endpoint, tool("slow_compute"), `{"seconds":1}`)
			body := `{"jsonrpc":"2.0","id":"s","method":"subscriptions/listen","params":{"notifications":{"taskIds":["` + id + `"]},` + taskMembers + `}}`
			s := stream(t, "POST", r.url(endpoint), modernHeaders(token, "subscriptions/listen", ""), body)
			for _, want := range []string{"acknowledged", `"working"`, `"completed"`} {
				if got := s.next(); !strings.Contains(got, want) || !strings.Contains(got, id) || !strings.Contains(got, `"io.modelcontextprotocol/subscriptionId":"s"`) {
					t.Fatalf("told %s, want %s", got, want)
				}
			}
			if st := r.await(token, endpoint, id, "completed"); !strings.Contains(string(st.Result), "computed") {
				t.Errorf("it ended with %s", st.Result)
			}

			asks := r.startTask(token, endpoint, tool("confirm_delete"), `{}`)
			if st := r.await(token, endpoint, asks, "input_required"); len(st.InputRequests) != 1 {
				t.Errorf("it asks %v", st.InputRequests)
			}
			if got := ask(token, endpoint, "tasks/update", asks, `,"inputResponses":{"confirm":{"action":"accept","content":{"confirm":"yes"}}}`); got.msg.Result == nil {
				t.Errorf("answering: %d %s", got.status, got.body)
			}
			if st := r.await(token, endpoint, asks, "completed"); !strings.Contains(string(st.Result), "yes") {
				t.Errorf("it ended with %s", st.Result)
			}

			long := r.startTask(token, endpoint, tool("slow_compute"), `{"seconds":600}`)
			before, audience := len(notes("got")), map[string]string{"up": "up", "": "*"}[endpoint]
			for _, method := range []string{"tasks/get", "tasks/cancel"} {
				if got := ask(r.token("eve", audience), endpoint, method, long, ""); got.msg.code() != -32602 {
					t.Errorf("another agent, %s: %d %s", method, got.status, got.body)
				}
			}
			if lines := notes("got"); len(lines) != before {
				t.Errorf("another agent's questions reached a server: %q", lines[before:])
			}
			if got := ask(token, endpoint, "tasks/cancel", long, ""); got.msg.Result == nil {
				t.Errorf("cancelling: %d %s", got.status, got.body)
			}
			r.await(token, endpoint, long, "cancelled")
			for _, l := range notes("got") {
				for _, ours := range []string{id, asks, long} {
					if strings.Contains(l, ours) {
						t.Errorf("the server saw an id of the gateway's: %.300s", l)
					}
				}
			}

			r.apply(stdioManifest("modern tasks", r.childNotes(), "sanctioned") + "---\nkind: Policy\nid: stop\ncedar: |\n  forbid (principal, action == Mcp::Action::\"up/slow_compute\", resource);\n")
			refused := ask(token, endpoint, "tasks/get", long, "")
			var d struct{ Outcome string }
			if refused.msg.Error == nil || json.Unmarshal(refused.msg.Error.Data, &d) != nil || d.Outcome != "deny" {
				t.Errorf("after its tool is forbidden: %d %s", refused.status, refused.body)
			}
		})
	}
}
