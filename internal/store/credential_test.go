package store_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/store"
)

func TestSecretVersionsGrowByOne(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		put := func(id string, version int) error {
			return s.PutSecret(t.Context(), credential.Secret{ID: id, Version: version, Sealed: []byte(fmt.Sprint(version)), Created: at(0)})
		}
		for _, step := range []struct {
			version int
			want    access.Code
		}{{0, access.CodeConflict}, {2, access.CodeConflict}, {-1, access.CodeConflict}, {1, ""}, {1, access.CodeConflict}, {3, access.CodeConflict}, {2, ""}, {2, access.CodeConflict}} {
			if err := put("github", step.version); access.CodeOf(err) != step.want {
				t.Errorf("version %d: got %v, want %q", step.version, err, step.want)
			}
		}
		full := credential.Secret{ID: "a", Version: 1, Sealed: []byte{0, 255}, Servers: []string{"files"}, Origins: []string{"https://x.example:443"}, MaxTier: 2, Created: at(0)}
		if err := s.PutSecret(t.Context(), full); err != nil {
			t.Fatal(err)
		}
		full.Version, full.Rotated, full.Sealed = 2, at(3), []byte("new")
		if err := s.PutSecret(t.Context(), full); err != nil {
			t.Fatal(err)
		}
		got := must[[]credential.Secret](t)(s.LoadSecrets(t.Context()))
		want := []credential.Secret{full, {ID: "github", Version: 2, Sealed: []byte("2"), Created: at(0)}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("secrets differ (-want +got):\n%s", diff)
		}
		if ok, err := s.DeleteSecret(t.Context(), "github"); !ok || err != nil {
			t.Errorf("deleting: %v, %v", ok, err)
		}
		for _, id := range []string{"github", "\x00", ""} {
			if ok, err := s.DeleteSecret(t.Context(), id); ok || err != nil {
				t.Errorf("deleting %q, which is not there: %v, %v", id, ok, err)
			}
		}
		if err := put("github", 3); access.CodeOf(err) != access.CodeConflict {
			t.Errorf("a deleted secret was rotated: %v", err)
		}
		if err := s.PutSecret(t.Context(), credential.Secret{ID: "b", Version: 1}); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("a secret without secret: %v", err)
		}
	})
}

func TestOfRacingRotationsExactlyOneWins(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		for version := 1; version < 6; version++ {
			var won atomic.Int32
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					err := s.PutSecret(t.Context(), credential.Secret{ID: "x", Version: version, Sealed: []byte{byte(i)}})
					switch access.CodeOf(err) {
					case "":
						won.Add(1)
					case access.CodeConflict:
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 {
				t.Errorf("%d stored version %d", won.Load(), version)
			}
		}
	})
}

func TestRacingCallersGetOneEvidenceKey(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		var keys sync.Map
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				key, err := s.EvidenceKey(t.Context(), "org/2026", func() ([]byte, error) {
					// Making a key may need the store itself.
					_, err := s.LoadSecrets(t.Context())
					return []byte{byte(i), 0}, err
				})
				if err != nil {
					t.Error(err)
				}
				keys.Store(string(key), true)
			})
		}
		wg.Wait()
		var key string
		n := 0
		keys.Range(func(k, _ any) bool { key = k.(string); n++; return true })
		if n != 1 {
			t.Fatalf("%d keys were handed out", n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		again, err := s.EvidenceKey(t.Context(), "org/2026", func() ([]byte, error) { return nil, errors.New("made again") })
		if err != nil || string(again) != key {
			t.Errorf("after a restart: %q, %v, want %q", again, err, key)
		}
		if diff := cmp.Diff(map[string][]byte{"org/2026": []byte(key)}, must[map[string][]byte](t)(s.EvidenceKeys(t.Context()))); diff != "" {
			t.Errorf("keys differ (-want +got):\n%s", diff)
		}
	})
}

func TestEvidenceKeyThatCannotBeMadeIsNotStored(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		cause := errors.New("vault sealed")
		if _, err := s.EvidenceKey(t.Context(), "k", func() ([]byte, error) { return []byte("x"), cause }); !errors.Is(err, cause) {
			t.Errorf("got %v, want the cause", err)
		}
		if _, err := s.EvidenceKey(t.Context(), "k", func() ([]byte, error) { return nil, nil }); err == nil {
			t.Error("an empty key was accepted")
		}
		for _, name := range []string{"", "a\x00"} {
			if _, err := s.EvidenceKey(t.Context(), name, func() ([]byte, error) { return []byte("x"), nil }); access.CodeOf(err) != access.CodeInvalid {
				t.Errorf("name %q: got %v, want invalid", name, err)
			}
		}
		if keys := must[map[string][]byte](t)(s.EvidenceKeys(t.Context())); len(keys) != 0 {
			t.Errorf("stored %v", keys)
		}
	})
}
