package api

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/notice"
	"rutile/internal/signal"
	"rutile/internal/sink"
)

// Heard says how sources of signals fare, on this node, and tries one.
type Heard interface {
	Why(id string) string
	Refusal(id string) signal.Refusal
	Kept(ctx context.Context) (map[string]signal.Kept, error)
	Test(ctx context.Context, id string) (string, error)
}

// Told says how receivers of signals fare, and tries one.
type Told interface {
	Status(ctx context.Context, d *sink.Sink) (sink.StreamStatus, error)
	Test(ctx context.Context, d *sink.Sink) (string, error)
}

// Mailed says how receivers of mail fare, on this node, and tries one.
type Mailed interface {
	Why(id string) string
	Sent(id string) time.Time
	Test(ctx context.Context, id string) (string, error)
}

// The directions of signals.
const (
	SignalIn  = "in"
	SignalOut = "out"
)

// SignalView is a source that tells us, or a receiver that we tell, with how it fares.
type SignalView struct {
	ID        string `json:"id"`
	Direction string `json:"direction"`
	// Of SignalIn.
	Source  *signal.Source  `json:"source,omitempty"`
	Kept    *signal.Kept    `json:"kept,omitempty"`
	Refused *signal.Refusal `json:"refused,omitempty"`
	// Of SignalOut.
	Sink   *sink.Sink         `json:"sink,omitempty"`
	Status *sink.Status       `json:"status,omitempty"` // on this node
	Stream *sink.StreamStatus `json:"stream,omitempty"`
	Why    string             `json:"why,omitempty"` // it does not work
}

// MailView is a declared receiver of mail with how it fares on this node.
type MailView struct {
	notice.Mail
	Sent time.Time `json:"sent,omitzero"` // last
	Why  string    `json:"why,omitempty"` // it cannot be told
}

// Attempt is what came of trying something.
type Attempt struct {
	Said string `json:"said"`
}

func (a *API) signals(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor", "state")
	if err != nil {
		return nil, err
	}
	cur := a.deps.Admin.Current()
	kept, err := a.deps.Heard.Kept(c.Context())
	if err != nil {
		return nil, err
	}
	wanted := func(state string) bool { return q.Get("state") == "" || q.Get("state") == state }
	var all []SignalView
	for id, s := range cur.Signals {
		if !wanted(s.State) {
			continue
		}
		k, r := kept[id], a.deps.Heard.Refusal(id)
		all = append(all, SignalView{ID: id, Direction: SignalIn, Source: &s, Kept: &k, Refused: &r, Why: a.deps.Heard.Why(id)})
	}
	for id, s := range cur.Sinks {
		if s.Form != sink.FormSSF || !wanted(s.State) {
			continue
		}
		st := a.deps.Sinks.Status(id)
		fares, err := a.deps.Told.Status(c.Context(), &s)
		if err != nil {
			return nil, err
		}
		all = append(all, SignalView{ID: id, Direction: SignalOut, Sink: &s, Status: &st, Stream: &fares, Why: st.Why})
	}
	slices.SortFunc(all, func(x, y SignalView) int {
		return cmp.Or(cmp.Compare(x.ID, y.ID), cmp.Compare(x.Direction, y.Direction))
	})
	return paged(all, func(s SignalView) string { return s.ID + " " + s.Direction }, q.Get("cursor"), limit)
}

func (a *API) testSignal(c *call) (any, error) {
	id := c.PathValue("id")
	kind, try := admin.TrySource, func(ctx context.Context) (string, error) { return a.deps.Heard.Test(ctx, id) }
	switch c.PathValue("direction") {
	case SignalIn:
	case SignalOut:
		s := a.deps.Admin.Current().Sinks[id]
		kind, try = admin.TryReceiver, func(ctx context.Context) (string, error) { return a.deps.Told.Test(ctx, &s) }
	default:
		return nil, access.Errorf(access.CodeInvalid, "the direction is in or out")
	}
	said, err := a.deps.Admin.Try(c.Context(), c.actor, kind, id, try)
	return Attempt{said}, err
}

func (a *API) mails(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor", "state")
	if err != nil {
		return nil, err
	}
	var all []MailView
	for id, m := range a.deps.Admin.Current().Mails {
		if q.Get("state") == "" || q.Get("state") == m.State {
			all = append(all, MailView{m, a.deps.Mailed.Sent(id), a.deps.Mailed.Why(id)})
		}
	}
	slices.SortFunc(all, func(x, y MailView) int { return cmp.Compare(x.ID, y.ID) })
	return paged(all, func(m MailView) string { return m.ID }, q.Get("cursor"), limit)
}

func (a *API) testMail(c *call) (any, error) {
	id := c.PathValue("id")
	said, err := a.deps.Admin.Try(c.Context(), c.actor, admin.TryMail, id, func(ctx context.Context) (string, error) { return a.deps.Mailed.Test(ctx, id) })
	return Attempt{said}, err
}

// Signals lists sources and receivers of signals with how they fare.
func (c *Client) Signals(ctx context.Context, o ListOptions) (Page[SignalView], error) {
	return ask[Page[SignalView]](ctx, c, "GET", "signals"+o.query(), nil)
}

// TestSignal tries a source (SignalIn) or a receiver (SignalOut).
func (c *Client) TestSignal(ctx context.Context, direction, id string) (Attempt, error) {
	return ask[Attempt](ctx, c, "POST", "signals/"+direction+"/"+url.PathEscape(id)+"/test", nil)
}

// Mails lists receivers of mail with how they fare.
func (c *Client) Mails(ctx context.Context, o ListOptions) (Page[MailView], error) {
	return ask[Page[MailView]](ctx, c, "GET", "mails"+o.query(), nil)
}

// TestMail sends a mail that says it is a test to every address of a receiver.
func (c *Client) TestMail(ctx context.Context, id string) (Attempt, error) {
	return ask[Attempt](ctx, c, "POST", "mails/"+url.PathEscape(id)+"/test", nil)
}
