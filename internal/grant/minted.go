package grant

import (
	"context"
	"time"

	"rutile/internal/access"
)

// Minted is a credential that was made for calls under a grant, for as long as it has
// not ended. One that serves calls under several grants stands under each.
type Minted struct {
	Grant      string
	Credential string // id of its source
	Kind       string // of its source
	Version    string // tells it from every other one of its source; no secret
	Server     string // it was made for
	Node       string // where it was made
	At         time.Time
	Expires    time.Time // zero: its issuer did not say
	// Sealed is what its issuer ends it by; nil where its issuer cannot. The value is in
	// it, sealed.
	Sealed []byte
	Tries  int       // to end it
	Next   time.Time // try
	Why    string    // the last failed
}

// Left is a credential that outlives the grant it was made under, for a while.
type Left struct {
	Credential string    `json:"credential"`
	Kind       string    `json:"kind"`
	Version    string    `json:"version"`
	Server     string    `json:"server"`
	Until      time.Time `json:"until"`             // it ends by itself
	Assumed    bool      `json:"assumed,omitempty"` // nobody said so: it is the longest that is reckoned with
	Why        string    `json:"why"`               // it could not be ended before
}

// unknownEnd is how long a credential is reckoned to live whose issuer did not say.
const unknownEnd = 24 * time.Hour

// Until is when m has ended by itself at the latest, as far as is known.
func (m *Minted) Until() time.Time {
	if m.Expires.IsZero() {
		return m.At.Add(unknownEnd)
	}
	return m.Expires
}

func (m *Minted) left() Left {
	return Left{Credential: m.Credential, Kind: m.Kind, Version: m.Version, Server: m.Server, Until: m.Until(), Assumed: m.Expires.IsZero(), Why: m.Why}
}

// purpose is what the value of m is sealed for.
func (m *Minted) purpose() string { return "minted:" + m.Grant + ":" + m.Credential + ":" + m.Version }

// Credentials keeps what was minted under grants and has not ended.
type Credentials interface {
	// KeepMinted notes that calls under a grant are given m; noting it again changes
	// nothing. The error is a CodeConflict where the grant is one that was taken back, or
	// was never in force.
	KeepMinted(ctx context.Context, m Minted) error
	// DropMinted forgets a credential that has ended, under whichever grants.
	DropMinted(ctx context.Context, credential, version string) error
	// DropExpired forgets what has ended by itself.
	DropExpired(ctx context.Context, at time.Time) error
	// MintedUnder returns what lives of these grants, by grant.
	MintedUnder(ctx context.Context, grants []string) (map[string][]Minted, error)
	// Revoking returns the grants that are GrantRevoking or GrantRevokePartial.
	Revoking(ctx context.Context) ([]Grant, error)
	// TryMinted notes a try to end m, its Why, and when the next may be made, unless
	// somebody else did since m was read: then ok is false.
	TryMinted(ctx context.Context, m Minted, next time.Time) (ok bool, err error)
	// FailMinted notes why the last try failed and when the next may be made.
	FailMinted(ctx context.Context, m Minted) error
}

// Mint notes that a call under a grant is about to be given a credential, with what its
// issuer ends it by: how is nil where its issuer cannot. It MUST be called before the
// credential is used. A CodeDenied error means that the grant was taken back meanwhile:
// the credential MUST be ended and not used.
func (b *Broker) Mint(ctx context.Context, m Minted, how []byte) error {
	m.Node, m.At = b.cfg.Node, b.now()
	if how != nil {
		var err error
		if m.Sealed, err = b.seal.Seal(ctx, m.purpose(), how); err != nil {
			return err
		}
	}
	err := b.store.KeepMinted(ctx, m)
	if access.CodeOf(err) == access.CodeConflict {
		return access.Errorf(access.CodeDenied, "grant %s was taken back while credential %q was made for a call under it", m.Grant, clip(m.Credential))
	}
	return err
}

// Ended notes that a credential has ended: its issuer ended it.
func (b *Broker) Ended(ctx context.Context, credential, version string) error {
	return b.store.DropMinted(ctx, credential, version)
}
