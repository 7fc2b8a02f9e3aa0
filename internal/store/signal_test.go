package store_test

import (
	"testing"
	"time"

	"rutile/internal/signal"
	"rutile/internal/store"
)

// TestASignalIsTakenOnce: of two that take it one is told it is new, also after a
// restart, and what was done is known as done.
func TestASignalIsTakenOnce(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {

		at := time.Now().UTC().Truncate(time.Microsecond)
		told := signal.Told{Source: "idp", ID: "j\x001", Doc: []byte(`[{"jti":"j1"}]`), At: at, Until: at.Add(time.Hour)}
		if _, fresh, err := s.TakeSignal(t.Context(), told); err != nil || !fresh {
			t.Fatalf("the first: %t, %v", fresh, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		kept, fresh, err := s.TakeSignal(t.Context(), told)
		if err != nil || fresh || kept.Done || string(kept.Doc) != string(told.Doc) || !kept.At.Equal(at) {
			t.Errorf("the second: %+v, %t, %v", kept, fresh, err)
		}
		other := told
		other.Source = "other"
		if _, fresh, err := s.TakeSignal(t.Context(), other); err != nil || !fresh {
			t.Errorf("the same id of another source: %t, %v", fresh, err)
		}
		for _, source := range []string{"idp", "other"} {
			if list, err := s.SignalsWaiting(t.Context(), source, 10); err != nil || len(list) != 1 || list[0].Source != source {
				t.Errorf("waiting of %s: %+v, %v", source, list, err)
			}
		}
		if err := s.SignalDone(t.Context(), "idp", told.ID); err != nil {
			t.Fatal(err)
		}
		if kept, err := s.SignalsKept(t.Context()); err != nil || len(kept) != 2 || kept["idp"].Waiting != 0 || kept["other"].Waiting != 1 || !kept["idp"].Last.Equal(at) {
			t.Errorf("kept: %+v, %v", kept, err)
		}
		for source, want := range map[string]int{"idp": 0, "other": 1} {
			if list, err := s.SignalsWaiting(t.Context(), source, 10); err != nil || len(list) != want {
				t.Errorf("waiting of %s after one was done: %+v, %v", source, list, err)
			}
		}
		if kept, _, err := s.TakeSignal(t.Context(), told); err != nil || !kept.Done {
			t.Errorf("what was done: %+v, %v", kept, err)
		}
		if _, ok, err := s.ProviderSession(t.Context(), "https://idp", "s1"); err != nil || ok {
			t.Errorf("a session nobody has: %t, %v", ok, err)
		}
		for _, subject := range []string{"ann", "bob"} {
			if err := s.PutProviderSession(t.Context(), "https://idp", "s1", subject, at.Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		if subject, ok, err := s.ProviderSession(t.Context(), "https://idp", "s1"); err != nil || !ok || subject != "bob" {
			t.Errorf("whose it is: %q, %t, %v", subject, ok, err)
		}
	})
}
