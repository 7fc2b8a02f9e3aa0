package api

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/grant"
)

// ApproveSpec is a yes to a request. Its edits may only narrow.
type ApproveSpec struct {
	Seconds      int64             `json:"seconds,omitempty"`  // of the grant; 0: as asked
	NotBefore    time.Time         `json:"notBefore,omitzero"` // when the grant begins; zero: with the last approval
	Uses         int64             `json:"uses,omitempty"`     // of the grant; 0: as asked
	grant.Limits                   // what is not said is as asked
	Args         grant.Constraints `json:"args,omitempty"` // instead of those asked for
	Reason       string            `json:"reason,omitempty"`
}

// TaskSpec opens a task for an agent.
type TaskSpec struct {
	Agent   string `json:"agent"`
	Subject string `json:"subject,omitempty"`
	Issuer  string `json:"issuer,omitempty"`
	Purpose string `json:"purpose"`
	Ticket  string `json:"ticket,omitempty"`
	Seconds int64  `json:"seconds,omitempty"`
}

// history reads the filter of a list that is kept newest first and whose entries
// are in one of these states.
func (c *call) history(states []grant.State) (grant.Filter, error) {
	q, limit, err := c.query("limit", "cursor", "state", "agent", "task")
	if err != nil {
		return grant.Filter{}, err
	}
	if limit == 0 {
		limit = defaultLimit
	}
	if s := grant.State(q.Get("state")); s != "" && !slices.Contains(states, s) {
		slices.Sort(states)
		return grant.Filter{}, access.Errorf(access.CodeInvalid, "state %.64q is none of %v", string(s), states)
	}
	return grant.Filter{State: grant.State(q.Get("state")), Agent: q.Get("agent"), Task: q.Get("task"), Before: q.Get("cursor"), Limit: limit + 1}, nil
}

// newest is a page of a list that one entry too many was read of.
func newest[T any](list []T, id func(T) string, f grant.Filter) Page[T] {
	p := Page[T]{Items: append([]T{}, list...)}
	if len(list) == f.Limit {
		p.Items, p.More = p.Items[:len(list)-1], -1
		p.Next = id(p.Items[len(p.Items)-1])
	}
	return p
}

func (a *API) requests(c *call) (any, error) {
	f, err := c.history(grant.RequestStates())
	if err != nil {
		return nil, err
	}
	list, err := a.deps.Desk.Requests(c.Context(), f)
	return newest(list, func(r grant.Request) string { return r.ID }, f), err
}

func (a *API) request(c *call) (any, error) {
	return a.deps.Desk.Request(c.Context(), c.PathValue("id"))
}

func (a *API) approveRequest(c *call) (any, error) {
	var in ApproveSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return a.deps.Desk.Approve(c.Context(), c.actor, c.PathValue("id"), grant.Answer{
		Method: "api", Uses: in.Uses, Limits: in.Limits, Life: grant.Seconds(in.Seconds), NotBefore: in.NotBefore, Args: in.Args, Reason: in.Reason,
	})
}

func (a *API) denyRequest(c *call) (any, error) {
	var in DenySpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.SuspendAgent {
		return a.deps.Desk.DenyAndSuspend(c.Context(), c.actor, c.PathValue("id"), in.Reason)
	}
	return a.deps.Desk.Deny(c.Context(), c.actor, c.PathValue("id"), in.Reason)
}

func (a *API) grants(c *call) (any, error) {
	f, err := c.history(grant.GrantStates())
	if err != nil {
		return nil, err
	}
	list, err := a.deps.Desk.Grants(c.Context(), f)
	return newest(list, func(g grant.Grant) string { return g.ID }, f), err
}

func (a *API) grant(c *call) (any, error) {
	return a.deps.Desk.Grant(c.Context(), c.PathValue("id"))
}

func (a *API) createGrant(c *call) (any, error) {
	var in admin.GrantSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return a.deps.Desk.CreateGrant(c.Context(), c.actor, in)
}

func (a *API) delegateGrant(c *call) (any, error) {
	var in admin.Handover
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return a.deps.Desk.DelegateGrant(c.Context(), c.actor, c.PathValue("id"), in)
}

func (a *API) revokeGrant(c *call) (any, error) {
	var in Reason
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return a.deps.Desk.RevokeGrant(c.Context(), c.actor, c.PathValue("id"), in.Reason)
}

func (a *API) tasks(c *call) (any, error) {
	f, err := c.history(grant.TaskStates())
	if err != nil {
		return nil, err
	}
	list, err := a.deps.Desk.Tasks(c.Context(), f)
	return newest(list, func(t grant.Task) string { return t.ID }, f), err
}

func (a *API) task(c *call) (any, error) {
	return a.deps.Desk.Task(c.Context(), c.PathValue("id"))
}

func (a *API) openTask(c *call) (any, error) {
	var in TaskSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return a.deps.Desk.OpenTask(c.Context(), c.actor, grant.Party{Agent: in.Agent, Issuer: in.Issuer, Subject: in.Subject},
		grant.TaskSpec{Purpose: in.Purpose, Ticket: in.Ticket, Life: grant.Seconds(in.Seconds)})
}

func (a *API) closeTask(c *call) (any, error) {
	var in Reason
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return a.deps.Desk.CloseTask(c.Context(), c.actor, c.PathValue("id"), in.Reason)
}

func (a *API) entitlements(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor", "state")
	if err != nil {
		return nil, err
	}
	var all []grant.Entitlement
	for _, e := range a.deps.Admin.Current().Rights {
		if q.Get("state") == "" || q.Get("state") == e.State {
			all = append(all, e)
		}
	}
	id := func(e grant.Entitlement) string { return e.ID }
	slices.SortFunc(all, func(x, y grant.Entitlement) int { return strings.Compare(x.ID, y.ID) })
	return paged(all, id, q.Get("cursor"), limit)
}

func (a *API) entitlement(c *call) (any, error) {
	e, ok := a.deps.Admin.Current().Rights[c.PathValue("id")]
	if !ok {
		return nil, access.Errorf(access.CodeNotFound, "entitlement %q is not there: see rutile entitlement list", c.PathValue("id"))
	}
	return e, nil
}

// HistoryOptions select from a list that is kept newest first. Empty members do
// not restrict.
type HistoryOptions struct {
	State, Agent, Task, Cursor string
	Limit                      int
}

func (o HistoryOptions) query() string {
	return queryOf(map[string]string{"state": o.State, "agent": o.Agent, "task": o.Task, "cursor": o.Cursor}, o.Limit)
}

// Requests lists requests, newest first.
func (c *Client) Requests(ctx context.Context, o HistoryOptions) (Page[grant.Request], error) {
	return ask[Page[grant.Request]](ctx, c, "GET", "requests"+o.query(), nil)
}

// Request returns one request with its arguments.
func (c *Client) Request(ctx context.Context, id string) (admin.RequestView, error) {
	return ask[admin.RequestView](ctx, c, "GET", "requests/"+url.PathEscape(id), nil)
}

// ApproveRequest adds a yes to a request.
func (c *Client) ApproveRequest(ctx context.Context, id string, s ApproveSpec) (admin.RequestView, error) {
	return ask[admin.RequestView](ctx, c, "POST", "requests/"+url.PathEscape(id)+"/approve", s)
}

// DenyRequest answers a request with no.
func (c *Client) DenyRequest(ctx context.Context, id string, s DenySpec) (admin.RequestView, error) {
	return ask[admin.RequestView](ctx, c, "POST", "requests/"+url.PathEscape(id)+"/deny", s)
}

// Grants lists grants, newest first.
func (c *Client) Grants(ctx context.Context, o HistoryOptions) (Page[grant.Grant], error) {
	return ask[Page[grant.Grant]](ctx, c, "GET", "grants"+o.query(), nil)
}

// Grant returns one grant with its uses.
func (c *Client) Grant(ctx context.Context, id string) (admin.GrantView, error) {
	return ask[admin.GrantView](ctx, c, "GET", "grants/"+url.PathEscape(id), nil)
}

// CreateGrant makes a grant without a request.
func (c *Client) CreateGrant(ctx context.Context, s admin.GrantSpec) (grant.Grant, error) {
	return ask[grant.Grant](ctx, c, "POST", "grants", s)
}

// DelegateGrant hands a part of a grant to another agent.
func (c *Client) DelegateGrant(ctx context.Context, id string, h admin.Handover) (grant.Grant, error) {
	return ask[grant.Grant](ctx, c, "POST", "grants/"+url.PathEscape(id)+"/delegate", h)
}

// RevokeGrant ends a grant.
func (c *Client) RevokeGrant(ctx context.Context, id, why string) (admin.Revoked, error) {
	return ask[admin.Revoked](ctx, c, "POST", "grants/"+url.PathEscape(id)+"/revoke", Reason{why})
}

// Tasks lists tasks, newest first.
func (c *Client) Tasks(ctx context.Context, o HistoryOptions) (Page[grant.Task], error) {
	return ask[Page[grant.Task]](ctx, c, "GET", "tasks"+o.query(), nil)
}

// Task returns one task with its grants.
func (c *Client) Task(ctx context.Context, id string) (admin.TaskView, error) {
	return ask[admin.TaskView](ctx, c, "GET", "tasks/"+url.PathEscape(id), nil)
}

// OpenTask opens a task for an agent.
func (c *Client) OpenTask(ctx context.Context, s TaskSpec) (grant.Task, error) {
	return ask[grant.Task](ctx, c, "POST", "tasks", s)
}

// CloseTask closes a task.
func (c *Client) CloseTask(ctx context.Context, id, why string) (grant.Task, error) {
	return ask[grant.Task](ctx, c, "POST", "tasks/"+url.PathEscape(id)+"/close", Reason{why})
}

func (a *API) confirmEntitlement(c *call) (any, error) {
	var in Reason
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return a.deps.Admin.ConfirmEntitlement(c.Context(), c.actor, c.PathValue("id"), in.Reason)
}

// ConfirmEntitlement says that an entitlement is still wanted.
func (c *Client) ConfirmEntitlement(ctx context.Context, id, why string) (grant.Entitlement, error) {
	return ask[grant.Entitlement](ctx, c, "POST", "entitlements/"+url.PathEscape(id)+"/confirm", Reason{why})
}

// Entitlements lists entitlements.
func (c *Client) Entitlements(ctx context.Context, o ListOptions) (Page[grant.Entitlement], error) {
	return ask[Page[grant.Entitlement]](ctx, c, "GET", "entitlements"+o.query(), nil)
}

// Entitlement returns one entitlement.
func (c *Client) Entitlement(ctx context.Context, id string) (grant.Entitlement, error) {
	return ask[grant.Entitlement](ctx, c, "GET", "entitlements/"+url.PathEscape(id), nil)
}
