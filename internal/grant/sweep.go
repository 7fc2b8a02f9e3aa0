package grant

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"rutile/internal/access"
)

// Standing is what is so now of what grants and requests were made for.
type Standing struct {
	// Digest returns the digest of a target where it is what it was approved as,
	// anything else where it is not.
	Digest func(Target) string
	// Right returns the entitlement, where it still covers that an agent holds a right
	// to a target at this depth. Nil looks at none.
	Right func(entitlement, agent string, t Target, depth int) (Entitlement, bool)
	// Void says why the policies do not let a request be asked for as it was, "" where
	// they do. Nil asks none.
	Void func(Request) string
	// Orphan says why nobody answers for an entitlement any more, "" where somebody
	// does. Nil asks of none.
	Orphan func(entitlement string) string
}

// orphanTime is how long a grant nobody answers for stays suspended.
const orphanTime = time.Hour

// Sweep ends what time has ended and what has nothing left, suspends or resumes
// grants as the approved definition of their target is another one or theirs again,
// and ends what an entitlement does not reach any more. What was carved out of a
// grant ends, or is suspended, with it.
func (b *Broker) Sweep(ctx context.Context, s Standing) error {
	if err := b.settleLate(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	for _, t := range b.live.Load().tasks.all() {
		if now.Before(t.Expires) {
			continue
		}
		if _, err := b.endTask(ctx, *t, TaskExpired, system, "its time is over"); err != nil {
			return err
		}
	}
	v := b.live.Load()
	w := sweeping{Broker: b, ctx: ctx, Standing: s, live: v, at: now, fate: map[string]State{}, looked: map[string]time.Time{}}
	for _, h := range v.byDepth() {
		if err := w.grant(h); err != nil {
			return err
		}
	}
	for _, r := range v.pending.all() {
		if err := w.request(*r); err != nil {
			return err
		}
	}
	w.overdue()
	b.looked = w.looked
	if len(w.ended) > 0 {
		if err := b.narrow(ctx, w.less, w.ended); err != nil {
			return err
		}
	}
	for _, id := range w.parents {
		if err := b.hear(ctx, id); err != nil {
			return err
		}
	}
	if len(w.resumed) > 0 {
		return b.widen(ctx, w.more, w.resumed)
	}
	return nil
}

// byDepth lists all grants, parents before what was carved out of them.
func (v *live) byDepth() []*held {
	var out []*held
	for _, h := range v.byID.all() {
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b *held) int {
		return cmp.Or(cmp.Compare(a.grant.Depth, b.grant.Depth), cmp.Compare(a.grant.ID, b.grant.ID))
	})
	return out
}

// sweeping is one sweep.
type sweeping struct {
	*Broker
	Standing
	ctx            context.Context
	live           *live
	at             time.Time
	fate           map[string]State // of the grants seen so far
	looked         map[string]time.Time
	less, more     Batch
	ended, resumed []Event
	parents        []string // of grants that ended
}

// grant says what becomes of one grant.
func (w *sweeping) grant(h *held) error {
	before := h.now()
	g, err := w.turn(before)
	if err != nil {
		return err
	}
	w.fate[g.ID] = g.State
	if g.State == before.State {
		return nil
	}
	g.Changed = w.at
	e := event(system, verbOf(g.State), KindGrant, g.ID, before, g, g.Why)
	if g.State == GrantActive {
		if before.State == GrantScheduled {
			e.Verb = "activate"
		}
		w.more.Grants, w.resumed = append(w.more.Grants, g), append(w.resumed, e)
		return nil
	}
	w.less.Grants, w.ended = append(w.less.Grants, g), append(w.ended, e)
	if g.Parent != "" && Over(g.State) {
		w.parents = append(w.parents, g.Parent)
	}
	return nil
}

// turn is what time, what was used, the parent, the definition and the entitlement
// make of g.
func (w *sweeping) turn(g Grant) (Grant, error) {
	parent := GrantActive
	if g.Parent != "" {
		if parent = w.fate[g.Parent]; parent == "" {
			parent = GrantCompleted // it is not there any more
		}
	}
	end := func(to State, why string) (Grant, error) {
		g.State, g.Why = to, why
		return g, nil
	}
	same := w.Digest(g.Target) == g.Target.Digest
	switch {
	case !w.at.Before(g.Expires):
		return end(GrantExpired, "its time is over")
	case Over(parent):
		return end(parent, parentIs(g.Parent, parent))
	case g.Task != "" && w.live.tasks.get(g.Task) == nil: // it ended on another node while this grant was made
		return end(GrantCompleted, "task "+g.Task+" is over")
	case g.spentOut() != "" && len(w.live.kids.get(g.ID)) == 0:
		return end(GrantExhausted, g.spentOut())
	}
	if g.idle(w.at) {
		if idle, err := w.unused(&g); err != nil || idle {
			g.State, g.Why = GrantExpired, fmt.Sprintf("it was not used for %v", Seconds(g.Idle))
			return g, err
		}
	}
	if why, err := w.beyond(asked{id: g.ID, entitlement: g.Entitlement, party: g.Party, target: g.Target, depth: g.Depth, scope: g.Scope, args: g.Args,
		life: g.Expires.Sub(g.NotBefore), uses: g.UsesMax, limits: g.Limits, request: g.Request}); err != nil || why != "" {
		g.State, g.Why = GrantWithdrawn, why
		return g, err
	}
	orphan := w.orphan(g.Entitlement)
	switch {
	case g.State == GrantScheduled && w.at.Before(g.NotBefore):
		return g, nil
	case g.State == GrantScheduled && orphan == "" && same:
		return w.begin(g)
	case orphan != "" && g.State == GrantSuspended && g.Why == orphan && !w.at.Before(g.Changed.Add(orphanTime)):
		return end(GrantWithdrawn, orphan+" since "+g.Changed.Format(time.RFC3339))
	case g.State != GrantSuspended && orphan != "":
		return end(GrantSuspended, orphan)
	case g.State != GrantSuspended && !same:
		return end(GrantSuspended, anotherDefinition(g.Target))
	case g.State == GrantActive && parent == GrantSuspended:
		return end(GrantSuspended, parentIs(g.Parent, parent))
	case g.State == GrantSuspended && same && parent == GrantActive && orphan == "":
		return end(GrantActive, "")
	}
	return g, nil
}

// begin is what becomes of a scheduled grant when its time has come. It was given
// ahead, so that it is held once more to what is so now: what may not be asked for any
// more, or by others, is withdrawn. Where another node was first nothing changes.
func (w *sweeping) begin(g Grant) (Grant, error) {
	kept, ok, err := w.store.Grant(w.ctx, g.ID)
	if err != nil || !ok || kept.Rev != g.Rev {
		return g, err
	}
	if g.Request != "" {
		r, ok, err := w.store.Request(w.ctx, g.Request)
		if err != nil {
			return g, err
		}
		why := w.void(r)
		if e, known := w.right(r); ok && why == "" && known && e.Approve.AtTier(r.Target.Tier).Stricter(r.Rule) {
			why = "entitlement " + r.Entitlement + " wants another approval now"
		}
		if !ok || why != "" {
			g.State, g.Why = GrantWithdrawn, why
			return g, nil
		}
	}
	g.State, g.Why = GrantActive, ""
	return g, nil
}

// right is the entitlement a request was made under, where it still covers it.
func (w *sweeping) right(r Request) (Entitlement, bool) {
	if w.Right == nil || r.Entitlement == "" {
		return Entitlement{}, false
	}
	return w.Right(r.Entitlement, r.Party.Agent, r.Target, 0)
}

// unused asks the store whether g is idle: calls on other nodes count.
func (w *sweeping) unused(g *Grant) (bool, error) {
	kept, ok, err := w.store.Grant(w.ctx, g.ID)
	if err != nil || !ok {
		return false, err
	}
	if h := w.live.byID.get(g.ID); h != nil {
		h.heard(kept.Counts)
	}
	g.Counts = kept.Counts
	return g.idle(w.at), nil
}

// request says what becomes of a request that waits.
func (w *sweeping) request(before Request) error {
	r, verb := before, "expire"
	why, err := w.beyond(asked{id: r.ID, entitlement: r.Entitlement, party: r.Party, target: r.Target, scope: r.Scope, args: r.Args,
		life: Seconds(r.Life), uses: r.Uses, limits: r.Limits, request: r.ID, rule: r.Rule, pending: true})
	if err != nil {
		return err
	}
	switch {
	case !w.at.Before(r.Expires):
		r.State, r.Why = RequestExpired, "nobody answered in time"
	case r.Task != "" && w.live.tasks.get(r.Task) == nil:
		r.State, r.Why, verb = RequestWithdrawn, "task "+r.Task+" is over", "withdraw"
	case w.Digest(r.Target) != r.Target.Digest:
		r.State, r.Why, verb = RequestInvalid, anotherDefinition(r.Target), "invalidate"
	case why != "":
		r.State, r.Why, verb = RequestInvalid, why, "invalidate"
	case w.void(r) != "":
		r.State, r.Why, verb = RequestInvalid, w.void(r), "invalidate"
	default:
		return nil
	}
	r.Changed = w.at
	w.less.Requests, w.ended = append(w.less.Requests, r), append(w.ended, event(system, verb, KindRequest, r.ID, before, r, r.Why))
	return nil
}

func (w *sweeping) orphan(entitlement string) string {
	if w.Orphan == nil || entitlement == "" {
		return ""
	}
	return w.Orphan(entitlement)
}

func (w *sweeping) void(r Request) string {
	if w.Void == nil {
		return ""
	}
	return w.Void(r)
}

func anotherDefinition(t Target) string {
	return "the definition or the tier of " + t.Action() + " is another one"
}

// exhaust ends the grants that have nothing left because an earlier start did not
// come back for its calls.
func (b *Broker) exhaust(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := b.live.Load()
	fall := falling{live: v, by: system, at: b.now()}
	for _, h := range v.byID.all() {
		if g := h.now(); g.spentOut() != "" && len(v.kids.get(g.ID)) == 0 {
			fall.end(g, GrantExhausted, g.spentOut())
		}
	}
	if len(fall.grants) == 0 {
		return nil
	}
	err := b.narrow(ctx, Batch{Grants: fall.grants}, fall.events())
	if access.CodeOf(err) == access.CodeConflict {
		return nil // another node was first, or the next sweep is
	}
	return err
}
