package store

import (
	"context"
	"database/sql"
	"fmt"

	"rutile/internal/access"
)

// EvidenceKey returns the wrapped key for name, storing make's result if there
// is none. Of several callers' keys the first stored one counts for all.
func (s *Store) EvidenceKey(ctx context.Context, name string, make func() ([]byte, error)) ([]byte, error) {
	if err := checkKey("the name of an evidence key", name); err != nil {
		return nil, err
	}
	const query = `SELECT wrapped FROM evidence_keys WHERE name = $1`
	var key []byte
	ok, err := s.one(ctx, "reading an evidence key", query, []any{name}, []any{&key})
	if ok || err != nil {
		return key, err
	}
	// make may come back to the store, so no transaction is open while it runs.
	if key, err = make(); err != nil {
		return nil, fmt.Errorf("making an evidence key: %w", err)
	}
	if len(key) == 0 {
		return nil, access.Errorf(access.CodeInvalid, "the evidence key %q that was made is empty", name)
	}
	err = s.write(ctx, "storing an evidence key", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO evidence_keys (name, wrapped) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`, name, key); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, query, name).Scan(&key)
	})
	if err != nil {
		return nil, err
	}
	return key, nil
}

// EvidenceKeys returns the wrapped keys that exist, by name.
func (s *Store) EvidenceKeys(ctx context.Context) (map[string][]byte, error) {
	var out map[string][]byte
	err := s.read(ctx, "loading the evidence keys", func(tx *sql.Tx) error {
		out = map[string][]byte{}
		return each(ctx, tx, func(r *sql.Rows) error {
			var name string
			var key []byte
			if err := r.Scan(&name, &key); err != nil {
				return err
			}
			out[name] = key
			return nil
		}, `SELECT name, wrapped FROM evidence_keys`)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
