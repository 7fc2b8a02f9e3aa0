package identity_test

import (
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/identity"
)

// FuzzVerify: whatever is presented, only the token that was issued is
// accepted, byte for byte.
func FuzzVerify(f *testing.F) {
	w := newWorld(f)
	private, kid := w.signer()
	tok := w.token().Value
	claims := payload(f, tok)
	s := split(tok)
	for _, seed := range []string{
		tok, "", ".", "..", "...", tok + "=", s[0] + "." + s[1] + ".", s[2] + "." + s[1] + "." + s[0],
		compact(f, object{"alg": "none"}, claims, nil),
		compact(f, object{"alg": "EdDSA", "typ": "at+jwt", "kid": kid}, `{"exp":1e999}`, private),
		compact(f, object{"alg": "EdDSA", "typ": "at+jwt", "kid": kid}, `{"aud":{"a":[[[[]]]]}}`, private),
		compact(f, `{"alg":"EdDSA","typ":"at+jwt","kid":null}`, claims, private),
		compact(f, `{"alg":"EdDSA","jwk":{"kty":"EC"},"x5c":["AA"]}`, claims, private),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		who, err := w.Verify(t.Context(), token, files)
		if err == nil && token != tok {
			t.Fatalf("accepted %q", token)
		}
		if err != nil && who != (access.Identity{}) {
			t.Fatal("an identity came with the error")
		}
		if err != nil && problem(err) == "" {
			t.Fatalf("a refusal is not the caller's: %v", err)
		}
		if _, challenge := identity.Challenge(err, files, "mcp"); err != nil && strings.ContainsAny(challenge, "\r\n") {
			t.Fatalf("challenge %q", challenge)
		}
	})
}

// FuzzAuthenticate: no assertion the agent did not sign is accepted. The fuzzer
// writes header and claims; the signature is a stranger's, or garbage.
func FuzzAuthenticate(f *testing.F) {
	w := newWorld(f)
	stranger := newEd25519(f)
	f.Add(`{"alg":"EdDSA"}`, `{"iss":"release-bot","sub":"release-bot","aud":"https://mcp.example.com","iat":1800000000,"exp":1800000060,"jti":"a"}`, "")
	f.Add(`{"alg":"none"}`, `{"iss":"release-bot","aud":[]}`, "x")
	f.Add(`{"alg":"ES256","typ":"JWT","x5t":1}`, `{"exp":1e300,"iat":-1}`, "AAAA")
	f.Fuzz(func(t *testing.T, header, claims, sig string) {
		for _, jwt := range []string{compact(t, header, claims, stranger), encode(t, header) + "." + encode(t, claims) + "." + sig} {
			if c, err := w.present(jwt); code(err) != identity.InvalidClient || c != (identity.Client{}) {
				t.Fatalf("got %v, %v", c, err)
			}
		}
	})
}

// FuzzAssertionClaims: claims that the agent did sign are read without panic,
// and only for the agent that signed.
func FuzzAssertionClaims(f *testing.F) {
	w := newWorld(f)
	f.Add(`{"iss":"release-bot","sub":"release-bot","aud":"https://mcp.example.com","iat":1800000000,"exp":1800000060,"jti":"a"}`)
	f.Add(`{"iss":"other-bot","sub":"other-bot","aud":["https://mcp.example.com"],"iat":1.8e9,"exp":1800000060.5,"jti":"a","nbf":null}`)
	f.Add(`[{}]`)
	f.Fuzz(func(t *testing.T, claims string) {
		c, err := w.present(compact(t, object{"alg": "EdDSA"}, claims, w.key))
		if err == nil && c.Agent() != "release-bot" {
			t.Fatalf("signed by release-bot, accepted for %q", c.Agent())
		}
		if err != nil && code(err) != identity.InvalidClient {
			t.Fatalf("got %v", err)
		}
	})
}

// FuzzAgentKey: a manifest's key is read without panic, and what is accepted
// can be used again.
func FuzzAgentKey(f *testing.F) {
	f.Add([]byte(publicJWK(newEd25519(f), "k")))
	f.Add([]byte(`{"kty":"RSA","n":"AQAB","e":"AQAB"}`))
	f.Add([]byte(`{"kty":"EC","crv":"P-256","x":"","y":""}`))
	f.Fuzz(func(t *testing.T, jwk []byte) {
		if err := identity.CheckAgentKey(jwk); err != nil && access.CodeOf(err) != access.CodeInvalid {
			t.Fatalf("got %v", err)
		}
	})
}

// FuzzBearerToken: a token is what stands after the scheme, and nothing else.
func FuzzBearerToken(f *testing.F) {
	f.Add("Bearer abc")
	f.Add("bearer  a==")
	f.Add("Bearer a,b")
	f.Fuzz(func(t *testing.T, h string) {
		token, err := identity.BearerToken([]string{h})
		if err == nil && (token == "" || strings.ContainsAny(token, " ,\t\r\n\"") || !strings.HasSuffix(strings.TrimRight(h, " "), " "+token)) {
			t.Fatalf("%q is read as %q", h, token)
		}
		if err != nil && token != "" {
			t.Fatal("a token came with the error")
		}
	})
}
