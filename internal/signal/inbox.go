package signal

import (
	"context"
	"time"
)

// Told is one thing that somebody told, as it is kept.
type Told struct {
	Source string // a declared source, or "sign-in:" and an issuer
	ID     string // jti, or the id of a webhook; with Source the only one
	Doc    []byte // JSON
	At     time.Time
	Until  time.Time // it is known again; after that it is too old by itself
	Done   bool      // it was acted on
}

// Inbox keeps what was told until it was acted on, and longer, so that it is acted on
// once.
type Inbox interface {
	// TakeSignal keeps t, unless it is kept already. It returns what is kept, and
	// whether that is new.
	TakeSignal(ctx context.Context, t Told) (kept Told, fresh bool, err error)
	// SignalDone says that what is kept was acted on.
	SignalDone(ctx context.Context, source, id string) error
	// SignalsWaiting returns what was not acted on of a source, the oldest first, without
	// IDs.
	SignalsWaiting(ctx context.Context, source string, limit int) ([]Told, error)
	// SignalsKept says of each source what of it is kept.
	SignalsKept(ctx context.Context) (map[string]Kept, error)
}

// Kept is what is kept of a source.
type Kept struct {
	Last    time.Time `json:"last,omitzero"` // it told something, on whatever node
	Waiting int       `json:"waiting"`       // not acted on yet
}
