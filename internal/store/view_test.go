package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/store"
)

// A view is kept under its name, for whoever keeps it and nobody else, and no more of
// them than are allowed.
func TestViewsArePeoplesOwn(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		ctx := t.Context()
		put := func(owner, name, query string) bool {
			t.Helper()
			ok, err := s.PutView(ctx, owner, "inventory", admin.View{Name: name, Query: query, At: at(1)}, 2)
			if err != nil {
				t.Fatal(err)
			}
			return ok
		}
		if !put("user:ann", "b", "tier=3") || !put("user:ann", "a", "status=shadow") || !put("user:bob", "a", "tier=1") {
			t.Fatal("a view was not kept")
		}
		if put("user:ann", "c", "tier=2") {
			t.Error("a third view was kept where two are the most")
		}
		if !put("user:ann", "b", "tier=2") {
			t.Error("a view cannot be kept anew where there are the most")
		}
		if ok, err := s.DropView(ctx, "user:bob", "inventory", "b"); ok || err != nil {
			t.Errorf("another's view is forgotten: %v, %v", ok, err)
		}
		got := must[[]admin.View](t)(s.Views(ctx, "user:ann", "inventory"))
		if fmt.Sprint(got) != fmt.Sprint([]admin.View{{Name: "a", Query: "status=shadow", At: at(1)}, {Name: "b", Query: "tier=2", At: at(1)}}) {
			t.Errorf("kept: %+v", got)
		}
		if other := must[[]admin.View](t)(s.Views(ctx, "user:ann", "findings")); len(other) != 0 {
			t.Errorf("of another page: %+v", other)
		}
		if ok, err := s.DropView(ctx, "user:ann", "inventory", "a"); !ok || err != nil {
			t.Errorf("forgetting: %v, %v", ok, err)
		}
		if _, err := s.PutView(ctx, "user:ann", "inventory", admin.View{Name: "nul\x00"}, 2); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("a name that no database keeps: %v", err)
		}
	})
}

// Two nodes keep views of one person at a time: there are never more than are allowed, as
// many as are, and what is there already is kept anew.
func TestViewsOfOnePersonAreCountedOverNodes(t *testing.T) {
	const most = 50
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		nodes := []*store.Store{s}
		if s.Dialect() == "postgres" {
			other := must[*store.Store](t)(store.Open(t.Context(), cfg))
			defer other.Close()
			nodes = append(nodes, other)
		}
		for round, before := range []int{0, 1, most - 1, most - 1, most - 1, most - 1, most - 4, most} {
			owner := fmt.Sprint("user:", round)
			for i := range before {
				if !must[bool](t)(s.PutView(t.Context(), owner, "inventory", admin.View{Name: fmt.Sprint("old ", i), Query: "tier=1", At: at(1)}, most)) {
					t.Fatal("a view was not kept")
				}
			}
			var work sync.WaitGroup
			var kept, anew atomic.Int32
			start := make(chan struct{})
			tries := 24 + most - before
			for i := range tries {
				work.Go(func() {
					name, n := fmt.Sprint("new ", i), &kept
					if i%8 == 0 && i < before {
						name, n = fmt.Sprint("old ", i), &anew
					}
					<-start
					ok, err := nodes[i%len(nodes)].PutView(t.Context(), owner, "inventory", admin.View{Name: name, Query: "tier=2", At: at(2)}, most)
					if err != nil {
						t.Error(err)
					}
					if ok {
						n.Add(1)
					}
				})
			}
			close(start)
			work.Wait()
			again := (min(before, tries) + 7) / 8
			if list := must[[]admin.View](t)(s.Views(t.Context(), owner, "inventory")); len(list) != most || int(kept.Load()) != most-before || int(anew.Load()) != again {
				t.Errorf("round %d: %d views are kept, %d of them newly, %d anew", round, len(list), kept.Load(), anew.Load())
			}
		}
	})
}
