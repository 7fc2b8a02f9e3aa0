package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"rutile/internal/notice"
	"rutile/internal/registry"
	"rutile/internal/signal"
)

var _ signal.Inbox = (*Store)(nil)

// TakeSignal keeps what was told, unless it is kept already, and returns what is kept.
func (s *Store) TakeSignal(ctx context.Context, t signal.Told) (kept signal.Told, fresh bool, err error) {
	if err := errors.Join(checkKey("the source of a signal", t.Source), checkText("a signal", string(t.Doc))); err != nil {
		return kept, false, err
	}
	s.sweep(ctx)
	key := digest(t.ID)
	n, err := s.exec(ctx, "keeping a signal", `INSERT INTO signals (source, jti, doc, at, until, done) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (source, jti) DO NOTHING`,
		t.Source, key, string(t.Doc), micros(t.At), micros(t.Until), whether(t.Done))
	if err != nil || n == 1 {
		return t, n == 1, err
	}
	err = s.read(ctx, "reading a signal", func(tx *sql.Tx) error {
		kept = signal.Told{Source: t.Source, ID: t.ID}
		return scanSignal(tx.QueryRowContext(ctx, `SELECT doc, at, until, done FROM signals WHERE source = $1 AND jti = $2`, t.Source, key), &kept)
	})
	return kept, false, err
}

func scanSignal(r interface{ Scan(...any) error }, t *signal.Told, more ...any) error {
	var doc string
	var at, until, done int64
	if err := r.Scan(append([]any{&doc, &at, &until, &done}, more...)...); err != nil {
		return err
	}
	t.Doc, t.At, t.Until, t.Done = []byte(doc), fromMicros(at), fromMicros(until), done == 1
	return nil
}

func whether(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// SignalDone says that a signal was acted on.
func (s *Store) SignalDone(ctx context.Context, source, id string) error {
	_, err := s.exec(ctx, "keeping that a signal was acted on", `UPDATE signals SET done = 1 WHERE source = $1 AND jti = $2`, source, digest(id))
	return err
}

// SignalsWaiting returns signals of a source that were not acted on, the oldest first,
// without their ids.
func (s *Store) SignalsWaiting(ctx context.Context, source string, limit int) ([]signal.Told, error) {
	var out []signal.Told
	err := s.read(ctx, "reading signals that wait", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var t signal.Told
			if err := scanSignal(r, &t, &t.Source); err != nil {
				return err
			}
			out = append(out, t)
			return nil
		}, `SELECT doc, at, until, done, source FROM signals WHERE done = 0 AND source = $1 ORDER BY at LIMIT $2`, source, int64(limit))
	})
	return out, err
}

// SignalsKept says of each source what of it is kept.
func (s *Store) SignalsKept(ctx context.Context) (map[string]signal.Kept, error) {
	out := map[string]signal.Kept{}
	err := s.read(ctx, "reading what was told", func(tx *sql.Tx) error {
		clear(out)
		return each(ctx, tx, func(r *sql.Rows) error {
			var source string
			var last, waiting int64
			if err := r.Scan(&source, &last, &waiting); err != nil {
				return err
			}
			out[source] = signal.Kept{Last: fromMicros(last), Waiting: int(waiting)}
			return nil
		}, `SELECT source, MAX(at), SUM(1 - done) FROM signals WHERE source NOT LIKE 'sign-in:%' GROUP BY source`)
	})
	return out, err
}

// PutProviderSession keeps whose a session at an identity provider is.
func (s *Store) PutProviderSession(ctx context.Context, issuer, session, subject string, until time.Time) error {
	if err := checkText("the subject of an identity provider", subject); err != nil {
		return err
	}
	s.sweep(ctx)
	_, err := s.exec(ctx, "keeping a session at an identity provider", `INSERT INTO provider_sessions (sid, subject, until) VALUES ($1, $2, $3)
		ON CONFLICT (sid) DO UPDATE SET subject = excluded.subject, until = excluded.until`, digest(issuer, session), subject, micros(until))
	return err
}

// ProviderSession returns whose a session at an identity provider is, false if nobody's
// that is known.
func (s *Store) ProviderSession(ctx context.Context, issuer, session string) (subject string, ok bool, err error) {
	err = s.read(ctx, "reading a session at an identity provider", func(tx *sql.Tx) error {
		subject, ok = "", false
		err := tx.QueryRowContext(ctx, `SELECT subject FROM provider_sessions WHERE sid = $1`, digest(issuer, session)).Scan(&subject)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		ok = err == nil
		return err
	})
	return subject, ok, err
}

// The kinds of signal_objects, which has declared objects of labels too.
const (
	signalKind = "source"
	mailKind   = "mail"
	labelKind  = "label"
)

// objectChange is what a commit does to declared objects of a kind.
func objectChange[T any](kind string, objects map[string]*T) (change, error) {
	return changeOf(sorted(objects), `DELETE FROM signal_objects WHERE kind = $1 AND id = $2`,
		`INSERT INTO signal_objects (kind, id, doc, rev) VALUES ($1, $2, $3, 1) ON CONFLICT (kind, id) DO UPDATE SET doc = excluded.doc, rev = signal_objects.rev + 1`,
		func(id string) []any { return []any{kind, id} },
		func(id string, v T) ([]any, error) {
			doc, err := encode(fmt.Sprintf("%s %q", kind, id), v)
			return []any{kind, id, doc}, err
		})
}

// objects returns the declared objects of a kind, sorted by id.
func objects[T any](ctx context.Context, s *Store, kind string) ([]T, error) {
	var out []T
	err := s.read(ctx, "loading what is declared", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var id, doc string
			if err := r.Scan(&id, &doc); err != nil {
				return err
			}
			var v T
			if err := decode("signal_objects", id, doc, &v); err != nil {
				return err
			}
			out = append(out, v)
			return nil
		}, `SELECT id, doc FROM signal_objects WHERE kind = $1 ORDER BY id`, kind)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// LoadSignals returns the declared sources of signals sorted by id.
func (s *Store) LoadSignals(ctx context.Context) ([]signal.Source, error) {
	return objects[signal.Source](ctx, s, signalKind)
}

// LoadMails returns the declared receivers of mail sorted by id.
func (s *Store) LoadMails(ctx context.Context) ([]notice.Mail, error) {
	return objects[notice.Mail](ctx, s, mailKind)
}

// LoadLabels returns the declared labels sorted by id.
func (s *Store) LoadLabels(ctx context.Context) ([]registry.Label, error) {
	return objects[registry.Label](ctx, s, labelKind)
}

var _ notice.Notices = (*Store)(nil)

// Told returns which of the items a channel was told of.
func (s *Store) Told(ctx context.Context, channel string, items []string) (map[string]bool, error) {
	asked := map[string]bool{}
	for _, item := range items {
		asked[item] = true
	}
	out := map[string]bool{}
	err := s.read(ctx, "reading what people were told", func(tx *sql.Tx) error {
		clear(out)
		return each(ctx, tx, func(r *sql.Rows) error {
			var item string
			if err := r.Scan(&item); err != nil {
				return err
			}
			if asked[item] {
				out[item] = true
			}
			return nil
		}, `SELECT item FROM notices WHERE channel = $1`, channel)
	})
	return out, err
}

// Tell keeps that a channel was told of items and says of how many it had not been.
func (s *Store) Tell(ctx context.Context, channel string, items []string, at time.Time) (fresh int, err error) {
	if err := checkKey("a channel of notices", channel); err != nil {
		return 0, err
	}
	s.sweep(ctx)
	err = s.write(ctx, "keeping what people were told", func(tx *sql.Tx) error {
		fresh = 0
		for _, item := range items {
			r, err := tx.ExecContext(ctx, `INSERT INTO notices (channel, item, told) VALUES ($1, $2, $3) ON CONFLICT (channel, item) DO NOTHING`, channel, item, micros(at))
			if err != nil {
				return err
			}
			n, err := r.RowsAffected()
			if err != nil {
				return err
			}
			fresh += int(n)
		}
		return nil
	})
	return fresh, err
}

// claimed is the item that stands for who has a channel. Its time is how long.
const claimed = "claimed"

// Claim takes a channel of notices until a time, unless it is taken. A claim that is over
// is nobody's, and so is one that ends as long again behind until: its clock went back.
func (s *Store) Claim(ctx context.Context, channel string, now, until time.Time) (bool, error) {
	if err := checkKey("a channel of notices", channel); err != nil {
		return false, err
	}
	n, err := s.exec(ctx, "claiming who tells people", `INSERT INTO notices (channel, item, told) VALUES ($1, $2, $3)
		ON CONFLICT (channel, item) DO UPDATE SET told = excluded.told WHERE notices.told <= $4 OR notices.told > $5`,
		channel, claimed, micros(until), micros(now), micros(until.Add(until.Sub(now))))
	return n == 1, err
}

// Release gives back a claim.
func (s *Store) Release(ctx context.Context, channel string, until time.Time) error {
	_, err := s.exec(ctx, "giving back who tells people", `DELETE FROM notices WHERE channel = $1 AND item = $2 AND told = $3`, channel, claimed, micros(until))
	return err
}

// Untell takes back that a channel was told of an item.
func (s *Store) Untell(ctx context.Context, channel, item string) error {
	_, err := s.exec(ctx, "taking back what people were told", `DELETE FROM notices WHERE channel = $1 AND item = $2`, channel, item)
	return err
}
