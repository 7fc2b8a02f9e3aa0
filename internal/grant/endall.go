package grant

import (
	"context"

	"rutile/internal/access"
)

// RevokeOf ends every grant of the parties of says, as Revoke does, and returns them. Calls they cover that are under way end as the gate finds.
func (b *Broker) RevokeOf(ctx context.Context, of func(Party) bool, by, why string) ([]Grant, error) {
	if !words(why, maxWords) {
		return nil, access.Errorf(access.CodeInvalid, "the reason must be one line of at most %d bytes", maxWords)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return again(func() ([]Grant, error) {
		v := b.live.Load()
		fall := falling{live: v, by: by, at: b.now()}
		for _, h := range v.byID.all() {
			// What was carved out of one of them falls with it.
			if g := h.now(); of(g.Party) && !v.below(g, of) && grantTable().move("grant "+g.ID, g.State, GrantRevoking) == nil {
				fall.end(g, GrantRevoking, why)
			}
		}
		if len(fall.grants) == 0 {
			return nil, nil
		}
		return fall.grants, b.fallen(ctx, &fall)
	})
}

// below reports whether a live grant that g was carved out of, at whatever distance,
// is of a party of says.
func (v *live) below(g Grant, of func(Party) bool) bool {
	for g.Parent != "" {
		h := v.byID.get(g.Parent)
		if h == nil {
			return false
		}
		if g = h.now(); of(g.Party) {
			return true
		}
	}
	return false
}
