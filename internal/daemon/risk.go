package daemon

import (
	"context"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/risk"
)

// riskEvery is how often scores are kept, shared with other nodes and made findings of.
// What was learned since is lost with a process that is killed; what policies did by then
// is not.
const riskEvery = 10 * time.Second

// scoreRisk has the gate score calls.
func (d *Daemon) scoreRisk(ctx context.Context) error {
	begin := time.Now()
	var err error
	if d.risks, err = risk.New(risk.Config{Now: time.Now, Steady: func() time.Duration { return time.Since(begin) }}); err != nil {
		return err
	}
	if err := d.risks.Load(ctx, d.store, d.node()); err != nil {
		return err
	}
	d.gate.Score(d.risks)
	d.closing("scores of agents", d.unlessAway(d.keepRisk, "what was learned of agents since it was kept last is lost"))
	return nil
}

// keepRisk raises what stands out and keeps what is known.
func (d *Daemon) keepRisk(ctx context.Context) error {
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
	return d.risks.Save(ctx, d.store, d.node())
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

// PardonSession forgets what was held against a session.
func (s scores) PardonSession(agent, session string) {
	if s.d.risks != nil {
		s.d.risks.PardonSession(agent, session)
	}
}
