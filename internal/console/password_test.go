package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"rutile/internal/signin/signintest"
)

const chosenPassword = "correct horse battery"

var (
	shownSecret   = regexp.MustCompile(`<dd><code>([A-Z2-7]{32})</code>`)
	shownRecovery = regexp.MustCompile(`<li><code>([a-z2-7-]{19})</code>`)
)

// choose sets a password for who is signed in, and returns the secret of its codes and
// the recovery codes.
func (b *browser) choose() (secret string, recovery []string) {
	b.rig.t.Helper()
	a := b.do("POST", "/console/account/password", url.Values{"form": {b.form}, "new": {chosenPassword}, "again": {chosenPassword}})
	if a.header.Get("Location") != "/console/account/password" {
		b.rig.t.Fatalf("choosing: %d %s %s", a.status, a.header.Get("Location"), text(a.body))
	}
	page := b.get("/console/account/password")
	page.wants(b.rig.t, "the codes", http.StatusOK, `<svg class="qr"`, "Recovery codes")
	secret = shownSecret.FindStringSubmatch(page.body)[1]
	for _, m := range shownRecovery.FindAllStringSubmatch(page.body, -1) {
		recovery = append(recovery, m[1])
	}
	return secret, recovery
}

func (b *browser) confirm(code string) answer {
	b.rig.t.Helper()
	return b.do("POST", "/console/account/password/confirm", url.Values{"form": {b.form}, "code": {code}})
}

func (b *browser) password(user, password, code string) answer {
	b.rig.t.Helper()
	return b.do("POST", "/console/sign-in/password", url.Values{"request": {"console/account"}, "user": {user}, "password": {password}, "code": {code}})
}

// TestAPasswordIsChosenAndSignsIn: with a code, at an IP address too, and not before it
// was confirmed.
func TestAPasswordIsChosenAndSignsIn(t *testing.T) {
	r := newRig(t)
	s := r.withSignIns()
	b := r.browser()
	b.token("ann")
	b.do("POST", "/console/account/password", url.Values{"form": {b.form}, "new": {chosenPassword}, "again": {"another one of these"}})
	b.get("/console/account").wants(t, "two that differ", http.StatusOK, "are not the same")
	b.do("POST", "/console/account/password", url.Values{"form": {b.form}, "new": {"short"}, "again": {"short"}})
	b.get("/console/account").wants(t, "a short one", http.StatusOK, "at least 12 characters")
	secret, recovery := b.choose()
	if len(recovery) != 10 {
		t.Fatalf("recovery codes: %v", recovery)
	}
	code := signintest.Code(t, secret, r.clock.now())
	r.browser().password("ann", chosenPassword, recovery[0]).wants(t, "before it is confirmed", http.StatusUnauthorized)
	b.confirm("abc")
	b.get("/console/account/password").wants(t, "a wrong code", http.StatusOK, "not the code", secret)
	b.confirm(code)
	b.get("/console/account").wants(t, "confirmed", http.StatusOK, "The password is set", "10 recovery codes left")
	b.get("/console/account/password").wants(t, "the secret again", http.StatusOK, "No password was chosen")
	r.browser().password("ann", chosenPassword, code).wants(t, "the code that confirmed", http.StatusUnauthorized)
	r.clock.pass(30 * time.Second)
	next := r.browser()
	if a := next.password("ann", chosenPassword, signintest.Code(t, secret, r.clock.now())); a.status != http.StatusSeeOther {
		t.Fatalf("signing in: %d %s\n%s", a.status, text(a.body), r.log)
	}
	next.get("/console/account").wants(t, "signed in", http.StatusOK, "a password and a code")
	if a := r.browser().password("ann", chosenPassword, recovery[0]); a.status != http.StatusSeeOther {
		t.Errorf("with a recovery code: %d", a.status)
	}
	next.get("/console/account").wants(t, "after a recovery code", http.StatusOK, "9 recovery codes left")
	p, err := s.ResetCodes(t.Context(), keeper, "ann")
	if err != nil {
		t.Fatal(err)
	}
	next.get("/console/account").wants(t, "a session opened with it, after its codes were reset", http.StatusUnauthorized)
	r.clock.pass(30 * time.Second)
	r.browser().password("ann", chosenPassword, signintest.Code(t, secret, r.clock.now())).wants(t, "a code of before", http.StatusUnauthorized)
	r.browser().password("ann", chosenPassword, recovery[1]).wants(t, "a recovery code of before", http.StatusUnauthorized)
	if a := r.browser().password("ann", chosenPassword, signintest.Code(t, p.Secret, r.clock.now())); a.status != http.StatusSeeOther {
		t.Errorf("with a new code: %d", a.status)
	}
	for _, secret := range append(recovery, secret, chosenPassword, p.Secret) {
		if strings.Contains(r.log.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

// TestNobodyLearnsWhoHasAPassword: every attempt that does not count is answered the
// same, and as often.
func TestNobodyLearnsWhoHasAPassword(t *testing.T) {
	r := newRig(t)
	s := r.withSignIns()
	p, err := s.GivePassword(t.Context(), keeper, "ann", chosenPassword)
	if err != nil {
		t.Fatal(err)
	}
	code := signintest.Code(t, p.Secret, r.clock.now())
	want := ""
	for _, c := range [][3]string{{"ann", "wrong wrong wrong", code}, {"ann", chosenPassword, "000000x"}, {"bob", chosenPassword, code}, {"nobody-at-all", chosenPassword, code}, {"", "", ""}, {"<b>", "x", "y"}} {
		a := r.browser().password(c[0], c[1], c[2])
		if want == "" {
			want = a.body
		}
		if a.status != http.StatusUnauthorized || a.body != want || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%v: %d %s", c, a.status, text(a.body))
		}
	}
	for _, user := range []string{"ann", "nobody-at-all"} { // whom nobody tried from there yet
		for i := range 6 {
			b := r.browser()
			b.change = func(req *http.Request) { req.RemoteAddr = fmt.Sprintf("198.51.100.%d:1", len(user)) }
			if a := b.password(user, "wrong wrong wrong", "1"); (a.status == http.StatusTooManyRequests) != (i == 5) {
				t.Errorf("%s, attempt %d: %d", user, i, a.status)
			}
		}
	}
}

// TestGuessesAtAPasswordEndByThemselves: who is guessed at from one address signs in from
// another, and after a while from that one; from everywhere, with what is no password.
func TestGuessesAtAPasswordEndByThemselves(t *testing.T) {
	r := newRig(t)
	s := r.withSignIns()
	p, err := s.GivePassword(t.Context(), keeper, "ann", chosenPassword)
	if err != nil {
		t.Fatal(err)
	}
	from := func(address, password string) answer {
		b := r.browser()
		b.change = func(req *http.Request) { req.RemoteAddr = address }
		return b.password("ann", password, p.Recovery[0])
	}
	for range 5 {
		from("192.0.2.1:1", "wrong wrong wrong").wants(t, "a guess", http.StatusUnauthorized)
	}
	from("192.0.2.1:1", chosenPassword).wants(t, "the sixth, whatever it is", http.StatusTooManyRequests, "Too many sign-ins of this user")
	if a := from("192.0.2.2:1", chosenPassword); a.status != http.StatusSeeOther {
		t.Errorf("from another address: %d %s", a.status, text(a.body))
	}
	p.Recovery = p.Recovery[1:]
	r.clock.pass(31 * time.Second)
	if a := from("192.0.2.1:1", chosenPassword); a.status != http.StatusSeeOther {
		t.Errorf("after a while: %d %s", a.status, text(a.body))
	}
	held := 0
	for i := range 60 {
		if from(fmt.Sprintf("203.0.113.%d:1", i%10), "wrong wrong wrong").status == http.StatusTooManyRequests {
			held++
		}
	}
	if held < 30 {
		t.Errorf("%d of 60 guesses from ten addresses were held up", held)
	}
	r.browser().token("ann")
}
