package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
)

// inMost is how many values one condition names.
const inMost = 500

// in calls f with a condition of the form "($1, $2, …)" and its arguments for
// parts of values; the first parameter has the number from.
func (d *dialect) in(values []string, from int, f func(list string, args []any) error) error {
	for part := range slices.Chunk(values, inMost) {
		marks, args := make([]string, len(part)), make([]any, len(part))
		for i, v := range part {
			marks[i], args[i] = d.mark(from+i), v
		}
		if err := f("("+strings.Join(marks, ", ")+")", args); err != nil {
			return err
		}
	}
	return nil
}

// documents reads rows of an id and a document into out.
func documents[T any](ctx context.Context, tx *sql.Tx, table string, keep func(id string, v *T), query string, args ...any) error {
	return each(ctx, tx, func(r *sql.Rows) error {
		var id, doc string
		if err := r.Scan(&id, &doc); err != nil {
			return err
		}
		var v T
		if err := decode(table, id, doc, &v); err != nil {
			return err
		}
		keep(id, &v)
		return nil
	}, query, args...)
}

func inventoryGeneration(ctx context.Context, tx *sql.Tx) (uint64, error) {
	var gen int64
	err := tx.QueryRowContext(ctx, `SELECT value FROM inventory_head WHERE one = 1`).Scan(&gen)
	return uint64(gen), err
}

// Inventory returns what is kept of a scope.
func (s *Store) Inventory(ctx context.Context, scope inventory.Scope) (inventory.Kept, error) {
	var k inventory.Kept
	err := s.read(ctx, "reading the inventory", func(tx *sql.Tx) error {
		k = inventory.Kept{
			Servers: map[string]inventory.Server{}, Variants: map[string]inventory.Variant{}, Sightings: map[string]inventory.Sighting{},
			Agents: map[string]inventory.Agent{}, Credentials: map[string]inventory.Credential{},
		}
		var err error
		if k.Generation, err = inventoryGeneration(ctx, tx); err != nil {
			return err
		}
		err = hosts(ctx, tx, func(h *inventory.Host) { k.Host = h }, ` WHERE id = $1`, scope.Host)
		if err != nil {
			return err
		}
		err = s.dialect.in(scope.Servers, 1, func(list string, args []any) error {
			return documents(ctx, tx, "inventory_servers", func(id string, v *inventory.Server) { k.Servers[id] = *v }, `SELECT key, doc FROM inventory_servers WHERE key IN `+list, args...)
		})
		if err != nil {
			return err
		}
		err = s.dialect.in(scope.Variants, 1, func(list string, args []any) error {
			return documents(ctx, tx, "inventory_variants", func(id string, v *inventory.Variant) { k.Variants[id] = *v }, `SELECT id, doc FROM inventory_variants WHERE id IN `+list, args...)
		})
		if err != nil {
			return err
		}
		if err := sightings(ctx, tx, func(v *inventory.Sighting) { k.Sightings[v.ID] = *v }, ` WHERE host = $1`, scope.Host); err != nil {
			return err
		}
		if err := agentsSeen(ctx, tx, func(v *inventory.Agent) { k.Agents[v.ID] = *v }, ` WHERE host = $1`, scope.Host); err != nil {
			return err
		}
		return credentialsSeen(ctx, tx, func(v *inventory.Credential) { k.Credentials[v.ID] = *v }, ` WHERE host = $1`, scope.Host)
	})
	return k, err
}

func hosts(ctx context.Context, tx *sql.Tx, keep func(*inventory.Host), where string, args ...any) error {
	return each(ctx, tx, func(r *sql.Rows) error {
		var id, took, doc string
		var last int64
		if err := r.Scan(&id, &last, &took, &doc); err != nil {
			return err
		}
		var h inventory.Host
		if err := decode("inventory_hosts", id, doc, &h); err != nil {
			return err
		}
		h.ID, h.Took, h.Last = id, took, fromMicros(last)
		keep(&h)
		return nil
	}, `SELECT id, last_seen, took, doc FROM inventory_hosts`+where, args...)
}

func sightings(ctx context.Context, tx *sql.Tx, keep func(*inventory.Sighting), where string, args ...any) error {
	return each(ctx, tx, func(r *sql.Rows) error {
		var id, doc string
		var first, last, gone, back int64
		if err := r.Scan(&id, &first, &last, &gone, &back, &doc); err != nil {
			return err
		}
		var v inventory.Sighting
		if err := decode("inventory_sightings", id, doc, &v); err != nil {
			return err
		}
		v.ID, v.First, v.Last, v.Gone, v.Reappeared = id, fromMicros(first), fromMicros(last), orNever(gone), orNever(back)
		keep(&v)
		return nil
	}, `SELECT id, first_seen, last_seen, gone, reappeared, doc FROM inventory_sightings`+where, args...)
}

func agentsSeen(ctx context.Context, tx *sql.Tx, keep func(*inventory.Agent), where string, args ...any) error {
	return each(ctx, tx, func(r *sql.Rows) error {
		var id, doc string
		var last int64
		if err := r.Scan(&id, &last, &doc); err != nil {
			return err
		}
		var v inventory.Agent
		if err := decode("inventory_agents", id, doc, &v); err != nil {
			return err
		}
		v.ID, v.Last = id, fromMicros(last)
		keep(&v)
		return nil
	}, `SELECT id, last_seen, doc FROM inventory_agents`+where, args...)
}

func credentialsSeen(ctx context.Context, tx *sql.Tx, keep func(*inventory.Credential), where string, args ...any) error {
	return each(ctx, tx, func(r *sql.Rows) error {
		var id, doc string
		var last int64
		if err := r.Scan(&id, &last, &doc); err != nil {
			return err
		}
		var v inventory.Credential
		if err := decode("inventory_credentials", id, doc, &v); err != nil {
			return err
		}
		v.ID, v.Last = id, fromMicros(last)
		keep(&v)
		return nil
	}, `SELECT id, last_seen, doc FROM inventory_credentials`+where, args...)
}

// orNever is a time of a column where 0 stands for none.
func orNever(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return fromMicros(n)
}

func neverOr(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return micros(t)
}

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Found returns all servers and how their sightings are spread.
func (s *Store) Found(ctx context.Context, missing time.Time) ([]inventory.Server, []inventory.Tally, error) {
	var servers []inventory.Server
	var tallies []inventory.Tally
	err := s.read(ctx, "reading the inventory", func(tx *sql.Tx) error {
		servers, tallies = nil, nil
		err := documents(ctx, tx, "inventory_servers", func(id string, v *inventory.Server) {
			v.Key = id
			servers = append(servers, *v)
		}, `SELECT key, doc FROM inventory_servers ORDER BY key`)
		if err != nil {
			return err
		}
		return each(ctx, tx, func(r *sql.Rows) error {
			var t inventory.Tally
			var fact string
			var routed, disabled, gone, count, hosts, first, last, back int64
			if err := r.Scan(&t.Server, &fact, &routed, &disabled, &gone, &count, &hosts, &first, &last, &back); err != nil {
				return err
			}
			t.Fact, t.Routed, t.Disabled, t.Gone = discovery.Fact(fact), routed == 1, disabled == 1, gone == 1
			t.Count, t.Hosts, t.First, t.Last, t.Reappeared = int(count), int(hosts), fromMicros(first), fromMicros(last), orNever(back)
			tallies = append(tallies, t)
			return nil
		}, `SELECT server, fact, routed, disabled, CASE WHEN gone > 0 OR last_seen < $1 THEN 1 ELSE 0 END AS away, COUNT(*), COUNT(DISTINCT host), MIN(first_seen), MAX(last_seen), MAX(reappeared)
			FROM inventory_sightings GROUP BY server, fact, routed, disabled, CASE WHEN gone > 0 OR last_seen < $1 THEN 1 ELSE 0 END ORDER BY server, fact, routed, disabled, away`, micros(missing))
	})
	return servers, tallies, err
}

// Seen returns the variants and sightings of servers, by id.
func (s *Store) Seen(ctx context.Context, keys []string) ([]inventory.Variant, []inventory.Sighting, error) {
	var variants []inventory.Variant
	var seen []inventory.Sighting
	err := s.read(ctx, "reading the inventory", func(tx *sql.Tx) error {
		variants, seen = nil, nil
		return s.dialect.in(keys, 1, func(list string, args []any) error {
			err := documents(ctx, tx, "inventory_variants", func(id string, v *inventory.Variant) {
				v.ID = id
				variants = append(variants, *v)
			}, `SELECT id, doc FROM inventory_variants WHERE server IN `+list+` ORDER BY id`, args...)
			if err != nil {
				return err
			}
			return sightings(ctx, tx, func(v *inventory.Sighting) { seen = append(seen, *v) }, ` WHERE server IN `+list+` ORDER BY id`, args...)
		})
	})
	return variants, seen, err
}

// FoundGeneration is that of the newest commit of the inventory.
func (s *Store) FoundGeneration(ctx context.Context) (uint64, error) {
	var gen uint64
	err := s.read(ctx, "reading the inventory", func(tx *sql.Tx) (err error) {
		gen, err = inventoryGeneration(ctx, tx)
		return err
	})
	return gen, err
}

// FoundBy returns what lists say of all sightings and variants. Of a document only the
// members that count are read.
func (s *Store) FoundBy(ctx context.Context, missing time.Time) ([]inventory.Mark, []inventory.Way, error) {
	var marks []inventory.Mark
	var ways []inventory.Way
	err := s.read(ctx, "reading the inventory", func(tx *sql.Tx) error {
		marks, ways = nil, nil
		err := each(ctx, tx, func(r *sql.Rows) error {
			var m inventory.Mark
			var gone int64
			var id, doc string
			if err := r.Scan(&id, &m.Server, &m.Host, &gone, &doc); err != nil {
				return err
			}
			var v struct{ User, Source string }
			if err := partly("inventory_sightings", id, doc, &v); err != nil {
				return err
			}
			m.User, m.Source, m.Gone = v.User, v.Source, gone == 1
			marks = append(marks, m)
			return nil
		}, `SELECT id, server, host, CASE WHEN gone > 0 OR last_seen < $1 THEN 1 ELSE 0 END, doc FROM inventory_sightings`, micros(missing))
		if err != nil {
			return err
		}
		return each(ctx, tx, func(r *sql.Rows) error {
			var w inventory.Way
			var id, doc string
			if err := r.Scan(&id, &w.Server, &doc); err != nil {
				return err
			}
			var v struct{ Target struct{ Transport string } }
			if err := partly("inventory_variants", id, doc, &v); err != nil {
				return err
			}
			w.Transport = v.Target.Transport
			ways = append(ways, w)
			return nil
		}, `SELECT id, server, doc FROM inventory_variants`)
	})
	return marks, ways, err
}

// Around returns the hosts, agents, credentials and merges.
func (s *Store) Around(ctx context.Context) (inventory.Around, error) {
	var a inventory.Around
	err := s.read(ctx, "reading the inventory", func(tx *sql.Tx) error {
		a = inventory.Around{}
		var err error
		if a.Generation, err = inventoryGeneration(ctx, tx); err != nil {
			return err
		}
		if err := hosts(ctx, tx, func(h *inventory.Host) { a.Hosts = append(a.Hosts, *h) }, ` ORDER BY id`); err != nil {
			return err
		}
		if err := agentsSeen(ctx, tx, func(v *inventory.Agent) { a.Agents = append(a.Agents, *v) }, ` ORDER BY id`); err != nil {
			return err
		}
		if err := credentialsSeen(ctx, tx, func(v *inventory.Credential) { a.Credentials = append(a.Credentials, *v) }, ` ORDER BY id`); err != nil {
			return err
		}
		return merges(ctx, tx, &a.Merges)
	})
	return a, err
}

// Merges returns what people said is one server, and took back.
func (s *Store) Merges(ctx context.Context) ([]inventory.Merge, error) {
	var out []inventory.Merge
	err := s.read(ctx, "reading the inventory", func(tx *sql.Tx) error {
		out = nil
		return merges(ctx, tx, &out)
	})
	return out, err
}

func merges(ctx context.Context, tx *sql.Tx, out *[]inventory.Merge) error {
	return documents(ctx, tx, "inventory_merges", func(_ string, m *inventory.Merge) { *out = append(*out, *m) }, `SELECT id, doc FROM inventory_merges ORDER BY id`)
}

// Batch returns a batch that was taken.
func (s *Store) Batch(ctx context.Context, id string) (inventory.Taken, bool, error) {
	var t inventory.Taken
	var doc string
	ok, err := s.one(ctx, "looking for a batch", `SELECT doc FROM inventory_batches WHERE id = $1`, []any{id}, []any{&doc})
	if err != nil || !ok {
		return t, false, err
	}
	if json.Unmarshal([]byte(doc), &t) != nil {
		return t, false, rowError{"inventory_batches", id}
	}
	return t, true, nil
}

// errInventory says that the inventory was changed meanwhile.
func errInventory() error {
	return access.Errorf(access.CodeConflict, "the inventory was changed meanwhile: try again")
}
