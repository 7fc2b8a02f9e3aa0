package daemon

import (
	"context"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
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
