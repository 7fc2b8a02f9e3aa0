package registry

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"rutile/internal/access"
)

// View is one generation of the catalog. It is immutable and safe for
// concurrent use; what its methods return shares memory with it and MUST NOT be
// changed.
type View struct {
	generation uint64
	agents     map[string]Agent
	servers    map[string]Server
	teams      map[string]Team
	users      map[string]User
	userTokens map[string]string          // id of a personal token → user
	tools      map[string]map[string]Tool // server → Tool.Name
	agentIDs   []string
	serverIDs  []string
	shapes     *shapes
}

// NewView indexes c. Unknown states and classes are kept, and deny; two entries
// of the same name are an error, because nobody can say which one is meant.
func NewView(c Content) (*View, error) {
	v := &View{
		generation: c.Generation,
		agents:     make(map[string]Agent, len(c.Agents)),
		servers:    make(map[string]Server, len(c.Servers)),
		teams:      make(map[string]Team, len(c.Teams)),
		users:      make(map[string]User, len(c.Users)),
		tools:      make(map[string]map[string]Tool, len(c.Servers)),
		shapes:     new(shapes),
	}
	for _, a := range c.Agents {
		if _, dup := v.agents[a.ID]; dup || a.ID == "" {
			return nil, fmt.Errorf("indexing the registry: agent %q is there twice or has no id", a.ID)
		}
		v.agents[a.ID] = a
	}
	for _, s := range c.Servers {
		if _, dup := v.servers[s.ID]; dup || s.ID == "" {
			return nil, fmt.Errorf("indexing the registry: server %q is there twice or has no id", s.ID)
		}
		v.servers[s.ID] = s
	}
	for _, t := range c.Teams {
		if _, dup := v.teams[t.ID]; dup || t.ID == "" {
			return nil, fmt.Errorf("indexing the registry: team %q is there twice or has no id", t.ID)
		}
		v.teams[t.ID] = t
	}
	for _, u := range c.Users {
		if _, dup := v.users[u.ID]; dup || u.ID == "" {
			return nil, fmt.Errorf("indexing the registry: user %q is there twice or has no id", u.ID)
		}
		v.users[u.ID] = u
	}
	if err := checkUsers(c.Users); err != nil {
		return nil, err
	}
	v.userTokens = tokenIndex(v.users)
	for _, t := range c.Tools {
		of := v.tools[t.Server]
		if of == nil {
			of = make(map[string]Tool)
			v.tools[t.Server] = of
		}
		if _, dup := of[t.Name]; dup || t.Name == "" {
			return nil, fmt.Errorf("indexing the registry: tool %q of server %q is there twice or has no name", t.Name, t.Server)
		}
		of[t.Name] = t
	}
	v.agentIDs = slices.Sorted(maps.Keys(v.agents))
	v.serverIDs = slices.Sorted(maps.Keys(v.servers))
	return v, nil
}

// Delta is a change of a catalog. A nil value removes the entry.
type Delta struct {
	Agents  map[string]*Agent
	Servers map[string]*Server
	Teams   map[string]*Team
	Users   map[string]*User
	Tools   map[string]map[string]*Tool // server → Tool.Name
}

// With returns the view after d, sharing what d does not touch.
func (v *View) With(d Delta) *View {
	w := &View{generation: v.generation, agents: with(v.agents, d.Agents), servers: with(v.servers, d.Servers), teams: with(v.teams, d.Teams), tools: v.tools, users: with(v.users, d.Users), userTokens: v.userTokens, shapes: v.shapes}
	if len(d.Users) > 0 {
		w.userTokens = tokenIndex(w.users)
	}
	if len(d.Tools) > 0 {
		w.tools = maps.Clone(v.tools)
		for server, changes := range d.Tools {
			w.tools[server] = with(v.tools[server], changes)
		}
	}
	w.agentIDs = slices.Sorted(maps.Keys(w.agents))
	w.serverIDs = slices.Sorted(maps.Keys(w.servers))
	return w
}

func with[T any](old map[string]T, changes map[string]*T) map[string]T {
	if len(changes) == 0 {
		return old
	}
	out := make(map[string]T, len(old)+len(changes))
	maps.Copy(out, old)
	for k, x := range changes {
		if x == nil {
			delete(out, k)
		} else {
			out[k] = *x
		}
	}
	return out
}

// At returns the view under another generation: the one it was committed as.
func (v *View) At(generation uint64) *View {
	w := *v
	w.generation = generation
	return &w
}

// Generation returns the generation the view was made from.
func (v *View) Generation() uint64 { return v.generation }

// Agent returns an agent by id.
func (v *View) Agent(id string) (Agent, bool) { a, ok := v.agents[id]; return a, ok }

// Server returns a server by id.
func (v *View) Server(id string) (Server, bool) { s, ok := v.servers[id]; return s, ok }

// Team returns a team by id.
func (v *View) Team(id string) (Team, bool) { t, ok := v.teams[id]; return t, ok }

// Tool returns a definition by the name it is kept under (NameOf).
func (v *View) Tool(server, name string) (Tool, bool) {
	t, ok := v.tools[server][name]
	return t, ok
}

// Agents returns every agent, sorted by id.
func (v *View) Agents() []Agent {
	out := make([]Agent, len(v.agentIDs))
	for i, id := range v.agentIDs {
		out[i] = v.agents[id]
	}
	return out
}

// Servers returns every server, sorted by id.
func (v *View) Servers() []Server {
	out := make([]Server, len(v.serverIDs))
	for i, id := range v.serverIDs {
		out[i] = v.servers[id]
	}
	return out
}

// Teams returns every team, sorted by id.
func (v *View) Teams() []Team { return sortedBy(v.teams, func(t Team) string { return t.ID }) }

func sortedBy[T any](m map[string]T, id func(T) string) []T {
	return slices.SortedFunc(maps.Values(m), func(a, b T) int { return cmp.Compare(id(a), id(b)) })
}

// Tools returns every definition of a server, of all kinds, sorted by name.
func (v *View) Tools(server string) []Tool {
	return slices.SortedFunc(maps.Values(v.tools[server]), func(a, b Tool) int { return cmp.Compare(a.Name, b.Name) })
}

// Content returns what the view was made from, sorted.
func (v *View) Content() Content {
	c := Content{Generation: v.generation, Agents: v.Agents(), Servers: v.Servers(), Teams: v.Teams(), Users: v.Users()}
	for _, server := range slices.Sorted(maps.Keys(v.tools)) {
		c.Tools = append(c.Tools, v.Tools(server)...)
	}
	return c
}

// Standing says whether a server or a definition may be used, and why not. The
// zero value refuses.
type Standing struct {
	OK    bool
	Drift bool         // not the approved definition, passed because the server observes drift
	Class access.Class // of the denial
	Why   string       // one sentence
	Help  string       // what would help
}

// ServerStanding says whether calls of the server may pass at all.
func (v *View) ServerStanding(id string) Standing {
	s, ok := v.servers[id]
	if !ok {
		return Standing{Class: access.ClassServer, Why: fmt.Sprintf("server %q is not registered", id), Help: "ask its owner to register it"}
	}
	switch s.State {
	case ServerSanctioned, ServerDeprecated:
		if s.Owner == "" {
			return Standing{Class: access.ClassServer, Why: fmt.Sprintf("server %q has no owner", id), Help: "an operator must name one"}
		}
		return Standing{OK: true}
	case ServerDiscovered, ServerTriaged:
		return Standing{Class: access.ClassServer, Why: fmt.Sprintf("server %q is %s and not approved yet", id, s.State), Help: "ask for its review"}
	case ServerQuarantined, ServerBlocked, ServerRetired:
		return Standing{Class: access.ClassServer, Why: fmt.Sprintf("server %q is %s", id, s.State), Help: "ask its owner " + s.Owner}
	default:
		return Standing{Class: access.ClassServer, Why: fmt.Sprintf("server %q is in an unknown state", id), Help: "upgrade this gateway or repair the entry"}
	}
}

// Callable says whether the definition kept under name (NameOf) may be listed
// and called, with the definition where there is one. The caller MUST still
// decide by policy.
func (v *View) Callable(server, name string) (Tool, Standing) {
	if st := v.ServerStanding(server); !st.OK {
		return Tool{}, st
	}
	t, ok := v.tools[server][name]
	if !ok {
		return Tool{}, Standing{Class: access.ClassHidden, Why: "it is not offered", Help: "list what is offered"}
	}
	return t, t.standing(v.servers[server])
}

func (t Tool) standing(s Server) Standing {
	observe := s.Pinning == PinningObserve
	help := "ask " + s.Owner + " to review it"
	deny := func(why string) Standing {
		return Standing{Class: access.ClassTool, Why: fmt.Sprintf("%s %q of server %q %s", t.Kind(), t.Bare(), t.Server, why), Help: help}
	}
	switch t.State {
	case ToolApproved:
		if t.PinDigest == "" {
			return deny("is approved without a pin")
		}
		return Standing{OK: true}
	case ToolPending:
		if observe && t.SeenDigest != "" {
			return Standing{OK: true, Drift: true}
		}
		return deny("is new and waits for approval")
	case ToolChanged:
		if observe && t.SeenDigest != "" {
			return Standing{OK: true, Drift: true}
		}
		return deny("differs from its approved definition and waits for approval")
	case ToolAbsent:
		return deny("is not listed by its server any more")
	case ToolQuarantined, ToolBlocked, ToolRetired:
		return deny("is " + string(t.State))
	default:
		return deny("is in an unknown state")
	}
}
