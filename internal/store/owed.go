package store

import (
	"context"
	"database/sql"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// keepOwed keeps what a change owes the evidence, in the transaction of the change.
func keepOwed(ctx context.Context, tx *sql.Tx, list []access.Owed) error {
	for n, o := range list {
		doc, err := encode("the leaf of "+o.Object, o)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO owed (change, n, node, doc) VALUES ($1, $2, $3, $4)`, o.ID, int64(n), o.Node, doc); err != nil {
			return err
		}
	}
	return nil
}

// maxOwed bounds one reading of what is owed.
const maxOwed = 1000

// Owed returns the leaves a node owes its log, the oldest first, of one change or
// where id is "" of all: ids of changes grow with time.
func (s *Store) Owed(ctx context.Context, node, id string) ([]audit.Debt, error) {
	var out []audit.Debt
	err := s.read(ctx, "reading what the evidence is owed", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var d audit.Debt
			var n int64
			var change, doc string
			if err := r.Scan(&change, &n, &doc); err != nil {
				return err
			}
			if err := decode("owed", change, doc, &d.Owed); err != nil {
				return err
			}
			d.N = int(n)
			out = append(out, d)
			return nil
		}, `SELECT change, n, doc FROM owed WHERE node = $1 AND ($2 = '' OR change = $2) ORDER BY change, n LIMIT $3`, node, id, int64(maxOwed))
	})
	return out, err
}

// Paid forgets a leaf that the log holds.
func (s *Store) Paid(ctx context.Context, d audit.Debt) error {
	_, err := s.exec(ctx, "forgetting what the evidence was owed", `DELETE FROM owed WHERE change = $1 AND n = $2`, d.ID, int64(d.N))
	return err
}
