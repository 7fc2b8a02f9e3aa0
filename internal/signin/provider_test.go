package signin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"rutile/internal/access"
	"rutile/internal/signin"
)

// idp is an identity provider that lies as a test wants.
type idp struct {
	*httptest.Server
	t       *testing.T
	key     *ecdsa.PrivateKey
	says    bool                // it names itself in its answers
	asked   url.Values          // of who was sent there last
	form    url.Values          // of the token request
	claims  map[string]any      // in place of honest ones; nil removes one
	token   func(string) string // changes the id token
	refuses bool
}

func newIDP(t *testing.T) *idp {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &idp{t: t, key: key, says: true}
	mux := http.NewServeMux()
	write := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		write(w, map[string]any{"issuer": p.URL, "authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"}, "authorization_response_iss_parameter_supported": p.says})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		write(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		p.form = r.PostForm
		if p.refuses {
			w.WriteHeader(http.StatusBadRequest)
			write(w, map[string]string{"error": "invalid_grant"})
			return
		}
		write(w, map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": p.idToken()})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *idp) idToken() string {
	now := time.Now()
	claims := map[string]any{"iss": p.URL, "sub": "4711", "aud": "rutile", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "nonce": p.asked.Get("nonce")}
	maps.Copy(claims, p.claims)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return p.signed(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: "k"}}, claims)
}

func (p *idp) signed(with jose.SigningKey, claims any) string {
	signer, err := jose.NewSigner(with, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	raw, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		p.t.Fatal(err)
	}
	if p.token != nil {
		raw = p.token(raw)
	}
	return raw
}

func (p *idp) provider(t *testing.T) *signin.Provider {
	t.Helper()
	at, err := signin.NewProvider(signin.ProviderConfig{Name: "Corp", Issuer: p.URL, ClientID: "rutile", Redirect: "http://127.0.0.1:7434/console/sign-in/back"}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// send sends somebody to the provider and returns what it was asked.
func (p *idp) send(at *signin.Provider) signin.Away {
	p.t.Helper()
	address, away, err := at.Begin(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.asked = u.Query()
	return away
}

// TestAProvidersAnswerIsHeldToWhatWasAsked: whatever is not so refuses the whole.
func TestAProvidersAnswerIsHeldToWhatWasAsked(t *testing.T) {
	honest := newIDP(t)
	at := honest.provider(t)
	away := honest.send(at)
	for k, want := range map[string]string{"response_type": "code", "client_id": "rutile", "scope": "openid", "code_challenge_method": "S256", "redirect_uri": "http://127.0.0.1:7434/console/sign-in/back"} {
		if got := honest.asked.Get(k); got != want {
			t.Errorf("%s is %q", k, got)
		}
	}
	who, err := at.Finish(t.Context(), away, honest.asked.Get("state"), honest.URL, "code")
	if err != nil || who.Subject != (signin.Subject{Issuer: honest.URL, ID: "4711"}) {
		t.Fatalf("%+v, %v", who, err)
	}
	if honest.form.Get("code_verifier") == "" || honest.form.Get("redirect_uri") != honest.asked.Get("redirect_uri") {
		t.Errorf("the token request: %v", honest.form)
	}
	now := time.Now()
	for name, claims := range map[string]map[string]any{
		"another audience":              {"aud": "other"},
		"an audience that begins so":    {"aud": "rutile2"},
		"several without a party":       {"aud": []string{"rutile", "other"}},
		"several for another party":     {"aud": []string{"rutile", "other"}, "azp": "other"},
		"one, for another party":        {"azp": "other"},
		"another issuer":                {"iss": "https://evil.example"},
		"no nonce":                      {"nonce": nil},
		"another nonce":                 {"nonce": "x"},
		"expired":                       {"exp": now.Add(-time.Second).Unix()},
		"no end":                        {"exp": nil},
		"of tomorrow":                   {"iat": now.Add(time.Hour).Unix()},
		"not yet":                       {"nbf": now.Add(time.Hour).Unix()},
		"nobody":                        {"sub": nil},
		"an address of mail is no name": {"sub": "", "email": "ann@example.com", "email_verified": true},
	} {
		honest.claims = claims
		away := honest.send(at)
		if who, err := at.Finish(t.Context(), away, honest.asked.Get("state"), honest.URL, "code"); !errors.Is(err, signin.ErrRefused) {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
	}
	honest.claims = nil
	for name, change := range map[string]func(string) string{
		"none":              func(string) string { return "" },
		"no JWT":            func(string) string { return "x.y.z" },
		"without signature": func(string) string { return "eyJhbGciOiJub25lIn0.e30." },
		"a secret as key": func(raw string) string {
			p := *honest
			p.token = nil
			return p.signed(jose.SigningKey{Algorithm: jose.HS256, Key: []byte("0123456789abcdef0123456789abcdef")}, map[string]any{"iss": honest.URL, "sub": "1", "aud": "rutile", "exp": now.Add(time.Minute).Unix(), "nonce": honest.asked.Get("nonce")})
		},
		"another key": func(raw string) string {
			other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			p := *honest
			p.token = nil
			return p.signed(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: other, KeyID: "k"}}, map[string]any{"iss": honest.URL, "sub": "1", "aud": "rutile", "exp": now.Add(time.Minute).Unix(), "nonce": honest.asked.Get("nonce")})
		},
	} {
		honest.token = change
		away := honest.send(at)
		if who, err := at.Finish(t.Context(), away, honest.asked.Get("state"), honest.URL, "code"); !errors.Is(err, signin.ErrRefused) {
			t.Errorf("a token with %s: %+v, %v", name, who, err)
		}
	}
	honest.token = nil
	for name, c := range map[string]struct{ state, iss, code string }{
		"no state": {"", honest.URL, "code"}, "another state": {"x", honest.URL, "code"}, "no issuer though it says one": {"=", "", "code"},
		"another issuer": {"=", "https://evil.example", "code"}, "an issuer with a slash more": {"=", honest.URL + "/", "code"}, "no code": {"=", honest.URL, ""},
	} {
		away := honest.send(at)
		if c.state == "=" {
			c.state = honest.asked.Get("state")
		}
		honest.form = nil
		if _, err := at.Finish(t.Context(), away, c.state, c.iss, c.code); !errors.Is(err, signin.ErrRefused) || honest.form != nil {
			t.Errorf("%s: %v, asked for a token with %v", name, err, honest.form)
		}
	}
	honest.refuses = true
	if _, err := at.Finish(t.Context(), honest.send(at), honest.asked.Get("state"), honest.URL, "used"); !errors.Is(err, signin.ErrRefused) {
		t.Errorf("a code the provider does not take: %v", err)
	}
	if _, err := at.Finish(t.Context(), signin.Away{}, "", honest.URL, "code"); !errors.Is(err, signin.ErrRefused) {
		t.Errorf("nobody was sent away: %v", err)
	}
}

// TestAProviderThatIsDownIsAskedAgain: and says so to who tries meanwhile.
func TestAProviderThatIsDownIsAskedAgain(t *testing.T) {
	p := newIDP(t)
	at := p.provider(t)
	handler := p.Config.Handler
	p.Config.Handler = http.NotFoundHandler()
	if _, _, err := at.Begin(t.Context()); access.CodeOf(err) != access.CodeUnavailable {
		t.Errorf("while it is down: %v", err)
	}
	p.Config.Handler = handler
	if _, _, err := at.Begin(t.Context()); err != nil {
		t.Errorf("when it is back: %v", err)
	}
}

func TestIssuersAreReachedSafely(t *testing.T) {
	for issuer, ok := range map[string]bool{
		"https://login.example.com": true, "https://login.example.com/realms/a": true, "http://127.0.0.1:9": true, "http://localhost:9": true,
		"http://login.example.com": false, "login.example.com": false, "": false, "https://u:p@login.example.com": false, "https://login.example.com?x=1": false, "ftp://login.example.com": false,
	} {
		if msg := signin.CheckIssuer(issuer); (msg == "") != ok {
			t.Errorf("%q: %q", issuer, msg)
		}
	}
}
