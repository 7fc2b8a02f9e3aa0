package gate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/boundary"
	"rutile/internal/flow"
	"rutile/internal/inspect"
	"rutile/internal/pdp"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// Bounds of what is kept of the values sessions were shown.
const (
	maxIndexes = 48   // in memory, of 2 MiB at most each
	maxParts   = 4096 // of one session in the store; what comes after is lost
)

// taintLost is the taint of a session that was shown more than is kept of it.
const taintLost = "lost"

// flows knows the values that sessions which have touched something were shown.
type flows struct {
	mu   sync.Mutex
	open map[string]*stream
}

// stream is the index of one session.
type stream struct {
	mu    sync.Mutex
	refs  int // guarded by flows.mu
	index *flow.Index
	known map[string]bool // parts that are in it
	whole bool            // those of the store are
}

// with calls do with the index of a session, which holds all that was kept of it.
func (g *Gate) with(ctx context.Context, session string, do func(s *stream) error) error {
	s := g.flows.take(session)
	defer g.flows.give(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index == nil {
		key, err := g.labels.Key(ctx, session)
		if err != nil {
			return fmt.Errorf("the key of a session: %w", err)
		}
		if s.index, err = flow.New(key); err != nil {
			return err
		}
	}
	if !s.whole || g.labels.Shared() {
		ids, parts, err := g.labels.Kept(ctx, session, func(id string) bool { return s.known[id] })
		if err != nil {
			return err
		}
		for i, id := range ids {
			if err := s.index.Add(parts[i]); err != nil {
				return err
			}
			s.known[id] = true
		}
		s.whole = true
	}
	return do(s)
}

func (f *flows) take(session string) *stream {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		f.open = map[string]*stream{}
	}
	s := f.open[session]
	if s == nil {
		for id, old := range f.open {
			if len(f.open) < maxIndexes {
				break
			}
			if old.refs == 0 {
				delete(f.open, id)
			}
		}
		s = &stream{known: map[string]bool{}}
		f.open[session] = s
	}
	s.refs++
	return s
}

func (f *flows) give(s *stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.refs--
}

// trace finds where the values of r come from, among what its session was shown and the
// sessions that handed it work.
func (g *Gate) trace(ctx context.Context, state *pdp.State, r *access.Request, t *access.Touched) *access.Touched {
	out := *t
	const broken = "where the values of the call come from cannot be found"
	sessions, err := g.lineage(ctx, r.Who.Session)
	if err != nil {
		out.Err = broken
		return &out
	}
	call := callOf(state, r)
	var facts flow.Facts
	for i, session := range sessions {
		err := g.with(ctx, session, func(s *stream) error {
			rep := s.index.Look(call)
			if i == 0 {
				facts = rep.Facts
			} else {
				facts = worse(facts, rep.Facts)
			}
			out.Leaves = append(out.Leaves, leavesOf(rep.Leaves, i > 0)...)
			return nil
		})
		if err != nil {
			out.Err = broken
			return &out
		}
	}
	facts.Lost = facts.Lost || slices.Contains(t.Taint, taintLost)
	for _, p := range r.Placeholders { // its value is what is sent
		facts.ContentLabels = merge(facts.ContentLabels, []string{p.Label})
	}
	slices.Sort(facts.ContentLabels)
	out.Flow = facts.Values()
	return &out
}

// lineage is a session with those that handed it work, the session itself first.
func (g *Gate) lineage(ctx context.Context, session string) ([]string, error) {
	out := []string{session}
	for i := 0; i < len(out) && len(out) < maxLineage; i++ {
		parents, err := g.labels.Parents(ctx, out[i])
		if err != nil {
			return nil, err
		}
		out = merge(out, parents)
	}
	return out, nil
}

// maxLineage bounds how many sessions one call is looked for in.
const maxLineage = 8

// callOf is r as flows see it.
func callOf(state *pdp.State, r *access.Request) flow.Call {
	c := flow.Call{Server: r.Server, Tool: r.Target, Arguments: r.Arguments}
	kind := registry.KindTool
	if r.Kind == access.KindPrompt {
		kind = registry.KindPrompt
	}
	t, ok := state.View.Tool(r.Server, registry.NameOf(kind, r.Target))
	if !ok {
		c.Traits = flow.Traits{Sends: true, Changes: true}
		return c
	}
	words, err := state.View.Class(t).Words()
	c.Traits = flow.Traits{Sends: err != nil || slices.Contains(words, registry.ClassEgress),
		Changes: err != nil || slices.Contains(words, registry.ClassWrite) || slices.Contains(words, registry.ClassDestroy)}
	def, _ := t.Offered()
	if v, err := rawjson.Parse(def, rawjson.Limits{Bytes: len(def) + 1}); err == nil {
		c.Description, _ = v.Get("description").Str()
	}
	return c
}

// worse is the graver of two findings about one call.
func worse(a, b flow.Facts) flow.Facts {
	a.Sink = a.Sink || b.Sink
	a.RecipientUntrusted, a.Carried, a.Ordered = a.RecipientUntrusted || b.RecipientUntrusted, a.Carried || b.Carried, a.Ordered || b.Ordered
	a.ContentLabels = merge(slices.Clone(a.ContentLabels), b.ContentLabels)
	a.SourceFinding, a.Tainted = max(a.SourceFinding, b.SourceFinding), max(a.Tainted, b.Tainted)
	a.Pointed, a.Replaced = a.Pointed && b.Pointed, a.Replaced || b.Replaced
	a.Novel, a.Lost = a.Novel && b.Novel, a.Lost || b.Lost
	a.Asked, a.ActionAsked = min(a.Asked, b.Asked), min(a.ActionAsked, b.ActionAsked)
	return a
}

// maxShown bounds how many values people are told of.
const maxShown = 8

// leavesOf are the values that were found again and matter, for people and evidence.
func leavesOf(list []flow.Leaf, foreign bool) []access.FlowLeaf {
	var out []access.FlowLeaf
	for _, l := range list {
		if l.From == nil || !l.From.Untrusted && len(l.Scopes) == 0 || len(out) == maxShown {
			continue
		}
		out = append(out, access.FlowLeaf{Pointer: inspect.Shown(l.Pointer), Role: string(l.Role), Kind: l.Kind, Start: l.Start, End: l.End, Call: l.From.Call,
			Server: l.From.Server, Tool: l.From.Tool, Untrusted: l.From.Untrusted, Scopes: l.Scopes, Tier: l.From.Tier.String(), Asked: l.Asked.String(), Foreign: foreign})
	}
	return out
}

// sent notes that r is let out: what it carried stays what it was, wherever it comes back
// from.
func (g *Gate) sent(ctx context.Context, state *pdp.State, r *access.Request) error {
	if r.Touched == nil || r.Touched.Flow == nil {
		return nil
	}
	return g.with(ctx, r.Who.Session, func(s *stream) error {
		prints := s.index.Sent(callOf(state, r))
		if len(r.Touched.Leaves) == 0 {
			return nil // forgotten, it is only new again
		}
		return g.part(ctx, r, s, r.ID+"/sent", prints)
	})
}

// part keeps what was added to the index of a session.
func (g *Gate) part(ctx context.Context, r *access.Request, s *stream, id string, prints []byte) error {
	if len(s.known) >= maxParts {
		_, err := g.labels.Raise(ctx, []boundary.Mark{markOf(r, boundary.SideTaint, taintLost, audit.Ref{})})
		return err
	}
	if err := g.labels.Keep(ctx, r.Who.Session, id, prints); err != nil {
		s.whole = false // what is in memory is more than what is kept
		return err
	}
	s.known[id] = true
	return nil
}

// ingest takes in what the session of r is about to be shown, and the sessions that
// handed it work. changed says that msg is not what whole was found in.
func (p *outflow) ingest(ctx context.Context, whole *sight, msg []byte, changed bool) error {
	session, root := p.req.Who.Session, whole.root
	if session == "" || len(msg) == 0 || !p.gate.labels.Touched(ctx, session) {
		return nil
	}
	if changed || !root.Exists() {
		var err error
		if root, err = rawjson.Parse(msg, rawjson.Limits{Bytes: len(msg) + 1}); err != nil { // nobody can tell what it holds
			_, err := p.gate.labels.Raise(ctx, []boundary.Mark{markOf(p.req, boundary.SideTaint, taintLost, p.intent)})
			return err
		}
	}
	sessions, err := p.gate.lineage(ctx, session)
	if err != nil {
		return err
	}
	inner, prefix := root, ""
	for _, k := range []string{"result", "error", "params"} {
		if v := root.Get(k); v.Exists() {
			inner, prefix = v, "/"+k
			break
		}
	}
	p.pieces++
	from := p.origin(whole, prefix)
	for _, s := range sessions {
		err := p.gate.with(ctx, s, func(x *stream) error {
			prints := x.index.Ingest(from, inner)
			if !from.Untrusted && len(from.Scopes) == 0 {
				return nil // forgotten, its values are only less trusted
			}
			r := *p.req
			r.Who.Session = s
			return p.gate.part(ctx, &r, x, fmt.Sprintf("%s/%d", p.req.ID, p.pieces), prints)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// origin is where a message of the call comes from.
func (p *outflow) origin(s *sight, prefix string) flow.Origin {
	o := flow.Origin{Call: p.req.ID, Server: p.req.Server, Tool: p.req.Target, Arguments: p.req.Arguments}
	if p.req.Kind == access.KindResource {
		o.Tool = ""
	}
	for _, l := range merge(slices.Clone(p.ruling.Labels()), s.identifying()) {
		o.Untrusted = o.Untrusted || registry.Untrusted(l)
		if registry.Private(l) {
			o.Scopes = append(o.Scopes, l)
		}
	}
	if s.quiet {
		return o
	}
	o.Untrusted = o.Untrusted || s.seen.Tier >= inspect.Review
	for _, part := range s.seen.Parts {
		if part.Tier < inspect.Review {
			continue
		}
		tier := flow.Review
		if part.Tier >= inspect.Block {
			tier = flow.Block
		}
		pointer, inside := strings.CutPrefix(part.Pointer, prefix)
		for _, f := range part.Findings {
			if x := (flow.Finding{Pointer: pointer, Start: f.Start, End: f.End, Tier: tier}); inside && part.Pointer != "" {
				o.Findings = append(o.Findings, x)
			} else {
				o.Findings = append(o.Findings, flow.Finding{Tier: tier})
			}
		}
	}
	return o
}
