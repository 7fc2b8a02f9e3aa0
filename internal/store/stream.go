package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"rutile/internal/access"
	"rutile/internal/signal"
)

var _ signal.Streams = (*Store)(nil)

// streamKind is the kind of signal_objects that streams are, which receivers set up.
const streamKind = "stream"

// Stream returns a stream and its revision; both are zero where nobody set it up.
func (s *Store) Stream(ctx context.Context, id string) (out signal.Stream, rev uint64, err error) {
	err = s.read(ctx, "reading a stream", func(tx *sql.Tx) error {
		out, rev = signal.Stream{}, 0
		var doc string
		var n int64
		err := tx.QueryRowContext(ctx, `SELECT doc, rev FROM signal_objects WHERE kind = $1 AND id = $2`, streamKind, id).Scan(&doc, &n)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		rev = uint64(n)
		return decode("signal_objects", id, doc, &out)
	})
	return out, rev, err
}

// PutStream keeps a stream that had the revision rev.
func (s *Store) PutStream(ctx context.Context, id string, rev uint64, v signal.Stream) error {
	if err := checkKey("a stream", id); err != nil {
		return err
	}
	doc, err := encode(fmt.Sprintf("stream %q", id), v)
	if err != nil {
		return err
	}
	n, err := s.exec(ctx, "keeping a stream", `INSERT INTO signal_objects (kind, id, doc, rev) VALUES ($1, $2, $3, 1)
		ON CONFLICT (kind, id) DO UPDATE SET doc = excluded.doc, rev = signal_objects.rev + 1 WHERE signal_objects.rev = $4`, streamKind, id, doc, int64(rev))
	if err == nil && n != 1 {
		err = access.Errorf(access.CodeConflict, "stream %q was changed by somebody else meanwhile", id)
	}
	return err
}

// Post puts parcels into a stream. What is there already stays as it is.
func (s *Store) Post(ctx context.Context, stream string, list []signal.Parcel) error {
	if err := checkKey("a stream", stream); err != nil {
		return err
	}
	return s.write(ctx, "keeping events of a stream", func(tx *sql.Tx) error {
		for _, p := range list {
			if err := checkText("an event of a stream", string(p.Body)); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO signal_parcels (stream, id, body, at) VALUES ($1, $2, $3, $4) ON CONFLICT (stream, id) DO NOTHING`, stream, p.ID, string(p.Body), micros(p.At)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Waiting returns the oldest parcels of a stream.
func (s *Store) Waiting(ctx context.Context, stream string, limit int) ([]signal.Parcel, error) {
	var out []signal.Parcel
	err := s.read(ctx, "reading what waits in a stream", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var p signal.Parcel
			var body string
			var at int64
			if err := r.Scan(&p.ID, &body, &at); err != nil {
				return err
			}
			p.Body, p.At = []byte(body), fromMicros(at)
			out = append(out, p)
			return nil
		}, `SELECT id, body, at FROM signal_parcels WHERE stream = $1 ORDER BY at, id LIMIT $2`, stream, int64(limit))
	})
	return out, err
}

// Fetched removes parcels of a stream; nil removes all.
func (s *Store) Fetched(ctx context.Context, stream string, ids []string) error {
	if ids == nil {
		_, err := s.exec(ctx, "emptying a stream", `DELETE FROM signal_parcels WHERE stream = $1`, stream)
		return err
	}
	return s.write(ctx, "removing what was fetched from a stream", func(tx *sql.Tx) error {
		for _, id := range ids {
			if _, err := tx.ExecContext(ctx, `DELETE FROM signal_parcels WHERE stream = $1 AND id = $2`, stream, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// Backlog is how many parcels wait in a stream, and since when.
func (s *Store) Backlog(ctx context.Context, stream string) (n int, oldest time.Time, err error) {
	err = s.read(ctx, "counting what waits in a stream", func(tx *sql.Tx) error {
		var at sql.NullInt64
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*), MIN(at) FROM signal_parcels WHERE stream = $1`, stream).Scan(&n, &at); err != nil {
			return err
		}
		oldest = time.Time{}
		if at.Valid {
			oldest = fromMicros(at.Int64)
		}
		return nil
	})
	return n, oldest, err
}
