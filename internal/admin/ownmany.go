package admin

import (
	"context"
	"slices"

	"rutile/internal/access"
	"rutile/internal/discovery/inventory"
	"rutile/internal/registry"
)

// maxOwned bounds how many servers are given to somebody at once.
const maxOwned = 500

// Owning is what giving one server to somebody comes to.
type Owning struct {
	Key   string   `json:"key"`
	Names []string `json:"names,omitempty"`
	From  string   `json:"from,omitempty"` // who answers for it now
	// Left says why it stays as it is, "" where it changes.
	Left Left `json:"left,omitempty"`
}

// Left is why a server stays as it is.
type Left string

// The reasons.
const (
	LeftTheirs     Left = "theirs"     // they answer for it already
	LeftRegistered Left = "registered" // whoever registered it says who answers for it
	LeftMerged     Left = "merged"     // it stands for others only
)

// OwnPlan says what it would come to if somebody answered for servers, which are named by
// their keys: nothing is changed. The list is sorted by key.
func (v *Inventory) OwnPlan(ctx context.Context, keys []string, owner string) ([]Owning, error) {
	plan, _, err := v.planOwn(ctx, keys, owner)
	return plan, err
}

// OwnMany says who answers for several servers that were found, all or none of them; each
// is evidence of its own. What OwnPlan leaves as it is stays so.
func (v *Inventory) OwnMany(ctx context.Context, actor Actor, keys []string, owner, why string) ([]Owning, error) {
	if err := v.mayChange(ctx, actor, why); err != nil {
		return nil, err
	}
	for range attempts {
		plan, kept, err := v.planOwn(ctx, keys, owner)
		if err != nil {
			return nil, err
		}
		c := inventory.Changes{Base: kept.Generation, At: v.admin.now()}
		id := access.NewID(access.PrefixChange) // one change, a leaf for each server
		for i := range plan {
			if plan[i].Left != "" {
				continue
			}
			s := kept.Servers[plan[i].Key]
			s.Owner = owner
			leaf, err := v.owed(actor.String(), "own", s.Key, why, map[string]string{"owner": owner})
			if err != nil {
				return nil, err
			}
			leaf.ID = id
			c.Servers, c.Owed = append(c.Servers, s), append(c.Owed, leaf)
		}
		if len(c.Owed) == 0 {
			return nil, access.Errorf(access.CodeConflict, "none of these %d servers would change", len(plan))
		}
		if err := v.store.CommitInventory(ctx, c); access.CodeOf(err) == access.CodeConflict {
			continue
		} else if err != nil {
			return nil, err
		}
		return plan, v.settle(ctx, id)
	}
	return nil, access.Errorf(access.CodeConflict, "the inventory kept being changed: try again")
}

func (v *Inventory) planOwn(ctx context.Context, keys []string, owner string) ([]Owning, inventory.Kept, error) {
	if err := v.owner(owner); err != nil {
		return nil, inventory.Kept{}, err
	}
	keys = slices.Compact(slices.Sorted(slices.Values(keys)))
	switch {
	case len(keys) == 0:
		return nil, inventory.Kept{}, access.Errorf(access.CodeInvalid, "no server is named: choose some, or name them by their keys")
	case len(keys) > maxOwned:
		return nil, inventory.Kept{}, access.Errorf(access.CodeTooLarge, "%d servers at once are too many: %d are the most, so narrow the filter", len(keys), maxOwned)
	}
	all, _, err := v.entries(ctx)
	if err != nil {
		return nil, inventory.Kept{}, err
	}
	index := make(map[string]*inventory.Entry, len(all))
	for i := range all {
		index[all[i].Key] = &all[i]
	}
	kept, err := v.store.Inventory(ctx, inventory.Scope{Servers: keys})
	if err != nil {
		return nil, kept, err
	}
	view := v.admin.Current().View
	out := make([]Owning, 0, len(keys))
	for _, k := range keys {
		e := index[k]
		if e == nil {
			return nil, kept, access.Errorf(access.CodeNotFound, "%q is no key of a server that was found: see rutile inventory list", clip(k))
		}
		o := Owning{Key: k, Names: e.Names, From: e.Owner}
		s, there := kept.Servers[k]
		switch r, ok := view.Server(e.Registered); {
		case ok && r.Owner != "" && r.State != registry.ServerRetired:
			o.Left = LeftRegistered
		case !there:
			o.Left = LeftMerged
		case s.Owner == owner:
			o.Left = LeftTheirs
		}
		out = append(out, o)
	}
	return out, kept, nil
}

// owner returns an error for whoever cannot answer for anything: neither a user nor a
// team. "" stands for nobody.
func (v *Inventory) owner(id string) error {
	cur := v.admin.Current().View
	_, person := cur.User(id)
	_, team := cur.Team(id)
	if id != "" && !person && !team {
		return access.Errorf(access.CodeInvalid, "%q is neither a user nor a team: see rutile user list, or apply a manifest of kind Team", clip(id))
	}
	return nil
}
