package grant

import "slices"

// change is a live in the making.
type change struct {
	byID    *edit[string, *held]
	covers  *edit[place, []*held]
	grants  *edit[Party, []*held]
	kids    *edit[string, []*held]
	tasks   *edit[string, *Task]
	open    *edit[Party, []*Task]
	pending *edit[[32]byte, *Request]
	waits   *edit[string, *Request]
	waiting *edit[Party, int]
	owed    *edit[string, *Review]
}

func (v *live) change() *change {
	return &change{byID: v.byID.edit(), covers: v.covers.edit(), grants: v.grants.edit(), kids: v.kids.edit(), tasks: v.tasks.edit(), open: v.open.edit(),
		pending: v.pending.edit(), waits: v.waits.edit(), waiting: v.waiting.edit(), owed: v.owed.edit()}
}

func (c *change) done() *live {
	return &live{byID: c.byID.index, covers: c.covers.index, grants: c.grants.index, kids: c.kids.index, tasks: c.tasks.index, open: c.open.index,
		pending: c.pending.index, waits: c.waits.index, waiting: c.waiting.index, owed: c.owed.index}
}

// grant puts g in the place of what it was before, or takes it out where it ended.
func (c *change) grant(g Grant) {
	old := c.byID.get(g.ID)
	var next *held
	if Over(g.State) {
		c.byID.del(g.ID)
	} else {
		next = hold(g, old)
		c.byID.set(g.ID, next)
	}
	swap(c.covers, placeOf(g.Party, g.Target), old, next)
	swap(c.grants, g.Party, old, next)
	if g.Parent != "" {
		swap(c.kids, g.Parent, old, next)
	}
}

// swap replaces one grant of a list; a nil one is not there.
func swap[K comparable](e *edit[K, []*held], k K, old, next *held) {
	list := e.get(k)
	out := make([]*held, 0, len(list)+1)
	for _, h := range list {
		if h != old {
			out = append(out, h)
		}
	}
	if next != nil {
		i, _ := slices.BinarySearchFunc(out, next, narrowest)
		out = slices.Insert(out, i, next)
	}
	if len(out) == 0 {
		e.del(k)
	} else {
		e.set(k, out)
	}
}

func (c *change) task(t *Task) {
	old := c.tasks.get(t.ID)
	list := slices.DeleteFunc(slices.Clone(c.open.get(t.Party)), func(x *Task) bool { return x == old })
	if taskTable().ended(t.State) {
		c.tasks.del(t.ID)
	} else {
		c.tasks.set(t.ID, t)
		list = append(list, t)
	}
	if len(list) == 0 {
		c.open.del(t.Party)
	} else {
		c.open.set(t.Party, list)
	}
}

// request puts r in the place of what it was before. A request that ends may leave
// its identity to another one of the same change, whatever their order.
func (c *change) request(r *Request) {
	n := c.waiting.get(r.Party)
	if c.waits.get(r.ID) != nil {
		n--
	}
	if requestTable().ended(r.State) {
		c.waits.del(r.ID)
		if p := c.pending.get(r.Identity); p != nil && p.ID == r.ID {
			c.pending.del(r.Identity)
		}
	} else {
		n++
		c.waits.set(r.ID, r)
		c.pending.set(r.Identity, r)
	}
	if n <= 0 {
		c.waiting.del(r.Party)
	} else {
		c.waiting.set(r.Party, n)
	}
}
