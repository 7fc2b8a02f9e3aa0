package store

import (
	"context"
	"database/sql"
	"errors"

	"rutile/internal/access"
	"rutile/internal/boundary"
)

// SessionKey returns the sealed key a session makes placeholders with; where it has
// none yet it keeps and returns fresh.
func (s *Store) SessionKey(ctx context.Context, session string, fresh []byte) (sealed []byte, err error) {
	if err := checkText("a session", session); err != nil {
		return nil, err
	}
	err = s.write(ctx, "keeping the key of a session", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO placeholder_keys (session, sealed) VALUES ($1, $2) ON CONFLICT (session) DO NOTHING`, session, fresh); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT sealed FROM placeholder_keys WHERE session = $1`, session).Scan(&sealed)
	})
	return sealed, err
}

// PutPlaceholders keeps placeholders; one that is there already stays.
func (s *Store) PutPlaceholders(ctx context.Context, rows []boundary.Row) error {
	for _, r := range rows {
		if err := errors.Join(checkText("a session", r.Session), checkText("a placeholder", r.Token), checkText("a server", r.Server), checkText("a tool", r.Tool)); err != nil {
			return err
		}
	}
	return s.write(ctx, "keeping placeholders", func(tx *sql.Tx) error {
		for _, r := range rows {
			if _, err := tx.ExecContext(ctx, `INSERT INTO placeholders (session, token, label, kind, server, tool, sealed, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
				ON CONFLICT (session, token) DO NOTHING`, r.Session, r.Token, r.Label, r.Kind, r.Server, r.Tool, r.Sealed, micros(r.At)); err != nil {
				return err
			}
		}
		return nil
	})
}

// maxAskedFor bounds how many placeholders are looked up for one call.
const maxAskedFor = 256

// Placeholders returns those of tokens that belong to a session that is open.
func (s *Store) Placeholders(ctx context.Context, session string, tokens []string) ([]boundary.Row, error) {
	if len(tokens) > maxAskedFor {
		return nil, access.Errorf(access.CodeTooLarge, "the arguments hold %d placeholders, more than %d", len(tokens), maxAskedFor)
	}
	if !clean(session) {
		return nil, nil
	}
	var out []boundary.Row
	err := s.read(ctx, "finding placeholders", func(tx *sql.Tx) error {
		out = nil
		for _, t := range tokens {
			if !clean(t) {
				continue
			}
			r := boundary.Row{Session: session, Token: t}
			err := tx.QueryRowContext(ctx, `SELECT p.label, p.kind, p.server, p.tool, p.sealed FROM placeholders p JOIN families f ON f.id = p.session
				WHERE p.session = $1 AND p.token = $2 AND f.state = '' AND f.absolute > $3`, session, t, micros(s.now())).Scan(&r.Label, &r.Kind, &r.Server, &r.Tool, &r.Sealed)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			out = append(out, r)
		}
		return nil
	})
	return out, err
}

// dropSeen removes the values that were kept of sessions that are over. What they
// touched stays, for people.
func dropSeen(ctx context.Context, tx *sql.Tx, sessions []string) error {
	for _, id := range sessions {
		for _, q := range []string{`DELETE FROM placeholders WHERE session = $1`, `DELETE FROM placeholder_keys WHERE session = $1`, `DELETE FROM session_sources WHERE session = $1`} {
			if _, err := tx.ExecContext(ctx, q, id); err != nil {
				return err
			}
		}
	}
	return nil
}
