package credential

import (
	"context"
	"time"

	"rutile/internal/access"
)

// Need is what a credential is minted for: one permitted request.
type Need struct {
	Source *Source // as declared; MUST NOT be changed
	LeaseRequest
}

// Minted is what a Minter made. Its values are the Mint's from then on, which
// overwrites them.
type Minted struct {
	// Values are the secrets by name; "secret" is the token itself. All of them
	// are scrubbed from answers.
	Values map[string][]byte
	// Plain are values that are no secrets, such as a user name.
	Plain map[string]string
	// Version tells this credential from every other one and is not secret: a
	// digest of a lease id or of a jti. It stands in evidence.
	Version string
	// Expires is when it ends by itself; zero if its issuer did not say.
	Expires time.Time
	// Reuse says what else it may be used for: later needs of the same source,
	// agent and subject for which the Minter would have said the same key. "" is
	// this call only.
	Reuse string
	// Ends says that it is revoked as soon as it is not used again; one for this
	// call only always is.
	Ends bool
	// Narrowed says in one sentence what it was narrowed to.
	Narrowed string
	// Revoke ends it before it expires; nil where its issuer cannot. It is called
	// at most once at a time, after the call and never on the answer's path.
	Revoke func(ctx context.Context) error
	// How is what an Ender of the same kind ends it by, also after a restart and on
	// another node; nil where its issuer cannot. It holds the secret.
	How []byte
}

// Ender is a Minter whose issuer can end what it gave before it expires.
type Ender interface {
	// End ends what was minted for n, of which only what Trace keeps is known, by how.
	End(ctx context.Context, n Need, how []byte) error
}

// clear overwrites the secrets.
func (m *Minted) clear() {
	for _, v := range m.Values {
		clear(v)
	}
	clear(m.How)
}

// Minter makes credentials of one kind of source.
//
// It is called after the decision and after the intent is durable. It MUST NOT
// mint anything wider than the source declares, MUST fail rather than fall back
// to something wider, and MUST honour ctx. Its errors MUST NOT hold a secret or
// a text of the issuer; where a caller is to read one it is an access.Error.
type Minter interface {
	// ReuseKey is what Mint would answer as Minted.Reuse, known beforehand; ""
	// mints anew for each call.
	ReuseKey(n Need) string
	Mint(ctx context.Context, n Need) (Minted, error)
}

// Renewer is a Minter that keeps what it mints beyond the Mint's memory.
type Renewer interface {
	Minter
	// Refused is told that the server did not take what was minted as version for n.
	// It gives that version to nobody again. An error says that minting anew is of no
	// use, and what is.
	Refused(ctx context.Context, n Need, version string) error
}

// Event is something that happened to a minted credential outside of a call's
// own evidence.
type Event struct {
	Verb       string // mint, revoke, revoke-failed, link, unlink, break, refused
	Credential string
	Kind       string // of the source
	Version    string
	Server     string
	Decision   string
	Subject    access.Subject
	Narrowed   string
	Expires    time.Time // what validity remains where it could not be revoked
	Why        string
	By         string // who did it, as evidence names them; "" for the gateway itself
}

// Unlock is what evidence keeps of an opened credential.
type Unlock struct {
	Version  int    // of a sealed one
	Kind     string // of a minted one's source; "" for a sealed one
	Minted   string // version of a minted one
	Narrowed string
	Expires  time.Time
}
