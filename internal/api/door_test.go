package api_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/daemon"
)

// TestNoTokenNoAnswer: no route says or changes anything for whoever does not
// hold the token, comes from another origin or names another host.
func TestNoTokenNoAnswer(t *testing.T) {
	r := newRig(t)
	before := r.d.Evidence.Size()
	for _, pattern := range append(r.api.Patterns(), "GET /api/v1/nothing", "DELETE /api/v1/agents") {
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.NewReplacer("{id}", "x", "{server}", "x", "{verb}", "approve").Replace(path)
		for name, c := range map[string]struct {
			change func(*http.Request)
			want   int
		}{
			"no token":           {func(q *http.Request) { q.Header.Del("Authorization") }, 401},
			"an empty token":     {func(q *http.Request) { q.Header.Set("Authorization", "Bearer ") }, 401},
			"a part of it":       {func(q *http.Request) { q.Header.Set("Authorization", "Bearer "+token[:len(token)-1]) }, 401},
			"more than it":       {func(q *http.Request) { q.Header.Set("Authorization", "Bearer "+token+"x") }, 401},
			"another scheme":     {func(q *http.Request) { q.Header.Set("Authorization", "Basic "+token) }, 401},
			"in the query":       {func(q *http.Request) { q.Header.Del("Authorization"); q.URL.RawQuery = "access_token=" + token }, 401},
			"another host":       {func(q *http.Request) { q.Host = "evil.example" }, 403},
			"another port":       {func(q *http.Request) { q.Host = "127.0.0.1:80" }, 403},
			"no host":            {func(q *http.Request) { q.Host = "" }, 403},
			"another origin":     {func(q *http.Request) { q.Header.Set("Origin", "http://evil.example") }, 403},
			"another port's":     {func(q *http.Request) { q.Header.Set("Origin", "http://127.0.0.1:7433") }, 403},
			"a null origin":      {func(q *http.Request) { q.Header.Set("Origin", "null") }, 403},
			"a rebound address":  {func(q *http.Request) { q.Host = "evil.example"; q.Header.Set("Origin", "http://evil.example") }, 403},
			"host of the origin": {func(q *http.Request) { q.Header.Set("Origin", "http://evil.example/"+host) }, 403},
		} {
			q := request(method, path, "{}")
			c.change(q)
			a := r.serve(r.api.Remote(), q)
			if p := a.problem(t); a.status != c.want || p.Status != c.want || p.Detail == "" {
				t.Errorf("%s, %s: %d %s, want %d", pattern, name, a.status, a.body, c.want)
			}
			if strings.Contains(a.body, token) {
				t.Errorf("%s, %s: the answer holds the token", pattern, name)
			}
		}
	}
	if got := r.d.Evidence.Size(); got != before {
		t.Errorf("%d leaves were written for nobody", got-before)
	}
	if strings.Contains(r.log.String(), token) {
		t.Error("the log holds the token")
	}
}

// TestBrowsersOfOtherSitesChangeNothing: what a page elsewhere can send without
// asking, with the token guessed right, is refused all the same.
func TestBrowsersOfOtherSitesChangeNothing(t *testing.T) {
	r := newRig(t)
	for _, site := range []string{"cross-site", "same-site"} {
		q := request("POST", "/api/v1/agents", `{"id":"evil","owner":"x"}`)
		q.Header.Set("Sec-Fetch-Site", site)
		if a := r.serve(r.api.Remote(), q); a.status != 403 {
			t.Errorf("%s: %d %s", site, a.status, a.body)
		}
	}
	for _, ct := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""} {
		q := request("POST", "/api/v1/agents", `{"id":"evil","owner":"x"}`)
		q.Header.Set("Content-Type", ct)
		if a := r.serve(r.api.Remote(), q); a.status != 400 {
			t.Errorf("%q: %d %s", ct, a.status, a.body)
		}
	}
	if n := len(r.d.Admin.Current().View.Agents()); n != 0 {
		t.Errorf("%d agents were made", n)
	}
	q := request("POST", "/api/v1/agents", `{"id":"honest","owner":"x"}`)
	q.Header.Set("Content-Type", "application/json; charset=utf-8")
	q.Header.Set("Origin", "http://"+host)
	if a := r.serve(r.api.Remote(), q); a.status != 200 {
		t.Errorf("our own page: %d %s", a.status, a.body)
	}
}

// TestSocketAnswersToItsUserAndRoot: whom the system names decides, and whom it
// cannot name is nobody. The token opens nothing there.
func TestSocketAnswersToItsUserAndRoot(t *testing.T) {
	r := newRig(t)
	plain := func(ctx context.Context) context.Context { return ctx }
	as := func(uid int, err error) func(context.Context) context.Context {
		return func(ctx context.Context) context.Context { return api.WithPeer(ctx, uid, err) }
	}
	for name, c := range map[string]struct {
		peer func(context.Context) context.Context
		want int
	}{
		"its user":          {as(uid, nil), 200},
		"root":              {as(0, nil), 200},
		"another user":      {as(uid+1, nil), 403},
		"nobody":            {as(65534, nil), 403},
		"minus one":         {as(-1, nil), 403},
		"unknown":           {as(uid, errors.New("getsockopt: bad file descriptor")), 401},
		"root, but unknown": {as(0, errors.New("getsockopt: bad file descriptor")), 401},
		"no connection":     {plain, 401},
		"a TCP connection":  {func(ctx context.Context) context.Context { return api.ConnContext(ctx, &net.TCPConn{}) }, 401},
		"a closed socket":   {func(ctx context.Context) context.Context { return api.ConnContext(ctx, &net.UnixConn{}) }, 401},
	} {
		for _, path := range []string{"/api/v1/agents", "/api/v1/status"} {
			q := request("GET", path, "")
			a := r.serve(r.api.Local(), q.WithContext(c.peer(q.Context())))
			if a.status != c.want {
				t.Errorf("%s: %d %s, want %d", name, a.status, a.body, c.want)
			}
			if strings.Contains(a.body, "getsockopt") {
				t.Errorf("%s: the answer shows the cause: %s", name, a.body)
			}
		}
	}
}

// TestLocalActorComesFromTheKernel: a real socket of a real daemon records the
// user of this process.
func TestLocalActorComesFromTheKernel(t *testing.T) {
	d := startDaemon(t)
	c := api.NewSocketClient(filepath.Join(d.Config.Data, daemon.SocketName), "")
	if _, err := c.Apply(t.Context(), nil); access.CodeOf(err) != access.CodeInvalid {
		t.Fatalf("applying nothing: %v, want invalid", err)
	}
	if _, err := c.SetCredential(t.Context(), "key", api.CredentialSpec{Value: []byte(secretValue)}); err != nil {
		t.Fatal(err)
	}
	found, err := c.Search(t.Context(), url.Values{"type": {"admin"}})
	if err != nil || len(found.Items) != 1 {
		t.Fatalf("found %v, %v", found.Items, err)
	}
	if want := fmt.Sprintf("local:%d", os.Getuid()); found.Items[0].Actor != want {
		t.Errorf("recorded as %q, want %q", found.Items[0].Actor, want)
	}
}

// TestCredentialsNeverComeOut: a value goes in by every door and every mistake,
// and is then in no answer, no error, no log line and no evidence.
func TestCredentialsNeverComeOut(t *testing.T) {
	r := newRig(t)
	var said strings.Builder
	b64 := base64.StdEncoding.EncodeToString([]byte(secretValue))
	for _, step := range []struct {
		method, path, body string
		want               int
	}{
		{"PUT", "key", `{"value":"` + b64 + `","servers":["up"],"maxTier":2}`, 200},
		{"PUT", "key", `{"value":"` + b64 + `"}`, 409},
		{"PUT", "Not-An-Id", `{"value":"` + b64 + `"}`, 400},
		{"PUT", "far", `{"value":"` + b64 + `","origins":["nowhere"]}`, 400},
		{"PUT", "high", `{"value":"` + b64 + `","maxTier":4}`, 400},
		{"PUT", "big", `{"value":"` + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(secretValue, 1000))) + `"}`, 413},
		{"PUT", "huge", `{"value":"` + strings.Repeat(b64, 20000) + `"}`, 413},
		{"PUT", "raw", `{"value":"` + secretValue + `"}`, 400},
		{"PUT", "nested", `{"value":{"x":"` + secretValue + `"}}`, 400},
		{"PUT", "cut", `{"value":"` + secretValue, 400},
		{"PUT", "bare", `"` + secretValue + `"`, 400},
		{"PUT", "text", secretValue, 400},
		{"PUT", "twice", `{"value":"` + b64 + `","value":"` + b64 + `"}`, 400},
		{"PUT", "type", `{"value":"` + b64 + `","maxTier":"` + secretValue + `"}`, 400},
		{"POST", "key/rotate", `{"value":"` + b64 + `"}`, 200},
		{"POST", "key/rotate", `{"value":"` + b64 + `","origins":["https://evil.example"]}`, 400},
		{"POST", "key/rotate", `{"value":"` + b64 + `","servers":[]}`, 400},
		{"POST", "key/rotate", `{"value":"` + b64 + `","maxTier":3}`, 400},
		{"POST", "absent/rotate", `{"value":"` + b64 + `"}`, 404},
	} {
		a := r.do(step.method, "/api/v1/credentials/"+step.path, step.body)
		if a.status != step.want {
			t.Errorf("%s %s %.60s: %d %s, want %d", step.method, step.path, step.body, a.status, a.body, step.want)
		}
		said.WriteString(a.body)
	}
	said.WriteString(r.ok("GET", "/api/v1/credentials", "") + r.ok("GET", "/api/v1/export", ""))
	said.WriteString(r.do("DELETE", "/api/v1/credentials/key", "").body + r.log.String())
	c := api.NewSocketClient(filepath.Join(r.d.Config.Data, daemon.SocketName), "")
	rows, err := c.Search(t.Context(), url.Values{"type": {"admin"}})
	if err != nil || len(rows.Items) == 0 {
		t.Fatalf("no evidence: %v", err)
	}
	for _, row := range rows.Items {
		leaves, err := c.Leaves(t.Context(), fmt.Sprint(row.Index))
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(leaves)
		if err != nil {
			t.Fatal(err)
		}
		said.Write(b)
	}
	if !strings.Contains(said.String(), "rotate Credential key") {
		t.Error("the rotation is not in evidence")
	}
	for _, form := range []string{secretValue, b64, b64[:16]} {
		if strings.Contains(said.String(), form) {
			t.Errorf("%q came out: %s", form, said.String())
		}
	}
}

// serveClient serves the operators' address and returns a client of it.
func (r *rig) serveClient(t *testing.T) (*api.Client, func()) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		q.Host = host
		r.api.Remote().ServeHTTP(w, q)
	}))
	c, err := api.NewClient(srv.URL, token)
	if err != nil {
		t.Fatal(err)
	}
	return c, srv.Close
}

// TestClientKeepsItsToken: not in clear to elsewhere, not to another host by a
// redirect.
func TestClientKeepsItsToken(t *testing.T) {
	for _, base := range []string{"http://10.0.0.1:7434", "http://example.com", "http://0.0.0.0:1", "http://localhost.evil.example", "ftp://127.0.0.1", "127.0.0.1:7434", "", "http://"} {
		if _, err := api.NewClient(base, token); access.CodeOf(err) != access.CodeUsage {
			t.Errorf("%q: %v, want a usage error", base, err)
		}
	}
	stolen := make(chan string, 1)
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stolen <- r.Header.Get("Authorization") }))
	defer thief.Close()
	detour := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer detour.Close()
	c, err := api.NewClient(detour.URL, token)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.SetCredential(t.Context(), "key", api.CredentialSpec{Value: []byte(secretValue)}); err == nil {
		t.Error("a redirect was taken for an answer")
	}
	select {
	case got := <-stolen:
		t.Errorf("the request went to another host with %q", got)
	default:
	}
}

// TestClientSaysWhatAnswers: what is no gateway is named, not decoded.
func TestClientSaysWhatAnswers(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"a page":            func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"an error page":     func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", 500) },
		"half a problem":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403); fmt.Fprint(w, `{"code":"denied"}`) },
		"it hangs up":       func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"another structure": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"items":"x"}`) },
	} {
		s := httptest.NewServer(h)
		c, err := api.NewClient(s.URL, token)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Agents(t.Context(), api.ListOptions{}); access.CodeOf(err) != access.CodeUnavailable {
			t.Errorf("%s: %v, want unavailable", name, err)
		}
		s.Close()
	}
	c := api.NewSocketClient(filepath.Join(t.TempDir(), "absent"), "start it with: rutile up")
	if _, err := c.Status(t.Context()); access.CodeOf(err) != access.CodeUnavailable || !strings.Contains(err.Error(), "start it with: rutile up") {
		t.Errorf("no gateway: %v", err)
	}
}
