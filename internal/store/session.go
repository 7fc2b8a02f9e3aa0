package store

import (
	"context"
	"database/sql"
	"errors"

	"rutile/internal/access"
	"rutile/internal/identity"
)

// StateFamilies gives the sessions of sel the state to and returns those it
// changed. The leaves that owe makes of them are kept in the same transaction.
func (s *Store) StateFamilies(ctx context.Context, sel identity.Selection, to identity.SessionState, why string, owe func(identity.Family) access.Owed) ([]identity.Family, error) {
	if sel == (identity.Selection{}) || to == "" {
		return nil, access.Errorf(access.CodeInternal, "a state of sessions needs a selection")
	}
	if err := checkText("why a session ended", why); err != nil {
		return nil, err
	}
	from := `state = ''`
	if to != identity.SessionQuarantined {
		from = `state IN ('', 'quarantined')`
	}
	var out []identity.Family
	err := s.write(ctx, "ending sessions", func(tx *sql.Tx) error {
		out = nil
		err := each(ctx, tx, scanFamily(&out),
			`UPDATE families SET state = $4, why = $5 WHERE ($1 = '' OR id = $1) AND ($2 = '' OR agent = $2) AND ($3 = '' OR subject = $3) AND `+from+
				` AND (absolute > $6 OR state = 'quarantined') RETURNING `+familyColumns, sel.ID, sel.Agent, sel.Subject, string(to), why, micros(s.now()))
		if err != nil {
			return err
		}
		leaves := make([]access.Owed, 0, len(out))
		var over []string
		for _, f := range out {
			leaves = append(leaves, owe(f))
			if to != identity.SessionQuarantined {
				over = append(over, f.ID)
			}
		}
		if err := dropSeen(ctx, tx, over); err != nil {
			return err
		}
		return keepOwed(ctx, tx, leaves)
	})
	return out, err
}

func scanFamily(out *[]identity.Family) func(*sql.Rows) error {
	return func(r *sql.Rows) error {
		var f family
		if err := r.Scan(f.dest()...); err != nil {
			return err
		}
		*out = append(*out, f.value())
		return nil
	}
}

// ReleaseFamily takes the quarantine from a session; ok is false where it has none.
func (s *Store) ReleaseFamily(ctx context.Context, id string) (out identity.Family, ok bool, err error) {
	if !clean(id) {
		return out, false, nil
	}
	err = s.write(ctx, "releasing a session", func(tx *sql.Tx) error {
		var f family
		err := tx.QueryRowContext(ctx, `UPDATE families SET state = '', why = '' WHERE id = $1 AND state = 'quarantined' RETURNING `+familyColumns, id).Scan(f.dest()...)
		if ok = err == nil; errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		out = f.value()
		return err
	})
	return out, ok, err
}

// FamiliesOf returns the newest sessions of sel, in whatever state.
func (s *Store) FamiliesOf(ctx context.Context, sel identity.Selection, limit int) ([]identity.Family, error) {
	if !clean(sel.ID) || !clean(sel.Agent) || !clean(sel.Subject) {
		return nil, nil
	}
	var out []identity.Family
	err := s.read(ctx, "reading sessions", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, scanFamily(&out), `SELECT `+familyColumns+` FROM families WHERE ($1 = '' OR id = $1) AND ($2 = '' OR agent = $2) AND ($3 = '' OR subject = $3) ORDER BY id DESC LIMIT $4`,
			sel.ID, sel.Agent, sel.Subject, int64(limit))
	})
	return out, err
}

// Families returns sessions, newest first.
func (s *Store) Families(ctx context.Context, before string, limit int, held bool) ([]identity.Family, error) {
	var out []identity.Family
	which := ""
	if held {
		which = ` AND state <> ''`
	}
	err := s.read(ctx, "reading sessions", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, scanFamily(&out), `SELECT `+familyColumns+` FROM families WHERE ($1 = '' OR id < $1)`+which+` ORDER BY id DESC LIMIT $2`, before, int64(limit))
	})
	return out, err
}
