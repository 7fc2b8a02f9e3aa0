package store

import (
	"context"
	"database/sql"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// Links returns the links of people to upstreams, sorted by id.
func (s *Store) Links(ctx context.Context) ([]credential.Link, error) {
	return s.links(ctx, `SELECT id, state, rev, sealed, doc FROM credential_links ORDER BY id`)
}

// Link returns one link.
func (s *Store) Link(ctx context.Context, id string) (credential.Link, bool, error) {
	if !clean(id) {
		return credential.Link{}, false, nil // none was ever stored
	}
	list, err := s.links(ctx, `SELECT id, state, rev, sealed, doc FROM credential_links WHERE id = $1`, id)
	if err != nil || len(list) == 0 {
		return credential.Link{}, false, err
	}
	return list[0], true, nil
}

func (s *Store) links(ctx context.Context, query string, args ...any) ([]credential.Link, error) {
	var out []credential.Link
	err := s.read(ctx, "reading the links", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var id, state, doc string
			var rev int64
			var sealed []byte
			if err := r.Scan(&id, &state, &rev, &sealed, &doc); err != nil {
				return err
			}
			var l credential.Link
			if err := decode("credential_links", id, doc, &l); err != nil {
				return err
			}
			l.ID, l.State, l.Rev, l.Sealed = id, credential.LinkState(state), rev, sealed
			out = append(out, l)
			return nil
		}, query, args...)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// PutLink stores l if the stored rev is l.Rev - 1, or, where l.Rev is 1, there is
// none; else it returns a CodeConflict error.
func (s *Store) PutLink(ctx context.Context, l credential.Link) error {
	if err := checkKey("the id of a link", l.ID); err != nil {
		return err
	}
	if len(l.Sealed) == 0 {
		return access.Errorf(access.CodeInvalid, "link %q holds no tokens", l.ID)
	}
	l.Made, l.Refreshed, l.Busy = exact(l.Made), exact(l.Refreshed), exact(l.Busy)
	doc, err := encode("link "+l.ID, l)
	if err != nil {
		return err
	}
	query := `UPDATE credential_links SET state = $2, rev = $3, sealed = $4, doc = $5 WHERE id = $1 AND rev = $3 - 1`
	if l.Rev == 1 {
		query = `INSERT INTO credential_links (id, state, rev, sealed, doc) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING`
	}
	n, err := s.exec(ctx, "storing a link", query, l.ID, string(l.State), l.Rev, l.Sealed, doc)
	if err == nil && n == 0 {
		return access.Errorf(access.CodeConflict, "the link was changed by somebody else: try again")
	}
	return err
}

// DeleteLink removes a link; ok is false if there was none.
func (s *Store) DeleteLink(ctx context.Context, id string) (ok bool, err error) {
	if !clean(id) {
		return false, nil
	}
	n, err := s.exec(ctx, "removing a link", `DELETE FROM credential_links WHERE id = $1`, id)
	return n > 0, err
}

// PutFlow stores a new flow and forgets those that expired before now.
func (s *Store) PutFlow(ctx context.Context, f credential.Flow, now time.Time) error {
	if err := checkKey("the id of a flow", f.ID); err != nil {
		return err
	}
	return s.write(ctx, "storing a connection that is being made", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM credential_flows WHERE expires < $1`, now.UnixMicro()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO credential_flows (id, expires, sealed) VALUES ($1, $2, $3)`, f.ID, f.Expires.UnixMicro(), f.Sealed)
		return err
	})
}

// TakeFlow removes and returns a flow; of two callers one gets it.
func (s *Store) TakeFlow(ctx context.Context, id string) (f credential.Flow, ok bool, err error) {
	if !clean(id) {
		return credential.Flow{}, false, nil
	}
	err = s.write(ctx, "taking a connection that is being made", func(tx *sql.Tx) error {
		f, ok = credential.Flow{ID: id}, false
		return each(ctx, tx, func(r *sql.Rows) error {
			var expires int64
			if err := r.Scan(&expires, &f.Sealed); err != nil {
				return err
			}
			f.Expires, ok = fromMicros(expires), true
			return nil
		}, `DELETE FROM credential_flows WHERE id = $1 RETURNING expires, sealed`, id)
	})
	if err != nil {
		return credential.Flow{}, false, err
	}
	return f, ok, nil
}

// Registration returns a client we registered.
func (s *Store) Registration(ctx context.Context, id string) (c credential.Registration, ok bool, err error) {
	err = s.read(ctx, "reading a registration", func(tx *sql.Tx) error {
		c, ok = credential.Registration{}, false
		return each(ctx, tx, func(r *sql.Rows) error {
			var sealed []byte
			var doc string
			if err := r.Scan(&sealed, &doc); err != nil {
				return err
			}
			if err := decode("credential_clients", id, doc, &c); err != nil {
				return err
			}
			c.ID, c.Sealed, ok = id, sealed, true
			return nil
		}, `SELECT sealed, doc FROM credential_clients WHERE id = $1`, id)
	})
	return c, ok, err
}

// PutRegistration stores r, in place of an earlier one.
func (s *Store) PutRegistration(ctx context.Context, r credential.Registration) error {
	if err := checkKey("the id of a registration", r.ID); err != nil {
		return err
	}
	doc, err := encode("a registration", r)
	if err != nil {
		return err
	}
	sealed := r.Sealed
	if sealed == nil {
		sealed = []byte{}
	}
	_, err = s.exec(ctx, "storing a registration", `INSERT INTO credential_clients (id, sealed, doc) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed, doc = excluded.doc`, r.ID, sealed, doc)
	return err
}
