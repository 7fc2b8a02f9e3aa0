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
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	scope, expires := ScopeTime, now.Add(s.Life)
	if s.Task != "" {
		t := b.live.Load().tasks[s.Task]
		if t == nil || t.Party != s.Party || !now.Before(t.Expires) {
			return Grant{}, access.Errorf(access.CodeInvalid, "task %q is not an open task of this agent", clip(s.Task))
		}
		scope = ScopeTask
		if t.Expires.Before(expires) {
			expires = t.Expires
		}
	}
	g := Grant{ID: access.NewID(access.PrefixGrant), Party: s.Party, Task: s.Task, Target: s.Target, Scope: scope, Args: s.Args, UsesMax: s.Uses,
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
	before := g
	g.State, g.Why, g.Changed = GrantRevoked, why, b.now()
	return g, b.narrow(ctx, Batch{Grants: []Grant{g}}, []Event{event(by, "revoke", KindGrant, id, before, g, why)})
}

// Sweep ends what time has ended, and suspends or resumes grants as the approved
// definition of their target is another one or theirs again; pending requests
// for another one are invalidated. current returns the digest of a target where it
// is what it was approved as, anything else where it is not.
func (b *Broker) Sweep(ctx context.Context, current func(Target) string) error {
	if err := b.settleLate(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	due := b.live.Load().due(now)
	for _, t := range due.Tasks {
		if _, err := b.endTask(ctx, t, TaskExpired, system, "its time is over"); err != nil {
			return err
		}
	}
	var less, more Batch
	var ended, resumed []Event
	v := b.live.Load()
	for _, h := range v.byID {
		before := h.now()
		g, verb := v.sweepGrant(before, current(before.Target), now)
		switch g.State {
		case before.State:
		case GrantActive:
			more.Grants, resumed = append(more.Grants, g), append(resumed, event(system, verb, KindGrant, g.ID, before, g, g.Why))
		default:
			less.Grants, ended = append(less.Grants, g), append(ended, event(system, verb, KindGrant, g.ID, before, g, g.Why))
		}
	}
	for _, r := range v.pending {
		before, next, verb := *r, *r, "expire"
		switch {
		case !now.Before(r.Expires):
			next.State, next.Why = RequestExpired, "nobody answered in time"
		case r.Task != "" && v.tasks[r.Task] == nil:
			next.State, next.Why, verb = RequestWithdrawn, "task "+r.Task+" is over", "withdraw"
		case current(r.Target) != r.Target.Digest:
			next.State, next.Why, verb = RequestInvalid, anotherDefinition(r.Target), "invalidate"
		default:
			continue
		}
		next.Changed = now
		less.Requests, ended = append(less.Requests, next), append(ended, event(system, verb, KindRequest, r.ID, before, next, next.Why))
	}
	if len(ended) > 0 {
		if err := b.narrow(ctx, less, ended); err != nil {
			return err
		}
	}
	if len(resumed) > 0 {
		return b.widen(ctx, more, resumed)
	}
	return nil
}

func anotherDefinition(t Target) string {
	return "the definition or the tier of " + t.Action() + " is another one"
}

// sweepGrant is what time and the approved definition make of g, and the verb of
// it.
func (v *live) sweepGrant(g Grant, digest string, now time.Time) (Grant, string) {
	switch same := digest == g.Target.Digest; {
	case !now.Before(g.Expires):
		g.State, g.Why = GrantExpired, "its time is over"
	case g.Task != "" && v.tasks[g.Task] == nil: // it ended on another node while this grant was made
		g.State, g.Why = GrantCompleted, "task "+g.Task+" is over"
	case g.State == GrantActive && !same:
		g.State, g.Why = GrantSuspended, anotherDefinition(g.Target)
	case g.State == GrantSuspended && same:
		g.State, g.Why = GrantActive, ""
	default:
		return g, ""
	}
	g.Changed = now
	return g, verbOf(g.State)
}
