package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/registry"
)

// Generation returns the newest committed generation.
func (s *Store) Generation(ctx context.Context) (uint64, error) {
	var gen int64
	ok, err := s.one(ctx, "reading the generation", `SELECT value FROM generation WHERE one = 1`, nil, []any{&gen})
	if err == nil && !ok {
		err = rowError{"generation", "1"}
	}
	return uint64(gen), err
}

// LoadRegistry returns everything the registry holds, in one consistent read.
func (s *Store) LoadRegistry(ctx context.Context) (registry.Content, error) {
	var c registry.Content
	err := s.read(ctx, "loading the registry", func(tx *sql.Tx) error {
		c = registry.Content{}
		var gen int64
		if err := tx.QueryRowContext(ctx, `SELECT value FROM generation WHERE one = 1`).Scan(&gen); err != nil {
			return err
		}
		c.Generation = uint64(gen)
		for _, load := range []func(context.Context, *sql.Tx, *registry.Content) error{s.loadTeams, s.loadUsers, s.loadAgents, s.loadServers, s.loadTools} {
			if err := load(ctx, tx, &c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return registry.Content{}, err
	}
	return c, nil
}

func (s *Store) loadTeams(ctx context.Context, tx *sql.Tx, c *registry.Content) error {
	return each(ctx, tx, func(r *sql.Rows) error {
		var id, doc string
		if err := r.Scan(&id, &doc); err != nil {
			return err
		}
		var t registry.Team
		if err := decode("teams", id, doc, &t); err != nil {
			return err
		}
		t.ID = id
		c.Teams = append(c.Teams, t)
		return nil
	}, `SELECT id, doc FROM teams ORDER BY id`)
}

func (s *Store) loadAgents(ctx context.Context, tx *sql.Tx, c *registry.Content) error {
	return each(ctx, tx, func(r *sql.Rows) error {
		var id, owner, state, doc string
		if err := r.Scan(&id, &owner, &state, &doc); err != nil {
			return err
		}
		var d agentDoc
		if err := decode("agents", id, doc, &d); err != nil {
			return err
		}
		a := d.agent()
		a.ID, a.Owner, a.State = id, owner, registry.AgentState(state)
		stranger(s, agentStates(), a.State, "agents", id)
		c.Agents = append(c.Agents, a)
		return nil
	}, `SELECT id, owner, state, doc FROM agents ORDER BY id`)
}

func (s *Store) loadServers(ctx context.Context, tx *sql.Tx, c *registry.Content) error {
	return each(ctx, tx, func(r *sql.Rows) error {
		var id, owner, state, doc string
		if err := r.Scan(&id, &owner, &state, &doc); err != nil {
			return err
		}
		var v registry.Server
		if err := decode("servers", id, doc, &v); err != nil {
			return err
		}
		v.ID, v.Owner, v.State = id, owner, registry.ServerState(state)
		stranger(s, serverStates(), v.State, "servers", id)
		c.Servers = append(c.Servers, exactServer(v))
		return nil
	}, `SELECT id, owner, state, doc FROM servers ORDER BY id`)
}

func (s *Store) loadTools(ctx context.Context, tx *sql.Tx, c *registry.Content) error {
	return each(ctx, tx, func(r *sql.Rows) error {
		var server, name, state, doc string
		var pinned, seen []byte
		if err := r.Scan(&server, &name, &state, &pinned, &seen, &doc); err != nil {
			return err
		}
		var t registry.Tool
		if err := decode("tools", server+"/"+name, doc, &t); err != nil {
			return err
		}
		t.Server, t.Name, t.State = server, name, registry.ToolState(state)
		t.Pinned, t.Seen = pinned, seen
		stranger(s, toolStates(), t.State, "tools", server+"/"+name)
		c.Tools = append(c.Tools, exactTool(t))
		return nil
	}, `SELECT server, name, state, pinned, seen, doc FROM tools ORDER BY server, name`)
}

// The states the schema allows.
func agentStates() []registry.AgentState {
	return []registry.AgentState{registry.AgentActive, registry.AgentSuspended, registry.AgentQuarantined, registry.AgentRetired}
}

func serverStates() []registry.ServerState {
	return []registry.ServerState{
		registry.ServerDiscovered, registry.ServerTriaged, registry.ServerSanctioned, registry.ServerDeprecated,
		registry.ServerQuarantined, registry.ServerBlocked, registry.ServerRetired,
	}
}

func toolStates() []registry.ToolState {
	return []registry.ToolState{
		registry.ToolPending, registry.ToolApproved, registry.ToolChanged, registry.ToolAbsent,
		registry.ToolQuarantined, registry.ToolBlocked, registry.ToolRetired,
	}
}

// stranger logs a row in a state this version does not know. The registry
// denies it; the other rows still count.
func stranger[S ~string](s *Store, known []S, state S, table, id string) {
	if !slices.Contains(known, state) {
		s.log.Error("a stored row is in a state this version does not know and is denied: repair it, or run the version that wrote it", "table", table, "id", id)
	}
}

// checkState refuses to store such a state.
func checkState[S ~string](known []S, state S, what string) error {
	if slices.Contains(known, state) {
		return nil
	}
	return access.Errorf(access.CodeInvalid, "%s is in the state %q, which is not one that can be stored", what, string(state))
}

// agentDoc is an agent as a document. Package json would respell raw keys, so
// they are kept as bytes.
type agentDoc struct {
	registry.Agent
	Keys [][]byte `json:"keys,omitempty"`
}

func newAgentDoc(a registry.Agent) agentDoc {
	a.Expires, a.Created, a.Changed = exact(a.Expires), exact(a.Created), exact(a.Changed)
	a.Reminded, a.Attested = exact(a.Reminded), exactAttestation(a.Attested)
	d := agentDoc{Agent: a}
	for _, k := range a.Keys {
		d.Keys = append(d.Keys, k)
	}
	d.Agent.Keys = nil
	return d
}

func (d agentDoc) agent() registry.Agent {
	a := d.Agent
	a.Expires, a.Created, a.Changed = exact(a.Expires), exact(a.Created), exact(a.Changed)
	a.Reminded, a.Attested = exact(a.Reminded), exactAttestation(a.Attested)
	for _, k := range d.Keys {
		a.Keys = append(a.Keys, json.RawMessage(k))
	}
	return a
}

func exactAttestation(x *registry.Attestation) *registry.Attestation {
	if x == nil {
		return nil
	}
	y := *x
	y.At, y.Due = exact(y.At), exact(y.Due)
	return &y
}

func exactServer(v registry.Server) registry.Server {
	v.Created, v.Changed, v.Ends = exact(v.Created), exact(v.Changed), exact(v.Ends)
	v.Expires, v.Reminded, v.Attested = exact(v.Expires), exact(v.Reminded), exactAttestation(v.Attested)
	for _, asked := range []**registry.Asked{&v.Asked, &v.Blocking} {
		if *asked != nil {
			a := **asked
			a.At = exact(a.At)
			*asked = &a
		}
	}
	if v.Lowered != nil {
		l := *v.Lowered
		l.Until = exact(l.Until)
		v.Lowered = &l
	}
	if v.Baseline != nil {
		b := make(map[registry.Kind]time.Time, len(v.Baseline))
		for k, t := range v.Baseline {
			b[k] = exact(t)
		}
		v.Baseline = b
	}
	return v
}

func exactTool(t registry.Tool) registry.Tool {
	t.ApprovedAt, t.FirstSeen, t.LastSeen = exact(t.ApprovedAt), exact(t.FirstSeen), exact(t.LastSeen)
	return t
}
