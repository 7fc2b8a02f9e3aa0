package gate

import (
	"context"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/inspect"
	"rutile/internal/registry"
)

// Hearing judges what a server says to a client outside of every call, as a log on a
// session's own stream. No policy about calls matches there: what calls for block is
// kept from the agent, as in calls (baseline.blocked), and recorded as a denial.
type Hearing struct {
	g      *Gate
	about  *access.Request
	screen *screen
}

// Hearing begins to judge what comes on the stream that r opened.
func (g *Gate) Hearing(r *access.Request) *Hearing {
	h := &Hearing{g: g, about: r}
	server, ok := g.states.State().View.Server(r.Server)
	if !ok {
		server = registry.Server{ID: r.Server}
	}
	h.screen = g.screenOf(r, &server, false)
	return h
}

// Passes reports whether a message may go on. It MUST NOT be called by two at once.
func (h *Hearing) Passes(ctx context.Context, msg []byte) bool {
	s := h.screen.look(msg)
	if s.seen.Tier < inspect.Block || s.quiet || h.g.states.State().Monitor {
		return true
	}
	r := *h.about
	r.ID, r.At = access.NewID(access.PrefixDecision), h.g.now()
	dec := access.Decision{ID: r.ID, Class: access.ClassPolicy, Forbids: []string{"baseline.blocked"}, Reason: "a message of the server carried " + rulesOf(s.seen.Parts[0].Findings)}
	// Nobody waits for an answer: what cannot be recorded is withheld all the same.
	_, _ = h.g.log.Verdict(ctx, audit.Intent{Request: &r, Decision: &dec})
	return false
}
