package grant

import (
	"context"
	"errors"

	"rutile/internal/access"
)

// RevokeOf ends every grant of the parties of says, as Revoke does, and returns them. Calls they cover that are under way end as the gate finds.
func (b *Broker) RevokeOf(ctx context.Context, of func(Party) bool, by, why string) ([]Grant, error) {
	return b.RevokeAll(ctx, func(g *Grant) bool { return of(g.Party) }, by, why)
}

// RevokeAll ends every live grant of says, as Revoke does, with what was carved out of
// each, and returns them.
func (b *Broker) RevokeAll(ctx context.Context, of func(*Grant) bool, by, why string) ([]Grant, error) {
	if !words(why, maxWords) {
		return nil, access.Errorf(access.CodeInvalid, "the reason must be one line of at most %d bytes", maxWords)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return again(func() ([]Grant, error) {
		v := b.live.Load()
		fall := falling{live: v, by: by, at: b.now()}
		for _, g := range v.all(of) {
			// What was carved out of one of them falls with it.
			if !v.below(g, of) {
				fall.end(g, GrantRevoking, why)
			}
		}
		if len(fall.grants) == 0 {
			return nil, nil
		}
		return fall.grants, b.fallen(ctx, &fall)
	})
}

// all returns the live grants of says that can be revoked.
func (v *live) all(of func(*Grant) bool) []Grant {
	var out []Grant
	for _, h := range v.byID.all() {
		if g := h.now(); of(&g) && grantTable().move("grant "+g.ID, g.State, GrantRevoking) == nil {
			out = append(out, g)
		}
	}
	return out
}

// Falls returns the live grants that RevokeAll would end: those of says, and what was
// carved out of them.
func (b *Broker) Falls(of func(*Grant) bool) []Grant {
	v := b.live.Load()
	return v.all(func(g *Grant) bool { return of(g) || v.below(*g, of) })
}

// below reports whether a live grant that g was carved out of, at whatever distance,
// is one of says.
func (v *live) below(g Grant, of func(*Grant) bool) bool {
	for g.Parent != "" {
		h := v.byID.get(g.Parent)
		if h == nil {
			return false
		}
		if g = h.now(); of(&g) {
			return true
		}
	}
	return false
}

// Pending returns the requests of says that wait for an answer.
func (b *Broker) Pending(of func(*Request) bool) []Request {
	var out []Request
	for _, r := range b.live.Load().waits.all() {
		if of(r) {
			out = append(out, *r)
		}
	}
	return out
}

// InvalidateAll ends the pending requests of says because what they are about was
// revoked, and returns them. One that was answered meanwhile is left.
func (b *Broker) InvalidateAll(ctx context.Context, of func(*Request) bool, by, why string) ([]Request, error) {
	var out []Request
	var errs error
	for _, r := range b.Pending(of) {
		r, err := b.end(ctx, r.ID, RequestInvalid, by, why, func(Request) bool { return true })
		switch code := access.CodeOf(err); {
		case err == nil:
			out = append(out, r)
		case code != access.CodeConflict && code != access.CodeNotFound:
			errs = errors.Join(errs, err)
		}
	}
	return out, errs
}

// MintedUnder returns what lives of what was minted under grants, by grant.
func (b *Broker) MintedUnder(ctx context.Context, grants []string) (map[string][]Minted, error) {
	if len(grants) == 0 {
		return nil, nil
	}
	return b.store.MintedUnder(ctx, grants)
}
