package console_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"rutile/internal/audit"
)

// entries says "verb actor" of each leaf of a sign-in.
func (r *rig) entries() []string {
	var out []string
	for _, l := range r.parts.of("SignIn") {
		out = append(out, l.Verb+" "+l.Actor)
	}
	return out
}

// Who signs in and out is in the evidence, with the way and the address.
func TestSigningInAndOutIsEvidence(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{}`)
	b := r.signedIn("ann", req.ID)
	b.do("POST", "/approve/sign-out", url.Values{"form": {b.form}}).wants(t, "signing out", http.StatusOK)
	b.do("POST", "/approve/sign-out", url.Values{"form": {b.form}}) // nobody is signed in any more
	if got := strings.Join(r.entries(), ", "); got != "sign-in user:ann, sign-out user:ann" {
		t.Fatalf("leaves: %s", got)
	}
	in, out := r.parts.of("SignIn")[0], r.parts.of("SignIn")[1]
	if in.Object == "" || in.Object != out.Object {
		t.Errorf("the sign-in is of session %q and the sign-out of %q", in.Object, out.Object)
	}
	if !strings.Contains(in.Reason, "with token from 192.0.2.1") || !strings.Contains(string(in.Detail), `"token":"`) {
		t.Errorf("the leaf says %q, %s", in.Reason, in.Detail)
	}
}

// Without evidence nobody signs in, and who is in gets out.
func TestWithoutEvidenceNobodySignsIn(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{}`)
	b := r.signedIn("ann", req.ID)
	token := r.token("bob").Token
	r.parts.fill(errors.New("the disk is full"))
	other := r.browser()
	a := other.do("POST", "/approve/sign-in", url.Values{"request": {req.ID}, "token": {token}})
	if a.status == http.StatusSeeOther || len(other.cookies) > 0 {
		t.Errorf("a session began without evidence: %d, cookies %v", a.status, other.cookies)
	}
	b.do("POST", "/approve/sign-out", url.Values{"form": {b.form}}).wants(t, "signing out", http.StatusOK, "The session is over. To go on, open the page again.")
	if page := b.get("/approve/" + req.ID); page.status != http.StatusUnauthorized {
		t.Errorf("the session goes on: %d", page.status)
	}
	r.parts.fill(nil)
	other.signIn(token, req.ID)
}

// A flood of failures has 30 leaves in a minute; the next one says how many have none, and
// what was typed as a name is in none unless it is a user's.
func TestAFloodOfFailedSignInsIsCounted(t *testing.T) {
	r := newRig(t)
	r.withSignIns()
	from := 0
	fail := func(user string) {
		b := r.browser()
		from++
		b.change = func(req *http.Request) {
			req.RemoteAddr = "10.0." + string(rune('0'+from/10%10)) + "." + string(rune('0'+from%10)) + ":1"
		}
		b.password(user, "not the password", "123456")
	}
	fail("ann")
	fail("hunter2hunter2")
	leaves := r.parts.of("SignIn")
	if len(leaves) != 2 || leaves[0].Verb != "fail-sign-in" || leaves[0].Object != "ann" || leaves[0].Actor != "system" {
		t.Fatalf("leaves: %+v", leaves)
	}
	if said := leaves[1].Object + leaves[1].Reason + string(leaves[1].Detail); strings.Contains(said, "hunter2") {
		t.Errorf("what nobody is called is in the evidence: %s", said)
	}
	for range 38 {
		r.browser().do("POST", "/approve/sign-in", url.Values{"request": {r.ask(`{}`).ID}, "token": {"rut_u_nothing"}})
		r.clock.pass(100 * time.Millisecond)
	}
	if n := len(r.parts.of("SignIn")); n > 30 {
		t.Errorf("%d leaves of failures in a minute", n)
	}
	r.clock.pass(time.Minute)
	r.browser().token("ann")
	all := r.parts.of("SignIn")
	if last := all[len(all)-1]; last.Verb != "sign-in" || !strings.Contains(last.Reason, "without a leaf of their own") {
		t.Errorf("the next leaf says %q", last.Reason)
	}
	if !onlySealed(all) {
		t.Error("an address stands outside of what is sealed")
	}
}

// onlySealed reports whether what leaves show openly names no address.
func onlySealed(leaves []audit.Admin) bool {
	for _, l := range leaves {
		if strings.Contains(l.Object+l.ID+l.Verb, "10.0.") {
			return false
		}
	}
	return true
}
