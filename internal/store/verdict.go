package store

import (
	"context"
	"database/sql"
	"errors"

	"rutile/internal/judge"
)

var _ judge.Store = (*Store)(nil)

// Verdicts returns what a model said, the newest first and at most limit.
func (s *Store) Verdicts(ctx context.Context, model string, limit int) ([]judge.Verdict, error) {
	var out []judge.Verdict
	err := s.read(ctx, "reading the verdicts", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var digest, doc string
			if err := r.Scan(&digest, &doc); err != nil {
				return err
			}
			var v judge.Verdict
			if err := decode("verdicts", digest, doc, &v); err != nil {
				return err
			}
			out = append(out, v)
			return nil
		}, `SELECT digest, doc FROM verdicts WHERE model = $1 ORDER BY at DESC, kind, digest LIMIT $2`, model, int64(limit))
	})
	return out, err
}

// keptVerdicts bounds what is kept of one model: the oldest go.
const keptVerdicts = 100_000

// PutVerdict keeps v; one that is there for its kind, digest and model stays.
func (s *Store) PutVerdict(ctx context.Context, v judge.Verdict) error {
	if err := errors.Join(checkText("a model", v.Model), checkText("a digest", v.Digest), checkText("a kind", v.Kind)); err != nil {
		return err
	}
	doc, err := encode("a verdict", v)
	if err != nil {
		return err
	}
	return s.write(ctx, "keeping a verdict", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO verdicts (model, kind, digest, at, doc) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (model, kind, digest) DO NOTHING`, v.Model, v.Kind, v.Digest, micros(v.At), doc); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM verdicts WHERE model = $1 AND at < (SELECT at FROM verdicts WHERE model = $1 ORDER BY at DESC LIMIT 1 OFFSET $2)`, v.Model, int64(keptVerdicts))
		return err
	})
}
