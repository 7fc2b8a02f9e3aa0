package gatetest_test

import (
	"html"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"rutile/internal/daemon"
	"rutile/internal/gatetest"
)

// TestBackChannelLogoutAgainstOIDCProvider signs a person out at a real provider, which
// says so: every session of theirs ends here, and the same token counts once.
func TestBackChannelLogoutAgainstOIDCProvider(t *testing.T) {
	t.Parallel()
	issuer, _ := gatetest.OIDCProvider(t, "http://127.0.0.1/console/sign-in/back")
	r := newRig(t, func(c *daemon.Config) {
		c.SignIn = daemon.SignIn{Issuer: issuer, ClientID: "person", Name: "Corp"}
	})
	r.apply("kind: User\nid: annie\nroles: [viewer]\nsubjects: [{issuer: \"" + issuer + "\", subject: ann}]\n")
	console := r.d.OperatorsURL + "/console/"
	put, err := http.NewRequestWithContext(t.Context(), http.MethodPut, issuer+"/relay", strings.NewReader(console+"sign-in/logout"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(put)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	enter := func() *http.Client {
		jar, _ := cookiejar.New(nil) // never fails without options
		c := &http.Client{Jar: jar}
		t.Cleanup(c.CloseIdleConnections)
		_, body := visit(t, c, console+"sign-in/away", r.d.OperatorsURL, url.Values{"request": {"console/"}})
		link := regexp.MustCompile(`<a href="([^"]+)" rel="noreferrer">`).FindStringSubmatch(body)
		_, body = visit(t, c, html.UnescapeString(link[1]), "", nil)
		f := url.Values{}
		for _, m := range regexp.MustCompile(`name="(state|iss|code)" value="([^"]*)"`).FindAllStringSubmatch(body, -1) {
			f.Set(m[1], html.UnescapeString(m[2]))
		}
		if status, body := visit(t, c, console+"sign-in/back", r.d.OperatorsURL, f); status != http.StatusOK || !strings.Contains(body, "user:annie") {
			t.Fatalf("signing in: %d %s", status, body)
		}
		return c
	}
	first, other := enter(), enter()
	_, body := visit(t, first, issuer+"/session/end?client_id=person", "", nil)
	xsrf := regexp.MustCompile(`name="xsrf" value="([^"]+)"`).FindStringSubmatch(body)
	if xsrf == nil {
		t.Fatalf("the provider asks for no confirmation: %s", body)
	}
	if status, body := visit(t, first, issuer+"/session/end/confirm", issuer, url.Values{"xsrf": {xsrf[1]}, "logout": {"yes"}}); status != http.StatusOK {
		t.Fatalf("signing out at the provider: %d %s", status, body)
	}
	for name, c := range map[string]*http.Client{"the browser": first, "another browser of theirs": other} {
		if status, _ := visit(t, c, console, "", nil); status != http.StatusUnauthorized {
			t.Errorf("%s after the logout: %d", name, status)
		}
	}
	_, said := visit(t, http.DefaultClient, issuer+"/relay", "", nil)
	if !strings.HasPrefix(said, "logout_token=") {
		t.Fatalf("the provider said %q", said)
	}
	token, err := url.ParseQuery(said)
	if err != nil {
		t.Fatal(err)
	}
	again := enter()
	if status, body := visit(t, http.DefaultClient, console+"sign-in/logout", "", token); status != http.StatusBadRequest || !strings.Contains(body, "invalid_request") {
		t.Errorf("the same token again: %d %s", status, body)
	}
	if status, _ := visit(t, http.DefaultClient, console+"sign-in/logout", "", url.Values{"logout_token": {token.Get("logout_token") + "x"}}); status != http.StatusBadRequest {
		t.Errorf("a forged token: %d", status)
	}
	if status, _ := visit(t, again, console, "", nil); status != http.StatusOK {
		t.Errorf("who signed in anew is signed out by what was said before: %d", status)
	}
}
