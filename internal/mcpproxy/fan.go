package mcpproxy

import (
	"context"
	"errors"
	"sync"
	"time"

	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

// A legacy server tells a session of changes, whoever in it asked. What the one
// conversation of a principal hears is fanned out to the listens its clients
// have open, and a resource is subscribed to once for all of them.

// fan is who listens to one conversation with a legacy server.
type fan struct {
	t    *target
	link link
	over chan struct{} // closed when the conversation is out of use

	ctx  context.Context // of the watch of the session's own stream
	stop context.CancelFunc

	mu       sync.Mutex
	left     bool
	ears     map[*listener]bool
	subs     map[string]*fanned // by URI
	watching chan struct{}      // closed once it is known whether the stream is open; nil if nobody reads it
	opened   bool               // the stream was open
	none     bool               // the server has no such stream
}

// fanned is one resource subscribed to for listens.
type fanned struct {
	listens int           // of fan.mu
	turn    chan struct{} // held by who talks to the server about it, so that the last word is the right one
	held    bool          // the server tells of it; of the turn, like the next
	sent    bool          // the server may tell of it
}

const (
	// subscribeTime is how long a server may take to subscribe a listen.
	subscribeTime = 10 * time.Second
	// subscribeAtOnce is how many resources of one listen it is asked for at once.
	subscribeAtOnce = 8
)

func (t *target) newFan(l link) *fan {
	f := &fan{t: t, link: l, over: make(chan struct{}), ears: map[*listener]bool{}, subs: map[string]*fanned{}}
	f.ctx, f.stop = context.WithCancel(context.Background())
	switch l := l.(type) {
	case *httpLegacy:
		l.fan = f
	case *conversation:
		l.listen(f)
	}
	return f
}

// fanOf is who listens to a conversation, nil if it is not one to listen to.
func fanOf(l link) *fan {
	switch l := l.(type) {
	case *httpLegacy:
		return l.fan
	case *conversation:
		l.mu.Lock()
		defer l.mu.Unlock()
		f, _ := l.ear.(*fan)
		return f
	}
	return nil
}

// end ends the watch of the session's own stream.
func (f *fan) end() {
	if f != nil {
		f.stop()
	}
}

// replaced says that the conversation is not used any more.
func (f *fan) replaced() {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.left {
		f.left = true
		close(f.over)
	}
}

// follow makes the session's own stream be read, and waits until it is open or
// known not to be. A conversation over a pipe has all in one.
func (f *fan) follow(ctx context.Context) {
	h, ok := f.link.(*httpLegacy)
	if !ok {
		return
	}
	f.mu.Lock()
	if f.watching == nil && !f.none {
		ready := make(chan struct{})
		f.watching = ready
		f.t.p.spawn("the watch of a session with a server", func() { f.watch(h, ready) })
	}
	ready := f.watching
	f.mu.Unlock()
	if ready == nil {
		return
	}
	select {
	case <-ready:
	case <-time.After(3 * time.Second):
	case <-ctx.Done():
	}
}

// tellsOfResources reports whether updates of resources can come.
func (f *fan) tellsOfResources() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, http := f.link.(*httpLegacy)
	return !f.t.shared() && (!http || f.opened)
}

// finished reports whether the conversation was over before it was joined.
func (f *fan) finished() bool {
	l, piped := f.link.(*conversation)
	return piped && l.over()
}

// join makes h one of the listeners and returns which of the resources it wants
// the server tells of; refused says that it never will of one that is missing.
func (f *fan) join(ctx context.Context, d *gate.Dispatch, h *listener, uris []string) (heard []string, refused bool) {
	f.follow(ctx)
	f.mu.Lock()
	f.ears[h] = true
	none := f.none
	f.mu.Unlock()
	if !f.tellsOfResources() {
		return nil, none && len(uris) > 0
	}
	ctx, cancel := context.WithTimeout(ctx, subscribeTime)
	defer cancel()
	told := make([]error, len(uris))
	room := make(chan struct{}, subscribeAtOnce)
	var work sync.WaitGroup
	for i, uri := range uris {
		room <- struct{}{}
		work.Go(func() {
			defer func() { <-room }()
			told[i] = errPanicked // unless it returns
			f.t.p.contain("a subscription", func() { told[i] = f.hold(ctx, d, uri) })
		})
	}
	work.Wait()
	for i, uri := range uris {
		switch {
		case told[i] == nil:
			heard = append(heard, uri)
		case errors.Is(told[i], errNotTold):
			refused = true
		}
	}
	return heard, refused
}

// errNotTold says that a server does not tell of a resource.
var errNotTold = errors.New("the server does not tell of it")

// hold subscribes one more listen to a resource.
func (f *fan) hold(ctx context.Context, d *gate.Dispatch, uri string) (err error) {
	f.mu.Lock()
	s := f.subs[uri]
	if s == nil {
		if len(f.subs) >= maxSubscribed {
			f.mu.Unlock()
			return errNotTold
		}
		s = &fanned{turn: make(chan struct{}, 1)}
		f.subs[uri] = s
	}
	s.listens++
	f.mu.Unlock()
	defer func() {
		if err != nil {
			f.drop([]string{uri})
		}
	}()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.held {
		return nil
	}
	s.sent = true
	rep, err := f.tell(ctx, d, "resources/subscribe", uri)
	if err != nil {
		return err
	}
	if rep.fault.Exists() {
		s.sent = false
		return errNotTold
	}
	s.held = true
	return nil
}

// leave ends what h listened to. What nobody listens to any more the server is
// told in the background.
func (f *fan) leave(h *listener, uris []string) {
	f.mu.Lock()
	delete(f.ears, h)
	f.mu.Unlock()
	f.drop(uris)
}

// drop unsubscribes one listen from resources.
func (f *fan) drop(uris []string) {
	var last []string
	f.mu.Lock()
	for _, uri := range uris {
		s := f.subs[uri]
		if s.listens--; s.listens == 0 {
			last = append(last, uri)
		}
	}
	left := f.left || f.t.p.base.Err() != nil
	f.mu.Unlock()
	if len(last) > 0 && !left {
		f.t.p.spawn("the end of a subscription", func() { f.unsubscribe(last) })
	}
}

func (f *fan) unsubscribe(uris []string) {
	ctx, cancel := context.WithTimeout(f.t.p.base, f.t.p.cfg.CallTimeout)
	defer cancel()
	d, err := f.t.p.gate.System(ctx, f.t.server.ID)
	if err == nil {
		defer d.Release()
	}
	for _, uri := range uris {
		f.mu.Lock()
		s := f.subs[uri]
		f.mu.Unlock()
		if s == nil {
			continue
		}
		s.turn <- struct{}{} // whoever holds it has a time to end in
		f.mu.Lock()
		unwanted := s.listens == 0
		f.mu.Unlock()
		if unwanted && s.sent {
			if s.held, s.sent = false, false; err == nil && ctx.Err() == nil {
				// Where it fails, what still comes is for nobody.
				_, _ = f.tell(ctx, d, "resources/unsubscribe", uri)
			}
		}
		f.mu.Lock()
		if s.listens == 0 && f.subs[uri] == s {
			delete(f.subs, uri)
		}
		f.mu.Unlock()
		<-s.turn
	}
}

// tell sends a request about a resource.
func (f *fan) tell(ctx context.Context, d *gate.Dispatch, method, uri string) (*reply, error) {
	return f.t.p.aboutResource(ctx, f.link, d, method, uri, &watchRelay{fan: f, d: d, alone: true})
}

// aboutResource sends a request of the gateway's own about a resource.
func (p *Proxy) aboutResource(ctx context.Context, l link, d *gate.Dispatch, name, uri string, rl relay) (*reply, error) {
	id := p.mint()
	body := append(append([]byte(`{"jsonrpc":"2.0","id":`), id...), `,"method":`...)
	body = append(rawjson.AppendString(body, name), `,"params":{"uri":`...)
	body = append(rawjson.AppendString(body, uri), "}}"...)
	rep, _, err := l.call(ctx, &exchange{method: methods[name], body: body, id: id, d: d, relay: rl, limits: rawjson.Limits{Bytes: p.cfg.MaxResult}})
	return rep, err
}

// updated takes the message that a resource changed.
func (f *fan) updated(_ []byte, v rawjson.Value) {
	if uri, ok := v.Path("params", "uri").Str(); ok {
		f.mark(resourceUpdated, uri)
	}
}

// mark notes a change for everybody who listens.
func (f *fan) mark(notification, uri string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for h := range f.ears {
		h.mark(change{notification, uri})
	}
}

// missed says that for a while nothing was heard: every resource subscribed to
// may have changed.
func (f *fan) missed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for h := range f.ears {
		h.missed()
	}
}

// change is what a listen is told: that a list changed, or a resource.
type change struct{ notification, uri string }

// listener is one listen. A change that was not told yet is not noted again, so
// that a server that says it a thousand times fills nothing and a client that
// reads slowly holds up nobody.
type listener struct {
	wants map[change]bool
	wake  chan struct{}

	mu    sync.Mutex
	noted map[change]bool
	queue []change
}

func newListener() *listener {
	return &listener{wants: map[change]bool{}, wake: make(chan struct{}, 1), noted: map[change]bool{}}
}

func (h *listener) mark(ch change) {
	if !h.wants[ch] {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.noted[ch] {
		return
	}
	h.noted[ch] = true
	h.queue = append(h.queue, ch)
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *listener) missed() {
	for ch := range h.wants {
		if ch.notification == resourceUpdated {
			h.mark(ch)
		}
	}
}

// next is the next change to tell.
func (h *listener) next() (change, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.queue) == 0 {
		return change{}, false
	}
	ch := h.queue[0]
	h.queue = h.queue[1:]
	delete(h.noted, ch)
	return ch, true
}

// isListChange reports whether a notification says that a list changed.
func isListChange(name string) bool {
	for _, l := range listChanges {
		if l.notification == name {
			return true
		}
	}
	return false
}
