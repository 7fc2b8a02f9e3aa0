package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"rutile/internal/grant"
)

// defaultFound and maxFound bound what one search of the archive returns.
const (
	defaultFound = 100
	maxFound     = 1001
)

// Request returns a request by id.
func (s *Store) Request(ctx context.Context, id string) (grant.Request, bool, error) {
	return found(ctx, s, "requests", requestColumns, id, scanRequest)
}

// Grant returns a grant by id.
func (s *Store) Grant(ctx context.Context, id string) (grant.Grant, bool, error) {
	return found(ctx, s, "grants", grantColumns, id, scanGrant)
}

// Task returns a task by id.
func (s *Store) Task(ctx context.Context, id string) (grant.Task, bool, error) {
	return found(ctx, s, "tasks", taskColumns, id, scanTask)
}

const useColumns = `id, grant_id, decision, state, node, boot, at, amount, bytes`

// Use returns a use of a grant by id.
func (s *Store) Use(ctx context.Context, id string) (grant.Use, bool, error) {
	return found(ctx, s, "grant_uses", useColumns, id, scanUse)
}

// Review returns what is owed for a break-glass, by its grant.
func (s *Store) Review(ctx context.Context, id string) (grant.Review, bool, error) {
	return found(ctx, s, "grant_reviews", reviewColumns, id, scanReview)
}

// Reviews returns what is or was owed for break-glasses, newest first.
func (s *Store) Reviews(ctx context.Context, f grant.Filter) ([]grant.Review, error) {
	return search(ctx, s, "grant_reviews", reviewColumns, []string{"state"}, f, scanReview)
}

// Requests returns requests, newest first.
func (s *Store) Requests(ctx context.Context, f grant.Filter) ([]grant.Request, error) {
	return search(ctx, s, "requests", requestColumns, []string{"state", "agent", "task"}, f, scanRequest)
}

// Grants returns grants, newest first.
func (s *Store) Grants(ctx context.Context, f grant.Filter) ([]grant.Grant, error) {
	return search(ctx, s, "grants", grantColumns, []string{"state", "agent", "task"}, f, scanGrant)
}

// Tasks returns tasks, newest first.
func (s *Store) Tasks(ctx context.Context, f grant.Filter) ([]grant.Task, error) {
	return search(ctx, s, "tasks", taskColumns, []string{"state", "agent"}, f, scanTask)
}

// Uses returns uses of grants, newest first.
func (s *Store) Uses(ctx context.Context, f grant.Filter) ([]grant.Use, error) {
	return search(ctx, s, "grant_uses", useColumns, []string{"state", "grant_id"}, f, scanUse)
}

func scanUse(out *[]grant.Use) func(*sql.Rows) error {
	return func(r *sql.Rows) error {
		var u grant.Use
		var state string
		var at int64
		if err := r.Scan(&u.ID, &u.Grant, &u.Decision, &state, &u.Node, &u.Boot, &at, &u.Amount, &u.Bytes); err != nil {
			return err
		}
		u.State, u.At = grant.State(state), fromMicros(at)
		*out = append(*out, u)
		return nil
	}
}

func found[T any](ctx context.Context, s *Store, table, columns, id string, scan func(*[]T) func(*sql.Rows) error) (T, bool, error) {
	var list []T
	err := s.read(ctx, "reading "+table, func(tx *sql.Tx) error {
		list = nil
		return each(ctx, tx, scan(&list), `SELECT `+columns+` FROM `+table+` WHERE id = $1`, id)
	})
	if err != nil || len(list) == 0 {
		var none T
		return none, false, err
	}
	return list[0], true, nil
}

func search[T any](ctx context.Context, s *Store, table, columns string, filters []string, f grant.Filter, scan func(*[]T) func(*sql.Rows) error) ([]T, error) {
	var where []string
	var args []any
	for column, value := range map[string]string{"state": string(f.State), "agent": f.Agent, "task": f.Task, "grant_id": f.Grant} {
		for _, known := range filters {
			if known == column && value != "" {
				args = append(args, value)
				where = append(where, fmt.Sprintf("%s = $%d", column, len(args)))
			}
		}
	}
	if f.Before != "" {
		args = append(args, f.Before)
		where = append(where, fmt.Sprintf("id < $%d", len(args)))
	}
	query := `SELECT ` + columns + ` FROM ` + table
	if len(where) > 0 {
		query += ` WHERE ` + strings.Join(where, " AND ")
	}
	limit := f.Limit
	if limit <= 0 {
		limit = defaultFound
	}
	query += fmt.Sprintf(" ORDER BY id DESC LIMIT %d", min(limit, maxFound))
	var list []T
	err := s.read(ctx, "reading "+table, func(tx *sql.Tx) error {
		list = nil
		return each(ctx, tx, scan(&list), query, args...)
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// LoadEntitlements returns the stored entitlements sorted by id.
func (s *Store) LoadEntitlements(ctx context.Context) ([]grant.Entitlement, error) {
	var out []grant.Entitlement
	err := s.read(ctx, "loading the entitlements", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var id, doc string
			if err := r.Scan(&id, &doc); err != nil {
				return err
			}
			var e grant.Entitlement
			if err := decode("entitlements", id, doc, &e); err != nil {
				return err
			}
			e.ID = id
			out = append(out, exactEntitlement(e))
			return nil
		}, `SELECT id, doc FROM entitlements ORDER BY id`)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func entitlementRow(id string, e grant.Entitlement) ([]any, error) {
	if err := named("entitlement", id, e.ID); err != nil {
		return nil, err
	}
	doc, err := encode(fmt.Sprintf("entitlement %q", id), exactEntitlement(e))
	return []any{id, doc}, err
}

func exactEntitlement(e grant.Entitlement) grant.Entitlement {
	e.Created, e.Changed, e.Confirmed = exact(e.Created), exact(e.Changed), exact(e.Confirmed)
	return e
}
