package store

import (
	"context"
	"database/sql"
	"fmt"

	"rutile/internal/webhook"
)

// LoadWebhooks returns the declared webhooks sorted by id.
func (s *Store) LoadWebhooks(ctx context.Context) ([]webhook.Webhook, error) {
	var out []webhook.Webhook
	err := s.read(ctx, "loading the webhooks", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var id, doc string
			if err := r.Scan(&id, &doc); err != nil {
				return err
			}
			var w webhook.Webhook
			if err := decode("webhooks", id, doc, &w); err != nil {
				return err
			}
			w.ID = id
			out = append(out, w)
			return nil
		}, `SELECT id, doc FROM webhooks ORDER BY id`)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func webhookRow(id string, w webhook.Webhook) ([]any, error) {
	if err := named("webhook", id, w.ID); err != nil {
		return nil, err
	}
	w.Created, w.Changed = exact(w.Created), exact(w.Changed)
	doc, err := encode(fmt.Sprintf("webhook %q", id), w)
	return []any{id, doc}, err
}
