package grant

import (
	"cmp"
	"maps"
	"slices"
	"sync/atomic"
	"time"
)

// live is what has not ended, as decisions find it. Only the counts in it change.
type live struct {
	grants  map[Party][]*held // in the order they are tried
	byID    map[string]*held
	tasks   map[string]*Task
	open    map[Party][]*Task
	pending map[[32]byte]*Request
	waiting map[Party]int
}

// held is a live grant with its counts as last heard of from the store.
type held struct {
	grant  Grant
	counts *atomic.Pointer[Counts] // shared by every live that holds the grant
}

func hold(g Grant, counts *atomic.Pointer[Counts]) *held {
	if counts == nil {
		counts = &atomic.Pointer[Counts]{}
		c := g.Counts
		counts.Store(&c)
	}
	return &held{g, counts}
}

// now is the grant with the counts of this moment.
func (h *held) now() Grant {
	g := h.grant
	g.Counts = *h.counts.Load()
	return g
}

// heard takes counts the store gave, unless newer ones are known.
func (h *held) heard(c Counts) {
	for {
		old := h.counts.Load()
		if old.Seq >= c.Seq || h.counts.CompareAndSwap(old, &c) {
			return
		}
	}
}

// newLive is what was read. Counts heard of since are kept: they are newer.
func newLive(l Live, old *live) *live {
	held := make([]*held, len(l.Grants))
	for i, g := range l.Grants {
		var counts *atomic.Pointer[Counts]
		if old != nil && old.byID[g.ID] != nil {
			counts = old.byID[g.ID].counts
		}
		held[i] = hold(g, counts)
		held[i].heard(g.Counts)
	}
	return liveOf(held, l.Tasks, l.Requests)
}

func liveOf(grants []*held, tasks []Task, requests []Request) *live {
	v := &live{grants: map[Party][]*held{}, byID: map[string]*held{}, tasks: map[string]*Task{}, open: map[Party][]*Task{},
		pending: map[[32]byte]*Request{}, waiting: map[Party]int{}}
	for _, h := range grants {
		v.byID[h.grant.ID] = h
		v.grants[h.grant.Party] = append(v.grants[h.grant.Party], h)
	}
	for p := range v.grants {
		slices.SortFunc(v.grants[p], narrowest)
	}
	for i := range tasks {
		t := &tasks[i]
		v.tasks[t.ID] = t
		v.open[t.Party] = append(v.open[t.Party], t)
	}
	for i := range requests {
		r := &requests[i]
		v.pending[r.Identity] = r
		v.waiting[r.Party]++
	}
	return v
}

// narrowest orders grants as they are tried: the one bound to exactly one call
// first, then those with constraints, then those bound to a task, then whichever
// ends first, then the older.
func narrowest(a, b *held) int {
	rank := func(g *Grant) int {
		switch {
		case g.Bound():
			return 0
		case len(g.Args) > 0:
			return 1
		case g.Task != "":
			return 2
		default:
			return 3
		}
	}
	x, y := &a.grant, &b.grant
	return cmp.Or(cmp.Compare(rank(x), rank(y)), x.Expires.Compare(y.Expires), cmp.Compare(x.ID, y.ID))
}

// with returns v after b was committed.
func (v *live) with(b Batch) *live {
	grants, tasks := maps.Clone(v.byID), maps.Clone(v.tasks)
	pending := make(map[string]*Request, len(v.pending))
	for _, r := range v.pending {
		pending[r.ID] = r
	}
	for _, g := range b.Grants {
		var counts *atomic.Pointer[Counts]
		if old := grants[g.ID]; old != nil {
			counts = old.counts
		}
		g.Rev++
		grants[g.ID] = hold(g, counts)
	}
	for _, t := range b.Tasks {
		t.Rev++
		tasks[t.ID] = &t
	}
	for _, r := range b.Requests {
		r.Rev++
		pending[r.ID] = &r
	}
	gt, tt, rt := grantTable(), taskTable(), requestTable()
	var lg []*held
	for _, h := range grants {
		if !gt.ended(h.grant.State) {
			lg = append(lg, h)
		}
	}
	var lt []Task
	for _, t := range tasks {
		if !tt.ended(t.State) {
			lt = append(lt, *t)
		}
	}
	var lr []Request
	for _, r := range pending {
		if !rt.ended(r.State) {
			lr = append(lr, *r)
		}
	}
	return liveOf(lg, lt, lr)
}

// has reports whether b took effect: whatever it leaves alive is there exactly
// as it left it.
func (v *live) has(b Batch) bool {
	n := 0
	same := func(ended bool, got, want any, rev, was int64) bool {
		if ended {
			return true
		}
		n++
		return rev == was+1 && digestOf(got) == digestOf(want)
	}
	for _, g := range b.Grants {
		var got Grant
		if h := v.byID[g.ID]; h != nil {
			got = h.grant
		}
		got.Counts, g.Counts = Counts{}, Counts{}
		if !same(grantTable().ended(g.State), got, g, got.Rev, g.Rev) {
			return false
		}
	}
	for _, t := range b.Tasks {
		var got Task
		if x := v.tasks[t.ID]; x != nil {
			got = *x
		}
		if !same(taskTable().ended(t.State), got, t, got.Rev, t.Rev) {
			return false
		}
	}
	for _, r := range b.Requests {
		var got Request
		if x := v.pending[r.Identity]; x != nil {
			got = *x
		}
		if !same(requestTable().ended(r.State), got, r, got.Rev, r.Rev) {
			return false
		}
	}
	return n > 0
}

// like returns a live grant that is what r asks for: issued for such a request,
// with something left of it.
func (v *live) like(r *Request) *held {
	for _, h := range v.grants[r.Party] {
		g := h.now()
		if g.State == GrantActive && g.Request != "" && g.Target.same(r.Target) && g.Target.Tier == r.Target.Tier && g.Task == r.Task && g.Scope == r.Scope &&
			g.Remaining() > 0 && r.Created.Before(g.Expires) && textOf(g.Args) == textOf(r.Args) {
			return h
		}
	}
	return nil
}

// maxTried bounds how many grants one call is judged with.
const maxTried = 8

// covering returns the grants in force for c with something left and whose
// constraints its arguments meet, in the order they are tried. A call that runs
// under a use of one already goes on with that one only, whatever is left.
func (v *live) covering(c *Call, under string) []Grant {
	var out []Grant
	for _, h := range v.grants[c.Party] {
		if !h.grant.Target.same(c.Target) {
			continue
		}
		g := h.now()
		if g.ID == under {
			g.Counts.Reserved = max(0, g.Counts.Reserved-1) // this call's own
		}
		if (under == "" || under == g.ID) && g.Covers(c) && g.Remaining() > 0 && g.Args.Match(c.Args) == nil {
			if out = append(out, g); len(out) == maxTried {
				break
			}
		}
	}
	return out
}

// due lists what time has ended at.
func (v *live) due(at time.Time) (b Batch) {
	for _, h := range v.byID {
		if !at.Before(h.grant.Expires) {
			b.Grants = append(b.Grants, h.now())
		}
	}
	for _, t := range v.tasks {
		if !at.Before(t.Expires) {
			b.Tasks = append(b.Tasks, *t)
		}
	}
	for _, r := range v.pending {
		if !at.Before(r.Expires) {
			b.Requests = append(b.Requests, *r)
		}
	}
	return b
}
