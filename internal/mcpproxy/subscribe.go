package mcpproxy

import (
	"context"
	"errors"
	"net/http"
	"sort"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

// listen serves subscriptions/listen against a modern upstream: the request is
// sent on with what policy carries, and what comes back is held to what was
// asked for and tagged with this request's id (mcp.md 1.6).
func (c *call) listen() {
	want := c.in.msg.params.Get("notifications")
	if want.Kind() != rawjson.Object {
		c.ans.fail(invalidParams("/params/notifications must be an object"))
		return
	}
	release, ok := c.in.p.hold(c.req.Who.Principal())
	if !ok {
		c.ans.fail(&rpcError{status: http.StatusTooManyRequests, code: codeRateLimit, msg: "too many streams are open"})
		return
	}
	defer release()
	c.observed(func(d *gate.Dispatch) error {
		ctx, cut := context.WithCancelCause(c.in.r.Context())
		defer cut(context.Canceled)
		c.cut = cut
		c.timer = time.AfterFunc(c.in.p.cfg.CallTimeout, func() {
			if c.ans.count() == 0 {
				cut(access.Errorf(access.CodeTimeout, "the upstream did not acknowledge the subscription in time"))
			}
		})
		defer c.timer.Stop()
		draining := c.in.p.draining
		go func() {
			select {
			case <-draining:
				cut(access.Errorf(access.CodeUnavailable, "the gateway is stopping"))
			case <-ctx.Done():
			}
		}()
		return c.subscribe(ctx, d)
	})
}

func (c *call) subscribe(ctx context.Context, d *gate.Dispatch) error {
	t, err := c.in.p.target(d.Server)
	if err != nil {
		return err
	}
	l, pr, release, err := t.acquire(ctx, c.req.Who.Principal(), c.kinds(), d)
	if err != nil {
		return err
	}
	defer release(false)
	if _, stateless := l.(httpModern); !pr.modern || !stateless {
		return methodNotFound(true)
	}
	c.link, c.peer = l, pr
	body, err := c.outbound()
	if err != nil {
		return err
	}
	if body, err = c.subscribable(ctx, body); err != nil {
		return err
	}
	sub := &subscription{c: c, d: d, ctx: ctx}
	rep, _, err := l.call(ctx, &exchange{
		method: c.in.msg.method, body: body, id: c.sent, params: c.in.msg.params, d: d, relay: sub,
		limits: rawjson.Limits{Bytes: c.in.p.cfg.MaxResult},
	})
	if err != nil {
		return err
	}
	final, err := c.inbound(ctx, rep)
	if err != nil {
		return err
	}
	return c.ans.final(http.StatusOK, d.Scrub(final))
}

// subscribable removes the resources this agent may not read from the request.
func (c *call) subscribable(ctx context.Context, body []byte) ([]byte, error) {
	v, err := rawjson.Parse(body, rawjson.Limits{Bytes: 2 * c.in.p.cfg.MaxBody})
	if err != nil {
		return nil, access.Errorf(access.CodeInternal, "parsing a spliced request: %w", err)
	}
	var edits []rawjson.Edit
	if tasks := v.Path("params", "notifications", "taskIds"); tasks.Exists() {
		ids, err := c.watchTasks(ctx, tasks)
		if err != nil {
			return nil, err
		}
		s, e := tasks.Span()
		edits = append(edits, rawjson.Edit{Start: s, End: e, Text: ids})
	}
	list := v.Path("params", "notifications", "resourceSubscriptions")
	if list.Kind() != rawjson.Array {
		return rawjson.Splice(body, edits...), nil
	}
	out, removed := []byte{'['}, false
	for item := range list.Items() {
		uri, ok := item.Str()
		if !ok || !c.in.p.gate.Visible(c.entryRequest(access.KindResource, uri)) {
			removed = true
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, item.Raw()...)
	}
	if removed {
		s, e := list.Span()
		edits = append(edits, rawjson.Edit{Start: s, End: e, Text: append(out, ']')})
		sort.Slice(edits, func(i, j int) bool { return edits[i].Start < edits[j].Start })
	}
	return rawjson.Splice(body, edits...), nil
}

// subscription relays what a client subscribed to and nothing else.
type subscription struct {
	c     *call
	d     *gate.Dispatch
	ctx   context.Context // of the subscription
	acked bool
}

func (s *subscription) begin(sse bool) error          { return s.c.ans.begin(sse) }
func (s *subscription) retry(string) error            { return nil }
func (s *subscription) ask(_ []byte, v rawjson.Value) { refuseAsk(s.c.link, s.d, v) }

func (s *subscription) note(msg []byte, v rawjson.Value) error {
	name, _ := v.Get("method").Str()
	tag, minted := v.Path("params", "_meta", metaSubscription), string(s.c.sent) != string(s.c.ans.id)
	if minted && string(tag.Raw()) != string(s.c.sent) || !minted && !sameID(tag, s.c.in.msg.id) {
		return malformed("a subscription's message is not tagged with its id")
	}
	if !s.acked {
		if name != "notifications/subscriptions/acknowledged" {
			return malformed("a subscription did not begin with its acknowledgement")
		}
		s.acked = true
		out, v, err := s.retagged(msg, v)
		if err != nil {
			return err
		}
		if err := s.c.ans.event(s.d.Scrub(s.c.acknowledgedTasks(out, v))); err != nil {
			return err
		}
		s.c.announces(s.ctx, v.Path("params", "notifications"))
		return nil
	}
	want := s.c.in.msg.params.Get("notifications")
	asked := false
	switch name {
	case "notifications/tools/list_changed":
		asked, _ = want.Get("toolsListChanged").Bool()
	case "notifications/prompts/list_changed":
		asked, _ = want.Get("promptsListChanged").Bool()
	case "notifications/resources/list_changed":
		asked, _ = want.Get("resourcesListChanged").Bool()
	case resourceUpdated:
		uri := v.Path("params", "uri")
		for u := range want.Get("resourceSubscriptions").Items() {
			text, _ := u.Str()
			asked = asked || uri.Equals(text) && s.c.in.p.gate.Visible(s.c.entryRequest(access.KindResource, text))
		}
	case "notifications/tasks":
		return s.task(msg, v)
	case "notifications/cancelled":
		return nil // on HTTP the end is the result
	}
	if name == "notifications/tools/list_changed" {
		s.c.in.p.relearn(s.c.req.Server)
	}
	if !asked {
		return nil
	}
	return s.c.ans.event(s.d.Scrub(s.tagged(msg, v)))
}

// task relays how a task stands, if it may be shown.
func (s *subscription) task(msg []byte, v rawjson.Value) error {
	out, v, err := s.retagged(msg, v)
	if err != nil {
		return err
	}
	out, err = s.c.taskMoved(s.c.in.r.Context(), s.d, out, v)
	if errors.Is(err, errNotShown) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.c.ans.event(out)
}

// retagged is tagged, parsed again for further edits.
func (s *subscription) retagged(msg []byte, v rawjson.Value) ([]byte, rawjson.Value, error) {
	out := s.tagged(msg, v)
	v, err := rawjson.Parse(out, rawjson.Limits{Bytes: 2 * s.c.in.p.cfg.MaxResult})
	if err != nil {
		return nil, v, access.Errorf(access.CodeInternal, "parsing a spliced message: %w", err)
	}
	return out, v, nil
}

// tagged puts the client's own id into a message of a subscription that runs
// upstream under a minted one.
func (s *subscription) tagged(msg []byte, v rawjson.Value) []byte {
	if string(s.c.sent) == string(s.c.ans.id) {
		return msg
	}
	start, end := v.Path("params", "_meta", metaSubscription).Span()
	return rawjson.Splice(msg, rawjson.Edit{Start: start, End: end, Text: s.c.ans.id})
}

var _ relay = (*subscription)(nil)
