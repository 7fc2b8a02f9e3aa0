package grant

import (
	"context"
	"time"

	"rutile/internal/access"
)

// Live is everything that has not ended.
type Live struct {
	Tasks    []Task
	Requests []Request // pending
	Grants   []Grant
	Reviews  []Review // owed
}

// Batch is one change, applied whole. Objects with Rev 0 are new; for the others
// Rev is what was read, and the store keeps Rev+1.
type Batch struct {
	Tasks    []Task
	Requests []Request
	Grants   []Grant // their counts are the store's own and are not written
	Reviews  []Review
	// Owed are the leaves of a change that takes effect before its evidence.
	Owed []access.Owed
}

// Store keeps what a Broker changes.
type Store interface {
	// LoadGrants returns what is live, in one consistent read.
	LoadGrants(ctx context.Context) (Live, error)
	// CommitGrants applies b in one transaction. Where an object is not at its Rev, a
	// new pending request has the identity of another, a new child is more than its
	// parent has left, a grant that ends or is suspended leaves a child behind, or a
	// person would owe two reviews for one entitlement, it changes nothing and returns
	// a CodeConflict error.
	CommitGrants(ctx context.Context, b Batch) error
	// ReserveUse takes one use of a grant that is active, in its time and has room
	// for it, and returns the counts after it. Otherwise it changes nothing and
	// returns a CodeConflict error, a *Busy where its window is full. One decision
	// reserves at most once. In the same transaction it adds the charges of u to their
	// counters and sets their Total and Others; of a use without a grant that is all.
	ReserveUse(ctx context.Context, u Use) (Counts, error)
	// SettleUse ends a reserved use and its charges. A grant with nothing left
	// becomes exhausted, and exhaust is asked, in the same transaction, what is kept
	// with that. Settling a use that has ended changes nothing.
	SettleUse(ctx context.Context, u Use, at time.Time, exhaust Exhaust) (Settled, error)
	// AddBytes counts bytes of what came of a use later, and returns its grant as it is
	// then; ok is false of a use without a grant. A grant with nothing left becomes
	// exhausted, as with SettleUse.
	AddBytes(ctx context.Context, use string, bytes int64, at time.Time, exhaust Exhaust) (id string, s Settled, ok bool, err error)
	// AbandonUses settles as unknown every use and charge this node reserved in
	// another boot, and returns how many uses of grants. No grant becomes exhausted
	// by it.
	AbandonUses(ctx context.Context, node, boot string, at time.Time) (int, error)
	// Archive reads what was ever kept.
	Archive
	Credentials
}

// Exhaust is what becomes of a grant that has nothing left, and the leaves that owes.
// It may be asked more than once.
type Exhaust func(before Grant) (after Grant, owed []access.Owed, err error)

// Settled is the grant of a use after it ended.
type Settled struct {
	Counts    Counts
	State     State
	Exhausted bool // by this use
}

// Filter selects from the archive; empty members do not restrict.
type Filter struct {
	State  State
	Agent  string
	Task   string
	Grant  string // of uses
	Before string // ids below this one: newest first
	Limit  int    // at most; 0 is 100
}

// Archive reads what was ever kept, newest first.
type Archive interface {
	Request(ctx context.Context, id string) (Request, bool, error)
	Requests(ctx context.Context, f Filter) ([]Request, error)
	Grant(ctx context.Context, id string) (Grant, bool, error)
	Grants(ctx context.Context, f Filter) ([]Grant, error)
	Task(ctx context.Context, id string) (Task, bool, error)
	Tasks(ctx context.Context, f Filter) ([]Task, error)
	Use(ctx context.Context, id string) (Use, bool, error)
	Uses(ctx context.Context, f Filter) ([]Use, error)
	Review(ctx context.Context, grant string) (Review, bool, error)
	Reviews(ctx context.Context, f Filter) ([]Review, error)
}

// Event is one change as evidence keeps it.
type Event struct {
	Actor  string // "agent:…", "user:…", "local:…", "system"
	Verb   string
	Kind   string // KindRequest, KindGrant, KindTask, KindReview
	Object string
	Before string // digest of the object before, "" if it was not there
	After  string
	Reason string
	Detail any // JSON, sealed
	// Signed is what a passkey signed, of an approval; nil if none did.
	Signed *access.Assertion
}

// The kinds of object of an Event.
const (
	KindRequest = "Request"
	KindGrant   = "Grant"
	KindTask    = "Task"
	KindReview  = "Review" // of a break-glass; the object is its grant
)

// Recorder keeps evidence. Record MUST return only once the events are durable.
type Recorder interface {
	Record(ctx context.Context, events []Event) error
	// Settle returns once what a change that was made owes is durable. What cannot be
	// written is owed still.
	Settle(ctx context.Context, owed []access.Owed) error
}

// errGone says that a live object is not one.
func errGone(kind, id string) error {
	return access.Errorf(access.CodeNotFound, "%s %q is not there", kind, clip(id))
}

// clip shortens what somebody else chose, for messages.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
