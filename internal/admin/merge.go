package admin

import (
	"context"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/discovery/inventory"
	"rutile/internal/registry"
)

// Suggest proposes which servers may be one. Nothing is merged by it.
func (v *Inventory) Suggest(ctx context.Context) ([]inventory.Suggestion, error) {
	all, around, err := v.entries(ctx)
	if err != nil {
		return nil, err
	}
	return inventory.Suggest(all, around.Merges), nil
}

// Merge says that two servers are one: from counts as into from now on. Nothing
// that was seen changes, so that Split takes it back exactly.
func (v *Inventory) Merge(ctx context.Context, actor Actor, from, into, why string) (inventory.Merge, error) {
	if err := v.mayChange(ctx, actor, why); err != nil {
		return inventory.Merge{}, err
	}
	all, around, err := v.entries(ctx)
	if err != nil {
		return inventory.Merge{}, err
	}
	roots := inventory.Roots(around.Merges)
	a, err := pick(all, roots, from)
	if err != nil {
		return inventory.Merge{}, err
	}
	b, err := pick(all, roots, into)
	if err != nil {
		return inventory.Merge{}, err
	}
	if a.Key == b.Key {
		return inventory.Merge{}, access.Errorf(access.CodeConflict, "%s and %s count as one already", clip(from), clip(into))
	}
	m := inventory.Merge{ID: access.NewID("mrg_"), From: a.Key, Into: b.Key, By: actor.String(), Why: why, At: v.admin.now()}
	for _, s := range inventory.Suggest(all, around.Merges) {
		if s.From == m.From && s.Into == m.Into || s.From == m.Into && s.Into == m.From {
			m.Rule = s.Rule
		}
	}
	return m, v.edge(ctx, actor, "merge", around.Generation, m, why)
}

// Split takes a merge back: the one by which a key counts as another.
func (v *Inventory) Split(ctx context.Context, actor Actor, key, why string) (inventory.Merge, error) {
	if err := v.mayChange(ctx, actor, why); err != nil {
		return inventory.Merge{}, err
	}
	around, err := v.store.Around(ctx)
	if err != nil {
		return inventory.Merge{}, err
	}
	var like []inventory.Merge
	for _, m := range around.Merges {
		if m.Undone.IsZero() && (m.From == key || m.ID == key || key != "" && strings.HasPrefix(m.From, key)) {
			if m.From == key || m.ID == key {
				like = []inventory.Merge{m}
				break
			}
			like = append(like, m)
		}
	}
	if len(like) != 1 {
		return inventory.Merge{}, access.Errorf(access.CodeNotFound, "%d merged servers begin with %q: rutile inventory show SERVER lists what counts as it", len(like), clip(key))
	}
	m := like[0]
	m.Undone, m.UndoBy = v.admin.now(), actor.String()
	return m, v.edge(ctx, actor, "split", around.Generation, m, why)
}

// Own says who answers for a server that was found: a user or a team, "" for
// nobody.
func (v *Inventory) Own(ctx context.Context, actor Actor, key, owner, why string) (inventory.Entry, error) {
	if err := v.mayChange(ctx, actor, why); err != nil {
		return inventory.Entry{}, err
	}
	if err := v.owner(owner); err != nil {
		return inventory.Entry{}, err
	}
	for range attempts {
		all, around, err := v.entries(ctx)
		if err != nil {
			return inventory.Entry{}, err
		}
		e, err := pick(all, inventory.Roots(around.Merges), key)
		if err != nil {
			return inventory.Entry{}, err
		}
		kept, err := v.store.Inventory(ctx, inventory.Scope{Servers: []string{e.Key}})
		if err != nil {
			return inventory.Entry{}, err
		}
		s, ok := kept.Servers[e.Key]
		if !ok {
			return inventory.Entry{}, access.Errorf(access.CodeConflict, "%s stands for others only: name one of them", clip(e.Key))
		}
		s.Owner, e.Owner = owner, owner
		err = v.commit(ctx, actor, "own", e.Key, why, map[string]string{"owner": owner}, inventory.Changes{Base: kept.Generation, At: v.admin.now(), Servers: []inventory.Server{s}})
		if access.CodeOf(err) != access.CodeConflict {
			return e, err
		}
	}
	return inventory.Entry{}, access.Errorf(access.CodeConflict, "the inventory kept being changed: try again")
}

// SuggestOwners proposes who may answer for servers that nobody owns. Nothing is
// owned by itself.
func (v *Inventory) SuggestOwners(ctx context.Context) ([]inventory.OwnerSuggestion, error) {
	all, around, err := v.entries(ctx)
	if err != nil {
		return nil, err
	}
	var keys []string
	for i := range all {
		if all[i].Owner == "" && all[i].Status != inventory.StatusGone {
			keys = append(append(keys, all[i].Key), all[i].Merged...)
		}
	}
	slices.Sort(keys)
	view, now := v.admin.Current().View, v.admin.now()
	p := inventory.People{Host: v.cfg.Host, Accounts: map[string]string{}, Known: func(id string) bool {
		_, person := view.User(id)
		_, team := view.Team(id)
		return (person || team) && registry.Orphaned(view, id, now) == ""
	}}
	for _, u := range view.Users() {
		if v.cfg.Account == nil || registry.UserStatus(u, now) != registry.UserActive {
			continue
		}
		if at := v.cfg.Account(u.ID); at != "" {
			p.Accounts[at] = u.ID
		}
	}
	_, seen, err := v.store.Seen(ctx, slices.Compact(keys))
	if err != nil {
		return nil, err
	}
	return inventory.SuggestOwners(all, seen, inventory.Roots(around.Merges), p), nil
}

func (v *Inventory) mayChange(ctx context.Context, actor Actor, why string) error {
	if err := checkReason(why); err != nil {
		return err
	}
	return v.admin.Authorize(ctx, actor, OpInventory)
}

// edge writes a merge, or that it was undone, and compares both servers with the
// registry again.
func (v *Inventory) edge(ctx context.Context, actor Actor, verb string, base uint64, m inventory.Merge, why string) error {
	err := v.commit(ctx, actor, verb, m.From, why, m, inventory.Changes{Base: base, At: v.admin.now(), Merges: []inventory.Merge{m}})
	if err != nil {
		return err
	}
	return v.Reconcile(ctx, []string{m.From, m.Into})
}

// commit commits what a person asked for, with its leaf of evidence.
func (v *Inventory) commit(ctx context.Context, actor Actor, verb, object, why string, detail any, c inventory.Changes) error {
	owed, err := v.owed(actor.String(), verb, object, why, detail)
	if err != nil {
		return err
	}
	c.Owed = []access.Owed{owed}
	if err := v.store.CommitInventory(ctx, c); err != nil {
		return err
	}
	return v.settle(ctx, owed.ID)
}

// Owned raises what is wrong with who answers for registered servers, and with
// what nobody uses. used says when each was called last, over how long a time.
func (v *Inventory) Owned(ctx context.Context, used map[string]time.Time, since time.Time) error {
	return v.findings.Tell(ctx, v.ownership(used, since))
}
