package grant

import (
	"context"
	"errors"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// Reserve takes one use of a grant for the call of this decision, and of its budget
// what the arguments say. It is the last word on whether the grant still covers it:
// a CodeConflict error means that it does not, and that Covering knows by now. In
// the same transaction it adds the charges to their counters and sets their totals.
// A grant of "" is none: then only the charges are reserved, and the use is
// remembered while it runs.
func (b *Broker) Reserve(ctx context.Context, grant, decision string, args rawjson.Value, charges ...access.Charge) (Use, error) {
	u := Use{ID: access.NewID(PrefixUse), Grant: grant, Decision: decision, State: UseReserved, Node: b.cfg.Node, Boot: b.cfg.Boot, At: b.now(), Charges: charges}
	var h *held
	if grant != "" {
		if h = b.live.Load().byID.get(grant); h == nil {
			return Use{}, access.Errorf(access.CodeConflict, "grant %s is over", grant)
		}
		if h.grant.Budget != (Budget{}) {
			var err error
			if u.Amount, err = h.grant.Budget.AmountOf(args); err != nil {
				return Use{}, err
			}
		}
	}
	b.running.put(u, time.Time{})
	if !u.stored() {
		return u, nil
	}
	counts, err := b.store.ReserveUse(ctx, u)
	if err != nil {
		b.running.remove(u.ID)
		var busy *Busy
		if errors.As(err, &busy) && h != nil {
			h.busy.Store(busy)
			return Use{}, err
		}
		if access.CodeOf(err) == access.CodeConflict {
			if rerr := b.Refresh(context.WithoutCancel(ctx)); rerr != nil {
				return Use{}, rerr
			}
		}
		return Use{}, err
	}
	if h != nil {
		h.heard(counts)
	}
	return u, nil
}

// Busy says why none of the grants that would cover c does at this moment: too many
// calls are under way under them, or were made a moment ago. It is "" where no grant
// would, and another is to be asked for.
func (b *Broker) Busy(c *Call) string {
	busy := b.live.Load().busy(c)
	switch {
	case busy == nil:
		return ""
	case busy.Until.IsZero():
		return busy.Why + ": call again when one has ended"
	default:
		return busy.Why + ": call again after " + busy.Until.Format(time.RFC3339)
	}
}

// Wait keeps the use of a call that waits for input reserved until somebody
// goes on with it, or until then.
func (b *Broker) Wait(u Use, until time.Time) { b.running.put(u, until) }

// Resume returns the use a call goes on under; ok is false if it is over or
// somebody goes on with it already.
func (b *Broker) Resume(id string) (u Use, ok bool) { return b.running.take(id) }

// Settle says how the call of a use ended: committed, released where the server
// never received it, or unknown, which counts as used. u.Bytes are those of its
// result. A CodeDenied error means that they are more than the grant had left: the
// use is settled, and the result must be withheld.
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
	var last exhausting
	done, err := b.store.SettleUse(ctx, u, b.now(), b.exhausting(&last))
	if err != nil {
		b.running.put(reserved, b.now()) // it counts as used, and is settled as unknown later
		return err
	}
	b.running.remove(u.ID)
	if u.Grant == "" {
		return nil
	}
	return b.settled(ctx, u.Grant, done, u.Bytes, &last)
}

// More counts bytes of what came of a use after it was settled: a task the call made,
// asked after. A CodeDenied error means that they are more than the grant had left,
// and must be withheld.
func (b *Broker) More(ctx context.Context, use string, bytes int64) error {
	var last exhausting
	id, done, ok, err := b.store.AddBytes(ctx, use, bytes, b.now(), b.exhausting(&last))
	if err != nil || !ok {
		return err
	}
	return b.settled(ctx, id, done, bytes, &last)
}

// settled makes known what the store says of a grant after a use of it, of whose
// results bytes more are to be shown.
func (b *Broker) settled(ctx context.Context, id string, done Settled, bytes int64, last *exhausting) error {
	var g Grant
	var err error
	if h := b.live.Load().byID.get(id); h != nil {
		h.heard(done.Counts)
		g = h.grant
	} else if g, _, err = b.store.Grant(ctx, id); err != nil { // it ended before its call did
		return err
	}
	g.Counts = done.Counts // of this use, whatever was heard since
	if g.Parent != "" && Over(done.State) {
		if err := b.hear(ctx, g.Parent); err != nil {
			return err
		}
	}
	if done.Exhausted {
		err = b.exhausted(ctx, last)
	}
	return errors.Join(err, tooLong(g, bytes))
}

// exhausting is a grant whose last use was settled, and what the evidence says of it.
type exhausting struct {
	grant Grant
	event Event
	owed  []access.Owed
}

// exhausting is what the store keeps with a grant that has nothing left: its leaf is
// owed as that of every other end (docs/decisions/0067).
func (b *Broker) exhausting(out *exhausting) Exhaust {
	return func(before Grant) (Grant, []access.Owed, error) {
		g := before
		g.State, g.Why, g.Changed = GrantExhausted, before.spentOut(), b.now()
		*out = exhausting{grant: g, event: event(system, verbOf(g.State), KindGrant, g.ID, before, g, g.Why)}
		var err error
		out.owed, err = b.owed([]Event{out.event})
		return g, out.owed, err
	}
}

// exhausted makes known that a grant has nothing left, as the store says.
func (b *Broker) exhausted(ctx context.Context, x *exhausting) error {
	b.mu.Lock()
	b.install(b.live.Load().with(Batch{Grants: []Grant{x.grant}}))
	b.mu.Unlock()
	b.tell([]Event{x.event})
	return b.rec.Settle(context.WithoutCancel(ctx), x.owed)
}

// tooLong withholds a result with more bytes than the grant had left.
func tooLong(g Grant, bytes int64) error {
	if g.BytesOut == 0 || g.Counts.Bytes+g.Counts.BytesCarved <= g.BytesOut {
		return nil
	}
	return access.Errorf(access.CodeDenied, "the result is withheld: it has %s, and grant %s lets through %d in all", access.Count(bytes, "byte"), g.ID, g.BytesOut)
}

// hear reads the counts of a grant anew, and of those it was carved out of: what a
// child did not use is theirs again.
func (b *Broker) hear(ctx context.Context, id string) error {
	for id != "" {
		g, ok, err := b.store.Grant(ctx, id)
		if err != nil || !ok {
			return err
		}
		if h := b.live.Load().byID.get(id); h != nil {
			h.heard(g.Counts)
		}
		id = g.Parent
	}
	return nil
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

// TakenBack says why a call that is being made under a grant must not go on: the grant
// was revoked, which it also is where what it was carved out of was. It is "" where it
// was not: that it is used up, or that its time or its task is over, ends no call that
// began before. The store is only asked about a grant that is not in force.
func (b *Broker) TakenBack(ctx context.Context, id string) (string, error) {
	if b.live.Load().byID.get(id) != nil {
		return "", nil
	}
	g, ok, err := b.store.Grant(ctx, id)
	switch {
	case err != nil:
		return "", err
	case !ok:
		return "grant " + id + " is not there", nil
	case g.State == GrantRevoking || g.State == GrantRevokePartial || g.State == GrantRevoked:
		return "grant " + id + " was revoked", nil
	default:
		return "", nil
	}
}
