package gate

import (
	"slices"
	"strings"

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

// riskRule reports whether a rule of the baseline is about risk.
func riskRule(id string) bool {
	return strings.HasPrefix(id, "baseline.risk-") || id == "baseline.subject-risk"
}

// rated tells that r was denied. To be told to ask or to wait is no sign of anything, nor
// is what a score itself brings about: it would hold itself up.
func (g *Gate) rated(r *access.Request, dec *access.Decision) {
	if g.risks == nil || !scored(r) {
		return
	}
	e := risk.End{Flagged: true}
	switch dec.Class {
	case access.ClassRate, access.ClassBusy, access.ClassApproval, access.ClassConnect, access.ClassMask:
	default:
		own := len(dec.Forbids) > 0 && !slices.ContainsFunc(dec.Forbids, func(id string) bool { return !riskRule(id) })
		e.Denied = !own && !dec.Outcome.Conditional()
	}
	g.risks.Ended(r.Risk, e)
}

// returned tells what came of a call that was made. body is the answer as the server
// sent it.
func (g *Gate) returned(d *Dispatch, body []byte, out *audit.Outcome) {
	r, p := out.Request, d.outflow
	if g.risks == nil || !scored(r) {
		return
	}
	e := risk.End{Bytes: len(body)}
	switch out.Status {
	case audit.StatusOK, audit.StatusToolError, audit.StatusInputRequired:
	default:
		e.Flagged = true
	}
	p.mu.Lock()
	dec := &p.ruling.Decision
	e.Flagged = e.Flagged || dec.Monitor && dec.Would != access.Permit || len(out.Masks) > 0
	switch {
	case slices.Contains(p.found, findBlock):
		e.Found = 2
	case slices.Contains(p.found, findReview):
		e.Found = 1
	}
	p.mu.Unlock()
	e.Flagged = e.Flagged || e.Found > 0 || slices.ContainsFunc(out.Findings, func(id string) bool { return strings.HasPrefix(id, "withheld.") || strings.HasPrefix(id, "late.") })
	g.risks.Ended(r.Risk, e)
}
