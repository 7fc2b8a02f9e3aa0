package gatetest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/compliance"
	"rutile/internal/credential"
	"rutile/internal/daemon"
	"rutile/internal/registry"
)

// figures are the counts of the compliance reports, by the names of what they count.
func (r *rig) figures(c *api.Client) map[string]int {
	r.t.Helper()
	out := map[string]int{}
	for _, id := range compliance.Frameworks() {
		rep, err := c.Compliance(r.t.Context(), api.ComplianceQuery{Framework: id, Until: "0s"})
		if err != nil {
			r.t.Fatal(err)
		}
		for _, ctl := range rep.Controls {
			for _, m := range ctl.Measures {
				for _, f := range m.Figures {
					out[f.Name] = f.Count
				}
			}
		}
	}
	return out
}

// TestFiguresOfEvidenceCountWhatHappened: each thing that a figure of the compliance
// report is about, done once through a whole gateway, adds to that figure what it says.
func TestFiguresOfEvidenceCountWhatHappened(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	const rules = `@id("deny") forbid` + onEcho + ` when { context.input.path == "deny" };
@id("mask") @outcome("mask") @mask("args/text") forbid` + onEcho + ` when { context.input.path == "mask" };
@id("rows") @outcome("mask") @mask("result/rows/*/ssn") forbid` + onEcho + ` when { context has output && context.input.path == "rows" };
@id("rate") @outcome("rate_limit") @fact("calls_1m") forbid` + onEcho + ` when { context.input.path == "rate" };
@id("keep") @outcome("quarantine") @target("agent") forbid` + onEcho + ` when { context.input.path == "keep" };
@id("withhold") forbid` + onEcho + ` when { context has output && context.input.path == "withhold" };
@id("ask") @outcome("require_approval") forbid` + onEcho + ` when { context.input.path like "ask*" } unless { context has grant };`
	r := newRig(t, func(c *daemon.Config) { c.Limits.CallTimeout = 5 * time.Second })
	r.apply(strings.ReplaceAll(entitled, "UP", u.URL+"/mcp")+`---
kind: Agent
id: free
owner: team
tools: ["up/echo"]
---
kind: Agent
id: held
owner: team
tools: ["up/echo"]
---
kind: User
id: vic
roles: [viewer]
---
kind: Policy
id: rules
cedar: |
  `+strings.ReplaceAll(rules, "\n", "\n  ")+"\n", "up")
	client := operatorClient(t, r)
	token, asking := r.token("free", "up"), r.token("bot", "up")
	failing := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	answering := func(body string) {
		u.onCall(func(w http.ResponseWriter, _ *http.Request, id json.RawMessage, _ []byte) bool {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":` + string(id) + `,"result":` + body + `}`))
			return true
		})
	}
	call := func(path string) func() {
		return func() { r.call(token, "up", "echo", `{"path":"`+path+`","text":"x"}`) }
	}
	slow := func() { // until the gateway gives up
		u.onCall(func(_ http.ResponseWriter, q *http.Request, _ json.RawMessage, _ []byte) bool {
			<-q.Context().Done()
			return true
		})
	}
	for _, step := range []struct {
		what string
		do   func()
		adds map[string]int
	}{
		{"a call", call("ok"), map[string]int{"Calls that reached a server and ended well": 1, "Calls and other requests that were judged": 1, "Requests that were denied": 0}},
		{"a denied call", call("deny"), map[string]int{"Requests that were denied": 1, "Calls and other requests that were judged": 1, "Calls that reached a server and ended well": 0}},
		{"a masked call", call("mask"), map[string]int{"Calls that had parts masked": 1}},
		{"an answer of which parts are masked", func() {
			answering(`{"resultType":"complete","content":[],"structuredContent":{"rows":[{"ssn":"1"}]}}`)
			call("rows")()
			u.onCall(nil)
		}, map[string]int{"Calls that had parts masked": 1}},
		{"a call over a rate", call("rate"), map[string]int{"Requests over a rate": 1}},
		{"an answer that is withheld", call("withhold"), map[string]int{"Answers that were withheld": 1}},
		{"a tool that fails", func() {
			answering(`{"resultType":"complete","isError":true,"content":[{"type":"text","text":"no"}]}`)
			call("fails")()
			u.onCall(nil)
		}, map[string]int{"Calls whose tool reported an error": 1}},
		{"a server that is silent", func() { slow(); call("late")(); u.onCall(nil) }, map[string]int{"Calls that were not answered in time": 1}},
		{"a request that is held", func() {
			r.call(r.token("held", "up"), "up", "echo", `{"path":"keep","text":"x"}`)
		}, map[string]int{"Requests that were held in quarantine": 1}},
		{"an approval", func() { r.approve(wanting(t, r.call(asking, "up", "echo", `{"path":"x","text":"a"}`))) },
			map[string]int{"Calls that waited for an approval": 1, "Approvals of requests": 1, "Denials of requests": 0, "Changes that name a grant": 1}},
		{"a denial", func() {
			_, err := r.d.Desk.Deny(t.Context(), operator, wanting(t, r.call(asking, "up", "echo", `{"path":"x","text":"b"}`)), "no")
			failing("denying", err)
		}, map[string]int{"Calls that waited for an approval": 1, "Denials of requests": 1, "Approvals of requests": 0}},
		{"a tool that is approved", func() {
			u.setTools(echoTool, `{"name":"more","inputSchema":{"type":"object"}}`)
			failing("listing", r.d.Proxy.Learn(t.Context(), "up"))
			diff, err := client.ToolDiff(t.Context(), "up", registry.KindTool, "more")
			failing("looking", err)
			_, err = client.ChangeTool(t.Context(), "up", registry.VerbApprove, api.ToolChange{Name: "more", Digest: diff.Seen, Reason: "it is needed"})
			failing("approving", err)
		}, map[string]int{"Approvals of tools": 1, "Changes that were refused": 0}},
		{"a credential", func() {
			_, err := r.d.Admin.SetCredential(t.Context(), operator, credential.Secret{ID: "crm"}, []byte("secret-enough"))
			failing("setting", err)
		}, map[string]int{"Changes that name a credential": 1}},
		{"another rule", func() {
			r.apply("kind: Policy\nid: other\ncedar: |\n  forbid (principal, action == Mcp::Action::\"up/more\", resource);\n")
		}, map[string]int{"Changes of the rules in force": 1}},
		{"a change that is refused", func() {
			if _, err := r.d.Admin.ChangeAgent(t.Context(), admin.Actor{Kind: "user", ID: "vic"}, "bot", "suspend", ""); err == nil {
				t.Fatal("a viewer suspends an agent")
			}
		}, map[string]int{"Changes that were refused": 1, "Changes that operators made or tried": 1}},
		{"a finding", func() {
			f, err := r.d.Findings.ReportDenial(t.Context(), operator, admin.Denial{Decision: "dec_1", Denied: true, Agent: "free", Action: "up/echo"}, "it is needed")
			failing("reporting", err)
			_, err = r.d.Findings.Assign(t.Context(), operator, f.ID, "vic", time.Time{})
			failing("giving it to somebody", err)
		}, map[string]int{"Changes that name a finding": 1, "Findings that are open, now": 1}},
		{"a revocation in flight", func() {
			slow()
			done := make(chan struct{})
			before := u.count()
			go func() { defer close(done); call("cut")() }()
			eventually(t, "a call in flight", func() bool { return u.count() > before })
			if got := r.figures(client)["Calls without an outcome yet"]; got != 1 {
				t.Errorf("%d calls are without an outcome while one runs", got)
			}
			r.revoke("agent", "free")
			<-done
			u.onCall(nil)
		}, map[string]int{"Revocations": 1, "Receipts of revocations": 1, "Calls that were cut": 1, "Calls without an outcome yet": 0}},
	} {
		before := r.figures(client)
		step.do()
		for end := time.Now().Add(patience); ; {
			after, wrong := r.figures(client), ""
			for name, n := range step.adds {
				if _, known := after[name]; !known {
					t.Fatalf("no figure is called %q", name)
				}
				if got := after[name] - before[name]; got != n {
					wrong = fmt.Sprintf("%s adds %d, not %d, to %q", step.what, got, n, name)
				}
			}
			if wrong == "" {
				break
			}
			if time.Now().After(end) { // what is recorded is searched a moment later
				t.Error(wrong)
				break
			}
		}
	}
}
