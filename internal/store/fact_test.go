package store_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/fact"
	"rutile/internal/grant"
	"rutile/internal/store"
)

func charge(id string, amount, seconds int64) access.Charge {
	return access.Charge{Fact: id, Key: `count {"agent":"zoë"}`, Bucket: 1000 + seconds, Since: 500 + seconds, Ends: at(int(seconds)), Amount: amount}
}

// counting is a use without a grant that adds to counters.
func counting(id string, charges ...access.Charge) grant.Use {
	return grant.Use{ID: id, Decision: "dec_" + id, State: grant.UseReserved, Node: "n1", Boot: "b1", At: at(1), Charges: charges}
}

// stands is what a counter holds and how much of it is reserved.
func stands(t testing.TB, s *store.Store, id string) [2]int64 {
	t.Helper()
	c := []access.Charge{charge(id, 0, 0)}
	if err := s.Counted(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return [2]int64{c[0].Total, c[0].Others}
}

// A charge is reserved and settled with its use, or not at all.
func TestChargesGoWithTheirUse(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{aGrant("grt_1", 2)}})
		reserve := func(u grant.Use) error {
			_, err := s.ReserveUse(t.Context(), u)
			return err
		}
		settle := func(u grant.Use, to grant.State) {
			t.Helper()
			u.State = to
			if _, err := s.SettleUse(t.Context(), u, at(2), nil); err != nil {
				t.Fatal(err)
			}
		}
		for i, c := range []struct {
			to   grant.State
			want [2]int64
		}{{grant.UseCommitted, [2]int64{100, 0}}, {grant.UseReleased, [2]int64{100, 0}}, {grant.UseUnknown, [2]int64{200, 0}}} {
			u := counting(fmt.Sprint("use_", i), charge("sum", 100, 0))
			if err := reserve(u); err != nil {
				t.Fatal(err)
			}
			before := c.want[0]
			if c.to == grant.UseReleased {
				before += 100
			}
			if got := stands(t, s, "sum"); got != [2]int64{before, 100} || u.Charges[0].Total != before {
				t.Errorf("%s: reserved %v, total %d", c.to, got, u.Charges[0].Total)
			}
			settle(u, c.to)
			settle(u, grant.UseReleased) // it has ended
			if got := stands(t, s, "sum"); got != c.want {
				t.Errorf("%s: %v, want %v", c.to, got, c.want)
			}
		}
		with := func(id string, charges ...access.Charge) grant.Use {
			u := aUse(id, "grt_1", 1)
			u.Charges = charges
			return u
		}
		u := with("use_a", charge("sum", 5, 0), charge("other", 7, 0))
		if err := reserve(u); err != nil {
			t.Fatal(err)
		}
		if err := reserve(with("use_b", charge("sum", access.MaxAmount+1, 0))); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("an amount that is none: %v", err)
		}
		full := charge("full", access.MaxAmount, 0)
		for range 513 { // more than a counter holds
			if err := reserve(counting(access.NewID("use_"), full)); access.CodeOf(err) == access.CodeTooLarge {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if err := reserve(with("use_c", full)); access.CodeOf(err) != access.CodeTooLarge {
			t.Errorf("a full counter: %v", err)
		}
		if g, _, _ := s.Grant(t.Context(), "grt_1"); g.Counts.Reserved != 1 {
			t.Errorf("what failed took a use: %+v", g.Counts)
		}
		settle(u, grant.UseReleased)
		settle(with("use_a"), grant.UseReleased)
		if sum, other := stands(t, s, "sum"), stands(t, s, "other"); sum != [2]int64{200, 0} || other != [2]int64{} {
			t.Errorf("released: %v, %v", sum, other)
		}
		for _, id := range []string{"use_d", "use_e"} {
			if err := reserve(with(id, charge("sum", 1, 0))); err != nil {
				t.Fatal(err)
			}
		}
		conflicts(t, "a spent grant", reserve(with("use_f", charge("sum", 1, 0))))
		if got := stands(t, s, "sum"); got != [2]int64{202, 2} {
			t.Errorf("a conflict counts: %v", got)
		}
	})
}

// Counters hold what is in their window, whoever settles it and however late.
func TestCountersHoldTheirWindow(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		for i := range int64(5) {
			if _, err := s.ReserveUse(t.Context(), counting(fmt.Sprint("use_", i), charge("f", 1<<i, i*100))); err != nil {
				t.Fatal(err)
			}
		}
		total := func(since int64) int64 {
			t.Helper()
			c := charge("f", 0, 0)
			c.Since = since
			list := []access.Charge{c}
			if err := s.Counted(t.Context(), list); err != nil {
				t.Fatal(err)
			}
			return list[0].Total
		}
		for since, want := range map[int64]int64{0: 31, 999: 31, 1000: 30, 1099: 30, 1100: 28, 1399: 16, 1400: 0} {
			if got := total(since); got != want {
				t.Errorf("since %d: %d, want %d", since, got, want)
			}
		}
		if err := s.PruneFacts(t.Context(), at(300)); err != nil {
			t.Fatal(err)
		}
		if total(0) != 31 {
			t.Error("what calls hold is forgotten")
		}
		if n := must[int](t)(s.AbandonUses(t.Context(), "n1", "b2", at(5))); n != 0 {
			t.Errorf("%d uses of grants", n)
		}
		if err := s.PruneFacts(t.Context(), at(300)); err != nil {
			t.Fatal(err)
		}
		if total(0) != 24 {
			t.Errorf("pruned: %d", total(0))
		}
		if err := s.PruneFacts(t.Context(), at(3000)); err != nil {
			t.Fatal(err)
		}
		var rows int
		if err := s.Writer().QueryRowContext(t.Context(), `SELECT count(*) FROM fact_counters`).Scan(&rows); err != nil || rows != 0 {
			t.Errorf("%d rows are left, %v", rows, err)
		}
	})
}

// Values are told apart and counted once, and leave with the newest call.
func TestDistinctValues(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		value := func(v byte, seconds int64) access.Charge {
			c := charge("d", 1, seconds)
			c.Value = []byte{v, 0, 255}
			return c
		}
		for i, c := range []struct {
			charge access.Charge
			want   int64
		}{{value(1, 0), 1}, {value(1, 10), 1}, {value(2, 10), 2}, {value(1, 20), 2}, {value(3, 400), 3}, {value(3, 511), 2}, {value(3, 521), 1}} {
			u := counting(fmt.Sprint("use_", i), c.charge)
			if _, err := s.ReserveUse(t.Context(), u); err != nil || u.Charges[0].Total != c.want {
				t.Errorf("call %d: %d, want %d (%v)", i, u.Charges[0].Total, c.want, err)
			}
		}
		u := counting("use_x", value(9, 521))
		if _, err := s.ReserveUse(t.Context(), u); err != nil || u.Charges[0].Total != 2 {
			t.Errorf("%d, %v", u.Charges[0].Total, err)
		}
		u.State = grant.UseReleased
		if _, err := s.SettleUse(t.Context(), u, at(2), nil); err != nil {
			t.Fatal(err)
		}
		again := counting("use_y", value(3, 521))
		if _, err := s.ReserveUse(t.Context(), again); err != nil || again.Charges[0].Total != 1 {
			t.Errorf("a released value counts: %d, %v", again.Charges[0].Total, err)
		}
	})
}

// Callers that count in many counters at once, through two stores on one
// database, neither lose anything nor wait for each other for ever, and every
// total is seen once.
func TestParallelChargesAddUp(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		stores := []*store.Store{s, s}
		if s.Dialect() == "postgres" {
			stores[1] = open(t, cfg)
		}
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{aGrant("grt_1", 0)}})
		const callers, each = 8, 12
		seen := make([]atomic.Int64, callers*each+1)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				for n := range each {
					charges := []access.Charge{charge("a", 1, 0), charge("b", 2, 0), charge("c", 3, 0)}
					if i%2 == 0 {
						charges[0], charges[2] = charges[2], charges[0]
					}
					u := counting(fmt.Sprintf("use_%d_%d", i, n), charges...)
					if i%4 < 2 {
						u.Grant = "grt_1"
					}
					if _, err := stores[i%2].ReserveUse(context.WithoutCancel(t.Context()), u); err != nil {
						t.Error(err)
						return
					}
					for _, c := range u.Charges {
						if c.Fact == "a" {
							seen[c.Total].Add(1)
						}
					}
					u.State = grant.UseCommitted
					if _, err := stores[(i+1)%2].SettleUse(context.WithoutCancel(t.Context()), u, at(2), nil); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		for i := 1; i <= callers*each; i++ {
			if n := seen[i].Load(); n != 1 {
				t.Errorf("the total %d was seen %d times", i, n)
			}
		}
		for id, want := range map[string]int64{"a": 1, "b": 2, "c": 3} {
			if got := stands(t, s, id); got != [2]int64{want * callers * each, 0} {
				t.Errorf("%s: %v", id, got)
			}
		}
	})
}

// chargeForever counts one call after another, under a grant and without, and says
// which are durable.
func chargeForever(ctx context.Context, s *store.Store) error {
	for i := 0; ; i++ {
		u := counting(access.NewID(grant.PrefixUse), charge("sum", 10, 0))
		u.Boot = fmt.Sprint("pid ", i, time.Now().UnixNano())
		if i%2 == 0 {
			u.Grant = "grt_1"
		}
		if _, err := s.ReserveUse(ctx, u); err != nil {
			return err
		}
		fmt.Println("reserved", u.ID)
		if u.State = grant.UseCommitted; i%3 > 0 {
			if _, err := s.SettleUse(ctx, u, at(2), nil); err != nil {
				return err
			}
			fmt.Println("settled", u.ID)
		}
	}
}

// Killed at any step, what was said to be counted counts after the next start.
func TestKillCharges(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{aGrant("grt_1", 1_000_000)}})
		said := map[string]bool{}
		for round := range 3 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			cmd, lines := process(t, "charge", cfg)
			timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() }) // should it hang
			for n := 5 + 3*round; n > 0 && lines.Scan(); n-- {
				verb, id, _ := strings.Cut(lines.Text(), " ")
				if verb != "reserved" && verb != "settled" {
					t.Fatalf("the other process says %q", lines.Text())
				}
				said[id] = true
			}
			kill(t, cmd)
			timer.Stop()
			s = open(t, cfg)
			for got := (stands(t, s, "sum")); got[1] > 0; got = stands(t, s, "sum") { // PostgreSQL may only now commit what it got
				must[int](t)(s.AbandonUses(t.Context(), "n1", "boot of now", at(9)))
			}
			got := stands(t, s, "sum")
			g, _, err := s.Grant(t.Context(), "grt_1")
			if err != nil || got[0] < int64(10*len(said)) || got[0]%10 != 0 || g.Counts.Reserved != 0 || g.Counts.Spent > got[0]/10 {
				t.Fatalf("round %d: the counter is %v after %d calls, the grant's %+v, %v", round, got, len(said), g.Counts, err)
			}
		}
	})
}

// Facts and what is remembered are read as they were written.
func TestMarksAreReadAsTheyWereWritten(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		m := fact.Mark{Fact: "f", Digest: [32]byte{1, 0, 255}, Key: `{"agent":"zoë"}`, At: at(1), Ends: at(10)}
		put := func(ends int) {
			t.Helper()
			n := m
			n.Ends = at(ends)
			if err := s.PutMark(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
		put(10)
		put(5) // it ends earlier and changes nothing
		ends, ok, err := s.Mark(t.Context(), "f", m.Digest)
		if err != nil || !ok || !ends.Equal(at(10)) {
			t.Errorf("%s, %v, %v", ends, ok, err)
		}
		put(20)
		list := must[[]fact.Mark](t)(s.Marks(t.Context(), "", at(19), 0))
		if len(list) != 1 || !list[0].Ends.Equal(at(20)) || list[0].Key != m.Key || list[0].Digest != m.Digest {
			t.Errorf("%+v", list)
		}
		if _, ok, err := s.Mark(t.Context(), "g", m.Digest); ok || err != nil {
			t.Errorf("of another fact: %v, %v", ok, err)
		}
		if list := must[[]fact.Mark](t)(s.Marks(t.Context(), "f", at(20), 0)); len(list) != 0 {
			t.Errorf("one that has ended: %+v", list)
		}
		first := must[[]byte](t)(s.FactSecret(t.Context(), func() ([]byte, error) { return []byte{1, 0, 2}, nil }))
		again := must[[]byte](t)(s.FactSecret(t.Context(), func() ([]byte, error) { return nil, context.Canceled }))
		if string(first) != "\x01\x00\x02" || string(again) != string(first) {
			t.Errorf("the secret is %x, then %x", first, again)
		}
	})
}
