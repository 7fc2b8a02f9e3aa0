package mcpproxy

import (
	"context"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// A process or an event stream says that a resource changed in the one stream
// that holds everything else. It belongs to no call: it goes to the stream of the
// session that has the conversation to itself, if that subscribed to it, or to
// the listens that did, and is decided about like what comes on a stream over
// HTTP.

const resourceUpdated = "notifications/resources/updated"

// updates takes what is told of resources.
type updates interface {
	updated(msg []byte, v rawjson.Value)
}

// listen gives what is told of resources to r until stop is called.
func (l *conversation) listen(r updates) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ear = r
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.ear == r {
			l.ear = nil
		}
	}
}

// listenUntil is listen until ctx or the conversation ends; heard is called once
// r hears.
func (l *conversation) listenUntil(ctx context.Context, r updates, heard func()) {
	defer l.listen(r)()
	heard()
	select {
	case <-ctx.Done():
	case <-l.ended:
	}
}

// updated takes the message that a resource changed.
func (l *conversation) updated(msg []byte, v rawjson.Value) {
	l.mu.Lock()
	r := l.ear
	l.mu.Unlock()
	if r != nil && !l.shared {
		r.updated(msg, v)
	}
}

// fanned tells everybody who listens that a list changed; false means that the
// conversation is one client's own.
func (l *conversation) fanned(notification string) bool {
	f := fanOf(l)
	if f == nil {
		return false
	}
	l.p.relearn(l.server)
	f.mark(notification, "")
	return true
}

func (r *sessionRelay) updated(msg []byte, v rawjson.Value) {
	if uri, ok := v.Path("params", "uri").Str(); !ok || !r.s.subs.has(uri) {
		return
	}
	if err := r.note(msg, v); err != nil {
		r.s.p.log.Debug("dropped a message of a server", "server", r.s.server, "error", err)
	}
}

var errSubscribed = access.Errorf(access.CodeUnavailable, "the session subscribed to too many resources; unsubscribe from some")

// subscribing notes what a request of the session subscribes to, where somebody
// needs to know. It must be noted before it is sent, because an update may follow
// at once; undo is for one that fails.
func (s *session) subscribing(c *call) (undo func(), err error) {
	undo = func() {}
	if _, piped := s.link.(*conversation); !piped && s.whole == nil || c.in.msg.name != "resources/subscribe" {
		return undo, nil
	}
	uri, _ := c.in.msg.params.Get("uri").Str() // checked before
	added, err := s.subs.add(uri)
	if added {
		undo = func() { s.subs.remove(uri) }
	}
	return undo, err
}

// heard reports whether the client may hear of something over the session's own
// stream with its server.
func (s *session) heard() bool {
	_, piped := s.link.(*conversation)
	return !piped || s.subs.any()
}

// opening is a stream of a server on the way to a client's: over is called once it
// hears something or never will, or nobody waits any longer.
type opening struct {
	done chan struct{}
	over func()
}

func newOpening() *opening {
	done := make(chan struct{})
	return &opening{done, sync.OnceFunc(func() { close(done) })}
}

// hears waits until the client's stream, if it has one open, hears of the server:
// an update may follow a subscription at once. A server that does not open its
// stream for so long is waited for once.
func (s *session) hears(ctx context.Context) {
	s.mu.Lock()
	o := s.hearing
	s.mu.Unlock()
	if o == nil {
		return
	}
	late := time.NewTimer(subscribeTime)
	defer late.Stop()
	select {
	case <-o.done:
	case <-late.C:
		o.over()
	case <-ctx.Done():
	}
}

// hear says that the client's stream will hear of the server once over is called.
func (s *session) hear() *opening {
	o := newOpening()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hearing = o
	return o
}

// subscribes sends a request of a session over the session's own conversation
// with its server.
func (s *session) subscribes(ctx context.Context, c *call, send func() (*reply, access.Reach, error)) (*reply, access.Reach, error) {
	undo, err := s.subscribing(c)
	if err != nil {
		return nil, access.ReachNo, err
	}
	done := false
	defer func() {
		if !done {
			undo()
		}
	}()
	if c.in.msg.name == "resources/subscribe" {
		s.hears(ctx)
	}
	rep, reach, err := send()
	done = err == nil && !rep.fault.Exists()
	if done && c.in.msg.name == "resources/unsubscribe" {
		uri, _ := c.in.msg.params.Get("uri").Str()
		s.subs.remove(uri)
	}
	return rep, reach, err
}
