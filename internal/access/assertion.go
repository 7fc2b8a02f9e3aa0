package access

import "crypto/sha256"

// Assertion is what a passkey signed (Web Authentication, Level 3, section 7.2). The
// signature is over AuthenticatorData and the SHA-256 of ClientData, which is JSON and
// holds the challenge.
type Assertion struct {
	Credential        []byte `json:"credential"`
	Key               []byte `json:"key"` // SubjectPublicKeyInfo, DER
	AuthenticatorData []byte `json:"authenticatorData"`
	ClientData        []byte `json:"clientData"`
	Signature         []byte `json:"signature"`
	// Subject is the SHA-256 of what the person agreed to, in canonical form; its
	// SHA-256 is the challenge.
	Subject []byte `json:"subject,omitempty"`
}

// ChallengeOf is what a passkey signs for a subject.
func ChallengeOf(subject []byte) []byte {
	sum := sha256.Sum256(subject)
	return sum[:]
}
