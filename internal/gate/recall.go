package gate

import (
	"context"
	"errors"

	"rutile/internal/access"
	"rutile/internal/pdp"
	"rutile/internal/policy"
)

// underOf is the grant a call is made under, or goes on under, "" if under none: an
// allow-list is none that could be revoked.
func underOf(r *access.Request, dec *access.Decision) string {
	switch {
	case r.Follows && r.Held != nil:
		return r.Held.Grant
	case dec.Grant == policy.StandingGrant:
		return ""
	default:
		return dec.Grant
	}
}

// Recall ends the calls in flight whose grant, or what it was carved out of, was
// revoked, on whichever node, and returns how many there were. Their results are not
// released. Like Withdraw it is to be called again and again: the store is only asked
// where a grant is gone from memory. What cannot be asked now is asked the next time.
func (g *Gate) Recall(ctx context.Context) int {
	n := 0
	for _, id := range g.running.grants() {
		why, err := g.grants.TakenBack(ctx, id)
		if err != nil || why == "" {
			continue
		}
		n += g.running.recall(id, &cutError{what: cutGrant, why: why})
	}
	return n
}

// grants are those that calls in flight are made under, each once.
func (l *running) grants() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	seen := map[string]bool{"": true}
	for _, f := range l.calls {
		if !f.gone && !seen[f.grant] {
			seen[f.grant] = true
			out = append(out, f.grant)
		}
	}
	return out
}

// recall cuts the calls made under a grant and returns how many there were.
func (l *running) recall(grant string, cause *cutError) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, f := range l.calls {
		if f.grant == grant && l.stop(f, cause) {
			n++
		}
	}
	return n
}

// cutBy is what ended the call of ctx while it ran, nil if nothing did. A grant that
// was revoked since the last Recall counts: the result came after that. Where it cannot
// be known whether it was, it counts as revoked.
func (g *Gate) cutBy(ctx context.Context, r *access.Request, ru *pdp.Ruling) *cutError {
	var cut *cutError
	if errors.As(context.Cause(ctx), &cut) {
		return cut
	}
	if under := underOf(r, &ru.Decision); under != "" {
		why, err := g.grants.TakenBack(context.WithoutCancel(ctx), under)
		if err != nil {
			why = "it cannot be known whether grant " + under + " still stands"
		}
		if why != "" {
			cut = &cutError{what: cutGrant, why: why}
		}
	}
	return g.running.settle(ctx, r, cut)
}

// Recalling counts the calls that are cut from now on. What it returns MUST be called
// once: it cuts the calls in flight under these grants, which MUST have been revoked by
// then, and says how many calls under them were cut since, by it or by what else looked.
// Their results are not released; those of calls it does not count were, or nobody was
// to get them for another reason before.
func (g *Gate) Recalling() (end func(grants []string) int) {
	l, t := &g.running, &tally{}
	l.mu.Lock()
	if l.tallies == nil {
		l.tallies = map[*tally]bool{}
	}
	l.tallies[t] = true
	l.mu.Unlock()
	return func(grants []string) int {
		n := 0
		for _, id := range grants {
			l.recall(id, &cutError{what: cutGrant, why: "grant " + id + " was revoked"})
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.tallies, t)
		for _, id := range grants {
			n += (*t)[id]
		}
		return n
	}
}
