package credential_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/credential"
)

func githubSource(url string) credential.GitHubApp {
	return credential.GitHubApp{
		URL: url, App: githubAppID, Installation: 4711, Owner: "acme", Key: "key",
		Rules: []credential.GitHubRule{
			{For: credential.For{Tools: []string{"create_issue"}}, Argument: "/repo", OwnerArgument: "/owner", Permissions: map[string]string{"issues": "write"}},
			{For: credential.For{Tools: []string{"get_*"}}, Argument: "/repository", Permissions: map[string]string{"contents": "read"}},
			{For: credential.For{Tools: []string{"search"}}, All: true, Permissions: map[string]string{"contents": "read"}},
			{For: credential.For{Tools: []string{"admin"}}, Repositories: []string{"site"}, Permissions: map[string]string{"administration": "write"}},
			{For: credential.For{Discovery: true}, Repositories: []string{"site", "tools"}, Permissions: map[string]string{"metadata": "read"}},
		},
	}
}

func githubMint(t *testing.T, g *githubServer, s credential.GitHubApp, tool, args string) (credential.Minted, error) {
	t.Helper()
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	i := issuersOf(t, map[string]string{"key": g.pem()}, nil)
	return i.Minters()[credential.SourceGitHubApp].Mint(t.Context(), callOf(credential.Source{ID: "gh", GitHubApp: &s}, tool, args))
}

func TestGitHubTokenIsForTheCall(t *testing.T) {
	g := newGitHub(t)
	m, err := githubMint(t, g, githubSource(g.URL), "create_issue", `{"owner":"Acme","repo":"site","title":"x"}`)
	if err != nil {
		t.Fatal(err)
	}
	token := string(m.Values["secret"])
	sum := sha256.Sum256([]byte(token))
	want := []string{"sha256:" + base64.StdEncoding.EncodeToString(sum[:]), "repository acme/site with issues:write", ""}
	if diff := cmp.Diff(want, []string{m.Version, m.Narrowed, m.Reuse}); diff != "" {
		t.Error(diff)
	}
	if g.bodies[0] != `{"repositories":["site"],"permissions":{"issues":"write"}}` {
		t.Errorf("asked %s", g.bodies[0])
	}
	if left := time.Until(m.Expires); left < 50*time.Minute || left > time.Hour {
		t.Errorf("it expires in %v", left)
	}
	for range 2 { // the second is told that the token is no more
		if err := m.Revoke(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if n := g.left(); n != 0 {
		t.Errorf("%d tokens live on", n)
	}
}

// TestGitHubNeverTheWholeInstallation: what the arguments do not say exactly is
// refused before anything is asked.
func TestGitHubNeverTheWholeInstallation(t *testing.T) {
	g := newGitHub(t)
	for name, c := range map[string]struct{ tool, args string }{
		"no rule":              {"delete_repo", `{"owner":"acme","repo":"site"}`},
		"missing":              {"create_issue", `{"owner":"acme"}`},
		"missing owner":        {"create_issue", `{"repo":"site"}`},
		"empty":                {"create_issue", `{"owner":"acme","repo":""}`},
		"null":                 {"create_issue", `{"owner":"acme","repo":null}`},
		"a list":               {"create_issue", `{"owner":"acme","repo":["site","tools"]}`},
		"another owner":        {"create_issue", `{"owner":"evil","repo":"site"}`},
		"another owner, two":   {"create_issue", `{"owner":"acme","repo":"evil/site"}`},
		"upwards":              {"create_issue", `{"owner":"acme","repo":".."}`},
		"a path":               {"get_file", `{"repository":"acme/site/../tools"}`},
		"a path of three":      {"get_file", `{"repository":"acme/site/tools"}`},
		"JSON":                 {"get_file", `{"repository":"site\",\"tools"}`},
		"a line":               {"get_file", `{"repository":"site\ntools"}`},
		"letters that look so": {"get_file", `{"repository":"ѕite"}`},
		"owner like it":        {"get_file", `{"repository":"аcme/site"}`},
		"a query":              {"get_file", `{"repository":"site?x"}`},
		"a dot git":            {"get_file", `{"repository":"site.GIT"}`},
		"long":                 {"get_file", `{"repository":"` + strings.Repeat("a", 101) + `"}`},
		"two of one name":      {"get_file", `{"repository":"site","Repository":"tools"}`},
		"no arguments":         {"get_file", ``},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := githubMint(t, g, githubSource(g.URL), c.tool, c.args); access.CodeOf(err) != access.CodeDenied {
				t.Errorf("got %v", err)
			}
			if n := len(g.log()); n != 0 {
				t.Errorf("GitHub was asked %d times", n)
			}
		})
	}
}

func TestGitHubRules(t *testing.T) {
	for name, c := range map[string]struct {
		tool, args, body, narrowed string
		code                       access.Code
	}{
		"full name":       {"get_file", `{"repository":"ACME/Docs.Public"}`, `{"repositories":["Docs.Public"],"permissions":{"contents":"read"}}`, "repository acme/Docs.Public with contents:read", ""},
		"said to be all":  {"search", `{"q":"x"}`, `{"permissions":{"contents":"read"}}`, "all repositories of the installation at acme with contents:read", ""},
		"discovery":       {"", ``, `{"repositories":["site","tools"],"permissions":{"metadata":"read"}}`, "repository acme/site, tools with metadata:read", ""},
		"not its own":     {"get_file", `{"repository":"secret"}`, `{"repositories":["secret"],"permissions":{"contents":"read"}}`, "", access.CodeDenied},
		"not its to give": {"admin", `{}`, `{"repositories":["site"],"permissions":{"administration":"write"}}`, "", access.CodeDenied},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGitHub(t)
			m, err := githubMint(t, g, githubSource(g.URL), c.tool, c.args)
			if access.CodeOf(err) != c.code || m.Narrowed != c.narrowed {
				t.Errorf("narrowed %q, error %v", m.Narrowed, err)
			}
			noCanary(t, err)
			if g.bodies[0] != c.body {
				t.Errorf("asked %s", g.bodies[0])
			}
		})
	}
}

// TestGitHubTokenForMoreIsDeleted: an answer for more than was asked is not used,
// and what it gave is deleted.
func TestGitHubTokenForMoreIsDeleted(t *testing.T) {
	repo := func(name string) map[string]any { return map[string]any{"name": name, "full_name": "acme/" + name} }
	for name, change := range map[string]func(a map[string]any){
		"one more permission":    func(a map[string]any) { a["permissions"] = map[string]string{"contents": "read", "issues": "read"} },
		"a higher level":         func(a map[string]any) { a["permissions"] = map[string]string{"contents": "write"} },
		"a level nobody knows":   func(a map[string]any) { a["permissions"] = map[string]string{"contents": "owner"} },
		"metadata for writing":   func(a map[string]any) { a["permissions"] = map[string]string{"metadata": "write"} },
		"no permissions":         func(a map[string]any) { delete(a, "permissions") },
		"all repositories":       func(a map[string]any) { a["repository_selection"] = "all" },
		"another repository":     func(a map[string]any) { a["repositories"] = []any{repo("tools")} },
		"one more repository":    func(a map[string]any) { a["repositories"] = []any{repo("site"), repo("tools")} },
		"another's repository":   func(a map[string]any) { a["repositories"] = []any{map[string]any{"full_name": "evil/site"}} },
		"no repositories":        func(a map[string]any) { delete(a, "repositories") },
		"longer than an hour":    func(a map[string]any) { a["expires_at"] = time.Now().Add(2 * time.Hour).Format(time.RFC3339) },
		"for ever":               func(a map[string]any) { delete(a, "expires_at") },
		"an end that is no time": func(a map[string]any) { a["expires_at"] = "canary" },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGitHub(t)
			g.change = change
			_, err := githubMint(t, g, githubSource(g.URL), "get_file", `{"repository":"site"}`)
			if access.CodeOf(err) != access.CodeUpstream {
				t.Errorf("got %v", err)
			}
			noCanary(t, err)
			if g.made != 1 || g.left() != 0 {
				t.Errorf("%d made, %d live on", g.made, g.left())
			}
		})
	}
}

func TestGitHubAnswersThatAreNone(t *testing.T) {
	for name, c := range map[string]struct {
		fault func(w http.ResponseWriter, r *http.Request)
		code  access.Code
	}{
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusMovedPermanently)
		}, access.CodeUpstream},
		"rate limit": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-RateLimit-Remaining", "0")
			githubAnswer(w, 403, nil)
		}, access.CodeUnavailable},
		"second limit": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "60")
			githubAnswer(w, 403, nil)
		}, access.CodeUnavailable},
		"429": {func(w http.ResponseWriter, _ *http.Request) { githubAnswer(w, 429, nil) }, access.CodeUnavailable},
		"suspended": {func(w http.ResponseWriter, _ *http.Request) {
			githubAnswer(w, 403, map[string]any{"message": "canary suspended"})
		}, access.CodeUpstream},
		"200 not 201": {func(w http.ResponseWriter, _ *http.Request) {
			githubAnswer(w, 200, map[string]any{"token": "ghs_canary00000"})
		}, access.CodeUpstream},
		"no token": {func(w http.ResponseWriter, _ *http.Request) { githubAnswer(w, 201, map[string]any{}) }, access.CodeUpstream},
		"token of two lines": {func(w http.ResponseWriter, _ *http.Request) {
			githubAnswer(w, 201, map[string]any{"token": "ghs_canary\r\nX: y"})
		}, access.CodeUpstream},
		"html": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(201)
			w.Write([]byte("{}"))
		}, access.CodeUpstream},
		"broken off": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, access.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGitHub(t)
			g.fault = func(w http.ResponseWriter, r *http.Request) bool { c.fault(w, r); return true }
			_, err := githubMint(t, g, githubSource(g.URL), "get_file", `{"repository":"site"}`)
			if access.CodeOf(err) != c.code {
				t.Errorf("code %q of %v", access.CodeOf(err), err)
			}
			noCanary(t, err)
		})
	}
}

func TestGitHubKeyForms(t *testing.T) {
	g := newGitHub(t)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(g.key)
	if err != nil {
		t.Fatal(err)
	}
	curve, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ec, _ := x509.MarshalPKCS8PrivateKey(curve)
	other, _ := rsa.GenerateKey(rand.Reader, 2048)
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	for name, c := range map[string]struct {
		key  string
		code access.Code
	}{
		"PKCS 1":         {g.pem(), ""},
		"PKCS 8":         {block("PRIVATE KEY", pkcs8), ""},
		"of another app": {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(other)), access.CodeUpstream},
		"a curve":        {block("PRIVATE KEY", ec), access.CodeInvalid},
		"no PEM":         {"canary canary canary", access.CodeInvalid},
		"PEM of nothing": {block("PRIVATE KEY", []byte("canary")), access.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			s := githubSource(g.URL)
			i := issuersOf(t, map[string]string{"key": c.key}, nil)
			m, err := i.Minters()[credential.SourceGitHubApp].Mint(t.Context(), callOf(credential.Source{ID: "gh", GitHubApp: &s}, "get_file", `{"repository":"site"}`))
			if access.CodeOf(err) != c.code {
				t.Fatalf("code %q of %v", access.CodeOf(err), err)
			}
			noCanary(t, err)
			if err == nil {
				if err := m.Revoke(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestGitHubManifestIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *credential.GitHubApp)
		want   string
	}{
		"http":             {func(s *credential.GitHubApp) { s.URL = "http://ghe.example" }, "url"},
		"a token in it":    {func(s *credential.GitHubApp) { s.URL = "https://ghe.example?access_token=x" }, "url"},
		"no app":           {func(s *credential.GitHubApp) { s.App = "" }, "app"},
		"no installation":  {func(s *credential.GitHubApp) { s.Installation = 0 }, "installation"},
		"owner":            {func(s *credential.GitHubApp) { s.Owner = "acme/site" }, "owner"},
		"no key":           {func(s *credential.GitHubApp) { s.Key = "" }, "key"},
		"no rules":         {func(s *credential.GitHubApp) { s.Rules = nil }, "rules"},
		"for nothing":      {func(s *credential.GitHubApp) { s.Rules[0].Tools = nil }, "rules[0]"},
		"no repositories":  {func(s *credential.GitHubApp) { s.Rules[0].Argument, s.Rules[0].OwnerArgument = "", "" }, "rules[0]"},
		"both":             {func(s *credential.GitHubApp) { s.Rules[0].All = true }, "rules[0]"},
		"owner alone":      {func(s *credential.GitHubApp) { s.Rules[2].OwnerArgument = "/owner" }, "rules[2]"},
		"no permissions":   {func(s *credential.GitHubApp) { s.Rules[2].Permissions = nil }, "rules[2]"},
		"odd permission":   {func(s *credential.GitHubApp) { s.Rules[2].Permissions = map[string]string{"contents": "all"} }, "rules[2]"},
		"repository, path": {func(s *credential.GitHubApp) { s.Rules[3].Repositories = []string{"acme/site"} }, "rules[3]"},
		"twice the same":   {func(s *credential.GitHubApp) { s.Rules[3].Repositories = []string{"site", "Site"} }, "rules[3]"},
		"no call":          {func(s *credential.GitHubApp) { s.Rules[1].Discovery = true }, "rules[1]"},
	} {
		t.Run(name, func(t *testing.T) {
			s := githubSource("")
			if err := s.Check(); err != nil {
				t.Fatal(err)
			}
			c.change(&s)
			if err := s.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}
