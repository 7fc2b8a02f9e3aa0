package gatetest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"rutile/internal/grant"
)

// TestAStepUpIsAnsweredByAPerson: when what an agent did takes its session to the level at
// which a policy wants a person, the next call waits for one. The person sees the score and
// its reasons as they were; the agent, whatever it asks, sees neither; approved, the same
// call goes on, and no other.
func TestAStepUpIsAnsweredByAPerson(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r := newRig(t)
	r.apply(botAndServer(u.URL+"/mcp", `["up/*"]`)+`---
kind: User
id: ann
roles: [approver]
---
kind: Policy
id: step-up
cedar: |
  @outcome("require_approval") @advice("a person has to look at this call")
  forbid (principal, action in Mcp::Action::"call", resource)
  when { context.session.risk >= 20 }
  unless { context has grant && context.grant.quorum >= 1 };
`, "up")
	token := r.token("bot", "up")
	if got := r.call(token, "up", "echo", `{"text":"before"}`); strings.Contains(got.body, "isError") || u.count() != 1 {
		t.Fatalf("a call at an ordinary score: %s", got.body)
	}
	heard := ""
	for n := range 60 {
		heard += r.call(token, "up", fmt.Sprint("probe-", n), `{}`).body
	}
	got := r.call(token, "up", "echo", `{"text":"after"}`)
	id := wanting(t, got)
	if u.count() != 1 {
		t.Fatal("a call reached the server that waits for a person")
	}
	v, err := r.d.Desk.Request(t.Context(), id)
	if err != nil || v.Risk == nil || v.Risk.Session < 20 || len(v.Risk.Top) == 0 || len(v.Risk.Top) > 3 || v.Risk.Top[0].Family != "probing" {
		t.Fatalf("the person sees %+v, %v", v.Risk, err)
	}
	var denial struct {
		Meta map[string]struct{ Decision string } `json:"_meta"`
	}
	if err := json.Unmarshal(got.msg.Result, &denial); err != nil {
		t.Fatal(err)
	}
	x, err := operatorClient(t, r).Decision(t.Context(), denial.Meta["io.rutile/denial"].Decision)
	if err != nil || x.Risk == nil || x.Risk.Session < 20 || len(x.Risk.Top) == 0 || x.Risk.Top[0] != v.Risk.Top[0] {
		t.Errorf("the decision is explained with %+v, the request has %+v, %v", x.Risk, v.Risk, err)
	}
	_, _, status := r.own(token, "", "rutile_access_status", `{}`)
	_, _, one := r.own(token, "", "rutile_access_status", `{"request":"`+id+`"}`)
	_, _, ahead := r.own(token, "", "rutile_access_request", `{"server":"up","tool":"echo","scope":"once","arguments":{"text":"ahead"},"reason":"please"}`)
	heard = strings.ToLower(heard + got.body + status.body + one.body + ahead.body)
	for _, word := range []string{"risk", "score", "probing", "unusual", "points", "observed", "learned"} {
		if strings.Contains(heard, word) {
			t.Errorf("the agent is told %q", word)
		}
	}
	r.approve(id)
	if got := r.call(token, "up", "echo", `{"text":"after"}`); strings.Contains(got.body, "isError") || u.count() != 2 {
		t.Errorf("what a person approved: %s", got.body)
	}
	if again := wanting(t, r.call(token, "up", "echo", `{"text":"other"}`)); again == id || u.count() != 2 {
		t.Error("the approval of one call let another through")
	}
	list, err := r.d.Desk.Requests(t.Context(), grant.Filter{State: grant.RequestPending})
	if err != nil || len(list) == 0 {
		t.Fatalf("%d requests wait, %v", len(list), err)
	}
	for _, q := range list {
		if q.Risk == nil || q.Risk.Session < 20 {
			t.Errorf("request %s shows %+v", q.ID, q.Risk)
		}
	}
}
