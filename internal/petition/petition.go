// Package petition is where agents see to their own rights: they open and close
// tasks, ask for what they lack and learn what became of it.
//
// Whoever calls is the identity the gate judged; nothing here is said by an
// argument. An agent MUST NOT approve, extend or see anything of another party: an
// id of somebody else's answers like one that is not there. What may be asked for
// is what the policies and entitlements of the state say, as at a call. People
// answer at admin.Desk; agents never come there.
package petition

import (
	"context"
	"errors"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/rawjson"
)

// States gives the state to decide on: one consistent generation.
type States interface{ State() *pdp.State }

// Desk serves agents. It is safe for concurrent use.
type Desk struct {
	states States
	broker *grant.Broker
	now    func() time.Time
	peek   func(*access.Identity) *access.Risk // nil: every score is 0
}

// Score has asks judged, and shown to people, with the scores of who asks. It MUST be
// called before the first ask.
func (d *Desk) Score(peek func(*access.Identity) *access.Risk) { d.peek = peek }

// New returns a Desk. All are required.
func New(s States, b *grant.Broker, now func() time.Time) (*Desk, error) {
	if s == nil || b == nil || now == nil {
		return nil, errors.New("petition: a dependency is missing")
	}
	return &Desk{states: s, broker: b, now: now}, nil
}

// OpenTask opens a task of who.
func (d *Desk) OpenTask(ctx context.Context, who access.Identity, s grant.TaskSpec) (grant.Task, error) {
	p := grant.PartyOf(who)
	return d.broker.OpenTask(ctx, p, who.Session, p.Actor(), s)
}

// CloseTask closes a task of who: the named one, else the one the call belongs to.
// A call that belongs to a task closes no other.
func (d *Desk) CloseTask(ctx context.Context, who access.Identity, id, why string) (grant.Task, error) {
	p := grant.PartyOf(who)
	switch {
	case p.Agent == "":
		return grant.Task{}, errNobody
	case id == "" && who.Task == "":
		if n := len(d.broker.OpenTasks(p)); n > 0 {
			return grant.Task{}, access.Errorf(access.CodeInvalid, "%d tasks of yours are open: say which one to close", n)
		}
		return grant.Task{}, access.Errorf(access.CodeConflict, "no task of yours is open")
	case id == "":
		id = who.Task
	case who.Task != "" && id != who.Task:
		return grant.Task{}, access.Errorf(access.CodeDenied, "this call belongs to task %s and can close that one only", who.Task)
	}
	return d.broker.CloseTask(ctx, id, p, p.Actor(), why)
}

// Answer is what became of an ask.
type Answer struct {
	Request grant.Request // the zero Request where none is needed
	Grant   grant.Grant   // the zero Grant where none was issued
}

// Needless reports whether the call is permitted as it is.
func (a *Answer) Needless() bool { return a.Request.ID == "" }

// Ask asks for a right: of a, the target's server and name, the arguments of the
// call where the scope is once, and what is wanted count. The rest is the
// caller's or the state's to say.
func (d *Desk) Ask(ctx context.Context, who access.Identity, a grant.Ask) (Answer, error) {
	if who.Actor.Agent == "" {
		return Answer{}, errNobody
	}
	r := access.Request{ID: access.NewID(access.PrefixDecision), At: d.now(), Who: who, Protocol: "mcp", Method: "tools/call",
		Server: a.Target.Server, Kind: access.KindTool, Target: a.Target.Name, Arguments: a.Args, Unknown: a.Scope != grant.ScopeOnce}
	if d.peek != nil {
		r.Risk = d.peek(&who)
	}
	state := d.states.State()
	ask, dec, ok := pdp.Seek(state, &r, grant.Ask{Scope: a.Scope, Wanted: a.Wanted, Uses: a.Uses, Life: a.Life, Reason: a.Reason, Limits: a.Limits})
	if !ok {
		if dec.Allowed() {
			return d.standing(ctx, dec.Grant)
		}
		return Answer{}, d.refusal(state, &r, &dec)
	}
	req, err := d.broker.Open(ctx, ask)
	if err != nil {
		return Answer{}, err
	}
	return d.answer(ctx, req)
}

// standing is the answer where the call is permitted, under a grant if it needs
// one.
func (d *Desk) standing(ctx context.Context, id string) (Answer, error) {
	if id == "" {
		return Answer{}, nil
	}
	g, _, err := d.broker.Archive().Grant(ctx, id)
	return Answer{Grant: g}, err
}

func (d *Desk) answer(ctx context.Context, r grant.Request) (Answer, error) {
	out := Answer{Request: r}
	var err error
	if r.Grant != "" {
		out.Grant, _, err = d.broker.Archive().Grant(ctx, r.Grant)
	}
	return out, err
}

// refusal says that nobody can approve r. Whether a tool is there at all is said
// only where its lists show it to the agent.
func (d *Desk) refusal(s *pdp.State, r *access.Request, dec *access.Decision) error {
	entry := *r
	entry.Unknown, entry.Arguments = true, rawjson.Value{}
	if !pdp.Visible(s, &entry) {
		return access.Errorf(access.CodeDenied, "no tool of that name may be asked for by this agent: list the tools of the server, or ask the agent's owner for an entitlement")
	}
	return access.Errorf(access.CodeDenied, "nobody can approve this: %s; %s", dec.Reason, dec.Help)
}

// Delegate hands a part of a grant of who to another agent, within what the
// entitlement it stands on says.
func (d *Desk) Delegate(ctx context.Context, who access.Identity, h grant.Handover) (grant.Grant, error) {
	p := grant.PartyOf(who)
	if p.Agent == "" {
		return grant.Grant{}, errNobody
	}
	h.By, h.Session = p.Actor(), who.Session
	h.May = func(parent grant.Grant) error {
		s := d.states.State()
		return pdp.MayReceive(s.View, s.Entitlements, parent, h.To, d.now())
	}
	g, err := d.broker.Delegate(ctx, p, h)
	if access.CodeOf(err) == access.CodeNotFound {
		return g, access.Errorf(access.CodeNotFound, "no grant of yours has that id: rutile_access_status lists those in force")
	}
	return g, err
}

// Withdraw takes back a request of who that waits.
func (d *Desk) Withdraw(ctx context.Context, who access.Identity, id, why string) (grant.Request, error) {
	p := grant.PartyOf(who)
	if p.Agent == "" {
		return grant.Request{}, errNobody
	}
	r, err := d.broker.Withdraw(ctx, id, p, why)
	if access.CodeOf(err) == access.CodeNotFound {
		return grant.Request{}, errNoRequest
	}
	return r, err
}

// Status is what a party has that has not ended.
type Status = grant.Live

// Status tells who what is its own.
func (d *Desk) Status(who access.Identity) Status { return d.broker.Own(grant.PartyOf(who)) }

// Request tells who how a request of its own stands.
func (d *Desk) Request(ctx context.Context, who access.Identity, id string) (Answer, error) {
	r, ok, err := d.broker.Archive().Request(ctx, id)
	if err != nil {
		return Answer{}, err
	}
	if !ok || who.Actor.Agent == "" || r.Party != grant.PartyOf(who) {
		return Answer{}, errNoRequest
	}
	return d.answer(ctx, r)
}

var errNoRequest = access.Errorf(access.CodeNotFound, "no request of yours has that id: rutile_access_status without an id lists what waits")

var errNobody = access.Errorf(access.CodeUnauthenticated, "nobody is known to do this for")
