// Package credential keeps upstream credentials sealed and leases one for the
// length of one request.
//
// A secret is sealed by envelope encryption (AES-256-GCM, one data key per
// secret version) with the associated data tenant|secret|version|purpose, where
// the purpose holds what it is bound to: rows cannot be swapped, and a row that
// names other servers or origins does not open. It is opened only for a lease,
// only for the origin and server it is bound to. Callers MUST release a lease
// and MUST NOT reveal its value before the intent is durable. Values never
// appear in errors, logs, evidence, process arguments or the API: the types here
// redact themselves.
//
// From its first lease on the vault keeps the current version's value in memory,
// so that a call costs no decryption. It is overwritten when the secret is
// rotated or removed and the last lease of it has ended. That is an effort and
// no promise: the runtime may have copied it, and a header is a string, which
// nobody can overwrite. A row that was removed and put back by whoever can write
// the store opens again after a restart.
package credential

import (
	"context"
	"time"
)

// Secret is a sealed credential as stored.
type Secret struct {
	ID      string    `json:"id"`
	Version int       `json:"version"` // grows with each rotation and when it is bound
	Sealed  []byte    `json:"-"`
	Servers []string  `json:"servers,omitempty"` // ids it may be used for; empty: whichever manifest names it
	Origins []string  `json:"origins,omitempty"` // scheme://host[:port] it may be sent to, or stdio:SERVER; bound at first use if empty
	MaxTier int       `json:"maxTier"`           // of the tools it may be used for
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
	// LoadRing returns the sealed root keys; version is 0 if there are none.
	LoadRing(ctx context.Context) (version int, sealed []byte, err error)
	// PutRing stores the next version of them, or version 1 if there are none; any
	// other version is an access.CodeConflict error.
	PutRing(ctx context.Context, version int, sealed []byte) error
}
