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

// TestSingleSignOnAgainstOIDCProvider signs a person in at a real provider: nobody while
// no user names who they are there, then that user, in the browser that was sent.
func TestSingleSignOnAgainstOIDCProvider(t *testing.T) {
	t.Parallel()
	issuer, _ := gatetest.OIDCProvider(t, "http://127.0.0.1/console/sign-in/back") // a native client may come back to any port
	r := newRig(t, func(c *daemon.Config) {
		c.SignIn = daemon.SignIn{Issuer: issuer, ClientID: "person", Name: "Corp"}
	})
	browser := func() *http.Client {
		jar, _ := cookiejar.New(nil) // never fails without options
		c := &http.Client{Jar: jar}
		t.Cleanup(c.CloseIdleConnections)
		return c
	}
	console := r.d.OperatorsURL + "/console/"
	field := func(body, name string) string {
		m := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(body)
		if m == nil {
			t.Fatalf("no %s in %s", name, body)
		}
		return html.UnescapeString(m[1])
	}
	away := func(c *http.Client) url.Values {
		_, body := visit(t, c, console+"sign-in/away", r.d.OperatorsURL, url.Values{"request": {"console/"}})
		link := regexp.MustCompile(`<a href="([^"]+)" rel="noreferrer">`).FindStringSubmatch(body)
		if link == nil {
			t.Fatalf("leaving: %s", body)
		}
		status, body := visit(t, c, html.UnescapeString(link[1]), "", nil)
		if status != http.StatusOK {
			t.Fatalf("coming back: %d %s", status, body)
		}
		return url.Values{"state": {field(body, "state")}, "iss": {field(body, "iss")}, "code": {field(body, "code")}}
	}
	finish := func(c *http.Client, f url.Values) (int, string) {
		return visit(t, c, console+"sign-in/back", r.d.OperatorsURL, f)
	}
	c := browser()
	if status, body := visit(t, c, console, "", nil); status != http.StatusUnauthorized || !strings.Contains(body, "Sign in with Corp") {
		t.Fatalf("the sign-in page: %d %s", status, body)
	}
	if status, body := finish(c, away(c)); status != http.StatusUnauthorized || !strings.Contains(html.UnescapeString(body), `subject: "ann"`) {
		t.Errorf("who no user names: %d %s", status, body)
	}
	r.apply("kind: User\nid: annie\nroles: [viewer]\nsubjects: [{issuer: \"" + issuer + "\", subject: ann}]\n---\nkind: User\nid: ann\nroles: [admin]\nemail: ann@example.com\n")
	back := away(c)
	if status, _ := finish(browser(), back); status != http.StatusUnauthorized {
		t.Errorf("in another browser: %d", status)
	}
	if status, body := finish(c, back); status != http.StatusOK || !strings.Contains(body, "user:annie") {
		t.Fatalf("signing in: %d %s", status, body)
	}
	if status, _ := finish(browser(), back); status != http.StatusUnauthorized {
		t.Errorf("the same answer again: %d", status)
	}
	if status, body := visit(t, c, console+"account", "", nil); status != http.StatusOK || !strings.Contains(body, "single sign-on") {
		t.Errorf("the account: %d %s", status, body)
	}
	r.apply("kind: User\nid: annie\nroles: [viewer]\n")
	if status, _ := visit(t, c, console, "", nil); status != http.StatusUnauthorized {
		t.Errorf("after the user names the subject no more: %d", status)
	}
}
