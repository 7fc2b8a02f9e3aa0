package console_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/console"
	"rutile/internal/grant"
	"rutile/internal/registry"
)

// TestNobodySeesARequestWithoutASession: the sign-in page is the same for every
// request, whether it is there or not.
func TestNobodySeesARequestWithoutASession(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{"item":"very secret tea"}`)
	none := "req_" + strings.Repeat("0", 26)
	b := r.browser()
	there, missing := b.get("/approve/"+req.ID), b.get("/approve/"+none)
	there.wants(t, "a request", http.StatusUnauthorized, `type="password"`, `autocomplete="off"`, `<label for="token">`)
	if strings.ReplaceAll(there.body, req.ID, none) != missing.body {
		t.Error("the sign-in page tells whether a request is there")
	}
	if strings.Contains(there.body, "secret") {
		t.Error("the sign-in page shows the arguments")
	}
	for _, cookie := range []string{"", "x", strings.Repeat("A", 43)} {
		b.cookies["rutile"] = cookie
		b.answer(req.ID, "approve").wants(t, "an answer", http.StatusUnauthorized, "nothing was done")
	}
	if got := r.state(req.ID); got.State != grant.RequestPending {
		t.Errorf("%+v", got)
	}
	for _, path := range []string{"/approve/", "/approve/req_1", "/approve/sign-in", "/approve/" + req.ID + "/x"} {
		if a := b.get(path); a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}

// TestEveryBadTokenGetsTheSameAnswer: also the operator's and an agent's.
func TestEveryBadTokenGetsTheSameAnswer(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{}`)
	good, revoked, suspended := r.token("ann"), r.token("ann"), r.token("bob")
	if err := r.admin.RevokeUserToken(t.Context(), keeper, "ann", revoked.ID, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := r.admin.ChangeUser(t.Context(), keeper, "bob", registry.VerbSuspend, "left"); err != nil {
		t.Fatal(err)
	}
	want := ""
	for name, token := range map[string]string{
		"none": "", "unknown": "rut_pat_" + strings.Repeat("0", 26) + "_" + strings.Repeat("A", 43), "revoked": revoked.Token, "of a suspended user": suspended.Token,
		"almost": good.Token[:len(good.Token)-1] + "!", "operator token": "rut_operator-token-of-forty-characters-in-all", "access token": "eyJhbGciOiJFZERTQSJ9.e30.c2ln",
	} {
		a := r.browser().do("POST", "/approve/sign-in", url.Values{"request": {req.ID}, "token": {token}})
		if want == "" {
			want = a.body
		}
		if a.status != http.StatusUnauthorized || a.body != want || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d, cookie %q: %s", name, a.status, a.header.Get("Set-Cookie"), text(a.body))
		}
		if token != "" && (strings.Contains(a.body, token) || strings.Contains(r.log.String(), token)) {
			t.Errorf("%s: the token is in the page or the log", name)
		}
	}
}

func TestATokenInAnAddressIsRefused(t *testing.T) {
	r := newRig(t)
	req, tok := r.ask(`{}`), r.token("ann").Token
	b := r.browser()
	b.get("/approve/"+req.ID+"?token="+tok).wants(t, "to look", http.StatusBadRequest, "revoke it")
	b.do("POST", "/approve/sign-in?token="+tok, url.Values{"request": {req.ID}}).wants(t, "to sign in", http.StatusBadRequest)
	b.get("/approve/sign-in?request="+req.ID+"&token="+tok).wants(t, "to sign in by a link", http.StatusBadRequest)
	b.change = func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+tok) }
	b.get("/approve/"+req.ID).wants(t, "as the API takes it", http.StatusUnauthorized)
	if len(b.cookies) != 0 || strings.Contains(r.log.String(), tok) {
		t.Errorf("cookies %v, log %s", b.cookies, r.log)
	}
}

func TestAFormOfSomebodyElseDoesNothing(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{"item":"tea"}`)
	b, other := r.signedIn("ann", req.ID), r.signedIn("bob", req.ID)
	own := b.form
	for name, form := range map[string]string{"none": "", "wrong": strings.Repeat("A", len(own)), "of another session": other.form, "the cookie": b.cookies["rutile"], "cut": own[:20]} {
		b.form = form
		b.answer(req.ID, "approve").wants(t, "approving with form "+name, http.StatusForbidden, "another session")
		b.answer(req.ID, "deny").wants(t, "denying with form "+name, http.StatusForbidden)
		b.do("POST", "/approve/sign-out", url.Values{"form": {form}}).wants(t, "signing out with form "+name, http.StatusForbidden)
	}
	b.form = own
	b.do("POST", "/approve/"+req.ID, url.Values{"form": {own, own}, "action": {"approve"}}).wants(t, "twice", http.StatusBadRequest)
	for name, change := range map[string]func(*http.Request){
		"another site": func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Origin", "https://evil.example")
		},
		"a site that writes our origin": func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"another port": func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "same-site")
			r.Header.Set("Origin", "http://127.0.0.1:9999")
		},
		"an old browser":        func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "https://evil.example") },
		"a sandboxed frame":     func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "null") },
		"a frame that pretends": func(r *http.Request) { r.Header.Set("Origin", "null") },
		"another scheme":        func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "https://"+host) },
		"nothing said":          func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Del("Origin") },
		"the address bar":       func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "none"); r.Header.Del("Origin") },
		"another Host":          func(r *http.Request) { r.Host = "evil.example:7434" },
		"a name of its own":     func(r *http.Request) { r.Host = "evil.example"; r.Header.Set("Origin", "http://evil.example") },
	} {
		b.change = change
		b.answer(req.ID, "approve").wants(t, "from "+name, http.StatusForbidden, "Nothing was done")
		b.do("POST", "/approve/sign-in", url.Values{"request": {req.ID}, "token": {"x"}}).wants(t, "signing in from "+name, http.StatusForbidden)
	}
	b.change = func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }
	b.answer(req.ID, "approve").wants(t, "no form", http.StatusBadRequest)
	b.change = func(r *http.Request) { r.Host = "rebound.example" }
	b.get("/approve/"+req.ID).wants(t, "reading under another Host", http.StatusForbidden)
	if got := r.state(req.ID); got.State != grant.RequestPending || len(got.Approvals) != 0 {
		t.Errorf("%+v", got)
	}
	b.change = func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
	b.get("/approve/"+req.ID).wants(t, "a link from elsewhere", http.StatusOK, "tea")
	b.change = func(r *http.Request) { r.Header.Del("Sec-Fetch-Site") }
	if a := b.answer(req.ID, "approve"); a.status != http.StatusSeeOther {
		t.Errorf("an old browser on our page: %d", a.status)
	}
}

// TestNobodyFramesOrAddsToAPage holds on every answer, also on refusals.
func TestNobodyFramesOrAddsToAPage(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{"item":"tea"}`)
	b := r.signedIn("ann", req.ID)
	bad := r.browser()
	bad.change = func(r *http.Request) { r.Host = "evil.example" }
	for name, a := range map[string]answer{
		"the page": b.get("/approve/" + req.ID), "sign-in": r.browser().get("/approve/" + req.ID), "nothing": b.get("/approve/x"),
		"conflict": b.answer(req.ID, "neither"), "another Host": bad.get("/approve/" + req.ID), "signed out": b.do("POST", "/approve/sign-out", url.Values{"form": {b.form}}),
	} {
		if name == "sign-in" { // it stands with the console's pages, which load their own style and script
			if csp := a.header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; style-src 'self' ") || !strings.Contains(csp, "script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'") {
				t.Errorf("sign-in: the policy is %q", csp)
			}
			for _, foreign := range []string{"<script>", " style=", " onclick", "<iframe", "http://www", "https://www", `src="//`} {
				if strings.Contains(a.body, foreign) {
					t.Errorf("sign-in: holds %q", foreign)
				}
			}
			continue
		}
		style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(a.body)
		if style == nil {
			t.Errorf("%s: no style: %s", name, a.body)
			continue
		}
		sum := sha256.Sum256([]byte(style[1]))
		want := map[string]string{
			"Content-Security-Policy": "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
			"X-Frame-Options":         "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Content-Type": "text/html; charset=utf-8",
		}
		for h, v := range want {
			if a.header.Get(h) != v {
				t.Errorf("%s: %s is %q, want %q", name, h, a.header.Get(h), v)
			}
		}
		for _, foreign := range []string{"<script", "<link", "<img", "http://www", "https://www", " style=", " onclick", "<iframe"} {
			if strings.Contains(a.body, foreign) {
				t.Errorf("%s: holds %q", name, foreign)
			}
		}
		if !strings.Contains(a.body, `<html lang="en">`) || strings.Count(a.body, "<h1") != 1 {
			t.Errorf("%s: no language, or not one heading", name)
		}
	}
}

func TestTheCookieIsForThisPageOnly(t *testing.T) {
	for name, c := range map[string]struct {
		public string
		change func(*http.Request)
		want   string
	}{
		"plain": {origin, nil, "rutile=*; Path=/; HttpOnly; SameSite=Strict"},
		"our own TLS": {"https://" + host, func(r *http.Request) {
			r.TLS = &tls.ConnectionState{}
			r.Header.Set("Origin", "https://"+host)
		}, "__Host-rutile=*; Path=/; HttpOnly; Secure; SameSite=Strict"},
		"TLS before us": {"https://" + host, func(r *http.Request) { r.Header.Set("Origin", "https://"+host) }, "__Host-rutile=*; Path=/; HttpOnly; Secure; SameSite=Strict"},
	} {
		r := newRig(t, func(cfg *console.Config) { cfg.Public = c.public })
		req := r.ask(`{}`)
		b := r.browser()
		b.change = c.change
		a := b.do("POST", "/approve/sign-in", url.Values{"request": {req.ID}, "token": {r.token("ann").Token}})
		if got := regexp.MustCompile(`=[A-Za-z0-9_-]{43};`).ReplaceAllString(a.header.Get("Set-Cookie"), "=*;"); got != c.want {
			t.Errorf("%s: %d, cookie %q, want %q", name, a.status, got, c.want)
		}
	}
}

// TestACookieOfTheSameNameBesideOursIsNoSession: a neighbour on the host can add
// one, and nobody can say which is ours.
func TestACookieOfTheSameNameBesideOursIsNoSession(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{}`)
	b, evil := r.signedIn("ann", req.ID), r.signedIn("bob", req.ID)
	b.change = func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "rutile", Value: evil.cookies["rutile"]}) }
	b.get("/approve/"+req.ID).wants(t, "two cookies", http.StatusUnauthorized)
}

func TestASessionEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end func(*rig, *browser, string)
	}{
		"unused for long": {func(r *rig, _ *browser, _ string) { r.clock.pass(15 * time.Minute) }},
		"old": {func(r *rig, b *browser, req string) {
			for range 6 {
				r.clock.pass(10*time.Minute - time.Millisecond)
				if a := b.get("/approve/" + req); a.status != http.StatusOK {
					r.t.Fatalf("a session in use ended early: %d", a.status)
				}
			}
			r.clock.pass(6 * time.Millisecond)
		}},
		"clock set back": {func(r *rig, _ *browser, _ string) { r.clock.pass(-time.Second) }},
		"token revoked": {func(r *rig, _ *browser, _ string) {
			u, _ := r.admin.Current().View.User("ann")
			if err := r.admin.RevokeUserToken(r.t.Context(), keeper, "ann", u.Tokens[0].ID, "lost"); err != nil {
				r.t.Fatal(err)
			}
		}},
		"user suspended": {func(r *rig, _ *browser, _ string) {
			if _, err := r.admin.ChangeUser(r.t.Context(), keeper, "ann", registry.VerbSuspend, "left"); err != nil {
				r.t.Fatal(err)
			}
		}},
		"signed out": {func(r *rig, b *browser, _ string) {
			cookie := b.cookies["rutile"]
			b.do("POST", "/approve/sign-out", url.Values{"form": {b.form}}).wants(r.t, "signing out", http.StatusOK, "The session is over")
			if len(b.cookies) != 0 {
				r.t.Errorf("the browser keeps %v", b.cookies)
			}
			b.cookies["rutile"] = cookie // stolen
		}},
	} {
		r := newRig(t)
		req := r.ask(`{}`, func(a *grant.Ask) { a.Entitlement = &grant.Entitlement{ID: "e", Ceiling: grant.Ceiling{Pending: 7200}} })
		b := r.signedIn("ann", req.ID)
		c.end(r, b, req.ID)
		b.answer(req.ID, "approve").wants(t, name, http.StatusUnauthorized, "othing was done", `type="password"`)
		b.get("/approve/"+req.ID).wants(t, name, http.StatusUnauthorized)
		if got := r.state(req.ID); got.State != grant.RequestPending {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestARoleIsAskedForAtEveryRequest: signing in gives no right.
func TestARoleIsAskedForAtEveryRequest(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{"item":"very secret tea"}`)
	vic := r.browser()
	a := vic.signIn(r.token("vic").Token, req.ID)
	a.wants(t, "a viewer", http.StatusForbidden, "needs the role")
	if strings.Contains(a.body, "secret") {
		t.Error("a viewer sees the arguments")
	}
	ann := r.signedIn("ann", req.ID)
	if _, err := r.admin.Apply(t.Context(), keeper, []admin.Document{{File: "m.yaml", Text: "kind: User\nid: ann\nroles: [viewer]\n"}}, false); err != nil {
		t.Fatal(err)
	}
	ann.answer(req.ID, "approve").wants(t, "who lost the role", http.StatusForbidden, "needs the role")
	if got := r.state(req.ID); got.State != grant.RequestPending {
		t.Errorf("%+v", got)
	}
}

func TestSignInsThatFailAreBounded(t *testing.T) {
	r := newRig(t)
	req, tok := r.ask(`{}`), r.token("ann").Token
	from := func(address, token string) answer {
		b := r.browser()
		b.change = func(r *http.Request) { r.RemoteAddr = address }
		return b.do("POST", "/approve/sign-in", url.Values{"request": {req.ID}, "token": {token}})
	}
	for range 50 { // success costs nothing
		if a := from("192.0.2.1:1", tok); a.status != http.StatusSeeOther {
			t.Fatalf("signing in: %d", a.status)
		}
	}
	for i := range 10 {
		if a := from(fmt.Sprintf("192.0.2.1:%d", i), "rut_pat_x"); a.status != http.StatusUnauthorized {
			t.Fatalf("attempt %d: %d", i, a.status)
		}
	}
	a := from("192.0.2.1:99", tok)
	a.wants(t, "the eleventh, whatever the token", http.StatusTooManyRequests, "Wait 6 seconds")
	if a.header.Get("Retry-After") != "6" {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	if a := from("192.0.2.2:1", tok); a.status != http.StatusSeeOther {
		t.Errorf("another address: %d", a.status)
	}
	r.clock.pass(7 * time.Second)
	if a := from("192.0.2.1:99", tok); a.status != http.StatusSeeOther {
		t.Errorf("after waiting: %d", a.status)
	}
	refused := 0
	for i := range 400 { // each from an address of its own
		if from(fmt.Sprintf("[2001:db8:%x::1]:1", i), "rut_pat_x").status == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused < 190 {
		t.Errorf("%d of 400 attempts from as many addresses were refused", refused)
	}
	if a := from("[2001:db8:ffff:0:1::]:1", "rut_pat_x"); a.status != http.StatusTooManyRequests {
		t.Errorf("one more: %d", a.status)
	}
}

// TestASessionIsOneOfFew: whoever signs in again and again loses the session
// unused for longest, and nobody else's.
func TestASessionIsOneOfFew(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{}`)
	first, other := r.signedIn("ann", req.ID), r.signedIn("bob", req.ID)
	tok := r.token("ann").Token
	var last *browser
	for range 8 {
		r.clock.pass(time.Millisecond)
		last = r.browser()
		last.signIn(tok, req.ID)
	}
	first.get("/approve/"+req.ID).wants(t, "the oldest", http.StatusUnauthorized)
	last.get("/approve/"+req.ID).wants(t, "the newest", http.StatusOK)
	other.get("/approve/"+req.ID).wants(t, "somebody else's", http.StatusOK)
}

func TestSigningInAgainEndsTheSessionBefore(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{}`)
	b := r.signedIn("ann", req.ID)
	old := &browser{rig: r, cookies: map[string]string{"rutile": b.cookies["rutile"]}}
	b.signIn(r.token("ann").Token, req.ID)
	if b.cookies["rutile"] == old.cookies["rutile"] {
		t.Error("the session kept its id")
	}
	old.get("/approve/"+req.ID).wants(t, "the one before", http.StatusUnauthorized)
}
