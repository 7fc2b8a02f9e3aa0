package store

import (
	"context"
	"database/sql"
	"errors"

	"rutile/internal/risk"
)

var _ risk.Store = (*Store)(nil)

// Risks returns what every node keeps of how unusual agents and people are.
func (s *Store) Risks(ctx context.Context) ([]risk.Row, error) {
	var out []risk.Row
	err := s.read(ctx, "reading scores", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var x risk.Row
			var doc string
			if err := r.Scan(&x.Node, &x.Kind, &x.ID, &doc); err != nil {
				return err
			}
			x.Doc = []byte(doc)
			out = append(out, x)
			return nil
		}, `SELECT node, kind, id, doc FROM risks ORDER BY node, kind, id`)
	})
	return out, err
}

// SaveRisks replaces the rows of put and removes those of drop, together.
func (s *Store) SaveRisks(ctx context.Context, node string, put []risk.Row, drop []risk.Key) error {
	for _, r := range put {
		if err := errors.Join(checkText("a node", node), checkText("an agent or a person", r.ID), checkText("scores", string(r.Doc))); err != nil {
			return err
		}
	}
	return s.write(ctx, "keeping scores", func(tx *sql.Tx) error {
		for _, k := range drop {
			if _, err := tx.ExecContext(ctx, `DELETE FROM risks WHERE node = $1 AND kind = $2 AND id = $3`, node, k.Kind, k.ID); err != nil {
				return err
			}
		}
		for _, r := range put {
			if _, err := tx.ExecContext(ctx, `INSERT INTO risks (node, kind, id, doc) VALUES ($1, $2, $3, $4)
				ON CONFLICT (node, kind, id) DO UPDATE SET doc = excluded.doc`, node, r.Kind, r.ID, string(r.Doc)); err != nil {
				return err
			}
		}
		return nil
	})
}
