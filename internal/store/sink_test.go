package store_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/sink"
	"rutile/internal/store"
)

func TestSinksAreKept(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		v := sink.Sink{ID: "siem", Owner: "ops", Form: sink.FormOCSF, URL: "https://h.example/é", Events: []string{sink.KindCall}, From: sink.FromStart, Header: "Authorization", Value: "Bearer {secret}", Secret: "key", State: sink.Active, Created: at(0), Changed: at(1)}
		if _, err := s.Commit(t.Context(), admin.Changes{Sinks: map[string]*sink.Sink{"siem": &v}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		if diff := cmp.Diff([]sink.Sink{v}, must[[]sink.Sink](t)(s.LoadSinks(t.Context()))); diff != "" {
			t.Errorf("sinks differ (-want +got):\n%s", diff)
		}
	})
}

func TestASinkMovesOnlyFromWhereItStands(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		ctx := t.Context()
		move := func(origin string, from, to uint64) error {
			return s.MoveSinkCursor(ctx, "siem", origin, from, sink.Cursor{Next: to, Changed: at(2)})
		}
		if _, ok, err := s.SinkCursor(ctx, "siem", "a"); ok || err != nil {
			t.Fatal(ok, err)
		}
		for _, x := range []struct {
			origin   string
			from, to uint64
			code     access.Code
		}{{"a", 0, 5, ""}, {"a", 0, 9, access.CodeConflict}, {"a", 5, 7, ""}, {"b", 0, 1, ""}, {"a", 5, 8, access.CodeConflict}} {
			if err := move(x.origin, x.from, x.to); access.CodeOf(err) != x.code && err != nil || (err == nil) != (x.code == "") {
				t.Errorf("from %d to %d: %v", x.from, x.to, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		c, ok, err := s.SinkCursor(ctx, "siem", "a")
		if err != nil || !ok || c.Next != 7 || !c.Changed.Equal(at(2)) {
			t.Errorf("it stands at %+v, %v, %v", c, ok, err)
		}
		var moved atomic.Int32
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if s.MoveSinkCursor(ctx, "siem", "a", 7, sink.Cursor{Next: 8, Changed: at(3)}) == nil {
					moved.Add(1)
				}
			})
		}
		all.Wait()
		if moved.Load() != 1 {
			t.Errorf("%d moved it from one place", moved.Load())
		}
	})
}
