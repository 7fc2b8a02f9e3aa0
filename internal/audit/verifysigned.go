package audit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
)

// signedMember is the member of a leaf that holds what a passkey signed.
const signedMember = "webauthn"

// signed is what a passkey signed, as a leaf has it.
type signed struct {
	key, authenticator, client, signature, terms, nonce []byte
}

// signedVerbs are the leaves that can hold a signature, by kind of their object: the
// approval of a request, and a break-glass, which makes a grant.
var signedVerbs = map[string]string{"Request": "approve", "Grant": "break-glass"}

// checkSigned checks what a leaf holds of a signature, nil where it holds none.
func checkSigned(v value) error {
	m := v.get(signedMember)
	if m.kind == 0 {
		return nil
	}
	object := v.get("object")
	kind := object.get("kind").str
	if verb, ok := signedVerbs[kind]; !ok || v.get("type").str != "admin" || v.get("verb").str != verb {
		return errors.New("it has a signature, and is neither the approval of a request nor a break-glass")
	}
	var s signed
	for key, to := range map[string]*[]byte{"authenticator": &s.authenticator, "client": &s.client, "key": &s.key, "nonce": &s.nonce, "signature": &s.signature, "terms": &s.terms} {
		b, err := base64.RawURLEncoding.Strict().DecodeString(m.get(key).str)
		if err != nil || len(b) == 0 {
			return fmt.Errorf("its member %q is missing or malformed", signedMember+"."+key)
		}
		*to = b
	}
	if err := s.check(kind, object.get("id").str); err != nil {
		return fmt.Errorf("its signature does not count: %w", err)
	}
	return nil
}

// ChallengeOf is what a passkey signs for an object of a kind on some terms: the SHA-256
// of the grant hash. That is, for the approval of a Request, the SHA-256 of
// {"nonce":…,"request":…,"terms":…} and, for a break-glass that makes a Grant, of
// {"grant":…,"nonce":…,"terms":…} in canonical form (RFC 8785), its bytes in base64url.
// id MUST be one of ours.
func ChallengeOf(kind, id string, terms, nonce []byte) []byte {
	text := base64.RawURLEncoding.EncodeToString
	said := `{"nonce":"` + text(nonce) + `","request":"` + id + `","terms":"` + text(terms) + `"}`
	if kind == "Grant" {
		said = `{"grant":"` + id + `","nonce":"` + text(nonce) + `","terms":"` + text(terms) + `"}`
	}
	grant := sha256.Sum256([]byte(said))
	sum := sha256.Sum256(grant[:])
	return sum[:]
}

// Parts of authenticator data (Web Authentication, Level 3, section 6.1).
const (
	userPresent  = 0x01
	userVerified = 0x04
	dataHead     = sha256.Size + 1 + 4 // hash of the site, flags, counter
)

// check checks what can be with nothing else at hand: that the key signed, on a device
// that verified its user, that this request is approved, or this grant taken, on these
// terms. Whose the key is it cannot know.
func (s *signed) check(kind, id string) error {
	if len(s.terms) != sha256.Size || len(s.nonce) < 16 {
		return errors.New("it does not say what was signed")
	}
	var client struct {
		Type      string `json:"type"`
		Challenge string `json:"challenge"`
		Origin    string `json:"origin"`
		Crossed   bool   `json:"crossOrigin"`
	}
	if json.Unmarshal(s.client, &client) != nil || client.Type != "webauthn.get" || client.Crossed {
		return errors.New("what the browser wrote is no signing in its own page")
	}
	if client.Challenge != base64.RawURLEncoding.EncodeToString(ChallengeOf(kind, id, s.terms, s.nonce)) {
		return errors.New("something else was signed")
	}
	site, err := url.Parse(client.Origin)
	if err != nil || len(s.authenticator) < dataHead || [sha256.Size]byte(s.authenticator) != sha256.Sum256([]byte(site.Hostname())) {
		return errors.New("the passkey is of another site than the page")
	}
	if s.authenticator[sha256.Size]&(userPresent|userVerified) != userPresent|userVerified {
		return errors.New("the device did not verify its user")
	}
	return s.checkKey()
}

// checkKey checks the signature itself, with a key of a kind that passkeys are made with
// here: Ed25519, ECDSA over P-256 or RSA (RS256).
func (s *signed) checkKey() error {
	key, err := x509.ParsePKIXPublicKey(s.key)
	if err != nil {
		return errors.New("its public key cannot be read")
	}
	client := sha256.Sum256(s.client)
	message := append(append([]byte{}, s.authenticator...), client[:]...)
	digest := sha256.Sum256(message)
	ok := false
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(k, digest[:], s.signature)
	case ed25519.PublicKey:
		ok = ed25519.Verify(k, message, s.signature)
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], s.signature) == nil
	}
	if !ok {
		return errors.New("the key did not sign this")
	}
	return nil
}
