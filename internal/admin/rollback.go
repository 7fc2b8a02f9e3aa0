package admin

import (
	"context"
	"errors"
	"slices"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// RollBack makes the rules of generation n those in force again: policies and
// entitlements as they were, those written since gone, and every agent's
// allow-list as it was then, none if it had none. It is a change like any other:
// checked against what is registered now, refused as a whole with place and
// reason if it does not fit, recorded, and itself a new generation. Agents that
// are retired or gone stay so. With dryRun it only says what it would do.
func (a *Admin) RollBack(ctx context.Context, actor Actor, n uint64, why string, dryRun bool) (Plan, error) {
	return a.rollBack(ctx, actor, n, 0, why, dryRun)
}

// RollBackSeen is RollBack for somebody who looked at what it changes while the registry
// was at generation seen: where anything of it or of the rules changed since, nothing is
// done and the error is an access.CodeConflict.
func (a *Admin) RollBackSeen(ctx context.Context, actor Actor, n, seen uint64, why string) (Plan, error) {
	if seen == 0 {
		return Plan{}, access.Errorf(access.CodeInvalid, "say on which generation of the registry it was looked at")
	}
	return a.rollBack(ctx, actor, n, seen, why, false)
}

func (a *Admin) rollBack(ctx context.Context, actor Actor, n, seen uint64, why string, dryRun bool) (Plan, error) {
	if err := checkReason(why); err != nil {
		return Plan{}, err
	}
	if n == 0 {
		return Plan{}, access.Errorf(access.CodeInvalid, "say which generation to bring back: rutile policy versions lists them")
	}
	v, err := a.Version(ctx, n)
	if err != nil {
		return Plan{}, err
	}
	var plan Plan
	planning := func(cur *Current) (*draft, error) {
		if g := cur.View.Generation(); seen > 0 && g != seen {
			return nil, access.Errorf(access.CodeConflict, "what is registered or in force changed since this was shown (generation %d, now %d): look at what differs now", seen, g)
		}
		d, items, err := a.restore(cur, v, actor)
		if err != nil {
			return nil, err
		}
		d.why = why
		plan = Plan{Items: items, Generation: cur.View.Generation()}
		return d, nil
	}
	return a.carryOut(ctx, actor, dryRun, &plan, planning)
}

// restore plans the rules of v and checks the state they lead to.
func (a *Admin) restore(cur *Current, v Version, actor Actor) (*draft, []Item, error) {
	r := restorer{planner: planner{cur: cur, now: a.now(), by: actor.String(), draft: newDraft()}, verb: "rollback"}
	r.draft.from = v.N
	r.policies(v.Rules.Policies)
	r.rights(v.Rules.Entitlements)
	r.lists(v.Rules.Lists)
	sortItems(r.items)
	if r.draft.empty() {
		return r.draft, r.items, nil
	}
	next, err := a.after(cur, r.draft)
	if err != nil {
		var e *access.Error
		if errors.As(err, &e) && e.Code == access.CodeInvalid {
			return nil, nil, access.Errorf(access.CodeInvalid, "generation %d does not fit what is registered now:\n%w", v.N, err)
		}
		return nil, nil, err
	}
	r.draft.next = next
	a.contrast(r.items, cur, next)
	return r.draft, r.items, nil
}

// restorer plans rules instead of manifests.
type restorer struct {
	planner
	verb string
}

func (r *restorer) add(it Item, changed bool) {
	if changed {
		r.draft.records = append(r.draft.records, record{verb: r.verb, kind: it.Kind, object: it.ID, detail: it})
	} else if len(it.Notes) == 0 {
		it.Action = ActionUnchanged
	}
	r.items = append(r.items, it)
}

func (r *restorer) policies(want []policy.Policy) {
	kept := map[string]bool{}
	for _, p := range want {
		kept[p.ID] = true
		it := Item{Kind: kindPolicy, ID: p.ID}
		old, exists := r.cur.policy(p.ID)
		changed := it.decide(exists, shownPolicy(old), shownPolicy(p))
		if changed {
			p.Created, p.Changed = r.now, r.now
			if exists {
				p.Created = old.Created
			}
			r.draft.changes.Policies[p.ID] = &p
		}
		r.add(it, changed)
	}
	for _, p := range r.cur.Policies {
		if !kept[p.ID] {
			r.draft.changes.Policies[p.ID] = nil
			r.add(Item{Kind: kindPolicy, ID: p.ID, Action: ActionDelete, Fields: fieldsOf(shownPolicy(p), nil)}, true)
		}
	}
}

func (r *restorer) rights(want []grant.Entitlement) {
	kept := map[string]bool{}
	for _, e := range want {
		kept[e.ID] = true
		it := Item{Kind: kindEntitlement, ID: e.ID}
		old, exists := r.cur.Rights[e.ID]
		var before any
		if exists {
			before = old
		}
		changed := it.decide(exists, before, e)
		if changed {
			e.Created, e.Changed, e.Confirmed, e.ConfirmedBy = r.now, r.now, old.Confirmed, old.ConfirmedBy
			if exists {
				e.Created = old.Created
			}
			r.draft.changes.Rights[e.ID] = &e
		}
		r.add(it, changed)
	}
	for _, id := range keysOf(r.cur.Rights) {
		if !kept[id] {
			r.draft.changes.Rights[id] = nil
			r.add(Item{Kind: kindEntitlement, ID: id, Action: ActionDelete, Fields: fieldsOf(r.cur.Rights[id], nil)}, true)
		}
	}
}

// lists sets the allow-list of every agent to the one it had.
func (r *restorer) lists(want []AllowList) {
	then := map[string][]string{}
	for _, l := range want {
		then[l.Agent] = l.Tools
		switch x, ok := r.cur.View.Agent(l.Agent); {
		case !ok:
			r.add(Item{Kind: kindAgent, ID: l.Agent, Action: ActionUnchanged, Notes: []string{"is not registered any more: its list is not brought back"}}, false)
		case x.State == registry.AgentRetired:
			r.add(Item{Kind: kindAgent, ID: l.Agent, Action: ActionUnchanged, Notes: []string{"is retired, which is the end: its list is not brought back"}}, false)
		}
	}
	for _, x := range r.cur.View.Agents() {
		if x.State == registry.AgentRetired {
			continue
		}
		r.list(x, then[x.ID])
	}
}

// list gives an agent another allow-list.
func (r *restorer) list(old registry.Agent, tools []string) {
	it := Item{Kind: kindAgent, ID: old.ID}
	next := old
	next.Tools = slices.Clone(tools)
	if slices.Equal(old.Tools, tools) {
		r.add(it, false)
		return
	}
	next.Changed = r.now
	changed := it.decide(true, old, next)
	r.draft.changes.Agents[old.ID] = &next
	r.add(it, changed)
}
