package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// rowColumns are what PutRows fills, in the order of rowArgs.
const rowColumns = `origin, idx, last, at, type, decision, outcome, status, agent, subject, session, task, server, tool, trace, rules, text, granted, labels, doc`

const (
	rowWidth    = 20
	sharedWidth = 3
)

// What PutRows runs, with as many tuples as it has rows.
const (
	insertRows = `INSERT INTO evidence (` + rowColumns + `) VALUES %s ON CONFLICT (idx, origin) DO UPDATE SET
		last = excluded.last, status = excluded.status, rules = excluded.rules, text = excluded.text, labels = excluded.labels, doc = excluded.doc WHERE excluded.last > evidence.last`
	insertRules  = `INSERT INTO evidence_rules (log, policy, rules) VALUES %s ON CONFLICT (policy, log, rules) DO NOTHING`
	insertLabels = `INSERT INTO evidence_labels (log, label, labels) VALUES %s ON CONFLICT (label, log, labels) DO NOTHING`
	insertTexts  = `INSERT INTO evidence_texts (log, name, words) VALUES %s ON CONFLICT (name) DO NOTHING`
)

// PutRows stores rows and the watermark in one transaction. A row already there
// is replaced by one with a newer leaf, which tells how a call ended, and else
// left as it is. Neither it nor the watermark ever goes back, unless the machine
// fails: the transaction is not waited for to be durable, and what is lost of it
// is lost with its watermark. Where that has happened since the last call, nothing
// is stored and the error is [audit.ErrRowsLost]: what is missing begins at the
// Watermark.
func (s *Store) PutRows(ctx context.Context, origin string, rows []audit.Row, watermark uint64) error {
	const doing = "indexing evidence"
	if err := checkKey("the origin of evidence", origin); err != nil {
		return err
	}
	if watermark > math.MaxInt64 {
		return access.Errorf(access.CodeInvalid, "the watermark %d is larger than a log can be", watermark)
	}
	s.indexing.Lock()
	defer s.indexing.Unlock()
	rows = newest(rows)
	common := sharing{known: &s.shared, log: origin}
	args := make([]any, 0, len(rows)*rowWidth)
	for i := range rows {
		var err error
		if args, err = appendRow(args, origin, &rows[i], &common); err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
	}
	if err := s.retry(ctx, doing, func() (bool, error) { return false, s.prepare(ctx) }); err != nil {
		return err
	}
	err := s.writeUnsynced(ctx, doing, func(tx *sql.Tx) error {
		if err := s.shared.stands(ctx, tx, origin); err != nil {
			return err
		}
		if err := s.insert(ctx, tx, insertRows, rowWidth, args); err != nil {
			return err
		}
		if err := s.insert(ctx, tx, insertRules, sharedWidth, common.rules); err != nil {
			return err
		}
		if err := s.insert(ctx, tx, insertLabels, sharedWidth, common.labels); err != nil {
			return err
		}
		if err := s.putSpans(ctx, tx, origin, rows); err != nil {
			return err
		}
		if err := s.insert(ctx, tx, insertTexts, sharedWidth, common.texts); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO evidence_marks (origin, size) VALUES ($1, $2)
			ON CONFLICT (origin) DO UPDATE SET size = excluded.size WHERE excluded.size > evidence_marks.size`, origin, int64(watermark))
		return err
	})
	if err == nil {
		s.shared.kept(&common, int64(watermark))
	}
	return err
}

// newest returns rows without those of which a newer one, or the same, is among
// them: one statement cannot change a row twice.
func newest(rows []audit.Row) []audit.Row {
	at := make(map[uint64]int, len(rows))
	for i := range rows {
		if n, ok := at[rows[i].Index]; !ok || rows[n].Last() < rows[i].Last() {
			at[rows[i].Index] = i
		}
	}
	if len(at) == len(rows) {
		return rows
	}
	kept := make([]audit.Row, 0, len(at))
	for i := range rows {
		if at[rows[i].Index] == i {
			kept = append(kept, rows[i])
		}
	}
	return kept
}

// appendRow appends the columns of a row. What it says is kept whole in the
// document; the columns hold what both databases can index.
func appendRow(args []any, origin string, r *audit.Row, common *sharing) ([]any, error) {
	if r.Index > math.MaxInt64 || r.Last() > math.MaxInt64 {
		return nil, access.Errorf(access.CodeInvalid, "the index %d is larger than a log can be", r.Index)
	}
	kept := *r
	kept.Origin, kept.At, kept.Ended = origin, exact(r.At), exact(r.Ended)
	doc, err := appendDoc(make([]byte, 0, 1024), &kept)
	if err != nil {
		return nil, err
	}
	kind := field(r.Type)
	if kind == nil {
		kind = ""
	}
	return append(args, origin, int64(r.Index), int64(r.Last()), micros(kept.At), kind, field(r.Decision), field(r.Outcome), field(r.Status),
		field(r.Agent), field(r.Subject), field(r.Session), field(r.Task), field(r.Server), field(r.Tool), field(r.TraceID),
		common.list(r), common.text(r), field(r.Grant), common.labelled(r), string(doc)), nil
}

// insert runs the statement for all rows of args, of the given width.
func (s *Store) insert(ctx context.Context, tx *sql.Tx, statement string, width int, args []any) error {
	for _, n := range s.dialect.batches {
		if len(args) < n*width {
			continue
		}
		stmt := tx.StmtContext(ctx, s.prepared[inserting{statement, n}])
		defer stmt.Close()
		for len(args) >= n*width {
			if _, err := stmt.ExecContext(ctx, args[:n*width]...); err != nil {
				return err
			}
			args = args[n*width:]
		}
	}
	return nil
}

// inserting is a statement that inserts n rows.
type inserting struct {
	statement string
	n         int
}

// prepare makes the statements that insert, once: to parse thousands of
// placeholders costs more than to insert a row. It is done before a transaction
// holds the writing connection.
func (s *Store) prepare(ctx context.Context) error {
	s.preparing.Lock()
	defer s.preparing.Unlock()
	if s.prepared != nil {
		return nil
	}
	made := map[inserting]*sql.Stmt{}
	for statement, width := range map[string]int{insertRows: rowWidth, insertRules: sharedWidth, insertLabels: sharedWidth, insertTexts: sharedWidth} {
		for _, n := range s.dialect.batches {
			stmt, err := s.writer.PrepareContext(ctx, fmt.Sprintf(statement, s.dialect.tuples(n, width))) //nolint:sqlclosecheck // Close closes what is kept
			if err != nil {
				return errors.Join(err, closeAll(made))
			}
			made[inserting{statement, n}] = stmt
		}
	}
	s.prepared = made
	return nil
}

func closeAll(stmts map[inserting]*sql.Stmt) error {
	var errs []error
	for _, stmt := range stmts {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(errs...)
}

// Watermark returns how much of the log of origin is indexed.
func (s *Store) Watermark(ctx context.Context, origin string) (uint64, error) {
	if err := checkKey("the origin of evidence", origin); err != nil {
		return 0, err
	}
	var size int64
	_, err := s.one(ctx, "reading how far evidence is indexed", `SELECT size FROM evidence_marks WHERE origin = $1`, []any{origin}, []any{&size})
	return uint64(size), err
}

// dropBatch is how many rows one transaction of DropRows removes, so that calls
// need not wait for all of them.
const dropBatch = 5000

// DropRows removes the watermark and all rows of origin. If it is interrupted
// rows may be left; called again it removes them.
func (s *Store) DropRows(ctx context.Context, origin string) error {
	const doing = "dropping the index of evidence"
	if err := checkKey("the origin of evidence", origin); err != nil {
		return err
	}
	s.indexing.Lock()
	defer s.indexing.Unlock()
	s.shared = shared{}
	// The watermark goes first: without it what is left is dropped and everything
	// indexed again.
	err := s.write(ctx, doing, func(tx *sql.Tx) error {
		for _, query := range []string{`DELETE FROM evidence_marks WHERE origin = $1`, `DELETE FROM evidence_rules WHERE log = $1`, `DELETE FROM evidence_labels WHERE log = $1`,
			`DELETE FROM evidence_spans WHERE log = $1`, `DELETE FROM evidence_texts WHERE log = $1`} {
			if _, err := tx.ExecContext(ctx, query, origin); err != nil {
				return err
			}
		}
		return nil
	})
	for n := int64(1); err == nil && n > 0; {
		n, err = s.exec(ctx, doing, `DELETE FROM evidence WHERE origin = $1
			AND idx IN (SELECT idx FROM evidence WHERE origin = $1 ORDER BY idx LIMIT $2)`, origin, int64(dropBatch))
	}
	return err
}
