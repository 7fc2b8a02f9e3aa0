package gatetest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"rutile/internal/grant"
)

// askingOf is a policy that permits what a server asks of a kind, after an
// approval.
func askingOf(kind string) string {
	return `---
kind: Policy
id: asks-` + kind + `
cedar: |
  permit (principal, action == Mcp::Action::"up/requests/` + kind + `", resource);
  @outcome("require_approval") forbid (principal, action == Mcp::Action::"up/requests/` + kind + `", resource)
  when { context.input has x || !(context.input has x) } unless { context has grant && context.grant.quorum >= 1 };
`
}

// Nobody can approve what a server asks its client: it is answered in the client's
// stead at once, no request is opened, and the evidence does not say to wait.
func TestWhatAServerAsksWaitsForNoApproval(t *testing.T) {
	t.Parallel()
	for kind, ask := range map[string]string{
		"elicitation": elicit, "sampling": sample, "roots": roots,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, v2511)
			p.handle("tools/call", func(x *exchange) {
				x.sse()
				x.event(`{"jsonrpc":"2.0","id":"q",` + ask + `}`)
				x.text("went on")
			})
			r, token := governPeer(t, p, askingOf(kind))
			from := r.d.Evidence.Size()
			c := r.legacy(token, "up", v2511, `{"elicitation":{},"sampling":{},"roots":{}}`)
			s := stream(t, http.MethodPost, r.url("up"), c.headers(), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{}}}`)
			if got := strings.Join(s.rest(), "\n"); strings.Contains(got, `"id":"q"`) || strings.Contains(got, "sampling/") || strings.Contains(got, "elicitation/") || !strings.Contains(got, "went on") {
				t.Errorf("the client got %s", got)
			}
			eventually(t, "the server is answered", func() bool { return len(p.got("POST")) > 0 })
			if list, err := r.d.Desk.Requests(t.Context(), grant.Filter{}); err != nil || len(list) != 0 {
				t.Errorf("requests are open: %+v, %v", list, err)
			}
			denied := 0
			for _, l := range r.leaves(from) {
				if strings.Contains(l.raw, "require_approval") {
					t.Errorf("recorded is %s", l.raw)
				}
				if l.Type == "verdict" {
					denied++
				}
			}
			if denied == 0 {
				t.Error("nothing is recorded of what was refused")
			}
		})
	}
}

// lookRig governs a server whose prompt and resource bot may have once approved.
func lookRig(t *testing.T) (*peer, *rig, string) {
	t.Helper()
	p := newPeer(t, v2026)
	p.handle("completion/complete", func(x *exchange) { x.result(`{"resultType":"complete","completion":{"values":["y"]}}`) })
	p.handle("prompts/get", func(x *exchange) { x.result(`{"resultType":"complete","messages":[]}`) })
	p.handle("resources/read", func(x *exchange) {
		x.result(`{"resultType":"complete","contents":[],"ttlMs":0,"cacheScope":"private"}`)
	})
	r, token := governPeer(t, p, `---
kind: Policy
id: looks
cedar: |
  @outcome("require_approval") forbid (principal, action in [Mcp::Action::"up/prompts/hi", Mcp::Action::"up/resources/read"], resource)
  unless { context has grant && context.grant.quorum >= 1 };
`)
	return p, r, token
}

// A completion is no use of what it completes: it opens no request, which would
// let somebody have the prompt who was asked about a word of it; and an approval
// of the prompt lets nobody complete, nor is it used up by that.
func TestCompletionAsksForNothingAndSpendsNothing(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ ref, method, target, params string }{
		"prompt":   {`{"type":"ref/prompt","name":"hi"}`, "prompts/get", "hi", `"name":"hi"`},
		"resource": {`{"type":"ref/resource","uri":"test://a"}`, "resources/read", "test://a", `"uri":"test://a"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, r, token := lookRig(t)
			complete := func() {
				t.Helper()
				got := r.modern(token, "completion/complete", "", `"ref":`+tt.ref+`,"argument":{"name":"x","value":"y"}`)
				var d struct{ Outcome, Request, Help string }
				if got.msg.Error == nil || json.Unmarshal(got.msg.Error.Data, &d) != nil || d.Outcome != "deny" || d.Request != "" || !strings.Contains(d.Help, "waiting will not help") {
					t.Errorf("a completion was answered %d %s", got.status, got.body)
				}
				if n := len(p.got("completion/complete")); n != 0 {
					t.Errorf("%d completions reached the server", n)
				}
			}
			use := func() reply { return r.modern(token, tt.method, tt.target, tt.params) }
			complete()
			if list, err := r.d.Desk.Requests(t.Context(), grant.Filter{}); err != nil || len(list) != 0 {
				t.Fatalf("a completion opened %+v, %v", list, err)
			}
			var d struct{ Request string }
			if got := use(); got.msg.Error == nil || json.Unmarshal(got.msg.Error.Data, &d) != nil || d.Request == "" {
				t.Fatalf("what needs an approval was answered %d %s", got.status, got.body)
			}
			r.approve(d.Request)
			complete()
			if got := use(); got.msg.Result == nil {
				t.Errorf("what was approved was answered %d %s", got.status, got.body)
			}
			if got := use(); got.msg.Result != nil {
				t.Errorf("it was approved once: %s", got.body)
			}
			if n := len(p.got(tt.method)); n != 1 {
				t.Errorf("%s reached the server %d times", tt.method, n)
			}
		})
	}
}

// Where the prompt needs no approval its completion needs none.
func TestCompletionFollowsWhatNeedsNoApproval(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	p.handle("completion/complete", func(x *exchange) { x.result(`{"resultType":"complete","completion":{"values":["y"]}}`) })
	r, token := governPeer(t, p, "")
	if got := r.modern(token, "completion/complete", "", `"ref":{"type":"ref/prompt","name":"hi"},"argument":{"name":"x","value":"y"}`); got.msg.Result == nil {
		t.Errorf("answered %d %s", got.status, got.body)
	}
}
