package grant_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
)

var third = grant.Party{Agent: "third", Issuer: "https://idp", Subject: "zoe"}

// given is a grant to bot that may be handed on so often.
func (r *rig) given(depth int, change ...func(*grant.Ask)) grant.Grant {
	r.t.Helper()
	q := r.open(r.ask(oneYes, func(a *grant.Ask) {
		a.Scope, a.Entitlement.Delegate.MaxDepth, a.Wanted = grant.ScopeTime, depth, limits(r.t, `[{"at":"/n","range":[0,100]}]`)
		for _, f := range change {
			f(a)
		}
	}))
	return r.grant(r.approve(q.ID, "user:ann").Grant)
}

func mayAll(grant.Grant) error { return nil }

func (r *rig) hand(of, to string, change ...func(*grant.Handover)) (grant.Grant, error) {
	h := grant.Handover{Grant: of, To: to, By: "agent:bot", Reason: "help me", May: mayAll}
	for _, f := range change {
		f(&h)
	}
	g, ok, err := r.Archive().Grant(r.t.Context(), of)
	if err != nil || !ok {
		r.t.Fatalf("%s: %t, %v", of, ok, err)
	}
	return r.Delegate(r.t.Context(), g.Party, h)
}

func (r *rig) handed(of, to string, change ...func(*grant.Handover)) grant.Grant {
	r.t.Helper()
	g, err := r.hand(of, to, change...)
	if err != nil {
		r.t.Fatalf("handing on: %v", err)
	}
	return g
}

func uses(n int64) func(*grant.Handover) { return func(h *grant.Handover) { h.Uses = n } }
func deep(n int) func(*grant.Handover)   { return func(h *grant.Handover) { h.MaxDepth = n } }

func as(p grant.Party) func(*grant.Call) { return func(c *grant.Call) { c.Party = p } }

// TestAPartIsHandedOn: the receiver may call, the giver has that much less, and what
// is left when it ends comes back.
func TestAPartIsHandedOn(t *testing.T) {
	r := newRig(t)
	g := r.given(1)
	n := r.log.len()
	c := r.handed(g.ID, "other", uses(2))
	equal(t, "evidence", r.log.said(n), []string{"delegate Grant"})
	equal(t, "part", []any{c.Parent, c.Depth, c.MaxDepth, c.Party, c.UsesMax, c.Expires, c.Entitlement}, []any{g.ID, 1, 1, other, int64(2), g.Expires, deploys})
	equal(t, "covering", [][]string{r.covering(), r.covering(as(other)), r.covering(as(third))}, [][]string{{g.ID}, {c.ID}, {}})
	left := func() int64 { g := r.Covering(new(r.call()))[0]; return g.Remaining() }
	equal(t, "left", left(), int64(3))
	u := r.reserve(c.ID)
	r.settle(u, grant.UseCommitted)
	if _, err := r.Revoke(t.Context(), c.ID, "user:ann", ""); err != nil {
		t.Fatal(err)
	}
	equal(t, "left", left(), int64(4))
	equal(t, "covering", r.covering(as(other)), []string{})
	all := r.handed(g.ID, "other")
	equal(t, "all that is left", all.UsesMax, int64(4))
	equal(t, "covering", r.covering(), []string{})
	_, err := r.hand(g.ID, "third")
	hasCode(t, "nothing is left", err, access.CodeDenied)
}

// TestAPartIsNoWiderThanTheWhole in any dimension, nor handed on where it may not be.
func TestAPartIsNoWiderThanTheWhole(t *testing.T) {
	r := newRig(t)
	ceiling := grant.Limits{Budget: cents, Concurrency: 2, Window: grant.Window{Uses: 10, Seconds: 60}, BytesOut: 1000, Idle: 60}
	wide := func(a *grant.Ask) { a.Entitlement.Ceiling.Limits = ceiling }
	g := r.given(2, wide)
	for name, change := range map[string]func(*grant.Handover){
		"other arguments":  func(h *grant.Handover) { h.Args = limits(t, `[{"at":"/to","eq":"prod"}]`) },
		"any arguments":    func(h *grant.Handover) { h.Args = grant.Constraints{} },
		"wider arguments":  func(h *grant.Handover) { h.Args = limits(t, `[{"at":"/n","range":[0,101]}]`) },
		"uses":             uses(6),
		"amount":           func(h *grant.Handover) { h.Limits.Budget.Amount = 101 },
		"another budget":   func(h *grant.Handover) { h.Limits.Budget.Arg = "/m" },
		"at once":          func(h *grant.Handover) { h.Limits.Concurrency = 3 },
		"in a window":      func(h *grant.Handover) { h.Limits.Window = grant.Window{Uses: 11, Seconds: 60} },
		"in a shorter one": func(h *grant.Handover) { h.Limits.Window = grant.Window{Uses: 1, Seconds: 1} },
		"bytes":            func(h *grant.Handover) { h.Limits.BytesOut = 1001 },
		"idle":             func(h *grant.Handover) { h.Limits.Idle = 61 },
		"longer":           func(h *grant.Handover) { h.Life = 601 * time.Second },
		"deeper":           deep(2),
		"who may not": func(h *grant.Handover) {
			h.May = func(grant.Grant) error { return access.Errorf(access.CodeDenied, "no") }
		},
		"nobody asked":  func(h *grant.Handover) { h.May = nil },
		"to the giver":  func(h *grant.Handover) { h.To = "bot" },
		"uses below 0":  uses(-1),
		"depth below 0": deep(-1),
	} {
		_, err := r.hand(g.ID, "other", change)
		hasCode(t, name, err, access.CodeDenied)
	}
	for name, change := range map[string]func(*grant.Handover){
		"half a second":    func(h *grant.Handover) { h.Life = time.Second / 2 },
		"life below 0":     func(h *grant.Handover) { h.Life = -time.Hour },
		"two lines":        func(h *grant.Handover) { h.Reason = "a\nb" },
		"no agent":         func(h *grant.Handover) { h.To = "" },
		"what is no agent": func(h *grant.Handover) { h.To = "Agent::\"x\"" },
	} {
		_, err := r.hand(g.ID, "other", change)
		hasCode(t, name, err, access.CodeInvalid)
	}
	equal(t, "nothing is carved", r.grant(g.ID).Counts, grant.Counts{})
	_, err := r.hand(r.create().ID, "other")
	hasCode(t, "one that may not be handed on", err, access.CodeDenied, "may not be handed on")
	_, err = r.Delegate(t.Context(), other, grant.Handover{Grant: g.ID, To: "third", By: "agent:other", May: mayAll})
	hasCode(t, "somebody else's", err, access.CodeNotFound)
	_, err = r.Delegate(t.Context(), grant.Party{}, grant.Handover{Grant: g.ID, To: "third", By: "agent:", May: mayAll})
	hasCode(t, "by nobody", err, access.CodeNotFound)
}

// TestHandedOnOnlySoFar and never in a circle.
func TestHandedOnOnlySoFar(t *testing.T) {
	r := newRig(t)
	g := r.given(2)
	plain := r.handed(g.ID, "other", uses(1))
	_, err := r.hand(plain.ID, "third")
	hasCode(t, "who received it for itself", err, access.CodeDenied)
	c := r.handed(g.ID, "third", uses(3), deep(1))
	for _, to := range []string{"bot", "third"} {
		_, err = r.hand(c.ID, to)
		hasCode(t, "in a circle", err, access.CodeDenied, "circle")
	}
	d := r.handed(c.ID, "fourth", uses(2))
	equal(t, "depths", []int{c.Depth, c.MaxDepth, d.Depth, d.MaxDepth}, []int{1, 2, 2, 2})
	_, err = r.hand(d.ID, "fifth")
	hasCode(t, "too deep", err, access.CodeDenied)
	_, err = r.hand(c.ID, "fifth", deep(1), uses(1))
	hasCode(t, "too deep", err, access.CodeDenied)
}

// TestTheTreeEndsWithItsRoot, whatever ends it, in one step; a suspended one comes back.
func TestTheTreeEndsWithItsRoot(t *testing.T) {
	r := newRig(t)
	second := r.boot("n2", "b")
	for name, c := range map[string]struct {
		end  func(grant.Grant)
		want grant.State
	}{
		"revoke": {func(g grant.Grant) { _, _ = r.Revoke(t.Context(), g.ID, "user:ann", "") }, grant.GrantRevoked},
		"revoke on a node that knows of no children": {func(g grant.Grant) {
			if _, err := second.Revoke(t.Context(), g.ID, "user:ann", ""); err != nil {
				t.Error(err)
			}
			if err := r.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
		}, grant.GrantRevoked},
		"task": {func(g grant.Grant) { _, _ = r.CloseTask(t.Context(), g.Task, bot, "agent:bot", "") }, grant.GrantCompleted},
		"time": {func(g grant.Grant) { r.clock.set(g.Expires); r.sweep("sha256:1") }, grant.GrantExpired},
		"entitlement": {func(grant.Grant) {
			s := grant.Standing{Digest: func(t grant.Target) string { return t.Digest },
				Right: func(string, string, grant.Target, int) (grant.Entitlement, bool) { return grant.Entitlement{}, false }}
			if err := r.Sweep(t.Context(), s); err != nil {
				t.Error(err)
			}
		}, grant.GrantWithdrawn},
	} {
		r.clock.set(noon)
		k := r.task(bot)
		g := r.given(3, func(a *grant.Ask) { a.Task, a.Scope = k.ID, grant.ScopeTask })
		child := r.handed(g.ID, "other", uses(3), deep(2))
		grandchild := r.handed(child.ID, "third", uses(2), deep(1))
		last := r.handed(grandchild.ID, "fourth", uses(1))
		n := r.log.len()
		r.sweep("sha256:2")
		equal(t, name+": suspended", r.states(g, child, grandchild, last), slices.Repeat([]grant.State{grant.GrantSuspended}, 4))
		r.sweep("sha256:1")
		equal(t, name+": back", r.states(g, child, grandchild, last), slices.Repeat([]grant.State{grant.GrantActive}, 4))
		c.end(g)
		equal(t, name, r.states(g, child, grandchild, last), slices.Repeat([]grant.State{c.want}, 4))
		equal(t, name+": covering", [][]string{r.covering(as(other)), r.covering(as(third))}, [][]string{{}, {}})
		_, err := r.Reserve(t.Context(), last.ID, access.NewID(access.PrefixDecision), args(t, `{"n":1}`))
		hasCode(t, name+": reserving", err, access.CodeConflict)
		said := strings.Join(r.log.said(n), ",")
		verb := map[grant.State]string{grant.GrantRevoked: "revoke", grant.GrantCompleted: "complete", grant.GrantExpired: "expire", grant.GrantWithdrawn: "withdraw"}[c.want]
		if got := strings.Count(said, verb+" Grant"); got != 4 {
			t.Errorf("%s: %d of 4 are said to end: %s", name, got, said)
		}
	}
}

func (r *rig) states(list ...grant.Grant) []grant.State {
	var out []grant.State
	for _, g := range list {
		out = append(out, r.grant(g.ID).State)
	}
	return out
}

// TestAChildDoesNotOutliveItsParent after a restart, even where the store holds one
// that does.
func TestAChildDoesNotOutliveItsParent(t *testing.T) {
	r := newRig(t)
	g := r.given(1)
	c := r.handed(g.ID, "other", uses(1))
	r.clock.set(g.Expires)
	b := r.boot("n1", "boot-2") // nobody swept
	call := r.call(as(other), func(c *grant.Call) { c.At = g.Expires })
	equal(t, "after a restart", len(b.Covering(&call)), 0)
	r.clock.set(noon)
	r.store.set(func() {
		r.store.load = func(l grant.Live) {
			for i := range l.Grants { // as if somebody had changed the store by hand
				if l.Grants[i].ID == g.ID {
					l.Grants[i].ID = "grt_gone"
				}
			}
		}
	})
	b = r.boot("n1", "boot-3")
	r.store.set(func() { r.store.load = nil })
	call.At = noon
	equal(t, "without its parent", len(b.Covering(&call)), 0)
	if err := b.Sweep(t.Context(), grant.Standing{Digest: func(t grant.Target) string { return t.Digest }}); err != nil {
		t.Fatal(err)
	}
	equal(t, "swept", r.states(c), []grant.State{grant.GrantCompleted})
}

// TestCarvingRacesWithEverything: parts are carved and carved again, used and
// revoked, on two nodes at once. Never more is used than the root had, and once the
// root is revoked nothing is.
func TestCarvingRacesWithEverything(t *testing.T) {
	for round := range 2 {
		r := newRig(t)
		second := r.boot("n2", "b")
		g := r.given(3, func(a *grant.Ask) { a.Entitlement.Ceiling.Uses = 20 })
		if err := second.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		var used atomic.Int64
		var revoked atomic.Bool
		work := func(b *grant.Broker, i int) {
			to := fmt.Sprint("a", i)
			h := grant.Handover{Grant: g.ID, To: to, Uses: 3, MaxDepth: 1, By: "agent:bot", May: mayAll}
			c, err := b.Delegate(t.Context(), bot, h)
			if err != nil {
				return
			}
			h.Grant, h.To, h.Uses, h.MaxDepth = c.ID, to+"-helper", 2, 0
			d, err := b.Delegate(t.Context(), c.Party, h)
			ids := []string{g.ID, c.ID, d.ID}
			if err != nil {
				ids = ids[:2]
			}
			for n, id := range ids {
				late := revoked.Load()
				u, err := b.Reserve(t.Context(), id, access.NewID(access.PrefixDecision), args(t, `{"n":1}`))
				if err != nil {
					continue
				}
				if late {
					t.Error("a use was reserved after the root was revoked")
				}
				to := grant.UseCommitted
				if (i+n)%3 == 0 {
					to = grant.UseReleased
				} else {
					used.Add(1)
				}
				if err := b.Settle(t.Context(), u, to); err != nil {
					t.Errorf("settling: %v", err)
				}
			}
			if i%3 == 0 {
				_, _ = b.Revoke(t.Context(), c.ID, "user:ann", "")
			}
		}
		var fs []func()
		for i := range 16 {
			fs = append(fs, func() { work([]*grant.Broker{r.Broker, second}[i%2], i) })
		}
		if round%2 == 1 {
			fs = append(fs, func() {
				for {
					_, err := r.Revoke(t.Context(), g.ID, "user:ann", "enough")
					if err == nil || r.grant(g.ID).State != grant.GrantActive {
						break
					}
					hasCode(t, "revoking", err, access.CodeConflict)
				}
				revoked.Store(true)
			})
		}
		together(fs...)
		if used.Load() > 20 {
			t.Errorf("%d of 20 uses", used.Load())
		}
		if round%2 == 1 {
			live, err := r.Archive().Grants(t.Context(), grant.Filter{State: grant.GrantActive})
			if err != nil || len(live) != 0 {
				t.Errorf("%d parts of a revoked grant live, %v", len(live), err)
			}
		}
		if _, err := r.Revoke(t.Context(), g.ID, "user:ann", ""); err != nil && access.CodeOf(err) != access.CodeConflict {
			t.Fatal(err)
		}
		root := r.grant(g.ID)
		equal(t, "what was used below and above", root.Counts.Spent+root.Counts.Carved, used.Load())
		equal(t, "in flight", root.Counts.Reserved, int64(0))
	}
}

// TestAWholeChildImpliesItsParent: whatever is handed on and whoever calls, what the child
// allows the parent allows.
func TestAWholeChildImpliesItsParent(t *testing.T) {
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	ops := func() string {
		a, b := rnd.IntN(6), rnd.IntN(6)
		return []string{
			fmt.Sprintf(`{"at":"/n","range":[%d,%d]}`, min(a, b), max(a, b)), fmt.Sprintf(`{"at":"/n","eq":%d}`, a), fmt.Sprintf(`{"at":"/n","in":[%d,%d]}`, a, b),
			fmt.Sprintf(`{"at":"/s","prefix":%q}`, strings.Repeat("a", 1+a%3)), fmt.Sprintf(`{"at":"/s","glob":"%s*"}`, strings.Repeat("a", 1+b%3)), fmt.Sprintf(`{"at":"/s","maxLen":%d}`, 1+a),
			fmt.Sprintf(`{"at":"/s","in":["a","%s"]}`, strings.Repeat("a", 1+b%4)), `{"at":"/s","regex":"a*"}`,
		}[rnd.IntN(8)]
	}
	list := func(n int) grant.Constraints {
		var out []string
		for range n {
			out = append(out, ops())
		}
		return limits(t, "["+strings.Join(out, ",")+"]")
	}
	some := func(n int64) int64 { return max(0, rnd.Int64N(n)-1) }
	bounds := func() grant.Limits {
		var l grant.Limits
		if rnd.IntN(2) == 0 {
			l.Budget = grant.Budget{Unit: "cent", Amount: 1 + rnd.Int64N(6), Arg: "/n"}
		}
		if rnd.IntN(3) == 0 {
			l.Window = grant.Window{Uses: 1 + rnd.Int64N(4), Seconds: 1 + rnd.Int64N(100)}
		}
		l.Concurrency, l.BytesOut, l.Idle = some(4), some(100), some(100)
		return l
	}
	accepted, allowed := 0, 0
	for range 100 {
		parent := r.given(1, func(a *grant.Ask) {
			a.Wanted, a.Limits, a.Uses, a.Life = list(rnd.IntN(3)), bounds(), 1+rnd.Int64N(5), time.Duration(1+rnd.IntN(600))*time.Second
			if len(a.Wanted) == 0 {
				a.Wanted = nil
			}
		})
		child, err := r.hand(parent.ID, "other", func(h *grant.Handover) {
			if h.Uses, h.Life = some(6), time.Duration(some(700))*time.Second; rnd.IntN(2) == 0 {
				h.Limits = bounds()
			}
			if rnd.IntN(3) > 0 {
				h.Args = append(slices.Clone(parent.Args), list(rnd.IntN(3))...)
			} else if rnd.IntN(2) == 0 {
				h.Args = list(1 + rnd.IntN(3))
			}
		})
		if err == nil {
			accepted++
			if child.Expires.After(parent.Expires) || parent.UsesMax > 0 && (child.UsesMax == 0 || child.UsesMax > parent.UsesMax) || child.Depth > parent.MaxDepth || child.Target != parent.Target {
				t.Fatalf("parent %+v\nchild %+v", parent, child)
			}
			for range 60 {
				c := r.call(taking(t, fmt.Sprintf(`{"n":%d,"s":%q}`, rnd.IntN(7), strings.Repeat("a", rnd.IntN(5))+strings.Repeat("b", rnd.IntN(2)))))
				c.At = noon.Add(time.Duration(rnd.IntN(700)) * time.Second)
				of := c
				of.Party = other
				if !child.Covers(&of) || child.Args.Match(c.Args) != nil {
					continue
				}
				n, err := child.Budget.AmountOf(c.Args)
				if child.Budget != (grant.Budget{}) && (err != nil || n > child.Budget.Amount) {
					continue
				}
				allowed++
				pn, perr := parent.Budget.AmountOf(c.Args)
				if !parent.Covers(&c) || parent.Args.Match(c.Args) != nil || parent.Budget != (grant.Budget{}) && (perr != nil || pn > parent.Budget.Amount) {
					t.Fatalf("the child allows %s at %v and the parent does not:\n%+v\n%+v", c.Args.Raw(), c.At, parent, child)
				}
			}
		}
		if _, err := r.Revoke(t.Context(), parent.ID, "user:ann", ""); err != nil {
			t.Fatal(err)
		}
	}
	if accepted < 15 || allowed < 50 {
		t.Errorf("only %d were accepted and %d calls allowed: nothing was tried", accepted, allowed)
	}
}
