package oauth_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"rutile/internal/oauth"
)

// TestAgentFindsItsWay is the whole path of an agent that knows only the URL of
// its server and holds its key: challenge, metadata, token, call. Discovery is
// the official client's, which checks the documents.
func TestAgentFindsItsWay(t *testing.T) {
	g := newGateway(t, oauth.Config{})
	resource := g.url + "/mcp/files"
	refused := g.do(g.request(http.MethodPost, "/mcp/files", "{}"))
	if refused.status != http.StatusUnauthorized {
		t.Fatalf("without a token: %d", refused.status)
	}
	challenges, err := oauthex.ParseWWWAuthenticate(refused.header["Www-Authenticate"])
	if err != nil || len(challenges) != 1 || challenges[0].Scheme != "bearer" || challenges[0].Params["scope"] != "mcp" {
		t.Fatalf("challenge %+v %v", challenges, err)
	}
	prm, err := oauthex.GetProtectedResourceMetadata(t.Context(), challenges[0].Params["resource_metadata"], resource, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	if prm.Resource != resource {
		t.Fatalf("resource %q, the agent uses %q", prm.Resource, resource)
	}
	issuer := prm.AuthorizationServers[0]
	as, err := oauthex.GetAuthServerMeta(t.Context(), issuer+"/.well-known/oauth-authorization-server", issuer, http.DefaultClient)
	if err != nil || as == nil {
		t.Fatalf("metadata %v %v", as, err)
	}
	form := g.good()
	form.Set("resource", prm.Resource)
	form.Set("scope", strings.Join(prm.ScopesSupported, " "))
	r := g.request(http.MethodPost, strings.TrimPrefix(as.TokenEndpoint, g.url), form.Encode())
	a := g.do(r)
	if a.status != http.StatusOK || a.fields.Type != "Bearer" || a.fields.ExpiresIn != 300 || a.fields.Scope != "mcp" {
		t.Fatalf("token answer %d %s", a.status, a.body)
	}
	for path, want := range map[string]int{"/mcp/files": 200, "/mcp/secret": 401, "/mcp/files/": 401} {
		r := g.request(http.MethodPost, path, "{}")
		r.Header.Set("Authorization", "Bearer "+a.fields.Token)
		if got := g.do(r); got.status != want || want == 200 && string(got.body) != "release-bot" {
			t.Errorf("%s: %d %s, want %d", path, got.status, got.body, want)
		}
	}
}

func TestMetadataDocuments(t *testing.T) {
	g := newGateway(t, oauth.Config{})
	server := `{"issuer":"URL","authorization_endpoint":"URL/oauth/authorize","token_endpoint":"URL/oauth/token","jwks_uri":"URL/oauth/jwks",` +
		`"scopes_supported":["mcp"],"response_types_supported":[],"grant_types_supported":["client_credentials"],` +
		`"token_endpoint_auth_methods_supported":["private_key_jwt"],"token_endpoint_auth_signing_alg_values_supported":["EdDSA","ES256","PS256","RS256"],` +
		`"code_challenge_methods_supported":["S256"]}`
	resource := func(path string) string {
		return `{"resource":"URL` + path + `","authorization_servers":["URL"],"scopes_supported":["mcp"],"bearer_methods_supported":["header"]}`
	}
	for path, want := range map[string]string{
		"/.well-known/oauth-authorization-server":             server,
		"/.well-known/openid-configuration":                   server,
		"/.well-known/oauth-protected-resource":               resource("/mcp"),
		"/.well-known/oauth-protected-resource/mcp":           resource("/mcp"),
		"/.well-known/oauth-protected-resource/mcp/files":     resource("/mcp/files"),
		"/.well-known/oauth-protected-resource/mcp/files?a=b": resource("/mcp/files"),
	} {
		r := g.request(http.MethodGet, path, "")
		r.Host = "evil.example" // the documents do not repeat what a request names
		a := g.do(r)
		if d := cmp.Diff(strings.ReplaceAll(want, "URL", g.url), string(a.body)); d != "" || a.status != 200 {
			t.Errorf("%s: %d (-want +got):\n%s", path, a.status, d)
		}
		if ct, cc := a.header.Get("Content-Type"), a.header.Get("Cache-Control"); ct != "application/json" || cc != "public, max-age=300" {
			t.Errorf("%s: %s, %s", path, ct, cc)
		}
	}
	a := g.do(g.request(http.MethodGet, "/oauth/jwks", ""))
	if a.status != 200 || string(a.body) != string(g.JWKS()) || strings.Contains(string(a.body), `"d"`) {
		t.Errorf("jwks: %d %s", a.status, a.body)
	}
}

// TestHiddenServerLooksUnknown: same status, headers and bytes.
func TestHiddenServerLooksUnknown(t *testing.T) {
	g := newGateway(t, oauth.Config{})
	look := func(a answer) string {
		a.header.Del("Date")
		h, err := json.Marshal(a.header)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d %s %s", a.status, h, a.body)
	}
	const prm = "/.well-known/oauth-protected-resource/mcp/"
	hidden, unknown := look(g.do(g.request("GET", prm+"secret", ""))), look(g.do(g.request("GET", prm+"nobody", "")))
	if hidden != unknown || !strings.HasPrefix(hidden, "404 ") {
		t.Errorf("metadata:\n%s\n%s", hidden, unknown)
	}
	tokenFor := func(server string) string {
		form := g.good()
		form.Set("resource", g.url+"/mcp/"+server)
		return look(g.post(form.Encode()))
	}
	if hidden, unknown := tokenFor("secret"), tokenFor("nobody"); hidden != unknown || !strings.Contains(hidden, "invalid_target") {
		t.Errorf("token:\n%s\n%s", hidden, unknown)
	}
}

func TestPathsAreExact(t *testing.T) {
	g := newGateway(t, oauth.Config{})
	h, err := oauth.New(oauth.Config{}, g.Authority, known{g.url, map[string]bool{"files": true}})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"/", "/oauth", "/oauth/", "/oauth/token/", "/oauth/Token", "/oauth//token", "/oauth/./token", "/x/../oauth/token", "/oauth/tok%65n", "/oauth%2ftoken",
		"/oauth/register", "/oauth/revoke", "/oauth/introspect", "/oauth/par", "/oauth/device", "/token", "/authorize", "/mcp/files",
		"/.well-known/oauth-protected-resource/", "/.well-known/oauth-protected-resource/files", "/.well-known/oauth-protected-resource/mcp/",
		"/.well-known/oauth-protected-resource/mcp/files/", "/.well-known/oauth-protected-resource/mcp/Files", "/.well-known/oauth-protected-resource/mcp/fi%6ces",
		"/.well-known/oauth-protected-resource//mcp/files", "/.well-known/oauth-protected-resource/mcp/../mcp/files", "/.well-known/oauth-protected-resource/mcp%2ffiles",
		"/.well-known/oauth-authorization-server/", "/.well-known/oauth-authorization-server/mcp", "/mcp/files/.well-known/oauth-protected-resource",
	} {
		r, err := http.NewRequest(http.MethodGet, g.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		// To the handler itself: whatever mux stands before it, it does not clean.
		w := record(h, r)
		if w.Code != http.StatusNotFound || w.Header().Get("Location") != "" {
			t.Errorf("%s: %d %s", path, w.Code, w.Header().Get("Location"))
		}
	}
}

func TestMethodsAndCORS(t *testing.T) {
	g := newGateway(t, oauth.Config{})
	for path, allowed := range map[string]string{
		"/oauth/token":     "POST",
		"/oauth/jwks":      "GET, HEAD",
		"/oauth/authorize": "GET, HEAD, POST",
		"/.well-known/oauth-authorization-server":         "GET, HEAD",
		"/.well-known/oauth-protected-resource":           "GET, HEAD",
		"/.well-known/oauth-protected-resource/mcp/files": "GET, HEAD",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get"} {
			r := g.request(method, path, "")
			r.Header.Set("Origin", "https://evil.example")
			r.Header.Set("Access-Control-Request-Method", "POST")
			a := g.do(r)
			ok := strings.Contains(", "+allowed+",", " "+method+",")
			if (a.status == http.StatusMethodNotAllowed) == ok || !ok && a.header.Get("Allow") != allowed {
				t.Errorf("%s %s: %d, Allow %q", method, path, a.status, a.header.Get("Allow"))
			}
			for name := range a.header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s %s: %s", method, path, name)
				}
			}
		}
	}
}

// TestAuthorizeNeverRedirects: no client has a redirect URI, so an error is
// shown and never sent to where the request says.
func TestAuthorizeNeverRedirects(t *testing.T) {
	g := newGateway(t, oauth.Config{})
	a := g.do(g.request("GET", "/oauth/authorize?response_type=code&client_id=release-bot&redirect_uri=https://evil.example/cb&state=%3Cscript%3E", ""))
	if a.status != http.StatusBadRequest || a.header.Get("Location") != "" || strings.Contains(string(a.body), "evil") || strings.Contains(string(a.body), "script") {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	if !strings.Contains(a.header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
		t.Error("the answer may be framed")
	}
}

func TestNewChecksItsConfiguration(t *testing.T) {
	g := newGateway(t, oauth.Config{})
	if _, err := oauth.New(oauth.Config{}, nil, known{}); err == nil {
		t.Error("a nil authority is accepted")
	}
	if _, err := oauth.New(oauth.Config{}, g.Authority, nil); err == nil {
		t.Error("nil servers are accepted")
	}
	if _, err := oauth.New(oauth.Config{AgentRate: -1}, g.Authority, known{}); err == nil {
		t.Error("a negative rate is accepted")
	}
}
