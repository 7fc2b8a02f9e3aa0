package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/admin"
	"rutile/internal/registry"
	"rutile/internal/store"
)

func TestUsersAreReplacedAndRemovedWhole(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		commit(t, s, admin.Changes{Users: map[string]*registry.User{"ann": user("ann"), "bob": user("bob")}})
		next := user("ann")
		next.Tokens, next.Roles, next.State = nil, nil, registry.UserRetired
		commit(t, s, admin.Changes{Base: 1, Users: map[string]*registry.User{"ann": next, "bob": nil}})
		got := must[registry.Content](t)(s.LoadRegistry(t.Context()))
		if d := cmp.Diff(registry.Content{Generation: 2, Users: []registry.User{*next}}, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}

func TestUsesOfTokensAreKeptNewestAndForgotten(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		for _, use := range []struct {
			id string
			at time.Time
		}{{"pat_a", at(10)}, {"pat_b", at(20)}, {"pat_a", at(30)}, {"pat_a", at(5)}} { // a slower node comes late
			if err := s.TokenUsed(t.Context(), use.id, use.at); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		want := map[string]time.Time{"pat_a": at(30), "pat_b": at(20)}
		if d := cmp.Diff(want, must[map[string]time.Time](t)(s.TokenUses(t.Context()))); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if gen := must[uint64](t)(s.Generation(t.Context())); gen != 0 {
			t.Errorf("using a token changed the registry: generation %d", gen)
		}
		// What no living token can be is forgotten with a later use.
		late := at(25).Add(admin.MaxUserTokenTTL)
		if err := s.TokenUsed(t.Context(), "pat_c", late); err != nil {
			t.Fatal(err)
		}
		want = map[string]time.Time{"pat_a": at(30), "pat_c": late}
		if d := cmp.Diff(want, must[map[string]time.Time](t)(s.TokenUses(t.Context()))); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		for _, bad := range []string{"", "a\x00", "\xff"} {
			if s.TokenUsed(t.Context(), bad, at(0)) == nil {
				t.Errorf("%q was noted", bad)
			}
		}
	})
}
