package daemon

import (
	"context"
	"slices"
	"strconv"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/audit"
	"rutile/internal/fact"
	"rutile/internal/gate"
	"rutile/internal/pdp"
	"rutile/internal/rehearsal"
)

// observed is the meter of the gate with whoever tries other rules beside it.
type observed struct {
	gate.Meter
	stage *rehearsal.Stage
}

// End ends what Start began and lets the stage see the decision.
func (o observed) End(ctx context.Context, r *access.Request, d *access.Decision, status audit.Status, err error) {
	o.Meter.End(ctx, r, d, status, err)
	if err == nil || d.Allowed() {
		o.stage.Observe(r, d)
	}
}

// rehearsals lets rules that are not in force judge calls.
type rehearsals struct {
	d     *Daemon
	stage *rehearsal.Stage
}

// Alarms scores recorded calls anew, one run at a time: calls that count come first.
func (h rehearsals) Alarms(ctx context.Context, since time.Time, agent string) (rehearsal.Alarms, error) {
	if !h.d.alarming.TryLock() {
		return rehearsal.Alarms{}, access.Errorf(access.CodeConflict, "recorded calls are being scored already: wait until that is over")
	}
	defer h.d.alarming.Unlock()
	to := h.d.Evidence.Size()
	from, err := h.d.Evidence.First(ctx, audit.Query{Since: since})
	if err != nil {
		return rehearsal.Alarms{}, err
	}
	return rehearsal.CountAlarms(ctx, h.d.Evidence.Moments(ctx, from, to), rehearsal.Alarming{State: h.d.states.State(), Held: h.d.held, Agent: agent, From: since.UTC()})
}

// state is a draft as the decision point reads it.
func (h rehearsals) state(ctx context.Context, draft admin.Draft) (*pdp.State, error) {
	cur, err := h.d.Admin.Candidate(ctx, draft)
	if err != nil {
		return nil, err
	}
	return &pdp.State{View: cur.View.WithOwn(), Set: cur.Set, Monitor: cur.Monitor, Grants: h.d.broker, Entitlements: cur.Rights, Answer: h.d.Admin.Answer(), Facts: fact.NewPlan(cur.Facts, cur.Set.FactsRead(), cur.Set.FactsEnforced())}, nil
}

// Simulate lets a draft judge every call from now on.
func (h rehearsals) Simulate(ctx context.Context, by string, draft admin.Draft, last time.Duration, sealed bool) (rehearsal.Status, error) {
	return h.stage.Start(ctx, by, func(ctx context.Context) (*pdp.State, error) { return h.state(ctx, draft) }, last, sealed)
}

// Simulated says how the newest simulation fares.
func (h rehearsals) Simulated(sealed bool) rehearsal.Status { return h.stage.Status(sealed) }

// Stop ends it.
func (h rehearsals) Stop(sealed bool) rehearsal.Status { return h.stage.Stop(sealed) }

// defaultReplay is how far back a replay goes that says nothing else.
const defaultReplay = "24h"

// Replay lets a draft judge recorded decisions; sealed says that kept arguments may
// be opened.
func (h rehearsals) Replay(ctx context.Context, in api.Replay, sealed bool) (rehearsal.Report, error) {
	if in.Since == "" {
		in.Since = defaultReplay
	}
	since, err := api.ParseMoment("since", in.Since, time.Now())
	if err != nil {
		return rehearsal.Report{}, err
	}
	o := rehearsal.Replaying{Agent: in.Agent, Sealed: sealed, From: since.UTC()}
	if err := h.against(ctx, in.Against, &o); err != nil {
		return rehearsal.Report{}, err
	}
	return h.replay(ctx, in.Draft, o)
}

func (h rehearsals) replay(ctx context.Context, draft admin.Draft, o rehearsal.Replaying) (rehearsal.Report, error) {
	o.Held, o.Now = h.d.held, func() time.Time { return time.Now().UTC() }
	var err error
	if o.Candidate, err = h.state(ctx, draft); err != nil {
		return rehearsal.Report{}, err
	}
	to := h.d.Evidence.Size()
	from, err := h.d.Evidence.First(ctx, audit.Query{Since: o.From})
	if err != nil {
		return rehearsal.Report{}, err
	}
	return rehearsal.Replay(ctx, h.d.Evidence.Calls(ctx, from, to), o)
}

// tried is rehearsals as the console asks for them.
type tried struct{ rehearsals }

// Replay lets a draft judge what was recorded since a time.
func (t tried) Replay(ctx context.Context, d admin.Draft, since time.Time, sealed bool) (rehearsal.Report, error) {
	return t.replay(ctx, d, rehearsal.Replaying{Sealed: sealed, From: since.UTC()})
}

// against finds what a candidate is compared with.
func (h rehearsals) against(ctx context.Context, word string, o *rehearsal.Replaying) (err error) {
	switch word {
	case "", "recorded":
		return nil
	case "live":
		o.Name = "live"
		o.Against, err = h.state(ctx, admin.Draft{})
		return err
	}
	n, err := strconv.ParseUint(word, 10, 63)
	if err != nil || n == 0 {
		return access.Errorf(access.CodeInvalid, "against: %q is none of recorded, live and the number of a generation", word)
	}
	o.Name = "generation " + word
	o.Against, err = h.state(ctx, admin.Draft{Generation: n})
	return err
}

// Try lets a draft judge made-up calls.
func (h rehearsals) Try(ctx context.Context, draft admin.Draft, calls []api.ExplainRequest) (api.Tried, error) {
	after, err := h.state(ctx, draft)
	if err != nil {
		return api.Tried{}, err
	}
	before := h.d.states.State()
	out := api.Tried{Candidate: after.Set.Digest()}
	for i, c := range calls {
		r, err := c.Request(time.Now())
		if err != nil {
			return api.Tried{}, access.Errorf(access.CodeInvalid, "call %d: %w", i+1, err)
		}
		old, now := pdp.Decide(before, r), pdp.Decide(after, r)
		t := api.TriedCall{Agent: c.Agent, Action: r.Action(), Before: enforced(&old).String(), After: enforced(&now).String(), By: now.Permits}
		if enforced(&now) != access.Permit {
			t.By = slices.Concat(now.Forbids, now.Errors)
		}
		out.Items = append(out.Items, t)
	}
	return out, nil
}

// enforced is what enforcing decides.
func enforced(d *access.Decision) access.Outcome {
	if d.Monitor {
		return d.Would
	}
	return d.Outcome
}

// held returns the right a call was permitted under, as it was approved.
func (d *Daemon) held(ctx context.Context, id string) (access.Held, bool, error) {
	g, ok, err := d.broker.Archive().Grant(ctx, id)
	if err != nil || !ok {
		return access.Held{}, false, err
	}
	return access.Held{Grant: id, Quorum: g.Quorum, Bound: g.Bound(), Depth: g.Depth}, true, nil
}
