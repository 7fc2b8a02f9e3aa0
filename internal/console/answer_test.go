package console_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/registry"
)

func TestAPersonApprovesExactlyOneCall(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{"item":"tea","count":2}`, func(a *grant.Ask) { a.Reason = "the cupboard is empty" })
	b := r.signedIn("ann", req.ID)
	page := b.get("/approve/" + req.ID)
	page.wants(t, "the page", http.StatusOK, "shop/order", "the cupboard is empty", "tea", "text, 3 characters, 1 line", "number", "team-bots", "team-shop",
		"no person: by itself", "once: exactly this call", "unchanged since the agent asked", "Tier 2", "1 person", "nobody yet", "in 15m0s", "Approve: once, exactly this", "nothing to compare with")
	a := b.answer(req.ID, "approve")
	if a.status != http.StatusSeeOther || a.header.Get("Location") != "/approve/"+req.ID {
		t.Fatalf("approving: %d %s", a.status, text(a.body))
	}
	got := r.state(req.ID)
	if got.State != grant.RequestIssued || len(got.Approvals) != 1 || got.Approvals[0].By != "user:ann" || got.Approvals[0].Method != "page" {
		t.Errorf("request: %+v", got)
	}
	page = b.get("/approve/" + req.ID)
	page.wants(t, "the page after it", http.StatusOK, "State: issued", got.Grant, "for one call", "rutile grant revoke")
	if strings.Contains(page.body, `action="/approve/`+req.ID) {
		t.Error("what is decided can still be answered")
	}
}

// TestASecondAnswerDoesNothing covers the double click, the page loaded again and
// the one that was open while somebody else decided.
func TestASecondAnswerDoesNothing(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{"item":"tea"}`)
	ann, bob := r.signedIn("ann", req.ID), r.signedIn("bob", req.ID)
	ann.answer(req.ID, "approve")
	grantID := r.state(req.ID).Grant
	ann.answer(req.ID, "approve").wants(t, "again", http.StatusConflict, "Nothing was done", "is issued and cannot become issued", grantID)
	bob.answer(req.ID, "deny").wants(t, "no, too late", http.StatusConflict, "Nothing was done", "State: issued", "user:ann")
	if got := r.state(req.ID); got.Grant != grantID || len(got.Approvals) != 1 || r.parts.said("issue") != 1 || r.parts.said("deny") != 0 {
		t.Errorf("%+v, %d issued", got, r.parts.said("issue"))
	}
}

func TestManyClicksAtOnceIssueOneGrant(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{"item":"tea"}`)
	b := r.signedIn("ann", req.ID)
	var wg sync.WaitGroup
	statuses := make([]int, 16)
	for i := range statuses {
		wg.Go(func() {
			c := &browser{rig: r, cookies: map[string]string{"rutile": b.cookies["rutile"]}, form: b.form}
			statuses[i] = c.answer(req.ID, "approve").status
		})
	}
	wg.Wait()
	done := 0
	for _, s := range statuses {
		if s == http.StatusSeeOther {
			done++
		} else if s != http.StatusConflict {
			t.Errorf("status %d", s)
		}
	}
	if done != 1 || r.parts.said("issue") != 1 {
		t.Errorf("%d answers had an effect, %d grants were issued", done, r.parts.said("issue"))
	}
}

func TestDenyingSaysWhy(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{"item":"tea"}`)
	b := r.signedIn("ann", req.ID)
	if a := b.answer(req.ID, "deny", "reason", "we have <b>coffee</b>"); a.status != http.StatusSeeOther {
		t.Fatalf("denying: %d", a.status)
	}
	b.get("/approve/"+req.ID).wants(t, "the page", http.StatusOK, "Denied by user:ann", "we have &lt;b&gt;coffee", "may ask again")
	if got := r.state(req.ID); got.State != grant.RequestDenied || got.Why != "we have <b>coffee</b>" {
		t.Errorf("%+v", got)
	}
	b.answer(req.ID, "approve").wants(t, "yes after no", http.StatusConflict, "State: denied")
}

func TestAnAnswerOnlyNarrows(t *testing.T) {
	for name, c := range map[string]struct {
		fields []string
		status int
		life   int64
	}{
		"shorter":          {[]string{"minutes", "5"}, http.StatusSeeOther, 300},
		"as asked":         {[]string{"minutes", "", "uses", ""}, http.StatusSeeOther, 3600},
		"longer":           {[]string{"minutes", "61"}, http.StatusBadRequest, 0},
		"more calls":       {[]string{"uses", "2"}, http.StatusBadRequest, 0},
		"nothing at all":   {[]string{"minutes", "0"}, http.StatusBadRequest, 0},
		"less than none":   {[]string{"minutes", "-5"}, http.StatusBadRequest, 0},
		"no number":        {[]string{"minutes", "1e3"}, http.StatusBadRequest, 0},
		"past every clock": {[]string{"minutes", "9223372036854775807"}, http.StatusBadRequest, 0},
		"unknown field":    {[]string{"args", "[]"}, http.StatusBadRequest, 0},
		"two lines of why": {[]string{"reason", "a\nb"}, http.StatusBadRequest, 0},
	} {
		r := newRig(t)
		req := r.ask(`{"item":"tea"}`)
		a := r.signedIn("ann", req.ID).answer(req.ID, "approve", c.fields...)
		got := r.state(req.ID)
		if a.status != c.status || c.life == 0 && got.State != grant.RequestPending || c.life != 0 && got.Life != c.life {
			t.Errorf("%s: status %d, %+v: %s", name, a.status, got, text(a.body))
		}
	}
}

func TestTwoPeopleAtTierThree(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{"item":"tea"}`, func(a *grant.Ask) { a.Target.Tier, a.Party.Subject, a.Party.Issuer = 3, "bob", "http://127.0.0.1:7433" })
	ann := r.signedIn("ann", req.ID)
	ann.get("/approve/"+req.ID).wants(t, "the page", http.StatusOK, "Tier 3", "2 different people", "0 of 2 approvals", "bob, known to")
	ann.answer(req.ID, "approve").wants(t, "without a reason", http.StatusBadRequest, "needs a reason")
	ann.answer(req.ID, "approve", "reason", "checked with the bank")
	ann.get("/approve/"+req.ID).wants(t, "after one", http.StatusOK, "You have approved. It has 1 of 2", "Nobody counts twice", ">Deny<")
	ann.answer(req.ID, "approve", "reason", "again").wants(t, "the same person", http.StatusConflict, "Nothing was done")
	bob := r.signedIn("bob", req.ID)
	bob.get("/approve/"+req.ID).wants(t, "whoever it acts for", http.StatusOK, "You cannot approve this request", "whoever the agent acts for cannot approve it")
	bob.answer(req.ID, "approve", "reason", "please").wants(t, "whoever it acts for", http.StatusForbidden, "Nothing was done")
	if got := r.state(req.ID); got.State != grant.RequestPending || len(got.Approvals) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestAnExpiredRequestCannotBeAnswered(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{"item":"tea"}`)
	r.clock.pass(10 * time.Minute)
	b := r.signedIn("ann", req.ID)
	r.clock.pass(5 * time.Minute)
	page := b.get("/approve/" + req.ID)
	page.wants(t, "the page", http.StatusOK, "Nobody answered until", "must ask again")
	if strings.Contains(page.body, `name="action"`) {
		t.Error("an expired request can be approved")
	}
	b.answer(req.ID, "approve").wants(t, "approving", http.StatusConflict, "Nothing was done", "is over")
	if got := r.state(req.ID); got.Grant != "" {
		t.Errorf("%+v", got)
	}
}

func TestAChangedDefinitionVoidsTheRequest(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{"item":"tea"}`)
	b := r.signedIn("ann", req.ID)
	raw := []byte(`{"name":"order","description":"It does more.","inputSchema":{"type":"object"}}`)
	if _, err := r.admin.Observe(t.Context(), "shop", registry.Listing{Definitions: []registry.Definition{{Name: "order", Raw: raw}}}); err != nil {
		t.Fatal(err)
	}
	approveTool(t, r, "order")
	b.get("/approve/"+req.ID).wants(t, "the page", http.StatusOK, "The definition is another one", "another one than when the agent asked")
	b.answer(req.ID, "approve").wants(t, "approving", http.StatusConflict, "Nothing was done", "State: invalidated", "must ask again")
	if got := r.state(req.ID); got.State != grant.RequestInvalid || got.Grant != "" {
		t.Errorf("%+v", got)
	}
}

func TestWithoutEvidenceNothingIsApproved(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{"item":"tea"}`)
	b := r.signedIn("ann", req.ID)
	r.parts.mu.Lock()
	r.parts.err = &access.Error{Code: access.CodeEvidence, Msg: "evidence cannot be kept, so nothing was changed", Err: errors.New("the disk is full")}
	r.parts.mu.Unlock()
	a := b.answer(req.ID, "approve")
	a.wants(t, "approving", http.StatusServiceUnavailable, "evidence cannot be kept", "gateway&#39;s log")
	if strings.Contains(a.body, "disk") || !strings.Contains(r.log.String(), "disk") {
		t.Error("the cause belongs into the log only")
	}
	if got := r.state(req.ID); got.State != grant.RequestPending {
		t.Errorf("%+v", got)
	}
}

func TestThePageShowsWhatChanged(t *testing.T) {
	r := newRig(t)
	first := r.ask(`{"item":"tea","to":{"name":"Ann","zip":"1"},"gone":true,"same":[1,2]}`)
	r.signedIn("bob", first.ID).answer(first.ID, "approve")
	later(t, first)
	other := r.ask(`{"item":"tea"}`, func(a *grant.Ask) { a.Target.Name = "refund" })
	r.signedIn("ann", other.ID).get("/approve/"+other.ID).wants(t, "another tool", http.StatusOK, "nothing to compare with")
	second := r.ask(`{"same":[1,2],"to":{"name":"Ann","zip":1},"item":"coffee","new":"x"}`)
	page := r.signedIn("ann", second.ID).get("/approve/" + second.ID)
	page.wants(t, "the page", http.StatusOK, "approved by user:bob", "<h3>item</h3>", "<h3>to.zip</h3>", "<h3>gone</h3>", "<h3>new</h3>", "not there", "text, 1 character")
	for _, same := range []string{"<h3>same</h3>", "<h3>to.name</h3>", "<h3>to</h3>"} {
		if strings.Contains(page.body, same) {
			t.Errorf("%s is said to differ", same)
		}
	}
	r.signedIn("ann", second.ID).answer(second.ID, "approve")
	later(t, second)
	third := r.ask(`{"item":"coffee","to":{"zip":1.0,"name":"\u0041nn"},"new":"x","same":[1,2]}`)
	r.signedIn("ann", third.ID).get("/approve/"+third.ID).wants(t, "spelled otherwise", http.StatusOK, "The arguments are the same", second.ID)
}

// later waits until ids sort after that of a request: they begin with the time.
func later(t *testing.T, req grant.Request) {
	t.Helper()
	for i := 0; access.NewID(access.PrefixRequest)[:14] <= req.ID[:14]; i++ {
		if i > 1e8 {
			t.Fatal("the clock stands")
		}
	}
}

// TestWhatNobodyLookedAtIsNothingToCompareWith: a call that policy approved by
// itself is no call a person approved.
func TestWhatNobodyLookedAtIsNothingToCompareWith(t *testing.T) {
	r := newRig(t)
	auto := r.ask(`{"item":"tea"}`, func(a *grant.Ask) { a.Entitlement = &grant.Entitlement{ID: "e", Approve: grant.Rule{Auto: true}} })
	if auto.State != grant.RequestIssued {
		t.Fatalf("%+v", auto)
	}
	later(t, auto)
	req := r.ask(`{"item":"coffee"}`)
	page := r.signedIn("ann", req.ID).get("/approve/" + req.ID)
	page.wants(t, "the page", http.StatusOK, "nothing to compare with")
	r.browser().signIn(r.token("ann").Token, auto.ID).wants(t, "the automatic one", http.StatusOK, "State: issued", "auto:e", "nobody: the entitlement permits it")
}
