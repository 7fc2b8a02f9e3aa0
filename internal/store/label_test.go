package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/admin"
	"rutile/internal/registry"
	"rutile/internal/store"
)

func TestLabelsAreKept(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		one := registry.Label{ID: "source:crm", Owner: "ops", Description: "é", State: registry.LabelActive, Created: at(0), Changed: at(1)}
		many := registry.Label{ID: "untrusted:*", Owner: "ops", State: registry.LabelRetired, Created: at(0), Changed: at(1)}
		if _, err := s.Commit(t.Context(), admin.Changes{Labels: map[string]*registry.Label{one.ID: &one, many.ID: &many}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		if diff := cmp.Diff([]registry.Label{one, many}, must[[]registry.Label](t)(s.LoadLabels(t.Context()))); diff != "" {
			t.Errorf("labels differ (-want +got):\n%s", diff)
		}
		if mails, err := s.LoadMails(t.Context()); err != nil || len(mails) > 0 {
			t.Errorf("a label is taken for another object: %v %v", mails, err)
		}
	})
}
