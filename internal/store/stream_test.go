package store_test

import (
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/signal"
	"rutile/internal/store"
)

// TestAStreamIsChangedFromWhereItStands: of two that change it at once one is told so, and
// what waits in it is there once, in order, until it is fetched, also after a restart.
func TestAStreamIsChangedFromWhereItStands(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		ctx := t.Context()
		if st, rev, err := s.Stream(ctx, "a"); err != nil || rev != 0 || st.State() != signal.Enabled {
			t.Fatalf("one that nobody set up: %+v %d %v", st, rev, err)
		}
		for _, x := range []struct {
			rev  uint64
			code access.Code
		}{{0, ""}, {0, access.CodeConflict}, {1, ""}, {1, access.CodeConflict}} {
			err := s.PutStream(ctx, "a", x.rev, signal.Stream{Status: signal.Paused})
			if (err == nil) != (x.code == "") || err != nil && access.CodeOf(err) != x.code {
				t.Errorf("from revision %d: %v", x.rev, err)
			}
		}
		at := time.Now().UTC().Truncate(time.Microsecond)
		list := []signal.Parcel{{ID: "2", Body: []byte(`{}`), At: at.Add(time.Second)}, {ID: "1", Body: []byte(`{"a":1}`), At: at}}
		for range 2 {
			if err := s.Post(ctx, "a", list); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Post(ctx, "b", list); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		if st, rev, err := s.Stream(ctx, "a"); err != nil || rev != 2 || st.State() != signal.Paused {
			t.Errorf("after a restart: %+v %d %v", st, rev, err)
		}
		got, err := s.Waiting(ctx, "a", 10)
		if err != nil || len(got) != 2 || got[0].ID != "1" || string(got[0].Body) != `{"a":1}` || !got[0].At.Equal(at) {
			t.Errorf("waiting: %+v %v", got, err)
		}
		if n, oldest, err := s.Backlog(ctx, "a"); err != nil || n != 2 || !oldest.Equal(at) {
			t.Errorf("the backlog: %d %v %v", n, oldest, err)
		}
		if err := s.Fetched(ctx, "a", []string{"1", "unknown"}); err != nil {
			t.Fatal(err)
		}
		if n, _, err := s.Backlog(ctx, "a"); err != nil || n != 1 {
			t.Errorf("after one was fetched: %d %v", n, err)
		}
		if err := s.Fetched(ctx, "a", nil); err != nil {
			t.Fatal(err)
		}
		if n, oldest, err := s.Backlog(ctx, "a"); err != nil || n != 0 || !oldest.IsZero() {
			t.Errorf("after all were: %d %v %v", n, oldest, err)
		}
		if n, _, err := s.Backlog(ctx, "b"); err != nil || n != 2 {
			t.Errorf("another stream has %d, %v", n, err)
		}
	})
}
