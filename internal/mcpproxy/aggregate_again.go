package mcpproxy

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// A session of the aggregate outlives its sessions with servers. What its client
// subscribed to in one is subscribed to again in the next, and the client told
// that it may have missed something.

// subscriptions are the resources a session subscribed to.
type subscriptions struct {
	mu sync.Mutex
	of map[string]bool
}

func (s *subscriptions) has(uri string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[uri]
}

func (s *subscriptions) any() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.of) > 0
}

// add reports whether the resource is new, or an error if there are too many.
func (s *subscriptions) add(uri string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.of[uri]:
		return false, nil
	case len(s.of) >= maxSubscribed:
		return false, errSubscribed
	case s.of == nil:
		s.of = map[string]bool{}
	}
	s.of[uri] = true
	return true, nil
}

func (s *subscriptions) remove(uri string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, uri)
}

func (s *subscriptions) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.of))
}

// subscribeAgain subscribes in a new session with a server to what the client
// subscribed to in the one before. r is of who opened it; each resource is
// decided anew.
func (ps *parts) subscribeAgain(pt *part, s *session, r *access.Request) {
	if s.link == nil {
		return // nobody subscribes there
	}
	ctx, cancel := context.WithTimeout(ps.p.base, ps.p.cfg.CallTimeout)
	defer cancel()
	for _, uri := range pt.subs.all() {
		told, err := ps.subscribeOne(ctx, s, r, uri)
		if err != nil {
			ps.p.log.Warn("a resource was not subscribed to again", "server", s.server, "error", access.Reasons(err))
			if brokenLink(err) {
				ps.p.leaveBroken(s) // in the next one, then
			}
			return
		}
		if told {
			ps.miss(pt, uri)
		}
	}
	ps.catchUp(pt, s.server)
}

// subscribeOne subscribes to one resource; told says that the client is to look
// at it. One that is not permitted any more, or that the server no longer has, is
// given up.
func (ps *parts) subscribeOne(ctx context.Context, s *session, who *access.Request, uri string) (told bool, err error) {
	r := *who
	r.ID, r.At, r.Method, r.Kind, r.Target = access.NewID(access.PrefixDecision), time.Now(), "resources/subscribe", access.KindResource, uri
	r.Unknown, r.Arguments = false, rawjson.Value{}
	dec, err := ps.p.gate.Check(ctx, &r)
	if err != nil {
		return false, err
	}
	if !dec.Allowed() {
		s.subs.remove(uri)
		return false, nil
	}
	d, err := ps.p.gate.Lease(ctx, &r, &dec)
	if err != nil {
		return false, err
	}
	defer d.Release()
	rep, err := ps.p.aboutResource(ctx, s.link, d, r.Method, uri, noRelay{})
	if err != nil {
		return false, err
	}
	if rep.fault.Exists() {
		s.subs.remove(uri)
	}
	return true, nil
}

// miss notes that a resource may have changed unheard.
func (ps *parts) miss(pt *part, uris ...string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, uri := range uris {
		if pt.missed == nil {
			pt.missed = map[string]bool{}
		}
		pt.missed[uri] = true
	}
}

// catchUp tells the client, if it has a stream open, of what it may have missed,
// once that can be heard of again.
func (ps *parts) catchUp(pt *part, server string) {
	ps.mu.Lock()
	if ps.ans == nil || len(pt.missed) == 0 {
		ps.mu.Unlock()
		return
	}
	ans, ctx, who, ready := ps.ans, ps.ctx, *ps.who, pt.ready
	ps.mu.Unlock()
	select {
	case <-ready:
	case <-time.After(3 * time.Second):
	case <-ctx.Done():
		return // the next stream tells it
	}
	ps.mu.Lock()
	missed := pt.missed
	pt.missed = nil
	ps.mu.Unlock()
	who.Server = server
	for _, uri := range slices.Sorted(maps.Keys(missed)) {
		if ps.p.mayHear(&who, access.KindResource, uri) {
			_ = ans.event(updateNotice(joinedURI(server, uri), nil)) // a client that has gone is noticed elsewhere
		}
	}
}

// followSession relays a session's own stream, and again where it breaks. A
// session that is over is left, so that what is subscribed to in it is in
// another.
func (ps *parts) followSession(ctx context.Context, pt *part, s *session, l *httpLegacy, out *answer, who *access.Request, cut context.CancelCauseFunc, ready func()) {
	opened := false
	for wait := time.Second; ps.p.mayHear(who, access.KindServer, ""); wait = min(2*wait, followMax) {
		err := ps.p.follow(ctx, s, l, out, who, func() {
			if opened {
				ps.miss(pt, pt.subs.all()...)
				ps.p.spawnFor(cut, "what was missed", func() { ps.catchUp(pt, s.server) })
			}
			opened = true
			ready()
		})
		ready()
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errSessionEnded), opened && refused(err):
			ps.leaveIfSubscribed(s)
			return
		case refused(err):
			return // it has none
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// leaveIfSubscribed gives up a session that is over, if another is needed before
// the next call.
func (ps *parts) leaveIfSubscribed(s *session) {
	if s.subs.any() {
		ps.p.leaveBroken(s)
	}
}

// reopenLocked opens another session with a server as soon as that can be, as
// long as the client has its stream open and is subscribed to something there.
// ps.mu is held.
func (ps *parts) reopenLocked(pt *part, server string) {
	if pt.again || ps.over || ps.ans == nil || !pt.subs.any() {
		return
	}
	pt.again = true
	ctx, r, who := ps.ctx, ps.r, *ps.who
	ps.p.spawnFor(ps.cut, "another session with a server", func() {
		for ps.needed(ctx, pt) {
			select {
			case <-ctx.Done():
				continue
			case <-time.After(ps.wait(pt)):
			}
			if err := ps.reopen(ctx, server, r, who.Who); err != nil && ctx.Err() == nil {
				ps.p.log.Debug("a session with a server is not open again", "server", server, "error", err)
			}
		}
	})
}

// needed reports whether a session is still to be opened; if not, the next that
// is left is opened again anew.
func (ps *parts) needed(ctx context.Context, pt *part) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	pt.again = pt.sess == nil && !ps.over && ctx.Err() == nil && pt.subs.any()
	return pt.again
}

// wait is how long the next session with a server is waited for: longer each time,
// unless the last one worked for a while.
func (ps *parts) wait(pt *part) time.Duration {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if time.Since(pt.since) > followMax {
		pt.wait = 0
	}
	pt.wait = min(max(2*pt.wait, resumeAgain), followMax)
	return pt.wait
}

// reopen opens a session for a client that only listens, if its stream could be
// opened now.
func (ps *parts) reopen(ctx context.Context, server string, r *http.Request, who access.Identity) error {
	in := &inbound{p: ps.p, all: true, w: discard{}, r: r, who: who, received: time.Now()}
	in.is(server)
	c := &call{in: in, req: in.request(ps.whole.version)}
	c.req.Method = streamMethod
	if !ps.p.gate.Visible(c.req) {
		return errNoLonger // nobody asked for the denial
	}
	dec, err := ps.p.gate.Check(ctx, c.req)
	if err != nil {
		return err
	}
	d, err := ps.p.gate.Lease(ctx, c.req, &dec)
	if err != nil {
		return err
	}
	defer d.Release()
	t, err := ps.p.target(d.Server)
	if err != nil {
		return err
	}
	_, err = ps.session(ctx, c, t, d, ps.whole)
	return err
}
