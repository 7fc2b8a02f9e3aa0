package gatetest_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"rutile/internal/grant"
)

// TestAnAgentNeverApproves: with the token of an agent, for nobody or for the very person
// who may approve, nothing that decides is done, at the operators' address and at the
// agents' own; and a personal token opens nothing at the agents' address, so that an
// agent's session holds no person's account (access.md, invariant 10).
func TestAnAgentNeverApproves(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r := newRig(t)
	r.apply(strings.ReplaceAll(strings.ReplaceAll(governs, "UP", u.URL+"/mcp"), "tools: [\"up/*\"]\n", "")+asksAPerson, "up")
	person, err := r.d.Admin.CreateUserToken(t.Context(), operator, "ann", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{"for nobody": r.token("bot", "up"), "for the approver": r.subjectToken("bot", "ann"), "of its own tools": r.token("bot", "rutile")} {
		asked := r.call(r.subjectToken("bot", "ann"), "up", "echo", `{"text":"`+name+`"}`)
		m := regexp.MustCompile(`"request":"(req_[0-9A-Z]{26})"`).FindStringSubmatch(asked.body)
		if m == nil {
			t.Fatalf("%s: no request in %s", name, asked.body)
		}
		for path, body := range map[string]string{
			"/api/v1/requests/" + m[1] + "/approve": `{}`,
			"/api/v1/requests/" + m[1] + "/deny":    `{}`,
			"/api/v1/grants":                        `{"agent":"bot","server":"up","tool":"echo","seconds":600}`,
			"/api/v1/grants/break-glass":            `{"agent":"bot","server":"up","tool":"echo","reason":"x"}`,
		} {
			for _, at := range []string{r.d.OperatorsURL, r.d.AgentsURL} {
				h := http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}
				if got := post(t, at+path, h, body); got.status != http.StatusUnauthorized && got.status != http.StatusNotFound {
					t.Errorf("%s: POST %s%s: %d %s", name, at, path, got.status, got.body)
				}
			}
		}
		sign := visitForm(t, r.d.OperatorsURL+"/approve/sign-in", r.d.OperatorsURL, url.Values{"request": {m[1]}, "token": {token}})
		if sign == http.StatusOK || sign == http.StatusSeeOther {
			t.Errorf("%s: an agent's token signs in: %d", name, sign)
		}
		if q, err := r.d.Desk.Request(t.Context(), m[1]); err != nil || q.State != grant.RequestPending || len(q.Approvals) != 0 {
			t.Errorf("%s: the request is %s, %+v, %v", name, q.State, q.Approvals, err)
		}
	}
	for _, server := range []string{"up", "rutile", ""} {
		if got := r.call(person.Token, server, "rutile_access_status", `{}`); got.status != http.StatusUnauthorized {
			t.Errorf("a personal token at /mcp/%s: %d %s", server, got.status, got.body)
		}
	}
	if got := r.modern(r.token("bot", "rutile"), "tools/list", "", ""); strings.Contains(got.body, "approve\"") || strings.Contains(got.body, "grant_create") {
		t.Errorf("the gateway's own tools: %s", got.body)
	}
	if u.count() != 0 {
		t.Errorf("%d calls passed", u.count())
	}
}

// visitForm posts a form and returns the status.
func visitForm(t *testing.T, at, origin string, form url.Values) int {
	t.Helper()
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(c.CloseIdleConnections)
	status, _ := visit(t, c, at, origin, form)
	return status
}
