package oauthclient_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/credential/oauthclient"
	"rutile/internal/credential/oauthclient/astest"
)

func TestTokenIsAskedForOneResourceAndScope(t *testing.T) {
	for _, auth := range []string{credential.AuthBasic, credential.AuthPost} {
		w := newWorld(t)
		w.client(auth)
		w.as.Secret, w.as.Resource = secretValue, w.up
		w.source.ClientCredentials.ToolScopes = map[string][]string{"read_*": {"a"}, "*": {"a", "b"}, "r*": {"b"}}
		n := w.need(access.Subject{})
		n.Tool = "read_it"
		got, err := w.minters.ClientCredentials().Mint(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		f := w.as.Forms()[0]
		if f.Get("scope") != "a" || f.Get("resource") != w.up || (f.Get("client_secret") != "") != (auth == credential.AuthPost) {
			t.Errorf("%s: asked with %v", auth, f)
		}
		if w.as.Access()[string(got.Values["secret"])] == nil || got.Version == "" || !strings.Contains(got.Narrowed, "scope a") || got.Expires.Sub(w.now()) != time.Hour {
			t.Errorf("%s: got %+v", auth, got)
		}
		if err := got.Revoke(t.Context()); err != nil || len(w.as.Access()) != 0 {
			t.Errorf("%s: revoking: %v", auth, err)
		}
	}
}

func TestPrivateKeyProvesItselfToTheIssuerAloneAndOnce(t *testing.T) {
	w := newWorld(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := (&jose.JSONWebKey{Key: key, KeyID: "k1"}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	v, err := credential.New(t.Context(), credential.Config{Tenant: "t", Dir: t.TempDir()}, &memory{secrets: map[string]credential.Secret{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Set(t.Context(), credential.Secret{ID: "seed", MaxTier: 3}, jwk); err != nil {
		t.Fatal(err)
	}
	m := oauthclient.New(oauthclient.HTTP{Transport: http.DefaultTransport}, v, w.now)
	w.client(credential.AuthPrivateKey)
	seen := map[string]bool{}
	for range 2 {
		if _, err := m.ClientCredentials().Mint(t.Context(), w.need(access.Subject{})); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range w.as.Forms() {
		sig, err := jose.ParseSignedCompact(f.Get("client_assertion"), []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		payload, err := sig.Verify(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		var c struct {
			Iss, Sub, Aud, Jti string
			Iat, Exp           int64
		}
		if err := json.Unmarshal(payload, &c); err != nil {
			t.Fatal(err)
		}
		if c.Iss != "rutile" || c.Sub != "rutile" || c.Aud != w.as.URL || c.Exp-c.Iat > 60 || seen[c.Jti] || f.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
			t.Errorf("asserted %+v", c)
		}
		seen[c.Jti] = true
	}
}

// TestHostileTokenEndpointGivesNothing: whatever it answers, nothing is minted and
// the error tells neither the secret nor what it said.
func TestHostileTokenEndpointGivesNothing(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	t.Cleanup(elsewhere.Close)
	send := func(body string) func(http.ResponseWriter, *http.Request, url.Values) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ url.Values) bool {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, body)
			return true
		}
	}
	good := `"access_token":"good-token-1","token_type":"Bearer"`
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request, url.Values) bool{
		"redirects": func(w http.ResponseWriter, r *http.Request, _ url.Values) bool {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
			return true
		},
		"repeats the secret in its error": func(w http.ResponseWriter, r *http.Request, _ url.Values) bool {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, pass, _ := r.BasicAuth()
			fmt.Fprintf(w, `{"error":"%s","error_description":"%s"}`, pass, secretValue)
			return true
		},
		"huge": send(`{` + good + `,"x":"` + strings.Repeat("x", 1<<20) + `"}`),
		"not JSON": func(w http.ResponseWriter, _ *http.Request, _ url.Values) bool {
			fmt.Fprint(w, secretValue)
			return true
		},
		"a member twice":         send(`{` + good + `,"access_token":"other-token"}`),
		"another type":           send(`{"access_token":"good-token-1","token_type":"DPoP"}`),
		"no token":               send(`{"token_type":"Bearer"}`),
		"a token with a newline": send(`{"access_token":"good-token\nX-Evil: 1","token_type":"Bearer"}`),
		"a short token":          send(`{"access_token":"x","token_type":"Bearer"}`),
		"more than was asked":    send(`{` + good + `,"scope":"a b admin"}`),
		"an end that is no time": send(`{` + good + `,"expires_in":-5}`),
	} {
		w := newWorld(t)
		w.client(credential.AuthBasic)
		w.as.Token = answer
		_, err := w.minters.ClientCredentials().Mint(t.Context(), w.need(access.Subject{}))
		if err == nil {
			t.Errorf("%s: a token was minted", name)
			continue
		}
		quiet(t, err, access.CodeUpstream, secretValue, url.QueryEscape(secretValue), "good-token", "other-token")
	}
}

func TestSlowTokenEndpointEndsWithTheCall(t *testing.T) {
	w := newWorld(t)
	w.client(credential.AuthBasic)
	ctx, cancel := contextOf(t)
	w.as.Token = func(http.ResponseWriter, *http.Request, url.Values) bool {
		cancel()
		<-ctx.Done()
		return true
	}
	if _, err := w.minters.ClientCredentials().Mint(ctx, w.need(access.Subject{})); err == nil {
		t.Error("a token was minted")
	}
}

// TestHostileMetadataIsNotUsed: an authorization server that says it is another,
// or whose endpoints could not carry a secret, gets none.
func TestHostileMetadataIsNotUsed(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"another issuer":           func(m map[string]any) { m["issuer"] = "https://honest.example" },
		"a slash more":             func(m map[string]any) { m["issuer"] = m["issuer"].(string) + "/" },
		"no issuer":                func(m map[string]any) { delete(m, "issuer") },
		"plain http":               func(m map[string]any) { m["token_endpoint"] = "http://as.example/token" },
		"a user in the address":    func(m map[string]any) { m["token_endpoint"] = "https://x@as.example/token" },
		"no token endpoint":        func(m map[string]any) { delete(m, "token_endpoint") },
		"javascript":               func(m map[string]any) { m["authorization_endpoint"] = "javascript:alert(1)" },
		"too much":                 func(m map[string]any) { m["x"] = strings.Repeat("x", 1<<20) },
		"does not take our method": func(m map[string]any) { m["token_endpoint_auth_methods_supported"] = []string{"tls_client_auth"} },
	} {
		w := newWorld(t)
		w.client(credential.AuthBasic)
		w.as.Metadata = change
		if _, err := w.minters.ClientCredentials().Mint(t.Context(), w.need(access.Subject{})); access.CodeOf(err) != access.CodeUpstream || len(w.as.Forms()) != 0 {
			t.Errorf("%s: got %v after %d token requests", name, err, len(w.as.Forms()))
		}
	}
}

// TestSecretGoesToOneAuthorizationServer: an upstream that names another one gets
// nothing out of us.
func TestSecretGoesToOneAuthorizationServer(t *testing.T) {
	w := newWorld(t)
	other := astest.New(t)
	issuer := w.as.URL
	up := upstream(t, func(base string) string {
		return fmt.Sprintf(`{"resource":"%s/mcp","authorization_servers":["%s"]}`, base, issuer)
	}, nil)
	w.up = up.URL + "/mcp"
	w.client(credential.AuthBasic)
	w.source.ClientCredentials.Issuer = ""
	if _, err := w.minters.ClientCredentials().Mint(t.Context(), w.need(access.Subject{})); err != nil {
		t.Fatal(err)
	}
	issuer = other.URL
	w.pass(time.Hour)
	_, err := w.minters.ClientCredentials().Mint(t.Context(), w.need(access.Subject{}))
	quiet(t, err, access.CodeDenied, secretValue)
	if n := len(other.Forms()); n != 0 {
		t.Errorf("the other server was asked %d times", n)
	}
}

func TestProtectedResourceMustNameItself(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		doc, challenge func(string) string
		ok             bool
	}{
		"well-known": {func(b string) string {
			return fmt.Sprintf(`{"resource":"%s/mcp","authorization_servers":["%s"]}`, b, w.as.URL)
		}, nil, true},
		"in the challenge": {func(b string) string {
			return fmt.Sprintf(`{"resource":"%s/mcp","authorization_servers":["%s"]}`, b, w.as.URL)
		},
			func(b string) string { return `Bearer realm="a, b", resource_metadata="` + b + `/meta", scope="a b"` }, true},
		"of another origin": {func(string) string {
			return `{"resource":"https://other.example/mcp","authorization_servers":["` + w.as.URL + `"]}`
		}, nil, false},
		"of another path": {func(b string) string {
			return fmt.Sprintf(`{"resource":"%s/other","authorization_servers":["%s"]}`, b, w.as.URL)
		}, nil, false},
		"names no server":      {func(b string) string { return fmt.Sprintf(`{"resource":"%s/mcp"}`, b) }, nil, false},
		"absent":               {func(string) string { return "" }, nil, false},
		"challenge leads away": {func(string) string { return "" }, func(string) string { return `Bearer resource_metadata="https://evil.example/meta"` }, false},
		"its server is private": {func(b string) string {
			return fmt.Sprintf(`{"resource":"%s/mcp","authorization_servers":["http://10.0.0.1/"]}`, b)
		}, nil, false},
	} {
		up := upstream(t, c.doc, c.challenge)
		w.up = up.URL + "/mcp"
		w.client(credential.AuthBasic)
		w.source.ClientCredentials.Issuer = ""
		_, err := w.minters.ClientCredentials().Mint(t.Context(), w.need(access.Subject{}))
		if (err == nil) != c.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestExchangeSaysWhoActsForWhom(t *testing.T) {
	w := newWorld(t)
	w.client(credential.AuthBasic)
	w.source = credential.Source{ID: "crm", Servers: []string{"up"}, TokenExchange: &credential.TokenExchange{Client: w.source.ClientCredentials.Client, Audience: "crm-api"}}
	var stated []string
	x := w.minters.TokenExchange(func(issuer, agent string, who access.Subject) (string, error) {
		stated = append(stated, issuer, agent, who.ID)
		return "our-statement", nil
	})
	got, err := x.Mint(t.Context(), w.need(ann))
	if err != nil {
		t.Fatal(err)
	}
	f := w.as.Forms()[0]
	if !slices.Equal(stated, []string{w.as.URL, "bot", "ann"}) || f.Get("subject_token") != "our-statement" || f.Get("audience") != "crm-api" || f.Get("resource") != w.up ||
		f.Get("subject_token_type") != "urn:ietf:params:oauth:token-type:jwt" || !strings.Contains(got.Narrowed, "person") {
		t.Errorf("stated %v, asked %v, narrowed %s", stated, f, got.Narrowed)
	}
	n := w.need(ann)
	n.Who = access.Identity{}
	if _, err := x.Mint(t.Context(), n); access.CodeOf(err) != access.CodeDenied {
		t.Errorf("for nobody: %v", err)
	}
}
