package mcpproxy

import (
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/pdp"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// offer is one entry of an aggregated list: an approved definition under the
// name it has here.
type offer struct {
	server string
	name   string // as its server has it: a name or a URI
	raw    []byte
	from   []byte // the registry's bytes it was made from
	digest string
}

// offers keeps what the aggregate lists: per generation of the registry what
// there is, and per viewer and state which of it is visible.
type offers struct {
	mu   sync.Mutex
	view *registry.View
	// observes says that nothing is enforced where of was gathered.
	observes bool
	of       map[string][]offer // by list, sorted by server and name
	state    *pdp.State
	seen     map[viewer]sight
	size     int             // of seen, in indices
	left     map[string]bool // digests of what was left out and said so
}

// viewer is what visibility may depend on besides the state.
type viewer struct {
	who    access.Identity
	list   string
	server string
}

// sight is which offers a viewer sees, and when that was found out: conditions
// on the time make it old.
type sight struct {
	at    time.Time
	shown []int32
}

const (
	sightTime = time.Second
	maxSights = 4 << 20 // indices kept in all
	sightCost = 128     // of one sight besides, in indices
	freshTime = 30 * time.Second
)

// offered returns the offers of a list and which of them, of one server or of
// all for "", are visible to the request's identity. Neither may be changed.
func (p *Proxy) offered(r *access.Request, list, server string) ([]offer, []int32) {
	key := viewer{viewing(r), list, server}
	s := &p.offers
	s.mu.Lock()
	state := p.gate.State() // never an older one than somebody else has seen here
	if s.view != state.View || s.observes != state.Monitor {
		s.of, s.view, s.observes = p.gather(state, s.of), state.View, state.Monitor
	}
	if s.state != state {
		s.state, s.seen, s.size = state, map[viewer]sight{}, 0
	}
	all := s.of[list]
	if got, ok := s.seen[key]; ok && r.At.Sub(got.at) < sightTime {
		s.mu.Unlock()
		return all, got.shown
	}
	s.mu.Unlock()
	shown := p.visible(state, r, list, server, all)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == state { // else whoever asks next decides on the newer one
		s.keep(key, sight{r.At, shown})
	}
	return all, shown
}

// keep keeps what a viewer sees; where that were too much with all others', it
// is the first kept anew. mu is held.
func (s *offers) keep(key viewer, now sight) {
	if old, ok := s.seen[key]; ok {
		s.size -= len(old.shown) + sightCost
	}
	if s.size += len(now.shown) + sightCost; s.seen == nil || s.size > maxSights {
		s.seen, s.size = map[viewer]sight{}, len(now.shown)+sightCost
	}
	s.seen[key] = now
}

// visible applies to every offer what /mcp/{server} applies to its list.
func (p *Proxy) visible(state *pdp.State, r *access.Request, list, server string, all []offer) []int32 {
	k := listKinds[list]
	open := map[string]bool{}
	for _, s := range state.View.Servers() {
		if server != "" && s.ID != server {
			continue
		}
		ask := *r
		ask.Server = s.ID
		if open[s.ID] = pdp.Visible(state, &ask); open[s.ID] && server == "" {
			p.freshen(s.ID)
		}
	}
	var shown []int32
	for i := range all {
		o := &all[i]
		if !open[o.server] {
			continue
		}
		ask := *r
		ask.Server = o.server
		ask.Kind, ask.Target, ask.Unknown, ask.Arguments = k.access, o.name, true, rawjson.Value{}
		if pdp.Visible(state, &ask) {
			shown = append(shown, int32(i))
		}
	}
	return shown
}

// freshen looks at a server in the background if nobody did for a while, since a
// list of the aggregate asks none.
func (p *Proxy) freshen(server string) {
	p.mu.Lock()
	l := p.learning[server]
	fresh := p.closed || l != nil && time.Since(l.at) < freshTime
	p.mu.Unlock()
	if !fresh {
		p.startLearning(server)
	}
}

// gather makes the offers of a generation, keeping what did not change.
func (p *Proxy) gather(state *pdp.State, before map[string][]offer) map[string][]offer {
	v := state.View
	type key struct{ list, server, name string }
	old := map[key]*offer{}
	for list, os := range before {
		for i := range os {
			old[key{list, os[i].server, os[i].name}] = &os[i]
		}
	}
	of := map[string][]offer{}
	for _, s := range v.Servers() {
		if !v.ServerStanding(s.ID).OK {
			continue
		}
		for _, t := range v.Tools(s.ID) { // sorted by name within each kind
			list := listOf(t.Kind())
			def, digest := listable(s, t, state.Monitor)
			if list == "" || def == nil {
				continue
			}
			if o := old[key{list, s.ID, t.Bare()}]; o != nil && &o.from[0] == &def[0] {
				of[list] = append(of[list], *o)
				continue
			}
			if o, ok := p.offer(s, t, list, def, digest); ok {
				of[list] = append(of[list], o)
			}
		}
	}
	return of
}

// listOf is the list a kind of definition stands in, "" if none.
func listOf(kind registry.Kind) string {
	for list, k := range listKinds {
		if k.kind == kind {
			return list
		}
	}
	return ""
}

// listable returns the definition of t that may be listed: the approved one as
// long as it is the one its server listed last, or what the server listed last
// where that change was let pass or is only observed. While nothing is enforced that includes what waits at a server
// clients were wrapped for, as in the server's own list. It is nil if there is none.
func listable(s registry.Server, t registry.Tool, observes bool) (def []byte, digest string) {
	switch {
	case t.State == registry.ToolAbsent || t.SeenDigest == "":
		return nil, ""
	case t.PinDigest == t.SeenDigest && len(t.Pinned) > 0:
		return t.Pinned, t.PinDigest
	case s.Pinning == registry.PinningObserve && len(t.Seen) > 0, observes && s.Wrapped && t.Waits() && len(t.Seen) > 0:
		return t.Seen, t.SeenDigest
	case t.State == registry.ToolApproved && !t.Unverified():
		return t.Offered()
	default:
		return nil, ""
	}
}

// offer puts the aggregate's name into a definition. What can have none here is
// left out, and said once. p.offers.mu is held.
func (p *Proxy) offer(s registry.Server, t registry.Tool, list string, def []byte, digest string) (offer, bool) {
	leave := func(why string) (offer, bool) {
		if key := s.ID + " " + digest; !p.offers.left[key] {
			if p.offers.left == nil || len(p.offers.left) > 10_000 {
				p.offers.left = map[string]bool{}
			}
			p.offers.left[key] = true
			p.log.Warn("left out of the aggregate", "server", s.ID, "list", list, "name", t.Bare(), "why", why)
		}
		return offer{}, false
	}
	var name string
	switch kind := t.Kind(); kind {
	case registry.KindTool, registry.KindPrompt:
		var ok bool
		if name, ok = joined(s.ID, kind, t.Bare()); !ok {
			return leave("its name with the server's is longer than 128 characters or, of a tool, holds others than A-Z a-z 0-9 _ - .")
		}
		if kind == registry.KindTool {
			if sh := p.shapeOf(t); sh.invalid != "" {
				return leave(sh.invalid)
			}
		}
	default:
		name = joinedURI(s.ID, t.Bare())
	}
	v, err := rawjson.Parse(def, rawjson.Limits{})
	if err != nil || v.Kind() != rawjson.Object {
		return leave("its definition is not a JSON object")
	}
	raw := rawjson.Splice(def, rawjson.SetMember(v, listKinds[list].key, rawjson.AppendString(nil, name)))
	return offer{server: s.ID, name: t.Bare(), raw: raw, from: def, digest: digest}, true
}
