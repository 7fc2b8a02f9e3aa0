package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/signin"
	"rutile/internal/store"
)

// TestFactors: rows are found by user and by credential, counters only grow, and what
// is spent is spent once, whoever is first.
func TestFactors(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		ctx, at := t.Context(), time.Now().UTC().Truncate(time.Millisecond)
		key := signin.Row{ID: "fac_1", User: "ann", Kind: signin.KindPasskey, Credential: "abc", Counter: 3, Used: at, Sealed: []byte("x")}
		word := signin.Row{ID: "fac_2", User: "ann", Kind: signin.KindPassword, Used: at, Sealed: []byte("y")}
		for _, r := range []signin.Row{key, word, {ID: "fac_3", User: "bob", Kind: signin.KindPassword, Used: at, Sealed: []byte("z")}} {
			if err := s.PutFactor(ctx, r); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range []signin.Row{key, {ID: "fac_4", User: "bob", Kind: signin.KindPasskey, Credential: "abc", Used: at, Sealed: []byte("x")}} {
			if err := s.PutFactor(ctx, r); access.CodeOf(err) != access.CodeConflict {
				t.Errorf("a second row of the id or the credential: %v", err)
			}
		}
		list, err := s.FactorsOf(ctx, "ann")
		if d := cmp.Diff([]signin.Row{key, word}, list); err != nil || d != "" {
			t.Errorf("%v (-want +got)\n%s", err, d)
		}
		got, ok, err := s.FactorOfCredential(ctx, "abc")
		if d := cmp.Diff(key, got); err != nil || !ok || d != "" {
			t.Errorf("%v %v (-want +got)\n%s", ok, err, d)
		}
		for _, c := range []string{"", "ab", "abc\x00"} {
			if _, ok, err := s.FactorOfCredential(ctx, c); ok || err != nil {
				t.Errorf("credential %q: %v, %v", c, ok, err)
			}
		}
		for _, step := range []struct {
			id   string
			n    int64
			want bool
		}{{"fac_1", 3, false}, {"fac_1", 2, false}, {"fac_1", 0, false}, {"fac_1", 4, true}, {"fac_1", 4, false}, {"fac_2", 0, true}, {"fac_2", 0, true}, {"fac_2", 9, true}, {"fac_2", 0, false}, {"fac_9", 1, false}} {
			if ok, err := s.AdvanceFactor(ctx, step.id, step.n, at.Add(time.Second)); ok != step.want || err != nil {
				t.Errorf("%s to %d: %v, %v", step.id, step.n, ok, err)
			}
		}
		for _, step := range []struct {
			bit  int64
			want bool
		}{{1, true}, {1, false}, {4, true}, {4, false}, {2, true}} {
			if ok, err := s.SpendFactor(ctx, "fac_2", step.bit, at); ok != step.want || err != nil {
				t.Errorf("bit %d: %v, %v", step.bit, ok, err)
			}
		}
		if err := s.DropFactors(ctx, "fac_1", "fac_9"); err != nil {
			t.Fatal(err)
		}
		list, err = s.FactorsOf(ctx, "ann")
		if err != nil || len(list) != 1 || list[0].Spent != 7 || list[0].Counter != 9 {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

// TestARaceForACodeHasOneWinner: of those who spend it and of those who count it.
func TestARaceForACodeHasOneWinner(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		if err := s.PutFactor(t.Context(), signin.Row{ID: "fac_1", User: "ann", Kind: signin.KindPassword, Used: time.Now(), Sealed: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		type result struct {
			ok  bool
			err error
		}
		all := make(chan result, 16)
		for range 8 {
			go func() { ok, err := s.AdvanceFactor(t.Context(), "fac_1", 7, time.Now()); all <- result{ok, err} }()
			go func() { ok, err := s.SpendFactor(t.Context(), "fac_1", 1, time.Now()); all <- result{ok, err} }()
		}
		won := 0
		for range 16 {
			r := <-all
			if r.err != nil {
				t.Error(r.err)
			}
			if r.ok {
				won++
			}
		}
		if won != 2 {
			t.Errorf("%d won, want one of each", won)
		}
	})
}
