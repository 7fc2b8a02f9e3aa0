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

// prune forgets what has ended, again and again.
func (d *Daemon) prune(ctx context.Context) {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		d.pruneNow(ctx)
	}
}

// pruneNow forgets counters and memories that have ended, and what sessions were shown
// that are over.
func (d *Daemon) pruneNow(ctx context.Context) {
	if err := d.facts.Prune(ctx); err != nil && ctx.Err() == nil {
		d.log.Warn("what facts no longer count cannot be removed", "error", access.Reasons(err))
	}
	d.forget(func(session string) bool { // those whose time is over, and what a call brought that was cut with its session
		over, err := d.authority.Over(ctx, session)
		if err != nil && ctx.Err() == nil {
			d.log.Warn("whether a session is over cannot be told; what ended its answers stays in memory", "session", session, "error", access.Reasons(err))
		}
		return over
	})
}
