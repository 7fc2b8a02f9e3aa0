package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/fact"
	"rutile/internal/grant"
)

// chargesOf returns charges in the order every transaction takes their counters.
func chargesOf(charges []access.Charge) ([]*access.Charge, error) {
	out := make([]*access.Charge, len(charges))
	for i := range charges {
		c := &charges[i]
		if err := errors.Join(checkKey("the id of a fact", c.Fact), checkKey("the key of a counter", c.Key)); err != nil {
			return nil, err
		}
		if c.Amount < 0 || c.Amount > access.MaxAmount || c.Bucket < 0 {
			return nil, access.Errorf(access.CodeInvalid, "fact %s: %d is no amount", c.Fact, c.Amount)
		}
		out[i] = c
	}
	slices.SortFunc(out, func(x, y *access.Charge) int { return cmp.Or(cmp.Compare(x.Fact, y.Fact), cmp.Compare(x.Key, y.Key)) })
	return out, nil
}

// lockCounter makes everybody else who changes the counter wait.
func lockCounter(ctx context.Context, tx *sql.Tx, id, key string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO fact_counters (fact, key, bucket, value, spent, reserved, ends) VALUES ($1, $2, -1, $3, 0, 0, 0)
		ON CONFLICT (fact, key, bucket, value) DO UPDATE SET reserved = fact_counters.reserved`, id, key, []byte{})
	return err
}

// reserveCharges adds what the use adds to each counter, and sets the totals.
func reserveCharges(ctx context.Context, tx *sql.Tx, u grant.Use) error {
	charges, err := chargesOf(u.Charges)
	if err != nil {
		return err
	}
	for _, c := range charges {
		if err := lockCounter(ctx, tx, c.Fact, c.Key); err != nil {
			return err
		}
		if err := counted(ctx, tx, c); err != nil {
			return err
		}
		if c.Total > access.MaxTotal-c.Amount {
			return access.Errorf(access.CodeTooLarge, "fact %s cannot be computed: its counter is full", c.Fact)
		}
		value := valueOf(c)
		_, err := tx.ExecContext(ctx, `INSERT INTO fact_counters (fact, key, bucket, value, spent, reserved, ends) VALUES ($1, $2, $3, $4, 0, $5, $6)
			ON CONFLICT (fact, key, bucket, value) DO UPDATE SET reserved = fact_counters.reserved + excluded.reserved, ends = excluded.ends`,
			c.Fact, c.Key, c.Bucket, value, c.Amount, micros(c.Ends))
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO fact_uses (use_id, fact, key, bucket, value, amount, node, boot) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			u.ID, c.Fact, c.Key, c.Bucket, value, c.Amount, u.Node, u.Boot); err != nil {
			return err
		}
		c.Total += c.Amount
	}
	return nil
}

func valueOf(c *access.Charge) []byte {
	if c.Value == nil {
		return []byte{}
	}
	return c.Value
}

// counted sets what a counter holds without c.
func counted(ctx context.Context, tx *sql.Tx, c *access.Charge) error {
	if c.Value != nil {
		c.Others = 0
		return tx.QueryRowContext(ctx, `SELECT count(DISTINCT value) FROM fact_counters WHERE fact = $1 AND key = $2 AND bucket > $3 AND value <> $4 AND spent + reserved > 0`,
			c.Fact, c.Key, c.Since, c.Value).Scan(&c.Total)
	}
	return tx.QueryRowContext(ctx, `SELECT CAST(COALESCE(sum(spent + reserved), 0) AS BIGINT), CAST(COALESCE(sum(reserved), 0) AS BIGINT) FROM fact_counters WHERE fact = $1 AND key = $2 AND bucket > $3`,
		c.Fact, c.Key, c.Since).Scan(&c.Total, &c.Others)
}

// Counted sets the Total and Others of each charge to what is counted without it.
func (s *Store) Counted(ctx context.Context, charges []access.Charge) error {
	list, err := chargesOf(charges)
	if err != nil {
		return err
	}
	return s.read(ctx, "reading counters", func(tx *sql.Tx) error {
		for _, c := range list {
			if err := counted(ctx, tx, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// Buckets returns what a counter holds without c, by the bucket it leaves with.
func (s *Store) Buckets(ctx context.Context, c access.Charge) ([]fact.Held, error) {
	query, args := `SELECT bucket, CAST(sum(spent + reserved) AS BIGINT) FROM fact_counters WHERE fact = $1 AND key = $2 AND bucket > $3 GROUP BY bucket`, []any{c.Fact, c.Key, c.Since}
	if c.Value != nil {
		query = `SELECT newest, count(*) FROM (SELECT max(bucket) AS newest FROM fact_counters
			WHERE fact = $1 AND key = $2 AND bucket > $3 AND value <> $4 AND spent + reserved > 0 GROUP BY value) v GROUP BY newest`
		args = append(args, c.Value)
	}
	var out []fact.Held
	err := s.read(ctx, "reading a counter", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var h fact.Held
			if err := r.Scan(&h.Bucket, &h.Amount); err != nil {
				return err
			}
			out = append(out, h)
			return nil
		}, query, args...)
	})
	return out, err
}

// heldCharge is what one use holds of one counter.
type heldCharge struct {
	use, fact, key string
	bucket, amount int64
	value          []byte
}

// settleCharges moves what uses hold out of what is reserved, all of them to the
// same end. where and args select them.
func settleCharges(ctx context.Context, tx *sql.Tx, to grant.State, where string, args ...any) error {
	var held []heldCharge
	err := each(ctx, tx, func(r *sql.Rows) error {
		var h heldCharge
		if err := r.Scan(&h.use, &h.fact, &h.key, &h.bucket, &h.value, &h.amount); err != nil {
			return err
		}
		h.value = append([]byte{}, h.value...) // an empty one may be read as none
		held = append(held, h)
		return nil
	}, `SELECT use_id, fact, key, bucket, value, amount FROM fact_uses WHERE `+where+` ORDER BY fact, key, use_id`, args...)
	if err != nil {
		return err
	}
	for _, h := range held {
		if err := lockCounter(ctx, tx, h.fact, h.key); err != nil {
			return err
		}
		r, err := tx.ExecContext(ctx, `DELETE FROM fact_uses WHERE use_id = $1 AND fact = $2`, h.use, h.fact)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			continue // somebody has settled it meanwhile
		}
		spent := h.amount
		if to == grant.UseReleased {
			spent = 0
		}
		r, err = tx.ExecContext(ctx, `UPDATE fact_counters SET reserved = reserved - $5, spent = spent + $6 WHERE fact = $1 AND key = $2 AND bucket = $3 AND value = $4`,
			h.fact, h.key, h.bucket, h.value, h.amount, spent)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil {
			return err
		} else if n != 1 {
			return rowError{"fact_counters", h.fact}
		}
	}
	return nil
}

// Counters returns the counters of a fact with something in a bucket after since.
func (s *Store) Counters(ctx context.Context, id string, since int64, distinct bool, limit int) ([]fact.Counter, error) {
	total := `CAST(sum(spent + reserved) AS BIGINT)`
	if distinct {
		total = `count(DISTINCT value)`
	}
	var out []fact.Counter
	err := s.read(ctx, "reading counters", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var c fact.Counter
			if err := r.Scan(&c.Key, &c.Total, &c.Reserved); err != nil {
				return err
			}
			out = append(out, c)
			return nil
		}, `SELECT key, `+total+`, CAST(sum(reserved) AS BIGINT) FROM fact_counters WHERE fact = $1 AND bucket > $2 AND spent + reserved > 0
			GROUP BY key ORDER BY key LIMIT `+fmt.Sprint(min(limit, maxFound)), id, since)
	})
	return out, err
}

// PutMark keeps a mark; of two with one digest the one that ends later stands.
func (s *Store) PutMark(ctx context.Context, m fact.Mark) error {
	if err := errors.Join(checkKey("the id of a fact", m.Fact), checkKey("the key of a fact", m.Key), checkText("the agent of what is remembered", m.Agent)); err != nil {
		return err
	}
	_, err := s.exec(ctx, "remembering a call", `INSERT INTO fact_marks (fact, digest, key, at, ends, agent) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (fact, digest) DO UPDATE SET at = excluded.at, ends = excluded.ends WHERE excluded.ends > fact_marks.ends`,
		m.Fact, m.Digest[:], m.Key, micros(m.At), micros(m.Ends), m.Agent)
	return err
}

// Mark returns when the mark of this digest ends, ok false if there is none.
func (s *Store) Mark(ctx context.Context, id string, digest [32]byte) (time.Time, bool, error) {
	var ends int64
	ok, err := s.one(ctx, "reading what is remembered", `SELECT ends FROM fact_marks WHERE fact = $1 AND digest = $2`, []any{id, digest[:]}, []any{&ends})
	return fromMicros(ends), ok, err
}

// Marks returns the marks that end after at, newest first; of one fact or of all.
// A limit of 0 is none.
func (s *Store) Marks(ctx context.Context, id string, at time.Time, limit int) ([]fact.Mark, error) {
	query, args := `SELECT fact, digest, key, at, ends, agent FROM fact_marks WHERE ends > $1`, []any{micros(at)}
	if id != "" {
		query, args = query+` AND fact = $2`, append(args, id)
	}
	query += ` ORDER BY at DESC, digest`
	if limit > 0 {
		query += fmt.Sprintf(" LIMIT %d", limit)
	}
	var out []fact.Mark
	err := s.read(ctx, "reading what is remembered", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var m fact.Mark
			var digest []byte
			var at, ends int64
			if err := r.Scan(&m.Fact, &digest, &m.Key, &at, &ends, &m.Agent); err != nil {
				return err
			}
			if len(digest) != len(m.Digest) {
				return rowError{"fact_marks", m.Fact}
			}
			m.Digest, m.At, m.Ends = [32]byte(digest), fromMicros(at), fromMicros(ends)
			out = append(out, m)
			return nil
		}, query, args...)
	})
	return out, err
}

// FactSecret returns the sealed secret of digests, storing made's result if there
// is none. It is atomic.
func (s *Store) FactSecret(ctx context.Context, made func() ([]byte, error)) ([]byte, error) {
	const query = `SELECT sealed FROM fact_secret WHERE one = 1`
	var sealed []byte
	if ok, err := s.one(ctx, "reading the secret of facts", query, nil, []any{&sealed}); ok || err != nil {
		return sealed, err
	}
	fresh, err := made()
	if err != nil {
		return nil, err
	}
	if _, err := s.exec(ctx, "keeping the secret of facts", `INSERT INTO fact_secret (one, sealed) VALUES (1, $1) ON CONFLICT DO NOTHING`, fresh); err != nil {
		return nil, err
	}
	_, err = s.one(ctx, "reading the secret of facts", query, nil, []any{&sealed})
	return sealed, err
}

// PruneFacts removes what has ended before at. What a call under way holds stays.
func (s *Store) PruneFacts(ctx context.Context, at time.Time) error {
	if _, err := s.exec(ctx, "forgetting counters", `DELETE FROM fact_counters WHERE ends < $1 AND bucket >= 0 AND reserved = 0`, micros(at)); err != nil {
		return err
	}
	if _, err := s.exec(ctx, "forgetting counters", `DELETE FROM fact_counters WHERE bucket < 0 AND NOT EXISTS
		(SELECT 1 FROM fact_counters c WHERE c.fact = fact_counters.fact AND c.key = fact_counters.key AND c.bucket >= 0)`); err != nil {
		return err
	}
	_, err := s.exec(ctx, "forgetting what is over", `DELETE FROM fact_marks WHERE ends < $1`, micros(at))
	return err
}

// LoadFacts returns the declared facts sorted by id.
func (s *Store) LoadFacts(ctx context.Context) ([]fact.Fact, error) {
	var out []fact.Fact
	err := s.read(ctx, "loading the facts", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var id, doc string
			if err := r.Scan(&id, &doc); err != nil {
				return err
			}
			var f fact.Fact
			if err := decode("facts", id, doc, &f); err != nil {
				return err
			}
			f.ID = id
			out = append(out, exactFact(f))
			return nil
		}, `SELECT id, doc FROM facts ORDER BY id`)
	})
	return out, err
}

func factRow(id string, f fact.Fact) ([]any, error) {
	if err := named("fact", id, f.ID); err != nil {
		return nil, err
	}
	doc, err := encode(fmt.Sprintf("fact %q", id), exactFact(f))
	return []any{id, doc}, err
}

func exactFact(f fact.Fact) fact.Fact {
	f.Created, f.Changed = exact(f.Created), exact(f.Changed)
	return f
}
