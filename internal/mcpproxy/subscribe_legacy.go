package mcpproxy

import (
	"context"
	"errors"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

// heardFrom is the conversation a listen hears changes from.
type heardFrom struct {
	fan     *fan
	peer    *peer
	release func(bad bool)
	d       *gate.Dispatch // its own, nil if it came with the listen
	held    []string       // the resources subscribed to
}

func (from *heardFrom) leave(h *listener) {
	from.fan.leave(h, from.held)
	from.release(false)
	if from.d != nil {
		from.d.Release()
	}
}

var (
	// errReplaced says that the conversation a listen heard from is out of use.
	errReplaced = errors.New("the conversation with the server was replaced")
	// errUnheard says that an acknowledgement holds no more: the client may listen
	// again for one that does.
	errUnheard = access.Errorf(access.CodeUnavailable, "the server no longer tells of what was acknowledged")
)

// resumeAgain is how soon a listen whose conversation ended tries another.
const resumeAgain = 250 * time.Millisecond

// subscribeLegacy serves a listen at a server that knows none: it ends here. What
// is acknowledged is what the server says it tells of, and of the resources those
// that this agent may read and the server took. A conversation that ends is
// followed by another, in which everything is subscribed to again.
func (c *call) subscribeLegacy(ctx context.Context, t *target, d *gate.Dispatch, from *heardFrom) error {
	h := newListener()
	defer func() {
		if from != nil {
			from.leave(h)
		}
	}()
	lists, uris, bad := c.asked(from.peer, h)
	if bad != nil {
		return bad
	}
	from.held, _ = from.fan.join(ctx, d, h, uris)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	acked := from.held
	kept := map[change]bool{}
	for _, uri := range acked {
		kept[change{resourceUpdated, uri}] = true
	}
	for ch := range h.wants {
		kept[ch] = kept[ch] || ch.uri == ""
	}
	if err := c.acknowledge(ctx, lists, acked); err != nil {
		return err
	}
	for wait := resumeAgain; ; {
		since := time.Now()
		if err := c.tellChanges(ctx, from, h, kept); !errors.Is(err, errReplaced) {
			return err
		}
		if time.Since(since) > followMax {
			wait = resumeAgain // it worked for a while
		}
		from.leave(h)
		from = nil
		if err := c.resumed(ctx, t, acked, &wait, func() (refused bool, err error) {
			from, refused, err = c.joinNext(ctx, t, h, acked)
			return refused, err
		}); err != nil {
			return err
		}
		c.in.p.relearn(t.server.ID) // it may list something else by now
		h.missed()
	}
}

// asked is what of a listen a legacy server can tell: the members that stand for
// lists, and the resources this agent may read. h is told what to wait for.
func (c *call) asked(pr *peer, h *listener) (lists, uris []string, bad error) {
	want := c.in.msg.params.Get("notifications")
	if tasks := want.Get("taskIds"); tasks.Exists() {
		if err := c.mayWatchTasks(tasks); err != nil {
			return nil, nil, err
		}
	}
	for _, l := range listChanges {
		ch := change{l.notification, ""}
		on, _ := want.Get(l.wanted).Bool()
		if tells, _ := pr.capabilities.Path(l.list, "listChanged").Bool(); on && tells {
			h.wants[ch] = true
			lists = append(lists, l.wanted)
		}
	}
	if !subscribes(c.in.p.declared(c.req.Server, pr)) {
		return lists, nil, nil
	}
	for item := range want.Get("resourceSubscriptions").Items() {
		uri, ok := item.Str()
		ch := change{resourceUpdated, uri}
		if !ok || uri == "" || len(uri) > 4096 || hasControl(uri) || h.wants[ch] || !c.mayHear(access.KindResource, uri) {
			continue
		}
		if len(uris) == maxSubscribed {
			break
		}
		h.wants[ch] = true
		uris = append(uris, uri)
	}
	return lists, uris, nil
}

// acknowledge says what of a listen is honoured, and from then on what the server
// cannot know: that what the agent sees of a list changed.
func (c *call) acknowledge(ctx context.Context, lists, uris []string) error {
	honoured := []byte{'{'}
	for _, wanted := range lists {
		honoured = appendMember(honoured, wanted, []byte("true"))
	}
	if len(uris) > 0 {
		var list []byte
		for _, uri := range uris {
			list = rawjson.AppendString(append(list, ','), uri)
		}
		list[0] = '['
		honoured = appendMember(honoured, "resourceSubscriptions", append(list, ']'))
	}
	ack := acknowledgement(append(honoured, '}'), c.ans.id)
	v, err := rawjson.Parse(ack, rawjson.Limits{Bytes: len(ack) + 1})
	if err != nil {
		return access.Errorf(access.CodeInternal, "parsing an acknowledgement: %w", err)
	}
	if err := c.ans.event(ack); err != nil {
		return context.Canceled // the client has gone
	}
	c.announces(ctx, v.Path("params", "notifications"))
	return nil
}

// acknowledgement is the message that says what of a listen is honoured.
func acknowledgement(honoured, id []byte) []byte {
	ack := append([]byte(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":`), honoured...)
	return append(append(append(ack, `,"_meta":{"`+metaSubscription+`":`...), id...), "}}}"...)
}

// updateNotice says that a resource changed.
func updateNotice(uri string, id []byte) []byte {
	b := rawjson.AppendString([]byte(`{"jsonrpc":"2.0","method":"`+resourceUpdated+`","params":{"uri":`), uri)
	if id != nil {
		b = append(append(append(b, `,"_meta":{"`+metaSubscription+`":`...), id...), '}')
	}
	return append(b, "}}"...)
}

// tellChanges tells the client what it may hear of what was acknowledged, until
// the conversation is replaced.
func (c *call) tellChanges(ctx context.Context, from *heardFrom, h *listener, kept map[change]bool) error {
	if from.fan.finished() {
		return errReplaced
	}
	look := time.NewTicker(beatTime)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-from.fan.over:
			return errReplaced
		case <-look.C:
			if c.outdated(ctx, from.fan.t, from.fan.link) {
				return errReplaced
			}
		case <-h.wake:
		}
		for ch, ok := h.next(); ok && ctx.Err() == nil; ch, ok = h.next() {
			if !kept[ch] {
				continue
			}
			notice, kind := changeNotice(ch.notification, c.ans.id), access.KindServer
			if ch.uri != "" {
				notice, kind = updateNotice(ch.uri, c.ans.id), access.KindResource
			}
			if !c.mayHear(kind, ch.uri) {
				continue
			}
			if err := c.ans.event(notice); err != nil {
				return context.Canceled // the client has gone
			}
		}
	}
}

// outdated reports whether a conversation holds a credential that was replaced
// while nobody called.
func (c *call) outdated(ctx context.Context, t *target, l link) bool {
	conv, piped := l.(*conversation)
	if !piped || t.server.Credential == nil {
		return false
	}
	if conv.d.Minted() {
		return conv.d.Lease.Expired(time.Now())
	}
	d, err := c.in.p.gate.Lease(ctx, c.req, c.d.Decision)
	if err != nil {
		return false
	}
	defer d.Release()
	return !conv.holds(d)
}

// resumed has another conversation joined once there can be one, to listen in it
// to the resources that were acknowledged; join reports whether no other will do.
// Who may not listen any more, or listened to an earlier entry of the server, gets
// none.
func (c *call) resumed(ctx context.Context, t *target, acked []string, wait *time.Duration, join func() (refused bool, err error)) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(*wait):
			*wait = min(2*(*wait), followMax)
		}
		for _, uri := range acked {
			if !c.mayHear(access.KindResource, uri) {
				return errUnheard
			}
		}
		refused, err := join()
		switch {
		case errors.Is(err, errEntryChanged) && t.left(), refused:
			return errUnheard
		case err == nil:
			return nil
		}
		c.in.p.log.Debug("a server is not listened to", "server", t.server.ID, "error", err)
	}
}

// joinNext joins the conversation with the server that there is now; refused says
// that no other will do.
func (c *call) joinNext(ctx context.Context, t *target, h *listener, acked []string) (next *heardFrom, refused bool, err error) {
	l, pr, d, release, refused, err := c.acquireNext(ctx, t)
	if err != nil {
		return nil, refused, err
	}
	next = &heardFrom{fan: fanOf(l), peer: pr, release: release, d: d}
	if next.fan == nil {
		release(false)
		d.Release()
		return nil, true, errUnheard // it speaks another revision now
	}
	if next.held, refused = next.fan.join(ctx, d, h, acked); len(next.held) == len(acked) && !next.fan.finished() {
		return next, false, nil
	}
	next.leave(h)
	return nil, refused, errUnheard
}

// acquireNext returns the conversation with the server that there is now, and
// what it is used with, to be released too; refused says that there will be none.
func (c *call) acquireNext(ctx context.Context, t *target) (l link, pr *peer, d *gate.Dispatch, release func(bool), refused bool, err error) {
	if d, err = c.in.p.gate.Lease(ctx, c.req, c.d.Decision); err != nil {
		return nil, nil, nil, nil, false, err
	}
	if !sameEntry(t.server, d.Server) {
		d.Release()
		return nil, nil, nil, nil, true, errEntryChanged
	}
	if l, pr, release, err = t.acquire(ctx, c.req.Who.Principal(), c.kinds(), d); err != nil {
		d.Release()
		return nil, nil, nil, nil, false, err
	}
	return l, pr, d, release, false, nil
}
