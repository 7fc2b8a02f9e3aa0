package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"rutile/internal/access"
	"rutile/internal/signin"
)

const factorColumns = `id, user_id, kind, credential, counter, spent, used, sealed`

// PutFactor keeps a new row; CodeConflict where its id or credential is there.
func (s *Store) PutFactor(ctx context.Context, r signin.Row) error {
	if err := errors.Join(checkKey("the id of a factor", r.ID), checkKey("the user of a factor", r.User), checkKey("the kind of a factor", r.Kind), checkText("a passkey", r.Credential)); err != nil {
		return err
	}
	n, err := s.exec(ctx, "keeping a factor", `INSERT INTO sign_in_factors (`+factorColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
		r.ID, r.User, r.Kind, sql.NullString{String: r.Credential, Valid: r.Credential != ""}, r.Counter, r.Spent, micros(r.Used), r.Sealed)
	if err == nil && n == 0 {
		return access.Errorf(access.CodeConflict, "this passkey is registered already")
	}
	return err
}

// FactorsOf returns the rows of a user, sorted by id.
func (s *Store) FactorsOf(ctx context.Context, user string) ([]signin.Row, error) {
	if !clean(user) {
		return nil, nil // none was ever stored
	}
	return s.factors(ctx, `SELECT `+factorColumns+` FROM sign_in_factors WHERE user_id = $1 ORDER BY id`, user)
}

// FactorOfCredential returns the row of a passkey.
func (s *Store) FactorOfCredential(ctx context.Context, credential string) (signin.Row, bool, error) {
	if !clean(credential) || credential == "" {
		return signin.Row{}, false, nil
	}
	list, err := s.factors(ctx, `SELECT `+factorColumns+` FROM sign_in_factors WHERE credential = $1`, credential)
	if err != nil || len(list) == 0 {
		return signin.Row{}, false, err
	}
	return list[0], true, nil
}

func (s *Store) factors(ctx context.Context, query string, args ...any) ([]signin.Row, error) {
	var out []signin.Row
	err := s.read(ctx, "reading factors", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var x signin.Row
			var credential sql.NullString
			var used int64
			if err := r.Scan(&x.ID, &x.User, &x.Kind, &credential, &x.Counter, &x.Spent, &used, &x.Sealed); err != nil {
				return err
			}
			x.Credential, x.Used = credential.String, fromMicros(used)
			out = append(out, x)
			return nil
		}, query, args...)
	})
	return out, err
}

// AdvanceFactor raises the counter of a row and notes its use. It reports false, and
// changes nothing, unless the counter grows, or is 0 and stays it.
func (s *Store) AdvanceFactor(ctx context.Context, id string, counter int64, at time.Time) (bool, error) {
	n, err := s.exec(ctx, "counting the use of a factor", `UPDATE sign_in_factors SET counter = $2, used = $3 WHERE id = $1 AND (counter < $2 OR counter = 0 AND $2 = 0)`, id, counter, micros(at))
	return n == 1, err
}

// SpendFactor marks one bit of what is spent of a row and notes its use. It reports
// false if the bit was marked already.
func (s *Store) SpendFactor(ctx context.Context, id string, bit int64, at time.Time) (bool, error) {
	n, err := s.exec(ctx, "spending a recovery code", `UPDATE sign_in_factors SET spent = spent | $2, used = $3 WHERE id = $1 AND spent & $2 = 0`, id, bit, micros(at))
	return n == 1, err
}

// DropFactors removes rows; those that are not there are no error.
func (s *Store) DropFactors(ctx context.Context, ids ...string) error {
	return s.write(ctx, "removing factors", func(tx *sql.Tx) error {
		for _, id := range ids {
			if _, err := tx.ExecContext(ctx, `DELETE FROM sign_in_factors WHERE id = $1`, id); err != nil {
				return err
			}
		}
		return nil
	})
}
