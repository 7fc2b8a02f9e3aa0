package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/audit"
	"rutile/internal/credential"
	"rutile/internal/registry"
)

const people = `kind: User
id: vic
roles: [viewer]
---
kind: User
id: aud
roles: [auditor]
---
kind: User
id: app
roles: [approver]
---
kind: User
id: oper
roles: [operator]
---
kind: User
id: root
roles: [admin]
---
kind: User
id: none
---
kind: Agent
id: reader
owner: team
`

// personal makes a personal token.
func (r *rig) personal(user string) admin.NewUserToken {
	r.t.Helper()
	var out admin.NewUserToken
	if err := json.Unmarshal([]byte(r.ok("POST", "/api/v1/users/"+user+"/tokens", "{}")), &out); err != nil {
		r.t.Fatal(err)
	}
	return out
}

// as calls the operators' address with another token.
func (r *rig) as(token, method, path, body string) answer {
	r.t.Helper()
	q := request(method, path, body)
	q.Header.Set("Authorization", "Bearer "+token)
	return r.serve(r.api.Remote(), q)
}

// TestEveryRouteIsAnOperation: a route that says nothing, or something nobody
// decides on, cannot be added.
func TestEveryRouteIsAnOperation(t *testing.T) {
	r := newRig(t)
	reads := map[string]bool{"POST /api/v1/diff": true, "POST /api/v1/policies/check": true, "POST /api/v1/policies/explain": true}
	guarded := []string{"GET /api/v1/users/{id}/tokens", "GET /api/v1/users/{id}/factors", "GET /api/v1/requests/{id}", "GET /api/v1/policies/simulate", "GET /api/v1/policies/suggest", "GET /api/v1/own/links", "GET /api/v1/reports/privileges", "GET /api/v1/servers/{id}/access"} // what they show is for who decides
	for pattern, op := range r.api.Operations() {
		if !slices.Contains(admin.Ops(), op) {
			t.Errorf("%s is the operation %q, which nobody decides on", pattern, op)
		}
		if changes := !strings.HasPrefix(pattern, "GET ") && !reads[pattern]; changes == (op == admin.OpRead || op == admin.OpEvidence) && !slices.Contains(guarded, pattern) {
			t.Errorf("%s is %s", pattern, op)
		}
	}
}

// TestRolesOpenTheirRoutesOnly walks every route as everybody, with bodies that
// are refused after the role was decided.
func TestRolesOpenTheirRoutesOnly(t *testing.T) {
	r := newRig(t)
	r.apply(people)
	read := []admin.Op{admin.OpRead, admin.OpReport}
	may := map[string][]admin.Op{
		"none": nil, "vic": slices.Clone(read), "aud": {admin.OpRead, admin.OpReport, admin.OpEvidence, admin.OpRehearse, admin.OpReview}, "app": {admin.OpRead, admin.OpReport, admin.OpDecide, admin.OpGrant, admin.OpBreak, admin.OpReview},
		"oper": {admin.OpRead, admin.OpReport, admin.OpApply, admin.OpAgent, admin.OpToken, admin.OpServer, admin.OpTool, admin.OpPolicy, admin.OpRehearse, admin.OpCredential, admin.OpReindex, admin.OpGrant, admin.OpBreak, admin.OpSession, admin.OpInventory, admin.OpFinding},
		"root": admin.Ops(),
	}
	for user, ops := range may {
		token, ops := r.personal(user).Token, append(ops, admin.OpOwn)
		for pattern, op := range r.api.Operations() {
			if pattern == "POST /api/v1/own/sign-in-link" {
				continue // it is for accounts, not for roles: TestALinkIsForAnAccountOfTheMachine
			}
			method, path, _ := strings.Cut(pattern, " ")
			path = strings.NewReplacer("{id}", "absent", "{server}", "absent", "{verb}", "retire", "{token}", "pat_x").Replace(path)
			if strings.HasPrefix(path, "/api/v1/audit") && method == "GET" {
				path += "?nonsense=1" // is refused before the first byte of a stream
			}
			a := r.as(token, method, path, map[string]string{"GET": "", "DELETE": ""}[method])
			if !slices.Contains(ops, op) {
				p := a.problem(t)
				if a.status != 403 || p.Code != access.CodeDenied || !strings.Contains(p.Detail, "needs the role") || !strings.Contains(p.Detail, string(op)) {
					t.Errorf("%s as %s: %d %s", pattern, user, a.status, a.body)
				}
			} else if a.status == 403 || a.status == 401 {
				t.Errorf("%s as %s: %d %s", pattern, user, a.status, a.body)
			}
		}
	}
}

// TestTokensThatDoNotCountGetOneAnswer: the same status, words and headers,
// whatever is wrong with them.
func TestTokensThatDoNotCountGetOneAnswer(t *testing.T) {
	r := newRig(t)
	r.apply(people)
	good, revoked, retired, suspended := r.personal("oper"), r.personal("oper"), r.personal("vic"), r.personal("aud")
	r.ok("POST", "/api/v1/users/oper/tokens/"+revoked.ID+"/revoke", `{"reason":"lost"}`)
	r.ok("POST", "/api/v1/users/vic/retire", "{}")
	r.ok("POST", "/api/v1/users/aud/suspend", "{}")
	before := r.d.Evidence.Size()
	want := r.as("x", "GET", "/api/v1/agents", "")
	for name, tok := range map[string]string{
		"revoked": revoked.Token, "retired": retired.Token, "suspended": suspended.Token, "unknown": "rut_pat_" + strings.Repeat("0", 26) + "_" + strings.Repeat("A", 43),
		"lower case": strings.ToLower(good.Token), "a prefix": good.Token[:len(good.Token)-1], "more": good.Token + "A", "its id": good.ID, "the marker": admin.UserTokenPrefix,
		"operator token's start": token[:len(token)-1], "both": good.Token + " " + token, "in quotes": `"` + good.Token + `"`,
	} {
		got := r.as(tok, "GET", "/api/v1/agents", "")
		if got.status != 401 || got.body != want.body || fmt.Sprint(got.header) != fmt.Sprint(want.header) {
			t.Errorf("%s: %d %s %v, want %s", name, got.status, got.body, got.header, want.body)
		}
	}
	for name, change := range map[string]func(*http.Request){
		"in the query":   func(q *http.Request) { q.URL.RawQuery = "access_token=" + good.Token + "&token=" + good.Token },
		"in a cookie":    func(q *http.Request) { q.AddCookie(&http.Cookie{Name: "token", Value: good.Token}) },
		"as a password":  func(q *http.Request) { q.SetBasicAuth("oper", good.Token) },
		"another scheme": func(q *http.Request) { q.Header.Set("Authorization", "Token "+good.Token) },
		"another header": func(q *http.Request) { q.Header.Set("X-Api-Key", good.Token) },
	} {
		q := request("GET", "/api/v1/agents", "")
		q.Header.Del("Authorization")
		change(q)
		if a := r.serve(r.api.Remote(), q); a.status != 401 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := r.as(good.Token, "GET", "/api/v1/agents", ""); a.status != 200 {
		t.Errorf("the one that counts: %d %s", a.status, a.body)
	}
	for name, change := range map[string]func(*http.Request){
		"another host":   func(q *http.Request) { q.Host = "evil.example" },
		"another origin": func(q *http.Request) { q.Header.Set("Origin", "http://evil.example") },
	} {
		q := request("GET", "/api/v1/agents", "")
		q.Header.Set("Authorization", "Bearer "+good.Token)
		change(q)
		if a := r.serve(r.api.Remote(), q); a.status != 403 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if got := r.d.Evidence.Size(); got != before {
		t.Errorf("%d leaves were written for nobody", got-before)
	}
	for _, secret := range []string{good.Token[35:], revoked.Token[35:]} {
		if strings.Contains(r.log.String(), secret) {
			t.Error("the log holds a token")
		}
	}
}

// TestAnAgentNeverActsHere: the access token of an agent, whatever it is for, is
// no token here, and the token of a person is none there.
func TestAnAgentNeverActsHere(t *testing.T) {
	r := newRig(t)
	r.apply(people + "---\nkind: Server\nid: files\nowner: team\ntransport: {http: {url: 'http://127.0.0.1:9/mcp'}}\nstate: sanctioned\n")
	for _, spec := range []string{`{"server":"files"}`, `{"server":"*"}`, `{"server":"files","subject":"root"}`, `{"server":"files","subject":"operator-token"}`} {
		var issued api.Token
		if err := json.Unmarshal([]byte(r.ok("POST", "/api/v1/agents/reader/token", spec)), &issued); err != nil {
			t.Fatal(err)
		}
		for _, pattern := range r.api.Patterns() {
			method, path, _ := strings.Cut(pattern, " ")
			path = strings.NewReplacer("{id}", "reader", "{server}", "files", "{verb}", "retire", "{token}", "pat_x").Replace(path)
			if a := r.as(issued.Token, method, path, "{}"); a.status != 401 {
				t.Fatalf("%s with %s: %d %s", pattern, spec, a.status, a.body)
			}
		}
	}
	for _, person := range []string{r.personal("root").Token, token} {
		q, err := http.NewRequestWithContext(t.Context(), "POST", r.d.AgentsURL+"/mcp/files", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer "+person)
		q.Header.Set("Content-Type", "application/json")
		q.Header.Set("Accept", "application/json, text/event-stream")
		res, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != 401 {
			t.Errorf("a person's token is an agent's: %d", res.StatusCode)
		}
	}
}

// TestASlowRequestIsDecidedAgain: who is retired while the body of the request
// still comes changes nothing any more.
func TestASlowRequestIsDecidedAgain(t *testing.T) {
	r := newRig(t)
	r.apply(people)
	tok := r.personal("oper")
	body := &slow{rest: strings.NewReader(`{"reason":"x"}`), before: func() { r.ok("POST", "/api/v1/users/oper/retire", "{}") }}
	q := httptest.NewRequest("POST", "http://"+host+"/api/v1/agents/reader/suspend", body)
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Authorization", "Bearer "+tok.Token)
	if a := r.serve(r.api.Remote(), q); a.status != 401 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if x, _ := r.d.Admin.Current().View.Agent("reader"); x.State != registry.AgentActive {
		t.Errorf("the agent is %s", x.State)
	}
}

// slow is a body that comes after something else has happened.
type slow struct {
	before func()
	rest   io.Reader
}

func (s *slow) Read(p []byte) (int, error) {
	if s.before != nil {
		s.before()
		s.before = nil
	}
	return s.rest.Read(p)
}

// TestAStreamEndsWithTheRight of whoever reads it, and not in an orderly way.
func TestAStreamEndsWithTheRight(t *testing.T) {
	for name, end := range map[string]func(*rig, admin.NewUserToken){
		"revoked":   func(r *rig, n admin.NewUserToken) { r.ok("POST", "/api/v1/users/aud/tokens/"+n.ID+"/revoke", "{}") },
		"suspended": func(r *rig, _ admin.NewUserToken) { r.ok("POST", "/api/v1/users/aud/suspend", "{}") },
		"no role":   func(r *rig, _ admin.NewUserToken) { r.apply("kind: User\nid: aud\nroles: [viewer]\n") },
	} {
		t.Run(name, func(t *testing.T) {
			ev := &fakeEvidence{}
			ev.add(audit.Row{Type: "verdict"})
			r := newRig(t, func(_ *api.Config, d *api.Deps) { d.Evidence = ev })
			r.apply(people)
			tok := r.personal("aud")
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				q.Host = host
				r.api.Remote().ServeHTTP(w, q)
			}))
			defer srv.Close()
			c, err := api.NewClient(srv.URL, tok.Token)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			seen, ended := make(chan bool, 1), make(chan error, 1)
			go func() {
				ended <- c.Tail(ctx, map[string][]string{"follow": {"true"}, "limit": {"1"}}, func(audit.Row) error {
					seen <- true
					return nil
				})
			}()
			select {
			case <-seen:
			case err := <-ended:
				t.Fatalf("the stream ended at once: %v", err)
			}
			end(r, tok)
			if err := <-ended; access.CodeOf(err) != access.CodeUnavailable {
				t.Errorf("the stream ended with %v", err)
			}
		})
	}
}

// TestTheSocketKnowsPeople: accounts that a user names act as that user; root and
// the gateway's own account are admins besides.
func TestTheSocketKnowsPeople(t *testing.T) {
	names := map[int]string{uid: "gateway", 1001: "vic-account", 1002: "off-account", 0: "root"}
	r := newRig(t, func(c *api.Config, _ *api.Deps) { c.Account = func(uid int) string { return names[uid] } })
	r.apply(people + `---
kind: User
id: local
roles: [viewer]
localUsers: [vic-account, 4711]
---
kind: User
id: off
roles: [admin]
localUsers: [off-account]
state: suspended
---
kind: User
id: clash
roles: [admin]
localUsers: ["1001"]
`)
	ask := func(uid int, method, path, body string) answer {
		q := request(method, path, body)
		q.Header.Del("Authorization")
		return r.serve(r.api.Local(), q.WithContext(api.WithPeer(q.Context(), uid, nil)))
	}
	// 1001 is named by two users, by name and by uid: nobody can say who calls.
	if a := ask(1001, "GET", "/api/v1/agents", ""); a.status != 403 || !strings.Contains(a.body, "clash, local") {
		t.Errorf("named by two: %d %s", a.status, a.body)
	}
	r.ok("POST", "/api/v1/users/clash/retire", "{}")
	for name, c := range map[string]struct {
		uid          int
		method, path string
		want         int
	}{
		"a user reads":              {1001, "GET", "/api/v1/agents", 200},
		"a user changes":            {1001, "POST", "/api/v1/agents/reader/suspend", 403},
		"a user's evidence":         {1001, "GET", "/api/v1/audit", 403},
		"a suspended user":          {1002, "GET", "/api/v1/agents", 403},
		"nobody":                    {1003, "GET", "/api/v1/agents", 403},
		"the gateway's, as a user":  {uid, "POST", "/api/v1/agents/reader/suspend", 200},
		"root, whom no user names":  {0, "GET", "/api/v1/audit", 200},
		"another, whom none names":  {65534, "GET", "/api/v1/status", 403},
		"the number minus the sign": {-1001, "GET", "/api/v1/status", 403},
	} {
		body := map[string]string{"POST": "{}"}[c.method]
		if a := ask(c.uid, c.method, c.path, body); a.status != c.want {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	x, _ := r.d.Admin.Current().View.Agent("reader")
	if x.StateBy != "user:local" {
		t.Errorf("the gateway's account is recorded as %q", x.StateBy)
	}
	// A session that was let in ends with its user.
	r.ok("POST", "/api/v1/users/local/suspend", "{}")
	if a := ask(1001, "GET", "/api/v1/agents", ""); a.status != 403 {
		t.Errorf("after suspension: %d", a.status)
	}
	if a := ask(uid, "POST", "/api/v1/agents/reader/resume", "{}"); a.status != 200 {
		t.Errorf("the gateway's own account after suspension: %d %s", a.status, a.body)
	}
	x, _ = r.d.Admin.Current().View.Agent("reader")
	if x.StateBy != fmt.Sprintf("local:%d", uid) {
		t.Errorf("it is recorded as %q", x.StateBy)
	}
}

// TestSystemNamesAccounts: without a function of its own the API asks the system
// for the name of an account.
func TestSystemNamesAccounts(t *testing.T) {
	r := newRig(t)
	r.apply("kind: User\nid: keeper\nroles: [viewer]\nlocalUsers: [root]\n")
	q := request("GET", "/api/v1/agents", "")
	q.Header.Del("Authorization")
	q = q.WithContext(api.WithPeer(q.Context(), 0, nil))
	if a := r.serve(r.api.Local(), q); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	body := request("POST", "/api/v1/agents", `{"id":"made","owner":"team"}`)
	body.Header.Del("Authorization")
	if a := r.serve(r.api.Local(), body.WithContext(api.WithPeer(body.Context(), 0, nil))); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	x, _ := r.d.Admin.Current().View.Agent("made")
	if _, err := os.Stat("/etc/passwd"); err == nil && x.StateBy != "user:keeper" {
		t.Errorf("root is recorded as %q", x.StateBy)
	}
}

// TestHashesStayInside: what is shown of a user or a token is never its hash.
func TestHashesStayInside(t *testing.T) {
	r := newRig(t)
	r.apply(people)
	tok := r.personal("oper")
	r.ok("GET", "/api/v1/users/oper", "")
	for _, path := range []string{"users", "users/oper", "users/oper/tokens", "export"} {
		if got := r.ok("GET", "/api/v1/"+path, ""); strings.Contains(got, "hash") || strings.Contains(got, tok.Token[35:]) {
			t.Errorf("%s shows %s", path, got)
		}
	}
	for _, body := range []string{`{"seconds":-1}`, `{"seconds":31536001}`, `{"seconds":1}`, `{"name":"a\u202e"}`, `{"user":"root"}`} {
		if a := r.do("POST", "/api/v1/users/oper/tokens", body); a.status != 400 {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
}

// TestPeopleSeeAndEndTheirOwnConnections: whatever their roles, by a personal token,
// and nobody else's; the operator token is no person.
func TestPeopleSeeAndEndTheirOwnConnections(t *testing.T) {
	r := newRig(t)
	r.apply("kind: User\nid: ann\n---\nkind: User\nid: bob\nroles: [admin]\n")
	for user, want := range map[string]string{"ann": "lnk_1", "bob": "lnk_2"} {
		token := r.personal(user).Token
		var page api.Page[credential.Link]
		a := r.as(token, "GET", "/api/v1/own/links", "")
		if err := json.Unmarshal([]byte(a.body), &page); err != nil || len(page.Items) != 1 || page.Items[0].ID != want {
			t.Errorf("%s sees %d %s", user, a.status, a.body)
		}
		for _, id := range []string{"lnk_1", "lnk_2", "lnk_3"} {
			status := map[bool]int{true: 200, false: 404}[id == want]
			if a := r.as(token, "DELETE", "/api/v1/own/links/"+id, ""); a.status != status {
				t.Errorf("%s ends %s: %d %s", user, id, a.status, a.body)
			}
		}
	}
	if a := r.as(r.personal("ann").Token, "GET", "/api/v1/links", ""); a.status != 403 {
		t.Errorf("everybody's: %d", a.status)
	}
	for _, method := range []string{"GET /api/v1/own/links", "DELETE /api/v1/own/links/lnk_1"} {
		verb, path, _ := strings.Cut(method, " ")
		if a := r.as(token, verb, path, ""); a.status != 403 || !strings.Contains(a.body, "only a person") {
			t.Errorf("%s by the operator token: %d %s", method, a.status, a.body)
		}
	}
}
