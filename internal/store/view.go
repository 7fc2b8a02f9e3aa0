package store

import (
	"context"
	"database/sql"
	"errors"

	"rutile/internal/admin"
)

var _ admin.ViewStore = (*Store)(nil)

// Views returns what somebody keeps of a page, by name.
func (s *Store) Views(ctx context.Context, owner, page string) ([]admin.View, error) {
	var out []admin.View
	err := s.read(ctx, "reading saved views", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var v admin.View
			var at int64
			if err := r.Scan(&v.Name, &v.Query, &at); err != nil {
				return err
			}
			v.At = fromMicros(at)
			out = append(out, v)
			return nil
		}, `SELECT name, query, at FROM console_views WHERE owner = $1 AND page = $2 ORDER BY name`, owner, page)
	})
	return out, err
}

// PutView keeps a view in place of one of its name, unless there are most others.
func (s *Store) PutView(ctx context.Context, owner, page string, v admin.View, most int) (bool, error) {
	if err := errors.Join(checkKey("the owner of a view", owner), checkKey("the page of a view", page), checkKey("the name of a view", v.Name), checkText("a view", v.Query)); err != nil {
		return false, err
	}
	var n int64
	err := s.write(ctx, "keeping a view", func(tx *sql.Tx) error {
		if s.dialect.turn != "" { // what another node keeps meanwhile is counted
			if _, err := tx.ExecContext(ctx, s.dialect.turn, "views "+owner); err != nil {
				return err
			}
		}
		r, err := tx.ExecContext(ctx, `INSERT INTO console_views (owner, page, name, query, at)
			SELECT $1, $2, $3, $4, $5 WHERE (SELECT COUNT(*) FROM console_views WHERE owner = $1 AND page = $2 AND name <> $3) < $6
			ON CONFLICT (owner, page, name) DO UPDATE SET query = excluded.query, at = excluded.at`, owner, page, v.Name, v.Query, micros(v.At), int64(most))
		if err != nil {
			return err
		}
		n, err = r.RowsAffected()
		return err
	})
	return n == 1, err
}

// DropView forgets a view; false if it was not there.
func (s *Store) DropView(ctx context.Context, owner, page, name string) (bool, error) {
	if !clean(name) {
		return false, nil
	}
	n, err := s.exec(ctx, "forgetting a view", `DELETE FROM console_views WHERE owner = $1 AND page = $2 AND name = $3`, owner, page, name)
	return n == 1, err
}
