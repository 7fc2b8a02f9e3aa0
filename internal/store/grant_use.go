package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
)

// counts are the counting columns of a grant, in the order of countColumns.
type counts struct {
	c    grant.Counts
	used int64
}

func (c *counts) dest() []any {
	return []any{&c.c.Spent, &c.c.Reserved, &c.c.Carved, &c.c.Amount.Spent, &c.c.Amount.Reserved, &c.c.Amount.Carved, &c.c.RunningCarved, &c.c.WindowCarved, &c.c.Bytes, &c.c.BytesCarved, &c.used, &c.c.Seq}
}

func (c *counts) counts() grant.Counts {
	out := c.c
	if c.used != 0 {
		out.Used = fromMicros(c.used)
	}
	return out
}

// length is a number of seconds as the store keeps it.
func length(seconds int64) int64 { return grant.Seconds(seconds).Microseconds() }

// ReserveUse takes one use of a grant that is active, in its time and has room for
// it, and returns the counts after it. Otherwise it changes nothing and returns a
// CodeConflict error, a *grant.Busy where its window is full.
func (s *Store) ReserveUse(ctx context.Context, u grant.Use) (grant.Counts, error) {
	if err := errors.Join(checkKey("the id of a use", u.ID), checkKey("the decision of a use", u.Decision)); err != nil {
		return grant.Counts{}, err
	}
	if u.Amount < 0 {
		return grant.Counts{}, access.Errorf(access.CodeInvalid, "a use takes 0 or more of a budget, not %d", u.Amount)
	}
	var c counts
	err := s.write(ctx, "reserving a use", func(tx *sql.Tx) error {
		c = counts{}
		if u.Grant == "" {
			return reserveCharges(ctx, tx, u)
		}
		var most, stretch int64
		err := tx.QueryRowContext(ctx, `UPDATE grants SET uses_reserved = uses_reserved + 1, amount_reserved = amount_reserved + $3, seq = seq + 1,
				used_at = CASE WHEN used_at > $2 THEN used_at ELSE $2 END
			WHERE id = $1 AND state = 'active' AND not_before <= $2 AND $2 < expires
				AND (uses_max = 0 OR uses_spent + uses_reserved + uses_carved + 1 <= uses_max)
				AND (amount_max = 0 OR amount_spent + amount_reserved + amount_carved + $3 <= amount_max)
				AND (running_max = 0 OR uses_reserved + running_carved + 1 <= running_max)
				AND (bytes_max = 0 OR bytes_spent + bytes_carved < bytes_max)
				AND (idle_length = 0 OR uses_reserved > 0 OR $2 - idle_length < CASE WHEN used_at > not_before THEN used_at ELSE not_before END)
			RETURNING window_uses, window_length, `+countColumns, u.Grant, micros(u.At), u.Amount).Scan(append([]any{&most, &stretch}, c.dest()...)...)
		if errors.Is(err, sql.ErrNoRows) {
			return access.Errorf(access.CodeConflict, "grant %s covers no further call", u.Grant)
		}
		if err != nil {
			return err
		}
		if most > 0 {
			if err := inWindow(ctx, tx, u, most-c.c.WindowCarved, stretch); err != nil {
				return err
			}
		}
		r, err := tx.ExecContext(ctx, `INSERT INTO grant_uses (id, grant_id, decision, state, node, boot, at, amount) VALUES ($1, $2, $3, 'reserved', $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
			u.ID, u.Grant, u.Decision, u.Node, u.Boot, micros(u.At), u.Amount)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil {
			return err
		} else if n != 1 {
			return access.Errorf(access.CodeConflict, "decision %s has reserved a use already", u.Decision)
		}
		return reserveCharges(ctx, tx, u)
	})
	return c.counts(), err
}

// inWindow refuses a use where as many were taken in the stretch of time before it.
// The row of the grant is locked by then. Uses at times that have not come yet, of a
// clock that was set back, count.
func inWindow(ctx context.Context, tx *sql.Tx, u grant.Use, most, stretch int64) error {
	var n int64
	const within = ` FROM grant_uses WHERE grant_id = $1 AND at > $2 AND state <> 'released'`
	err := tx.QueryRowContext(ctx, `SELECT count(*)`+within, u.Grant, micros(u.At)-stretch).Scan(&n)
	if err != nil || n < most {
		return err
	}
	b := &grant.Busy{Why: fmt.Sprintf("grant %s lets through %s in %v, and as many were made", u.Grant, access.Count(most, "call"), time.Duration(stretch)*time.Microsecond)}
	var next int64 // that falls out of it and leaves room
	if err := tx.QueryRowContext(ctx, `SELECT at`+within+` ORDER BY at LIMIT 1 OFFSET $3`, u.Grant, micros(u.At)-stretch, n-max(1, most)).Scan(&next); err != nil {
		return err
	}
	b.Until = fromMicros(next + stretch)
	return b
}

// SettleUse ends a reserved use as u.State says. A grant with nothing left becomes
// exhausted, and what exhaust says of it is kept with that. Settling a use that has
// ended changes nothing.
func (s *Store) SettleUse(ctx context.Context, u grant.Use, at time.Time, exhaust grant.Exhaust) (grant.Settled, error) {
	var out grant.Settled
	err := s.write(ctx, "settling a use", func(tx *sql.Tx) error {
		out = grant.Settled{}
		if u.Grant == "" {
			return settleCharges(ctx, tx, u.State, `use_id = $1`, u.ID)
		}
		var c counts
		var state string
		m := moved{to: u.State, uses: 1, bytes: max(0, u.Bytes), at: at}
		err := tx.QueryRowContext(ctx, `UPDATE grant_uses SET state = $2, ended = $3, bytes = $4 WHERE id = $1 AND state = 'reserved' RETURNING amount`,
			u.ID, string(u.State), micros(at), m.bytes).Scan(&m.amount)
		switch {
		case err == nil:
			if out.Exhausted, err = settle(ctx, tx, u.Grant, m, exhaust); err != nil {
				return err
			}
			if len(u.Charges) > 0 {
				if err := settleCharges(ctx, tx, u.State, `use_id = $1`, u.ID); err != nil {
					return err
				}
			}
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		err = tx.QueryRowContext(ctx, `SELECT state, `+countColumns+` FROM grants WHERE id = $1`, u.Grant).Scan(append([]any{&state}, c.dest()...)...)
		out.Counts, out.State = c.counts(), grant.State(state)
		return err
	})
	return out, err
}

// AddBytes counts bytes of what came of a use later, and returns the grant as it is
// then; ok is false of a use without a grant. A grant with nothing left becomes
// exhausted, and what exhaust says of it is kept with that.
func (s *Store) AddBytes(ctx context.Context, use string, bytes int64, at time.Time, exhaust grant.Exhaust) (id string, out grant.Settled, ok bool, err error) {
	err = s.write(ctx, "counting what came of a use", func(tx *sql.Tx) error {
		id, out, ok = "", grant.Settled{}, false
		err := tx.QueryRowContext(ctx, `UPDATE grant_uses SET bytes = bytes + $2 WHERE id = $1 RETURNING grant_id`, use, max(0, bytes)).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if out.Exhausted, err = settle(ctx, tx, id, moved{to: grant.UseCommitted, bytes: max(0, bytes), at: at}, exhaust); err != nil {
			return err
		}
		var c counts
		var state string
		err = tx.QueryRowContext(ctx, `SELECT state, `+countColumns+` FROM grants WHERE id = $1`, id).Scan(append([]any{&state}, c.dest()...)...)
		out.Counts, out.State, ok = c.counts(), grant.State(state), true
		return err
	})
	return id, out, ok, err
}

// moved is what moves out of what is reserved.
type moved struct {
	to                  grant.State
	uses, amount, bytes int64
	at                  time.Time
}

// settle moves uses of a grant out of what is reserved, and says that it is
// exhausted where nothing is left of it. What a grant that has ended does not spend
// after all goes back to its parent.
func settle(ctx context.Context, tx *sql.Tx, id string, m moved, exhaust grant.Exhaust) (exhausted bool, err error) {
	parent, state, err := move(ctx, tx, id, m)
	if err != nil {
		return false, err
	}
	r, err := tx.ExecContext(ctx, `UPDATE grants SET state = 'exhausted', rev = rev + 1 WHERE id = $1 AND state IN ('active', 'suspended')
		AND (uses_max > 0 AND uses_spent + uses_carved >= uses_max OR amount_max > 0 AND amount_spent + amount_carved >= amount_max OR bytes_max > 0 AND bytes_spent + bytes_carved >= bytes_max)
		AND NOT EXISTS (SELECT 1 FROM grants c WHERE c.parent = grants.id AND c.state IN ('active', 'suspended'))`, id)
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	if err == nil && n > 0 && exhaust != nil {
		err = owe(ctx, tx, id, state, exhaust)
	}
	if err != nil || parent == "" || n == 0 && live(state) {
		return n > 0, err
	}
	return n > 0, giveBack(ctx, tx, parent)
}

// owe keeps with a grant that became exhausted what the evidence is to say of it.
func owe(ctx context.Context, tx *sql.Tx, id string, was grant.State, exhaust grant.Exhaust) error {
	var list []grant.Grant
	if err := each(ctx, tx, scanGrant(&list), `SELECT `+grantColumns+` FROM grants WHERE id = $1`, id); err != nil {
		return err
	}
	if len(list) != 1 {
		return conflict()
	}
	before := list[0]
	before.State = was
	after, owed, err := exhaust(before)
	if err != nil {
		return err
	}
	after.Counts = grant.Counts{} // the columns count
	doc, err := grantDoc(grant.GrantStates(), after.State, id, "grant "+id, after)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE grants SET doc = $2 WHERE id = $1`, id, doc); err != nil {
		return err
	}
	return keepOwed(ctx, tx, owed)
}

func move(ctx context.Context, tx *sql.Tx, id string, m moved) (parent string, state grant.State, err error) {
	uses, amount := m.uses, m.amount
	if m.to == grant.UseReleased {
		uses, amount = 0, 0
	}
	var word string
	err = tx.QueryRowContext(ctx, `UPDATE grants SET uses_reserved = uses_reserved - $2, uses_spent = uses_spent + $3, amount_reserved = amount_reserved - $4, amount_spent = amount_spent + $5,
		bytes_spent = bytes_spent + $6, used_at = CASE WHEN used_at > $7 THEN used_at ELSE $7 END, seq = seq + 1 WHERE id = $1 RETURNING parent, state`,
		id, m.uses, uses, m.amount, amount, m.bytes, micros(m.at)).Scan(&parent, &word)
	return parent, grant.State(word), err
}

// AbandonUses settles as unknown every use node reserved in another boot and
// returns how many. No grant becomes exhausted by it.
func (s *Store) AbandonUses(ctx context.Context, node, boot string, at time.Time) (int, error) {
	total := 0
	err := s.write(ctx, "settling the uses of an earlier start", func(tx *sql.Tx) error {
		total = 0
		open := map[string]moved{}
		err := each(ctx, tx, func(r *sql.Rows) error {
			var id string
			m := moved{to: grant.UseUnknown, at: at}
			if err := r.Scan(&id, &m.uses, &m.amount); err != nil {
				return err
			}
			open[id] = m
			return nil
		}, `SELECT grant_id, count(*), CAST(sum(amount) AS BIGINT) FROM grant_uses WHERE node = $1 AND boot <> $2 AND state = 'reserved' GROUP BY grant_id`, node, boot)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE grant_uses SET state = 'unknown', ended = $3 WHERE node = $1 AND boot <> $2 AND state = 'reserved'`, node, boot, micros(at)); err != nil {
			return err
		}
		for id, m := range open {
			total += int(m.uses)
			parent, state, err := move(ctx, tx, id, m)
			if err == nil && parent != "" && !live(state) {
				err = giveBack(ctx, tx, parent)
			}
			if err != nil {
				return err
			}
		}
		return settleCharges(ctx, tx, grant.UseUnknown, `node = $1 AND boot <> $2`, node, boot)
	})
	return total, err
}
