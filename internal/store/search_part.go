package store

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// looks is how many rows at most are looked at for a part of a search. Where no filter
// selects little it is what a page costs; docs/performance.md has the figures.
const looks = 30_000

// SearchPart is Search, newest first, that gives up after so many rows that it looked
// at. Then it says below which index it did not look: a search with q.Before there goes
// on without losing a row or finding one twice. An ascending q is an
// access.CodeInvalid error.
func (s *Store) SearchPart(ctx context.Context, q audit.Query) (audit.Part, error) {
	if q.Ascending {
		return audit.Part{}, access.Errorf(access.CodeInvalid, "a search is bounded from the newest down only")
	}
	search, err := s.searchSQL(q)
	if err != nil {
		return audit.Part{}, err
	}
	search.looks = s.dialect.looks
	var out audit.Part
	err = s.read(ctx, "searching the evidence", func(tx *sql.Tx) error {
		out = audit.Part{}
		found, err := search.statement(ctx, tx)
		if err != nil {
			return err
		}
		if out.Rows, err = found.rows(ctx, tx); err != nil || len(out.Rows) == search.limit || found.floor == 0 {
			return err
		}
		out.Below = uint64(found.floor)
		out.Back, err = search.began(ctx, tx, found.floor)
		return err
	})
	if err != nil {
		return audit.Part{}, err
	}
	return out, nil
}

// floor returns the index down to which rows are looked at, 0 if all are: no more than
// s.looks of those that the driver gives are at or above it.
func (s *selection) floor(ctx context.Context, tx *sql.Tx, driver int) (int64, error) {
	if s.origin != "" { // above its mark a log has no row, and others may
		var size int64
		if err := tx.QueryRowContext(ctx, `SELECT size FROM evidence_marks WHERE origin = $1`, s.origin).Scan(&size); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return 0, err
		}
		if s.before == 0 || size < s.before {
			s.before = size
		}
	}
	if driver < 0 && s.before > 0 { // no two rows of a log have one index
		floor := s.before - s.looks
		if floor <= s.from {
			floor = 0
		}
		return max(floor, 0), nil
	}
	var p params
	arms := []string{""}
	if driver >= 0 {
		if n := s.filters[driver].cost; n > 0 && n < probe && n <= s.looks {
			return 0, nil
		}
		arms = s.filters[driver].drive(&p)
	}
	bounds := s.bounds(&p)
	query := s.union("idx", arms, bounds)
	if s.dialect.cutArms && len(arms) > 1 {
		query = `SELECT idx FROM (` + s.first("idx", arms, bounds, ` ORDER BY idx DESC`, int(s.looks)+1) + `) AS newest`
	}
	query += ` ORDER BY idx DESC LIMIT 1 OFFSET ` + strconv.FormatInt(s.looks, 10)
	var last int64
	err := tx.QueryRowContext(ctx, query, p.args...).Scan(&last)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	floor := last + 1
	if s.before > 0 {
		floor = min(floor, s.before-1) // many logs may have a row of that index
	}
	return floor, nil
}

// began returns when the first event at or above an index began.
func (s *selection) began(ctx context.Context, tx *sql.Tx, floor int64) (time.Time, error) {
	var p params
	query := `SELECT at FROM evidence WHERE idx >= ` + p.param(floor)
	if s.origin != "" {
		query += ` AND origin = ` + p.param(s.origin)
	}
	var at int64
	err := tx.QueryRowContext(ctx, query+` ORDER BY idx, origin LIMIT 1`, p.args...).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return time.UnixMicro(at).UTC(), err
}
