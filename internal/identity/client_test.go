package identity_test

import (
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/identity"
)

// TestAssertionCorpus holds the assertion rows of access.md 1.7. Each case
// changes one thing about an assertion that is otherwise good.
func TestAssertionCorpus(t *testing.T) {
	w := newWorld(t)
	other := newEd25519(t)
	w.agents.set("other-bot", other)
	now := w.clock.now().Unix()
	head := object{"alg": "EdDSA", "typ": "JWT"}
	jwk := publicJWK(other, "")
	cases := map[string]struct {
		header object
		claims object // changes
		key    any
		ok     bool
	}{
		"good":                           {head, nil, w.key, true},
		"typ missing":                    {with(head, object{"typ": nil}), nil, w.key, true},
		"typ of RFC 7523bis":             {with(head, object{"typ": "client-authentication+jwt"}), nil, w.key, true},
		"audience is the issuer":         {head, object{"aud": issuer}, w.key, true},
		"one audience in an array":       {head, object{"aud": []string{issuer}}, w.key, true},
		"fractional dates":               {head, object{"iat": float64(now) + .5, "exp": float64(now) + 60.25}, w.key, true},
		"alg none":                       {with(head, object{"alg": "none"}), nil, nil, false},
		"HS256 with the public key":      {with(head, object{"alg": "HS256"}), nil, []byte(w.key.Public().(ed25519.PublicKey)), false},
		"HS256 with the public JWK":      {with(head, object{"alg": "HS256"}), nil, []byte(publicJWK(w.key, "")), false},
		"ES256 label on EdDSA":           {with(head, object{"alg": "ES256"}), nil, w.key, false},
		"jwk obeyed":                     {with(head, object{"jwk": jwk}), nil, other, false},
		"jku":                            {with(head, object{"jku": "https://evil.example/jwks"}), nil, w.key, false},
		"x5u":                            {with(head, object{"x5u": "https://evil.example/cert"}), nil, w.key, false},
		"x5c":                            {with(head, object{"x5c": []string{}}), nil, w.key, false},
		"crit":                           {with(head, object{"crit": []string{"b64"}, "b64": false}), nil, w.key, false},
		"kid path":                       {with(head, object{"kid": "../../etc/passwd"}), nil, other, false},
		"typ of our access tokens":       {with(head, object{"typ": "at+jwt"}), nil, w.key, false},
		"typ of an ID-JAG":               {with(head, object{"typ": "oauth-id-jag+jwt"}), nil, w.key, false},
		"key of client A for client B":   {head, object{"iss": "other-bot", "sub": "other-bot"}, w.key, false},
		"issuer A, subject B":            {head, object{"sub": "other-bot"}, w.key, false},
		"issuer B, subject A":            {head, object{"iss": "other-bot"}, w.key, false},
		"agent of nobody":                {head, object{"iss": "nobody", "sub": "nobody"}, w.key, false},
		"agent id path":                  {head, object{"iss": "../release-bot", "sub": "../release-bot"}, w.key, false},
		"issuer missing":                 {head, object{"iss": nil}, w.key, false},
		"subject missing":                {head, object{"sub": nil}, w.key, false},
		"audience another server":        {head, object{"aud": "https://as.example/oauth/token"}, w.key, false},
		"audience a resource":            {head, object{"aud": files}, w.key, false},
		"audience with slash":            {head, object{"aud": issuer + "/"}, w.key, false},
		"audience longer":                {head, object{"aud": issuer + "/oauth/token/"}, w.key, false},
		"audience prefix":                {head, object{"aud": issuer + "/oauth/toke"}, w.key, false},
		"two audiences":                  {head, object{"aud": []string{issuer, "https://as.example"}}, w.key, false},
		"no audience":                    {head, object{"aud": []string{}}, w.key, false},
		"audience null":                  {head, object{"aud": json.RawMessage("null")}, w.key, false},
		"audience missing":               {head, object{"aud": nil}, w.key, false},
		"expired by 60 s":                {head, object{"iat": now - 120, "exp": now - 60}, w.key, true},
		"expired by 61 s":                {head, object{"iat": now - 120, "exp": now - 61}, w.key, false},
		"6 minutes ahead":                {head, object{"exp": now + 360}, w.key, true}, // 5 and the skew
		"6 minutes and a second ahead":   {head, object{"exp": now + 361}, w.key, false},
		"exp missing":                    {head, object{"exp": nil}, w.key, false},
		"exp a string":                   {head, object{"exp": fmt.Sprint(now + 60)}, w.key, false},
		"exp huge":                       {head, object{"exp": math.MaxFloat64}, w.key, false},
		"exp negative":                   {head, object{"exp": -1}, w.key, false},
		"iat missing":                    {head, object{"iat": nil}, w.key, false},
		"iat 61 s ahead":                 {head, object{"iat": now + 61, "exp": now + 120}, w.key, false},
		"iat 6 minutes and a second ago": {head, object{"iat": now - 361}, w.key, false},
		"nbf 61 s ahead":                 {head, object{"nbf": now + 61}, w.key, false},
		"jti missing":                    {head, object{"jti": nil}, w.key, false},
		"jti too long":                   {head, object{"jti": strings.Repeat("j", 257)}, w.key, false},
		"jti with a control character":   {head, object{"jti": "a\x00b"}, w.key, false},
		"jti not a string":               {head, object{"jti": 7}, w.key, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			client, err := w.present(compact(t, c.header, with(w.assertion(), c.claims), c.key))
			if c.ok {
				if err != nil || client.Agent() != "release-bot" {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			if code(err) != identity.InvalidClient {
				t.Fatalf("got %v, want invalid_client", err)
			}
			if client != (identity.Client{}) {
				t.Error("a client came with the error")
			}
		})
	}
}

func TestAssertionWithDuplicateClaimIsRefused(t *testing.T) {
	w := newWorld(t)
	good, err := json.Marshal(w.assertion())
	if err != nil {
		t.Fatal(err)
	}
	twice := strings.Replace(string(good), "{", `{"sub":"other-bot",`, 1)
	if _, err := w.present(compact(t, object{"alg": "EdDSA"}, twice, w.key)); code(err) != identity.InvalidClient {
		t.Errorf("got %v", err)
	}
	if _, err := w.present(compact(t, `{"alg":"none","alg":"EdDSA"}`, w.assertion(), w.key)); code(err) != identity.InvalidClient {
		t.Errorf("got %v", err)
	}
}

// TestAccessTokenIsNoAssertion: what we issued cannot authenticate its holder,
// nor does an assertion open a resource (TestTokenCorpus).
func TestAccessTokenIsNoAssertion(t *testing.T) {
	w := newWorld(t)
	if _, err := w.present(w.token().Value); code(err) != identity.InvalidClient {
		t.Errorf("got %v", err)
	}
}

func TestAssertionKeyTypes(t *testing.T) {
	w := newWorld(t)
	p256, p384, rsa2048, rsa1024 := newEC(t, elliptic.P256()), newEC(t, elliptic.P384()), newRSA(t, 2048), newRSA(t, 1024)
	for _, c := range []struct {
		name string
		key  any
		alg  string
		ok   bool
	}{
		{"P-256", p256, "ES256", true},
		{"P-256 as ES384", p256, "ES384", false},
		{"P-384 as ES256", p384, "ES256", false},
		{"RSA 2048 PKCS 1", rsa2048, "RS256", true},
		{"RSA 2048 PSS", rsa2048, "PS256", true},
		{"RSA as RS512", rsa2048, "RS512", false},
		{"RSA 1024", rsa1024, "RS256", false},
		{"RSA labelled ES256", rsa2048, "ES256", false},
		{"P-256 labelled RS256", p256, "RS256", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.agents.set("release-bot", c.key)
			_, err := w.present(compact(t, object{"alg": c.alg}, w.assertion(), c.key))
			if c.ok && err != nil || !c.ok && code(err) != identity.InvalidClient {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCheckAgentKey(t *testing.T) {
	ed, ec := newEd25519(t), newEC(t, elliptic.P256())
	member := func(key any, name, value string) json.RawMessage {
		return json.RawMessage(strings.Replace(string(publicJWK(key, "k")), "{", `{"`+name+`":"`+value+`",`, 1))
	}
	private, err := json.Marshal(jwkOf(ed))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		jwk json.RawMessage
		ok  bool
	}{
		"Ed25519":       {publicJWK(ed, "k"), true},
		"P-256":         {publicJWK(ec, ""), true},
		"for sig":       {member(ed, "use", "sig"), true},
		"for ES256":     {member(ec, "alg", "ES256"), true},
		"for enc":       {member(ed, "use", "enc"), false},
		"for another":   {member(ec, "alg", "EdDSA"), false},
		"P-384":         {publicJWK(newEC(t, elliptic.P384()), ""), false},
		"RSA 1024":      {publicJWK(newRSA(t, 1024), ""), false},
		"private":       {private, false},
		"symmetric":     {json.RawMessage(`{"kty":"oct","k":"c2VjcmV0"}`), false},
		"x twice":       {member(ed, "x", "AA"), false},
		"not on curve":  {json.RawMessage(`{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}`), false},
		"not an object": {json.RawMessage(`"key"`), false},
		"empty":         {nil, false},
	} {
		err := identity.CheckAgentKey(c.jwk)
		if c.ok != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("%s: code %s", name, access.CodeOf(err))
		}
		if d, _ := jwkOf(ed)["d"].(string); err != nil && strings.Contains(err.Error(), d) {
			t.Errorf("%s: the error quotes the private key", name)
		}
	}
}

// jwkOf is the private JWK of an Ed25519 key.
func jwkOf(k ed25519.PrivateKey) object {
	var o object
	if err := json.Unmarshal(publicJWK(k, ""), &o); err != nil {
		panic(err)
	}
	o["d"] = base64.RawURLEncoding.EncodeToString(k.Seed())
	return o
}

func TestReplayedAssertionIsRefused(t *testing.T) {
	w := newWorld(t)
	jwt := compact(t, object{"alg": "EdDSA"}, w.assertion(), w.key)
	if _, err := w.present(jwt); err != nil {
		t.Fatal(err)
	}
	replay := func(when string) {
		t.Helper()
		if _, err := w.present(jwt); code(err) != identity.InvalidClient {
			t.Errorf("%s: %v", when, err)
		}
	}
	replay("at once")
	w.restart()
	replay("after a restart")
	w.clock.advance(2*time.Minute - time.Second)
	replay("in the last second of the skew")
	w.clock.advance(-10 * time.Minute)
	replay("with the clock set back")
	// The record must outlast the assertion's acceptance.
	w = newWorld(t)
	claims := w.assertion()
	if _, err := w.authenticate(claims, w.key); err != nil {
		t.Fatal(err)
	}
	until := w.store.used[[2]string{"release-bot", claims["jti"].(string)}]
	w.clock.unix.Store(until.Unix())
	claims["jti"] = "another"
	if _, err := w.authenticate(claims, w.key); code(err) != identity.InvalidClient {
		t.Errorf("an assertion is accepted when its jti may be forgotten: %v", err)
	}
}

func TestAssertionIsAcceptedOnceWhenPresentedAtOnce(t *testing.T) {
	w := newWorld(t)
	jwt := compact(t, object{"alg": "EdDSA"}, w.assertion(), w.key)
	var accepted atomic.Int32
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := w.present(jwt); err == nil {
				accepted.Add(1)
			}
		})
	}
	wg.Wait()
	if n := accepted.Load(); n != 1 {
		t.Errorf("accepted %d times", n)
	}
}

// TestRefusedAssertionBurnsNoJTI: whoever cannot sign cannot use up an agent's
// identifiers.
func TestRefusedAssertionBurnsNoJTI(t *testing.T) {
	w := newWorld(t)
	claims := w.assertion()
	if _, err := w.authenticate(claims, newEd25519(t)); code(err) != identity.InvalidClient {
		t.Fatal(err)
	}
	if _, err := w.authenticate(claims, w.key); err != nil {
		t.Errorf("the jti was used up: %v", err)
	}
}

func TestRemovedKeyNoLongerAuthenticates(t *testing.T) {
	w := newWorld(t)
	next := newEd25519(t)
	w.agents.set("release-bot", w.key, next) // while rotating
	for _, k := range []any{w.key, next} {
		if _, err := w.authenticate(w.assertion(), k); err != nil {
			t.Fatal(err)
		}
	}
	w.agents.set("release-bot", next)
	if _, err := w.authenticate(w.assertion(), w.key); code(err) != identity.InvalidClient {
		t.Errorf("got %v", err)
	}
}

// TestOnlyTheKeyHolderLearnsOfSuspension: the reason is for the agent, and a
// stranger gets for a suspended agent what it gets for an unknown one.
func TestOnlyTheKeyHolderLearnsOfSuspension(t *testing.T) {
	w := newWorld(t)
	w.agents.refuse("release-bot", access.Errorf(access.CodeDenied, "agent release-bot is suspended; ask team-platform"))
	_, err := w.authenticate(w.assertion(), w.key)
	if code(err) != identity.InvalidClient || !strings.Contains(err.Error(), "suspended") {
		t.Errorf("the agent is told %v", err)
	}
	stranger := newEd25519(t)
	_, suspended := w.authenticate(w.assertion(), stranger)
	_, unknown := w.authenticate(with(w.assertion(), object{"iss": "nobody", "sub": "nobody"}), stranger)
	if suspended == nil || unknown == nil || suspended.Error() != unknown.Error() {
		t.Errorf("a stranger can tell them apart:\n%v\n%v", suspended, unknown)
	}
}

func TestClientIDMustBeTheAgent(t *testing.T) {
	w := newWorld(t)
	for id, ok := range map[string]bool{"": true, "release-bot": true, "other-bot": false, "Release-bot": false} {
		_, err := w.Authenticate(t.Context(), identity.Assertion{ClientID: id, Type: identity.AssertionType, JWT: compact(t, object{"alg": "EdDSA"}, w.assertion(), w.key)})
		if ok != (err == nil) {
			t.Errorf("client_id %q: %v", id, err)
		}
	}
	for _, typ := range []string{"", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"} {
		if _, err := w.Authenticate(t.Context(), identity.Assertion{Type: typ, JWT: "x"}); code(err) != identity.InvalidClient {
			t.Errorf("type %q: %v", typ, err)
		}
	}
	if _, err := w.Authenticate(t.Context(), identity.Assertion{}); code(err) != identity.InvalidClient {
		t.Errorf("no authentication: %v", err)
	}
}

func TestAuthenticateFailsClosedWithoutStore(t *testing.T) {
	w := newWorld(t)
	w.store.fail(errors.New("disk on fire"))
	c, err := w.authenticate(w.assertion(), w.key)
	if access.CodeOf(err) != access.CodeUnavailable || c != (identity.Client{}) {
		t.Errorf("%v %v", c, err)
	}
}
