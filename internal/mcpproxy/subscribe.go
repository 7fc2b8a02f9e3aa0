package mcpproxy

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sort"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

// listen serves subscriptions/listen at one server. A modern one is sent the
// request on, with what policy carries, and what comes back is held to what was
// asked for and tagged with this request's id (mcp.md 1.6). What a legacy one
// tells its session is told to the listens that want it.
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
		var work sync.WaitGroup
		defer work.Wait()
		defer cut(context.Canceled)
		c.cut = cut
		c.timer = time.AfterFunc(c.in.p.cfg.CallTimeout, func() {
			if c.ans.count() == 0 {
				cut(errUnacknowledged)
			}
		})
		defer c.timer.Stop()
		work.Go(func() {
			if c.in.p.contain("a subscription", func() { cut(c.tend(ctx, func() bool { return c.mayHear(access.KindServer, "") })) }) {
				cut(errPanicked)
			}
		})
		err := c.subscribe(ctx, d)
		if c.ans.count() > 0 && concluded(err) {
			return c.conclude()
		}
		return err
	})
}

var (
	errUnacknowledged = access.Errorf(access.CodeTimeout, "the upstream did not acknowledge the subscription in time")
	errDraining       = access.Errorf(access.CodeUnavailable, "the gateway is stopping")
)

// concluded reports whether a listen ends in order: its client may listen again
// where it is permitted.
func concluded(err error) bool {
	return errors.Is(err, errDraining) || errors.Is(err, errNoLonger) || errors.Is(err, errUnheard)
}

// conclude ends a listen with its result.
func (c *call) conclude() error {
	result := append([]byte(`{"resultType":"complete","_meta":{"`+metaSubscription+`":`), c.ans.id...)
	return c.ans.final(http.StatusOK, appendResult(nil, c.ans.id, append(result, "}}"...)))
}

// beatTime is how often a stream with nothing to say shows that it is alive.
const beatTime = 25 * time.Second

// tend keeps the stream of a listen alive until its client is gone, it may not
// listen any more or the gateway stops, and says which.
func (c *call) tend(ctx context.Context, may func() bool) error {
	beat := time.NewTicker(beatTime)
	defer beat.Stop()
	for {
		next := c.in.p.nextChange() // before deciding, so that none is missed
		if !may() {
			return errNoLonger
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.in.p.draining:
			return errDraining
		case <-next:
		case <-beat.C:
			if c.ans.comment() != nil {
				return context.Canceled
			}
		}
	}
}

// mayHear reports whether the client of a listen may hear of something now: a
// stream lives long after it was decided about.
func (c *call) mayHear(kind access.Kind, target string) bool {
	return c.in.p.mayHear(c.req, kind, target)
}

func (p *Proxy) mayHear(who *access.Request, kind access.Kind, target string) bool {
	r := *who
	r.At, r.Kind, r.Target, r.Unknown, r.Arguments = time.Now(), kind, target, target != "", rawjson.Value{}
	return p.gate.Visible(&r)
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
	if f := fanOf(l); f != nil {
		return c.subscribeLegacy(ctx, t, d, &heardFrom{fan: f, peer: pr, release: release})
	}
	c.link, c.peer = l, pr
	sub := &subscription{c: c, d: d, ctx: ctx}
	if l, piped := l.(*conversation); piped {
		return c.subscribePiped(ctx, t, &listenedAt{l: l, release: release}, sub)
	}
	defer release(false)
	x, err := c.subscribing(ctx, d, sub)
	if err != nil {
		return err
	}
	rep, _, err := l.call(ctx, x)
	if err != nil {
		return err
	}
	return c.subscribed(ctx, d, rep)
}

// subscribing is the listen as its server gets it; what the server says goes to
// rl.
func (c *call) subscribing(ctx context.Context, d *gate.Dispatch, rl relay) (*exchange, error) {
	body, err := c.outbound()
	if err != nil {
		return nil, err
	}
	if body, err = c.subscribable(ctx, body); err != nil {
		return nil, err
	}
	return &exchange{
		method: c.in.msg.method, body: body, id: c.sent, params: c.in.msg.params, d: d, relay: rl,
		limits: rawjson.Limits{Bytes: c.in.p.cfg.MaxResult},
	}, nil
}

// subscribed ends a listen as its server did.
func (c *call) subscribed(ctx context.Context, d *gate.Dispatch, rep *reply) error {
	if !rep.fault.Exists() && !bytes.Equal(c.sent, c.ans.id) {
		return c.conclude() // the server's result names an id the client does not know
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
		if !ok || !c.mayHear(access.KindResource, uri) {
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

// What a server says of a listen, beside the changes.
const (
	acknowledgedMethod = "notifications/subscriptions/acknowledged"
	taskChanged        = "notifications/tasks"
	listenCancelled    = "notifications/cancelled"
)

// subscription relays what a client subscribed to and nothing else.
type subscription struct {
	c     *call
	d     *gate.Dispatch
	ctx   context.Context // of the subscription
	acked bool
	told  *heard // what was acknowledged, once something was; a later acknowledgement is for us alone
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
		if name != acknowledgedMethod {
			return malformed("a subscription did not begin with its acknowledgement")
		}
		s.acked = true
		if s.told != nil {
			return s.resumed(acknowledged(msg))
		}
		told := acknowledged(msg)
		s.told = &told
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
			asked = asked || uri.Equals(text) && s.c.mayHear(access.KindResource, text)
		}
	case taskChanged:
		return s.task(msg, v)
	case listenCancelled:
		return nil // on HTTP the end is the result
	}
	if isListChange(name) {
		s.c.in.p.relearn(s.c.req.Server)
	}
	if !asked || !s.c.mayHear(access.KindServer, "") {
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
