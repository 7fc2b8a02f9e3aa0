package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/admin"
	"rutile/internal/store"
	"rutile/internal/webhook"
)

func TestWebhooksAreKept(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		w := webhook.Webhook{ID: "pager", Owner: "ops", URL: "https://h.example/é", Events: []string{webhook.RequestPending}, Form: webhook.FormJSON, Secret: "key", State: webhook.Active, Created: at(0), Changed: at(1)}
		if _, err := s.Commit(t.Context(), admin.Changes{Webhooks: map[string]*webhook.Webhook{"pager": &w}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		if diff := cmp.Diff([]webhook.Webhook{w}, must[[]webhook.Webhook](t)(s.LoadWebhooks(t.Context()))); diff != "" {
			t.Errorf("webhooks differ (-want +got):\n%s", diff)
		}
		gen := must[uint64](t)(s.Generation(t.Context()))
		if _, err := s.Commit(t.Context(), admin.Changes{Base: gen, Webhooks: map[string]*webhook.Webhook{"pager": nil}}); err != nil {
			t.Fatal(err)
		}
		if list := must[[]webhook.Webhook](t)(s.LoadWebhooks(t.Context())); len(list) != 0 {
			t.Errorf("still there: %v", list)
		}
	})
}
