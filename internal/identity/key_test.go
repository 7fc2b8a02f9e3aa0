package identity_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rutile/internal/identity"
)

// published returns the key ids of the JWKS.
func published(t *testing.T, w *world) []string {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(w.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, k := range set.Keys {
		if !k.IsPublic() || !k.Valid() || k.Use != "sig" || k.Algorithm != "EdDSA" {
			t.Errorf("key %s is published wrongly", k.KeyID)
		}
		ids = append(ids, k.KeyID)
	}
	return ids
}

// TestRotationKeepsOldTokens: the next key is published before it signs, and a
// retired one until the last token it signed is past.
func TestRotationKeepsOldTokens(t *testing.T) {
	w := newWorld(t)
	before := published(t, w)
	if len(before) != 2 {
		t.Fatalf("published %v, want the current and the next key", before)
	}
	old := w.token()
	if kid := header(t, old.Value)["kid"]; kid != before[0] {
		t.Fatalf("signed by %v, want the oldest key %s", kid, before[0])
	}
	w.clock.advance(time.Minute)
	if err := w.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := published(t, w)
	if len(after) != 3 || after[0] != before[0] || after[1] != before[1] {
		t.Fatalf("published %v after %v", after, before)
	}
	if kid := header(t, w.token().Value)["kid"]; kid != before[1] {
		t.Errorf("signed by %v, want the key published ahead %s", kid, before[1])
	}
	for _, step := range []struct {
		name    string
		advance time.Duration
		restart bool
		ok      bool
	}{
		{"after the rotation", 0, false, true},
		{"after a restart", 0, true, true},
		{"in the last second", 5 * time.Minute, true, true}, // 4 left of its life, 1 of skew
		{"expired", time.Second, true, false},
	} {
		w.clock.advance(step.advance)
		if step.restart {
			w.restart()
		}
		_, err := w.Verify(t.Context(), old.Value, files)
		if step.ok && err != nil || !step.ok && problem(err) != identity.ProblemInvalid {
			t.Errorf("%s: %v", step.name, err)
		}
	}
	w.clock.advance(time.Hour + 2*time.Minute)
	if ids := published(t, w); len(ids) != 2 || ids[0] != before[1] {
		t.Errorf("published %v long after the rotation", ids)
	}
}

// TestLongestTokenSurvivesRotation: a development token of the longest life
// stays valid although its key is retired right after signing it.
func TestLongestTokenSurvivesRotation(t *testing.T) {
	w := newWorld(t)
	tok, err := w.Development(t.Context(), "release-bot", files, "", "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(time.Hour + time.Minute)
	w.restart()
	if _, err := w.Verify(t.Context(), tok.Value, files); err != nil {
		t.Error(err)
	}
}

// TestRetiredKeyCannotSign: once retired, the private key is nowhere, so what
// is sealed in the store is its public part.
func TestRetiredKeyCannotSign(t *testing.T) {
	w := newWorld(t)
	private, kid := w.signer()
	if err := w.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	plain, err := w.sealer.Open(t.Context(), "token-key", w.store.keys[kid].Sealed)
	if err != nil {
		t.Fatal(err)
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(plain); err != nil || !jwk.IsPublic() {
		t.Errorf("the retired key is private: %v", err)
	}
	if w.store.keys[kid].Retired.IsZero() {
		t.Error("the key is not marked as retired")
	}
	// Long after, even a thief of the private key signs nothing that is accepted.
	w.clock.advance(2 * time.Hour)
	w.agents.set("release-bot", w.key)
	now := w.clock.now().Unix()
	claims := with(payload(t, w.token().Value), object{"iat": now, "exp": now + 300})
	if _, err := w.Verify(t.Context(), compact(t, object{"alg": "EdDSA", "typ": "at+jwt", "kid": kid}, claims, private), files); problem(err) != identity.ProblemInvalid {
		t.Errorf("got %v", err)
	}
}

func TestStoredKeysAreSealed(t *testing.T) {
	w := newWorld(t)
	private, kid := w.signer()
	seed := []byte(encode(t, string(private.Seed())))
	for id, k := range w.store.keys {
		if bytes.Contains(k.Sealed, seed) || bytes.Contains(k.Sealed, private.Seed()) {
			t.Errorf("key %s lies open in the store", id)
		}
	}
	if bytes.Contains(w.JWKS(), seed) {
		t.Error("the private key is published")
	}
	if len(kid) != 16 {
		t.Errorf("key id %q", kid)
	}
}

func TestNewRefusesTamperedKeys(t *testing.T) {
	for name, tamper := range map[string]func(w *world){
		"rows swapped": func(w *world) {
			ids := published(t, w)
			a, b := w.store.keys[ids[0]], w.store.keys[ids[1]]
			a.Sealed, b.Sealed = b.Sealed, a.Sealed
			w.store.keys[a.ID], w.store.keys[b.ID] = a, b
		},
		"bit flipped": func(w *world) {
			k := w.store.keys[published(t, w)[0]]
			k.Sealed = bytes.Clone(k.Sealed)
			k.Sealed[len(k.Sealed)-1] ^= 1
			w.store.keys[k.ID] = k
		},
		"algorithm changed": func(w *world) {
			k := w.store.keys[published(t, w)[0]]
			k.Alg = "HS256"
			w.store.keys[k.ID] = k
		},
		"retired revived": func(w *world) {
			id := published(t, w)[0]
			if err := w.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
			k := w.store.keys[id]
			k.Retired = time.Time{}
			w.store.keys[id] = k
		},
		"store down": func(w *world) { w.store.fail(errors.New("down")) },
	} {
		w := newWorld(t)
		tamper(w)
		if _, err := identity.New(t.Context(), w.cfg, w.store, w.sealer, w.agents, known{}, &w.revoked); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestFailedRotationChangesNothing(t *testing.T) {
	w := newWorld(t)
	before := string(w.JWKS())
	w.store.fail(errors.New("down"))
	if err := w.Rotate(t.Context()); err == nil {
		t.Error("no error")
	}
	w.store.fail(nil)
	if after := string(w.JWKS()); after != before {
		t.Errorf("published %s, was %s", after, before)
	}
	w.token()
}

func TestNewChecksItsConfiguration(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		cfg identity.Config
		ok  bool
	}{
		"https":              {identity.Config{Issuer: "https://mcp.example.com"}, true},
		"https port":         {identity.Config{Issuer: "https://mcp.example.com:8443"}, true},
		"loopback":           {identity.Config{Issuer: "http://127.0.0.1:7433"}, true},
		"loopback 6":         {identity.Config{Issuer: "http://[::1]:7433"}, true},
		"localhost":          {identity.Config{Issuer: "http://localhost:7433"}, true},
		"insecure by will":   {identity.Config{Issuer: "http://10.0.0.1", Insecure: true}, true},
		"http":               {identity.Config{Issuer: "http://mcp.example.com"}, false},
		"loopback lookalike": {identity.Config{Issuer: "http://127.0.0.1.example.com"}, false},
		"slash":              {identity.Config{Issuer: "https://mcp.example.com/"}, false},
		"path":               {identity.Config{Issuer: "https://mcp.example.com/a"}, false},
		"query":              {identity.Config{Issuer: "https://mcp.example.com?a"}, false},
		"fragment":           {identity.Config{Issuer: "https://mcp.example.com#"}, false},
		"userinfo":           {identity.Config{Issuer: "https://a@mcp.example.com"}, false},
		"capital scheme":     {identity.Config{Issuer: "HTTPS://mcp.example.com"}, false},
		"empty":              {identity.Config{}, false},
		"another scheme":     {identity.Config{Issuer: "ftp://mcp.example.com"}, false},
		"negative skew":      {identity.Config{Issuer: issuer, Skew: -1}, false},
		"negative cache":     {identity.Config{Issuer: issuer, CacheSize: -1}, false},
		"ttl over session":   {identity.Config{Issuer: issuer, TokenTTL: time.Hour, Absolute: time.Minute}, false},
		"ttl under a second": {identity.Config{Issuer: issuer, TokenTTL: time.Millisecond}, false},
	} {
		a, err := identity.New(t.Context(), c.cfg, w.store, w.sealer, w.agents, known{}, &w.revoked)
		if c.ok != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (a.Issuer() != c.cfg.Issuer || a.TokenEndpoint() != c.cfg.Issuer+"/oauth/token") {
			t.Errorf("%s: issuer %s", name, a.Issuer())
		}
	}
	if _, err := identity.New(t.Context(), w.cfg, nil, w.sealer, w.agents, known{}, &w.revoked); err == nil {
		t.Error("a nil store is accepted")
	}
}
