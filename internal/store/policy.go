package store

import (
	"context"
	"database/sql"

	"rutile/internal/policy"
)

// LoadPolicies returns the stored policies sorted by id.
func (s *Store) LoadPolicies(ctx context.Context) ([]policy.Policy, error) {
	var out []policy.Policy
	err := s.read(ctx, "loading the policies", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var id, doc string
			if err := r.Scan(&id, &doc); err != nil {
				return err
			}
			var p policy.Policy
			if err := decode("policies", id, doc, &p); err != nil {
				return err
			}
			p.ID = id
			out = append(out, exactPolicy(p))
			return nil
		}, `SELECT id, doc FROM policies ORDER BY id`)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Meta reads a small named value.
func (s *Store) Meta(ctx context.Context, key string) (value string, ok bool, err error) {
	if err := checkKey("the name of a setting", key); err != nil {
		return "", false, err
	}
	ok, err = s.one(ctx, "reading a setting", `SELECT value FROM meta WHERE name = $1`, []any{key}, []any{&value})
	return value, ok, err
}

// SetMeta stores a small named value.
func (s *Store) SetMeta(ctx context.Context, key, value string) error {
	if err := checkKey("the name of a setting", key); err != nil {
		return err
	}
	if err := checkText("the value of a setting", value); err != nil {
		return err
	}
	_, err := s.exec(ctx, "storing a setting",
		`INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, key, value)
	return err
}
