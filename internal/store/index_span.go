package store

import (
	"context"
	"database/sql"
	"slices"

	"rutile/internal/audit"
)

// A span says when the rows of spanSize indexes of a log began: a search for some
// time begins where rows of it are and not at the newest. Clocks go back, so it
// holds both ends, and what a span says of a time is never too little.
const spanSize = 1024

const insertSpan = `INSERT INTO evidence_spans (log, block, earliest, latest) VALUES ($1, $2, $3, $4)
	ON CONFLICT (log, block) DO UPDATE SET
	earliest = CASE WHEN excluded.earliest < evidence_spans.earliest THEN excluded.earliest ELSE evidence_spans.earliest END,
	latest = CASE WHEN excluded.latest > evidence_spans.latest THEN excluded.latest ELSE evidence_spans.latest END`

// putSpans widens the spans of rows that are put.
func (s *Store) putSpans(ctx context.Context, tx *sql.Tx, log string, rows []audit.Row) error {
	type span struct{ earliest, latest int64 }
	spans := map[int64]span{}
	for i := range rows {
		block, at := int64(rows[i].Index/spanSize), micros(exact(rows[i].At))
		known, ok := spans[block]
		if !ok {
			known = span{at, at}
		}
		spans[block] = span{min(known.earliest, at), max(known.latest, at)}
	}
	blocks := make([]int64, 0, len(spans))
	for block := range spans {
		blocks = append(blocks, block)
	}
	slices.Sort(blocks)
	for _, block := range blocks {
		if _, err := tx.ExecContext(ctx, insertSpan, log, block, spans[block].earliest, spans[block].latest); err != nil {
			return err
		}
	}
	return nil
}

// within restricts the indexes of rows to the spans of the times that are asked
// for, and reports whether there are any.
func (s *selection) within(ctx context.Context, tx *sql.Tx) (bool, error) {
	bound := func(end, condition string, t int64) (sql.NullInt64, error) {
		var sel selection
		sel.add(condition, t)
		query := `SELECT ` + end + `(block) FROM evidence_spans WHERE ` + sel.where[0]
		if s.origin != "" {
			query += ` AND log = ` + sel.param(s.origin)
		}
		var block sql.NullInt64
		err := tx.QueryRowContext(ctx, query, sel.args...).Scan(&block)
		return block, err
	}
	if s.since != 0 {
		block, err := bound("min", "latest >= %s", s.since)
		if err != nil || !block.Valid {
			return false, err
		}
		if !s.filter {
			s.from = max(s.from, block.Int64*spanSize)
		}
	}
	if s.until != 0 {
		block, err := bound("max", "earliest < %s", s.until)
		if err != nil || !block.Valid {
			return false, err
		}
		if end := (block.Int64 + 1) * spanSize; !s.filter && (s.before == 0 || end < s.before) {
			s.before = end
		}
	}
	return true, nil
}
