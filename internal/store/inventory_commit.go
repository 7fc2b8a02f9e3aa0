package store

import (
	"context"
	"database/sql"
	"time"

	"rutile/internal/access"
	"rutile/internal/discovery/inventory"
)

// keptBatches is how long a batch that was taken is remembered. A device's older
// ones are refused by their sequence.
const keptBatches = 90 * 24 * time.Hour

// CommitInventory applies c in one transaction.
func (s *Store) CommitInventory(ctx context.Context, c inventory.Changes) error {
	return s.write(ctx, "keeping the inventory", func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE inventory_head SET value = value + 1 WHERE one = 1 AND value = $1`, int64(c.Base))
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n != 1 {
			if err == nil {
				err = errInventory()
			}
			return err
		}
		for _, step := range []func(context.Context, *sql.Tx, *inventory.Changes) error{putFound, putSightings, putAround, s.seenAgain, putMerges, s.putTaken} {
			if err := step(ctx, tx, &c); err != nil {
				return err
			}
		}
		if c.Findings != nil {
			if err := s.putFindings(ctx, tx, c.Findings); err != nil {
				return err
			}
		}
		return keepOwed(ctx, tx, c.Owed)
	})
}

func putFound(ctx context.Context, tx *sql.Tx, c *inventory.Changes) error {
	for i := range c.Servers {
		v := c.Servers[i]
		v.First = exact(v.First)
		if err := putDoc(ctx, tx, "a server", v.Key, v, `INSERT INTO inventory_servers (key, doc) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET doc = excluded.doc`); err != nil {
			return err
		}
	}
	for i := range c.Variants {
		v := c.Variants[i]
		v.First = exact(v.First)
		if err := putDoc(ctx, tx, "a variant", v.ID, v, `INSERT INTO inventory_variants (id, doc, server) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc`, v.Server); err != nil {
			return err
		}
	}
	return nil
}

// putDoc writes one row of an id, a document and more.
func putDoc(ctx context.Context, tx *sql.Tx, what, id string, v any, query string, more ...any) error {
	if err := checkKey("the id of "+what, id); err != nil {
		return err
	}
	doc, err := encode(what, v)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, query, append([]any{id, doc}, more...)...)
	return err
}

func putSightings(ctx context.Context, tx *sql.Tx, c *inventory.Changes) error {
	for i := range c.Sightings {
		v := c.Sightings[i]
		first, last, gone, back := micros(v.First), micros(v.Last), neverOr(v.Gone), neverOr(v.Reappeared)
		v.First, v.Last, v.Gone, v.Reappeared = time.Time{}, time.Time{}, time.Time{}, time.Time{} // the columns count
		err := putDoc(ctx, tx, "a sighting", v.ID, v, `INSERT INTO inventory_sightings (id, doc, server, host, fact, routed, disabled, first_seen, last_seen, gone, reappeared)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO UPDATE SET
			doc = excluded.doc, fact = excluded.fact, routed = excluded.routed, disabled = excluded.disabled, last_seen = excluded.last_seen, gone = excluded.gone, reappeared = excluded.reappeared`,
			v.Server, v.Host, string(v.Fact), truth(v.Routed), truth(v.Disabled), first, last, gone, back)
		if err != nil {
			return err
		}
	}
	return nil
}

func putAround(ctx context.Context, tx *sql.Tx, c *inventory.Changes) error {
	if c.Host != nil {
		h := *c.Host
		took := ""
		if c.Taken != nil {
			took = c.Taken.ID
		}
		h.First, h.Last, h.Took = exact(h.First), time.Time{}, ""
		if err := putDoc(ctx, tx, "a host", h.ID, h, `INSERT INTO inventory_hosts (id, doc, last_seen, took) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc, last_seen = excluded.last_seen, took = excluded.took`, micros(c.At), took); err != nil {
			return err
		}
	}
	for i := range c.Agents {
		v := c.Agents[i]
		last := micros(v.Last)
		v.First, v.Last = exact(v.First), time.Time{}
		if err := putDoc(ctx, tx, "an agent", v.ID, v, `INSERT INTO inventory_agents (id, doc, host, last_seen) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc, last_seen = excluded.last_seen`, v.Host, last); err != nil {
			return err
		}
	}
	for i := range c.Credentials {
		v := c.Credentials[i]
		last := micros(v.Last)
		v.First, v.Written, v.Last = exact(v.First), exact(v.Written), time.Time{}
		if err := putDoc(ctx, tx, "a credential", v.ID, v, `INSERT INTO inventory_credentials (id, doc, host, last_seen) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc, last_seen = excluded.last_seen`, v.Host, last); err != nil {
			return err
		}
	}
	return nil
}

// seenAgain moves when rows were seen last, and nothing else of them.
func (s *Store) seenAgain(ctx context.Context, tx *sql.Tx, c *inventory.Changes) error {
	for _, t := range []struct {
		ids   []string
		query string
	}{
		{c.SeenSightings, `UPDATE inventory_sightings SET last_seen = $1 WHERE id IN `},
		{c.SeenAgents, `UPDATE inventory_agents SET last_seen = $1 WHERE id IN `},
		{c.SeenCredentials, `UPDATE inventory_credentials SET last_seen = $1 WHERE id IN `},
	} {
		err := s.dialect.in(t.ids, 2, func(list string, args []any) error {
			_, err := tx.ExecContext(ctx, t.query+list, append([]any{micros(c.At)}, args...)...)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func putMerges(ctx context.Context, tx *sql.Tx, c *inventory.Changes) error {
	for i := range c.Merges {
		m := c.Merges[i]
		m.At, m.Undone = exact(m.At), exactOrZero(m.Undone)
		if err := putDoc(ctx, tx, "a merge", m.ID, m, `INSERT INTO inventory_merges (id, doc, from_key, into_key, undone) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc, undone = excluded.undone`,
			m.From, m.Into, neverOr(m.Undone)); err != nil {
			return err
		}
	}
	return nil
}

func exactOrZero(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return exact(t)
}

// putTaken keeps a batch that was taken, in the order its device made them.
func (s *Store) putTaken(ctx context.Context, tx *sql.Tx, c *inventory.Changes) error {
	t := c.Taken
	if t == nil {
		return nil
	}
	if t.Device != "" {
		r, err := tx.ExecContext(ctx, `UPDATE inventory_devices SET sequence = $1 WHERE id = $2 AND state = 'active' AND sequence < $1`, int64(t.Sequence), t.Device)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n != 1 {
			if err == nil {
				err = access.Errorf(access.CodeDenied, "the batch is not taken: the device is not enrolled any more, or a later batch of it was taken before")
			}
			return err
		}
	}
	kept := *t
	kept.At = exact(kept.At)
	if err := putDoc(ctx, tx, "a batch", t.ID, kept, `INSERT INTO inventory_batches (id, doc, device, sequence, at) VALUES ($1, $2, $3, $4, $5)`, t.Device, int64(t.Sequence), micros(t.At)); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM inventory_batches WHERE at < $1`, micros(t.At.Add(-keptBatches)))
	return err
}
