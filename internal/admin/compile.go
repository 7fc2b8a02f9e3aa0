package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/fact"
	"rutile/internal/grant"
	"rutile/internal/notice"
	"rutile/internal/policy"
	"rutile/internal/registry"
	"rutile/internal/signal"
	"rutile/internal/sink"
	"rutile/internal/webhook"
)

// after returns the state the draft leads to, validated whole.
func (a *Admin) after(cur *Current, d *draft) (*Current, error) {
	c := d.changes
	delta := registry.Delta{Agents: c.Agents, Servers: c.Servers, Teams: c.Teams, Users: c.Users, Tools: map[string]map[string]*registry.Tool{}}
	for k, t := range c.Tools {
		if delta.Tools[k.Server] == nil {
			delta.Tools[k.Server] = map[string]*registry.Tool{}
		}
		delta.Tools[k.Server][k.Tool] = t
	}
	view := cur.View.With(delta)
	if !recompiles(cur.View, c) {
		next := *cur
		next.View, next.Sources, next.Webhooks, next.Sinks, next.Signals, next.Mails, next.Labels, next.Monitor = view, with(cur.Sources, c.Sources), with(cur.Webhooks, c.Webhooks), with(cur.Sinks, c.Sinks), with(cur.Signals, c.Signals), with(cur.Mails, c.Mails), with(cur.Labels, c.Labels), a.cfg.Mode.monitors(view, cur.Policies)
		return &next, nil
	}
	policies := make(map[string]policy.Policy, len(cur.Policies)+len(c.Policies))
	for _, p := range cur.Policies {
		policies[p.ID] = p
	}
	next := &Current{View: view, Ladder: cur.Ladder, Rights: with(cur.Rights, c.Rights), Facts: with(cur.Facts, c.Facts), Sources: with(cur.Sources, c.Sources), Webhooks: with(cur.Webhooks, c.Webhooks), Sinks: with(cur.Sinks, c.Sinks), Signals: with(cur.Signals, c.Signals), Mails: with(cur.Mails, c.Mails), Labels: with(cur.Labels, c.Labels)}
	next.Policies = slices.Collect(maps.Values(with(policies, c.Policies)))
	return a.compile(next, cur.Set)
}

// with returns old with changes: what is nil is taken out.
func with[T any](old map[string]T, changes map[string]*T) map[string]T {
	out := make(map[string]T, len(old)+len(changes))
	maps.Copy(out, old)
	for id, x := range changes {
		if x == nil {
			delete(out, id)
		} else {
			out[id] = *x
		}
	}
	return out
}

// recompiles reports whether a change touches what policies are compiled
// against (see catalog and labels). A suspension or a drift does not, so that it takes
// effect without that wait.
func recompiles(v *registry.View, c Changes) bool {
	for id, s := range c.Servers {
		old, ok := v.Server(id)
		if !ok || s == nil || old.Pinning != s.Pinning || !maps.Equal(old.Classes, s.Classes) || !slices.Equal(labelsOf(&old), labelsOf(s)) {
			return true
		}
	}
	for id, x := range c.Agents {
		old, ok := v.Agent(id)
		if !ok || x == nil || old.Class != x.Class || !old.Expires.Equal(x.Expires) || !slices.Equal(old.Tools, x.Tools) || old.State == registry.AgentRetired || x.State == registry.AgentRetired {
			return true
		}
	}
	for k, t := range c.Tools {
		if _, ok := catalogued[registry.Tool{Name: k.Tool}.Kind()]; !ok {
			continue // no policy can tell what a server offers besides, or says of itself
		}
		old, _ := v.Tool(k.Server, k.Tool)
		s, _ := v.Server(k.Server)
		if t == nil || s.Pinning == registry.PinningObserve || old.PinDigest != t.PinDigest || t.PinDigest != "" && old.Class.Class != t.Class.Class {
			return true
		}
	}
	return len(c.Policies)+len(c.Rights)+len(c.Facts)+len(c.Labels) > 0
}

// build indexes and compiles a state.
func (a *Admin) build(c registry.Content, kept stored) (*Current, error) {
	view, err := registry.NewView(c)
	if err != nil {
		return nil, err
	}
	cur := &Current{View: view, Ladder: a.cfg.Ladder, Policies: kept.policies, Rights: make(map[string]grant.Entitlement, len(kept.rights)), Facts: make(map[string]fact.Fact, len(kept.facts)),
		Sources: make(map[string]credential.Source, len(kept.sources)), Webhooks: make(map[string]webhook.Webhook, len(kept.webhooks)), Sinks: make(map[string]sink.Sink, len(kept.sinks)),
		Signals: make(map[string]signal.Source, len(kept.signals)), Mails: make(map[string]notice.Mail, len(kept.mails)), Labels: make(map[string]registry.Label, len(kept.labels))}
	for _, e := range kept.rights {
		cur.Rights[e.ID] = e
	}
	for _, f := range kept.facts {
		cur.Facts[f.ID] = f
	}
	for _, s := range kept.sources {
		cur.Sources[s.ID] = s
	}
	for _, w := range kept.webhooks {
		cur.Webhooks[w.ID] = w
	}
	for _, s := range kept.sinks {
		cur.Sinks[s.ID] = s
	}
	for _, s := range kept.signals {
		cur.Signals[s.ID] = s
	}
	for _, m := range kept.mails {
		cur.Mails[m.ID] = m
	}
	for _, l := range kept.labels {
		cur.Labels[l.ID] = l
	}
	var earlier *policy.Set
	if old := a.current.Load(); old != nil {
		earlier = old.Set
	}
	return a.compile(cur, earlier)
}

// compile completes a state: it sorts and compiles its policies, and takes over what
// the set of an earlier state has of them.
func (a *Admin) compile(c *Current, earlier *policy.Set) (*Current, error) {
	slices.SortFunc(c.Policies, func(x, y policy.Policy) int { return compare(x.ID, y.ID) })
	set, err := earlier.Recompile(c.Policies, c.Catalog())
	if err != nil {
		return nil, compileError(err)
	}
	c.Set, c.Monitor = set, a.cfg.Mode.monitors(c.View, c.Policies)
	return c, nil
}

// compileError turns what policy found into problems with their place.
func compileError(err error) error {
	var found policy.Problems
	if !errors.As(err, &found) {
		return fmt.Errorf("compiling the policies: %w", err)
	}
	var ps Problems
	for _, p := range found {
		if p.Severity == policy.SeverityWarning {
			continue
		}
		ps = append(ps, problemOf(p))
	}
	return ps.err()
}

// catalogued are the kinds of definitions that policies are compiled against.
var catalogued = map[registry.Kind]access.Kind{registry.KindTool: access.KindTool, registry.KindPrompt: access.KindPrompt} //nolint:gochecknoglobals // a table

// catalog is what policies are compiled against: every definition that was ever
// approved, whatever its state now, so that a tool that drifts or goes away
// changes no policy; and what an observing server lets pass, whose arguments
// stay untyped because nobody approved their schema.
func catalog(v *registry.View, rights map[string]grant.Entitlement, facts map[string]fact.Fact) policy.Catalog {
	c := policy.Catalog{Agents: []policy.AgentInfo{}, Groups: []string{}}
	for _, t := range v.Teams() {
		c.Groups = append(c.Groups, t.ID)
	}
	for _, u := range v.Users() {
		c.Groups = append(c.Groups, u.ID)
	}
	for _, s := range v.Servers() {
		if s.ID == access.OwnServer {
			continue // left by a version that did not reserve the id; nothing reaches it
		}
		c.Servers = append(c.Servers, policy.ServerInfo{ID: s.ID})
		for _, t := range v.Tools(s.ID) {
			kind, ok := catalogued[t.Kind()]
			if !ok || t.PinDigest == "" && s.Pinning != registry.PinningObserve {
				continue
			}
			class := v.Class(t)
			words, err := class.Words()
			if err != nil {
				words = []string{class.Class} // policy counts an unknown class as every class
			}
			c.Tools = append(c.Tools, policy.ToolInfo{Server: s.ID, Name: t.Bare(), Kind: kind, Classes: words, Tier: class.Tier, InputSchema: inputSchema(t.Pinned)})
		}
	}
	for _, t := range registry.OwnTools() {
		c.Tools = append(c.Tools, policy.ToolInfo{Server: access.OwnServer, Name: t.Bare(), Classes: []string{t.Class.Class}, Tier: t.Class.Tier, InputSchema: inputSchema(t.Pinned)})
	}
	for _, a := range v.Agents() {
		c.Agents = append(c.Agents, policy.AgentInfo{ID: a.ID, Class: a.Class})
		if len(a.Tools) > 0 && a.State != registry.AgentRetired {
			c.AllowLists = append(c.AllowLists, policy.AllowList{Agent: a.ID, Expires: a.Expires, Patterns: a.Tools})
		}
	}
	for _, e := range rights {
		if e.State == grant.EntitlementActive {
			c.Entitlements = append(c.Entitlements, policy.Entitlement{ID: e.ID, Agents: e.Agents, Classes: e.Classes, Patterns: e.Tools, Heirs: e.Delegate.Agents, HeirClasses: e.Delegate.Classes})
		}
	}
	for _, id := range keysOf(facts) {
		if f := facts[id]; f.State == fact.Active {
			c.Facts = append(c.Facts, policy.FactInfo{ID: id, Bool: !f.Counts()})
		}
	}
	return c
}

// inputSchema returns the schema member of a definition, nil if it has none.
func inputSchema(def json.RawMessage) json.RawMessage {
	var d struct {
		InputSchema json.RawMessage `json:"inputSchema"`
	}
	if json.Unmarshal(def, &d) != nil {
		return nil
	}
	return d.InputSchema
}
