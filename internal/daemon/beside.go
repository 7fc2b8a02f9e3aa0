package daemon

import (
	"context"
	"time"

	"rutile/internal/access"
)

// followPeers has the approved definitions read again beside each other where
// tools of some server were approved or went.
func (d *Daemon) followPeers(ctx context.Context) {
	tick := time.NewTicker(conductEvery)
	defer tick.Stop()
	failing, read := false, ""
	for {
		var err error
		read, err = d.Findings.Beside(ctx, d.node(), read)
		if err != nil && !failing && ctx.Err() == nil && access.CodeOf(err) != access.CodeConflict {
			d.log.Error("what definitions show beside others cannot be kept; it is tried again", "error", access.Reasons(err))
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
