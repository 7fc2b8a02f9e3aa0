package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/identity"
)

const bad = "<b>bad</b>"

// oneSession is an open session with a call in flight and events.
func oneSession(r *rig) *work {
	w := &work{changed: []identity.Family{{ID: "ses_1", Agent: "bot", Subject: origin + "|ann", Source: identity.SourceDevelopment, Task: "tsk_1", Opened: r.clock.now(), Last: r.clock.now(), Absolute: r.clock.now().Add(3600e9)}}}
	w.touched = access.Touched{Labels: []string{"payroll"}, Taint: []string{"server:" + bad}}
	for _, session := range []string{"ses_1", "ses_2"} {
		w.running = append(w.running, &access.Request{ID: "dec_" + session, Who: access.Identity{Session: session}, Server: "shop", Target: "order" + bad, Kind: access.KindTool, At: r.clock.now()})
	}
	for i := range 30 {
		row := audit.Row{}
		row.Index, row.Type, row.Server, row.Tool = uint64(500-i), "call.decision", "shop", bad
		w.leaves = append(w.leaves, row)
	}
	return w
}

// A session's page says who is at work for whom, what it may and has touched, what runs
// and what happened last, and leads to its revocation.
func TestASessionHasAPage(t *testing.T) {
	r := newRig(t)
	w := oneSession(r)
	r.console(w)
	b := r.enter()
	for lang, words := range map[string][]string{"en": {"What may have told it what to do", "Revoke…"}, "ko": {"에이전트에 지시했을 수 있는 것", "회수…"}} {
		b.do("POST", "/console/language", url.Values{"lang": {lang}, "back": {"/console/"}}).wants(t, lang, http.StatusSeeOther)
		w.asked = nil
		page := b.get("/console/sessions/ses_1")
		page.wants(t, "the session", http.StatusOK, append(words, "/console/agents/bot", "ann", "tsk_1", "development", "payroll", "dec_ses_1", "/console/grants/grt_1",
			"/console/evidence/500", "/console/evidence?session=ses_1", "/console/revoke?kind=session&amp;id=ses_1")...)
		for _, no := range []string{bad, "dec_ses_2", "/console/evidence/480", "hx-", "<form method=\"post\" action=\"/console/sessions"} {
			if strings.Contains(page.body, no) {
				t.Errorf("%s: %q is on the page", lang, no)
			}
		}
		if len(w.asked) != 1 || w.asked[0].Session != "ses_1" || w.asked[0].Limit != 20 {
			t.Errorf("%s: evidence was asked for %+v", lang, w.asked)
		}
	}
	w.changed[0].State = identity.SessionRevoked
	if strings.Contains(b.get("/console/sessions/ses_1").body, "/console/revoke?") {
		t.Error("a session that ended is offered to be revoked")
	}
	w.changed = nil
	b.get("/console/sessions/ses_9").wants(t, "none of the name", http.StatusNotFound)
}

// Grants, people and live sessions lead to what revoking them would end.
func TestPagesLeadToWhatRevokingWouldEnd(t *testing.T) {
	r := newRig(t)
	w := oneSession(r)
	r.console(w)
	req := r.ask(`{}`)
	r.signedIn("ann", req.ID).answer(req.ID, "approve", "reason", "fine").wants(t, "approving", http.StatusSeeOther)
	g := r.state(req.ID).Grant
	b := r.enter()
	b.get("/console/grants/"+g).wants(t, "the grant", http.StatusOK, "/console/revoke?kind=grant&amp;id="+g)
	b.get("/console/people").wants(t, "people", http.StatusOK, "/console/revoke?kind=user&amp;id=ann", "/console/revoke?kind=approver&amp;id=ann")
	b.get("/console/live").wants(t, "live", http.StatusOK, "/console/sessions/ses_1", "/console/revoke?kind=session&amp;id=ses_1")
	for _, q := range []string{"kind=grant&id=" + g, "kind=user&id=ann", "kind=approver&id=ann", "kind=session&id=ses_1"} {
		b.get("/console/revoke?"+q).wants(t, q, http.StatusOK, "Calls that are cut")
	}
}

// A viewer reads a session without its events, and nothing they send ends it.
func TestAViewerReadsASessionAndEndsNone(t *testing.T) {
	r := newRig(t)
	w := oneSession(r)
	r.console(w)
	b := r.browser()
	if a := b.do("POST", "/approve/sign-in", url.Values{"request": {"console/live"}, "token": {r.token("vic").Token}}); a.status != http.StatusSeeOther {
		t.Fatalf("signing in: %d %s", a.status, text(a.body))
	}
	for _, p := range []string{"sessions/ses_1", "live", "people"} {
		page := b.get("/console/" + p)
		page.wants(t, p, http.StatusOK)
		if strings.Contains(page.body, "/console/revoke") || strings.Contains(page.body, "/console/evidence/500") {
			t.Errorf("%s: a viewer is offered to revoke, or reads evidence", p)
		}
	}
	if len(w.asked) != 0 {
		t.Errorf("evidence was read for a viewer: %+v", w.asked)
	}
	b.get("/console/revoke?kind=session&id=ses_1").wants(t, "the plan", http.StatusForbidden)
	b.send("/console/sessions/ses_1", "verb", "terminate").wants(t, "a form that is none", http.StatusNotFound)
	for _, form := range [][]string{{"/console/revoke", "kind", "session", "id", "ses_1"}, {"/console/revoke", "kind", "user", "id", "ann", "typed", origin + "|ann"}, {"/console/live", "verb", "terminate", "kind", "session", "id", "ses_1"}} {
		b.send(form[0], form[1:]...).wants(t, "a forged form", http.StatusForbidden)
	}
	if _, err := r.admin.Apply(t.Context(), keeper, []admin.Document{{File: "m.yaml", Text: "kind: User\nid: vic\nroles: [auditor]\n"}}, false); err != nil {
		t.Fatal(err)
	}
	b.get("/console/sessions/ses_1").wants(t, "an auditor", http.StatusOK, "/console/evidence/500")
	b.get("/console/receipts").wants(t, "after it", http.StatusOK, "Nothing was revoked")
}
