package store

import (
	"context"
	"database/sql"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// LoadSecrets returns the sealed secrets sorted by id.
func (s *Store) LoadSecrets(ctx context.Context) ([]credential.Secret, error) {
	var out []credential.Secret
	err := s.read(ctx, "loading the credentials", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var id, doc string
			var version int64
			var sealed []byte
			if err := r.Scan(&id, &version, &sealed, &doc); err != nil {
				return err
			}
			var v credential.Secret
			if err := decode("secrets", id, doc, &v); err != nil {
				return err
			}
			v.ID, v.Version, v.Sealed = id, int(version), sealed
			v.Created, v.Rotated = exact(v.Created), exact(v.Rotated)
			out = append(out, v)
			return nil
		}, `SELECT id, version, sealed, doc FROM secrets ORDER BY id`)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// PutSecret stores the next version of a secret, or version 1 of a new one.
// Any other version is an access.CodeConflict error.
func (s *Store) PutSecret(ctx context.Context, v credential.Secret) error {
	if err := checkKey("the id of a credential", v.ID); err != nil {
		return err
	}
	if len(v.Sealed) == 0 {
		return access.Errorf(access.CodeInvalid, "credential %q holds no secret", v.ID)
	}
	v.Created, v.Rotated = exact(v.Created), exact(v.Rotated)
	doc, err := encode("credential "+v.ID, v)
	if err != nil {
		return err
	}
	query := `UPDATE secrets SET version = $2, sealed = $3, doc = $4 WHERE id = $1 AND version = $2 - 1`
	if v.Version == 1 {
		query = `INSERT INTO secrets (id, version, sealed, doc) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING`
	}
	n, err := s.exec(ctx, "storing a credential", query, v.ID, int64(v.Version), v.Sealed, doc)
	if err == nil && n == 0 {
		return access.Errorf(access.CodeConflict, "credential %q was changed by somebody else: look at it and try again", v.ID)
	}
	return err
}

// DeleteSecret removes a secret; ok is false if there was none.
func (s *Store) DeleteSecret(ctx context.Context, id string) (ok bool, err error) {
	if !clean(id) {
		return false, nil // none was ever stored
	}
	n, err := s.exec(ctx, "removing a credential", `DELETE FROM secrets WHERE id = $1`, id)
	return n > 0, err
}
