package fact

import (
	"context"
	"time"

	"rutile/internal/access"
)

// Mark remembers that something happened: a prior call, or what a session has
// seen.
type Mark struct {
	Fact   string
	Digest [32]byte // keyed, of the key of the fact and what is bound
	Key    string   // for people; it holds no argument
	Agent  string   // whose call it was, or whose session
	At     time.Time
	Ends   time.Time // when it is forgotten
}

// Counter is one counter of a limit, as it stands.
type Counter struct {
	Key      string
	Total    int64 // the calls under way included
	Reserved int64 // of those
}

// Store keeps counters and marks. Charges are reserved and settled with the uses
// of grants, in one transaction.
type Store interface {
	// Counted sets the Total and Others of each charge to what is counted without
	// it: of one with a Value, the others than this.
	Counted(ctx context.Context, charges []access.Charge) error
	// Buckets returns what a counter holds without the charge, by the bucket it
	// leaves with.
	Buckets(ctx context.Context, c access.Charge) ([]Held, error)
	// Counters returns the counters of a fact with something in a bucket after
	// since, sorted by key.
	Counters(ctx context.Context, fact string, since int64, distinct bool, limit int) ([]Counter, error)
	// PutMark keeps a mark; of two with one digest the one that ends later stands.
	PutMark(ctx context.Context, m Mark) error
	// Mark returns when the mark of this digest ends, ok false if there is none.
	Mark(ctx context.Context, fact string, digest [32]byte) (ends time.Time, ok bool, err error)
	// Marks returns the marks that end after at, of one fact or, where it is "", of
	// all, newest first.
	Marks(ctx context.Context, fact string, at time.Time, limit int) ([]Mark, error)
	// FactSecret returns the sealed secret of digests, storing make's result if
	// there is none. It is atomic.
	FactSecret(ctx context.Context, make func() ([]byte, error)) ([]byte, error)
	// PruneFacts removes what has ended before at.
	PruneFacts(ctx context.Context, at time.Time) error
}
