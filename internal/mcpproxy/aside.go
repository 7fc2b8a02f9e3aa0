package mcpproxy

import (
	"context"
	"sync"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// asideBytes is how much is kept of what one listen was not told yet, besides one
// message of any size.
const asideBytes = 4 << 20

// aside keeps what a process said to a listen until its client is told, so that
// what reads the process waits neither for a client nor for an answer of the
// process itself. A change that was not told yet is kept once: of a task the
// newest, since that says how the task stands.
type aside struct {
	noRelay
	c     *call
	sub   *subscription
	wants map[change]bool // resources and tasks asked for
	wake  chan struct{}

	mu    sync.Mutex
	queue []*unsaid
	of    map[change]*unsaid // in the queue
	bytes int
	first bool  // something came
	over  bool  // nothing more comes
	err   error // why what is kept is not all
}

// unsaid is one message to tell.
type unsaid struct {
	of  change
	msg []byte
}

func newAside(c *call, sub *subscription) *aside {
	return &aside{c: c, sub: sub, wants: map[change]bool{}, of: map[change]*unsaid{}, wake: make(chan struct{}, 1)}
}

func (a *aside) ask(_ []byte, v rawjson.Value) { refuseAsk(a.c.link, a.sub.d, v) }

// note keeps a message that may be told, on the goroutine that reads the process.
func (a *aside) note(msg []byte, v rawjson.Value) error {
	name, _ := v.Get("method").Str()
	ch := change{notification: name}
	switch {
	case name == resourceUpdated:
		ch.uri, _ = v.Path("params", "uri").Str()
	case name == taskChanged:
		ch.uri, _ = v.Path("params", "taskId").Str()
	case name == acknowledgedMethod, name == listenCancelled, isListChange(name):
		a.keep(ch, msg)
		return nil
	}
	if a.wants[ch] {
		a.keep(ch, msg)
	}
	return nil
}

func (a *aside) keep(ch change, msg []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.first = true; a.over || a.err != nil {
		return
	}
	switch u := a.of[ch]; {
	case u == nil:
		u = &unsaid{ch, msg}
		a.queue, a.of[ch] = append(a.queue, u), u
		a.bytes += len(msg)
	case ch.notification == taskChanged:
		a.bytes += len(msg) - len(u.msg)
		u.msg = msg
	default:
		return
	}
	if a.bytes > asideBytes && len(a.queue) > 1 {
		a.err = errUnheard // the client may listen again, and ask how things stand
		a.queue, a.of = nil, nil
	}
	a.stir()
}

func (a *aside) stir() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// began reports whether the server said anything.
func (a *aside) began() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.first
}

// end says that nothing more comes.
func (a *aside) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	a.stir()
}

// next is the next message to tell, nil if there is none now; over says that none
// comes any more.
func (a *aside) next() (u *unsaid, over bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil || len(a.queue) == 0 {
		return nil, a.over, a.err
	}
	u = a.queue[0]
	a.queue = a.queue[1:]
	delete(a.of, u.of)
	a.bytes -= len(u.msg)
	return u, false, nil
}

// tell tells what is kept until ctx ends, nothing more comes or telling fails.
func (a *aside) tell(ctx context.Context) error {
	for ctx.Err() == nil {
		u, over, err := a.next()
		switch {
		case err != nil:
			return err
		case over:
			return nil
		case u == nil:
			select {
			case <-ctx.Done():
			case <-a.wake:
			}
			continue
		case u.of.notification == listenCancelled:
			return errUnheard // its server ends it (mcp.md 1.6)
		}
		v, err := rawjson.Parse(u.msg, rawjson.Limits{Bytes: a.c.in.p.cfg.MaxResult})
		if err != nil {
			return access.Errorf(access.CodeInternal, "parsing a message again: %w", err)
		}
		if err := a.sub.note(u.msg, v); err != nil {
			return err
		}
	}
	return nil
}

var _ relay = (*aside)(nil)
