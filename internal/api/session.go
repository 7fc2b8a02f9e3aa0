package api

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/boundary"
)

// RevokeSpec names what is to be revoked. What runs of it is cut off too.
type RevokeSpec struct {
	Kind      string `json:"kind"` // revocation.Kinds
	ID        string `json:"id"`
	Reason    string `json:"reason,omitempty"`
	Terminate bool   `json:"terminate,omitempty"` // of a session: it was killed
}

func (s RevokeSpec) order() admin.Order {
	o := admin.Order{Kind: s.Kind, ID: s.ID, Reason: s.Reason}
	if s.Terminate {
		o.Verb = admin.VerbTerminate
	}
	return o
}

func (a *API) sessions(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor", "held")
	if err != nil {
		return nil, err
	}
	if limit == 0 {
		limit = defaultLimit
	}
	held := q.Get("held")
	if held != "" && held != "true" {
		return nil, access.Errorf(access.CodeInvalid, "held is true or left out, not %.64q", held)
	}
	list, err := a.deps.Effects.List(c.Context(), q.Get("cursor"), limit+1, held != "")
	if err != nil {
		return nil, err
	}
	p := Page[admin.SessionView]{Items: append([]admin.SessionView{}, list...)}
	if len(list) > limit {
		p.Items, p.More = list[:limit], -1
		p.Next = p.Items[limit-1].ID
	}
	return p, nil
}

// Touched knows what sessions have touched. Boundary's labels do.
type Touched interface {
	// Marks returns what a session has touched, oldest first.
	Marks(ctx context.Context, session string) ([]boundary.Mark, error)
}

// SessionShown is a session with what it has touched.
type SessionShown struct {
	admin.SessionDetail
	Touched []SessionMark `json:"touched"` // oldest first
}

// SessionMark is one thing a session has touched, with the call that came first.
type SessionMark struct {
	Side     string    `json:"side"` // taint, label, or parent: the session that handed it work
	Word     string    `json:"word"`
	Server   string    `json:"server,omitempty"`
	Tool     string    `json:"tool,omitempty"`
	Decision string    `json:"decision"`
	At       time.Time `json:"at"`
}

func (a *API) session(c *call) (any, error) {
	d, err := a.deps.Effects.Session(c.Context(), c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	marks, err := a.deps.Touched.Marks(c.Context(), d.ID)
	if err != nil {
		return nil, err
	}
	out := SessionShown{SessionDetail: d, Touched: []SessionMark{}}
	for _, m := range marks {
		out.Touched = append(out.Touched, SessionMark{m.Side, m.Word, m.Server, m.Tool, m.Decision, m.At})
	}
	return out, nil
}

func (a *API) releaseSession(c *call) (any, error) {
	var in Reason
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return a.deps.Effects.Release(c.Context(), c.actor, c.PathValue("id"), in.Reason)
}

func (a *API) revoke(c *call) (any, error) {
	var in RevokeSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return a.deps.Effects.Revoke(c.Context(), c.actor, in.order())
}

func (a *API) planRevoke(c *call) (any, error) {
	var in RevokeSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return a.deps.Effects.Plan(c.Context(), c.actor, in.order())
}

func (a *API) receipts(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor")
	if err != nil {
		return nil, err
	}
	if limit == 0 {
		limit = defaultLimit
	}
	var before uint64
	if s := q.Get("cursor"); s != "" {
		if before, err = strconv.ParseUint(s, 10, 63); err != nil {
			return nil, access.Errorf(access.CodeInvalid, "the cursor is an epoch, not %.64q", s)
		}
	}
	list, err := a.deps.Effects.Receipts(c.Context(), before, limit+1)
	if err != nil {
		return nil, err
	}
	p := Page[admin.Receipt]{Items: append([]admin.Receipt{}, list...)}
	if len(list) > limit {
		p.Items, p.More = list[:limit], -1
		p.Next = strconv.FormatUint(p.Items[limit-1].Epoch, 10)
	}
	return p, nil
}

func (a *API) receipt(c *call) (any, error) {
	return a.deps.Effects.Receipt(c.Context(), c.PathValue("id"))
}

// Sessions lists the newest sessions of agents below cursor; held only those that
// something stands against.
func (c *Client) Sessions(ctx context.Context, held bool, cursor string) (Page[admin.SessionView], error) {
	q := url.Values{}
	if held {
		q.Set("held", "true")
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	return ask[Page[admin.SessionView]](ctx, c, "GET", "sessions?"+q.Encode(), nil)
}

// Session returns one session with what is in use in it and what it has touched.
func (c *Client) Session(ctx context.Context, id string) (SessionShown, error) {
	return ask[SessionShown](ctx, c, "GET", "sessions/"+url.PathEscape(id), nil)
}

// ReleaseSession lets a session go that is quarantined.
func (c *Client) ReleaseSession(ctx context.Context, id, why string) (admin.SessionView, error) {
	return ask[admin.SessionView](ctx, c, "POST", "sessions/"+url.PathEscape(id)+"/release", Reason{why})
}

// PlanRevoke says what revoking what s names would end. It changes nothing.
func (c *Client) PlanRevoke(ctx context.Context, s RevokeSpec) (admin.RevokePlan, error) {
	return ask[admin.RevokePlan](ctx, c, "POST", "revocations/plan", s)
}

// Receipts lists the newest receipts of revocations below cursor.
func (c *Client) Receipts(ctx context.Context, cursor string) (Page[admin.Receipt], error) {
	q := url.Values{}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	return ask[Page[admin.Receipt]](ctx, c, "GET", "revocations?"+q.Encode(), nil)
}

// Receipt returns the receipt of a revocation.
func (c *Client) Receipt(ctx context.Context, id string) (admin.Receipt, error) {
	return ask[admin.Receipt](ctx, c, "GET", "revocations/"+url.PathEscape(id), nil)
}

// Revoke revokes what s names.
func (c *Client) Revoke(ctx context.Context, s RevokeSpec) (admin.Receipt, error) {
	return ask[admin.Receipt](ctx, c, "POST", "revocations", s)
}
