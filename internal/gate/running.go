package gate

import (
	"context"
	"errors"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/pdp"
)

// Effects carries out what rules do besides denying, and knows what stands against
// a caller because of it.
type Effects interface {
	// Carry carries one consequence of dec out for the target it has in r. Where it
	// is so already nothing changes. From its return on nothing of the target is
	// permitted (access.md, invariant 9).
	Carry(ctx context.Context, c access.Consequence, r *access.Request, dec *access.Decision) error
	// Refusal says why nothing of who is permitted although its token was accepted,
	// "" if nothing stands against it. It MUST NOT do input or output.
	Refusal(who *access.Identity) (access.Outcome, string)
}

// Call is a call in flight, for people to see.
type Call struct {
	Who    access.Identity
	Action string
	At     time.Time // when it arrived
}

// running is the calls that are being made.
type running struct {
	mu      sync.Mutex
	calls   map[*access.Request]*flight
	tallies map[*tally]bool // that count what is cut
}

// tally is how many calls were cut, by the grant they were made under.
type tally map[string]int

// flight is one call that is being made.
type flight struct {
	cut   context.CancelCauseFunc
	grant string        // it is made under, "" if under none
	gone  bool          // it is cut, and only has not returned yet
	late  bool          // its result came all the same
	over  bool          // it has ended as it is: nothing cuts it any more
	back  chan struct{} // closed when it has returned
}

// stop cuts a call and reports whether it ends because of that: it was neither cut
// before nor over. l.mu must be held.
func (l *running) stop(f *flight, cause error) bool {
	f.cut(cause)
	if f.gone || f.over {
		return false
	}
	f.gone = true
	for t := range l.tallies {
		(*t)[f.grant]++
	}
	return true
}

// settle says how a call ended that came back: cut by what cause returns, or as it is
// where nothing cut it, which nothing does any more then.
func (l *running) settle(ctx context.Context, r *access.Request, cause *cutError) *cutError {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.calls[r]
	var cut *cutError
	switch {
	case errors.As(context.Cause(ctx), &cut):
		return cut // while its grant was looked at
	case f == nil:
		return cause
	case cause != nil:
		l.stop(f, cause)
	default:
		f.over = true
	}
	return cause
}

// begin notes a call until end is called; ctx ends when the call is cut.
func (l *running) begin(parent context.Context, r *access.Request, grant string) (ctx context.Context, end func()) {
	ctx, cut := context.WithCancelCause(parent)
	l.mu.Lock()
	if l.calls == nil {
		l.calls = map[*access.Request]*flight{}
	}
	back := make(chan struct{})
	l.calls[r] = &flight{cut: cut, grant: grant, back: back}
	l.mu.Unlock()
	return ctx, func() {
		defer close(back)
		l.mu.Lock()
		delete(l.calls, r)
		l.mu.Unlock()
		cut(context.Canceled)
	}
}

// cutError ends a call that lost the right to run while it ran. what it was, one
// word, stands in the findings of its outcome.
type cutError struct {
	what, why string
	of        access.Class // where what does not say
}

// Error says why.
func (e *cutError) Error() string { return e.why }

// As makes it an error the caller may read.
func (e *cutError) As(target any) bool {
	if t, ok := target.(**access.Error); ok {
		*t = access.Errorf(access.CodeDenied, "%s", e.why)
		return true
	}
	return false
}

// class is the class of the denial a call ends with that was cut.
func (e *cutError) class() access.Class {
	switch e.what {
	case cutAgent:
		return access.ClassAgent
	case cutServer:
		return access.ClassServer
	case cutGrant:
		return access.ClassApproval
	default:
		return e.of
	}
}

// help is what the agent can do.
func (e *cutError) help() string {
	if e.class() == access.ClassApproval {
		return "the right was taken back while the call ran, and what it did before may stand; ask who took it back before asking anew"
	}
	return "it was taken out of use while the call ran; ask its owner"
}

// What a call was cut for.
const (
	cutTerminated = "terminated"
	cutSession    = "session"
	cutAgent      = "agent"
	cutServer     = "server"
	cutGrant      = "grant"
)

// Ending is what Catch returns: it ends what was noted and what began since, and says
// how many calls that were and when they have returned.
type Ending func(why string, class access.Class) Cut

// Cut is calls that were ended.
type Cut struct {
	Calls int
	gate  *Gate
	of    []*flight
}

// Late is of how many a result came all the same. It is withheld.
func (c Cut) Late() int {
	if c.gate == nil {
		return 0
	}
	c.gate.running.mu.Lock()
	defer c.gate.running.mu.Unlock()
	n := 0
	for _, f := range c.of {
		if f.late {
			n++
		}
	}
	return n
}

// Wait returns when the calls have returned, or ctx ends: then it says how many have
// not. Nothing of their results is released either way.
func (c Cut) Wait(ctx context.Context) (left int) {
	for _, f := range c.of {
		select {
		case <-f.back:
			continue
		default:
		}
		select {
		case <-f.back:
		case <-ctx.Done():
			left++
		}
	}
	return left
}

// Catch notes the calls in flight that of says, by the grant each is made under, "" for
// none. What it returns ends them, and those of the same that began since, and counts
// also those that ended because of what came to stand against them meanwhile. Their
// results are not released. What refuses new ones MUST stand when it is called.
func (g *Gate) Catch(of func(r *access.Request, grant string) bool) Ending {
	var caught []*flight
	g.running.mu.Lock()
	defer g.running.mu.Unlock()
	for r, f := range g.running.calls {
		if of(r, f.grant) && !f.gone {
			caught = append(caught, f)
		}
	}
	return func(why string, class access.Class) Cut {
		cause := &cutError{what: cutTerminated, why: why, of: class}
		g.running.mu.Lock()
		defer g.running.mu.Unlock()
		c := Cut{gate: g}
		add := func(f *flight) { c.Calls, c.of = c.Calls+1, append(c.of, f) }
		for _, f := range caught {
			if f.gone {
				add(f)
			}
		}
		for r, f := range g.running.calls {
			if of(r, f.grant) && g.running.stop(f, cause) {
				add(f)
			}
		}
		return c
	}
}

// Count is how many calls in flight of says there are.
func (g *Gate) Count(of func(r *access.Request, grant string) bool) int {
	g.running.mu.Lock()
	defer g.running.mu.Unlock()
	n := 0
	for r, f := range g.running.calls {
		if of(r, f.grant) && !f.gone {
			n++
		}
	}
	return n
}

// late notes that a result came of a call that had been cut.
func (l *running) late(r *access.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.calls[r]; f != nil {
		f.late = true
	}
}

// Calls returns the calls in flight, in no order.
func (g *Gate) Calls() []Call {
	g.running.mu.Lock()
	defer g.running.mu.Unlock()
	out := make([]Call, 0, len(g.running.calls))
	for r := range g.running.calls {
		out = append(out, Call{Who: r.Who, Action: r.Action(), At: r.At})
	}
	return out
}

// Withdraw ends the calls in flight that nobody would be let make now, whatever they
// are: something stands against their session, their agent is suspended, quarantined,
// retired or expired, or their server is out of use. It returns how many there were.
// Their results are not released. It is cheap, and to be called again and again: what
// takes a right away is known here only by its absence.
func (g *Gate) Withdraw() int {
	g.running.mu.Lock()
	defer g.running.mu.Unlock()
	if len(g.running.calls) == 0 {
		return 0
	}
	state, at, n := g.states.State(), g.now(), 0
	for r, f := range g.running.calls {
		if cause := g.withdrawn(state, r, at); cause != nil && g.running.stop(f, cause) {
			n++
		}
	}
	return n
}

// withdrawn is why a call must not go on, nil if it may.
func (g *Gate) withdrawn(state *pdp.State, r *access.Request, at time.Time) *cutError {
	if no := g.refusal(r); no != nil {
		return &cutError{what: cutSession, why: no.Reason}
	}
	agent, server := pdp.Withdrawn(state, r, at)
	switch {
	case agent != "":
		return &cutError{what: cutAgent, why: agent}
	case server != "":
		return &cutError{what: cutServer, why: server}
	default:
		return nil
	}
}

// Stands reports whether something stands against the caller of r, whatever
// policies say: its session was quarantined or ended.
func (g *Gate) Stands(r *access.Request) bool { return g.refusal(r) != nil }

// refusal is the decision on a caller that something stands against; nil if
// nothing does.
func (g *Gate) refusal(r *access.Request) *access.Decision {
	outcome, why := g.effects.Refusal(&r.Who)
	if why == "" {
		return nil
	}
	return &access.Decision{ID: r.ID, Outcome: outcome, Class: access.ClassAgent, Reason: why, Help: "ask the agent's owner what happened"}
}

// carry carries out what dec demands besides denying. A consequence that could not
// be carried out is an error, the denial stands for it, and the others happen.
func (g *Gate) carry(ctx context.Context, r *access.Request, dec *access.Decision) error {
	if dec.Allowed() {
		return nil
	}
	var errs error
	for _, c := range dec.Consequences {
		// The agent going away must not keep it from happening.
		errs = errors.Join(errs, g.effects.Carry(context.WithoutCancel(ctx), c, r, dec))
	}
	return errs
}
