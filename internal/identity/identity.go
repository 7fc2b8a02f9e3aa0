// Package identity turns a presented credential into an authenticated subject
// and actor, and issues our own tokens.
//
// Tokens are RFC 9068 JWTs of five minutes for one audience. Verify MUST check
// type, algorithm, key, signature, issuer, audience (byte-equal), times and
// revocation epoch on every call, from a cache or not; the zero Identity is
// never returned without an error. The package serves no HTTP: package oauth
// does.
package identity

import (
	"context"
	"time"
)

// Family is a token family, the session we mint (access.md 1.3).
type Family struct {
	ID       string // "ses_…"
	Parent   string
	Agent    string
	Subject  string // "issuer|sub", "" if autonomous
	Proof    string // thumbprint of the proof key that opened it
	Source   string // "private_key_jwt", "development"
	Task     string
	Opened   time.Time
	Last     time.Time // last use
	Absolute time.Time // end, whatever happens
}

// SigningKey is one of our token keys as stored.
type SigningKey struct {
	ID      string // kid
	Alg     string // "EdDSA"
	Sealed  []byte // private key, sealed by access.Sealer with purpose "token-key"
	Created time.Time
	Retired time.Time // zero while it signs; verifies until Retired + token TTL
}

// Store keeps what identity must remember across restarts.
type Store interface {
	LoadSigningKeys(ctx context.Context) ([]SigningKey, error)
	SaveSigningKey(ctx context.Context, k SigningKey) error
	// JoinFamily returns the open family of (agent, subject, proof, task) if it
	// was used within idle and has not passed its absolute end, updating Last;
	// otherwise it stores and returns f. It is one transaction.
	JoinFamily(ctx context.Context, f Family, idle time.Duration) (Family, error)
	// UseAssertion records (issuer, jti) until expires. It returns false if it
	// was there already: a replay.
	UseAssertion(ctx context.Context, issuer, jti string, expires time.Time) (bool, error)
	// LoadFamily returns a family by id; ok is false if there is none.
	LoadFamily(ctx context.Context, id string) (f Family, ok bool, err error)
}
