// Package credential keeps upstream credentials sealed and leases one for the
// length of one request.
//
// A secret is sealed by envelope encryption (AES-256-GCM, one data key per
// secret version) with the associated data tenant|secret|version|purpose, so
// rows cannot be swapped. It is opened only inside a lease, only for the origin
// and server it is bound to. Values never appear in errors, logs, evidence,
// process arguments or the API: the types here redact themselves.
package credential

import (
	"context"
	"time"
)

// Secret is a sealed credential as stored.
type Secret struct {
	ID      string    `json:"id"`
	Version int       `json:"version"` // grows with each rotation
	Sealed  []byte    `json:"-"`
	Servers []string  `json:"servers,omitempty"` // ids it may be used for; empty: whichever manifest names it
	Origins []string  `json:"origins,omitempty"` // scheme://host:port it may be sent to; bound at first use if empty
	MaxTier int       `json:"maxTier"`
	Created time.Time `json:"created"`
	Rotated time.Time `json:"rotated,omitzero"`
}

// Store keeps sealed secrets.
type Store interface {
	LoadSecrets(ctx context.Context) ([]Secret, error)
	// PutSecret stores s; if s.Version is not the stored version + 1 (or 1 for a
	// new one) it returns an access.CodeConflict error.
	PutSecret(ctx context.Context, s Secret) error
	// DeleteSecret removes it; ok is false if there was none.
	DeleteSecret(ctx context.Context, id string) (ok bool, err error)
}
