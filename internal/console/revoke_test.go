package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/identity"
)

// Whoever revokes sees before what would end, types the name of what is wide, and reads
// the receipt after; nothing of it needs a script.
func TestRevokingShowsAPlanBeforeAndAReceiptAfter(t *testing.T) {
	r := newRig(t)
	r.console(&work{changed: []identity.Family{{ID: "ses_1"}}})
	b := r.enter()
	b.get("/console/revoke").wants(t, "what to revoke", http.StatusOK, "Show what would end", "approver")
	b.get("/console/agents/bot").wants(t, "the agent's page", http.StatusOK, "/console/revoke?kind=agent&amp;id=bot")
	b.get("/console/revoke?kind=agent&id=bot").wants(t, "the plan", http.StatusOK, "Type bot to go on", "Calls that are cut", "rutile agent suspend bot")
	a := b.send("/console/revoke", "kind", "agent", "id", "bot", "typed", "bat", "reason", "odd")
	if to := a.header.Get("Location"); a.status != http.StatusSeeOther || !strings.HasPrefix(to, "/console/revoke?") {
		t.Errorf("another name was typed: %d %s", a.status, to)
	}
	b.get("/console/receipts").wants(t, "no receipt", http.StatusOK, "type bot to revoke it", "Nothing was revoked")
	a = b.send("/console/revoke", "kind", "agent", "id", "bot", "typed", "bot", "reason", "<b>odd</b>")
	to := a.header.Get("Location")
	if a.status != http.StatusSeeOther || !strings.HasPrefix(to, "/console/receipts/rev_") {
		t.Fatalf("revoking: %d %s", a.status, to)
	}
	page := b.get(to)
	page.wants(t, "the receipt", http.StatusOK, "1 calls cut off in", "ses_1", "How to undo it", "at epoch 1")
	if strings.Contains(page.body, "<b>odd") {
		t.Error("a reason is HTML")
	}
	b.get("/console/receipts").wants(t, "the receipts", http.StatusOK, to, "odd")
	b.get("/console/receipts/rev_x").wants(t, "none of the name", http.StatusNotFound)
	b.send("/console/revoke", "kind", "server", "id", "nobody", "typed", "nobody").wants(t, "nobody's", http.StatusSeeOther)
	b.get("/console/receipts").wants(t, "nobody's", http.StatusOK, "Nothing was done:", "there is no server")
}

// A viewer reads receipts and revokes nothing, by address or by a form of their own.
func TestAViewerRevokesNothing(t *testing.T) {
	r := newRig(t)
	w := &work{changed: []identity.Family{{ID: "ses_1"}}}
	r.console(w)
	b := r.browser()
	a := b.do("POST", "/approve/sign-in", url.Values{"request": {"console/live"}, "token": {r.token("vic").Token}})
	if a.status != http.StatusSeeOther {
		t.Fatalf("signing in: %d %s", a.status, text(a.body))
	}
	b.get("/console/live").wants(t, "a page", http.StatusOK)
	if strings.Contains(b.get("/console/agents/bot").body, "/console/revoke") {
		t.Error("a viewer is offered to revoke")
	}
	b.get("/console/receipts").wants(t, "the receipts", http.StatusOK, "Nothing was revoked")
	b.get("/console/revoke?kind=agent&id=bot").wants(t, "the plan", http.StatusForbidden)
	b.send("/console/revoke", "kind", "agent", "id", "bot", "typed", "bot", "reason", "mine").wants(t, "a forged form", http.StatusForbidden)
	b.get("/console/receipts").wants(t, "after it", http.StatusOK, "Nothing was revoked")
	if _, err := r.admin.Apply(t.Context(), keeper, []admin.Document{{File: "m.yaml", Text: "kind: User\nid: vic\nroles: [operator]\n"}}, false); err != nil {
		t.Fatal(err)
	}
	// An operator ends sessions, and not everything at once.
	b.send("/console/revoke", "kind", "tenant", "id", "default", "typed", "default").wants(t, "everything", http.StatusForbidden)
	b.send("/console/revoke", "kind", "agent", "id", "bot", "typed", "bot").wants(t, "an agent", http.StatusSeeOther)
}
