package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"rutile/internal/access"
	"rutile/internal/sink"
)

var _ sink.Cursors = (*Store)(nil)

// LoadSinks returns the declared sinks sorted by id.
func (s *Store) LoadSinks(ctx context.Context) ([]sink.Sink, error) {
	var out []sink.Sink
	err := s.read(ctx, "loading the sinks", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var id, doc string
			if err := r.Scan(&id, &doc); err != nil {
				return err
			}
			var v sink.Sink
			if err := decode("sinks", id, doc, &v); err != nil {
				return err
			}
			v.ID = id
			out = append(out, v)
			return nil
		}, `SELECT id, doc FROM sinks ORDER BY id`)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func sinkRow(id string, v sink.Sink) ([]any, error) {
	if err := named("sink", id, v.ID); err != nil {
		return nil, err
	}
	v.Created, v.Changed = exact(v.Created), exact(v.Changed)
	doc, err := encode(fmt.Sprintf("sink %q", id), v)
	return []any{id, doc}, err
}

// SinkCursor returns how far a sink got in the log of an origin, false if it has not
// begun.
func (s *Store) SinkCursor(ctx context.Context, id, origin string) (c sink.Cursor, ok bool, err error) {
	err = s.read(ctx, "reading how far a sink got", func(tx *sql.Tx) error {
		var next, changed int64
		err := tx.QueryRowContext(ctx, `SELECT next, changed FROM sink_cursors WHERE sink = $1 AND origin = $2`, id, origin).Scan(&next, &changed)
		if errors.Is(err, sql.ErrNoRows) {
			c, ok = sink.Cursor{}, false
			return nil
		}
		c, ok = sink.Cursor{Next: uint64(next), Changed: fromMicros(changed)}, err == nil
		return err
	})
	return c, ok, err
}

// MoveSinkCursor keeps how far a sink got, unless it stands elsewhere than at from.
func (s *Store) MoveSinkCursor(ctx context.Context, id, origin string, from uint64, c sink.Cursor) error {
	if c.Next > math.MaxInt64 {
		return access.Errorf(access.CodeInvalid, "leaf %d cannot be kept", c.Next)
	}
	return s.write(ctx, "keeping how far a sink got", func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `INSERT INTO sink_cursors (sink, origin, next, changed) VALUES ($1, $2, $3, $4)
			ON CONFLICT (sink, origin) DO UPDATE SET next = excluded.next, changed = excluded.changed WHERE sink_cursors.next = $5`,
			id, origin, int64(c.Next), micros(c.Changed), int64(from))
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		if err == nil && n != 1 {
			err = access.Errorf(access.CodeConflict, "sink %q stands elsewhere than at leaf %d", id, from)
		}
		return err
	})
}
