package store_test

import (
	"sync"
	"testing"

	"rutile/internal/grant"
	"rutile/internal/store"
)

// Bytes that come of a use after it was settled are added exactly, many at once and
// from two nodes; one alone finds the grant used up. They stay spent of the parent of
// a grant that has ended.
func TestBytesOfSettledUsesAreCountedExactly(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		stores := []*store.Store{s, s}
		if cfg.DSN != "sqlite" {
			stores[1] = open(t, cfg)
		}
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{limited("grt_p", grant.Limits{BytesOut: 10_000})}})
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{part("grt_c", "grt_p", 1, 0, grant.Limits{BytesOut: 1000})}})
		u := aUse("use_1", "grt_c", 1)
		must[grant.Counts](t)(s.ReserveUse(t.Context(), u))
		u.State, u.Bytes = grant.UseCommitted, 10
		must[grant.Settled](t)(s.SettleUse(t.Context(), u, at(2), nil))
		var wg sync.WaitGroup
		var mu sync.Mutex
		exhausted := 0
		for i := range 120 {
			wg.Go(func() {
				id, done, ok, err := stores[i%2].AddBytes(t.Context(), "use_1", 10, at(3), nil)
				if err != nil || !ok || id != "grt_c" {
					t.Errorf("%s, %v, %v", id, ok, err)
				}
				mu.Lock()
				defer mu.Unlock()
				if done.Exhausted {
					exhausted++
				}
			})
		}
		wg.Wait()
		g, _, err := s.Grant(t.Context(), "grt_c")
		if err != nil || g.Counts.Bytes != 1210 || g.State != grant.GrantExhausted || exhausted != 1 {
			t.Errorf("%d bytes, %s, exhausted %d times, %v", g.Counts.Bytes, g.State, exhausted, err)
		}
		if p, _, err := s.Grant(t.Context(), "grt_p"); err != nil || p.Counts.BytesCarved != 1210 {
			t.Errorf("of the parent %d bytes are handed on, %v", p.Counts.BytesCarved, err)
		}
		if _, _, ok, err := s.AddBytes(t.Context(), "use_none", 10, at(3), nil); ok || err != nil {
			t.Errorf("a use of no grant: %v, %v", ok, err)
		}
	})
}
