package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// Commit applies c in one transaction and returns the new generation. If the
// stored generation is not c.Base it changes nothing and returns an
// access.CodeConflict error.
func (s *Store) Commit(ctx context.Context, c admin.Changes) (uint64, error) {
	rows, err := rowsOf(c)
	if err != nil {
		return 0, err
	}
	if c.Base >= math.MaxInt64 {
		return 0, conflict()
	}
	err = s.write(ctx, "committing a change", func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE generation SET value = value + 1 WHERE one = 1 AND value = $1`, int64(c.Base))
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		if err != nil {
			return err
		}
		if n != 1 {
			return conflict()
		}
		for _, t := range rows {
			if err := t.apply(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return c.Base + 1, nil
}

func conflict() error {
	return access.Errorf(access.CodeConflict, "something else was changed first: look at the present state and try again")
}

// change is the arguments of one statement per row.
type change struct {
	put, remove       string
	puts, removeThese [][]any
}

func (c change) apply(ctx context.Context, tx *sql.Tx) error {
	for _, batch := range []struct {
		query string
		args  [][]any
	}{{c.remove, c.removeThese}, {c.put, c.puts}} {
		if len(batch.args) == 0 {
			continue
		}
		stmt, err := tx.PrepareContext(ctx, batch.query)
		if err != nil {
			return err
		}
		defer stmt.Close()
		for _, args := range batch.args {
			if _, err := stmt.ExecContext(ctx, args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// rowsOf turns changes into rows, in an order every writer keeps. What cannot
// be stored is refused before anything is written.
func rowsOf(c admin.Changes) ([]change, error) {
	teams, err := changeOf(sorted(c.Teams), `DELETE FROM teams WHERE id = $1`,
		`INSERT INTO teams (id, doc) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc`, ids, teamRow)
	if err != nil {
		return nil, err
	}
	users, err := changeOf(sorted(c.Users), `DELETE FROM users WHERE id = $1`,
		`INSERT INTO users (id, state, doc) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET state = excluded.state, doc = excluded.doc`, ids, userRow)
	if err != nil {
		return nil, err
	}
	agents, err := changeOf(sorted(c.Agents), `DELETE FROM agents WHERE id = $1`,
		`INSERT INTO agents (id, owner, state, doc) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, state = excluded.state, doc = excluded.doc`, ids, agentRow)
	if err != nil {
		return nil, err
	}
	servers, err := changeOf(sorted(c.Servers), `DELETE FROM servers WHERE id = $1`,
		`INSERT INTO servers (id, owner, state, doc) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, state = excluded.state, doc = excluded.doc`, ids, serverRow)
	if err != nil {
		return nil, err
	}
	tools, err := changeOf(sortedTools(c.Tools), `DELETE FROM tools WHERE server = $1 AND name_hash = $2`,
		`INSERT INTO tools (server, name_hash, name, state, pinned, seen, doc) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (server, name_hash) DO UPDATE SET state = excluded.state, pinned = excluded.pinned, seen = excluded.seen, doc = excluded.doc`,
		func(k admin.ToolKey) []any { return []any{k.Server, digest(k.Tool)} }, toolRow)
	if err != nil {
		return nil, err
	}
	policies, err := changeOf(sorted(c.Policies), `DELETE FROM policies WHERE id = $1`,
		`INSERT INTO policies (id, doc) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc`, ids, policyRow)
	if err != nil {
		return nil, err
	}
	rights, err := changeOf(sorted(c.Rights), `DELETE FROM entitlements WHERE id = $1`,
		`INSERT INTO entitlements (id, doc) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc`, ids, entitlementRow)
	if err != nil {
		return nil, err
	}
	versions, err := versionRows(c.Versions)
	if err != nil {
		return nil, err
	}
	facts, err := changeOf(sorted(c.Facts), `DELETE FROM facts WHERE id = $1`,
		`INSERT INTO facts (id, doc) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc`, ids, factRow)
	if err != nil {
		return nil, err
	}
	sources, err := changeOf(sorted(c.Sources), `DELETE FROM credential_sources WHERE id = $1`,
		`INSERT INTO credential_sources (id, doc) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc`, ids, sourceRow)
	if err != nil {
		return nil, err
	}
	hooks, err := changeOf(sorted(c.Webhooks), `DELETE FROM webhooks WHERE id = $1`,
		`INSERT INTO webhooks (id, doc) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc`, ids, webhookRow)
	if err != nil {
		return nil, err
	}
	sinks, err := changeOf(sorted(c.Sinks), `DELETE FROM sinks WHERE id = $1`,
		`INSERT INTO sinks (id, doc) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc`, ids, sinkRow)
	if err != nil {
		return nil, err
	}
	signals, err := objectChange(signalKind, c.Signals)
	if err != nil {
		return nil, err
	}
	mails, err := objectChange(mailKind, c.Mails)
	if err != nil {
		return nil, err
	}
	labels, err := objectChange(labelKind, c.Labels)
	if err != nil {
		return nil, err
	}
	return []change{teams, users, agents, servers, tools, policies, rights, facts, sources, hooks, sinks, signals, mails, labels, versions}, nil
}

func ids(id string) []any { return []any{id} }

func changeOf[K comparable, T any](objects iter.Seq2[K, *T], remove, put string, key func(K) []any, row func(K, T) ([]any, error)) (change, error) {
	c := change{put: put, remove: remove}
	for k, x := range objects {
		if x == nil {
			c.removeThese = append(c.removeThese, key(k))
			continue
		}
		args, err := row(k, *x)
		if err != nil {
			return change{}, err
		}
		c.puts = append(c.puts, args)
	}
	return c, nil
}

func sorted[T any](m map[string]*T) iter.Seq2[string, *T] {
	return inOrder(m, cmp.Compare[string])
}

func sortedTools(m map[admin.ToolKey]*registry.Tool) iter.Seq2[admin.ToolKey, *registry.Tool] {
	return inOrder(m, func(a, b admin.ToolKey) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.Tool, b.Tool))
	})
}

func inOrder[K comparable, T any](m map[K]*T, compare func(a, b K) int) iter.Seq2[K, *T] {
	return func(yield func(K, *T) bool) {
		for _, k := range slices.SortedFunc(maps.Keys(m), compare) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

// named refuses an object under a key that is not its own.
func named(what, key, id string) error {
	if key != id {
		return fmt.Errorf("committing a change: the %s under key %q has another id", what, key)
	}
	return checkKey("the id of a "+what, id)
}

func teamRow(id string, t registry.Team) ([]any, error) {
	if err := named("team", id, t.ID); err != nil {
		return nil, err
	}
	doc, err := encode(fmt.Sprintf("team %q", id), t)
	return []any{id, doc}, err
}

func agentRow(id string, a registry.Agent) ([]any, error) {
	what := fmt.Sprintf("agent %q", id)
	if err := named("agent", id, a.ID); err != nil {
		return nil, err
	}
	if err := checkState(agentStates(), a.State, what); err != nil {
		return nil, err
	}
	doc, err := encode(what, newAgentDoc(a))
	return []any{id, a.Owner, string(a.State), doc}, err
}

func serverRow(id string, v registry.Server) ([]any, error) {
	what := fmt.Sprintf("server %q", id)
	if err := named("server", id, v.ID); err != nil {
		return nil, err
	}
	if err := checkState(serverStates(), v.State, what); err != nil {
		return nil, err
	}
	doc, err := encode(what, exactServer(v))
	return []any{id, v.Owner, string(v.State), doc}, err
}

func toolRow(k admin.ToolKey, t registry.Tool) ([]any, error) {
	what := fmt.Sprintf("%s %q of server %q", t.Kind(), t.Bare(), t.Server)
	if err := named("server of a tool", k.Server, t.Server); err != nil {
		return nil, err
	}
	if k.Tool != t.Name || t.Name == "" {
		return nil, fmt.Errorf("committing a change: the tool under key %q has another name", k.Tool)
	}
	if err := checkState(toolStates(), t.State, what); err != nil {
		return nil, err
	}
	pinned, seen := []byte(t.Pinned), []byte(t.Seen)
	t.Pinned, t.Seen = nil, nil // json would respell them
	doc, err := encode(what, exactTool(t))
	return []any{t.Server, digest(t.Name), t.Name, string(t.State), pinned, seen, doc}, err
}

func policyRow(id string, p policy.Policy) ([]any, error) {
	if err := named("policy", id, p.ID); err != nil {
		return nil, err
	}
	doc, err := encode(fmt.Sprintf("policy %q", id), exactPolicy(p))
	return []any{id, doc}, err
}

func exactPolicy(p policy.Policy) policy.Policy {
	p.Created, p.Changed = exact(p.Created), exact(p.Changed)
	return p
}
