package store

import (
	"bytes"
	"context"
	"database/sql"

	"rutile/internal/audit"
)

var _ audit.Erasures = (*Store)(nil)

// PutErasure keeps an order to erase. One of the same id is left as it is.
func (s *Store) PutErasure(ctx context.Context, e audit.Erasure) error {
	if err := checkKey("the id of an erasure", e.ID); err != nil {
		return err
	}
	doc, err := encode("the erasure "+e.ID, e)
	if err != nil {
		return err
	}
	return s.write(ctx, "ordering an erasure", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO erasures (id, doc) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, e.ID, doc)
		return err
	})
}

// Erasures returns the orders, the oldest first: their ids grow with time.
func (s *Store) Erasures(ctx context.Context) ([]audit.Erasure, error) {
	var out []audit.Erasure
	err := s.read(ctx, "reading the erasures", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var id, doc string
			if err := r.Scan(&id, &doc); err != nil {
				return err
			}
			var e audit.Erasure
			if err := decode("erasures", id, doc, &e); err != nil {
				return err
			}
			e.ID = id
			out = append(out, e)
			return nil
		}, `SELECT id, doc FROM erasures ORDER BY id`)
	})
	return out, err
}

// DestroyKeys deletes keys, by name, that are still the wrapped ones given. What held
// them in the file is written over before, and in the journal after.
func (s *Store) DestroyKeys(ctx context.Context, wrapped map[string][]byte) error {
	const doing = "destroying evidence keys"
	err := s.write(ctx, doing, func(tx *sql.Tx) error {
		for name, w := range wrapped {
			gone := bytes.Repeat([]byte{0}, len(w))
			n, err := tx.ExecContext(ctx, `UPDATE evidence_keys SET wrapped = $1 WHERE name = $2 AND wrapped = $3`, gone, name, w)
			if err != nil {
				return err
			}
			if changed, err := n.RowsAffected(); err != nil || changed == 0 {
				if err != nil {
					return err
				}
				continue // it is another one now
			}
			if _, err := tx.ExecContext(ctx, `DELETE FROM evidence_keys WHERE name = $1`, name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = s.exec(ctx, doing, s.dialect.scrub)
	return err
}

// ErasedIn notes that the log of origin has carried out an order.
func (s *Store) ErasedIn(ctx context.Context, id, origin string) error {
	_, err := s.exec(ctx, "noting an erasure", `INSERT INTO erasures_done (id, origin) VALUES ($1, $2) ON CONFLICT (id, origin) DO NOTHING`, id, origin)
	return err
}

// ErasedBy returns the orders that the log of origin has carried out.
func (s *Store) ErasedBy(ctx context.Context, origin string) (map[string]bool, error) {
	var out map[string]bool
	err := s.read(ctx, "reading what is erased", func(tx *sql.Tx) error {
		out = map[string]bool{}
		return each(ctx, tx, func(r *sql.Rows) error {
			var id string
			if err := r.Scan(&id); err != nil {
				return err
			}
			out[id] = true
			return nil
		}, `SELECT id FROM erasures_done WHERE origin = $1`, origin)
	})
	return out, err
}
