package grant

import (
	"context"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// Open opens the request for a call that needs a right, or joins the one that is
// pending for the same call: an agent that tries again waits for the same answer.
// Where the entitlement lets it, the grant is issued at once. The error is a
// CodeConflict where too many requests of the party wait.
func (b *Broker) Open(ctx context.Context, a Ask) (Request, error) {
	r, err := b.draft(a)
	if err != nil {
		return Request{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	v := b.live.Load()
	if p := v.pending.get(r.Identity); p != nil && r.Created.Before(p.Expires) {
		return b.reasoned(ctx, *p, r.Reason, r.Created)
	}
	if err := v.unlocked(r.Entitlement, r.Created); err != nil {
		return Request{}, err
	}
	if v.waiting.get(r.Party) >= maxWaiting {
		return Request{}, access.Errorf(access.CodeConflict, "%d requests of this agent wait for an answer already: wait, or close the task they are for", v.waiting.get(r.Party))
	}
	if r.Task != "" {
		if t := v.tasks.get(r.Task); t == nil || t.Party != r.Party || !r.Created.Before(t.Expires) {
			return Request{}, access.Errorf(access.CodeDenied, "task %q is not an open task of this agent", clip(r.Task))
		}
	}
	h := v.like(&r, GrantScheduled) // what people answered is not asked anew because its time has not come
	if h == nil && r.Rule.Auto {
		h = v.like(&r, GrantActive)
	}
	if h != nil {
		if was, ok, err := b.store.Request(ctx, h.grant.Request); err != nil || ok {
			return was, err
		}
	}
	if n := len(v.grants.get(r.Party)); n >= maxHeld {
		return Request{}, access.Errorf(access.CodeConflict, "this agent holds %d grants already: let some end first", n)
	}
	if r.Arguments, err = b.seal.Seal(ctx, argumentsOf(r.ID), a.Args.Raw()); err != nil {
		return Request{}, err
	}
	who := r.Party.Actor()
	if r.Rule.Auto {
		from := r.Created
		if at := a.At.UTC().Truncate(time.Millisecond); !a.At.IsZero() && at.Before(from) {
			from = at // the call that asks began before we got here
		}
		return b.issue(ctx, r, from, r.auto(), []Event{event(who, "open", KindRequest, r.ID, nil, r, r.Reason)})
	}
	batch := Batch{Requests: []Request{r}}
	if old := v.pending.get(r.Identity); old != nil { // its time is over and nobody said so yet
		gone := *old
		gone.State, gone.Why, gone.Changed = RequestExpired, "nobody answered in time", r.Created
		batch.Requests = append([]Request{gone}, batch.Requests...)
	}
	err = b.widen(ctx, batch, []Event{event(who, "open", KindRequest, r.ID, nil, r, r.Reason)})
	if access.CodeOf(err) == access.CodeConflict { // another node was first
		if p := b.live.Load().pending.get(r.Identity); p != nil {
			return *p, nil
		}
	}
	return r, err
}

// reasoned gives a pending request that has no reason the one its agent gives now: a
// call opens it without one, and the agent says why when it asks. The first reason
// stays, and so does what somebody approved already.
func (b *Broker) reasoned(ctx context.Context, before Request, why string, now time.Time) (Request, error) {
	if why == "" || before.Reason != "" || len(before.Approvals) > 0 {
		return before, nil
	}
	r := before
	r.Reason, r.Changed = why, now
	err := b.widen(ctx, Batch{Requests: []Request{r}}, []Event{event(r.Party.Actor(), "reason", KindRequest, r.ID, before, r, why)})
	if access.CodeOf(err) == access.CodeConflict { // it was answered meanwhile, on another node
		if p := b.live.Load().pending.get(before.Identity); p != nil {
			return *p, nil
		}
		return before, nil
	}
	return r, err
}

// draft is the request a asks for, within the entitlement's ceiling.
func (b *Broker) draft(a Ask) (Request, error) {
	now := b.now()
	if a.Scope == "" {
		a.Scope = ScopeOnce
	}
	r := Request{ID: access.NewID(access.PrefixRequest), State: RequestPending, Party: a.Party, Session: a.Session, Task: a.Task, Target: a.Target,
		Scope: a.Scope, Policies: a.Policies, Reason: a.Reason, Uses: a.Uses, Created: now, Changed: now, Rule: a.Rule, RuleBy: a.RuleBy, Set: a.Set, Bound: a.Bound, Flow: a.Flow, Risk: a.Risk}
	ceiling := Ceiling{}
	if e := a.Entitlement; e != nil {
		r.Entitlement, ceiling, r.MaxDepth = e.ID, e.Ceiling, e.Delegate.MaxDepth
		if a.Rule == (Rule{}) {
			r.Rule = e.Approve
		}
	}
	r.Rule = r.Rule.AtTier(a.Target.Tier) // whatever the caller found
	life := ceiling.life()
	if a.Life < 0 || a.Life > life {
		return Request{}, access.Errorf(access.CodeDenied, "at most %v may be asked for, not %v", life, a.Life)
	}
	if a.Life > 0 && a.Life < time.Second {
		return Request{}, access.Errorf(access.CodeInvalid, "a grant lives at least 1 second, not %v", a.Life)
	}
	if a.Life > 0 {
		life = a.Life
	}
	r.Life, r.Expires = int64(life/time.Second), now.Add(ceiling.pending())
	switch {
	case !words(a.Reason, maxWords):
		return Request{}, access.Errorf(access.CodeInvalid, "the reason must be one line of at most %d bytes", maxWords)
	case a.Uses < 0 || ceiling.Uses > 0 && a.Uses > ceiling.Uses:
		return Request{}, access.Errorf(access.CodeDenied, "at most %s may be asked for, not %d", access.Count(ceiling.Uses, "use"), a.Uses)
	case len(a.Args.Raw()) > maxArguments:
		return Request{}, access.Errorf(access.CodeTooLarge, "the arguments have %d bytes; what people are to approve has at most %d", len(a.Args.Raw()), maxArguments)
	}
	var err error
	if r.Limits, err = ceiling.narrowed(a.Limits); err != nil {
		return Request{}, err
	}
	switch a.Scope {
	case ScopeOnce:
		bound, err := exactly(a.Args)
		if err != nil {
			return Request{}, err
		}
		r.Args, r.ArgsDigest, r.Uses = bound, ArgsDigest(a.Args), 1
		if err := r.spendsOnce(a.Args); err != nil {
			return Request{}, err
		}
	case ScopeTask, ScopeTime:
		if a.Scope == ScopeTask && a.Task == "" {
			return Request{}, access.Errorf(access.CodeInvalid, "there is no open task to ask for: open one first")
		}
		r.Args = a.Wanted
		if r.Uses == 0 {
			r.Uses = ceiling.Uses
		}
	default:
		return Request{}, access.Errorf(access.CodeInvalid, "the scope %q is unknown: use once, task or time", string(a.Scope))
	}
	if e := a.Entitlement; e != nil {
		if err := within(e.Args, r, a); err != nil {
			return Request{}, err
		}
	}
	r.Identity = r.identity()
	return r, nil
}

// autoBy is what an automatic approval is signed with, before what says so.
const autoBy = "auto:"

// auto is the approval that nobody gives: the policies about the action "request"
// do, or the entitlement.
func (r *Request) auto() Approval {
	by := r.Entitlement
	if len(r.RuleBy) > 0 {
		by = strings.Join(r.RuleBy, ",")
	}
	return Approval{By: autoBy + by, At: r.Created, Method: "auto", Policies: r.RuleBy, Set: r.Set}
}

// within holds what is asked for to the constraints of the entitlement.
func within(bounds Constraints, r Request, a Ask) error {
	var err error
	if r.Scope == ScopeOnce {
		err = bounds.Match(a.Args)
	} else {
		err = Implies(bounds, r.Args)
	}
	if err != nil {
		return access.Errorf(access.CodeDenied, "entitlement %q does not reach that far: %w", r.Entitlement, err)
	}
	return nil
}

// spendsOnce takes of the limits what one call needs: its own amount, and no room
// beside it or after it.
func (r *Request) spendsOnce(args rawjson.Value) error {
	r.Concurrency, r.Window = 0, Window{}
	if r.Budget == (Budget{}) {
		return nil
	}
	n, err := r.Budget.AmountOf(args)
	if err == nil && n > r.Budget.Amount {
		err = access.Errorf(access.CodeDenied, "budget: at most %d %s, not %d", r.Budget.Amount, r.Budget.Unit, n)
	}
	r.Budget.Amount = max(1, n) // a budget of nothing is none
	return err
}

func (c Ceiling) life() time.Duration {
	if c.Seconds <= 0 {
		return defaultLife
	}
	return min(time.Duration(c.Seconds)*time.Second, maxLife)
}

func (c Ceiling) pending() time.Duration {
	if c.Pending <= 0 {
		return defaultPending
	}
	return min(time.Duration(c.Pending)*time.Second, maxLife)
}

func argumentsOf(id string) string { return "request:" + id }

// Arguments opens the arguments a request was made with, for who is to approve
// them.
func (b *Broker) Arguments(ctx context.Context, r Request) ([]byte, error) {
	if len(r.Arguments) == 0 {
		return nil, nil
	}
	return b.seal.Open(ctx, argumentsOf(r.ID), r.Arguments)
}

// Withdraw takes back a pending request of a party.
func (b *Broker) Withdraw(ctx context.Context, id string, own Party, why string) (Request, error) {
	return b.end(ctx, id, RequestWithdrawn, own.Actor(), why, func(r Request) bool { return r.Party == own })
}

// Deny answers a pending request with no.
func (b *Broker) Deny(ctx context.Context, id, by, why string) (Request, error) {
	return b.end(ctx, id, RequestDenied, by, why, func(Request) bool { return true })
}

// Invalidate ends a pending request because what it is about has changed.
func (b *Broker) Invalidate(ctx context.Context, id, why string) (Request, error) {
	return b.end(ctx, id, RequestInvalid, system, why, func(Request) bool { return true })
}

// CheckReason refuses a reason no answer to a request can have.
func CheckReason(why string) error {
	if !words(why, maxWords) {
		return access.Errorf(access.CodeInvalid, "the reason must be one line of at most %d bytes", maxWords)
	}
	return nil
}

func (b *Broker) end(ctx context.Context, id string, to State, by, why string, may func(Request) bool) (Request, error) {
	if err := CheckReason(why); err != nil {
		return Request{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return again(func() (Request, error) { return b.endOnce(ctx, id, to, by, why, may) })
}

func (b *Broker) endOnce(ctx context.Context, id string, to State, by, why string, may func(Request) bool) (Request, error) {
	r, ok, err := b.store.Request(ctx, id)
	if err != nil {
		return Request{}, err
	}
	if !ok || !may(r) {
		return Request{}, errGone("request", id)
	}
	if err := requestTable().move("request "+id, r.State, to); err != nil {
		return r, err
	}
	before := r
	r.State, r.Why, r.Changed, r.DecidedBy = to, why, b.now(), by
	verb := map[State]string{RequestDenied: "deny", RequestWithdrawn: "withdraw", RequestInvalid: "invalidate"}[to]
	return r, b.narrow(ctx, Batch{Requests: []Request{r}}, []Event{event(by, verb, KindRequest, id, before, r, why)})
}

// narrow applies the edits of an answer.
func (r *Request) narrow(a Answer, now time.Time) error {
	life := int64(a.Life / time.Second)
	from, later, err := begins(now, a.NotBefore)
	switch {
	case err != nil:
		return err
	case later == GrantScheduled && from.Before(r.NotBefore):
		return access.Errorf(access.CodeInvalid, "an answer may only narrow: somebody said before that request %s is for %s on", r.ID, r.NotBefore.Format(time.RFC3339))
	case life < 0 || life > r.Life || a.Life > 0 && life == 0:
		return access.Errorf(access.CodeInvalid, "an answer may only narrow: request %s asks for %v", r.ID, time.Duration(r.Life)*time.Second)
	case a.Uses < 0 || r.Uses > 0 && a.Uses > r.Uses:
		return access.Errorf(access.CodeInvalid, "an answer may only narrow: request %s asks for %s", r.ID, access.Count(r.Uses, "use"))
	}
	limits, err := r.Limits.narrowed(a.Limits)
	if err != nil {
		return access.Errorf(access.CodeInvalid, "an answer may only narrow what request %s asks for: %w", r.ID, err)
	}
	r.Limits = limits
	if later == GrantScheduled {
		r.NotBefore = from
	}
	if life > 0 {
		r.Life = life
	}
	if a.Uses > 0 {
		r.Uses = a.Uses
	}
	if a.Args == nil {
		return nil
	}
	if err := Implies(r.Args, a.Args); err != nil {
		return access.Errorf(access.CodeInvalid, "an answer may only narrow what request %s asks for: %w", r.ID, err)
	}
	r.Args = a.Args
	return nil
}

// issue makes the grant of a request that has its last yes, in force from a time
// that is not after this moment, or from when those who approved said.
func (b *Broker) issue(ctx context.Context, r Request, from time.Time, yes Approval, events []Event) (Request, error) {
	now := yes.At // one instant for all of it: a second look at the clock would add to the life
	r.Approvals = append(slices.Clone(r.Approvals), yes)
	r.State, r.DecidedBy, r.Changed = RequestIssued, yes.By, now
	clock, state := now, GrantActive
	if r.NotBefore.After(now) {
		from, clock, state = r.NotBefore, r.NotBefore, GrantScheduled
	}
	g := Grant{ID: access.NewID(access.PrefixGrant), Request: r.ID, Entitlement: r.Entitlement, Party: r.Party, Session: r.Session, Task: r.Task,
		Target: r.Target, Scope: r.Scope, Args: r.Args, UsesMax: r.Uses, Limits: r.Limits, MaxDepth: r.MaxDepth, NotBefore: from, Expires: clock.Add(Seconds(r.Life)),
		Approvals: r.Approvals, Reason: r.Reason, State: state, Created: now, Changed: now}
	if yes.Method != "auto" {
		g.Quorum = len(g.Approvals)
	}
	if t := b.live.Load().tasks.get(g.Task); t != nil && t.Expires.Before(g.Expires) {
		g.Expires = t.Expires
	}
	r.Grant = g.ID
	if len(events) > 0 {
		events[len(events)-1].After, events[len(events)-1].Detail = digestOf(r), r
	}
	why := ""
	if yes.Set != "" {
		why = "approved by " + strings.TrimPrefix(yes.By, autoBy) + " of policy set " + yes.Set
	}
	events = append(events, event(yes.By, "issue", KindGrant, g.ID, nil, g, why))
	return r, b.widen(ctx, Batch{Requests: []Request{r}, Grants: []Grant{g}}, events)
}
