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
	// NotBefore is when it begins and its life with it; zero, or a time that is over,
	// is now.
	NotBefore time.Time
	Reason    string
	By        string
	Method    string
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
	from, state, err := begins(now, s.NotBefore)
	if err != nil {
		return Grant{}, err
	}
	scope, expires := ScopeTime, from.Add(s.Life)
	if s.Task != "" {
		t := b.live.Load().tasks.get(s.Task)
		if t == nil || t.Party != s.Party || !now.Before(t.Expires) {
			return Grant{}, access.Errorf(access.CodeInvalid, "task %q is not an open task of this agent", clip(s.Task))
		}
		if !from.Before(t.Expires) {
			return Grant{}, afterTask(t)
		}
		scope = ScopeTask
		if t.Expires.Before(expires) {
			expires = t.Expires
		}
	}
	g := Grant{ID: access.NewID(access.PrefixGrant), Party: s.Party, Task: s.Task, Target: s.Target, Scope: scope, Args: s.Args, UsesMax: s.Uses, Limits: s.Limits,
		NotBefore: from, Expires: expires, Quorum: 1, Approvals: []Approval{{By: s.By, At: now, Method: s.Method}}, Reason: s.Reason,
		State: state, Created: now, Changed: now}
	return g, b.widen(ctx, Batch{Grants: []Grant{g}}, []Event{event(s.By, "issue", KindGrant, g.ID, nil, g, s.Reason)})
}

// maxAhead is how far ahead a grant may be given.
const maxAhead = 30 * 24 * time.Hour

// begins is from when a grant given now is in force, and the state it has until then.
func begins(now, notBefore time.Time) (from time.Time, s State, err error) {
	from = notBefore.UTC().Truncate(time.Millisecond)
	switch {
	case !from.After(now):
		return now, GrantActive, nil
	case from.Sub(now) > maxAhead:
		return now, "", access.Errorf(access.CodeInvalid, "a grant begins within %d days, not at %s", int(maxAhead/(24*time.Hour)), from.Format(time.RFC3339))
	default:
		return from, GrantScheduled, nil
	}
}

func afterTask(t *Task) error {
	return access.Errorf(access.CodeInvalid, "task %s ends at %s, before the grant would begin", t.ID, t.Expires.Format(time.RFC3339))
}

// Revoke ends a grant and what was carved out of it: from its return on they permit
// nothing. Where calls under it were given credentials that have not ended, it is
// GrantRevoking then, and Finish goes on.
func (b *Broker) Revoke(ctx context.Context, id, by, why string) (Grant, error) {
	list, err := b.RevokeTree(ctx, id, by, why)
	if len(list) == 0 {
		return Grant{}, err
	}
	return list[0], err
}

// RevokeTree does what Revoke does and returns what ended: the grant, which comes
// first, and what was carved out of it.
func (b *Broker) RevokeTree(ctx context.Context, id, by, why string) ([]Grant, error) {
	if !words(why, maxWords) {
		return nil, access.Errorf(access.CodeInvalid, "the reason must be one line of at most %d bytes", maxWords)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return again(func() ([]Grant, error) { return b.revoke(ctx, id, by, why) })
}

func (b *Broker) revoke(ctx context.Context, id, by, why string) ([]Grant, error) {
	g, ok, err := b.store.Grant(ctx, id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errGone("grant", id)
	}
	if err := grantTable().move("grant "+id, g.State, GrantRevoking); err != nil {
		return []Grant{g}, err
	}
	fall := falling{live: b.live.Load(), by: by, at: b.now()}
	fall.end(g, GrantRevoking, why)
	if err := b.fallen(ctx, &fall); err != nil {
		return fall.grants, err
	}
	return fall.grants, b.hear(ctx, g.Parent)
}

// fallen commits what falls by being revoked. A grant under which nothing was minted
// that lives is revoked with that: nobody has to be asked. The store refuses it where
// something was minted at this moment.
func (b *Broker) fallen(ctx context.Context, fall *falling) error {
	ids := make([]string, 0, len(fall.grants))
	for _, g := range fall.grants {
		ids = append(ids, g.ID)
	}
	lives, err := b.store.MintedUnder(ctx, ids)
	if err != nil {
		return err
	}
	for i := range fall.grants {
		g := &fall.grants[i]
		if len(lives[g.ID]) > 0 {
			continue
		}
		if err := grantTable().move("grant "+g.ID, g.State, GrantRevoked); err != nil {
			return err
		}
		g.State = GrantRevoked
	}
	return b.narrow(ctx, Batch{Grants: fall.grants}, fall.events())
}

// falling gathers grants that end, and with each the whole tree below it.
type falling struct {
	live   *live
	by     string // who ends them
	at     time.Time
	grants []Grant
	before []Grant // the same, as they were
}

// end ends g, and what was carved out of it.
func (f *falling) end(g Grant, to State, why string) {
	f.before = append(f.before, g)
	g.State, g.Why, g.Changed = to, why, f.at
	f.grants = append(f.grants, g)
	for _, kid := range f.live.kids.get(g.ID) {
		f.end(kid.now(), to, parentIs(g.ID, to))
	}
}

func (f *falling) events() []Event {
	var out []Event
	for i, g := range f.grants {
		out = append(out, event(f.by, verbOf(g.State), KindGrant, g.ID, f.before[i], g, g.Why))
	}
	return out
}

func parentIs(id string, s State) string {
	if s == GrantRevoking {
		s = GrantRevoked // to be read when it is
	}
	return "grant " + id + ", which it is a part of, is " + string(s)
}
