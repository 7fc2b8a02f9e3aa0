package daemon

import (
	"context"
	"time"

	"rutile/internal/access"
	"rutile/internal/conduct"
)

// conductEvery is how often what tools did is worked out and kept. What was seen
// since is lost with a process that is killed.
const conductEvery = 10 * time.Second

// watchConduct has the gate tell how tools behave.
func (d *Daemon) watchConduct(ctx context.Context) error {
	d.conduct = conduct.NewBook()
	if err := d.conduct.Load(ctx, d.store, d.node()); err != nil {
		return err
	}
	d.gate.Watch(d.conduct)
	d.closing("conduct of tools", d.unlessAway(d.keepConduct, "what was learned of tools since it was kept last is lost"))
	return nil
}

// keepConduct raises what is odd about tools and keeps what was seen.
func (d *Daemon) keepConduct(ctx context.Context) error {
	d.conduct.Keep(d.Admin.Revision)
	if err := d.Findings.Behaved(ctx, d.node(), d.conduct.Odd(time.Now())); err != nil {
		return err
	}
	return d.conduct.Save(ctx, d.store, d.node())
}

// followConduct does so now and then.
func (d *Daemon) followConduct(ctx context.Context) {
	tick := time.NewTicker(conductEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := d.keepConduct(ctx)
		if err != nil && !failing && ctx.Err() == nil && access.CodeOf(err) != access.CodeConflict {
			d.log.Error("how tools behave cannot be kept; it is tried again", "error", access.Reasons(err))
		}
		failing = err != nil
	}
}

// conductOf is how a tool behaved on this node.
func (d *Daemon) conductOf(server, tool string) *conduct.Summary {
	d.conduct.Keep(d.Admin.Revision)
	return d.conduct.Of(server, tool, time.Now())
}
