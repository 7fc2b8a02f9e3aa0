package grant

import (
	"context"
	"time"

	"rutile/internal/access"
)

// Reserve takes one use of a grant for the call of this decision. It is the last
// word on whether the grant still covers it: a CodeConflict error means that it
// does not, and that Covering knows by now. In the same transaction it adds the
// charges to their counters and sets their totals. A grant of "" is none: then
// only the charges are reserved, and the use is remembered while it runs.
func (b *Broker) Reserve(ctx context.Context, grant, decision string, charges ...access.Charge) (Use, error) {
	u := Use{ID: access.NewID(PrefixUse), Grant: grant, Decision: decision, State: UseReserved, Node: b.cfg.Node, Boot: b.cfg.Boot, At: b.now(), Charges: charges}
	b.running.put(u, time.Time{})
	if !u.stored() {
		return u, nil
	}
	counts, err := b.store.ReserveUse(ctx, u)
	if err != nil {
		b.running.remove(u.ID)
		if access.CodeOf(err) == access.CodeConflict {
			if rerr := b.Refresh(context.WithoutCancel(ctx)); rerr != nil {
				return Use{}, rerr
			}
		}
		return Use{}, err
	}
	if h := b.live.Load().byID[grant]; h != nil {
		h.heard(counts)
	}
	return u, nil
}

// Wait keeps the use of a call that waits for input reserved until somebody
// goes on with it, or until then.
func (b *Broker) Wait(u Use, until time.Time) { b.running.put(u, until) }

// Resume returns the use a call goes on under; ok is false if it is over or
// somebody goes on with it already.
func (b *Broker) Resume(id string) (u Use, ok bool) { return b.running.take(id) }

// Settle says how the call of a use ended: committed, released where the server
// never received it, or unknown, which counts as used.
func (b *Broker) Settle(ctx context.Context, u Use, to State) error {
	if err := useTable().move("use "+u.ID, u.State, to); err != nil {
		return err
	}
	if !u.stored() {
		b.running.remove(u.ID)
		return nil
	}
	reserved := u
	u.State = to
	counts, state, err := b.store.SettleUse(ctx, u, b.now())
	if err != nil {
		b.running.put(reserved, b.now()) // it counts as used, and is settled as unknown later
		return err
	}
	b.running.remove(u.ID)
	h := b.live.Load().byID[u.Grant]
	if h == nil {
		return nil
	}
	h.heard(counts)
	if state != GrantExhausted {
		return nil
	}
	before, after := h.now(), h.now()
	after.State, after.Why = GrantExhausted, "every use is spent"
	b.mu.Lock()
	b.install(b.live.Load().with(Batch{Grants: []Grant{after}}))
	b.mu.Unlock()
	return b.rec.Record(ctx, []Event{event(system, "exhaust", KindGrant, u.Grant, before, after, after.Why)})
}

// settleLate gives up the uses of calls nobody came back for.
func (b *Broker) settleLate(ctx context.Context) error {
	for _, u := range b.running.late(b.now()) {
		if u, ok := b.running.take(u.ID); ok {
			if err := b.Settle(ctx, u, UseUnknown); err != nil {
				b.running.put(u, b.now()) // again next time
				return err
			}
		}
	}
	return nil
}

// Held returns the grant a call was made under, for who asks after that call. ok
// is false where the call was not made, or the right it was made under has been
// taken back since, or ended with its task: that it is used up or its time is over
// changes nothing.
func (b *Broker) Held(ctx context.Context, use string, own Party) (g Grant, ok bool, err error) {
	u, ok, err := b.store.Use(ctx, use)
	if err != nil || !ok || u.State == UseReleased {
		return Grant{}, false, err
	}
	g, ok, err = b.store.Grant(ctx, u.Grant)
	if err != nil || !ok || g.Party != own {
		return Grant{}, false, err
	}
	switch g.State {
	case GrantActive, GrantExhausted, GrantExpired:
		return g, true, nil
	default:
		return Grant{}, false, nil
	}
}
