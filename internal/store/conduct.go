package store

import (
	"context"
	"database/sql"
	"errors"

	"rutile/internal/conduct"
)

var _ conduct.Store = (*Store)(nil)

// Conduct returns what is kept of how tools behave, as a node saw it.
func (s *Store) Conduct(ctx context.Context, node string) ([]conduct.Row, error) {
	var out []conduct.Row
	err := s.read(ctx, "reading how tools behave", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var x conduct.Row
			var doc string
			if err := r.Scan(&x.Server, &x.Tool, &doc); err != nil {
				return err
			}
			x.Tally = []byte(doc)
			out = append(out, x)
			return nil
		}, `SELECT server, tool, doc FROM conduct WHERE node = $1 ORDER BY server, tool`, node)
	})
	return out, err
}

// SaveConduct replaces the rows of put and removes those of drop, together.
func (s *Store) SaveConduct(ctx context.Context, node string, put []conduct.Row, drop []conduct.Key) error {
	for _, r := range put {
		if err := errors.Join(checkText("a node", node), checkText("a server", r.Server), checkText("a tool", r.Tool), checkText("a tally", string(r.Tally))); err != nil {
			return err
		}
	}
	return s.write(ctx, "keeping how tools behave", func(tx *sql.Tx) error {
		for _, k := range drop {
			if _, err := tx.ExecContext(ctx, `DELETE FROM conduct WHERE node = $1 AND server = $2 AND tool = $3`, node, k.Server, k.Tool); err != nil {
				return err
			}
		}
		for _, r := range put {
			if _, err := tx.ExecContext(ctx, `INSERT INTO conduct (node, server, tool, doc) VALUES ($1, $2, $3, $4)
				ON CONFLICT (node, server, tool) DO UPDATE SET doc = excluded.doc`, node, r.Server, r.Tool, string(r.Tally)); err != nil {
				return err
			}
		}
		return nil
	})
}
