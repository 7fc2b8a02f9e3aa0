package store

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"

	"rutile/internal/credential"
)

// CredentialsUsed notes the last uses of credentials, by id. An earlier one than is
// noted, by another node, changes nothing.
func (s *Store) CredentialsUsed(ctx context.Context, uses map[string]credential.Use) error {
	return s.write(ctx, "noting the uses of credentials", func(tx *sql.Tx) error {
		for _, id := range slices.Sorted(maps.Keys(uses)) {
			if err := checkKey("the id of a credential", id); err != nil {
				return err
			}
			u, expires := uses[id], int64(0)
			if !u.Expires.IsZero() {
				expires = micros(u.Expires)
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO credential_uses (id, version, used, expires) VALUES ($1, $2, $3, $4)
				ON CONFLICT (id) DO UPDATE SET version = excluded.version, used = excluded.used, expires = excluded.expires
				WHERE credential_uses.used < excluded.used`, id, u.Version, micros(u.At), expires); err != nil {
				return err
			}
		}
		return nil
	})
}

// CredentialUses returns the last noted use of each credential by id.
func (s *Store) CredentialUses(ctx context.Context) (map[string]credential.Use, error) {
	var out map[string]credential.Use
	err := s.read(ctx, "reading the uses of credentials", func(tx *sql.Tx) error {
		out = map[string]credential.Use{}
		return each(ctx, tx, func(r *sql.Rows) error {
			var id string
			var u credential.Use
			var used, expires int64
			if err := r.Scan(&id, &u.Version, &used, &expires); err != nil {
				return err
			}
			u.At = time.UnixMicro(used).UTC()
			if expires != 0 {
				u.Expires = time.UnixMicro(expires).UTC()
			}
			out[id] = u
			return nil
		}, `SELECT id, version, used, expires FROM credential_uses`)
	})
	return out, err
}
