package grant

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"rutile/internal/access"
)

// live is what has not ended, as decisions find it. Only the counts in it change: a
// change gives another one, at a cost of what changed.
type live struct {
	byID    index[string, *held]
	covers  index[place, []*held]  // in the order they are tried
	grants  index[Party, []*held]  // in the order they are tried
	kids    index[string, []*held] // by the grant they were carved out of
	tasks   index[string, *Task]
	open    index[Party, []*Task]
	pending index[[32]byte, *Request]
	waits   index[string, *Request] // pending, by id
	waiting index[Party, int]
	owed    index[string, *Review] // by grant
}

// place is whom and what a grant is for.
type place struct {
	party  Party
	target Target // of any tier
}

func placeOf(p Party, t Target) place {
	t.Tier = 0
	return place{p, t}
}

// held is a live grant with its counts as last heard of from the store.
type held struct {
	grant Grant
	*use  // shared by every live that holds the grant
}

// use is what changes of a grant with every call.
type use struct {
	counts atomic.Pointer[Counts]
	busy   atomic.Pointer[Busy] // its window was full when last heard of
}

func hold(g Grant, old *held) *held {
	if old != nil {
		return &held{g, old.use}
	}
	u := &use{}
	c := g.Counts
	u.counts.Store(&c)
	return &held{g, u}
}

// now is the grant with the counts of this moment.
func (h *held) now() Grant {
	g := h.grant
	g.Counts = *h.counts.Load()
	return g
}

// busyAt says why no call can begin under the grant at this moment, nil if one can.
func (h *held) busyAt(at time.Time) *Busy {
	if b := h.busy.Load(); b != nil && at.Before(b.Until) {
		return b
	}
	if g := h.now(); g.full() {
		return &Busy{Why: fmt.Sprintf("grant %s lets through %s at once, and as many are under way", g.ID, access.Count(g.Concurrency, "call"))}
	}
	return nil
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
	v := (&live{}).change()
	covers, grants, kids := map[place][]*held{}, map[Party][]*held{}, map[string][]*held{}
	for _, g := range l.Grants {
		var was *held
		if old != nil {
			was = old.byID.get(g.ID)
		}
		h := hold(g, was)
		h.heard(g.Counts)
		v.byID.set(g.ID, h)
		at := placeOf(g.Party, g.Target)
		covers[at] = append(covers[at], h)
		grants[g.Party] = append(grants[g.Party], h)
		if g.Parent != "" {
			kids[g.Parent] = append(kids[g.Parent], h)
		}
	}
	for k, list := range covers {
		slices.SortFunc(list, narrowest)
		v.covers.set(k, list)
	}
	for k, list := range grants {
		slices.SortFunc(list, narrowest)
		v.grants.set(k, list)
	}
	for k, list := range kids {
		slices.SortFunc(list, narrowest)
		v.kids.set(k, list)
	}
	for i := range l.Tasks {
		v.task(&l.Tasks[i])
	}
	for i := range l.Requests {
		v.request(&l.Requests[i])
	}
	for i := range l.Reviews {
		v.owed.set(l.Reviews[i].Grant, &l.Reviews[i])
	}
	return v.done()
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
	c := v.change()
	for _, g := range b.Grants {
		g.Rev++
		c.grant(g)
	}
	for _, t := range b.Tasks {
		t.Rev++
		c.task(&t)
	}
	for _, r := range b.Requests {
		r.Rev++
		c.request(&r)
	}
	for _, r := range b.Reviews {
		r.Rev++
		if c.owed.set(r.Grant, &r); reviewTable().ended(r.State) {
			c.owed.del(r.Grant)
		}
	}
	return c.done()
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
		if h := v.byID.get(g.ID); h != nil {
			got = h.grant
		}
		got.Counts, g.Counts = Counts{}, Counts{}
		if !same(Over(g.State), got, g, got.Rev, g.Rev) {
			return false
		}
	}
	for _, t := range b.Tasks {
		var got Task
		if x := v.tasks.get(t.ID); x != nil {
			got = *x
		}
		if !same(taskTable().ended(t.State), got, t, got.Rev, t.Rev) {
			return false
		}
	}
	for _, r := range b.Requests {
		var got Request
		if x := v.pending.get(r.Identity); x != nil {
			got = *x
		}
		if !same(requestTable().ended(r.State), got, r, got.Rev, r.Rev) {
			return false
		}
	}
	for _, r := range b.Reviews {
		var got Review
		if x := v.owed.get(r.Grant); x != nil {
			got = *x
		}
		if reviewTable().ended(r.State) && got.Grant == "" { // it was owed, and is no more
			n++
		} else if !same(false, got, r, got.Rev, r.Rev) {
			return false
		}
	}
	return n > 0
}

// like returns a live grant in a state that is what r asks for: issued for such a
// request, with something left of it. One whose time has not come must be as much as r
// asks for besides, but for a call that is to be made once.
func (v *live) like(r *Request, state State) *held {
	for _, h := range v.covers.get(placeOf(r.Party, r.Target)) {
		g := h.now()
		if g.State == state && g.Request != "" && g.Parent == "" && g.Target.Tier == r.Target.Tier && g.Task == r.Task && g.Scope == r.Scope && g.Limits == r.Limits &&
			g.spentOut() == "" && g.Remaining() > 0 && !g.idle(r.Created) && r.Created.Before(g.Expires) && textOf(g.Args) == textOf(r.Args) &&
			(state == GrantActive || r.Scope == ScopeOnce || g.asMuch(r)) {
			return h
		}
	}
	return nil
}

// asMuch reports whether a grant lives as long and covers as many calls as r asks for.
func (g *Grant) asMuch(r *Request) bool {
	return g.Expires.Sub(g.NotBefore) >= Seconds(r.Life) && (g.UsesMax == 0 || r.Uses > 0 && r.Uses <= g.UsesMax)
}

// maxTried bounds how many grants one call is judged with.
const maxTried = 8

// covering returns the grants in force for c with something left and whose
// constraints its arguments meet, in the order they are tried. A call that runs
// under a use of one already goes on with that one only, whatever is left.
func (v *live) covering(c *Call, under string) []Grant {
	var out []Grant
	for _, h := range v.covers.get(placeOf(c.Party, c.Target)) {
		if under != "" && under != h.grant.ID || !h.grant.Covers(c) || !v.stands(h, c.At) {
			continue
		}
		g := h.now()
		if under != "" { // this call's own
			g.Counts.Reserved = max(0, g.Counts.Reserved-1)
			if n, err := g.Budget.AmountOf(c.Args); g.Budget != (Budget{}) && err == nil {
				g.Counts.Amount.Reserved = max(0, g.Counts.Amount.Reserved-n)
			}
		}
		if (under != "" || h.busyAt(c.At) == nil) && g.room(c) && (c.Unknown || g.Args.Match(c.Args) == nil) {
			if out = append(out, g); len(out) == maxTried {
				break
			}
		}
	}
	return out
}

// busy is why none of the grants that would cover c does at this moment, nil where
// none would. One that begins later counts where it is the answer to a request: what
// people answered is not asked anew.
func (v *live) busy(c *Call) *Busy {
	var later *Busy
	for _, h := range v.covers.get(placeOf(c.Party, c.Target)) {
		g := h.now()
		if !g.is(c) || g.Args.Match(c.Args) != nil || !c.At.Before(g.Expires) {
			continue
		}
		switch {
		case g.State == GrantScheduled && g.Request != "" && (later == nil || g.NotBefore.Before(later.Until)):
			later = &Busy{Until: g.NotBefore, Why: "grant " + g.ID + " begins later"}
		case g.Covers(c) && v.stands(h, c.At) && g.room(c):
			if b := h.busyAt(c.At); b != nil {
				return b
			}
		}
	}
	return later
}
