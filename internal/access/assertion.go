package access

import (
	"crypto/sha256"
	"encoding/base64"
)

// Assertion is what a passkey signed for a request (Web Authentication, Level 3, section
// 7.2). The signature is over AuthenticatorData and the SHA-256 of ClientData, which is
// JSON and holds the challenge.
type Assertion struct {
	Key               []byte `json:"key"` // SubjectPublicKeyInfo, DER
	AuthenticatorData []byte `json:"authenticatorData"`
	ClientData        []byte `json:"clientData"`
	Signature         []byte `json:"signature"`
	// Terms is the SHA-256 of what the approval gives, and Nonce makes it another
	// challenge each time somebody is asked.
	Terms []byte `json:"terms"`
	Nonce []byte `json:"nonce"`
}

// KeyName names the key as the user it belongs to does: its SHA-256, in base64url.
func (a *Assertion) KeyName() string {
	sum := sha256.Sum256(a.Key)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
