package mcpproxy

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// listenAll serves subscriptions/listen at the aggregate: changes of the lists
// are told from what the agent sees, changes of resources and tasks by the
// servers that have them, each over a listen of its own. One acknowledgement says what is
// honoured.
func (c *call) listenAll() {
	want := c.in.msg.params.Get("notifications")
	if want.Kind() != rawjson.Object {
		c.ans.fail(invalidParams("/params/notifications must be an object"))
		return
	}
	asks, fault := c.partAsks(want)
	if fault != nil {
		c.ans.fail(fault)
		return
	}
	release, ok := c.in.p.hold(c.req.Who.Principal())
	if !ok {
		c.ans.fail(&rpcError{status: http.StatusTooManyRequests, code: codeRateLimit, msg: "too many streams are open"})
		return
	}
	defer release()
	ctx, cut := context.WithCancelCause(c.in.r.Context())
	c.cut = cut
	var work sync.WaitGroup
	defer work.Wait()
	defer cut(context.Canceled)
	defer c.ans.close()
	w := c.in.p.watch(c.req, "")
	c.in.p.followAll(ctx)
	asked := map[string]bool{}
	honoured := []byte{'{'}
	for _, l := range listChanges {
		if on, _ := want.Get(l.wanted).Bool(); on && !asked[l.notification] {
			asked[l.notification] = true
			honoured = append(append(rawjson.AppendString(honoured, l.wanted), ":true"...), ',')
		}
	}
	honoured = append(honoured, c.listenParts(ctx, asks, &work)...)
	if n := len(honoured); honoured[n-1] == ',' {
		honoured = honoured[:n-1]
	}
	if c.ans.event(acknowledgement(append(honoured, '}'), c.ans.id)) != nil {
		return
	}
	work.Go(func() {
		if c.in.p.contain("the watch of a subscription", func() {
			w.run(ctx, func(notification string) error {
				if !asked[notification] {
					return nil
				}
				return c.ans.event(changeNotice(notification, c.ans.id))
			})
		}) {
			cut(errPanicked)
		}
	})
	if concluded(c.tend(ctx, c.usable)) {
		_ = c.conclude() // the client may have gone
	}
}

// usable reports whether the agent may use anything now.
func (c *call) usable() bool {
	a, ok := c.in.p.gate.State().View.Agent(c.req.Who.Actor.Agent)
	return ok && registry.Usable(a, time.Now()) == nil && !c.in.p.gate.Stands(c.req)
}

// Bounds of what one listen of the aggregate may subscribe to.
const (
	maxSubscribed = 1024
	ackTime       = 2 * time.Second
)

// partAsk is one resource or task a client wants to be told of.
type partAsk struct {
	whole  string // as the client has it
	server string
	part   string // as the server's own listen has it
	task   bool
}

// partAsks reads what of a subscription is the servers' to tell: the resources
// and tasks of this principal that it may use.
func (c *call) partAsks(want rawjson.Value) ([]partAsk, *rpcError) {
	var asks []partAsk
	for item := range want.Get("resourceSubscriptions").Items() {
		whole, _ := item.Str()
		server, uri, ok := partedURI(whole)
		r := c.entryRequest(access.KindResource, uri)
		r.Server = server
		if ok && len(asks) < maxSubscribed && c.in.p.gate.Visible(r) {
			asks = append(asks, partAsk{whole, server, uri, false})
		}
	}
	tasks := want.Get("taskIds")
	if !tasks.Exists() {
		return asks, nil
	}
	if err := c.mayWatchTasks(tasks); err != nil {
		return nil, err
	}
	for item := range tasks.Items() {
		text, _ := item.Str()
		if ref := c.in.taskOf(c.in.r.Context(), text); ref != nil { // the server's own listen decides
			asks = append(asks, partAsk{text, ref.Server, text, true})
		}
	}
	return asks, nil
}

// listenParts subscribes at each server and returns the members of the
// acknowledgement that say what a server acknowledged in time, in the order
// asked for. A server that is slow or does not tell is left out, and delays
// nobody longer.
func (c *call) listenParts(ctx context.Context, asks []partAsk, work *sync.WaitGroup) []byte {
	of := map[string][]partAsk{}
	for _, a := range asks {
		of[a.server] = append(of[a.server], a)
	}
	var mu sync.Mutex
	acked := map[string]heard{} // by server
	var ready sync.WaitGroup
	gate := make(chan struct{}) // closed when the acknowledgement is made
	for server, asks := range of {
		ready.Add(1)
		once := sync.OnceFunc(ready.Done)
		ack := func(h heard) (late bool) {
			defer once()
			mu.Lock()
			defer mu.Unlock()
			select {
			case <-gate:
				return acked[server].nothing()
			default:
				acked[server] = h
				return h.nothing()
			}
		}
		work.Go(func() {
			defer once()
			if c.in.p.contain("a subscription", func() { c.subscribePart(ctx, server, asks, gate, ack) }) {
				c.cut(errPanicked)
			}
		})
	}
	all := make(chan struct{})
	go func() {
		ready.Wait()
		close(all)
	}()
	select {
	case <-all:
	case <-time.After(ackTime):
	case <-ctx.Done():
	}
	mu.Lock()
	defer mu.Unlock()
	close(gate)
	var honoured []byte
	for _, kind := range []struct {
		member string
		task   bool
	}{{"resourceSubscriptions", false}, {"taskIds", true}} {
		var list []byte
		for _, a := range asks {
			if a.task == kind.task && slices.Contains(acked[a.server].of(a.task), a.part) {
				list = rawjson.AppendString(append(list, ','), a.whole)
			}
		}
		if len(list) > 0 {
			list[0] = '['
			honoured = append(append(append(rawjson.AppendString(honoured, kind.member), ':'), list...), "],"...)
		}
	}
	return honoured
}

// wantedOf is the notifications member of a listen at one server.
func wantedOf(asks []partAsk) []byte {
	var uris, tasks []byte
	for _, a := range asks {
		if a.task {
			tasks = rawjson.AppendString(append(tasks, ','), a.part)
		} else {
			uris = rawjson.AppendString(append(uris, ','), a.part)
		}
	}
	out := []byte{'{'}
	for member, list := range map[string][]byte{"resourceSubscriptions": uris, "taskIds": tasks} {
		if len(list) > 0 {
			list[0] = '['
			out = appendMember(out, member, append(list, ']'))
		}
	}
	return append(out, '}')
}

// subscribePart keeps a listen at one server, as /mcp/{server} would have it,
// until ctx ends. acked is told what the server acknowledged; nothing, or too
// late, ends it. Updates wait until told is closed.
func (c *call) subscribePart(ctx context.Context, server string, asks []partAsk, told <-chan struct{}, acked func(heard) (late bool)) {
	body := append(append([]byte(`{"jsonrpc":"2.0","id":`), c.ans.id...), `,"method":"subscriptions/listen","params":{"notifications":`...)
	body = append(append(append(append(body, wantedOf(asks)...), `,"_meta":`...), c.in.msg.meta.Raw()...), "}}"...)
	again := false // it was acknowledged before
	for wait := followAgain; ctx.Err() == nil; wait = min(2*wait, followMax) {
		in := &inbound{p: c.in.p, all: true, w: discard{}, r: c.in.r, who: c.in.who, received: time.Now()}
		in.is(server)
		if err := in.msg.parse(append([]byte(nil), body...), rawjson.Limits{Bytes: 2 * c.in.p.cfg.MaxBody}); err != nil {
			return
		}
		one, cut := context.WithCancelCause(ctx)
		var began, late atomic.Bool
		mapped := outward{server: server}.message
		ans := &answer{w: in.w, id: c.ans.id, onto: c.ans, via: func(msg []byte) []byte {
			if !began.Swap(true) {
				h := acknowledged(msg)
				switch {
				case again:
					c.tellMissed(server, asks, h)
				case acked(h):
					late.Store(true)
					cut(context.Canceled)
				}
				return nil // the aggregate acknowledges for all
			}
			select {
			case <-told:
			case <-one.Done():
				return nil
			}
			return mapped(msg)
		}}
		sub := &call{in: in, ans: ans, modern: true, req: in.request(version2026)}
		may := func() bool { return sub.mayHear(access.KindServer, "") }
		if again && !may() { // nobody asked for the denial
			cut(context.Canceled)
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			continue
		}
		sub.observed(func(d *gate.Dispatch) error {
			sub.cut = cut
			c.in.p.spawnFor(cut, "a subscription", func() { cut(sub.tend(one, may)) })
			sub.timer = time.AfterFunc(c.in.p.cfg.CallTimeout, func() {
				if !began.Load() {
					cut(errUnacknowledged)
				}
			})
			defer sub.timer.Stop()
			return sub.subscribe(one, d)
		})
		cut(context.Canceled)
		if again = again || began.Load() && !late.Load(); !again {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// tellMissed tells of every resource of a server that is subscribed to again:
// what changed meanwhile was not heard.
func (c *call) tellMissed(server string, asks []partAsk, h heard) {
	for _, a := range asks {
		if a.task || !slices.Contains(h.uris, a.part) {
			continue
		}
		r := c.entryRequest(access.KindResource, a.part)
		if r.At, r.Server = time.Now(), server; c.in.p.gate.Visible(r) {
			_ = c.ans.event(updateNotice(a.whole, c.ans.id)) // a client that has gone is noticed elsewhere
		}
	}
}

// heard is what an acknowledgement names.
type heard struct {
	uris, tasks []string
	lists       []string // by their members
}

// nothing reports whether it names nothing that is one server's to tell.
func (h heard) nothing() bool { return len(h.uris)+len(h.tasks) == 0 }

func (h heard) of(task bool) []string {
	if task {
		return h.tasks
	}
	return h.uris
}

func acknowledged(msg []byte) heard {
	v, err := rawjson.Parse(msg, rawjson.Limits{Bytes: len(msg) + 1})
	if err != nil {
		return heard{} // it was parsed before
	}
	texts := func(list rawjson.Value) (out []string) {
		for item := range list.Items() {
			if s, ok := item.Str(); ok {
				out = append(out, s)
			}
		}
		return out
	}
	n := v.Path("params", "notifications")
	h := heard{uris: texts(n.Get("resourceSubscriptions")), tasks: texts(n.Get("taskIds"))}
	for _, l := range listChanges {
		if on, _ := n.Get(l.wanted).Bool(); on {
			h.lists = append(h.lists, l.wanted)
		}
	}
	return h
}
