package store_test

import (
	"testing"

	"rutile/internal/access"
	"rutile/internal/store"
)

func TestRingVersionsGrowByOne(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		if version, sealed, err := s.LoadRing(t.Context()); version != 0 || sealed != nil || err != nil {
			t.Fatalf("version %d, %q, %v", version, sealed, err)
		}
		for _, step := range []struct {
			version int
			want    access.Code
		}{{0, access.CodeConflict}, {2, access.CodeConflict}, {-1, access.CodeConflict}, {1, ""}, {1, access.CodeConflict}, {3, access.CodeConflict}, {2, ""}} {
			if err := s.PutRing(t.Context(), step.version, []byte{byte(step.version), 0, 255}); access.CodeOf(err) != step.want {
				t.Errorf("version %d: got %v, want %q", step.version, err, step.want)
			}
		}
		if err := s.PutRing(t.Context(), 3, nil); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("nothing was stored: %v", err)
		}
		if version, sealed, err := s.LoadRing(t.Context()); version != 2 || string(sealed) != "\x02\x00\xff" || err != nil {
			t.Errorf("version %d, %q, %v", version, sealed, err)
		}
	})
}
