package daemon

import (
	"context"
	"time"

	"rutile/internal/access"
)

// steady is a clock that starts with the machine's and then runs on by itself:
// setting the machine's clock neither ends a window early nor begins it anew.
func steady() func() time.Time {
	begin := time.Now()
	return func() time.Time { return begin.Add(time.Since(begin)) }
}

// pruneEvery is how often what has ended is forgotten.
const pruneEvery = 10 * time.Minute

// prune forgets counters and memories that have ended.
func (d *Daemon) prune(ctx context.Context) {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := d.facts.Prune(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("what facts no longer count cannot be removed", "error", access.Reasons(err))
		}
	}
}
