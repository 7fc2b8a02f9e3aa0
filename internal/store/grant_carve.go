package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"

	"rutile/internal/grant"
)

// Grants are locked the deeper ones first, so that no two transactions wait for
// each other.
func deepest(list []grant.Grant) []grant.Grant {
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b grant.Grant) int { return cmp.Compare(b.Depth, a.Depth) })
	return out
}

func live(s grant.State) bool { return !grant.Over(s) }

// carve takes what a new child may use out of its parent, where that is in force,
// outlives the child and has that much left. A limit the parent has the child needs.
func carve(child grant.Grant) statement {
	return statement{`UPDATE grants SET uses_carved = uses_carved + $2, amount_carved = amount_carved + $3, running_carved = running_carved + $4,
			window_carved = window_carved + $5, bytes_carved = bytes_carved + $6, seq = seq + 1
		WHERE id = $1 AND state = 'active' AND not_before <= $7 AND $7 < expires AND $8 <= expires
			AND (uses_max = 0 OR $2 > 0 AND uses_spent + uses_reserved + uses_carved + $2 <= uses_max)
			AND (amount_max = 0 OR $3 > 0 AND amount_spent + amount_reserved + amount_carved + $3 <= amount_max)
			AND (running_max = 0 OR $4 > 0 AND uses_reserved + running_carved + $4 <= running_max)
			AND (window_uses = 0 OR $5 > 0 AND window_carved + $5 <= window_uses)
			AND (bytes_max = 0 OR $6 > 0 AND bytes_spent + bytes_carved + $6 <= bytes_max)
			AND (idle_length = 0 OR uses_reserved > 0 OR $7 - idle_length < CASE WHEN used_at > not_before THEN used_at ELSE not_before END)`,
		[]any{child.Parent, child.UsesMax, child.Budget.Amount, child.Concurrency, child.Window.Uses, child.BytesOut, micros(child.NotBefore), micros(child.Expires)}}
}

// kinship holds a batch to what is true of parents and children: none ends or is
// suspended without its children, and what an ended child left unspent is its
// parent's again.
func kinship(ctx context.Context, tx *sql.Tx, grants []grant.Grant) error {
	parents := map[string]bool{}
	for _, g := range deepest(grants) {
		if g.Rev == 0 {
			if g.Parent != "" && g.Window.Uses > 0 {
				if err := roomy(ctx, tx, g); err != nil {
					return err
				}
			}
			continue
		}
		if g.State == grant.GrantRevoked {
			if err := unminted(ctx, tx, g.ID); err != nil {
				return err
			}
		}
		if g.State != grant.GrantActive {
			left := `SELECT id FROM grants WHERE parent = $1 AND state = 'active' LIMIT 1`
			if !live(g.State) {
				left = `SELECT id FROM grants WHERE parent = $1 AND state IN ('active', 'suspended') LIMIT 1`
			}
			var id string
			if err := tx.QueryRowContext(ctx, left, g.ID).Scan(&id); err == nil {
				return conflict() // somebody carved it at this moment
			} else if !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		if g.Parent != "" && !live(g.State) && !parents[g.Parent] {
			parents[g.Parent] = true
			if err := giveBack(ctx, tx, g.Parent); err != nil {
				return err
			}
		}
	}
	return nil
}

// roomy refuses the share of a window that a new child's parent has used already:
// what the parent let through just now counts for both. The row of the parent is
// locked by then.
func roomy(ctx context.Context, tx *sql.Tx, child grant.Grant) error {
	var most, length, carved, used int64
	err := tx.QueryRowContext(ctx, `SELECT window_uses, window_length, window_carved FROM grants WHERE id = $1`, child.Parent).Scan(&most, &length, &carved)
	if err != nil || most == 0 {
		return err
	}
	err = tx.QueryRowContext(ctx, `SELECT count(*) FROM grant_uses WHERE grant_id = $1 AND at > $2 AND state <> 'released'`, child.Parent, micros(child.NotBefore)-length).Scan(&used)
	if err == nil && used+carved > most {
		return conflict()
	}
	return err
}

// giveBack counts anew what is carved out of a grant: of a child that lives all it
// may use, of one that ended what it spent, what its own children did, and what
// calls under way still may. A share of a window never comes back: what was used of
// it counts for as long as the window is. Where the grant has ended itself, what
// changes is its parent's too.
func giveBack(ctx context.Context, tx *sql.Tx, id string) error {
	// The lock comes first, and what is counted is read after it.
	var parent, state string
	if err := tx.QueryRowContext(ctx, `UPDATE grants SET seq = seq + 1 WHERE id = $1 RETURNING parent, state`, id).Scan(&parent, &state); err != nil {
		return err
	}
	var uses, amount, running, window, bytes int64
	err := tx.QueryRowContext(ctx, `SELECT
			CAST(COALESCE(sum(CASE WHEN state IN ('active', 'suspended') THEN uses_max ELSE uses_spent + uses_reserved + uses_carved END), 0) AS BIGINT),
			CAST(COALESCE(sum(CASE WHEN state IN ('active', 'suspended') THEN amount_max ELSE amount_spent + amount_reserved + amount_carved END), 0) AS BIGINT),
			CAST(COALESCE(sum(CASE WHEN state IN ('active', 'suspended') THEN running_max ELSE uses_reserved + running_carved END), 0) AS BIGINT),
			CAST(COALESCE(sum(window_uses), 0) AS BIGINT),
			CAST(COALESCE(sum(CASE WHEN state IN ('active', 'suspended') OR uses_reserved > 0 THEN bytes_max ELSE bytes_spent + bytes_carved END), 0) AS BIGINT)
		FROM grants WHERE parent = $1`, id).Scan(&uses, &amount, &running, &window, &bytes)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE grants SET uses_carved = $2, amount_carved = $3, running_carved = $4, window_carved = $5, bytes_carved = $6 WHERE id = $1`,
		id, uses, amount, running, window, bytes)
	if err != nil || parent == "" || live(grant.State(state)) {
		return err
	}
	return giveBack(ctx, tx, parent)
}
