package browsertest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/finding"
)

// denied is the newest decision that denied a call of a tool.
func (r *rig) denied(tool string) string {
	r.t.Helper()
	rows, err := r.d.Evidence.Search(r.t.Context(), audit.Query{Tool: tool, Outcome: "deny", Limit: 1})
	if err != nil || len(rows) == 0 {
		r.t.Fatalf("no denial of %s: %v", tool, err)
	}
	return rows[0].Decision
}

// submitted fails unless the page after a form says all of the words.
func (b *browser) submitted(text string, words ...string) {
	b.t.Helper()
	has(b.t, "what was done", text, words...)
}

// TestADenialIsExplainedReportedAndAnswered: a viewer reads why a call was denied and
// says that it was wrong; whoever answers for it finds that, and ends it.
func TestADenialIsExplainedReportedAndAnswered(t *testing.T) {
	both(t, func(t *testing.T, r *rig, b *browser) {
		id := r.denied("drop")
		b.enter(r.link(user("vic")))
		text := b.visit(r.base + "/console/decisions/" + id)
		has(t, "the decision", text, "Why denied:", "no-drop", "m.yaml:", "forbid (principal", "policy no-drop is lifted", "What would have to change", "rutile explain "+id)
		b.picture("decision", false)
		b.picture("decision", true)
		b.fill("#comment", "stock <b>must</b> be dropped")
		b.submitted(b.click(`form[action="/console/decisions/`+id+`"] button`), "It is reported to team-dev.")
		b.fill("#comment", "again")
		b.submitted(b.click(`form[action="/console/decisions/`+id+`"] button`), "reported already")
		list, err := r.d.Findings.List(t.Context(), finding.Filter{Rule: admin.WrongDenial})
		if err != nil || len(list) != 1 || list[0].Owner != "team-dev" {
			t.Fatalf("findings: %+v, %v", list, err)
		}
		page := r.base + "/console/findings/" + list[0].ID
		if text := b.visit(page); strings.Contains(text, "Assign") || !strings.Contains(text, "stock <b>must</b> be dropped") {
			t.Errorf("a viewer sees of the finding: %s", text)
		}
		b.click(`form[action="/approve/sign-out"] button`)
		b.enter(r.link(keeper))
		b.visit(page)
		b.picture("finding", false)
		b.fill("#owner", "ann")
		b.submitted(b.click(`button[value="assign"]`), "The finding is with ann now.")
		b.fill("#why", "until the audit")
		b.submitted(b.click(`button[value="mute"]`), "The finding is left alone until", "until the audit")
		b.submitted(b.click(`button[value="unmute"]`), "The finding counts again.")
		b.fill("#answer", "dropping stays forbidden")
		b.submitted(b.click(`button[value="answer"]`), "The report is answered.", "resolved")
		b.quiet("explaining a denial")
	})
}

// TestAPolicyIsTriedPublishedAndTakenBack: a mistake is shown with its place; what would
// change is shown with an example; what was tried counts when it is published, not
// before; and the generation before comes back.
func TestAPolicyIsTriedPublishedAndTakenBack(t *testing.T) {
	both(t, func(t *testing.T, r *rig, b *browser) {
		b.enter(r.link(keeper))
		b.click(`nav a[href="/console/policies"]`)
		b.picture("policies", false)
		b.click(`a[href="/console/policies/no-drop"]`)
		b.click(`a[href="/console/simulator?policy=no-drop"]`)
		b.fill("#cedar", `forbid (principal, action, resource) when { contxt.input };`)
		has(t, "a mistake", b.click(`form[action="/console/simulator"] button`), "It cannot be put in force:", "console:1:", "contxt")
		b.fill("#id", "no-look")
		b.fill("#cedar", `forbid (principal, action == Mcp::Action::"shop/look", resource);`)
		b.fill("#tests", "kind: PolicyTest\ngiven: {agent: {id: release-bot}}\ncases:\n  - name: nobody looks\n    when: {server: shop, tool: look, arguments: {}}\n    then: {outcome: deny, by: [no-look]}\n")
		b.choose("#days", "30")
		has(t, "what would change", b.click(`form[action="/console/simulator"] button`), "nobody looks", "1 newly denied", "shop/look", "release-bot", "Put no-look in force")
		b.picture("simulator", false)
		b.picture("simulator", true)
		r.call("look", "Looked") // it was only tried
		b.click(`form[action="/console/simulator"] button`)
		b.fill("#why", "nobody looks")
		b.submitted(b.click(`form[action="/console/policies"] button`), "Policy no-look is in force.")
		if got := r.ask(t.Context(), "look"); strings.Contains(got, "Looked") {
			t.Errorf("a call that the new policy forbids: %s", got)
		}
		b.click(`nav a[href="/console/policies"]`)
		b.click(`a[href="/console/rules?to=1"]`)
		b.picture("rules", false)
		b.fill("#why", "a mistake")
		b.submitted(b.click(`form[action="/console/rules"] button`), "Generation 1 is brought back: 1 objects changed.")
		r.call("look", "Looked")
		b.quiet("policies")
	})
}

// TestAPolicyTriedOnSomethingElseIsNotPublished: nothing is put in force that was not
// tried as things are now, nor by whoever may only try.
func TestAPolicyTriedOnSomethingElseIsNotPublished(t *testing.T) {
	r := newRig(t)
	h := r.sign(keeper)
	before := r.d.Admin.Current().View.Generation()
	draft := url.Values{"form": {h.form}, "id": {"no-look"}, "cedar": {`forbid (principal, action == Mcp::Action::"shop/look", resource);`}, "generation": {"1"}, "reason": {""}}
	if status, _, to := h.post("/console/policies", draft); status != http.StatusSeeOther {
		t.Fatalf("publishing: %d to %s", status, to)
	}
	if _, body := h.get("/console/simulator?policy=no-look"); !strings.Contains(body, "try it again") {
		t.Errorf("publishing on something else says nothing: %s", body)
	}
	if got := r.d.Admin.Current().View.Generation(); got != before {
		t.Errorf("the generation went from %d to %d", before, got)
	}
	r.call("look", "Looked")
	odd := r.sign(user("odd")) // an auditor tries, and does not publish
	try := url.Values{"form": {odd.form}, "id": {"no-look"}, "cedar": draft["cedar"], "tests": {""}, "days": {"7"}}
	status, body, _ := odd.post("/console/simulator", try)
	if status != http.StatusOK || !strings.Contains(body, "newly denied") || strings.Contains(body, "Put no-look in force") {
		t.Errorf("an auditor tries: %d %s", status, body)
	}
	vic := r.sign(user("vic"))
	try.Set("form", vic.form)
	if status, _, _ := vic.post("/console/simulator", try); status != http.StatusForbidden {
		t.Errorf("a viewer tries rules: %d", status)
	}
	try.Set("form", h.form)
	for name, change := range map[string]func(*http.Request){
		"another origin": func(q *http.Request) { q.Header.Set("Origin", "http://evil.example") },
		"another site":   func(q *http.Request) { q.Header.Set("Sec-Fetch-Site", "cross-site") },
	} {
		if status, _, _ := h.post("/console/simulator", try, change); status < 400 {
			t.Errorf("%s: %d", name, status)
		}
	}
	try.Set("form", vic.form)
	if status, _, _ := h.post("/console/simulator", try); status < 400 {
		t.Errorf("another session's form: %d", status)
	}
	try.Set("form", h.form)
	try.Set("cedar", strings.Repeat("// long\n", 10_000))
	if status, _, _ := h.post("/console/simulator", try); status < 400 {
		t.Errorf("a text that is too long: %d", status)
	}
}

// TestReviewsSourcesAndPeopleAreLookedAfter: a review is started and answered, an
// agent's list narrowed, a token revoked; where discovery could not look is shown.
func TestReviewsSourcesAndPeopleAreLookedAfter(t *testing.T) {
	both(t, func(t *testing.T, r *rig, b *browser) {
		tok, err := r.d.Admin.CreateUserToken(t.Context(), keeper, "odd", "laptop", 0)
		if err != nil {
			t.Fatal(err)
		}
		b.enter(r.link(keeper))
		has(t, "sources", b.visit(r.base+"/console/sources"), "client", "~/.denied/mcp.json", "denied", "hst_000000000000")
		b.picture("sources", false)
		has(t, "reviews", b.visit(r.base+"/console/reviews"), "release-bot", "shop", "team-dev")
		b.picture("reviews", false)
		b.click(`a[href="/console/reviews/server/shop"]`)
		b.picture("review", false)
		b.fill("#why", "used every day")
		b.submitted(b.click(`button[value="keep"]`), "shop is answered: kept.")
		has(t, "a person", b.visit(r.base+"/console/people/odd"), "laptop", tok.ID)
		b.picture("person", false)
		b.submitted(b.click(`form[action="/console/people/odd/token"] button`), "counts no more.")
		if _, err := r.d.Admin.Authenticate(t.Context(), tok.Token); err == nil {
			t.Error("the token counts still")
		}
		b.submitted(b.click(`form[action="/console/people/odd/sign-out"] button`), "Every session of odd has ended.")
		has(t, "roles", b.visit(r.base+"/console/roles"), "write policies", "auditor")
		b.picture("roles", false)
		has(t, "settings", b.visit(r.base+"/console/settings"), "listen.agents", "command line or environment", "mode")
		b.picture("settings", false)
		b.quiet("reviews, sources and people")
	})
}
