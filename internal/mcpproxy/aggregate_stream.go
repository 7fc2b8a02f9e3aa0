package mcpproxy

import (
	"context"
	"net/http"
	"time"

	"rutile/internal/access"
)

// stream makes ans the client's open stream: what servers say outside of
// requests goes there until silent is called.
func (ps *parts) stream(ctx context.Context, cut context.CancelCauseFunc, ans *answer, who *access.Request, r *http.Request) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.ans, ps.ctx, ps.cut, ps.who, ps.r = ans, ctx, cut, who, r
	for server, pt := range ps.of {
		if pt.sess == nil {
			ps.reopenLocked(pt, server)
			continue
		}
		ps.followLocked(pt)
		if len(pt.missed) > 0 {
			ps.p.spawnFor(cut, "what was missed", func() { ps.catchUp(pt, server) })
		}
	}
}

// silent says that the client's stream has ended.
func (ps *parts) silent() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.ans, ps.r = nil, nil
	for _, pt := range ps.of {
		if pt.stop != nil {
			pt.stop()
			pt.stop = nil
		}
	}
}

// followLocked relays the part's own stream while the client has one open, if it
// may be opened now.
func (ps *parts) followLocked(pt *part) {
	if pt.stop != nil {
		pt.stop()
		pt.stop = nil
	}
	if ps.ans == nil || pt.sess.link == nil {
		return
	}
	ctx, stop := context.WithCancel(ps.ctx)
	open := pt.sess.hear()
	ready := open.over
	pt.stop, pt.ready = stop, open.done
	cut := ps.cut
	s, out := pt.sess, &answer{w: ps.ans.w, onto: ps.ans, via: outward{server: pt.sess.server}.message}
	who := *ps.who
	who.ID, who.At, who.Server = access.NewID(access.PrefixDecision), time.Now(), s.server
	ps.p.spawnFor(cut, "the stream of a session", func() {
		defer ready()
		switch dec, err := ps.p.gate.Check(ctx, &who); {
		case err != nil && ctx.Err() != nil: // the client has left meanwhile
		case err != nil:
			ps.p.log.Error("deciding about a stream", "decision", who.ID, "server", s.server, "error", access.Reasons(err))
		case dec.Allowed():
			switch l := s.link.(type) {
			case *httpLegacy:
				ps.followSession(ctx, pt, s, l, out, &who, cut, ready)
			case *conversation:
				l.listenUntil(ctx, &sessionRelay{s: s, d: l.d, ans: out, who: &who}, ready)
				if ctx.Err() == nil { // the session is over
					ps.leaveIfSubscribed(s)
				}
			}
		}
	})
}
