package store_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/store"
)

func limited(id string, l grant.Limits) grant.Grant {
	g := aGrant(id, 0)
	g.Limits = l
	return g
}

// TestExactlySoMuchBudget of hundreds of calls on two nodes, each of another amount,
// gets through: never more than there is, and none is refused that would have fitted
// into what was left in the end.
func TestExactlySoMuchBudget(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		const callers, budget = 300, 5000
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{
			limited("grt_even", grant.Limits{Budget: grant.Budget{Unit: "cent", Amount: budget, Arg: "/n"}}),
			limited("grt_odd", grant.Limits{Budget: grant.Budget{Unit: "cent", Amount: budget, Arg: "/n"}}),
		}})
		stores := handles(t, s, cfg)
		var even, odd atomic.Int64
		var least atomic.Int64 // refused
		least.Store(1 << 40)
		parallel(callers, func(i int) {
			u := aUse(fmt.Sprint("use_e", i), "grt_even", 1)
			u.Amount = 100
			if _, err := stores[i%2].ReserveUse(t.Context(), u); err == nil {
				even.Add(1)
			} else {
				conflicts(t, "too much", err)
			}
			u = aUse(fmt.Sprint("use_o", i), "grt_odd", 1)
			u.Amount = int64(17 + i%31)
			if _, err := stores[i%2].ReserveUse(t.Context(), u); err == nil {
				odd.Add(u.Amount)
			} else {
				conflicts(t, "too much", err)
				for n := least.Load(); u.Amount < n && !least.CompareAndSwap(n, u.Amount); n = least.Load() {
				}
			}
		})
		if even.Load() != budget/100 {
			t.Errorf("%d calls of 100 got through %d", even.Load(), budget)
		}
		if odd.Load() > budget || odd.Load()+least.Load() <= budget {
			t.Errorf("%d of %d is taken, and a call of %d was refused", odd.Load(), budget, least.Load())
		}
		g, _, err := s.Grant(t.Context(), "grt_odd")
		if err != nil || g.Counts.Amount != (grant.Tally{Reserved: odd.Load()}) || g.AmountLeft() != budget-odd.Load() {
			t.Errorf("counts %+v, %v", g.Counts, err)
		}
		// What is released is there again; what is unknown is not.
		for _, u := range must[[]grant.Use](t)(s.Uses(t.Context(), grant.Filter{Grant: "grt_even", Limit: 1000})) {
			u.State = grant.UseReleased
			if u.ID[len(u.ID)-1]%2 == 0 {
				u.State = grant.UseUnknown
			}
			must[grant.Settled](t)(s.SettleUse(t.Context(), u, at(2), nil))
		}
		unknown := int64(0)
		for _, u := range must[[]grant.Use](t)(s.Uses(t.Context(), grant.Filter{Grant: "grt_even", State: grant.UseUnknown, Limit: 1000})) {
			unknown += u.Amount
		}
		if g, _, _ = s.Grant(t.Context(), "grt_even"); g.Counts.Amount != (grant.Tally{Spent: unknown}) {
			t.Errorf("settled: %+v, %d unknown", g.Counts, unknown)
		}
	})
}

// TestAmountsThatAreNone are refused before anything is counted.
func TestAmountsThatAreNone(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{limited("grt_1", grant.Limits{Budget: grant.Budget{Unit: "cent", Amount: 10, Arg: "/n"}})}})
		for i, n := range []int64{-1, -1 << 63, 11, 1<<63 - 1} {
			u := aUse(fmt.Sprint("use_", i), "grt_1", 1)
			u.Amount = n
			if _, err := s.ReserveUse(t.Context(), u); err == nil {
				t.Errorf("%d of 10 was taken", n)
			}
		}
		if g, _, _ := s.Grant(t.Context(), "grt_1"); g.Counts != (grant.Counts{}) {
			t.Errorf("counts %+v", g.Counts)
		}
	})
}

// TestSoManyAtOnce and not one more, however many come and go on two nodes.
func TestSoManyAtOnce(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		const most = 3
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{limited("grt_1", grant.Limits{Concurrency: most})}})
		stores := handles(t, s, cfg)
		var running, peak, through atomic.Int64
		parallel(150, func(i int) {
			u := aUse(fmt.Sprint("use_", i), "grt_1", 1)
			if _, err := stores[i%2].ReserveUse(t.Context(), u); err != nil {
				conflicts(t, "one too many", err)
				return
			}
			n := running.Add(1)
			for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
			}
			through.Add(1)
			running.Add(-1) // before it is settled, so that what is seen is never more than what is
			u.State = grant.UseCommitted
			must[grant.Settled](t)(stores[i%2].SettleUse(t.Context(), u, at(2), nil))
		})
		if peak.Load() > most || through.Load() < most {
			t.Errorf("%d at once, %d through", peak.Load(), through.Load())
		}
		for i := range most {
			must[grant.Counts](t)(s.ReserveUse(t.Context(), aUse(fmt.Sprint("use_last", i), "grt_1", 1)))
		}
		_, err := s.ReserveUse(t.Context(), aUse("use_more", "grt_1", 1))
		conflicts(t, "one more", err)
	})
}

// TestSoManyInAWindow: it slides, released uses are not in it, and a clock that is
// set back or forth lets none more through.
func TestSoManyInAWindow(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{limited("grt_1", grant.Limits{Window: grant.Window{Uses: 2, Seconds: 10}})}})
		n := 0
		take := func(second int) error {
			n++
			_, err := s.ReserveUse(t.Context(), aUse(fmt.Sprint("use_", n), "grt_1", second))
			return err
		}
		full := func(what string, second, until int) {
			t.Helper()
			err := take(second)
			conflicts(t, what, err)
			var busy *grant.Busy
			if !errors.As(err, &busy) || !busy.Until.Equal(at(until)) {
				t.Errorf("%s: %v, until %v, want %v", what, err, busy, at(until))
			}
		}
		for _, second := range []int{100, 105} {
			if err := take(second); err != nil {
				t.Fatalf("at %d: %v", second, err)
			}
		}
		full("a third", 109, 110)
		if err := take(110); err != nil { // the first is out of it
			t.Errorf("at its edge: %v", err)
		}
		full("after it", 114, 115)
		full("a clock set back", 50, 115)
		u := aUse("use_1", "grt_1", 100)
		u.State = grant.UseReleased
		must[grant.Settled](t)(s.SettleUse(t.Context(), u, at(111), nil))
		full("one that is out of it was released", 114, 115)
		u.ID = "use_2"
		must[grant.Settled](t)(s.SettleUse(t.Context(), u, at(111), nil))
		if err := take(114); err != nil {
			t.Errorf("one was released: %v", err)
		}
		if err := take(300); err != nil {
			t.Errorf("a clock set forth: %v", err)
		}
		if err := take(301); err != nil {
			t.Errorf("a clock set forth: %v", err)
		}
		full("and back again", 130, 310)
		g, _, _ := s.Grant(t.Context(), "grt_1")
		if !g.Counts.Used.Equal(at(301)) {
			t.Errorf("it was last used at %v", g.Counts.Used)
		}
	})
}

// TestSoManyBytes of results, over which no further call begins.
func TestSoManyBytes(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{limited("grt_1", grant.Limits{BytesOut: 100})}})
		for i := range 3 {
			must[grant.Counts](t)(s.ReserveUse(t.Context(), aUse(fmt.Sprint("use_", i), "grt_1", 1)))
		}
		var last grant.Settled
		for i, n := range []int64{60, 39, 70} {
			u := aUse(fmt.Sprint("use_", i), "grt_1", 1)
			u.State, u.Bytes = grant.UseCommitted, n
			last = must[grant.Settled](t)(s.SettleUse(t.Context(), u, at(2), nil))
			if i == 1 && (last.State != grant.GrantActive || last.Counts.Bytes != 99) {
				t.Errorf("below: %+v", last)
			}
		}
		if last.State != grant.GrantExhausted || !last.Exhausted || last.Counts.Bytes != 169 {
			t.Errorf("over: %+v", last)
		}
		_, err := s.ReserveUse(t.Context(), aUse("use_9", "grt_1", 1))
		conflicts(t, "one more", err)
	})
}

// TestAnIdleGrantIsNotUsed, unless a call is under way.
func TestAnIdleGrantIsNotUsed(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{limited("grt_1", grant.Limits{Idle: 60}), limited("grt_2", grant.Limits{Idle: 60})}})
		_, err := s.ReserveUse(t.Context(), aUse("use_late", "grt_1", 60))
		conflicts(t, "never used", err)
		must[grant.Counts](t)(s.ReserveUse(t.Context(), aUse("use_1", "grt_2", 59)))
		must[grant.Counts](t)(s.ReserveUse(t.Context(), aUse("use_2", "grt_2", 300))) // one is under way
		for i, end := range []int{310, 200} {                                         // the clock went back
			u := aUse(fmt.Sprint("use_", i+1), "grt_2", 1)
			u.State = grant.UseCommitted
			must[grant.Settled](t)(s.SettleUse(t.Context(), u, at(end), nil))
		}
		_, err = s.ReserveUse(t.Context(), aUse("use_3", "grt_2", 370))
		conflicts(t, "idle again", err)
		must[grant.Counts](t)(s.ReserveUse(t.Context(), aUse("use_4", "grt_2", 369)))
	})
}

func part(id, of string, depth int, uses int64, l grant.Limits) grant.Grant {
	g := limited(id, l)
	g.Parent, g.Depth, g.UsesMax = of, depth, uses
	return g
}

// TestACarvedPartIsTheChilds: hundreds carve and use at once, and never is more
// handed on and used than there is, in any dimension.
func TestACarvedPartIsTheChilds(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		const uses, amount = 60, 600
		parent := limited("grt_p", grant.Limits{Budget: grant.Budget{Unit: "cent", Amount: amount, Arg: "/n"}})
		parent.UsesMax = uses
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{parent}})
		stores := handles(t, s, cfg)
		var carved, used, taken atomic.Int64
		parallel(120, func(i int) {
			if i%2 == 0 {
				c := part(fmt.Sprintf("grt_c%03d", i), "grt_p", 1, 2, grant.Limits{Budget: grant.Budget{Unit: "cent", Amount: 15, Arg: "/n"}})
				if err := stores[i%4/2].CommitGrants(t.Context(), grant.Batch{Grants: []grant.Grant{c}}); err == nil {
					carved.Add(1)
				} else {
					conflicts(t, "carving", err)
				}
				return
			}
			u := aUse(fmt.Sprint("use_", i), "grt_p", 1)
			u.Amount = int64(i % 20)
			if _, err := stores[i%4/2].ReserveUse(t.Context(), u); err == nil {
				used.Add(1)
				taken.Add(u.Amount)
			} else {
				conflicts(t, "using", err)
			}
		})
		g, _, err := s.Grant(t.Context(), "grt_p")
		want := grant.Counts{Reserved: used.Load(), Carved: 2 * carved.Load(), Amount: grant.Tally{Reserved: taken.Load(), Carved: 15 * carved.Load()}, Used: g.Counts.Used, Seq: g.Counts.Seq}
		if err != nil || g.Counts != want || used.Load()+2*carved.Load() > uses || taken.Load()+15*carved.Load() > amount || carved.Load() == 0 {
			t.Errorf("counts %+v, want %+v, %v", g.Counts, want, err)
		}
	})
}

// TestAChildLeavesWhatItDidNotUse to its parent when it ends: at once what nobody
// took, and what a call under way takes once that is known.
func TestAChildLeavesWhatItDidNotUse(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		l := func(amount, running, window, bytes int64) grant.Limits {
			return grant.Limits{Budget: grant.Budget{Unit: "cent", Amount: amount, Arg: "/n"}, Concurrency: running, Window: grant.Window{Uses: window, Seconds: 10}, BytesOut: bytes}
		}
		root := limited("grt_a", l(100, 10, 10, 1000))
		root.UsesMax = 20
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{root}})
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{part("grt_b", "grt_a", 1, 10, l(50, 5, 5, 500))}})
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{part("grt_c", "grt_b", 2, 4, l(20, 2, 2, 200))}})
		for i, of := range []string{"grt_b", "grt_c", "grt_c"} {
			u := aUse(fmt.Sprint("use_", i), of, 1)
			u.Amount = 7
			must[grant.Counts](t)(s.ReserveUse(t.Context(), u))
		}
		counts := func(what, id string, want grant.Counts) {
			t.Helper()
			g, _, err := s.Grant(t.Context(), id)
			want.Seq, want.Used = g.Counts.Seq, g.Counts.Used
			if err != nil || g.Counts != want {
				t.Errorf("%s: counts of %s %+v, want %+v, %v", what, id, g.Counts, want, err)
			}
		}
		end := func(id string) grant.Grant {
			t.Helper()
			g, _, err := s.Grant(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			g.State = grant.GrantRevoked
			return g
		}
		counts("all live", "grt_a", grant.Counts{Carved: 10, Amount: grant.Tally{Carved: 50}, RunningCarved: 5, WindowCarved: 5, BytesCarved: 500})
		counts("all live", "grt_b", grant.Counts{Reserved: 1, Carved: 4, Amount: grant.Tally{Reserved: 7, Carved: 20}, RunningCarved: 2, WindowCarved: 2, BytesCarved: 200})
		conflicts(t, "a parent that leaves its child behind", s.CommitGrants(t.Context(), grant.Batch{Grants: []grant.Grant{end("grt_b")}}))
		suspended := end("grt_a")
		suspended.State = grant.GrantSuspended
		conflicts(t, "a parent suspended alone", s.CommitGrants(t.Context(), grant.Batch{Grants: []grant.Grant{suspended}}))
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{end("grt_b"), end("grt_c")}})
		counts("ended", "grt_a", grant.Counts{Carved: 3, Amount: grant.Tally{Carved: 21}, RunningCarved: 3, WindowCarved: 5, BytesCarved: 500})
		for i, to := range []grant.State{grant.UseCommitted, grant.UseReleased, grant.UseUnknown} {
			u := aUse(fmt.Sprint("use_", i), []string{"grt_b", "grt_c", "grt_c"}[i], 1)
			u.State, u.Bytes = to, 30
			must[grant.Settled](t)(s.SettleUse(t.Context(), u, at(2), nil))
		}
		counts("settled", "grt_a", grant.Counts{Carved: 2, Amount: grant.Tally{Carved: 14}, WindowCarved: 5, BytesCarved: 90})
	})
}

// TestNoChildIsCarvedOutOfWhatIsNotThere in any dimension, nor out of what is over or
// ends sooner.
func TestNoChildIsCarvedOutOfWhatIsNotThere(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		full := grant.Limits{Budget: grant.Budget{Unit: "cent", Amount: 10, Arg: "/n"}, Concurrency: 3, Window: grant.Window{Uses: 3, Seconds: 10}, BytesOut: 100}
		parent := limited("grt_p", full)
		parent.UsesMax = 5
		gone := limited("grt_g", full)
		gone.State = grant.GrantSuspended
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{parent, gone}})
		for name, change := range map[string]func(*grant.Grant){
			"uses": func(g *grant.Grant) { g.UsesMax = 6 }, "uses without limit": func(g *grant.Grant) { g.UsesMax = 0 },
			"amount": func(g *grant.Grant) { g.Budget.Amount = 11 }, "no budget": func(g *grant.Grant) { g.Budget = grant.Budget{} },
			"at once": func(g *grant.Grant) { g.Concurrency = 4 }, "any number at once": func(g *grant.Grant) { g.Concurrency = 0 },
			"in a window": func(g *grant.Grant) { g.Window.Uses = 4 }, "no window": func(g *grant.Grant) { g.Window = grant.Window{} },
			"bytes": func(g *grant.Grant) { g.BytesOut = 101 }, "any bytes": func(g *grant.Grant) { g.BytesOut = 0 },
			"later": func(g *grant.Grant) { g.Expires = parent.Expires.Add(time.Millisecond) }, "after it": func(g *grant.Grant) { g.NotBefore = parent.Expires },
			"of a suspended one": func(g *grant.Grant) { g.Parent = "grt_g" }, "of none": func(g *grant.Grant) { g.Parent = "grt_none" },
		} {
			c := part("grt_c", "grt_p", 1, 5, full)
			change(&c)
			if err := s.CommitGrants(t.Context(), grant.Batch{Grants: []grant.Grant{c}}); access.CodeOf(err) != access.CodeConflict {
				t.Errorf("%s: %v", name, err)
			}
		}
		if g, _, _ := s.Grant(t.Context(), "grt_p"); g.Counts != (grant.Counts{}) {
			t.Errorf("something was carved: %+v", g.Counts)
		}
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{part("grt_c", "grt_p", 1, 5, full)}})
	})
}

// TestATreeEndsWhole while its parts are carved, carved again and used on two nodes:
// once the root is revoked nothing below it lives or can be used.
func TestATreeEndsWhole(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{aGrant("grt_root", 100)}})
		stores := handles(t, s, cfg)
		end := func() error {
			l, err := s.LoadGrants(t.Context())
			if err != nil {
				return err
			}
			for i := range l.Grants {
				l.Grants[i].State = grant.GrantRevoked
			}
			return s.CommitGrants(t.Context(), grant.Batch{Grants: l.Grants})
		}
		fits := func(what string, err error) bool {
			if err != nil {
				conflicts(t, what, err)
			}
			return err == nil
		}
		parallel(41, func(i int) {
			db := stores[i%2]
			if i == 20 { // in the middle of it
				for err := end(); err != nil; err = end() {
					conflicts(t, "revoking", err)
				}
				return
			}
			child, deeper := fmt.Sprint("grt_c", i), fmt.Sprint("grt_d", i)
			if !fits("carving", db.CommitGrants(t.Context(), grant.Batch{Grants: []grant.Grant{part(child, "grt_root", 1, 2, grant.Limits{})}})) {
				return
			}
			fits("carving again", db.CommitGrants(t.Context(), grant.Batch{Grants: []grant.Grant{part(deeper, child, 2, 1, grant.Limits{})}}))
			for _, id := range []string{child, deeper} {
				u := aUse("use_"+id, id, 1)
				if _, err := db.ReserveUse(t.Context(), u); !fits("using", err) {
					continue
				}
				if u.State = grant.UseCommitted; i%3 == 0 {
					u.State = grant.UseReleased
				}
				if _, err := db.SettleUse(t.Context(), u, at(2), nil); err != nil {
					t.Errorf("settling: %v", err)
				}
			}
		})
		if l := must[grant.Live](t)(s.LoadGrants(t.Context())); len(l.Grants) != 0 {
			t.Errorf("%d parts of a revoked grant live", len(l.Grants))
		}
		used := int64(len(must[[]grant.Use](t)(s.Uses(t.Context(), grant.Filter{State: grant.UseCommitted, Limit: 1000}))))
		if g, _, err := s.Grant(t.Context(), "grt_root"); err != nil || g.State != grant.GrantRevoked || g.Counts.Carved != used {
			t.Errorf("root %s, %+v, %d uses below it, %v", g.State, g.Counts, used, err)
		}
	})
}

// TestAWindowIsHandedOnOnce: what the parent let through just now is no share of its
// child's, or both together would let through more than the window does.
func TestAWindowIsHandedOnOnce(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		window := func(n int64) grant.Limits { return grant.Limits{Window: grant.Window{Uses: n, Seconds: 10}} }
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{limited("grt_p", window(3))}})
		for _, id := range []string{"use_1", "use_2"} {
			must[grant.Counts](t)(s.ReserveUse(t.Context(), aUse(id, "grt_p", 1)))
		}
		child := func(id string, n int64, seconds int) grant.Grant {
			g := part(id, "grt_p", 1, 0, window(n))
			g.NotBefore = at(seconds)
			return g
		}
		conflicts(t, "more of the window than is left", s.CommitGrants(t.Context(), grant.Batch{Grants: []grant.Grant{child("grt_a", 2, 2)}}))
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{child("grt_b", 1, 2)}})
		must[grant.Counts](t)(s.ReserveUse(t.Context(), aUse("use_3", "grt_b", 3)))
		if _, err := s.ReserveUse(t.Context(), aUse("use_4", "grt_p", 3)); err == nil {
			t.Error("the window lets through a fourth")
		}
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{child("grt_c", 1, 12)}}) // the parent's two are out of it
	})
}
