package store

import (
	"context"
	"database/sql"

	"rutile/internal/audit"
)

var _ audit.Pruner = (*Store)(nil)

// PruneRows removes the rows of calls of origin whose first leaf is below an index, and
// the texts that no row has any more: they hold names. It can be interrupted and called
// again.
func (s *Store) PruneRows(ctx context.Context, origin string, below uint64) error {
	const doing = "removing rows of what was pruned"
	if err := checkKey("the origin of evidence", origin); err != nil {
		return err
	}
	s.indexing.Lock()
	defer s.indexing.Unlock()
	for n := int64(1); n > 0; {
		var err error
		if n, err = s.exec(ctx, doing, `DELETE FROM evidence WHERE origin = $1 AND idx IN
			(SELECT idx FROM evidence WHERE origin = $1 AND idx < $2 AND type IN ('intent', 'verdict') ORDER BY idx LIMIT $3)`, origin, int64(below), int64(dropBatch)); err != nil {
			return err
		}
	}
	s.shared.stored = nil // what was stored with them may be gone
	return s.write(ctx, doing, func(tx *sql.Tx) error {
		for _, query := range []string{
			`DELETE FROM evidence_texts WHERE log = $1 AND NOT EXISTS (SELECT 1 FROM evidence WHERE evidence.text = evidence_texts.name)`,
			`DELETE FROM evidence_rules WHERE log = $1 AND NOT EXISTS (SELECT 1 FROM evidence WHERE evidence.rules = evidence_rules.rules)`,
			`DELETE FROM evidence_labels WHERE log = $1 AND NOT EXISTS (SELECT 1 FROM evidence WHERE evidence.labels = evidence_labels.labels)`,
		} {
			if _, err := tx.ExecContext(ctx, query, origin); err != nil {
				return err
			}
		}
		return nil
	})
}
