package console_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"rutile/internal/console"
	"rutile/internal/grant"
)

// TestTheApprovalPageKnowsEveryStateOfAGrant: what it permits, what happens next, and
// how to take it back as long as there is something to take.
func TestTheApprovalPageKnowsEveryStateOfAGrant(t *testing.T) {
	from := time.Date(2026, 11, 24, 14, 0, 0, 0, time.UTC)
	left := []grant.Left{{Credential: "key", Version: "v1", Server: "shop", Until: from, Why: "its issuer is <b>away</b>"}}
	for state, want := range map[grant.State]struct {
		says []string
		back bool
	}{
		grant.GrantScheduled:     {[]string{"begins at 2026-11-24 14:00:00 UTC", "stands until 2026-11-24 15:00:00 UTC for 3 calls", "told when to come again", "nobody is asked anew"}, true},
		grant.GrantActive:        {[]string{"stands until 2026-11-24 15:00:00 UTC for 3 calls; 2 spent", "goes through when it comes again"}, true},
		grant.GrantSuspended:     {[]string{"is suspended: because", "permits nothing until that is mended", "ends at 2026-11-24 15:00:00 UTC"}, true},
		grant.GrantExhausted:     {[]string{"is exhausted: because; 2 spent."}, false},
		grant.GrantExpired:       {[]string{"is expired: because; 2 spent."}, false},
		grant.GrantCompleted:     {[]string{"is completed: because; 2 spent."}, false},
		grant.GrantWithdrawn:     {[]string{"is withdrawn: because; 2 spent."}, false},
		grant.GrantRevoking:      {[]string{"was revoked: because", "permits nothing any more", "are being asked to end them"}, false},
		grant.GrantRevokePartial: {[]string{"was revoked: because", "permits nothing any more", "Not ended yet: credential key, version v1 for server shop, lives until 2026-11-24T14:00:00Z", "tried again"}, false},
		grant.GrantRevoked:       {[]string{"is revoked: because; 2 spent."}, false},
	} {
		g := grant.Grant{ID: "grt_1", State: state, Why: "because", NotBefore: from, Expires: from.Add(time.Hour), UsesMax: 3, Counts: grant.Counts{Spent: 2}}
		if state == grant.GrantRevokePartial {
			g.Left = left
		}
		got := strings.Join(console.Stands(&g), "\n")
		for _, w := range want.says {
			if !strings.Contains(got, w) {
				t.Errorf("%s: %q does not say %q", state, got, w)
			}
		}
		if strings.Contains(got, "rutile grant revoke grt_1") != want.back || grant.Over(state) == want.back {
			t.Errorf("%s: %q", state, got)
		}
	}
	if n := len(grant.GrantStates()); n != 10 {
		t.Errorf("there are %d states, and this knows 10", n)
	}
}

// TestWhatBeginsLaterIsShownAndTakenBack, on the page of the request and on that of the
// grant, in both languages.
func TestWhatBeginsLaterIsShownAndTakenBack(t *testing.T) {
	r := newRig(t)
	r.console(&work{})
	req := r.ask(`{"item":"tea"}`)
	from := r.clock.now().Add(2 * time.Hour).UTC()
	q, err := r.broker.Approve(t.Context(), req.ID, grant.Answer{By: "user:ann", Method: "cli", NotBefore: from})
	if err != nil {
		t.Fatal(err)
	}
	b := r.enter()
	stamp := from.Format("2006-01-02 15:04:05")
	b.get("/approve/"+req.ID).wants(t, "the request", http.StatusOK, "begins at "+stamp, "1h0m0s from "+stamp+" UTC on, as who approved said", "rutile grant revoke "+q.Grant)
	at := "/console/grants/" + q.Grant
	b.get(at).wants(t, "the grant", http.StatusOK, "scheduled", "Its time has not come", "Revoke this grant")
	b.get("/console/grants?state=scheduled").wants(t, "the list", http.StatusOK, q.Grant)
	b.cookies["rutile-language"] = "ko"
	b.get(at).wants(t, "in Korean", http.StatusOK, "예정됨", "아직 시작 시각이 되지 않아")
	b.cookies["rutile-language"] = "en"
	b.get(at)
	if a := b.do("POST", at, map[string][]string{"form": {b.form}, "reason": {"not after all"}}); a.status != http.StatusSeeOther {
		t.Fatalf("revoking: %d %s", a.status, text(a.body))
	}
	b.get(at).wants(t, "taken back", http.StatusOK, "revoked", "0 in flight were cut off")
}

// TestWhatItsIssuerDidNotEndIsShown: the grant is partly revoked, and says what lives.
func TestWhatItsIssuerDidNotEndIsShown(t *testing.T) {
	r := newRig(t)
	r.console(&work{})
	req := r.ask(`{"item":"tea"}`)
	q, err := r.broker.Approve(t.Context(), req.ID, grant.Answer{By: "user:ann", Method: "cli"})
	if err != nil {
		t.Fatal(err)
	}
	until := r.clock.now().Add(time.Hour).UTC()
	m := grant.Minted{Credential: "key", Version: "v1", Grant: q.Grant, Server: "shop", Kind: "clientCredentials", At: r.clock.now(), Expires: until}
	if err := r.broker.Mint(t.Context(), m, []byte("how")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.broker.Revoke(t.Context(), q.Grant, "user:ann", "enough"); err != nil {
		t.Fatal(err)
	}
	b, at := r.enter(), "/console/grants/"+q.Grant
	b.get(at).wants(t, "while it is asked", http.StatusOK, "revoking", "Issuers are being asked")
	b.get("/approve/"+req.ID).wants(t, "the request", http.StatusOK, "are being asked to end them")
	if err := r.broker.Finish(t.Context(), func(context.Context, grant.Minted, []byte) string { return "its issuer is <b>away</b>" }); err != nil {
		t.Fatal(err)
	}
	b.get(at).wants(t, "once it was asked", http.StatusOK, "partly revoked", "still live where they were issued", "version v1 for server shop", "its issuer is &lt;b&gt;away")
	b.get("/approve/"+req.ID).wants(t, "the request then", http.StatusOK, "Not ended yet: credential key", "its issuer is &lt;b&gt;away")
	b.cookies["rutile-language"] = "ko"
	b.get(at).wants(t, "in Korean", http.StatusOK, "일부 회수됨", "모두 끝날 때까지 다시 시도합니다")
}

// TestWhatIsAskedAgainAndAgainIsProposed as one right, which approving does not give.
func TestWhatIsAskedAgainAndAgainIsProposed(t *testing.T) {
	r := newRig(t)
	var last grant.Request
	for _, item := range []string{"acme/tea", "acme/<b>", "acme/milk"} {
		r.clock.pass(time.Second)
		last = r.ask(`{"item":"` + item + `"}`)
		b := r.signedIn("ann", last.ID)
		if page := b.get("/approve/" + last.ID); strings.Contains(page.body, "Asked again and again") != (item == "acme/milk") {
			t.Errorf("%s: %s", item, text(page.body))
		} else if item == "acme/milk" {
			page.wants(t, "the third", http.StatusOK, "the 2 that people approved last", "/item", "prefix", "acme/")
		}
		b.answer(last.ID, "approve")
	}
	if g, ok, err := r.broker.Archive().Grant(t.Context(), r.state(last.ID).Grant); err != nil || !ok || g.UsesMax != 1 || g.Scope != grant.ScopeOnce {
		t.Errorf("approving gave %+v, %v", g, err)
	}
}
