package signin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"rutile/internal/signin"
)

const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// logoutToken is an honest logout token with changes; nil removes a claim.
func (p *idp) logoutToken(typ string, key *ecdsa.PrivateKey, changes map[string]any) string {
	p.t.Helper()
	now := time.Now()
	claims := map[string]any{"iss": p.URL, "sub": "4711", "sid": "s1", "aud": "rutile", "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(), "jti": "j1", "events": map[string]any{logoutEvent: map[string]any{}}}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	opts := &jose.SignerOptions{}
	if typ != "" {
		opts = opts.WithType(jose.ContentType(typ))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, opts)
	if err != nil {
		p.t.Fatal(err)
	}
	raw, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return raw
}

// TestALogoutTokenIsHeldToItsSpecification: whatever is not so refuses the whole
// (OpenID Connect Back-Channel Logout 1.0, section 2.6).
func TestALogoutTokenIsHeldToItsSpecification(t *testing.T) {
	p := newIDP(t)
	at := p.provider(t)
	now := time.Now()
	for name, c := range map[string]struct {
		typ     string
		changes map[string]any
		want    signin.Logout
	}{
		"a person and a session": {"logout+jwt", nil, signin.Logout{Subject: signin.Subject{Issuer: p.URL, ID: "4711"}, Session: "s1", ID: "j1"}},
		"a person":               {"logout+jwt", map[string]any{"sid": nil}, signin.Logout{Subject: signin.Subject{Issuer: p.URL, ID: "4711"}, ID: "j1"}},
		"a session":              {"logout+jwt", map[string]any{"sub": nil}, signin.Logout{Subject: signin.Subject{Issuer: p.URL}, Session: "s1", ID: "j1"}},
		"no type":                {"", nil, signin.Logout{Subject: signin.Subject{Issuer: p.URL, ID: "4711"}, Session: "s1", ID: "j1"}},
	} {
		got, err := at.Logout(t.Context(), p.logoutToken(c.typ, p.key, c.changes))
		got.Until = time.Time{}
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for name, changes := range map[string]map[string]any{
		"a nonce":                {"nonce": "n"},
		"a nonce that is null":   {"nonce": json.RawMessage("null")},
		"another audience":       {"aud": "other"},
		"no audience":            {"aud": nil},
		"another issuer":         {"iss": "https://evil.example"},
		"no events":              {"events": nil},
		"another event":          {"events": map[string]any{"https://example.com/other": map[string]any{}}},
		"an event that is text":  {"events": map[string]any{logoutEvent: "yes"}},
		"nobody":                 {"sub": nil, "sid": nil},
		"no id":                  {"jti": nil},
		"a very long id":         {"jti": strings.Repeat("x", 600)},
		"no end":                 {"exp": nil},
		"expired":                {"exp": now.Add(-time.Minute).Unix()},
		"of tomorrow":            {"iat": now.Add(time.Hour).Unix(), "exp": now.Add(2 * time.Hour).Unix()},
		"of an hour ago":         {"iat": now.Add(-time.Hour).Unix()},
		"never made":             {"iat": nil},
		"valid for a day":        {"exp": now.Add(24 * time.Hour).Unix()},
		"an event with no value": {"events": map[string]any{logoutEvent: nil}},
	} {
		if got, err := at.Logout(t.Context(), p.logoutToken("logout+jwt", p.key, changes)); !errors.Is(err, signin.ErrRefused) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	honest := p.logoutToken("logout+jwt", p.key, nil)
	parts := strings.Split(honest, ".")
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{
		"nothing":            "",
		"no token":           "x.y.z",
		"an access token":    p.logoutToken("at+jwt", p.key, nil),
		"an event token":     p.logoutToken("secevent+jwt", p.key, nil),
		"another key":        p.logoutToken("logout+jwt", other, nil),
		"no algorithm":       base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"logout+jwt"}`)) + "." + parts[1] + ".",
		"a changed body":     parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"root"}`)) + "." + parts[2],
		"more than can be":   honest + strings.Repeat("x", 9000),
		"a secret for a key": p.signed(jose.SigningKey{Algorithm: jose.HS256, Key: []byte("0123456789abcdef0123456789abcdef")}, map[string]any{"iss": p.URL, "sub": "1", "aud": "rutile", "jti": "j", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "events": map[string]any{logoutEvent: map[string]any{}}}),
		"an id token":        p.signed(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: "k"}}, map[string]any{"iss": p.URL, "sub": "1", "aud": "rutile", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}),
	} {
		if got, err := at.Logout(t.Context(), raw); !errors.Is(err, signin.ErrRefused) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
