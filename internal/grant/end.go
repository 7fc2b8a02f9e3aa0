package grant

import (
	"context"
	"time"

	"rutile/internal/access"
)

// Spec is a grant an operator makes without a request.
type Spec struct {
	Party  Party
	Task   string
	Target Target
	Args   Constraints
	Uses   int64
	Limits Limits
	Life   time.Duration // 0 is an hour
	Reason string
	By     string
	Method string
}

// Create makes a grant on the word of an operator.
func (b *Broker) Create(ctx context.Context, s Spec) (Grant, error) {
	if s.Life == 0 {
		s.Life = defaultLife
	}
	switch {
	case s.Party.Agent == "" || s.Target.Server == "" || s.Target.Name == "":
		return Grant{}, access.Errorf(access.CodeInvalid, "a grant needs an agent and a tool")
	case s.Life < time.Second || s.Life > maxLife:
		return Grant{}, access.Errorf(access.CodeInvalid, "a grant lives between 1 second and %v, not %v", maxLife, s.Life)
	case s.Uses < 0:
		return Grant{}, access.Errorf(access.CodeInvalid, "uses must be 1 or more, or 0 for no limit")
	case !words(s.Reason, maxWords):
		return Grant{}, access.Errorf(access.CodeInvalid, "the reason must be one line of at most %d bytes", maxWords)
	case s.Target.Tier >= 3:
		return Grant{}, access.Errorf(access.CodeDenied, "a tool of tier 3 needs two people: let the agent ask, and approve its request")
	}
	if err := s.Limits.Validate(); err != nil {
		return Grant{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	scope, expires := ScopeTime, now.Add(s.Life)
	if s.Task != "" {
		t := b.live.Load().tasks.get(s.Task)
		if t == nil || t.Party != s.Party || !now.Before(t.Expires) {
			return Grant{}, access.Errorf(access.CodeInvalid, "task %q is not an open task of this agent", clip(s.Task))
		}
		scope = ScopeTask
		if t.Expires.Before(expires) {
			expires = t.Expires
		}
	}
	g := Grant{ID: access.NewID(access.PrefixGrant), Party: s.Party, Task: s.Task, Target: s.Target, Scope: scope, Args: s.Args, UsesMax: s.Uses, Limits: s.Limits,
		NotBefore: now, Expires: expires, Quorum: 1, Approvals: []Approval{{By: s.By, At: now, Method: s.Method}}, Reason: s.Reason,
		State: GrantActive, Created: now, Changed: now}
	return g, b.widen(ctx, Batch{Grants: []Grant{g}}, []Event{event(s.By, "issue", KindGrant, g.ID, nil, g, s.Reason)})
}

// Revoke ends a grant. Calls it covers that are under way end as the gate finds.
func (b *Broker) Revoke(ctx context.Context, id, by, why string) (Grant, error) {
	if !words(why, maxWords) {
		return Grant{}, access.Errorf(access.CodeInvalid, "the reason must be one line of at most %d bytes", maxWords)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return again(func() (Grant, error) { return b.revoke(ctx, id, by, why) })
}

func (b *Broker) revoke(ctx context.Context, id, by, why string) (Grant, error) {
	g, ok, err := b.store.Grant(ctx, id)
	if err != nil {
		return Grant{}, err
	}
	if !ok {
		return Grant{}, errGone("grant", id)
	}
	if err := grantTable().move("grant "+id, g.State, GrantRevoked); err != nil {
		return g, err
	}
	fall := falling{live: b.live.Load(), by: by, at: b.now()}
	g = fall.end(g, GrantRevoked, why)
	if err := b.narrow(ctx, Batch{Grants: fall.grants}, fall.events); err != nil {
		return g, err
	}
	return g, b.hear(ctx, g.Parent)
}

// falling gathers grants that end, and with each the whole tree below it.
type falling struct {
	live   *live
	by     string // who ends them
	at     time.Time
	grants []Grant
	events []Event
}

// end ends g, and what was carved out of it.
func (f *falling) end(g Grant, to State, why string) Grant {
	before := g
	g.State, g.Why, g.Changed = to, why, f.at
	f.grants = append(f.grants, g)
	f.events = append(f.events, event(f.by, verbOf(to), KindGrant, g.ID, before, g, why))
	for _, kid := range f.live.kids.get(g.ID) {
		f.end(kid.now(), to, parentIs(g.ID, to))
	}
	return g
}

func parentIs(id string, s State) string {
	return "grant " + id + ", which it is a part of, is " + string(s)
}
