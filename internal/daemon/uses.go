package daemon

import (
	"context"
	"maps"
	"sync"
	"time"

	"rutile/internal/store"
)

const (
	// usesLate is how late a call may come into the index and still be seen at once;
	// what is later, as of another node that was down, is seen when all is read again.
	usesLate = int64(time.Minute / time.Microsecond)
	// usesWhole is how often all of the index is read.
	usesWhole = 10 * time.Minute
)

// uses is when servers were called last through the gateway, as the index of the
// evidence knows it. It is read whole now and then, and else only what came since.
type uses struct {
	store *store.Store

	mu     sync.Mutex
	calls  map[string]time.Time
	newest int64     // of what was read, in microseconds
	since  time.Time // how far back it goes
	whole  time.Time // all of it was read
}

// last says when servers were called last.
func (u *uses) last(ctx context.Context) (map[string]time.Time, error) {
	calls, _, err := u.read(ctx)
	return calls, err
}

func (u *uses) read(ctx context.Context) (map[string]time.Time, time.Time, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	from := u.newest - usesLate
	if now.Sub(u.whole) >= usesWhole {
		from = 0
	}
	last, oldest, err := u.store.LastCalls(ctx, max(from, 0))
	if err != nil {
		return nil, time.Time{}, err
	}
	if from <= 0 {
		u.whole = now
	}
	if u.calls == nil {
		u.calls = map[string]time.Time{}
	}
	for server, micros := range last {
		u.newest = max(u.newest, min(micros, now.UnixMicro())) // another node's clock may be ahead
		if at := time.UnixMicro(micros).UTC(); at.After(u.calls[server]) {
			u.calls[server] = at
		}
	}
	u.since = now.UTC()
	if oldest > 0 {
		u.since = time.UnixMicro(oldest).UTC()
	}
	return maps.Clone(u.calls), u.since, nil
}
