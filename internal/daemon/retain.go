package daemon

import (
	"context"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/sink"
)

// retainEvery is how often what is too old is looked for.
const retainEvery = time.Hour

// retain lets evidence go that is older than evidence.retention says, and says in the
// log what that is where it changed.
func (d *Daemon) retain(ctx context.Context) {
	tick := time.NewTicker(retainEvery)
	defer tick.Stop()
	for {
		plan, err := d.Evidence.Retain(ctx, audit.RetentionOrder{})
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			d.log.Error("evidence that is too old is not deleted yet; it is tried again", "error", access.Reasons(err))
		case plan.Doubted:
			d.log.Warn("the clock went further than the time that passed: what it makes too old is kept for a week, or until rutile audit retention --clock --yes says that it is right", "believed", plan.Now)
		case plan.Next > plan.Minimum:
			d.log.Info("deleted leaves of calls that were too old", "below", plan.Next)
		case len(plan.Months) > 0:
			d.log.Info("deleted excerpts that were too old", "months", plan.Months, "files", plan.Packs)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sinkBehind returns the sink that got the least far in the log of this node. One that is
// retired is not waited for.
func (d *Daemon) sinkBehind(ctx context.Context) (name string, next uint64, ok bool, err error) {
	for id, s := range d.Admin.Current().Sinks {
		if s.State == sink.Retired {
			continue
		}
		c, begun, err := d.store.SinkCursor(ctx, id, d.Evidence.Origin())
		if err != nil {
			return "", 0, false, err
		}
		if !begun {
			c.Next = 0
		}
		if !ok || c.Next < next {
			name, next, ok = id, c.Next, true
		}
	}
	return name, next, ok, nil
}
