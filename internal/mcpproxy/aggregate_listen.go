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
)

// listenAll serves subscriptions/listen at the aggregate: changes of the lists
// are told from what the agent sees, changes of resources by the servers that
// have them, each over a listen of its own. One acknowledgement says what is
// honoured.
func (c *call) listenAll() {
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
	ctx, cancel := context.WithCancel(c.in.r.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
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
	subs := c.resourceParts(ctx, want.Get("resourceSubscriptions"), &work)
	if len(subs) > 0 {
		honoured = append(honoured, `"resourceSubscriptions":[`...)
		for i, uri := range subs {
			if i > 0 {
				honoured = append(honoured, ',')
			}
			honoured = rawjson.AppendString(honoured, uri)
		}
		honoured = append(honoured, "],"...)
	}
	if n := len(honoured); honoured[n-1] == ',' {
		honoured = honoured[:n-1]
	}
	ack := append([]byte(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":`), honoured...)
	ack = append(append(append(ack, `},"_meta":{"`+metaSubscription+`":`...), c.ans.id...), "}}}"...)
	if c.ans.event(ack) != nil {
		return
	}
	work.Go(func() {
		w.run(ctx, func(notification string) error {
			if !asked[notification] {
				return nil
			}
			return c.ans.event(changeNotice(notification, c.ans.id))
		})
	})
	beat := time.NewTicker(25 * time.Second)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.in.p.draining:
			result := append([]byte(`{"resultType":"complete","_meta":{"`+metaSubscription+`":`), c.ans.id...)
			_ = c.ans.final(http.StatusOK, appendResult(nil, c.ans.id, append(result, "}}"...))) // the client may have gone
			return
		case <-beat.C:
			if c.ans.comment() != nil {
				return
			}
		}
	}
}

// Bounds of the resources one listen of the aggregate may subscribe to.
const (
	maxSubscribed = 1024
	ackTime       = 2 * time.Second
)

// resourceParts subscribes to the resources of each server and returns those,
// in the order asked for, that a server acknowledged in time. A server that is
// slow or does not tell of its resources is left out, and delays nobody longer.
func (c *call) resourceParts(ctx context.Context, list rawjson.Value, work *sync.WaitGroup) []string {
	type ask struct{ whole, server, uri string }
	var asks []ask
	of := map[string][]string{}
	for item := range list.Items() {
		whole, _ := item.Str()
		server, uri, ok := partedURI(whole)
		r := c.entryRequest(access.KindResource, uri)
		r.Server = server
		if !ok || len(asks) >= maxSubscribed || !c.in.p.gate.Visible(r) {
			continue
		}
		asks = append(asks, ask{whole, server, uri})
		of[server] = append(of[server], uri)
	}
	var mu sync.Mutex
	acked := map[string][]string{} // by server
	var ready sync.WaitGroup
	gate := make(chan struct{}) // closed when the acknowledgement is made
	for server, uris := range of {
		ready.Add(1)
		once := sync.OnceFunc(ready.Done)
		work.Go(func() {
			defer once()
			c.subscribePart(ctx, server, uris, gate, func(uris []string) (late bool) {
				defer once()
				mu.Lock()
				defer mu.Unlock()
				select {
				case <-gate:
					return len(acked[server]) == 0
				default:
					acked[server] = uris
					return len(uris) == 0
				}
			})
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
	var honoured []string
	for _, a := range asks {
		if slices.Contains(acked[a.server], a.uri) {
			honoured = append(honoured, a.whole)
		}
	}
	return honoured
}

// subscribePart keeps a listen at one server, as /mcp/{server} would have it,
// until ctx ends. acked is told what the server acknowledged; nothing, or too
// late, ends it. Updates wait until told is closed.
func (c *call) subscribePart(ctx context.Context, server string, uris []string, told <-chan struct{}, acked func(uris []string) (late bool)) {
	body := append(append([]byte(`{"jsonrpc":"2.0","id":`), c.ans.id...), `,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":[`...)
	for i, uri := range uris {
		if i > 0 {
			body = append(body, ',')
		}
		body = rawjson.AppendString(body, uri)
	}
	body = append(append(append(body, `]},"_meta":`...), c.in.msg.meta.Raw()...), "}}"...)
	honoured := false
	for wait := followAgain; ctx.Err() == nil; wait = min(2*wait, followMax) {
		in := &inbound{p: c.in.p, all: true, w: discard{}, r: c.in.r, who: c.in.who, received: time.Now()}
		in.is(server)
		if err := in.msg.parse(append([]byte(nil), body...), rawjson.Limits{Bytes: 2 * c.in.p.cfg.MaxBody}); err != nil {
			return
		}
		one, cut := context.WithCancelCause(ctx)
		var heard, late atomic.Bool
		mapped := outward{server: server}.message
		ans := &answer{w: in.w, id: c.ans.id, onto: c.ans, via: func(msg []byte) []byte {
			if !heard.Swap(true) {
				if late.Store(acked(acknowledged(msg))); late.Load() {
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
		sub.observed(func(d *gate.Dispatch) error {
			sub.cut = cut
			sub.timer = time.AfterFunc(c.in.p.cfg.CallTimeout, func() {
				if !heard.Load() {
					cut(access.Errorf(access.CodeTimeout, "the upstream did not acknowledge the subscription in time"))
				}
			})
			defer sub.timer.Stop()
			return sub.subscribe(one, d)
		})
		cut(context.Canceled)
		if honoured = honoured || heard.Load() && !late.Load(); !honoured {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// acknowledged are the resources an acknowledgement names.
func acknowledged(msg []byte) []string {
	v, err := rawjson.Parse(msg, rawjson.Limits{Bytes: len(msg) + 1})
	if err != nil {
		return nil // it was parsed before
	}
	var uris []string
	for item := range v.Path("params", "notifications", "resourceSubscriptions").Items() {
		if uri, ok := item.Str(); ok {
			uris = append(uris, uri)
		}
	}
	return uris
}
