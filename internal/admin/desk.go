package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/registry"
	"rutile/internal/signin"
)

// Desk is where people answer requests and look after grants and tasks. Agents
// never come here.
type Desk struct {
	admin  *Admin
	broker *grant.Broker
	issuer string
	end    grant.Ender
	calls  Calls
	glass  *signin.Challenges[waiting] // by who began it
}

// Calls are the calls in flight on this node.
type Calls interface {
	// Recalling counts the calls that are cut from now on. What it returns MUST be called
	// once: it cuts the calls under grants that were revoked, and says how many calls
	// under them were cut since.
	Recalling() (end func(grants []string) int)
}

// NewDesk returns a Desk. issuer is who knows the people nobody names an issuer
// of, end has issuers end what was minted under a grant. All are required.
func NewDesk(a *Admin, b *grant.Broker, issuer string, end grant.Ender, c Calls) (*Desk, error) {
	if a == nil || b == nil || issuer == "" || end == nil || c == nil {
		return nil, errors.New("admin: a dependency is missing")
	}
	return &Desk{admin: a, broker: b, issuer: issuer, end: end, calls: c, glass: signin.NewChallenges[waiting](a.now)}, nil
}

// party completes whom something is for.
func (d *Desk) party(p grant.Party) grant.Party {
	if p.Subject != "" && p.Issuer == "" {
		p.Issuer = d.issuer
	}
	return p
}

// RequestView is a request with what it asks to do.
type RequestView struct {
	grant.Request
	Arguments json.RawMessage `json:"arguments,omitempty"` // exactly as the agent sent them
	Current   bool            `json:"current"`             // the definition is the one it was made for
}

// Requests lists requests, newest first, without their arguments.
func (d *Desk) Requests(ctx context.Context, f grant.Filter) ([]grant.Request, error) {
	return d.broker.Archive().Requests(ctx, f)
}

// Request returns one request with its arguments.
func (d *Desk) Request(ctx context.Context, id string) (RequestView, error) {
	r, ok, err := d.broker.Archive().Request(ctx, id)
	if err != nil {
		return RequestView{}, err
	}
	if !ok {
		return RequestView{}, access.Errorf(access.CodeNotFound, "request %q is not there: see rutile request list", clip(id))
	}
	return d.view(ctx, r)
}

func (d *Desk) view(ctx context.Context, r grant.Request) (RequestView, error) {
	args, err := d.broker.Arguments(ctx, r)
	if err != nil {
		return RequestView{}, err
	}
	return RequestView{Request: r, Arguments: args, Current: d.Digest(r.Target) == r.Target.Digest}, nil
}

// changed says what makes t another thing to approve than it was, "" if nothing.
func (d *Desk) changed(t grant.Target) string {
	if d.Digest(t) != t.Digest {
		return "the definition of " + t.Action() + " is another one"
	}
	if def, ok := d.definition(t); ok {
		if tier := d.admin.Current().View.Class(def).Tier; tier > t.Tier {
			return fmt.Sprintf("the tier of %s is %d now", t.Action(), tier)
		}
	}
	return ""
}

// Standing is what is so now of what grants and requests were made for: of a target
// its digest where it is what it was approved as, "" where it is something else to
// approve now, and of an entitlement whether it still covers a right.
func (d *Desk) Standing() grant.Standing {
	return grant.Standing{
		Digest: func(t grant.Target) string {
			if d.changed(t) != "" {
				return ""
			}
			return t.Digest
		},
		Right: func(id, agent string, t grant.Target, depth int) (grant.Entitlement, bool) {
			cur := d.admin.Current()
			e, ok := cur.Rights[id]
			return e, ok && pdp.Reaches(cur.View, &e, agent, t, depth)
		},
		Void: d.void,
		Orphan: func(id string) string {
			cur := d.admin.Current()
			if e, ok := cur.Rights[id]; ok {
				return pdp.Orphaned(cur.View, &e, d.admin.now())
			}
			return ""
		},
	}
}

// void says why a request cannot be asked for as it was: nobody answers for its
// entitlement, the policies do not let it, or nobody could approve it.
func (d *Desk) void(r grant.Request) string {
	cur := d.admin.Current()
	if e, ok := cur.Rights[r.Entitlement]; ok {
		if why := pdp.Unanswered(cur.View, &e, d.admin.now()); why != "" {
			return why
		}
	}
	return pdp.Void(d.admin.deciding(cur), &r, d.admin.now())
}

// Digest is of the definition of t that is approved now, "" if there is none.
func (d *Desk) Digest(t grant.Target) string {
	def, _ := d.definition(t)
	return def.PinDigest
}

// definition is what the registry holds about a target.
func (d *Desk) definition(t grant.Target) (registry.Tool, bool) {
	kind := map[access.Kind]registry.Kind{access.KindTool: registry.KindTool, access.KindPrompt: registry.KindPrompt, access.KindResource: registry.KindResource}[t.Kind]
	return d.admin.Current().View.Tool(t.Server, registry.NameOf(kind, t.Name))
}

// Approve adds the yes of a person to a request. Where it was the last one
// needed, the grant is issued and its time starts.
func (d *Desk) Approve(ctx context.Context, actor Actor, id string, a grant.Answer) (RequestView, error) {
	r, err := d.answering(ctx, actor, id, &a)
	if err != nil {
		return RequestView{}, err
	}
	if err := d.signs(actor, r, a.Signed); err != nil {
		return RequestView{}, err
	}
	if r, err = d.broker.Approve(ctx, id, a); err != nil {
		return RequestView{}, err
	}
	return d.view(ctx, r)
}

// answering is the request an actor may approve now, and completes their answer. It is
// void where it is about something else by now.
func (d *Desk) answering(ctx context.Context, actor Actor, id string, a *grant.Answer) (grant.Request, error) {
	if err := d.allowed(ctx, actor, OpDecide); err != nil {
		return grant.Request{}, err
	}
	r, ok, err := d.broker.Archive().Request(ctx, id)
	if err != nil {
		return r, err
	}
	if !ok {
		return r, access.Errorf(access.CodeNotFound, "request %q is not there: see rutile request list", clip(id))
	}
	if err := d.may(actor, r, d.waits(r)); err != nil {
		return r, err
	}
	why := d.changed(r.Target)
	if why == "" {
		why = d.void(r)
	}
	if r.State == grant.RequestPending && why != "" {
		if _, err := d.broker.Invalidate(ctx, id, why); err != nil {
			return r, err
		}
		return r, access.Errorf(access.CodeConflict, "request %s is void: %s; the agent must ask again", id, why)
	}
	a.By, a.Token = actor.String(), actor.Token
	a.Counts = func(x grant.Approval) bool { return d.counts(r, x) }
	a.May = func(r grant.Request, s grant.Stage) error { return d.may(actor, r, s) } // of the stage it is in by then
	return r, nil
}

// allowed refuses whoever may not do op, and the gateway itself: what people are
// asked is answered by people (access.md, invariant 10).
func (d *Desk) allowed(ctx context.Context, actor Actor, op Op) error {
	if actor.Kind == system {
		return access.Errorf(access.CodeDenied, "only a person can do this")
	}
	return d.admin.Authorize(ctx, actor, op)
}

// may holds who approves to the rule of the request. Whoever keeps the gateway
// (its operator token, its account) can be the one person a request needs;
// where several are needed, a team is, or the tool is of tier 3, each must be a
// registered user, and at tier 3 somebody else than the person the agent acts
// for (access.md 3.5).
func (d *Desk) may(actor Actor, r grant.Request, s grant.Stage) error {
	who, known := d.admin.Person(actor)
	if !known && (r.Rule.People() > 1 || r.Rule.Team != "" || r.Target.Tier >= 3) {
		return access.Errorf(access.CodeDenied, "request %s needs %s: a registered user must approve it, with a personal token (see rutile user token create)", r.ID, r.Rule)
	}
	if team := s.Team; team != "" && !d.in(who, team) {
		return access.Errorf(access.CodeDenied, "request %s is for members of team %q to approve now, and you are none", r.ID, team)
	}
	if r.Target.Tier >= 3 && r.Party.Subject == who.ID {
		return access.Errorf(access.CodeDenied, "request %s is of tier %d: whoever the agent acts for cannot approve it", r.ID, r.Target.Tier)
	}
	return nil
}

// in reports whether somebody is a member of a team. A person who is named where a
// team could be is a group of one.
func (d *Desk) in(who Person, team string) bool {
	_, real := d.admin.Current().View.Team(team)
	return slices.Contains(who.Teams, team) || !real && who.ID == team
}

// counts reports whether an approval given earlier still counts: whoever gave it
// could give it now.
func (d *Desk) counts(r grant.Request, x grant.Approval) bool {
	kind, id, _ := strings.Cut(x.By, ":")
	actor, stages := Actor{Kind: kind, ID: id, Token: x.Token}, r.Rule.Stages()
	return d.admin.Allows(actor, OpDecide) && x.Stage >= 0 && x.Stage < len(stages) &&
		d.may(actor, r, stages[x.Stage]) == nil && d.signs(actor, r, x.Signed) == nil
}

// waits is the stage of its rule a request waits for, by the approvals that count
// now.
func (d *Desk) waits(r grant.Request) grant.Stage {
	n, _ := r.Rule.Waits(slices.DeleteFunc(slices.Clone(r.Approvals), func(x grant.Approval) bool { return !d.counts(r, x) }))
	return r.Rule.Stages()[n]
}

// Deny answers a request with no.
func (d *Desk) Deny(ctx context.Context, actor Actor, id, why string) (RequestView, error) {
	if err := d.allowed(ctx, actor, OpDecide); err != nil {
		return RequestView{}, err
	}
	r, err := d.broker.Deny(ctx, id, actor.String(), why)
	if err != nil {
		return RequestView{}, err
	}
	return d.view(ctx, r)
}

// GrantView is a grant with what it has been used for.
type GrantView struct {
	grant.Grant
	Uses []grant.Use `json:"uses,omitempty"`
}

// Grants lists grants, newest first.
func (d *Desk) Grants(ctx context.Context, f grant.Filter) ([]grant.Grant, error) {
	return d.broker.Archive().Grants(ctx, f)
}

// Grant returns one grant with its newest uses.
func (d *Desk) Grant(ctx context.Context, id string) (GrantView, error) {
	g, ok, err := d.broker.Archive().Grant(ctx, id)
	if err != nil {
		return GrantView{}, err
	}
	if !ok {
		return GrantView{}, access.Errorf(access.CodeNotFound, "grant %q is not there: see rutile grant list", clip(id))
	}
	uses, err := d.broker.Archive().Uses(ctx, grant.Filter{Grant: id})
	return GrantView{Grant: g, Uses: uses}, err
}

// Handover is what rutile grant delegate says. What is not said is as much as the
// grant has left.
type Handover struct {
	To   string            `json:"to"` // agent
	Args grant.Constraints `json:"args,omitempty"`
	Uses int64             `json:"uses,omitempty"`
	grant.Limits
	Seconds  int64  `json:"seconds,omitempty"`
	MaxDepth int    `json:"maxDepth,omitempty"` // how far it may be handed on in turn
	Reason   string `json:"reason,omitempty"`
}

// DelegateGrant hands a part of a grant to another agent, on the word of an operator
// and within what its holder could hand over.
func (d *Desk) DelegateGrant(ctx context.Context, actor Actor, id string, h Handover) (grant.Grant, error) {
	if err := d.allowed(ctx, actor, OpGrant); err != nil {
		return grant.Grant{}, err
	}
	return d.broker.Delegate(ctx, grant.Party{}, grant.Handover{Grant: id, To: h.To, Args: h.Args, Uses: h.Uses, Limits: h.Limits, Life: grant.Seconds(h.Seconds),
		MaxDepth: h.MaxDepth, Reason: h.Reason, By: actor.String(), May: func(parent grant.Grant) error {
			cur := d.admin.Current()
			return pdp.MayReceive(cur.View, cur.Rights, parent, h.To, d.admin.now())
		}})
}

// endTime is how long who revokes waits for issuers. They are asked further without.
const endTime = 5 * time.Second

// Revoked is a grant that was revoked, and what that came to.
type Revoked struct {
	grant.Grant
	Parts []string `json:"parts"` // grants carved out of it, which ended with it
	Calls int      `json:"calls"` // in flight under it or them, that were cut off on this node
}

// RevokeGrant ends a grant, and everything that was carved out of it, and cuts off the
// calls in flight under them. The grant it returns permits nothing, and says how far the
// issuers of what was minted under it have come within a bound.
func (d *Desk) RevokeGrant(ctx context.Context, actor Actor, id, why string) (Revoked, error) {
	if err := d.allowed(ctx, actor, OpGrant); err != nil {
		return Revoked{}, err
	}
	cut := d.calls.Recalling()
	list, err := d.broker.RevokeTree(ctx, id, actor.String(), why)
	if err != nil {
		cut(nil)
		return Revoked{}, err
	}
	ids := make([]string, 0, len(list))
	for _, g := range list {
		ids = append(ids, g.ID)
	}
	out := Revoked{Grant: list[0], Parts: ids[1:], Calls: cut(ids)}
	// What was carved out of it may be revoking although it is not.
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	if err := d.broker.Finish(bound, d.end); err != nil {
		return out, nil //nolint:nilerr // it is revoked; what is left of it is said by who looks, and tried again
	}
	if now, ok, err := d.broker.Archive().Grant(ctx, id); err == nil && ok {
		out.Grant = now
	}
	return out, nil
}

// Tasks lists tasks, newest first.
func (d *Desk) Tasks(ctx context.Context, f grant.Filter) ([]grant.Task, error) {
	return d.broker.Archive().Tasks(ctx, f)
}

// TaskView is a task with the grants under it.
type TaskView struct {
	grant.Task
	Grants []grant.Grant `json:"grants"`
}

// Task returns one task with its grants.
func (d *Desk) Task(ctx context.Context, id string) (TaskView, error) {
	t, ok, err := d.broker.Archive().Task(ctx, id)
	if err != nil {
		return TaskView{}, err
	}
	if !ok {
		return TaskView{}, access.Errorf(access.CodeNotFound, "task %q is not there: see rutile task list", clip(id))
	}
	gs, err := d.broker.Archive().Grants(ctx, grant.Filter{Task: id})
	return TaskView{Task: t, Grants: gs}, err
}

// OpenTask opens a task for an agent, on the word of an operator.
func (d *Desk) OpenTask(ctx context.Context, actor Actor, p grant.Party, s grant.TaskSpec) (grant.Task, error) {
	if err := d.allowed(ctx, actor, OpGrant); err != nil {
		return grant.Task{}, err
	}
	if _, ok := d.admin.Current().View.Agent(p.Agent); !ok {
		return grant.Task{}, access.Errorf(access.CodeNotFound, "agent %q is not registered: see rutile agent list", clip(p.Agent))
	}
	return d.broker.OpenTask(ctx, d.party(p), "", actor.String(), s)
}

// CloseTask closes a task and ends what hangs on it.
func (d *Desk) CloseTask(ctx context.Context, actor Actor, id, why string) (grant.Task, error) {
	if err := d.allowed(ctx, actor, OpGrant); err != nil {
		return grant.Task{}, err
	}
	return d.broker.CloseTask(ctx, id, grant.Party{}, actor.String(), why)
}
