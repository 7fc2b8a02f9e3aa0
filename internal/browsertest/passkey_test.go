package browsertest_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"rutile/internal/admin"
	"rutile/internal/registry"
	"rutile/internal/signin/signintest"
)

// device gives the browser a device that makes passkeys.
func (b *browser) device() webauthn.AuthenticatorID {
	b.t.Helper()
	call(b, webauthn.Enable, webauthn.EnableParams{})
	got, err := chromedp.Call(b.ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: "ctap2", Transport: "internal", HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	}})
	if err != nil {
		b.t.Fatal(err)
	}
	return got.AuthenticatorID
}

// token signs in with a personal token.
func (b *browser) token(page, token string) string {
	b.t.Helper()
	b.visit(page)
	b.fill("#token", token)
	return b.click(`form[action="/approve/sign-in"] button`)
}

// personalToken makes a personal token.
func (r *rig) personalToken(user string) string {
	r.t.Helper()
	tk, err := r.d.Admin.CreateUserToken(r.t.Context(), keeper, user, "", 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return tk.Token
}

// local is the rig's address by the name passkeys work under.
func (r *rig) local() string { return strings.Replace(r.base, "127.0.0.1", "localhost", 1) }

// TestAPersonSignsInWithAPasskey: from a token to a passkey, which signs in without
// anything typed, and ends its session when it is removed.
func TestAPersonSignsInWithAPasskey(t *testing.T) {
	r := newRig(t)
	b := open(t, true)
	device := b.device()
	has(t, "at an IP address", b.visit(r.base+"/console/"), "Passkeys work at another address", r.local()+"/console/")
	b.quiet("at an IP address")
	b.token(r.local()+"/console/", r.personalToken("vic"))
	b.click(`a[href="/console/account"]`)
	b.fill("#passkey-name", "laptop")
	has(t, "the account", b.click(`form[data-passkey="make"] button`), "The passkey laptop is added.", "laptop", "a personal token")
	b.picture("account", false)
	b.picture("account", true)
	b.click(`form[action="/approve/sign-out"] button`)
	b.visit(r.local() + "/console/account")
	b.picture("sign-in", false)
	has(t, "signed in with the passkey", b.click(`form[data-passkey="use"] button`), "Your account", "a passkey")
	b.quiet("a passkey")
	got, err := chromedp.Call(b.ctx, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: device})
	if err != nil || len(got.Credentials) != 1 || got.Credentials[0].RpID != "localhost" || !got.Credentials[0].IsResidentCredential {
		t.Fatalf("the device holds %+v, %v", got, err)
	}
	u, _ := r.d.Admin.Current().View.User("vic")
	if err := r.d.SignIns.RemoveFactor(t.Context(), keeper, "vic", u.Factors[0].ID, "lost"); err != nil {
		t.Fatal(err)
	}
	has(t, "after it was removed", b.visit(r.local()+"/console/account"), "Sign in with a passkey")
	has(t, "a passkey that was removed", b.click(`form[data-passkey="use"] button`), "does not count")
}

// TestWithoutScriptsThereAreOtherWays: a passkey is not offered, a token signs in, and a
// password is set and signs in.
func TestWithoutScriptsThereAreOtherWays(t *testing.T) {
	r := newRig(t)
	b := open(t, false)
	text := b.visit(r.local() + "/console/account")
	has(t, "the sign-in page", text, "Passkeys need JavaScript", "Personal token")
	if strings.Contains(text, "Sign in with a passkey") {
		t.Errorf("a passkey is offered without scripts: %s", text)
	}
	has(t, "the account", b.token(r.local()+"/console/account", r.personalToken("vic")), "Your account", "this one")
	b.fill("#new", "correct horse battery")
	b.fill("#again", "correct horse battery")
	text = b.click(`form[action="/console/account/password"] button`)
	secret := regexp.MustCompile(`[A-Z2-7]{32}`).FindString(text)
	recovery := regexp.MustCompile(`[a-z2-7]{4}(-[a-z2-7]{4}){3}`).FindString(text)
	b.picture("password", false)
	b.fill("#code", signintest.Code(t, secret, time.Now()))
	has(t, "the password", b.click(`main form button`), "The password is set", "password with codes")
	has(t, "out of all", b.click(`button[value="all"]`), "Personal token")
	b.visit(r.local() + "/console/account")
	b.fill("#user", "vic")
	b.fill("#password", "correct horse battery")
	b.fill("#code", recovery)
	has(t, "with a password", b.click(`form[action="/console/sign-in/password"] button`), "Your account", "9 recovery codes left")
	b.quiet("without scripts")
}

// TestAnApproverSignsWithAPasskey: what a browser signs for a request of tier 3 counts,
// and its page says so.
func TestAnApproverSignsWithAPasskey(t *testing.T) {
	r := newRig(t)
	const more = "kind: User\nid: sam\nroles: [approver]\n---\nkind: User\nid: kim\nroles: [approver]\n"
	if _, err := r.d.Admin.Apply(t.Context(), keeper, []admin.Document{{File: "more.yaml", Text: more}}, false); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []registry.Verb{registry.VerbQuarantine, registry.VerbRelease} { // so that it is looked at again
		if _, err := r.d.Admin.ChangeTool(t.Context(), keeper, "shop", "order", verb, "it destroys"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.d.Admin.ApproveTool(t.Context(), keeper, "shop", "order", admin.Approval{Class: &registry.ToolClass{Class: "destroy", Tier: 3}, Reason: "it does"}); err != nil {
		t.Fatal(err)
	}
	b := open(t, true)
	b.device()
	b.token(r.local()+"/console/account", r.personalToken("sam"))
	b.fill("#passkey-name", "laptop")
	has(t, "the account", b.click(`form[data-passkey="make"] button`), "The passkey laptop is added.")
	r.text = "grave"
	r.call("order", "approv")
	page := r.local() + "/approve/" + r.request().ID
	has(t, "the page", b.visit(page), "signed with your passkey", "nobody yet")
	b.picture("request-signed", false)
	b.fill("#yes-reason", "agreed")
	has(t, "signing", b.click(`form[data-passkey="use"] button`), "user:sam", "signed with a passkey")
	b.quiet("signing")
	if a := r.request().Approvals; len(a) != 1 || a[0].Signed == nil {
		t.Errorf("approvals: %+v", a)
	}
}
