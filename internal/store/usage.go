package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// useKey is what uses are counted by.
type useKey struct{ agent, server, method, target string }

// Usage counts what was permitted since then, of one agent or of all, and which
// policies matched, over every log in the database. It reads the rows one by one
// and holds one count for each thing that was used. In monitor mode only what
// enforcing would have permitted counts.
func (s *Store) Usage(ctx context.Context, since time.Time, agent string) (audit.Usage, error) {
	var out audit.Usage
	err := s.read(ctx, "counting how rights are used", func(tx *sql.Tx) error {
		uses := map[useKey]*audit.Use{}
		out = audit.Usage{Policies: map[string]audit.PolicyUsage{}}
		var oldest sql.NullInt64
		if err := tx.QueryRowContext(ctx, `SELECT MIN(at) FROM evidence`).Scan(&oldest); err != nil {
			return err
		}
		if oldest.Valid {
			out.Oldest = time.UnixMicro(oldest.Int64).UTC()
		}
		query, args := `SELECT doc FROM evidence WHERE at >= $1 AND (type || '' IN ('intent', 'verdict'))`, []any{micros(since)}
		if agent != "" {
			query, args = query+` AND agent = $2`, append(args, agent)
		}
		err := each(ctx, tx, func(r *sql.Rows) error {
			var doc string
			if err := r.Scan(&doc); err != nil {
				return err
			}
			var row audit.Row
			if err := decode("evidence", "", doc, &row); err != nil {
				return err
			}
			use(&out, uses, &row)
			return nil
		}, query, args...)
		out.Uses = sortUses(uses)
		return err
	})
	if err != nil {
		return audit.Usage{}, err
	}
	return out, nil
}

// use counts one row.
func use(out *audit.Usage, uses map[useKey]*audit.Use, row *audit.Row) {
	at := exact(row.At)
	for _, id := range row.Policies {
		p := out.Policies[id]
		p.Decisions++
		if at.After(p.Last) {
			p.Last = at
		}
		out.Policies[id] = p
	}
	permitted := access.Permit.String()
	if row.Agent == "" || row.Outcome != permitted || row.Would != "" && row.Would != permitted {
		return
	}
	k := useKey{row.Agent, row.Server, row.Method, row.Tool}
	if row.Method == "resources/read" || row.Method == "resources/subscribe" || row.Method == "resources/unsubscribe" {
		k.target = "" // an agent may read any number of them
	}
	u := uses[k]
	if u == nil {
		u = &audit.Use{Agent: k.agent, Server: k.server, Method: k.method, Target: k.target}
		uses[k] = u
	}
	u.Calls++
	if at.After(u.Last) {
		u.Last = at
	}
}

// sortUses lists what was counted.
func sortUses(uses map[useKey]*audit.Use) []audit.Use {
	out := make([]audit.Use, 0, len(uses))
	for _, u := range uses {
		out = append(out, *u)
	}
	slices.SortFunc(out, func(a, b audit.Use) int {
		return cmp.Or(cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.Server, b.Server), cmp.Compare(a.Method, b.Method), cmp.Compare(a.Target, b.Target))
	})
	return out
}
