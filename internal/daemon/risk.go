package daemon

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/rehearsal"
	"rutile/internal/risk"
)

// riskEvery is how often scores are kept, shared with other nodes and made findings of.
// What came since is read from the evidence when a process was killed.
const riskEvery = 10 * time.Second

// lookingBack is what the steady clock of scores begins with, so that it can stand before
// the start while recorded calls are told.
const lookingBack = 48 * time.Hour

// riskClocks are the clocks of the book: those of this process, or of the calls it is
// told of before anybody is served.
type riskClocks struct {
	begin time.Time
	told  atomic.Pointer[rehearsal.Clock]
}

func (c *riskClocks) now() time.Time {
	if t := c.told.Load(); t != nil {
		return t.Wall()
	}
	return time.Now()
}

func (c *riskClocks) steady() time.Duration {
	if t := c.told.Load(); t != nil {
		return t.Steady()
	}
	return lookingBack + time.Since(c.begin)
}

// scoreRisk has the gate score calls, with what is known from before.
func (d *Daemon) scoreRisk(ctx context.Context) error {
	clocks := &riskClocks{begin: time.Now()}
	var err error
	if d.risks, err = risk.New(risk.Config{Now: clocks.now, Steady: clocks.steady}); err != nil {
		return err
	}
	if err := d.risks.Load(ctx, d.store, d.node()); err != nil {
		return err
	}
	if err := d.recallRisk(ctx, clocks); err != nil {
		return fmt.Errorf("scoring what was recorded and not kept: %w", err)
	}
	d.gate.Score(d.risks)
	d.closing("scores of agents", d.unlessAway(d.keepRisk, "what was learned of agents since it was kept last is read from the evidence at the next start"))
	return nil
}

// recallRisk tells the book of the calls that an earlier process recorded after it had
// kept scores last.
func (d *Daemon) recallRisk(ctx context.Context, clocks *riskClocks) error {
	size := d.Evidence.Size()
	mark, known := d.risks.Told(d.Evidence.Origin())
	if mark = min(mark, size); !known { // it has never kept how far, or the log is new
		mark = size
	}
	now, steady := clocks.now(), clocks.steady()
	clock := &rehearsal.Clock{}
	clocks.told.Store(clock)
	n, err := rehearsal.Recall(ctx, d.Evidence.Moments(ctx, mark-min(mark, rehearsal.Looked), size), d.risks, clock, d.states.State(), mark, now, steady)
	clocks.told.Store(nil)
	if err != nil {
		return err
	}
	if n > 0 {
		d.log.Info("scores of agents were brought up to the evidence", "calls", n)
	}
	return d.risks.Save(ctx, d.store, d.node(), risk.Mark{Log: d.Evidence.Origin(), Size: size})
}

// keepRisk raises what stands out and keeps what is known.
func (d *Daemon) keepRisk(ctx context.Context) error {
	size := d.Evidence.Size() // before: what is in it the book was told
	view := d.Admin.Current().View
	d.risks.Keep(func(agent string) bool { _, ok := view.Agent(agent); return ok })
	if err := d.Findings.Stands(ctx, d.node(), d.risks.Over(admin.Rungs)); err != nil {
		return err
	}
	if d.store.Dialect() != "sqlite" { // else nobody else keeps anything
		if err := d.risks.Load(ctx, d.store, d.node()); err != nil {
			return err
		}
	}
	return d.risks.Save(ctx, d.store, d.node(), risk.Mark{Log: d.Evidence.Origin(), Size: size})
}

// followRisk does so now and then.
func (d *Daemon) followRisk(ctx context.Context) {
	tick := time.NewTicker(riskEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := d.keepRisk(ctx)
		if err != nil && !failing && ctx.Err() == nil && access.CodeOf(err) != access.CodeConflict {
			d.log.Error("scores of agents cannot be kept; it is tried again", "error", access.Reasons(err))
		}
		failing = err != nil
	}
}

// pardon forgets what was held against an agent that a person lets go.
func (d *Daemon) pardon(agent string) {
	if d.risks != nil { // else the gateway is only starting
		d.risks.Pardon(agent)
	}
}

// scores are those of the book, which is opened later than what asks for them.
type scores struct{ d *Daemon }

// Of returns the scores of a session.
func (s scores) Of(agent, session, person string) *access.Risk {
	if s.d.risks == nil {
		return nil
	}
	return s.d.risks.Of(agent, session, person)
}

// Peek returns the scores of a caller without a call.
func (s scores) Peek(who *access.Identity) *access.Risk {
	if s.d.risks == nil {
		return nil
	}
	return s.d.risks.Peek(who)
}

// PardonSession forgets what was held against a session.
func (s scores) PardonSession(agent, session string) {
	if s.d.risks != nil {
		s.d.risks.PardonSession(agent, session)
	}
}
