package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
)

// Columns in the order they are scanned.
const (
	taskColumns    = `id, state, rev, doc`
	requestColumns = `id, identity, state, arguments, rev, doc`
	grantColumns   = `id, state, uses_spent, uses_reserved, seq, rev, doc`
)

// LoadGrants returns what is live, in one consistent read.
func (s *Store) LoadGrants(ctx context.Context) (grant.Live, error) {
	var l grant.Live
	err := s.read(ctx, "loading the grants", func(tx *sql.Tx) error {
		l = grant.Live{}
		return errors.Join(
			each(ctx, tx, scanTask(&l.Tasks), `SELECT `+taskColumns+` FROM tasks WHERE state = 'open' ORDER BY id`),
			each(ctx, tx, scanRequest(&l.Requests), `SELECT `+requestColumns+` FROM requests WHERE state = 'pending' ORDER BY id`),
			each(ctx, tx, scanGrant(&l.Grants), `SELECT `+grantColumns+` FROM grants WHERE state IN ('active', 'suspended') ORDER BY id`))
	})
	if err != nil {
		return grant.Live{}, err
	}
	return l, nil
}

func scanTask(out *[]grant.Task) func(*sql.Rows) error {
	return func(r *sql.Rows) error {
		var id, state, doc string
		var rev int64
		if err := r.Scan(&id, &state, &rev, &doc); err != nil {
			return err
		}
		var t grant.Task
		if err := decode("tasks", id, doc, &t); err != nil {
			return err
		}
		t.ID, t.State, t.Rev = id, grant.State(state), rev
		*out = append(*out, t)
		return nil
	}
}

func scanRequest(out *[]grant.Request) func(*sql.Rows) error {
	return func(r *sql.Rows) error {
		var id, state, doc string
		var identity, arguments []byte
		var rev int64
		if err := r.Scan(&id, &identity, &state, &arguments, &rev, &doc); err != nil {
			return err
		}
		var q grant.Request
		if err := decode("requests", id, doc, &q); err != nil {
			return err
		}
		if len(identity) != len(q.Identity) {
			return rowError{"requests", id}
		}
		q.ID, q.State, q.Rev, q.Arguments, q.Identity = id, grant.State(state), rev, arguments, [32]byte(identity)
		*out = append(*out, q)
		return nil
	}
}

func scanGrant(out *[]grant.Grant) func(*sql.Rows) error {
	return func(r *sql.Rows) error {
		var id, state, doc string
		var rev int64
		var c grant.Counts
		if err := r.Scan(&id, &state, &c.Spent, &c.Reserved, &c.Seq, &rev, &doc); err != nil {
			return err
		}
		var g grant.Grant
		if err := decode("grants", id, doc, &g); err != nil {
			return err
		}
		g.ID, g.State, g.Rev, g.Counts = id, grant.State(state), rev, c
		*out = append(*out, g)
		return nil
	}
}

// CommitGrants applies b in one transaction. Where an object is not at its Rev,
// or a new pending request has the identity of another, it changes nothing and
// returns a CodeConflict error.
func (s *Store) CommitGrants(ctx context.Context, b grant.Batch) error {
	statements, err := grantRows(b)
	if err != nil {
		return err
	}
	return s.write(ctx, "committing a grant", func(tx *sql.Tx) error {
		for _, st := range statements {
			r, err := tx.ExecContext(ctx, st.query, st.args...)
			if err != nil {
				return err
			}
			if n, err := r.RowsAffected(); err != nil {
				return err
			} else if n != 1 {
				return conflict()
			}
		}
		return nil
	})
}

type statement struct {
	query string
	args  []any
}

// grantRows turns a batch into statements that change one row each. Requests that
// end go first: they make room for a new one like them.
func grantRows(b grant.Batch) ([]statement, error) {
	var out []statement
	for _, t := range b.Tasks {
		what := "task " + t.ID
		doc, err := grantDoc(grant.TaskStates(), t.State, t.ID, what, t)
		if err != nil {
			return nil, err
		}
		if t.Rev == 0 {
			out = append(out, statement{`INSERT INTO tasks (id, agent, state, rev, doc) VALUES ($1, $2, $3, 1, $4)`, []any{t.ID, t.Party.Agent, string(t.State), doc}})
		} else {
			out = append(out, statement{`UPDATE tasks SET state = $2, rev = rev + 1, doc = $3 WHERE id = $1 AND rev = $4`, []any{t.ID, string(t.State), doc, t.Rev}})
		}
	}
	requests := slices.Clone(b.Requests)
	slices.SortStableFunc(requests, func(x, y grant.Request) int { return order(x.State) - order(y.State) })
	for _, r := range requests {
		doc, err := grantDoc(grant.RequestStates(), r.State, r.ID, "request "+r.ID, r)
		if err != nil {
			return nil, err
		}
		if r.Rev == 0 {
			out = append(out, statement{`INSERT INTO requests (id, identity, agent, task, state, arguments, rev, doc) VALUES ($1, $2, $3, $4, $5, $6, 1, $7) ON CONFLICT DO NOTHING`,
				[]any{r.ID, r.Identity[:], r.Party.Agent, r.Task, string(r.State), r.Arguments, doc}})
		} else {
			out = append(out, statement{`UPDATE requests SET state = $2, rev = rev + 1, doc = $3 WHERE id = $1 AND rev = $4`, []any{r.ID, string(r.State), doc, r.Rev}})
		}
	}
	for _, g := range b.Grants {
		counts := g.Counts
		g.Counts = grant.Counts{} // the columns count
		doc, err := grantDoc(grant.GrantStates(), g.State, g.ID, "grant "+g.ID, g)
		if err != nil {
			return nil, err
		}
		if g.Rev == 0 && counts != (grant.Counts{}) {
			return nil, fmt.Errorf("committing a grant: new grant %q has uses already", g.ID)
		}
		if g.Rev == 0 {
			out = append(out, statement{`INSERT INTO grants (id, agent, task, state, not_before, expires, uses_max, rev, doc) VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8)`,
				[]any{g.ID, g.Party.Agent, g.Task, string(g.State), micros(g.NotBefore), micros(g.Expires), g.UsesMax, doc}})
		} else {
			out = append(out, statement{`UPDATE grants SET state = $2, expires = $3, uses_max = $4, rev = rev + 1, doc = $5 WHERE id = $1 AND rev = $6`,
				[]any{g.ID, string(g.State), micros(g.Expires), g.UsesMax, doc, g.Rev}})
		}
	}
	return out, nil
}

func order(s grant.State) int {
	if s == grant.RequestPending {
		return 1
	}
	return 0
}

func grantDoc(known []grant.State, state grant.State, id, what string, v any) (string, error) {
	if err := checkKey("the id of a "+what, id); err != nil {
		return "", err
	}
	if err := checkState(known, state, what); err != nil {
		return "", err
	}
	return encode(what, v)
}

// ReserveUse takes one use of a grant that is active, in its time and not used up,
// and returns the counts after it. Otherwise it changes nothing and returns a
// CodeConflict error.
func (s *Store) ReserveUse(ctx context.Context, u grant.Use) (grant.Counts, error) {
	if err := errors.Join(checkKey("the id of a use", u.ID), checkKey("the decision of a use", u.Decision)); err != nil {
		return grant.Counts{}, err
	}
	var c grant.Counts
	err := s.write(ctx, "reserving a use", func(tx *sql.Tx) error {
		c = grant.Counts{}
		if u.Grant == "" {
			return reserveCharges(ctx, tx, u)
		}
		err := tx.QueryRowContext(ctx, `UPDATE grants SET uses_reserved = uses_reserved + 1, seq = seq + 1
			WHERE id = $1 AND state = 'active' AND not_before <= $2 AND $2 < expires AND (uses_max = 0 OR uses_spent + uses_reserved + 1 <= uses_max)
			RETURNING uses_spent, uses_reserved, seq`, u.Grant, micros(u.At)).Scan(&c.Spent, &c.Reserved, &c.Seq)
		if errors.Is(err, sql.ErrNoRows) {
			return access.Errorf(access.CodeConflict, "grant %s covers no further call", u.Grant)
		}
		if err != nil {
			return err
		}
		r, err := tx.ExecContext(ctx, `INSERT INTO grant_uses (id, grant_id, decision, state, node, boot, at) VALUES ($1, $2, $3, 'reserved', $4, $5, $6) ON CONFLICT DO NOTHING`,
			u.ID, u.Grant, u.Decision, u.Node, u.Boot, micros(u.At))
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
	return c, err
}

// SettleUse ends a reserved use as u.State says. A grant with nothing left becomes
// exhausted. Settling a use that has ended changes nothing.
func (s *Store) SettleUse(ctx context.Context, u grant.Use, at time.Time) (grant.Counts, grant.State, error) {
	var c grant.Counts
	var state string
	err := s.write(ctx, "settling a use", func(tx *sql.Tx) error {
		c, state = grant.Counts{}, ""
		if u.Grant == "" {
			return settleCharges(ctx, tx, u.State, `use_id = $1`, u.ID)
		}
		r, err := tx.ExecContext(ctx, `UPDATE grant_uses SET state = $2, ended = $3 WHERE id = $1 AND state = 'reserved'`, u.ID, string(u.State), micros(at))
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		if err != nil {
			return err
		}
		if n == 1 {
			if err := settle(ctx, tx, u.Grant, u.State, 1); err != nil {
				return err
			}
			if len(u.Charges) > 0 {
				if err := settleCharges(ctx, tx, u.State, `use_id = $1`, u.ID); err != nil {
					return err
				}
			}
		}
		return tx.QueryRowContext(ctx, `SELECT uses_spent, uses_reserved, seq, state FROM grants WHERE id = $1`, u.Grant).Scan(&c.Spent, &c.Reserved, &c.Seq, &state)
	})
	return c, grant.State(state), err
}

// settle moves n uses of a grant out of what is reserved.
func settle(ctx context.Context, tx *sql.Tx, id string, to grant.State, n int64) error {
	spent := n
	if to == grant.UseReleased {
		spent = 0
	}
	if _, err := tx.ExecContext(ctx, `UPDATE grants SET uses_reserved = uses_reserved - $2, uses_spent = uses_spent + $3, seq = seq + 1 WHERE id = $1`, id, n, spent); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE grants SET state = 'exhausted', rev = rev + 1 WHERE id = $1 AND state IN ('active', 'suspended') AND uses_max > 0 AND uses_spent >= uses_max`, id)
	return err
}

// AbandonUses settles as unknown every use node reserved in another boot and
// returns how many.
func (s *Store) AbandonUses(ctx context.Context, node, boot string, at time.Time) (int, error) {
	total := 0
	err := s.write(ctx, "settling the uses of an earlier start", func(tx *sql.Tx) error {
		total = 0
		counts := map[string]int64{}
		err := each(ctx, tx, func(r *sql.Rows) error {
			var id string
			var n int64
			if err := r.Scan(&id, &n); err != nil {
				return err
			}
			counts[id] = n
			return nil
		}, `SELECT grant_id, count(*) FROM grant_uses WHERE node = $1 AND boot <> $2 AND state = 'reserved' GROUP BY grant_id ORDER BY grant_id`, node, boot)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE grant_uses SET state = 'unknown', ended = $3 WHERE node = $1 AND boot <> $2 AND state = 'reserved'`, node, boot, micros(at)); err != nil {
			return err
		}
		for id, n := range counts {
			total += int(n)
			if err := settle(ctx, tx, id, grant.UseUnknown, n); err != nil {
				return err
			}
		}
		return settleCharges(ctx, tx, grant.UseUnknown, `node = $1 AND boot <> $2`, node, boot)
	})
	return total, err
}
