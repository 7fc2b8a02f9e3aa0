package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"rutile/internal/access"
	"rutile/internal/identity"
)

// LoadSigningKeys returns the token keys, oldest first.
func (s *Store) LoadSigningKeys(ctx context.Context) ([]identity.SigningKey, error) {
	var out []identity.SigningKey
	err := s.read(ctx, "loading the token keys", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var k identity.SigningKey
			var created int64
			var retired sql.NullInt64
			if err := r.Scan(&k.ID, &k.Alg, &k.Sealed, &created, &retired); err != nil {
				return err
			}
			k.Created = fromMicros(created)
			if retired.Valid {
				k.Retired = fromMicros(retired.Int64)
			}
			out = append(out, k)
			return nil
		}, `SELECT id, alg, sealed, created, retired FROM signing_keys ORDER BY created, id`)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// SaveSigningKey stores a token key. A retired key stays retired: saving it as
// one that signs is an access.CodeConflict error.
func (s *Store) SaveSigningKey(ctx context.Context, k identity.SigningKey) error {
	if err := errors.Join(checkKey("the id of a token key", k.ID), checkText("the algorithm of a token key", k.Alg)); err != nil {
		return err
	}
	if len(k.Sealed) == 0 {
		return access.Errorf(access.CodeInvalid, "token key %q holds no key", k.ID)
	}
	var retired any
	if !k.Retired.IsZero() {
		retired = micros(k.Retired)
	}
	n, err := s.exec(ctx, "storing a token key",
		`INSERT INTO signing_keys (id, alg, sealed, created, retired) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET alg = excluded.alg, sealed = excluded.sealed, created = excluded.created, retired = excluded.retired
		WHERE signing_keys.retired IS NULL OR excluded.retired IS NOT NULL`,
		k.ID, k.Alg, k.Sealed, micros(k.Created), retired)
	if err == nil && n == 0 {
		return access.Errorf(access.CodeConflict, "token key %q is retired and cannot sign again: make another", k.ID)
	}
	return err
}

// familyMade is what a session is stored with; nothing stands against a new one.
const (
	familyMade    = `id, parent, agent, subject, proof, source, task, opened, last, absolute`
	familyColumns = familyMade + `, state, why`
)

// family scans familyColumns.
type family struct {
	identity.Family
	opened, last, absolute int64
}

func (f *family) dest() []any {
	return []any{&f.ID, &f.Parent, &f.Agent, &f.Subject, &f.Proof, &f.Source, &f.Task, &f.opened, &f.last, &f.absolute, &f.State, &f.Why}
}

func (f *family) value() identity.Family {
	f.Opened, f.Last, f.Absolute = fromMicros(f.opened), fromMicros(f.last), fromMicros(f.absolute)
	return f.Family
}

// LoadFamily returns a family by id; ok is false if there is none.
func (s *Store) LoadFamily(ctx context.Context, id string) (identity.Family, bool, error) {
	if !clean(id) {
		return identity.Family{}, false, nil // none was ever stored
	}
	var f family
	ok, err := s.one(ctx, "loading a session", `SELECT `+familyColumns+` FROM families WHERE id = $1`, []any{id}, f.dest())
	if err != nil || !ok {
		return identity.Family{}, false, err
	}
	return f.value(), true, nil
}

// JoinFamily returns the open family of f's agent, subject, proof and task, or
// stores and returns f. f.Last is the present.
func (s *Store) JoinFamily(ctx context.Context, f identity.Family, idle time.Duration) (identity.Family, error) {
	err := checkKey("the id of a session", f.ID)
	for _, text := range []string{f.Parent, f.Agent, f.Subject, f.Proof, f.Source, f.Task} {
		err = errors.Join(err, checkText("a word of a session", text))
	}
	if err != nil {
		return identity.Family{}, err
	}
	s.sweep(ctx)
	f.Opened, f.Last, f.Absolute = exact(f.Opened), exact(f.Last), exact(f.Absolute)
	var out identity.Family
	err = s.write(ctx, "opening a session", func(tx *sql.Tx) error {
		out = f
		// The head row is the lock: whoever comes second waits here for the first.
		head := digest(f.Agent, f.Subject, f.Proof, f.Task)
		var current string
		err := tx.QueryRowContext(ctx,
			`INSERT INTO family_heads (digest, family) VALUES ($1, $2)
			ON CONFLICT (digest) DO UPDATE SET family = family_heads.family RETURNING family`, head, f.ID).Scan(&current)
		if err != nil {
			return err
		}
		if current != f.ID {
			joined, err := join(ctx, tx, current, f, idle)
			if err != nil || joined != nil {
				if joined != nil {
					out = *joined
				}
				return err
			}
			if _, err := tx.ExecContext(ctx, `UPDATE family_heads SET family = $2 WHERE digest = $1`, head, f.ID); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO families (`+familyMade+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			f.ID, f.Parent, f.Agent, f.Subject, f.Proof, f.Source, f.Task, micros(f.Opened), micros(f.Last), micros(f.Absolute))
		return err
	})
	if err != nil {
		return identity.Family{}, err
	}
	return out, nil
}

// join returns the family current if it is still open at f.Last, nil if not.
func join(ctx context.Context, tx *sql.Tx, current string, f identity.Family, idle time.Duration) (*identity.Family, error) {
	var row family
	err := tx.QueryRowContext(ctx, `SELECT `+familyColumns+` FROM families WHERE id = $1`, current).Scan(row.dest()...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil // swept
	}
	if err != nil {
		return nil, err
	}
	old := row.value()
	switch old.State {
	case "":
	case identity.SessionQuarantined:
		return &old, nil // whoever is in it waits with it
	default:
		return nil, nil
	}
	if f.Last.After(old.Last.Add(idle)) || !f.Last.Before(old.Absolute) {
		return nil, nil
	}
	if f.Last.After(old.Last) { // a clock that went back must not shorten a session
		old.Last = f.Last
		if _, err := tx.ExecContext(ctx, `UPDATE families SET last = $2 WHERE id = $1`, old.ID, micros(old.Last)); err != nil {
			return nil, err
		}
	}
	return &old, nil
}

// UseAssertion records (issuer, jti) until expires; false means a replay. Both
// come from outside and are kept as a digest.
func (s *Store) UseAssertion(ctx context.Context, issuer, jti string, expires time.Time) (bool, error) {
	s.sweep(ctx)
	n, err := s.exec(ctx, "recording a client assertion",
		`INSERT INTO assertions (digest, expires) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING`, digest(issuer, jti), micros(expires))
	return err == nil && n == 1, err
}

const (
	// sweepEvery is how often rows nobody needs are looked for, sweepRows how many
	// are removed at most each time: more than can be made meanwhile.
	sweepEvery = time.Minute
	sweepRows  = 100_000
	// assertionGrace and familyGrace are how long rows are kept beyond their end,
	// so that a clock set back does not make a replay fresh.
	assertionGrace = time.Hour
	familyGrace    = 24 * time.Hour
	// noticeLife is after how long what is still so is told again.
	noticeLife = 90 * 24 * time.Hour
)

// sweep removes assertions and families that ended long ago. It is not worth
// failing for: what stays is removed the next time.
func (s *Store) sweep(ctx context.Context) {
	now := s.now()
	if !s.sweeping.TryLock() {
		return
	}
	defer s.sweeping.Unlock()
	if since := now.Sub(s.swept); since >= 0 && since < sweepEvery {
		return
	}
	s.swept = now
	for _, q := range []struct {
		query string
		grace time.Duration
	}{
		{`DELETE FROM assertions WHERE digest IN (SELECT digest FROM assertions WHERE expires < $1 ORDER BY expires LIMIT $2)`, assertionGrace},
		{`DELETE FROM signals WHERE done = 1 AND (source, jti) IN (SELECT source, jti FROM signals WHERE done = 1 AND until < $1 LIMIT $2)`, assertionGrace},
		{`DELETE FROM provider_sessions WHERE sid IN (SELECT sid FROM provider_sessions WHERE until < $1 LIMIT $2)`, assertionGrace},
		{`DELETE FROM notices WHERE (channel, item) IN (SELECT channel, item FROM notices WHERE told < $1 LIMIT $2)`, noticeLife},
		{`DELETE FROM family_heads WHERE family IN (SELECT id FROM families WHERE absolute < $1 AND state <> 'quarantined' ORDER BY absolute LIMIT $2)`, familyGrace},
		{`DELETE FROM placeholders WHERE session IN (SELECT p.session FROM placeholders p LEFT JOIN families f ON f.id = p.session WHERE f.id IS NULL OR f.absolute < $1 AND f.state <> 'quarantined' LIMIT $2)`, 0},
		{`DELETE FROM placeholder_keys WHERE session IN (SELECT p.session FROM placeholder_keys p LEFT JOIN families f ON f.id = p.session WHERE f.id IS NULL OR f.absolute < $1 AND f.state <> 'quarantined' LIMIT $2)`, 0},
		{`DELETE FROM session_sources WHERE session IN (SELECT p.session FROM session_sources p LEFT JOIN families f ON f.id = p.session WHERE f.id IS NULL OR f.absolute < $1 AND f.state <> 'quarantined' LIMIT $2)`, 0},
		{`DELETE FROM session_labels WHERE session IN (SELECT p.session FROM session_labels p LEFT JOIN families f ON f.id = p.session WHERE f.id IS NULL OR f.absolute < $1 AND f.state <> 'quarantined' LIMIT $2)`, familyGrace},
		{`DELETE FROM families WHERE id IN (SELECT id FROM families WHERE absolute < $1 AND state <> 'quarantined' ORDER BY absolute LIMIT $2)`, familyGrace},
	} {
		if _, err := s.exec(ctx, "removing old rows", q.query, micros(now.Add(-q.grace)), int64(sweepRows)); err != nil {
			if ctx.Err() == nil {
				s.log.Warn("old rows were not removed from the store", "error", err)
			}
			return
		}
	}
}
