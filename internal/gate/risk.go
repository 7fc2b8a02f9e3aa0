package gate

import (
	"slices"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/pdp"
	"rutile/internal/risk"
)

// Risks scores how unusual what callers do is. Its methods MUST NOT block.
type Risks interface {
	// Arrive scores a call with the call in it, once; later it returns the scores of then.
	Arrive(r *access.Request, classes []string, drift bool) *access.Risk
	// Peek returns the scores of a caller without a call.
	Peek(who *access.Identity) *access.Risk
	// Ended takes what came of a call.
	Ended(r *access.Risk, e risk.End)
}

// Score has calls scored by s. It MUST be called before the first request; without it
// every score is 0.
func (g *Gate) Score(s Risks) { g.risks = s }

// score sets the scores r is judged on. Only what an agent does counts: what asks after
// a call, or only looks, is judged on what was there before.
func (g *Gate) score(state *pdp.State, r *access.Request) {
	switch {
	case g.risks == nil:
	case scored(r):
		r.Risk = g.risks.Arrive(r, nil, false)
	case r.Unknown || r.Look || r.Follows || r.Kind == access.KindServer || r.Kind == access.KindAsk:
		r.Risk = g.risks.Peek(&r.Who)
	default:
		classes, drift := pdp.Traits(state, r)
		r.Risk = g.risks.Arrive(r, classes, drift)
	}
}

func scored(r *access.Request) bool { return r.Risk != nil && r.Risk.Of != nil }

// risen takes the scores of now, and reports whether one is higher than what r was
// judged on: other calls of its session have come meanwhile.
func (g *Gate) risen(r *access.Request) bool {
	if g.risks == nil || !scored(r) {
		return false
	}
	was, is := r.Risk, g.risks.Arrive(r, nil, false)
	if is.Session <= was.Session && is.Agent <= was.Agent && is.Person <= was.Person {
		return false
	}
	r.Risk = is
	return true
}

// rated tells that r was denied.
func (g *Gate) rated(r *access.Request, dec *access.Decision) {
	if g.risks != nil && scored(r) {
		g.risks.Ended(r.Risk, risk.Denial(dec.Class, dec.Outcome, dec.Forbids))
	}
}

// returned tells what came of a call that was made. body is the answer as the server
// sent it.
func (g *Gate) returned(d *Dispatch, body []byte, out *audit.Outcome) {
	r, p := out.Request, d.outflow
	if g.risks == nil || !scored(r) {
		return
	}
	p.mu.Lock()
	dec := &p.ruling.Decision
	monitored, found := dec.Monitor && dec.Would != access.Permit, slices.Clone(p.found)
	p.mu.Unlock()
	g.risks.Ended(r.Risk, risk.Answer{
		Fine: out.Status.Answered() && !monitored && len(out.Masks) == 0, Findings: merge(found, out.Findings), Bytes: len(body),
	}.End())
}
