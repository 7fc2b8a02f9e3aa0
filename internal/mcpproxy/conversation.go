package mcpproxy

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

// pipe carries the messages of a conversation in which everything the server
// says comes on one stream: a process, or an event stream.
type pipe interface {
	// deliver hands msg over. How that went may be known only later: an answer
	// may come before.
	deliver(ctx context.Context, d *gate.Dispatch, msg []byte) <-chan delivery
	// close ends the stream and waits for its end.
	close(ctx context.Context) error
	// err says why the stream ended, for the log.
	err() error
}

// delivery is how handing over a message went; the reach is meaningful on errors.
type delivery struct {
	reach access.Reach
	err   error
}

const (
	// cancelTime is how long telling a server of a cancellation may take.
	cancelTime = 2 * time.Second
	closeTime  = 15 * time.Second
)

// conversation is everything that runs over one pipe. Ids and progress tokens
// are unique in it because the gateway minted them.
type conversation struct {
	p      *Proxy
	pipe   pipe
	server string
	max    int
	broken error // what a call is told when the pipe has ended
	shared bool  // by principals: what belongs to no call is for nobody
	d      *gate.Dispatch
	free   func()        // gives the place of its process back
	ended  chan struct{} // closed once everything the server said is read
	beside answers

	stopping atomic.Bool   // it ends because we want it to
	out      chan struct{} // closed when no new call is to come: another conversation is used, or will be
	outOnce  sync.Once

	mu      sync.Mutex
	pending map[string]*pendingCall // by raw id
	ear     updates                 // of the session that has it to itself, or of everybody who listens; nil if nobody does
	turn    chan struct{}           // held by the call that may be asked something; nil if the server may ask nothing
}

// pendingCall is a request in flight. Its relay is used by the reading goroutine
// only while mu is held and over is false: when the call returns, what it
// belonged to is gone.
type pendingCall struct {
	x    *exchange
	done chan answered // buffered

	mu   sync.Mutex
	over bool
}

// relay hands a message to the call's relay unless the call is over.
func (c *pendingCall) relay(msg []byte, v rawjson.Value) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return nil
	}
	return route(c.x.relay, msg, v)
}

func (c *pendingCall) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
}

type answered struct {
	rep *reply
	err error
}

// newConversation makes the conversation own was leased for; asks says that the
// server may ask something in it.
func (t *target) newConversation(own *gate.Dispatch, asks bool, broken error) *conversation {
	l := &conversation{
		p: t.p, server: t.server.ID, max: t.p.cfg.MaxResult, broken: broken, shared: t.shared(), d: own,
		free: func() {}, pending: map[string]*pendingCall{}, ended: make(chan struct{}), out: make(chan struct{}),
	}
	if asks {
		l.turn = make(chan struct{}, 1)
	}
	return l
}

// leased opens what a conversation holds as long as it lasts, which is longer
// than the call it is opened for. The credential of one entry is not for the
// command or the address of another. What was minted for d's principal is shared
// with it: the gateway itself would be given something else.
func (t *target) leased(ctx context.Context, d *gate.Dispatch) (*gate.Dispatch, error) {
	var own *gate.Dispatch
	var err error
	if d.Minted() {
		own, err = d.Share()
	} else {
		own, err = t.p.gate.System(ctx, t.server.ID)
	}
	if err != nil {
		return nil, err
	}
	if !sameEntry(t.server, own.Server) {
		own.Release()
		return nil, errEntryChanged
	}
	return own, nil
}

// over reports whether the pipe has ended and everything it said is read.
func (l *conversation) over() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// leave says that the conversation is not used any more. What runs in it goes on.
func (l *conversation) leave() { l.outOnce.Do(func() { close(l.out) }) }

// holds reports whether the conversation holds the credential d was given, or as
// d none: one that holds an earlier version could show it, and is not what the
// server is to be called with.
func (l *conversation) holds(d *gate.Dispatch) bool { return sameCredential(l.d, d) }

// sameCredential reports whether both were given one version of one credential,
// or both none.
func sameCredential(a, b *gate.Dispatch) bool {
	if a.Lease == nil || b.Lease == nil {
		return a.Lease == b.Lease
	}
	return a.Lease.Same(b.Lease)
}

// asksNothing says that the server turned out to be one that sends no requests.
func (l *conversation) asksNothing() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn = nil
}

func (l *conversation) send(ctx context.Context, d *gate.Dispatch, msg []byte) error {
	select {
	case s := <-l.pipe.deliver(ctx, d, msg):
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *conversation) answer(d *gate.Dispatch, msg []byte) {
	l.beside.send(l.p.log, func(ctx context.Context) { _ = l.send(ctx, d, msg) })
}

func (l *conversation) call(ctx context.Context, x *exchange) (*reply, access.Reach, error) {
	l.mu.Lock()
	turn := l.turn
	l.mu.Unlock()
	if turn != nil && x.method.asks() {
		// Nothing in a server's request tells which call it belongs to.
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-l.ended:
			return nil, access.ReachNo, l.broken
		case <-ctx.Done():
			return nil, access.ReachNo, context.Cause(ctx)
		}
	}
	c := &pendingCall{x: x, done: make(chan answered, 1)}
	key := string(x.id)
	l.mu.Lock()
	l.pending[key] = c
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.pending, key)
		l.mu.Unlock()
		c.end()
	}()
	return l.await(ctx, c, l.pipe.deliver(ctx, x.d, x.body))
}

// await returns how a call ends whose message is being delivered.
func (l *conversation) await(ctx context.Context, c *pendingCall, sent <-chan delivery) (*reply, access.Reach, error) {
	take := func(r answered) (*reply, access.Reach, error) {
		if r.err != nil {
			return nil, access.ReachYes, r.err
		}
		return r.rep, access.ReachYes, c.x.relay.begin(false)
	}
	for {
		select {
		case r := <-c.done:
			return take(r)
		case s := <-sent:
			if s.err == nil {
				sent = nil
				continue
			}
			select {
			case r := <-c.done: // it answered all the same
				return take(r)
			default:
				return nil, s.reach, s.err
			}
		case <-l.ended:
			select {
			case r := <-c.done: // it answered and then ended
				return take(r)
			default:
			}
			select {
			case s := <-sent: // it ended before it could take the message
				if s.err != nil {
					return nil, s.reach, s.err
				}
			default:
			}
			l.p.log.Warn("a conversation ended with a call in flight", "server", l.server, "error", l.why())
			return nil, access.ReachUnknown, l.broken
		case <-ctx.Done():
			select {
			case s := <-sent:
				if s.err != nil { // there is nothing to cancel
					return nil, s.reach, s.err
				}
			default:
			}
			if c.x.method.name != "initialize" {
				l.cancel(ctx, c.x)
			}
			return nil, access.ReachUnknown, context.Cause(ctx)
		}
	}
}

// cancel tells the server that a call is over, which it is for us either way.
// The lease ends with the call, so that the message is made before that.
func (l *conversation) cancel(ctx context.Context, x *exchange) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelTime)
	told := l.pipe.deliver(ctx, x.d, cancelled(x.id))
	go func() {
		defer stop()
		<-told
	}()
}

// take hands a message of the server to what it belongs to. It reports false if
// it is not one that could be read.
func (l *conversation) take(msg []byte) bool {
	rep := &reply{status: http.StatusOK}
	rep.body = msg
	if err := rep.doc.Parse(msg, rawjson.Limits{Bytes: l.max}); err != nil {
		l.p.log.Warn("dropped a message of a server", "server", l.server, "error", faultOf(err))
		return false
	}
	rep.root = rep.doc.Root()
	if err := checkUpstream(rep.root); err != nil {
		l.p.log.Warn("dropped a message of a server", "server", l.server, "error", err)
		return false
	}
	if rep.root.Get("method").Exists() {
		l.message(msg, rep.root)
	} else {
		l.answered(rep)
	}
	return true
}

func (l *conversation) answered(rep *reply) {
	id := rep.root.Get("id")
	l.mu.Lock()
	c := l.pending[string(id.Raw())]
	l.mu.Unlock()
	if c == nil {
		l.p.log.Debug("dropped an answer nobody waits for", "server", l.server)
		return
	}
	matched, err := rep.match(c.x.id)
	if err == nil && !matched {
		err = malformed("it answered with neither a result nor an error")
	}
	select {
	case c.done <- answered{rep, err}:
	default: // answered twice: the first counts
	}
}

// message attributes a notification by the listen it is tagged with, by its
// progress token, or to the session's stream, else to the one call in flight, and
// a request to the one call that may be asked something. What belongs to nobody
// is dropped or refused.
func (l *conversation) message(msg []byte, v rawjson.Value) {
	method, _ := v.Get("method").Str()
	request := v.Get("id").Exists()
	owner, asks := l.owner(method, request, v)
	switch {
	case request && (owner == nil || !asks):
		refuseAsk(l, l.d, v)
	case method == resourceUpdated && owner == nil:
		l.updated(msg, v)
	case isListChange(method) && l.fanned(method):
	case isListChange(method) && owner == nil:
		l.p.relearn(l.server)
	case owner != nil:
		if err := owner.relay(msg, v); err != nil {
			l.p.log.Debug("dropped a message of a server", "server", l.server, "error", err)
		}
	}
}

// owner finds the call a message belongs to, nil if it is none's; asks says
// whether the server may ask something.
func (l *conversation) owner(method string, request bool, v rawjson.Value) (owner *pendingCall, asks bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	asks = l.turn != nil
	tag := v.Path("params", "_meta", metaSubscription)
	if !request && (tag.Exists() || method == listenCancelled) {
		if !tag.Exists() {
			tag = v.Path("params", "requestId")
		}
		return l.listenOf(tag), asks // a listen's that has ended is nobody's
	}
	if method != resourceUpdated { // which is of no call
		owner = l.only()
	}
	switch {
	case request && asks:
		owner = nil
		for _, c := range l.pending {
			if c.x.method.asks() {
				owner = c // there is one at most
			}
		}
	case method == "notifications/progress":
		owner = l.byToken(v.Path("params", "progressToken"))
	}
	return owner, asks
}

// only is the one call in flight that is no listen, nil if there is another, or
// if others than its principal share the conversation; l.mu is held.
func (l *conversation) only() (one *pendingCall) {
	for _, c := range l.pending {
		switch {
		case c.x.method.listens():
		case one != nil || l.shared:
			return nil
		default:
			one = c
		}
	}
	return one
}

// listenOf finds the listen of an id, nil if none is in flight under it; l.mu is
// held. The id is one the gateway minted, so that it has one spelling.
func (l *conversation) listenOf(id rawjson.Value) *pendingCall {
	if c := l.pending[string(id.Raw())]; c != nil && c.x.method.listens() {
		return c
	}
	return nil
}

// byToken finds the call that sent a progress token; l.mu is held.
func (l *conversation) byToken(token rawjson.Value) *pendingCall {
	for _, c := range l.pending {
		if len(c.x.token) > 0 && string(c.x.token) == string(token.Raw()) {
			return c
		}
	}
	return nil
}

// why is the reason the conversation ended, for the log. A process may still be
// about to end when its output has.
func (l *conversation) why() error {
	if err := l.pipe.err(); err != nil {
		return err
	}
	return l.broken
}

func (l *conversation) close(ctx context.Context) {
	l.free()
	if !l.over() { // else nobody wanted that
		l.stopping.Store(true)
	}
	ctx, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	if err := l.pipe.close(ctx); err != nil {
		l.p.log.Debug("a conversation ended", "server", l.server, "error", err)
	}
}
