package store_test

import (
	"fmt"
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
