package audit_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/audit"
)

const signedRequest = "req_01ARZ3NDEKTSV4RRFFQ69G5FAV"

// assertion is what a passkey at localhost signs for signedRequest, after change.
func assertion(t *testing.T, key crypto.Signer, change func(client *string, data []byte)) *access.Assertion {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	terms, party := sha256.Sum256([]byte("terms")), sha256.Sum256([]byte("localhost"))
	a := &access.Assertion{Key: der, Terms: terms[:], Nonce: []byte(strings.Repeat("n", 32)), AuthenticatorData: append(party[:], 5, 0, 0, 0, 1)}
	client := `{"type":"webauthn.get","challenge":"` + base64.RawURLEncoding.EncodeToString(audit.ChallengeOf("Request", signedRequest, a.Terms, a.Nonce)) + `","origin":"http://localhost:7434","crossOrigin":false}`
	if change != nil {
		change(&client, a.AuthenticatorData)
	}
	a.ClientData = []byte(client)
	sum := sha256.Sum256(a.ClientData)
	message := slices.Concat(a.AuthenticatorData, sum[:])
	digest, opts := sha256.Sum256(message), crypto.SHA256
	signed := digest[:]
	if _, ok := key.(ed25519.PrivateKey); ok {
		signed, opts = message, 0
	}
	if a.Signature, err = key.Sign(rand.Reader, signed, opts); err != nil {
		t.Fatal(err)
	}
	return a
}

func ecKey(t *testing.T) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestASignedApprovalVerifiesOffline: with every kind of key there is, and not where the
// leaf is about something else.
func TestASignedApprovalVerifiesOffline(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	logged := func(change func(*audit.Admin)) audit.Report {
		cfg := config(t.TempDir())
		l := start(t, cfg, newMemory())
		for _, k := range []crypto.Signer{ecKey(t), ed, rs} {
			a := audit.Admin{ID: "chg_1", Actor: "user:ann", Verb: "approve", Kind: "Request", Object: signedRequest, After: "sha256:b", Detail: []byte("{}"), Signed: assertion(t, k, nil)}
			if change != nil {
				change(&a)
			}
			if _, err := l.Admin(t.Context(), a); err != nil {
				t.Fatal(err)
			}
		}
		vkey := l.VerifierKey()
		stop(t, l)
		r, err := audit.Verify(cfg.Dir, audit.VerifyOptions{Keys: []string{vkey}, Complete: true})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := logged(nil); r.ExitStatus() != audit.ExitVerified {
		t.Errorf("status %d: %q, %q", r.ExitStatus(), r.Problems, r.Lacking)
	}
	for name, change := range map[string]func(*audit.Admin){
		"another request":     func(a *audit.Admin) { a.Object = "req_01ARZ3NDEKTSV4RRFFQ69G5FAW" },
		"a denial":            func(a *audit.Admin) { a.Verb = "deny" },
		"a grant":             func(a *audit.Admin) { a.Kind = "Grant" },
		"other terms":         func(a *audit.Admin) { a.Signed.Terms[0] ^= 1 },
		"another nonce":       func(a *audit.Admin) { a.Signed.Nonce[0] ^= 1 },
		"no nonce":            func(a *audit.Admin) { a.Signed.Nonce = nil },
		"another key":         func(a *audit.Admin) { a.Signed.Key = assertion(t, ecKey(t), nil).Key },
		"a changed signature": func(a *audit.Admin) { a.Signed.Signature[len(a.Signed.Signature)-1] ^= 1 },
		"another counter":     func(a *audit.Admin) { a.Signed.AuthenticatorData[36] ^= 2 },
	} {
		if r := logged(change); r.ExitStatus() != audit.ExitProblems || len(r.Problems) != 3 {
			t.Errorf("%s: status %d: %q", name, r.ExitStatus(), r.Problems)
		}
	}
}

// TestASignedBreakGlassVerifiesOffline, and what was signed to approve a request counts
// for none.
func TestASignedBreakGlassVerifiesOffline(t *testing.T) {
	const id = "grt_01ARZ3NDEKTSV4RRFFQ69G5FAV"
	k := ecKey(t)
	of := func(kind, id string) *access.Assertion {
		a := assertion(t, k, nil)
		return assertion(t, k, func(c *string, _ []byte) {
			text := base64.RawURLEncoding.EncodeToString
			*c = strings.Replace(*c, text(audit.ChallengeOf("Request", signedRequest, a.Terms, a.Nonce)), text(audit.ChallengeOf(kind, id, a.Terms, a.Nonce)), 1)
		})
	}
	for name, tt := range map[string]struct {
		verb, kind, object string
		signed             *access.Assertion
		status             int
	}{
		"the honest one":           {"break-glass", "Grant", id, of("Grant", id), audit.ExitVerified},
		"another grant":            {"break-glass", "Grant", id, of("Grant", "grt_01ARZ3NDEKTSV4RRFFQ69G5FAW"), audit.ExitProblems},
		"signed as an approval":    {"break-glass", "Grant", id, of("Request", id), audit.ExitProblems},
		"signed for an approval":   {"break-glass", "Grant", id, of("Request", signedRequest), audit.ExitProblems},
		"an approval, as a glass":  {"approve", "Request", signedRequest, of("Grant", signedRequest), audit.ExitProblems},
		"a glass of a request":     {"break-glass", "Request", signedRequest, of("Request", signedRequest), audit.ExitProblems},
		"the approval of a grant":  {"approve", "Grant", id, of("Grant", id), audit.ExitProblems},
		"the revocation of one":    {"revoke", "Grant", id, of("Grant", id), audit.ExitProblems},
		"something about a server": {"approve", "Server", "files", of("Request", "files"), audit.ExitProblems},
	} {
		cfg := config(t.TempDir())
		l := start(t, cfg, newMemory())
		if _, err := l.Admin(t.Context(), audit.Admin{ID: "chg_1", Actor: "user:ann", Verb: tt.verb, Kind: tt.kind, Object: tt.object, After: "sha256:b", Detail: []byte("{}"), Signed: tt.signed}); err != nil {
			t.Fatal(err)
		}
		vkey := l.VerifierKey()
		stop(t, l)
		r, err := audit.Verify(cfg.Dir, audit.VerifyOptions{Keys: []string{vkey}, Complete: true})
		if err != nil || r.ExitStatus() != tt.status {
			t.Errorf("%s: status %d, %v: %q", name, r.ExitStatus(), err, r.Problems)
		}
	}
}

// TestWhatADeviceDidNotSignForUsDoesNotCount: each is signed, and is something else.
func TestWhatADeviceDidNotSignForUsDoesNotCount(t *testing.T) {
	k := ecKey(t)
	if err := audit.CheckAssertion("Request", signedRequest, assertion(t, k, nil)); err != nil {
		t.Fatal(err)
	}
	if audit.CheckAssertion("Request", signedRequest, nil) == nil || audit.CheckAssertion("Request", signedRequest, &access.Assertion{}) == nil {
		t.Error("nothing counts")
	}
	replace := func(old, new string) func(*string, []byte) {
		return func(c *string, _ []byte) { *c = strings.Replace(*c, old, new, 1) }
	}
	for name, change := range map[string]func(*string, []byte){
		"a registration": replace("webauthn.get", "webauthn.create"),
		"a frame":        replace("false", "true"),
		"another site":   replace("localhost", "evil.example"),
		"no site":        replace("http://localhost:7434", ":"),
		"no JSON":        replace("{", ""),
		"no challenge":   replace(`"challenge"`, `"other"`),
		"not verified":   func(_ *string, d []byte) { d[32] = 1 },
		"not touched":    func(_ *string, d []byte) { d[32] = 4 },
		"another party":  func(_ *string, d []byte) { d[0] ^= 1 },
	} {
		if audit.CheckAssertion("Request", signedRequest, assertion(t, k, change)) == nil {
			t.Errorf("%s counts", name)
		}
	}
}
