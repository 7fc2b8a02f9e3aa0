package sink

import (
	"context"
	"errors"
)

// errRefused is what a receiver says of events it will not take however often they
// are sent.
var errRefused = errors.New("it is refused")

// receiver takes batches. It is for one caller at a time.
type receiver interface {
	// take returns nil once the batch is taken. An error that wraps errRefused will
	// not pass by itself. Errors are our own words: what a transport says may hold
	// the address.
	take(ctx context.Context, b batch) error
	close()
}
