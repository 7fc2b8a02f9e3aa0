package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/grant"
	"rutile/internal/policy"
	"rutile/internal/store"
)

// TestVersionsAreKeptWithTheirChange: with the change or not at all, and whole
// after the database was opened anew.
func TestVersionsAreKeptWithTheirChange(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		rules := &admin.Rules{
			Policies:     []policy.Policy{{ID: "p", Cedar: "forbid (principal, action, resource);\n", File: "p.yaml", Line: 3, Created: at(1), Changed: at(2)}},
			Entitlements: []grant.Entitlement{{ID: "e", Owner: "team", Tools: []string{"s/*"}, State: grant.EntitlementActive, Created: at(1), Changed: at(1)}},
			Lists:        []admin.AllowList{{Agent: "a", Tools: []string{"s/é*"}}},
		}
		one := admin.Version{N: 1, Digest: "sha256:1", Set: "sha256:s", At: at(1), Actor: "user:ann", Change: "chg_1", Counts: admin.Counts{Policies: 1}, Rules: rules}
		two := one
		two.N, two.Digest, two.From, two.Why = 2, "sha256:2", 1, "because"
		commit := func(base uint64, v ...admin.Version) error {
			_, err := s.Commit(t.Context(), admin.Changes{Base: base, Versions: v})
			return err
		}
		if err := commit(0, one, two); err != nil {
			t.Fatal(err)
		}
		stale := two
		stale.N = 3
		if err := commit(0, stale); access.CodeOf(err) != access.CodeConflict {
			t.Errorf("a commit on another generation: %v", err)
		}
		if err := commit(1, two); err == nil {
			t.Error("a generation was written over")
		}
		if gen, _ := s.Generation(t.Context()); gen != 1 {
			t.Errorf("the change of a version that could not be kept took effect: generation %d", gen)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		list := must[[]admin.Version](t)(s.Versions(t.Context(), 0, 0))
		bare := []admin.Version{two, one}
		bare[0].Rules, bare[1].Rules = nil, nil
		if d := cmp.Diff(bare, list); d != "" {
			t.Errorf("the list (-want +got):\n%s", d)
		}
		if older := must[[]admin.Version](t)(s.Versions(t.Context(), 2, 5)); len(older) != 1 || older[0].N != 1 {
			t.Errorf("below 2: %+v", older)
		}
		got, ok, err := s.Version(t.Context(), 2)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if d := cmp.Diff(two, got); d != "" {
			t.Errorf("generation 2 (-want +got):\n%s", d)
		}
		if _, ok, err := s.Version(t.Context(), 3); ok || err != nil {
			t.Errorf("one that is not there: %t %v", ok, err)
		}
	})
}
