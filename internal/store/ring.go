package store

import (
	"context"

	"rutile/internal/access"
)

// LoadRing returns the vault's sealed root keys; version is 0 if there are none.
func (s *Store) LoadRing(ctx context.Context) (version int, sealed []byte, err error) {
	var v int64
	ok, err := s.one(ctx, "reading the vault's root keys", `SELECT version, sealed FROM vault_ring WHERE id = 1`, nil, []any{&v, &sealed})
	if err != nil || !ok {
		return 0, nil, err
	}
	if v < 1 || len(sealed) == 0 {
		return 0, nil, rowError{"the vault's root keys", "1"}
	}
	return int(v), sealed, nil
}

// PutRing stores the next version of the vault's root keys, or version 1 if
// there are none. Any other version is an access.CodeConflict error.
func (s *Store) PutRing(ctx context.Context, version int, sealed []byte) error {
	if len(sealed) == 0 {
		return access.Errorf(access.CodeInvalid, "there are no root keys to store")
	}
	query := `UPDATE vault_ring SET version = $1, sealed = $2 WHERE id = 1 AND version = $1 - 1`
	if version == 1 {
		query = `INSERT INTO vault_ring (id, version, sealed) VALUES (1, $1, $2) ON CONFLICT (id) DO NOTHING`
	}
	n, err := s.exec(ctx, "storing the vault's root keys", query, int64(version), sealed)
	if err == nil && n == 0 {
		return access.Errorf(access.CodeConflict, "the vault's root keys were changed by somebody else: try again")
	}
	return err
}
