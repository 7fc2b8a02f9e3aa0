package admin

import (
	"context"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/registry"
)

// Move is a change of state of a server and what belongs to it.
type Move struct {
	Verb   registry.Verb
	Reason string
	// Owner and DataScopes are set with it; "" and nil leave them as they are.
	Owner      string
	DataScopes []string
	// Replacement and Ends are of deprecating only.
	Replacement string
	Ends        time.Time
}

// Moved is a server after a change of state.
type Moved struct {
	Server registry.Server
	Unmet  []Unmet // guards that were not met and only warn
}

// MoveServer changes the state of a server. A verb its state does not allow is a
// CodeConflict error, as is a guard that is not met where guards are enforced.
func (a *Admin) MoveServer(ctx context.Context, actor Actor, id string, m Move) (Moved, error) {
	if err := a.checkMove(m); err != nil {
		return Moved{}, err
	}
	known, err := a.look(ctx, id, m.Verb)
	if err != nil {
		return Moved{}, err
	}
	var out Moved
	err = a.change(ctx, actor, func(cur *Current) (*draft, error) {
		old, ok := cur.View.Server(id)
		if !ok {
			return nil, access.Errorf(access.CodeNotFound, "server %q is not registered", clip(id))
		}
		set := old
		if m.Owner != "" {
			set.Owner = m.Owner
		}
		if known, declared := labels(cur.View, cur.Labels); declared {
			if msg := unknownLabel(m.DataScopes, known); msg != "" {
				return nil, access.Errorf(access.CodeInvalid, "%s", msg)
			}
		}
		if m.DataScopes != nil {
			set.DataScopes = slices.Compact(slices.Sorted(slices.Values(m.DataScopes)))
		}
		if m.Verb == registry.VerbDeprecate {
			set.Replacement, set.Ends = m.Replacement, m.Ends
		}
		unmet := a.unmet(cur, set, m.Verb, known)
		if err := a.guard(set, m.Verb, unmet); err != nil {
			return nil, err
		}
		next, err := a.move(cur, actor, set, m)
		if err != nil {
			return nil, err
		}
		out = Moved{next, unmet}
		d := newDraft()
		d.changes.Servers[id] = &next
		d.records = []record{{verb: string(m.Verb), kind: kindServer, object: id, reason: m.Reason, detail: append(fieldsOf(old, next), guardFields(unmet)...)}}
		return d, nil
	})
	return out, err
}

func (a *Admin) checkMove(m Move) error {
	if err := checkReason(m.Reason); err != nil {
		return err
	}
	if err := checkOwner(m.Owner); err != nil {
		return err
	}
	for _, s := range m.DataScopes {
		if kind, name, ok := strings.Cut(s, ":"); !ok || kind == "" || name == "" || strings.ContainsAny(s, " *,") || strings.ContainsFunc(s, hidden) {
			return access.Errorf(access.CodeInvalid, "%q is not a data scope: write kind:name, for example source:code", clip(s))
		}
	}
	if m.Verb == registry.VerbDeprecate && !m.Ends.After(a.now()) {
		return access.Errorf(access.CodeInvalid, "what is deprecated has an end: give a day that is still to come")
	}
	return nil
}

func checkOwner(owner string) error {
	if len(owner) > 256 || strings.TrimSpace(owner) != owner || strings.ContainsFunc(owner, hidden) {
		return access.Errorf(access.CodeInvalid, "an owner is the id of a team or a person: at most 256 characters, no spaces around it")
	}
	return nil
}

// move makes the change of state, with what every verb brings with it.
func (a *Admin) move(cur *Current, actor Actor, s registry.Server, m Move) (registry.Server, error) {
	now := a.now()
	if m.Verb == registry.VerbApprove && s.Asked != nil && (s.Asked.By == actor.String() || a.cfg.Guards == GuardsEnforce && !a.known(actor)) {
		return s, access.Errorf(access.CodeDenied, "%s", sameReviewer(s))
	}
	if m.Verb == registry.VerbBlock && a.cfg.Guards == GuardsEnforce && actor.Kind != system && cur.RiskOf(s, now).Tier >= 3 {
		return a.second(actor, s, m)
	}
	next, err := registry.ChangeServer(s, m.Verb, actor.String(), m.Reason, now)
	if err != nil {
		return s, err
	}
	next.Blocking = nil
	switch m.Verb {
	case registry.VerbApprove:
		next.Asked, next.Replacement, next.Ends = nil, "", time.Time{}
		next = expiring(next, cur.RiskOf(next, now).Tier, now)
	case registry.VerbRetire:
		next.Asked = nil
	}
	return next, nil
}

// known reports whether an actor is a registered person.
func (a *Admin) known(actor Actor) bool {
	_, ok := a.Person(actor)
	return ok
}

// second blocks a server of the highest risk tier once two people want it. Until
// the second one does it is in quarantine, so that nothing passes meanwhile.
func (a *Admin) second(actor Actor, s registry.Server, m Move) (registry.Server, error) {
	if !a.known(actor) {
		return s, access.Errorf(access.CodeDenied, "server %q is of risk tier 3: two registered users must want it blocked (see rutile user token create); rutile server quarantine %s stops it now", s.ID, s.ID)
	}
	now := a.now()
	if s.Blocking != nil && s.Blocking.By == actor.String() {
		return s, access.Errorf(access.CodeConflict, "server %q is of risk tier 3: somebody else must want it blocked too", s.ID)
	}
	verb := registry.VerbBlock
	if first := !a.stillWants(s.Blocking); first && s.State == registry.ServerQuarantined {
		next := s
		next.Blocking, next.Changed = &registry.Asked{By: actor.String(), Why: m.Reason, At: now}, now
		return next, nil
	} else if first {
		verb = registry.VerbQuarantine
	}
	next, err := registry.ChangeServer(s, verb, actor.String(), m.Reason, now)
	if err != nil {
		return s, err
	}
	next.Blocking = nil
	if verb == registry.VerbQuarantine {
		next.Blocking = &registry.Asked{By: actor.String(), Why: m.Reason, At: now}
	}
	return next, nil
}

// stillWants reports whether who wanted something could want it now.
func (a *Admin) stillWants(x *registry.Asked) bool {
	if x == nil {
		return false
	}
	kind, id, _ := strings.Cut(x.By, ":")
	return a.known(Actor{Kind: kind, ID: id})
}

// AskReview notes that a person asks for a server to be sanctioned, which is then
// for somebody else to do. The first who asks stays it until it was decided.
func (a *Admin) AskReview(ctx context.Context, actor Actor, id, why string) (registry.Server, error) {
	return a.editServer(ctx, actor, id, "ask", why, func(_ *Current, s registry.Server) (registry.Server, error) {
		switch s.State {
		case registry.ServerDiscovered, registry.ServerTriaged, registry.ServerQuarantined:
		default:
			return s, access.Errorf(access.CodeConflict, "server %q is %s: there is nothing to review", s.ID, s.State)
		}
		if s.Asked != nil {
			return s, access.Errorf(access.CodeConflict, "%s asked for the review of server %q already", s.Asked.By, s.ID)
		}
		s.Asked = &registry.Asked{By: actor.String(), Why: why, At: a.now()}
		return s, nil
	})
}

// OwnServer gives a server another owner. Its sanction is then owed a review at
// once (discovery.md section 19).
func (a *Admin) OwnServer(ctx context.Context, actor Actor, id, owner, why string) (registry.Server, error) {
	if err := checkOwner(owner); err != nil {
		return registry.Server{}, err
	}
	if owner == "" {
		return registry.Server{}, access.Errorf(access.CodeInvalid, "say who is to own it")
	}
	return a.editServer(ctx, actor, id, "own", why, func(_ *Current, s registry.Server) (registry.Server, error) {
		if s.State == registry.ServerRetired {
			return s, access.Errorf(access.CodeConflict, "server %q is retired", s.ID)
		}
		if s.Owner != owner && s.Owner != "" && (s.State == registry.ServerSanctioned || s.State == registry.ServerDeprecated) {
			s.Expires = a.now().Truncate(24 * time.Hour) // the end of yesterday
		}
		s.Owner = owner
		return s, nil
	})
}

// RaiseTier sets the least risk tier an owner wants a server to have; 0 is none.
func (a *Admin) RaiseTier(ctx context.Context, actor Actor, id string, tier int, why string) (registry.Server, error) {
	if tier < 0 || tier > 3 {
		return registry.Server{}, access.Errorf(access.CodeInvalid, "a risk tier is 0 low to 3 critical")
	}
	return a.editServer(ctx, actor, id, "raise", why, func(_ *Current, s registry.Server) (registry.Server, error) {
		s.RiskTier = tier
		return s, nil
	})
}

// OwnAgent gives an agent another owner. An orphaned one acts again only as far
// as its state and its end allow.
func (a *Admin) OwnAgent(ctx context.Context, actor Actor, id, owner, why string) (registry.Agent, error) {
	if err := checkOwner(owner); err != nil {
		return registry.Agent{}, err
	}
	if err := checkReason(why); err != nil {
		return registry.Agent{}, err
	}
	if owner == "" {
		return registry.Agent{}, access.Errorf(access.CodeInvalid, "say who is to own it")
	}
	var out registry.Agent
	err := a.change(ctx, actor, func(cur *Current) (*draft, error) {
		old, ok := cur.View.Agent(id)
		if !ok {
			return nil, access.Errorf(access.CodeNotFound, "agent %q is not registered", clip(id))
		}
		if old.State == registry.AgentRetired {
			return nil, access.Errorf(access.CodeConflict, "agent %q is retired", id)
		}
		out = old
		out.Owner, out.Changed = owner, a.now()
		if old.Owner == owner {
			return newDraft(), nil
		}
		d := newDraft()
		d.changes.Agents[id] = &out
		d.records = []record{{verb: "own", kind: kindAgent, object: id, reason: why, detail: fieldsOf(old, out)}}
		return d, nil
	})
	return out, err
}

// editServer changes what a server's entry says, not its state. What changes
// nothing is not recorded.
func (a *Admin) editServer(ctx context.Context, actor Actor, id, verb, why string, edit func(*Current, registry.Server) (registry.Server, error)) (registry.Server, error) {
	if err := checkReason(why); err != nil {
		return registry.Server{}, err
	}
	var out registry.Server
	err := a.change(ctx, actor, func(cur *Current) (*draft, error) {
		old, ok := cur.View.Server(id)
		if !ok {
			return nil, access.Errorf(access.CodeNotFound, "server %q is not registered", clip(id))
		}
		next, err := edit(cur, old)
		if err != nil {
			return nil, err
		}
		fields := fieldsOf(old, next)
		d := newDraft()
		if out = next; len(fields) > 0 {
			next.Changed = a.now()
			out = next
			d.changes.Servers[id] = &next
			d.records = []record{{verb: verb, kind: kindServer, object: id, reason: why, detail: fields}}
		}
		return d, nil
	})
	return out, err
}

// lifecycle brings what a manifest declares of a server's life in line with its
// guards, which only warn here: what a manifest names and does not exist yet is
// accepted.
func (p *planner) lifecycle(old, next registry.Server, it *Item) registry.Server {
	sanctioned := func(s registry.ServerState) bool {
		return s == registry.ServerSanctioned || s == registry.ServerDeprecated
	}
	if sanctioned(next.State) && !sanctioned(old.State) {
		next.Asked, next.Blocking = nil, nil
		next = expiring(next, p.cur.RiskOf(next, p.now).Tier, p.now)
	}
	if next.State == registry.ServerDeprecated && old.State != registry.ServerDeprecated && (next.Replacement == "" || next.Ends.IsZero()) {
		it.note("is deprecated without saying what to use instead, or until when: say replacement and ends")
	}
	return next
}
