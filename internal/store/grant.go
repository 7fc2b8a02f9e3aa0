package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"rutile/internal/grant"
)

// Columns in the order they are scanned.
const (
	taskColumns    = `id, state, rev, doc`
	reviewColumns  = `id, state, rev, doc`
	requestColumns = `id, identity, state, arguments, rev, doc`
	countColumns   = `uses_spent, uses_reserved, uses_carved, amount_spent, amount_reserved, amount_carved, running_carved, window_carved, bytes_spent, bytes_carved, used_at, seq`
	grantColumns   = `id, state, rev, doc, ` + countColumns
)

// LoadGrants returns what is live, in one consistent read.
func (s *Store) LoadGrants(ctx context.Context) (grant.Live, error) {
	var l grant.Live
	err := s.read(ctx, "loading the grants", func(tx *sql.Tx) error {
		l = grant.Live{}
		return errors.Join(
			each(ctx, tx, scanTask(&l.Tasks), `SELECT `+taskColumns+` FROM tasks WHERE state = 'open' ORDER BY id`),
			each(ctx, tx, scanRequest(&l.Requests), `SELECT `+requestColumns+` FROM requests WHERE state = 'pending' ORDER BY id`),
			each(ctx, tx, scanGrant(&l.Grants), `SELECT `+grantColumns+` FROM grants WHERE state IN ('scheduled', 'active', 'suspended') ORDER BY id`),
			each(ctx, tx, scanReview(&l.Reviews), `SELECT `+reviewColumns+` FROM grant_reviews WHERE state <> 'reviewed' ORDER BY id`))
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

func scanReview(out *[]grant.Review) func(*sql.Rows) error {
	return func(r *sql.Rows) error {
		var id, state, doc string
		var rev int64
		if err := r.Scan(&id, &state, &rev, &doc); err != nil {
			return err
		}
		var v grant.Review
		if err := decode("grant_reviews", id, doc, &v); err != nil {
			return err
		}
		v.Grant, v.State, v.Rev = id, grant.State(state), rev
		*out = append(*out, v)
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
		var c counts
		if err := r.Scan(append([]any{&id, &state, &rev, &doc}, c.dest()...)...); err != nil {
			return err
		}
		var g grant.Grant
		if err := decode("grants", id, doc, &g); err != nil {
			return err
		}
		g.ID, g.State, g.Rev, g.Counts = id, grant.State(state), rev, c.counts()
		*out = append(*out, g)
		return nil
	}
}

// CommitGrants applies b in one transaction. Where an object is not at its Rev, a
// new pending request has the identity of another, a new child is more than its
// parent has left, a grant that ends or is suspended leaves a child behind, one that is
// revoked a credential, or a person would owe two reviews for one entitlement, it
// changes nothing and returns a CodeConflict error.
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
		if err := kinship(ctx, tx, b.Grants); err != nil {
			return err
		}
		return keepOwed(ctx, tx, b.Owed)
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
	for _, g := range deepest(b.Grants) {
		counts := g.Counts
		g.Counts = grant.Counts{} // the columns count
		doc, err := grantDoc(grant.GrantStates(), g.State, g.ID, "grant "+g.ID, g)
		if err != nil {
			return nil, err
		}
		if g.Rev == 0 && counts != (grant.Counts{}) {
			return nil, fmt.Errorf("committing a grant: new grant %q has uses already", g.ID)
		}
		if g.Rev == 0 && g.Parent != "" {
			out = append(out, carve(g))
		}
		limits := []any{g.ID, string(g.State), micros(g.Expires), doc, g.UsesMax, g.Budget.Amount, g.Concurrency, g.Window.Uses, length(g.Window.Seconds), g.BytesOut, length(g.Idle)}
		if g.Rev == 0 {
			out = append(out, statement{`INSERT INTO grants (id, state, expires, doc, uses_max, amount_max, running_max, window_uses, window_length, bytes_max, idle_length,
				agent, task, parent, not_before, rev) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 1)`,
				append(limits, g.Party.Agent, g.Task, g.Parent, micros(g.NotBefore))})
		} else {
			out = append(out, statement{`UPDATE grants SET state = $2, expires = $3, doc = $4, uses_max = $5, amount_max = $6, running_max = $7, window_uses = $8, window_length = $9,
				bytes_max = $10, idle_length = $11, rev = rev + 1 WHERE id = $1 AND rev = $12`, append(limits, g.Rev)})
		}
	}
	return reviewRows(out, b.Reviews)
}

func reviewRows(out []statement, reviews []grant.Review) ([]statement, error) {
	for _, r := range reviews {
		doc, err := grantDoc(grant.ReviewStates(), r.State, r.Grant, "review of "+r.Grant, r)
		if err != nil {
			return nil, err
		}
		if r.Rev == 0 {
			out = append(out, statement{`INSERT INTO grant_reviews (id, entitlement, person, state, rev, doc) VALUES ($1, $2, $3, $4, 1, $5) ON CONFLICT DO NOTHING`,
				[]any{r.Grant, r.Entitlement, r.Person, string(r.State), doc}})
		} else {
			out = append(out, statement{`UPDATE grant_reviews SET state = $2, rev = rev + 1, doc = $3 WHERE id = $1 AND rev = $4`, []any{r.Grant, string(r.State), doc, r.Rev}})
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
