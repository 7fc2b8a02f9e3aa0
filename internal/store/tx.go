package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math/rand/v2"
	"time"
)

// attempts bounds how often an operation is tried when the database took it
// back (a serialization failure, a deadlock) or the connection was lost before
// anything could have been committed.
const attempts = 4

// write runs f in one transaction. f may run more than once and MUST set what it
// returns through variables from scratch each time.
func (s *Store) write(ctx context.Context, doing string, f func(*sql.Tx) error) error {
	return s.retry(ctx, doing, func() (bool, error) {
		tx, err := s.writer.BeginTx(ctx, nil)
		if err != nil {
			return false, err
		}
		defer tx.Rollback() // after a commit it does nothing
		if err := f(tx); err != nil {
			return false, err
		}
		return true, tx.Commit()
	})
}

// writeUnsynced is write for what can be made again: the commit does not wait for
// the disk. If the machine fails, the last of these transactions may be missing,
// whole ones and none in between; what write commits later makes them durable.
func (s *Store) writeUnsynced(ctx context.Context, doing string, f func(*sql.Tx) error) error {
	return s.retry(ctx, doing, func() (sent bool, err error) {
		conn, err := s.writer.Conn(ctx)
		if err != nil {
			return false, err
		}
		defer conn.Close()
		defer func() {
			if _, err := conn.ExecContext(context.WithoutCancel(ctx), s.dialect.synced); err != nil {
				_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // no other change may go unsynced on it
			}
		}()
		if _, err := conn.ExecContext(ctx, s.dialect.unsynced); err != nil {
			return false, err
		}
		tx, err := conn.BeginTx(ctx, nil)
		if err != nil {
			return false, err
		}
		defer tx.Rollback() // after a commit it does nothing
		if err := f(tx); err != nil {
			return false, err
		}
		return true, tx.Commit()
	})
}

// read runs f on one consistent state. f may run more than once.
func (s *Store) read(ctx context.Context, doing string, f func(*sql.Tx) error) error {
	return s.retry(ctx, doing, func() (bool, error) {
		tx, err := s.reader.BeginTx(ctx, s.dialect.snapshot)
		if err != nil {
			return false, err
		}
		defer tx.Rollback() // nothing was changed
		return false, f(tx)
	})
}

// exec runs one changing statement and returns how many rows it changed.
func (s *Store) exec(ctx context.Context, doing, query string, args ...any) (int64, error) {
	var n int64
	err := s.retry(ctx, doing, func() (bool, error) {
		r, err := s.writer.ExecContext(ctx, query, args...)
		if err != nil {
			return true, err
		}
		n, err = r.RowsAffected()
		return true, err
	})
	return n, err
}

// one reads a single row into dest; ok is false if there is none.
func (s *Store) one(ctx context.Context, doing, query string, args, dest []any) (ok bool, err error) {
	err = s.retry(ctx, doing, func() (bool, error) {
		err := s.reader.QueryRowContext(ctx, query, args...).Scan(dest...)
		ok = err == nil
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		return false, err
	})
	return ok, err
}

// retry runs f until it succeeds or trying again cannot help or could do the
// same change twice. f says whether it may have taken effect although it failed.
func (s *Store) retry(ctx context.Context, doing string, f func() (sent bool, err error)) error {
	for n := 1; ; n++ {
		sent, err := f()
		if err == nil {
			return nil
		}
		kind, _ := s.dialect.classify(err)
		again := kind == faultStale || kind == faultLost && !sent
		if !again || n == attempts || !pause(ctx, n) {
			return s.fault(ctx, doing, err)
		}
	}
}

// pause waits before the next attempt; it returns false if ctx ended first.
func pause(ctx context.Context, n int) bool {
	t := time.NewTimer(time.Duration(n)*10*time.Millisecond + rand.N(20*time.Millisecond))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// each calls f for every row of a query.
func each(ctx context.Context, tx *sql.Tx, f func(*sql.Rows) error, query string, args ...any) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
