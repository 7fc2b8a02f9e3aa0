package store

import (
	"context"
	"database/sql"
	"time"

	"rutile/internal/access"
	"rutile/internal/revocation"
)

var _ revocation.Store = (*Store)(nil)

const revocationColumns = `position, id, kind, target, cause, actor, node, at, done, receipt`

// BeginRevocation appends an entry. The row of the head is locked until the commit, so
// that whoever reads a position has read all before it.
func (s *Store) BeginRevocation(ctx context.Context, e revocation.Entry, owe func(revocation.Entry) access.Owed) (revocation.Entry, error) {
	if err := checkKey("the id of what is revoked", e.Target.ID); err != nil {
		return e, err
	}
	if err := checkText("why it is revoked", e.Cause); err != nil {
		return e, err
	}
	e.At = exact(e.At)
	err := s.write(ctx, "recording a revocation", func(tx *sql.Tx) error {
		var n int64
		if err := tx.QueryRowContext(ctx, `UPDATE revocation_head SET position = position + 1 WHERE one = 1 RETURNING position`).Scan(&n); err != nil {
			return err
		}
		e.Position = uint64(n)
		_, err := tx.ExecContext(ctx, `INSERT INTO revocations (position, id, kind, target, cause, actor, node, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			n, e.ID, string(e.Target.Kind), e.Target.ID, e.Cause, e.Actor, e.Node, micros(e.At))
		if err != nil {
			return err
		}
		return keepOwed(ctx, tx, []access.Owed{owe(e)})
	})
	return e, err
}

// FinishRevocation keeps what an entry came to.
func (s *Store) FinishRevocation(ctx context.Context, id string, receipt []byte, owed access.Owed) error {
	return s.write(ctx, "recording what a revocation came to", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE revocations SET done = 1, receipt = $2 WHERE id = $1`, id, string(receipt))
		if err != nil {
			return err
		}
		return keepOwed(ctx, tx, []access.Owed{owed})
	})
}

// Revocations returns entries.
func (s *Store) Revocations(ctx context.Context, q revocation.Query) ([]revocation.Entry, error) {
	which := `position > $1`
	args := []any{int64(q.After), int64(q.Limit)}
	order := `position`
	if q.Newest {
		which, order, args[0] = `($1 = 0 OR position < $1)`, `position DESC`, int64(q.Before)
	}
	if q.Unfinished {
		which += ` AND receipt = ''`
	}
	return s.revocations(ctx, `SELECT `+revocationColumns+` FROM revocations WHERE `+which+` ORDER BY `+order+` LIMIT $2`, args...)
}

// RevocationDone says that what an entry ends has ended where it was begun.
func (s *Store) RevocationDone(ctx context.Context, id string) error {
	_, err := s.exec(ctx, "recording a revocation", `UPDATE revocations SET done = 1 WHERE id = $1`, id)
	return err
}

// Revocation returns one entry by its id; ok is false if there is none.
func (s *Store) Revocation(ctx context.Context, id string) (revocation.Entry, bool, error) {
	if !clean(id) {
		return revocation.Entry{}, false, nil
	}
	list, err := s.revocations(ctx, `SELECT `+revocationColumns+` FROM revocations WHERE id = $1`, id)
	if err != nil || len(list) == 0 {
		return revocation.Entry{}, false, err
	}
	return list[0], true, nil
}

func (s *Store) revocations(ctx context.Context, query string, args ...any) ([]revocation.Entry, error) {
	var out []revocation.Entry
	err := s.read(ctx, "reading what was revoked", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var e revocation.Entry
			var position, at, done int64
			var receipt string
			if err := r.Scan(&position, &e.ID, &e.Target.Kind, &e.Target.ID, &e.Cause, &e.Actor, &e.Node, &at, &done, &receipt); err != nil {
				return err
			}
			e.Position, e.At, e.Done = uint64(position), fromMicros(at), done != 0
			if receipt != "" {
				e.Receipt = []byte(receipt)
			}
			out = append(out, e)
			return nil
		}, query, args...)
	})
	return out, err
}

// Beat says that a node is there, by the database's clock.
func (s *Store) Beat(ctx context.Context, node string) error {
	_, err := s.exec(ctx, "saying that this gateway is there", `INSERT INTO nodes (id, beat) VALUES ($1, `+s.dialect.clock+`)
		ON CONFLICT (id) DO UPDATE SET beat = `+s.dialect.clock, node)
	return err
}

// Leave forgets a node that stopped.
func (s *Store) Leave(ctx context.Context, node string) error {
	_, err := s.exec(ctx, "saying that this gateway is gone", `DELETE FROM nodes WHERE id = $1`, node)
	return err
}

// Nodes returns the nodes and how long ago each was heard of.
func (s *Store) Nodes(ctx context.Context) ([]revocation.Node, error) {
	var out []revocation.Node
	err := s.read(ctx, "reading which gateways there are", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var n revocation.Node
			var age int64
			err := r.Scan(&n.ID, &age)
			n.Age = time.Duration(age) * time.Microsecond
			out = append(out, n)
			return err
		}, `SELECT id, `+s.dialect.clock+` - beat FROM nodes ORDER BY id`)
	})
	return out, err
}

// Ack says that a node has carried out a revocation.
func (s *Store) Ack(ctx context.Context, id, node string) error {
	_, err := s.exec(ctx, "saying that a revocation is carried out", `INSERT INTO revocation_acks (id, node) VALUES ($1, $2) ON CONFLICT DO NOTHING`, id, node)
	return err
}

// Acks returns the nodes that have carried out a revocation.
func (s *Store) Acks(ctx context.Context, id string) ([]string, error) {
	var out []string
	err := s.read(ctx, "reading who carried out a revocation", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var n string
			err := r.Scan(&n)
			out = append(out, n)
			return err
		}, `SELECT node FROM revocation_acks WHERE id = $1 ORDER BY node`, id)
	})
	return out, err
}
