package gatetest_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

const asksAPerson = `
---
kind: Entitlement
id: echoing
owner: team
agents: [bot]
tools: ["up/*"]
approve: quorum:1
---
kind: User
id: ann
roles: [approver]
`

// visit sends a form, or looks at a page where there is none.
func visit(t *testing.T, c *http.Client, page, origin string, form url.Values) (int, string) {
	t.Helper()
	method, body := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(t.Context(), method, page, body)
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", origin)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestAPersonLetsOneCallThroughOnThePage goes the whole way: an agent is told to
// wait, a person signs in and approves, and exactly that call goes through, once.
func TestAPersonLetsOneCallThroughOnThePage(t *testing.T) {
	u := newUpstream(t)
	r := newRig(t)
	r.apply(strings.ReplaceAll(strings.ReplaceAll(governs, "UP", u.URL+"/mcp"), "tools: [\"up/*\"]\n", "")+asksAPerson, "up")
	token := r.token("bot", "up")
	const args = `{"text":"say <i>this</i>"}`
	first := r.call(token, "up", "echo", args)
	m := regexp.MustCompile(`"request":"(req_[0-9A-Z]{26})"`).FindStringSubmatch(first.body)
	if m == nil || u.count() != 0 {
		t.Fatalf("no request in %s", first.body)
	}
	person, err := r.d.Admin.CreateUserToken(t.Context(), operator, "ann", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	jar, _ := cookiejar.New(nil) // never fails without options
	c := &http.Client{Jar: jar}
	t.Cleanup(c.CloseIdleConnections)
	page := r.d.ApprovalURL(m[1])
	if want := r.d.OperatorsURL + "/approve/" + m[1]; page != want {
		t.Errorf("the page is at %s, want %s", page, want)
	}
	if status, body := visit(t, c, page, "", nil); status != http.StatusUnauthorized || strings.Contains(body, "say ") {
		t.Fatalf("without a session: %d %s", status, body)
	}
	status, body := visit(t, c, r.d.OperatorsURL+"/approve/sign-in", r.d.OperatorsURL, url.Values{"request": {m[1]}, "token": {person.Token}})
	form := regexp.MustCompile(`name="form" value="([^"]+)"`).FindStringSubmatch(body)
	if status != http.StatusOK || form == nil || !strings.Contains(body, "say &lt;i&gt;this&lt;/i&gt;") {
		t.Fatalf("signing in: %d %s", status, body)
	}
	status, body = visit(t, c, page, r.d.OperatorsURL, url.Values{"form": {form[1]}, "action": {"approve"}})
	if status != http.StatusOK || !strings.Contains(body, "State: issued") {
		t.Fatalf("approving: %d %s", status, body)
	}
	if other := r.call(token, "up", "echo", `{"text":"say that"}`); !strings.Contains(other.body, `"request":"req_`) || u.count() != 0 {
		t.Errorf("another call: %s", other.body)
	}
	if again := r.call(token, "up", "echo", args); strings.Contains(again.body, "Denied") || u.count() != 1 {
		t.Errorf("the approved call: %s", again.body)
	}
	if third := r.call(token, "up", "echo", args); u.count() != 1 || strings.Contains(third.body, m[1]) {
		t.Errorf("it went through twice, or waits for the old answer: %s", third.body)
	}
	if _, body = visit(t, c, page, "", nil); !strings.Contains(body, "exhausted") {
		t.Errorf("the page after it: %s", body)
	}
	h := http.Header{"Host": {"rebound.example"}, "Content-Type": {"application/x-www-form-urlencoded"}, "Origin": {"http://rebound.example"}}
	if again := post(t, page, h, "action=approve"); again.status != http.StatusForbidden || !strings.Contains(again.body, "does not answer to that Host") {
		t.Errorf("under another Host: %d %s", again.status, again.body)
	}
	if strings.Contains(r.logs.String(), person.Token) || strings.Contains(r.logs.String(), form[1]) {
		t.Error("the log holds a secret")
	}
}
