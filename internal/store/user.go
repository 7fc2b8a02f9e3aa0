package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"rutile/internal/admin"
	"rutile/internal/registry"
)

func (s *Store) loadUsers(ctx context.Context, tx *sql.Tx, c *registry.Content) error {
	return each(ctx, tx, func(r *sql.Rows) error {
		var id, state, doc string
		if err := r.Scan(&id, &state, &doc); err != nil {
			return err
		}
		var u registry.User
		if err := decode("users", id, doc, &u); err != nil {
			return err
		}
		u.ID, u.State = id, registry.UserState(state)
		stranger(s, userStates(), u.State, "users", id)
		c.Users = append(c.Users, exactUser(u))
		return nil
	}, `SELECT id, state, doc FROM users ORDER BY id`)
}

func userStates() []registry.UserState {
	return []registry.UserState{registry.UserActive, registry.UserSuspended, registry.UserRetired}
}

func userRow(id string, u registry.User) ([]any, error) {
	what := fmt.Sprintf("user %q", id)
	if err := named("user", id, u.ID); err != nil {
		return nil, err
	}
	if err := checkState(userStates(), u.State, what); err != nil {
		return nil, err
	}
	doc, err := encode(what, exactUser(u))
	return []any{id, string(u.State), doc}, err
}

func exactUser(u registry.User) registry.User {
	u.Created, u.Changed = exact(u.Created), exact(u.Changed)
	if !u.Expires.IsZero() {
		u.Expires = exact(u.Expires)
	}
	if !u.SignedOut.IsZero() {
		u.SignedOut = exact(u.SignedOut)
	}
	u.Tokens = slices.Clone(u.Tokens)
	for i := range u.Tokens {
		u.Tokens[i].Created, u.Tokens[i].Expires = exact(u.Tokens[i].Created), exact(u.Tokens[i].Expires)
	}
	u.Factors = slices.Clone(u.Factors)
	for i := range u.Factors {
		u.Factors[i].Created = exact(u.Factors[i].Created)
	}
	return u
}

// TokenUsed notes that a personal token was used. It also forgets uses that are
// older than any token lives, so that the table does not grow.
func (s *Store) TokenUsed(ctx context.Context, id string, at time.Time) error {
	if err := checkKey("the id of a token", id); err != nil {
		return err
	}
	return s.write(ctx, "noting the use of a token", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO token_uses (token, used) VALUES ($1, $2)
			ON CONFLICT (token) DO UPDATE SET used = excluded.used WHERE token_uses.used < excluded.used`, id, micros(at)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM token_uses WHERE used < $1`, micros(at.Add(-admin.MaxUserTokenTTL)))
		return err
	})
}

// TokenUses returns when each personal token was last noted to be used.
func (s *Store) TokenUses(ctx context.Context) (map[string]time.Time, error) {
	var out map[string]time.Time
	err := s.read(ctx, "reading the uses of tokens", func(tx *sql.Tx) error {
		out = map[string]time.Time{}
		return each(ctx, tx, func(r *sql.Rows) error {
			var id string
			var used int64
			if err := r.Scan(&id, &used); err != nil {
				return err
			}
			out[id] = fromMicros(used)
			return nil
		}, `SELECT token, used FROM token_uses`)
	})
	return out, err
}
