package signal_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rutile/internal/signal"
)

// TestEachControlOfATokenRefusesAlone: each of these tokens is right but for one thing. It is
// refused by the check of that thing, which says so, and by no other: without the check it
// would be acted on.
func TestEachControlOfATokenRefusesAlone(t *testing.T) {
	event, now := signal.TypeOf(signal.SessionRevoked), time.Now()
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, curve, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	type forged struct {
		typ     string
		with    jose.SigningKey // the issuer's where it is empty
		changes map[string]any
		publish *jose.JSONWebKey // in place of the issuer's key
		header  map[string]any
	}
	key := func(x *transmitter, id string) jose.SigningKey {
		return jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: x.key, KeyID: id}}
	}
	about := func(format string, more map[string]any) map[string]any {
		more["format"] = format
		return map[string]any{"sub_id": more}
	}
	many := map[string]any{}
	for i := range 9 {
		many[fmt.Sprint("https://example.com/event-", i)] = map[string]any{}
	}
	for name, c := range map[string]struct {
		forge func(x *transmitter) forged
		why   string
	}{
		"issuer":              {func(*transmitter) forged { return forged{changes: map[string]any{"iss": "https://idp.example.com"}} }, "it is another issuer's"},
		"issuer with a slash": {func(x *transmitter) forged { return forged{changes: map[string]any{"iss": x.URL + "/"}} }, "it is another issuer's"},
		"audience":            {func(*transmitter) forged { return forged{changes: map[string]any{"aud": "https://other/signals"}} }, "it is for somebody else"},
		"audience among others": {func(*transmitter) forged {
			return forged{changes: map[string]any{"aud": []string{"https://a", "https://gw/signals/"}}}
		}, "it is for somebody else"},
		"audience of a part":      {func(*transmitter) forged { return forged{changes: map[string]any{"aud": "https://gw/signal"}} }, "it is for somebody else"},
		"type of an access token": {func(*transmitter) forged { return forged{typ: "at+jwt"} }, "its type is not secevent+jwt"},
		"type of a plain token":   {func(*transmitter) forged { return forged{typ: "JWT"} }, "its type is not secevent+jwt"},
		"shared secret": {func(*transmitter) forged {
			return forged{with: jose.SigningKey{Algorithm: jose.HS256, Key: make([]byte, 32)}}
		}, "signed with an algorithm that is not taken"},
		"key of somebody else": {func(*transmitter) forged {
			return forged{with: jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: other, KeyID: "k"}}}
		}, "no key of the issuer's made its signature"},
		"key under another name": {func(x *transmitter) forged { return forged{with: key(x, "other")} }, "no key of the issuer's made its signature"},
		"key for encryption": {func(x *transmitter) forged {
			return forged{publish: &jose.JSONWebKey{Key: x.key.Public(), KeyID: "k", Use: "enc"}}
		}, "no key of the issuer's made its signature"},
		"key for another algorithm": {func(x *transmitter) forged {
			return forged{publish: &jose.JSONWebKey{Key: old.Public(), KeyID: "k", Algorithm: "PS256"}, with: jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: old, KeyID: "k"}}}
		}, "no key of the issuer's made its signature"},
		"key of another kind": {func(x *transmitter) forged {
			return forged{with: jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: curve, KeyID: "k"}}}
		}, "no key of the issuer's made its signature"},
		"header that must be understood": {func(x *transmitter) forged {
			return forged{header: map[string]any{"crit": []string{"https://example.com/x"}, "https://example.com/x": true}}
		}, "no key of the issuer's made its signature"},
		"no id":   {func(*transmitter) forged { return forged{changes: map[string]any{"jti": nil}} }, "it has no jti"},
		"long id": {func(*transmitter) forged { return forged{changes: map[string]any{"jti": strings.Repeat("x", 257)}} }, "one of more than 256 bytes"},
		"no time": {func(*transmitter) forged { return forged{changes: map[string]any{"iat": nil}} }, "it does not say when it was made"},
		"time of the future": {func(*transmitter) forged {
			return forged{changes: map[string]any{"iat": now.Add(3 * time.Minute).Unix()}}
		}, "it is of the future"},
		"time of long ago": {func(*transmitter) forged {
			return forged{changes: map[string]any{"iat": now.Add(-7*24*time.Hour - time.Minute).Unix()}}
		}, "older than 7 days"},
		"time before all":                  {func(*transmitter) forged { return forged{changes: map[string]any{"iat": -1}} }, "its iat is no time"},
		"time beyond all":                  {func(*transmitter) forged { return forged{changes: map[string]any{"iat": 1e300}} }, "its iat is no time"},
		"end":                              {func(*transmitter) forged { return forged{changes: map[string]any{"exp": now.Add(time.Hour).Unix()}} }, "it has exp or sub"},
		"subject of another kind of token": {func(*transmitter) forged { return forged{changes: map[string]any{"sub": "4711"}} }, "it has exp or sub"},
		"no event":                         {func(*transmitter) forged { return forged{changes: map[string]any{"events": map[string]any{}}} }, "it has no event"},
		"many events":                      {func(*transmitter) forged { return forged{changes: map[string]any{"events": many}} }, "or more than 8"},
		"large event": {func(*transmitter) forged {
			return forged{changes: map[string]any{"events": map[string]any{event: map[string]any{"reason": strings.Repeat("x", 16<<10)}}}}
		}, "has more than 16384 bytes"},
		"large token":             {func(*transmitter) forged { return forged{changes: map[string]any{"more": strings.Repeat("x", 64<<10)}} }, "it has more than 65536 bytes"},
		"claims that are no text": {func(*transmitter) forged { return forged{changes: map[string]any{"raw": "\xff"}} }, "its claims cannot be read"},
		"subject of no format":    {func(*transmitter) forged { return forged{changes: about("shoe_size", map[string]any{"id": "1"})} }, "subject"},
		"subject that lacks a word": {func(*transmitter) forged {
			return forged{changes: about("iss_sub", map[string]any{"iss": "https://idp"})}
		}, "subject"},
		"subject with a hidden character": {func(*transmitter) forged { return forged{changes: about("opaque", map[string]any{"id": "a\u202eb"})} }, "subject"},
		"subject that is text":            {func(*transmitter) forged { return forged{changes: map[string]any{"sub_id": "ann"}} }, "subject"},
		"aliases of aliases": {func(*transmitter) forged {
			return forged{changes: about("aliases", map[string]any{"identifiers": []any{map[string]any{"format": "aliases", "identifiers": []any{map[string]any{"format": "opaque", "id": "1"}}}}})}
		}, "subject"},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTransmitter(t)
			x.publish = nil
			f := c.forge(x)
			x.publish = f.publish
			if f.typ == "" {
				f.typ = "secevent+jwt"
			}
			if f.with.Algorithm == "" {
				f.with = key(x, "k")
			}
			r, a := receiver(t, newInbox(), x.source())
			err := push(r, t, forge(t, f.with, f.typ, f.header, x.claims(f.changes)))
			no := (*signal.Refused)(nil)
			if !errors.As(err, &no) || !strings.Contains(no.Why, c.why) || len(a.did) > 0 {
				t.Fatalf("%v, done %v", err, a.did)
			}
			// All else about it is right.
			x.publish = nil
			r, a = receiver(t, newInbox(), x.source()) // it knows no keys yet
			if err := push(r, t, forge(t, key(x, "k"), "secevent+jwt", nil, x.claims(nil))); err != nil || len(a.did) != 1 {
				t.Errorf("the same without what is wrong: %v, done %v", err, a.did)
			}
		})
	}
	x := newTransmitter(t)
	box := newInbox()
	r, a := receiver(t, box, x.source())
	for i := range 3 { // an id that was taken is not acted on again, whatever else it says
		if err := push(r, t, x.set("application/secevent+jwt", map[string]any{"iat": now.Unix() - int64(i), "aud": []string{"https://a", "https://gw/signals"}})); err != nil {
			t.Fatal(err)
		}
	}
	again, b := receiver(t, box, x.source()) // another node
	if err := push(again, t, x.set("secevent+jwt", nil)); err != nil || len(a.did) != 1 || len(b.did) != 0 {
		t.Errorf("an id that was taken: %v, done %v and %v", err, a.did, b.did)
	}
	late := x.source()
	late.ID = "second"
	second, d := receiver(t, box, x.source(), late)
	if err := second.Push(t.Context(), "second", header(), []byte(x.set("secevent+jwt", nil))); err != nil || len(d.did) != 1 {
		t.Errorf("the same id of another source: %v, done %v", err, d.did)
	}
}

func header() http.Header { return http.Header{"Content-Type": {"application/secevent+jwt"}} }

// forge signs what may not be signed. A claim "raw" is written as it is, whatever bytes it has.
func forge(t *testing.T, with jose.SigningKey, typ string, more map[string]any, claims map[string]any) string {
	t.Helper()
	opts := (&jose.SignerOptions{}).WithType(jose.ContentType(typ))
	for k, v := range more {
		opts = opts.WithHeader(jose.HeaderKey(k), v)
	}
	signer, err := jose.NewSigner(with, opts)
	if err != nil {
		t.Fatal(err)
	}
	raw, ok := claims["raw"].(string)
	if ok {
		claims["raw"] = "@"
	}
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(strings.Replace(string(b), "@", raw, 1)))
	if err != nil {
		t.Fatal(err)
	}
	out, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}
