package browsertest_test

import (
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/grant"
)

// TestAPersonBreaksTheGlassWithAPasskey: what a terminal began waits on its page, and
// what the browser signs there gives the right.
func TestAPersonBreaksTheGlassWithAPasskey(t *testing.T) {
	r := newRig(t)
	b := open(t, true)
	b.device()
	token := r.personalToken("ann")
	b.token(r.local()+"/console/account", token)
	b.fill("#passkey-name", "laptop")
	has(t, "the account", b.click(`form[data-passkey="make"] button`), "The passkey laptop is added.")
	actor, err := r.d.Admin.Authenticate(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.d.Desk.BreakGlass(t.Context(), actor, admin.EmergencySpec{GrantSpec: admin.GrantSpec{Agent: "release-bot", Server: "shop", Tool: "order", Reason: "the shop burns"}})
	if access.CodeOf(err) != access.CodeDenied {
		t.Fatalf("a token broke the glass: %v", err)
	}
	page := err.Error()[strings.Index(err.Error(), "http"):]
	page, _, _ = strings.Cut(page, ",")
	if !strings.HasPrefix(page, r.local()+"/console/break-glass/grt_") {
		t.Fatalf("the page is %s", page)
	}
	has(t, "the page", b.visit(page), "Sign to break the glass", "the shop burns", "15m0s")
	b.picture("glass-sign", false)
	has(t, "signing", b.click(`form[data-passkey="use"] button`), "The glass is broken", "signed with a passkey", "the shop burns")
	b.quiet("signing")
	list, err := r.d.Desk.Reviews(t.Context(), grant.Filter{State: grant.ReviewDue})
	if err != nil || len(list) != 1 || list[0].Person != "user:ann" {
		t.Errorf("reviews: %+v, %v", list, err)
	}
	has(t, "what is owed", b.visit(r.local()+"/console/break-glass"), "Owed a review", "the shop burns")
	b.picture("glass", false)
}

// TestTheApprovalPageInKorean: chosen on the page, with and without scripts.
func TestTheApprovalPageInKorean(t *testing.T) {
	both(t, func(t *testing.T, r *rig, b *browser) {
		b.enter(r.link(user("ann")))
		page := r.base + "/approve/" + r.request().ID
		has(t, "English", b.visit(page), "An agent asks to use", "Approve: once, exactly this")
		has(t, "Korean", b.click(`button[value="ko"]`), "에이전트가 사용을 요청합니다", "승인: 정확히 이 호출 한 번")
		b.picture("request-ko", false)
		b.click(`button[value="en"]`)
		b.click(`button[value="ko"]`)
		has(t, "approved", b.click("main form button"), "상태: 발급됨")
		b.quiet("Korean")
	})
}
