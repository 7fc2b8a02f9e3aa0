package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"rutile/internal/access"
	"rutile/internal/finding"
)

var _ finding.Store = (*Store)(nil)

// Findings returns those a filter selects, ordered by id.
func (s *Store) Findings(ctx context.Context, f finding.Filter) ([]finding.Finding, error) {
	var out []finding.Finding
	err := s.read(ctx, "reading the findings", func(tx *sql.Tx) error {
		out = nil
		column, values := "id", f.IDs
		if values == nil {
			column, values = "subject", f.Subjects
		}
		if values == nil {
			return s.findings(ctx, tx, f, "", nil, &out)
		}
		return s.dialect.in(values, 1, func(list string, args []any) error {
			return s.findings(ctx, tx, f, column+" IN "+list, args, &out)
		})
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b finding.Finding) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func (s *Store) findings(ctx context.Context, tx *sql.Tx, f finding.Filter, among string, args []any, out *[]finding.Finding) error {
	var where []string
	and := func(condition string, arg any) {
		args = append(args, arg)
		where = append(where, fmt.Sprintf(condition, s.dialect.mark(len(args))))
	}
	if among != "" {
		where = append(where, among)
	}
	for _, c := range []struct{ column, value string }{{"rule", f.Rule}, {"owner", f.Owner}, {"subject", f.Subject}, {"state", string(f.State)}} {
		if c.value != "" {
			and(c.column+" = %s", c.value)
		}
	}
	if f.From != "" {
		and("severity >= %s", int64(f.From.Rank()))
	}
	if f.Source != "" {
		and("id IN (SELECT finding FROM finding_sources WHERE source = %s)", f.Source)
	}
	if f.Sources != "" {
		and(fmt.Sprintf("id IN (SELECT finding FROM finding_sources WHERE substr(source, 1, %d) = %%s)", utf8.RuneCountInString(f.Sources)), f.Sources)
	}
	if f.After != "" {
		and("id > %s", f.After)
	}
	query := `SELECT id, state, last_seen, rev, doc FROM findings`
	if len(where) > 0 {
		query += ` WHERE ` + strings.Join(where, " AND ")
	}
	query += ` ORDER BY id`
	if f.Limit > 0 {
		args = append(args, int64(f.Limit))
		query += ` LIMIT ` + s.dialect.mark(len(args))
	}
	index, from := map[string]int{}, len(*out)
	err := each(ctx, tx, func(r *sql.Rows) error {
		var id, state, doc string
		var last, rev int64
		if err := r.Scan(&id, &state, &last, &rev, &doc); err != nil {
			return err
		}
		var v finding.Finding
		if err := decode("findings", id, doc, &v); err != nil {
			return err
		}
		v.ID, v.State, v.Last, v.Rev = id, finding.State(state), fromMicros(last), uint64(rev)
		index[id] = len(*out)
		*out = append(*out, v)
		return nil
	}, query, args...)
	if err != nil {
		return err
	}
	var found []string
	for _, v := range (*out)[from:] {
		found = append(found, v.ID)
	}
	return s.dialect.in(found, 1, func(list string, args []any) error {
		return each(ctx, tx, func(r *sql.Rows) error {
			var id, source string
			if err := r.Scan(&id, &source); err != nil {
				return err
			}
			(*out)[index[id]].Sources = append((*out)[index[id]].Sources, source)
			return nil
		}, `SELECT finding, source FROM finding_sources WHERE finding IN `+list+` ORDER BY finding, source`, args...)
	})
}

// Standing returns what is not resolved about one kind of subject. Open ones are
// counted by the database; muted ones, which are few, end by themselves and are read.
func (s *Store) Standing(ctx context.Context, subject string) ([]finding.Standing, error) {
	var out []finding.Standing
	err := s.read(ctx, "counting the findings", func(tx *sql.Tx) error {
		out = nil
		severities := finding.Severities()
		err := each(ctx, tx, func(r *sql.Rows) error {
			var x finding.Standing
			var severity, count int64
			if err := r.Scan(&x.Subject, &x.Rule, &severity, &count); err != nil {
				return err
			}
			for _, y := range severities {
				if int64(y.Rank()) == severity {
					x.Severity = y
				}
			}
			x.Count = int(count)
			out = append(out, x)
			return nil
		}, `SELECT subject, rule, severity, COUNT(*) FROM findings WHERE state = 'open' AND subject_kind = $1 GROUP BY subject, rule, severity`, subject)
		if err != nil {
			return err
		}
		return documents(ctx, tx, "findings", func(_ string, f *finding.Finding) {
			x := finding.Standing{Subject: f.Subject.ID, Rule: f.Rule, Severity: f.Severity, Count: 1}
			if f.Mute != nil {
				x.Until = f.Mute.Until
			}
			out = append(out, x)
		}, `SELECT id, doc FROM findings WHERE state = 'muted' AND subject_kind = $1`, subject)
	})
	return out, err
}

// Revision says which state the findings are in: every change of a row raises its rev,
// and none is ever deleted.
func (s *Store) Revision(ctx context.Context) (finding.Revision, error) {
	var r finding.Revision
	_, err := s.one(ctx, "looking for changes of findings", `SELECT COUNT(*), CAST(COALESCE(SUM(rev), 0) AS BIGINT) FROM findings`, nil, []any{&r.Count, &r.Changes})
	return r, err
}

// CommitFindings applies c in one transaction.
func (s *Store) CommitFindings(ctx context.Context, c finding.Changes) error {
	return s.write(ctx, "keeping the findings", func(tx *sql.Tx) error {
		if err := s.putFindings(ctx, tx, &c); err != nil {
			return err
		}
		return keepOwed(ctx, tx, c.Owed)
	})
}

func (s *Store) putFindings(ctx context.Context, tx *sql.Tx, c *finding.Changes) error {
	for i := range c.Put {
		if err := putFinding(ctx, tx, &c.Put[i]); err != nil {
			return err
		}
	}
	err := s.dialect.in(c.Seen, 2, func(list string, args []any) error {
		_, err := tx.ExecContext(ctx, `UPDATE findings SET last_seen = $1 WHERE id IN `+list, append([]any{micros(c.At)}, args...)...)
		return err
	})
	if err != nil {
		return err
	}
	for _, h := range c.Hold {
		if _, err := tx.ExecContext(ctx, `INSERT INTO finding_sources (source, finding) VALUES ($1, $2) ON CONFLICT (source, finding) DO NOTHING`, h.Source, h.Finding); err != nil {
			return err
		}
	}
	for _, h := range c.LetGo {
		if _, err := tx.ExecContext(ctx, `DELETE FROM finding_sources WHERE source = $1 AND finding = $2`, h.Source, h.Finding); err != nil {
			return err
		}
	}
	return nil
}

func putFinding(ctx context.Context, tx *sql.Tx, f *finding.Finding) error {
	if err := checkKey("the id of a finding", f.ID); err != nil {
		return err
	}
	if err := checkKey("the subject of a finding", f.Subject.ID); err != nil {
		return err
	}
	v, rev := *f, int64(f.Rev)
	v.First, v.Changed, v.Resolved, v.Due = exact(v.First), exact(v.Changed), exactOrZero(v.Resolved), exactOrZero(v.Due)
	v.Last, v.Rev, v.Sources = time.Time{}, 0, nil // the columns count
	if v.Mute != nil {
		m := *v.Mute
		m.At, m.Until = exact(m.At), exact(m.Until)
		v.Mute = &m
	}
	doc, err := encode("a finding", v)
	if err != nil {
		return err
	}
	args := []any{f.ID, f.Rule, f.Subject.Kind, f.Subject.ID, f.Owner, string(f.State), int64(f.Severity.Rank()), micros(f.Last), doc, rev}
	query := `UPDATE findings SET rule = $2, subject_kind = $3, subject = $4, owner = $5, state = $6, severity = $7, last_seen = $8, rev = rev + 1, doc = $9 WHERE id = $1 AND rev = $10`
	if rev == 0 {
		query = `INSERT INTO findings (id, rule, subject_kind, subject, owner, state, severity, last_seen, doc, rev) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10 + 1) ON CONFLICT (id) DO NOTHING`
	}
	r, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n != 1 {
		if err == nil {
			err = access.Errorf(access.CodeConflict, "finding %s was changed meanwhile: try again", f.ID)
		}
		return err
	}
	return nil
}
