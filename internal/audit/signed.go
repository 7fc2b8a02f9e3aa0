package audit

import (
	"errors"

	"rutile/internal/access"
)

// CheckAssertion checks what a passkey signed for a Request or a Grant as a verifier of
// evidence does. Whose the passkey is it does not know.
func CheckAssertion(kind, id string, a *access.Assertion) error {
	if a == nil {
		return errors.New("there is no signature")
	}
	s := signed{key: a.Key, authenticator: a.AuthenticatorData, client: a.ClientData, signature: a.Signature, terms: a.Terms, nonce: a.Nonce}
	return s.check(kind, id)
}

// signed writes what a passkey signed, its keys in the order of the canonical form.
func (d *draft) signed(a *access.Assertion) {
	if a == nil {
		return
	}
	mark := d.begin(signedMember)
	d.bytes("authenticator", a.AuthenticatorData)
	d.bytes("client", a.ClientData)
	d.bytes("key", a.Key)
	d.bytes("nonce", a.Nonce)
	d.bytes("signature", a.Signature)
	d.bytes("terms", a.Terms)
	d.end(mark)
}
