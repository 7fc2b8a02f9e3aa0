package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"rutile/internal/boundary"
)

// PutLabels keeps what sessions have touched; what is there already stays.
func (s *Store) PutLabels(ctx context.Context, marks []boundary.Mark) error {
	for _, m := range marks {
		if err := errors.Join(checkText("a session", m.Session), checkText("a label", m.Word), checkText("a server", m.Server), checkText("a tool", m.Tool), checkText("a decision", m.Decision)); err != nil {
			return err
		}
	}
	return s.write(ctx, "labelling a session", func(tx *sql.Tx) error {
		for _, m := range marks {
			hash := m.Hash
			if hash == nil {
				hash = []byte{}
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO session_labels (session, side, word, server, tool, decision, leaf, hash, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
				ON CONFLICT (session, side, word, server) DO NOTHING`, m.Session, m.Side, m.Word, m.Server, m.Tool, m.Decision, int64(m.Leaf), hash, micros(m.At)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Labels returns what a session has touched, oldest first.
func (s *Store) Labels(ctx context.Context, session string) ([]boundary.Mark, error) {
	if !clean(session) {
		return nil, nil
	}
	var out []boundary.Mark
	err := s.read(ctx, "reading the labels of a session", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			m := boundary.Mark{Session: session}
			var leaf, at int64
			if err := r.Scan(&m.Side, &m.Word, &m.Server, &m.Tool, &m.Decision, &leaf, &m.Hash, &at); err != nil {
				return err
			}
			m.Leaf, m.At = uint64(leaf), fromMicros(at)
			out = append(out, m)
			return nil
		}, `SELECT side, word, server, tool, decision, leaf, hash, at FROM session_labels WHERE session = $1 ORDER BY at, side, word, server`, session)
	})
	return out, err
}

// PutSource keeps what was seen in an answer; one that is there already stays.
func (s *Store) PutSource(ctx context.Context, session, id string, prints []byte, at time.Time) error {
	if err := errors.Join(checkText("a session", session), checkText("a source", id)); err != nil {
		return err
	}
	_, err := s.exec(ctx, "keeping what was seen", `INSERT INTO session_sources (session, id, prints, at) VALUES ($1, $2, $3, $4) ON CONFLICT (session, id) DO NOTHING`, session, id, prints, micros(at))
	return err
}

// Sources returns what was seen in the answers of a session, oldest first, by id, but
// for those that are known.
func (s *Store) Sources(ctx context.Context, session string, known func(id string) bool) (ids []string, prints [][]byte, err error) {
	if !clean(session) {
		return nil, nil, nil
	}
	err = s.read(ctx, "reading what was seen", func(tx *sql.Tx) error {
		ids, prints = nil, nil
		var all []string
		err := each(ctx, tx, func(r *sql.Rows) error {
			var id string
			if err := r.Scan(&id); err != nil {
				return err
			}
			all = append(all, id)
			return nil
		}, `SELECT id FROM session_sources WHERE session = $1 ORDER BY at, id`, session)
		for _, id := range all {
			if err != nil || known(id) {
				continue
			}
			var raw []byte
			if err = tx.QueryRowContext(ctx, `SELECT prints FROM session_sources WHERE session = $1 AND id = $2`, session, id).Scan(&raw); err == nil {
				ids, prints = append(ids, id), append(prints, raw)
			}
		}
		return err
	})
	return ids, prints, err
}
