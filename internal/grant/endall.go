package grant

import (
	"context"

	"rutile/internal/access"
)

// RevokeOf ends every grant of the parties of says, suspended ones too, and returns
// them. Calls they cover that are under way end as the gate finds.
func (b *Broker) RevokeOf(ctx context.Context, of func(Party) bool, by, why string) ([]Grant, error) {
	if !words(why, maxWords) {
		return nil, access.Errorf(access.CodeInvalid, "the reason must be one line of at most %d bytes", maxWords)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return again(func() ([]Grant, error) {
		var batch Batch
		var events []Event
		now := b.now()
		for _, h := range b.live.Load().byID {
			before := h.now()
			g := before
			if !of(g.Party) || grantTable().move("grant "+g.ID, g.State, GrantRevoked) != nil {
				continue
			}
			g.State, g.Why, g.Changed = GrantRevoked, why, now
			batch.Grants = append(batch.Grants, g)
			events = append(events, event(by, "revoke", KindGrant, g.ID, before, g, why))
		}
		if len(events) == 0 {
			return nil, nil
		}
		return batch.Grants, b.narrow(ctx, batch, events)
	})
}
