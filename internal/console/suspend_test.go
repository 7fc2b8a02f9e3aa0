package console_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/grant"
	"rutile/internal/registry"
)

const keepers = `kind: User
id: dan
roles: [approver, operator]
`

// suspending is a rig with somebody who may answer requests and suspend agents.
func suspending(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	if _, err := r.admin.Apply(t.Context(), keeper, []admin.Document{{File: "k.yaml", Text: keepers}}, false); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) agent() registry.Agent {
	r.t.Helper()
	a, _ := r.admin.Current().View.Agent("bot")
	return a
}

func TestDenyingAndSuspendingIsOneChoice(t *testing.T) {
	r := suspending(t)
	req := r.ask(`{"item":"tea"}`)
	b := r.signedIn("dan", req.ID)
	b.get("/approve/"+req.ID).wants(t, "the page", http.StatusOK, `value="deny-suspend">Deny and suspend the agent<`, "until somebody resumes it")
	b.change = func(q *http.Request) { q.Header.Set("Accept-Language", "ko-KR,ko;q=0.9") }
	b.get("/approve/"+req.ID).wants(t, "in Korean", http.StatusOK, `<html lang="ko">`, "거부하고 에이전트 정지")
	b.change = nil
	if a := b.answer(req.ID, "deny-suspend", "reason", "it orders at night"); a.status != http.StatusSeeOther {
		t.Fatalf("status %d: %s", a.status, text(a.body))
	}
	got, agent := r.state(req.ID), r.agent()
	if got.State != grant.RequestDenied || got.DecidedBy != "user:dan" || got.Why != "it orders at night" {
		t.Errorf("request: %+v", got)
	}
	if agent.State != registry.AgentSuspended || agent.StateBy != "user:dan" || agent.StateWhy != "with a no to request "+req.ID+": it orders at night" {
		t.Errorf("agent: %+v", agent)
	}
	page := b.get("/approve/" + req.ID)
	page.wants(t, "after it", http.StatusOK, "Denied by user:dan", "State of the agent", "suspended")
	b.answer(req.ID, "deny-suspend").wants(t, "again", http.StatusConflict, "Nothing was done", "is denied, so it cannot be denied")
	if r.parts.said("deny") != 1 {
		t.Errorf("denied %d times", r.parts.said("deny"))
	}
}

// TestWhoMayNotSuspendDoesNeither: the choice is not offered, and a form that was made by
// hand does nothing, neither half of it.
func TestWhoMayNotSuspendDoesNeither(t *testing.T) {
	r := suspending(t)
	req := r.ask(`{"item":"tea"}`)
	b := r.signedIn("ann", req.ID)
	if page := b.get("/approve/" + req.ID); strings.Contains(page.body, "deny-suspend") || !strings.Contains(page.body, `value="deny">Deny<`) {
		t.Errorf("what is offered: %s", text(page.body))
	}
	b.answer(req.ID, "deny-suspend", "reason", "forged").wants(t, "forged", http.StatusForbidden, "Nothing was done", "operator")
	if got := r.state(req.ID); got.State != grant.RequestPending || r.agent().State != registry.AgentActive {
		t.Errorf("request %s, agent %s", got.State, r.agent().State)
	}
	dan := r.signedIn("dan", req.ID)
	dan.form = b.form // of another session
	dan.answer(req.ID, "deny-suspend").wants(t, "with another's form", http.StatusForbidden)
	dan.get("/approve/" + req.ID)
	for name, why := range map[string]string{"two lines": "a\nb", "too long": strings.Repeat("x", 3000)} {
		if a := dan.answer(req.ID, "deny-suspend", "reason", why); a.status < 400 || a.status >= 500 || r.agent().State != registry.AgentActive {
			t.Errorf("%s: %d, agent %s", name, a.status, r.agent().State)
		}
	}
	if got := r.state(req.ID); got.State != grant.RequestPending {
		t.Errorf("request %s", got.State)
	}
}

// TestAHalfIsSaid: where the agent is suspended and the request could not be denied the
// page says both, and where the agent cannot be suspended nothing is done.
func TestAHalfIsSaid(t *testing.T) {
	r := suspending(t)
	req := r.ask(`{"item":"tea"}`)
	b := r.signedIn("dan", req.ID)
	r.parts.first(func() { // the agent takes it back while it is suspended
		if _, err := r.broker.Withdraw(t.Context(), req.ID, req.Party, "never mind"); err != nil {
			t.Error(err)
		}
	})
	page := b.answer(req.ID, "deny-suspend")
	page.wants(t, "half", http.StatusInternalServerError, "Not all of it was done", "agent &#34;bot&#34; is suspended, but request "+req.ID+" is not denied", "is withdrawn", "rutile agent resume")
	if got := r.state(req.ID); strings.Contains(page.body, "Nothing was done") || got.State != grant.RequestWithdrawn || r.agent().State != registry.AgentSuspended {
		t.Errorf("request %s, agent %s: %s", got.State, r.agent().State, text(page.body))
	}
	other := r.ask(`{"item":"coffee"}`)
	b.get("/approve/" + other.ID)
	b.answer(other.ID, "deny-suspend").wants(t, "suspended already", http.StatusConflict, "Nothing was done", "deny it alone")
	if got := r.state(other.ID); got.State != grant.RequestPending {
		t.Errorf("request %s", got.State)
	}
	if _, err := r.admin.ChangeAgent(t.Context(), keeper, "bot", registry.VerbResume, ""); err != nil {
		t.Fatal(err)
	}
	r.parts.first(func() { r.parts.fail(errors.New("the disk is full")) })
	page = b.answer(other.ID, "deny-suspend")
	page.wants(t, "not recorded", http.StatusInternalServerError, "Not all of it was done", "is suspended and request "+other.ID+" is denied, but the no is not in the evidence yet")
	if got := r.state(other.ID); strings.Contains(page.body, "the disk is full") || got.State != grant.RequestDenied || r.agent().State != registry.AgentSuspended {
		t.Errorf("request %s, agent %s: %s", got.State, r.agent().State, text(page.body))
	}
}
