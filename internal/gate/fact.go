package gate

import (
	"bytes"
	"context"
	"maps"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/fact"
	"rutile/internal/grant"
	"rutile/internal/pdp"
)

// Ledger knows what declared facts say of a call, and counts those that run.
type Ledger interface {
	// Look returns the values of the facts named in need. It does not fail: a value
	// that cannot be computed says so.
	Look(ctx context.Context, p *fact.Plan, need []string, c *fact.Call) *access.Facts
	// Later says how the value of a fact goes down for a call that waits.
	Later(ctx context.Context, p *fact.Plan, id string, c *fact.Call) []fact.Step
	// Enter counts a call. With lenient what cannot be counted is left out.
	Enter(p *fact.Plan, c *fact.Call, lenient bool) (*fact.Entry, error)
}

// A call that is denied only because of others that are under way may wait for
// them, once: none longer than holdTime, and no more than maxHolding at a time.
const (
	holdTime   = 2 * time.Second
	maxHolding = 32
)

// look finds what policies may read of the past.
func (g *Gate) look(ctx context.Context, state *pdp.State, r *access.Request) {
	r.Facts = nil
	if c, need := pdp.Counting(state, r); c != nil {
		r.Facts = g.facts.Look(ctx, state.Facts, need, c)
	}
	if asked := pdp.Asked(state, r); len(asked) > 0 {
		if r.Facts == nil {
			r.Facts = &access.Facts{}
		}
		if r.Facts.Values == nil {
			r.Facts.Values = map[string]access.FactValue{}
		}
		g.lookInto(r, asked)
	}
}

// hold waits where the decision would be another without the calls that are under
// way, until one of them has ended. It reports whether to decide anew; until says
// when it waits no longer, and is set by the first that does.
func (g *Gate) hold(ctx context.Context, state *pdp.State, r *access.Request, until *time.Time) bool {
	if r.Facts == nil || len(r.Facts.Flight) == 0 || !until.IsZero() && !time.Now().Before(*until) {
		return false
	}
	alone := *r
	alone.Facts = &access.Facts{Values: maps.Clone(r.Facts.Values)}
	maps.Copy(alone.Facts.Values, r.Facts.Flight)
	if d := pdp.Decide(state, &alone); !d.Allowed() {
		return false
	}
	select {
	case g.holding <- struct{}{}:
		defer func() { <-g.holding }()
	default:
		return false
	}
	if until.IsZero() {
		*until = time.Now().Add(holdTime)
	}
	wait := time.NewTimer(time.Until(*until))
	defer wait.Stop()
	select {
	case <-r.Facts.Changed:
	case <-wait.C:
	case <-ctx.Done():
		return false
	}
	return true
}

// retryAfter is how long a call that is held to facts has to wait until they no
// longer keep it, 0 if nobody can tell.
func (g *Gate) retryAfter(ctx context.Context, state *pdp.State, r *access.Request, limits []access.Limit) time.Duration {
	c, _ := pdp.Counting(state, r)
	if c == nil || r.Facts == nil {
		return 0
	}
	later := map[string][]fact.Step{}
	for _, l := range limits {
		later[l.Fact] = g.facts.Later(ctx, state.Facts, l.Fact, c)
	}
	return fact.Until(later, r.Facts.Values, func(values map[string]access.FactValue) bool {
		then := *r
		then.Facts = &access.Facts{Values: values}
		d := pdp.Decide(state, &then)
		return d.Allowed() || d.Outcome.Conditional() && d.Outcome != access.RateLimit
	})
}

// moved says that a call was counted and that what it was judged on is another by
// then: it did not run.
type moved struct{ dec access.Decision }

// Error says what a caller could do about it.
func (moved) Error() string { return "other calls came first; call again" }

// passage is a call that is counted, until it has ended.
type passage struct {
	g     *Gate
	entry *fact.Entry
	use   grant.Use
	fresh bool // the use was made for it

	raised  []string // taints and labels of the session that are new by it
	follows string   // the use of a grant that made the task it asks after
	out     *outflow // what the agent read before the final message counts too
}

// enter counts a call and takes its use, and decides it again on the totals: the
// last word (access.md 0, invariant 6). On an error nothing is counted.
func (g *Gate) enter(ctx context.Context, state *pdp.State, r *access.Request, ru *pdp.Ruling, intent audit.Ref) (*passage, error) {
	dec := &ru.Decision
	c, _ := pdp.Counting(state, r)
	entry, err := g.facts.Enter(state.Facts, c, dec.Monitor)
	if err != nil {
		return nil, err
	}
	p := &passage{g: g, entry: entry, fresh: r.Use == ""}
	if r.Follows && r.Held != nil {
		p.follows = r.Use
	}
	if p.use, err = g.reserve(ctx, r, dec, entry); err != nil {
		entry.Release()
		entry.End()
		return nil, err
	}
	labelled, err := g.label(ctx, r, ru, intent, &p.raised)
	if err != nil {
		return nil, p.undo(ctx, r, err)
	}
	if labelled {
		g.touch(ctx, state, r) // a call at the same moment may have come first
	}
	if risen := g.risen(r); risen || entry.Moved(r.Facts) || labelled {
		// The evidence says how it was masked, so that must not be another way now.
		again := pdp.Judge(state, r)
		if !again.Allowed() || again.Grant != dec.Grant || !bytes.Equal(again.Arguments, ru.Arguments) {
			return nil, p.undo(ctx, r, moved{again.Decision})
		}
		again.Duration, again.Request = dec.Duration, dec.Request
		*ru = again // what comes back is judged on the totals too
	}
	if err := entry.Send(ctx); err != nil {
		return nil, p.undo(ctx, r, err)
	}
	if err := g.sent(ctx, state, r); err != nil {
		return nil, p.undo(ctx, r, err)
	}
	return p, nil
}

// undo takes back what was counted for a call that does not run, because of cause.
func (p *passage) undo(ctx context.Context, r *access.Request, cause error) error {
	p.entry.Release()
	defer p.entry.End()
	if p.use.ID == "" {
		return cause
	}
	if !p.fresh {
		p.g.grants.Wait(p.use, p.g.now().Add(waitTime)) // it goes on with it another time
		return cause
	}
	r.Use = ""
	if err := p.g.grants.Settle(context.WithoutCancel(ctx), p.use, grant.UseReleased); err != nil {
		return evidenceError("giving back what was counted", err)
	}
	return cause
}

// close ends what was counted as the call ended. It MUST be called before the
// result is released, which an error forbids.
func (p *passage) close(ctx context.Context, status audit.Status, resp *access.Response) error {
	defer p.entry.End()
	reached := resp.Reached
	if reached == access.ReachNo {
		p.entry.Release()
	}
	if status == audit.StatusOK && !resp.Started {
		if err := p.entry.Done(context.WithoutCancel(ctx)); err != nil {
			_ = p.settle(ctx, status, reached, len(resp.Body)+p.out.read()) // the first error is told
			return err
		}
	}
	return p.settle(ctx, status, reached, len(resp.Body)+p.out.read())
}
