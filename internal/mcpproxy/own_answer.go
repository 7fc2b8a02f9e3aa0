package mcpproxy

import (
	"context"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/petition"
)

// What agents are told of their own tasks, requests and grants. Who approved or
// refused is not theirs to know.

type toldTask struct {
	ID      string      `json:"id"`
	Purpose string      `json:"purpose"`
	Ticket  string      `json:"ticket,omitempty"`
	State   grant.State `json:"state"`
	Expires time.Time   `json:"expires"`
}

type toldRequest struct {
	ID      string            `json:"id"`
	State   grant.State       `json:"state"`
	Why     string            `json:"why,omitempty"`
	Server  string            `json:"server"`
	Tool    string            `json:"tool"`
	Scope   grant.Scope       `json:"scope"`
	Bounds  grant.Constraints `json:"constraints,omitempty"`
	Task    string            `json:"task,omitempty"`
	Reason  string            `json:"reason,omitempty"`
	Begins  time.Time         `json:"notBefore,omitzero"` // its grant, where somebody who approved said when
	Expires time.Time         `json:"expires"`            // while it waits
	Grant   string            `json:"grant,omitempty"`
}

type toldGrant struct {
	ID      string            `json:"id"`
	State   grant.State       `json:"state"`
	Server  string            `json:"server"`
	Tool    string            `json:"tool"`
	Scope   grant.Scope       `json:"scope"`
	Bounds  grant.Constraints `json:"constraints,omitempty"`
	Task    string            `json:"task,omitempty"`
	Begins  time.Time         `json:"notBefore,omitzero"` // of one that is scheduled
	Expires time.Time         `json:"expires"`
	Left    *int64            `json:"usesLeft,omitempty"`   // nil: without limit
	Amount  *int64            `json:"amountLeft,omitempty"` // of the budget
	Limits  *grant.Limits     `json:"limits,omitempty"`
}

func tellTask(t *grant.Task) toldTask {
	return toldTask{ID: t.ID, Purpose: t.Purpose, Ticket: t.Ticket, State: t.State, Expires: t.Expires}
}

func tellRequest(r *grant.Request) toldRequest {
	return toldRequest{ID: r.ID, State: r.State, Why: r.Why, Server: r.Target.Server, Tool: r.Target.Name, Scope: r.Scope, Bounds: wider(r.Scope, r.Args),
		Task: r.Task, Reason: r.Reason, Begins: r.NotBefore, Expires: r.Expires, Grant: r.Grant}
}

func tellGrant(g *grant.Grant) toldGrant {
	out := toldGrant{ID: g.ID, State: g.State, Server: g.Target.Server, Tool: g.Target.Name, Scope: g.Scope, Bounds: wider(g.Scope, g.Args), Task: g.Task, Expires: g.Expires}
	if g.State == grant.GrantScheduled {
		out.Begins = g.NotBefore
	}
	if g.UsesMax > 0 {
		left := g.Remaining()
		out.Left = &left
	}
	if g.Budget != (grant.Budget{}) {
		left := g.AmountLeft()
		out.Amount = &left
	}
	if g.Limits != (grant.Limits{}) {
		out.Limits = &g.Limits
	}
	return out
}

// wider is what the agent asked for; of one call it knows the arguments.
func wider(s grant.Scope, c grant.Constraints) grant.Constraints {
	if s == grant.ScopeOnce {
		return nil
	}
	return c
}

// taskAnswer is what rutile_task_open and rutile_task_close answer.
type taskAnswer struct {
	Task toldTask `json:"task"`
	Next string   `json:"next"`
}

func (l *ownLink) taskOpen(ctx context.Context, who access.Identity, a *ownArgs) (any, error) {
	spec := grant.TaskSpec{Purpose: a.text("purpose"), Ticket: a.text("ticket"), Life: a.seconds("ttlSeconds")}
	if err := a.done(); err != nil {
		return nil, err
	}
	t, err := l.desk.OpenTask(ctx, who, spec)
	if err != nil {
		return nil, err
	}
	return taskAnswer{tellTask(&t), "Your calls belong to this task while it is the only open one; else name it. Close it with rutile_task_close when the work is done."}, nil
}

func (l *ownLink) taskClose(ctx context.Context, who access.Identity, a *ownArgs) (any, error) {
	id, why := a.text("task"), a.text("reason")
	if err := a.done(); err != nil {
		return nil, err
	}
	t, err := l.desk.CloseTask(ctx, who, id, why)
	if err != nil {
		return nil, err
	}
	return taskAnswer{tellTask(&t), "What was granted for it has ended. Open another task for other work."}, nil
}

// accessAnswer is what rutile_access_request answers.
type accessAnswer struct {
	State   grant.State  `json:"state"`
	Request *toldRequest `json:"request,omitempty"`
	Grant   *toldGrant   `json:"grant,omitempty"`
	Next    string       `json:"next"`
}

// statePermitted is the state of what needs no request.
const statePermitted grant.State = "permitted"

func (l *ownLink) accessRequest(ctx context.Context, who access.Identity, a *ownArgs) (any, error) {
	wish, err := a.wish()
	if err != nil {
		return nil, err
	}
	got, err := l.desk.Ask(ctx, who, wish)
	if err != nil {
		return nil, err
	}
	out := accessAnswer{State: got.Request.State, Next: nextStep(&got)}
	if got.Needless() {
		out.State = statePermitted
	} else {
		r := tellRequest(&got.Request)
		out.Request = &r
	}
	if got.Grant.ID != "" {
		g := tellGrant(&got.Grant)
		out.Grant = &g
	}
	return out, nil
}

// nextStep says what an agent does with an answer.
func nextStep(a *petition.Answer) string {
	switch {
	case a.Needless():
		return "You may make this call already: make it."
	case a.Request.State == grant.RequestPending && a.Request.Scope == grant.ScopeOnce:
		return "A person has to approve it. Call the tool again with the same arguments once it is approved; rutile_access_status tells how the request stands."
	case a.Request.State == grant.RequestPending:
		return "A person has to approve it. Call the tool once it is approved; rutile_access_status tells how the request stands."
	case a.Grant.State == grant.GrantScheduled:
		return "It is approved from " + a.Grant.NotBefore.UTC().Format(time.RFC3339) + " on: call the tool then, and not before."
	case a.Request.State == grant.RequestIssued && a.Request.Scope == grant.ScopeOnce:
		return "It is approved: call the tool with the same arguments."
	case a.Request.State == grant.RequestIssued:
		return "It is approved: call the tool within what was granted."
	default:
		return "It is over. Ask again if you still need it."
	}
}

// statusAnswer is what rutile_access_status answers. A list is without the
// constraints, and with the newest grants only: both may be many.
type statusAnswer struct {
	Tasks    []toldTask    `json:"tasks"`
	Requests []toldRequest `json:"requests"`
	Grants   []toldGrant   `json:"grants"`
	More     bool          `json:"more,omitempty"` // grants that are left out
}

const maxToldGrants = 200

func (l *ownLink) accessStatus(ctx context.Context, who access.Identity, a *ownArgs) (any, error) {
	v := a.get("request")
	id := a.text("request")
	if err := a.done(); err != nil {
		return nil, err
	}
	var s petition.Status
	if v.Exists() {
		got, err := l.desk.Request(ctx, who, id)
		if err != nil {
			return nil, err
		}
		s.Requests = []grant.Request{got.Request}
		if got.Grant.ID != "" {
			s.Grants = []grant.Grant{got.Grant}
		}
	} else {
		s = l.desk.Status(who)
	}
	out := statusAnswer{Tasks: []toldTask{}, Requests: []toldRequest{}, Grants: []toldGrant{}}
	for i := range s.Tasks {
		out.Tasks = append(out.Tasks, tellTask(&s.Tasks[i]))
	}
	for i := range s.Requests {
		out.Requests = append(out.Requests, tellRequest(&s.Requests[i]))
	}
	for i := range s.Grants {
		out.Grants = append(out.Grants, tellGrant(&s.Grants[i]))
	}
	if v.Exists() {
		return out, nil
	}
	for i := range out.Requests {
		out.Requests[i].Bounds = nil
	}
	for i := range out.Grants {
		out.Grants[i].Bounds = nil
	}
	if n := len(out.Grants) - maxToldGrants; n > 0 {
		out.Grants, out.More = out.Grants[n:], true
	}
	return out, nil
}

// handedAnswer is what rutile_access_delegate answers.
type handedAnswer struct {
	Grant toldGrant `json:"grant"`
	Agent string    `json:"agent"`
	Next  string    `json:"next"`
}

func (l *ownLink) accessDelegate(ctx context.Context, who access.Identity, a *ownArgs) (any, error) {
	h, err := a.handover()
	if err != nil {
		return nil, err
	}
	g, err := l.desk.Delegate(ctx, who, h)
	if err != nil {
		return nil, err
	}
	return handedAnswer{tellGrant(&g), g.Party.Agent, "It is theirs now: they call the tool themselves. What they do not use comes back when it ends, and it ends with yours."}, nil
}

func (l *ownLink) accessWithdraw(ctx context.Context, who access.Identity, a *ownArgs) (any, error) {
	id, why := a.needed("request"), a.text("reason")
	if err := a.done(); err != nil {
		return nil, err
	}
	r, err := l.desk.Withdraw(ctx, who, id, why)
	if err != nil {
		return nil, err
	}
	told := tellRequest(&r)
	return accessAnswer{State: r.State, Request: &told, Next: "Nobody is asked any more. Ask again if you need it."}, nil
}
