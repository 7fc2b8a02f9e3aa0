// Package signin proves who a person is who signs in to the console: with a passkey, or
// with a password and a one-time code.
//
// What a person presents is checked against a Row, which is sealed: whoever reads or
// writes the database learns no secret and plants no key. A row by itself counts for
// nobody: whoever lets somebody in MUST see first that the user names it. A challenge
// MUST come from Challenges, which gives each out once. The package decides nothing
// about rights, records nothing and serves nothing.
package signin

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"rutile/internal/access"
)

// Prefix starts the ids of factors.
const Prefix = "fac_"

// Kinds of rows.
const (
	KindPasskey  = "passkey"
	KindPassword = "password"
)

// Row is what one factor of a user is checked against.
type Row struct {
	ID         string
	User       string
	Kind       string
	Credential string    // of a passkey: its id, base64url
	Counter    int64     // signatures of a passkey, or the last time step a code was taken of
	Spent      int64     // recovery codes that were used, one bit each
	Used       time.Time // last
	Sealed     []byte
}

// Store keeps rows.
type Store interface {
	// PutFactor keeps a new row; CodeConflict where its id or credential is there.
	PutFactor(ctx context.Context, r Row) error
	// FactorsOf returns the rows of a user, sorted by id.
	FactorsOf(ctx context.Context, user string) ([]Row, error)
	// FactorOfCredential returns the row of a passkey.
	FactorOfCredential(ctx context.Context, credential string) (r Row, ok bool, err error)
	// AdvanceFactor raises the counter of a row and notes its use. It reports false, and
	// changes nothing, unless the counter grows, or is 0 and stays it.
	AdvanceFactor(ctx context.Context, id string, counter int64, at time.Time) (bool, error)
	// SpendFactor marks one bit of what is spent of a row and notes its use. It reports
	// false if the bit was marked already.
	SpendFactor(ctx context.Context, id string, bit int64, at time.Time) (bool, error)
	// DropFactors removes rows; those that are not there are no error.
	DropFactors(ctx context.Context, ids ...string) error
}

// Sealer seals what rows hold, bound to what it is for.
type Sealer interface {
	Seal(ctx context.Context, what string, plain []byte) ([]byte, error)
	Open(ctx context.Context, what string, sealed []byte) ([]byte, error)
}

// ErrRefused is why somebody is not let in, whatever it was: nobody who tries learns
// more.
var ErrRefused = errors.New("signin: refused") //nolint:gochecknoglobals // a sentinel

// ErrCopied is ErrRefused where a passkey counts back: there are two of it.
var ErrCopied = fmt.Errorf("%w: the passkey's counter went back, so there may be a copy of it", ErrRefused) //nolint:gochecknoglobals // a sentinel

func seal(ctx context.Context, s Sealer, r *Row, v any) error {
	plain, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("sealing a factor: %w", err)
	}
	r.Sealed, err = s.Seal(ctx, place(r), plain)
	return err
}

func open(ctx context.Context, s Sealer, r *Row, v any) error {
	plain, err := s.Open(ctx, place(r), r.Sealed)
	if err != nil {
		return fmt.Errorf("opening factor %s: %w", r.ID, err)
	}
	if err := json.Unmarshal(plain, v); err != nil {
		return fmt.Errorf("opening factor %s: %w", r.ID, err)
	}
	return nil
}

// place binds what is sealed to its row: moved to another it does not open.
func place(r *Row) string {
	return "sign-in/" + r.ID + "/" + r.Kind + "/" + r.User + "/" + r.Credential
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

func newID() string { return access.NewID(Prefix) }
