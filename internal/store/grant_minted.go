package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
)

// KeepMinted notes that calls under a grant are given a credential, unless the grant is
// one that was taken back or was never in force. The row of the grant is locked first,
// so that a revocation either sees the credential or keeps it from being used.
func (s *Store) KeepMinted(ctx context.Context, m grant.Minted) error {
	if err := errors.Join(checkKey("the id of a credential", m.Credential), checkKey("the version of a credential", m.Version),
		checkText("the kind of a credential", m.Kind), checkText("the server of a credential", m.Server)); err != nil {
		return err
	}
	expires := int64(0)
	if !m.Expires.IsZero() {
		expires = micros(m.Expires)
	}
	return s.write(ctx, "noting what was minted under a grant", func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE grants SET seq = seq + 1 WHERE id = $1 AND state IN ('active', 'exhausted', 'expired')`, m.Grant)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return conflict()
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO grant_credentials (grant_id, credential, version, kind, server, node, at, expires, sealed)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`, m.Grant, m.Credential, m.Version, m.Kind, m.Server, m.Node, micros(m.At), expires, m.Sealed)
		return err
	})
}

// DropMinted forgets a credential that has ended, under whichever grants.
func (s *Store) DropMinted(ctx context.Context, credential, version string) error {
	_, err := s.exec(ctx, "forgetting what was minted", `DELETE FROM grant_credentials WHERE credential = $1 AND version = $2`, credential, version)
	return err
}

// DropExpired forgets what has ended by itself. What nobody knows the end of is
// reckoned to live as long as Until says.
func (s *Store) DropExpired(ctx context.Context, at time.Time) error {
	never := (&grant.Minted{At: at}).Until().Sub(at).Microseconds()
	_, err := s.exec(ctx, "forgetting what has ended", `DELETE FROM grant_credentials WHERE expires > 0 AND expires <= $1 OR expires = 0 AND at + $2 <= $1`, micros(at), never)
	return err
}

// MintedUnder returns what lives of these grants, by grant.
func (s *Store) MintedUnder(ctx context.Context, grants []string) (map[string][]grant.Minted, error) {
	if len(grants) == 0 {
		return nil, nil
	}
	const most = 500 // ids in one question
	var out map[string][]grant.Minted
	err := s.read(ctx, "reading what was minted under grants", func(tx *sql.Tx) error {
		out = map[string][]grant.Minted{}
		for from := 0; from < len(grants); from += most {
			var marks []string
			var args []any
			for _, id := range grants[from:min(from+most, len(grants))] {
				args = append(args, id)
				marks = append(marks, fmt.Sprintf("$%d", len(args)))
			}
			if err := each(ctx, tx, scanMinted(out), `SELECT grant_id, credential, version, kind, server, node, at, expires, sealed, tries, next, why
				FROM grant_credentials WHERE grant_id IN (`+strings.Join(marks, ", ")+`) ORDER BY credential, version`, args...); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

func scanMinted(out map[string][]grant.Minted) func(*sql.Rows) error {
	return func(r *sql.Rows) error {
		var m grant.Minted
		var at, expires, tries, next int64
		if err := r.Scan(&m.Grant, &m.Credential, &m.Version, &m.Kind, &m.Server, &m.Node, &at, &expires, &m.Sealed, &tries, &next, &m.Why); err != nil {
			return err
		}
		m.At, m.Tries = fromMicros(at), int(tries)
		if expires != 0 {
			m.Expires = fromMicros(expires)
		}
		if next != 0 {
			m.Next = fromMicros(next)
		}
		out[m.Grant] = append(out[m.Grant], m)
		return nil
	}
}

// Revoking returns the grants that are being revoked.
func (s *Store) Revoking(ctx context.Context) ([]grant.Grant, error) {
	var out []grant.Grant
	err := s.read(ctx, "reading which grants are being revoked", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, scanGrant(&out), `SELECT `+grantColumns+` FROM grants WHERE state IN ('revoking', 'revoke_partial') ORDER BY id`)
	})
	return out, err
}

// TryMinted notes a try to end a credential, unless somebody else did since it was read.
func (s *Store) TryMinted(ctx context.Context, m grant.Minted, next time.Time) (bool, error) {
	n, err := s.exec(ctx, "noting that a credential is being ended", `UPDATE grant_credentials SET tries = tries + 1, next = $4, why = $5
		WHERE grant_id = $1 AND credential = $2 AND version = $3 AND tries = $6`, m.Grant, m.Credential, m.Version, micros(next), m.Why, int64(m.Tries))
	return n > 0, err
}

// FailMinted notes why the last try to end a credential failed.
func (s *Store) FailMinted(ctx context.Context, m grant.Minted) error {
	if err := checkText("why a credential lives", m.Why); err != nil {
		return err
	}
	_, err := s.exec(ctx, "noting why a credential lives", `UPDATE grant_credentials SET next = $4, why = $5 WHERE grant_id = $1 AND credential = $2 AND version = $3`,
		m.Grant, m.Credential, m.Version, micros(m.Next), m.Why)
	return err
}

// unminted refuses to call a grant revoked of which something lives. The row of the
// grant is locked by then.
func unminted(ctx context.Context, tx *sql.Tx, id string) error {
	var one int64
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM grant_credentials WHERE grant_id = $1 LIMIT 1`, id).Scan(&one)
	switch {
	case err == nil:
		return access.Errorf(access.CodeConflict, "a credential was made under grant %s at this moment", id)
	case errors.Is(err, sql.ErrNoRows):
		return nil
	default:
		return err
	}
}
