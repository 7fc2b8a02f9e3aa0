package store

import (
	"context"
	"database/sql"

	"rutile/internal/access"
	"rutile/internal/discovery/inventory"
)

var _ inventory.FleetStore = (*Store)(nil)

// Devices returns all of them sorted by id.
func (s *Store) Devices(ctx context.Context) ([]inventory.Device, error) {
	return s.devices(ctx, ` ORDER BY id`)
}

// Device returns one.
func (s *Store) Device(ctx context.Context, id string) (inventory.Device, bool, error) {
	list, err := s.devices(ctx, ` WHERE id = $1`, id)
	if err != nil || len(list) == 0 {
		return inventory.Device{}, false, err
	}
	return list[0], true, nil
}

func (s *Store) devices(ctx context.Context, where string, args ...any) ([]inventory.Device, error) {
	var out []inventory.Device
	err := s.read(ctx, "reading the devices", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var id, state, doc string
			var sequence, rev int64
			if err := r.Scan(&id, &state, &sequence, &rev, &doc); err != nil {
				return err
			}
			var d inventory.Device
			if err := decode("inventory_devices", id, doc, &d); err != nil {
				return err
			}
			d.ID, d.State, d.Sequence, d.Rev = id, inventory.DeviceState(state), uint64(sequence), uint64(rev)
			out = append(out, d)
			return nil
		}, `SELECT id, state, sequence, rev, doc FROM inventory_devices`+where, args...)
	})
	return out, err
}

// PutDevice writes a device and the leaf it owes.
func (s *Store) PutDevice(ctx context.Context, d inventory.Device, owed access.Owed) error {
	return s.write(ctx, "keeping a device", func(tx *sql.Tx) error {
		v, rev := d, int64(d.Rev)
		v.Created, v.Expires, v.Enrolled, v.Revoked = exact(v.Created), exactOrZero(v.Expires), exactOrZero(v.Enrolled), exactOrZero(v.Revoked)
		v.Rev, v.Sequence = 0, 0 // the columns count
		if err := checkKey("the id of a device", d.ID); err != nil {
			return err
		}
		doc, err := encode("a device", v)
		if err != nil {
			return err
		}
		query := `UPDATE inventory_devices SET state = $2, doc = $3, rev = rev + 1 WHERE id = $1 AND rev = $4`
		if rev == 0 {
			query = `INSERT INTO inventory_devices (id, state, doc, sequence, rev) VALUES ($1, $2, $3, 0, $4 + 1) ON CONFLICT (id) DO NOTHING`
		}
		r, err := tx.ExecContext(ctx, query, d.ID, string(d.State), doc, rev)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n != 1 {
			if err == nil {
				err = access.Errorf(access.CodeConflict, "device %s was changed meanwhile: try again", d.ID)
			}
			return err
		}
		return keepOwed(ctx, tx, []access.Owed{owed})
	})
}

// LastCalls says when each server of the registry was called last with a permit,
// at or after since, and since when the index knows. Both are microseconds of Unix
// time; since 0 looks through all there is. The query reads by time: what is joined
// with nothing keeps SQLite from reading the whole index of servers instead.
func (s *Store) LastCalls(ctx context.Context, since int64) (last map[string]int64, oldest int64, err error) {
	err = s.read(ctx, "looking for what is used", func(tx *sql.Tx) error {
		last = map[string]int64{}
		var first sql.NullInt64
		if err := tx.QueryRowContext(ctx, `SELECT MIN(at) FROM evidence`).Scan(&first); err != nil {
			return err
		}
		oldest = first.Int64
		return each(ctx, tx, func(r *sql.Rows) error {
			var server string
			var at int64
			if err := r.Scan(&server, &at); err != nil {
				return err
			}
			last[server] = at
			return nil
		}, `SELECT server || '', MAX(at) FROM evidence WHERE at >= $1 AND (type || '') = 'intent' AND outcome = 'permit' AND (server || '') IS NOT NULL GROUP BY server || ''`, since)
	})
	return last, oldest, err
}
