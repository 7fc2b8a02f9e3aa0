package mcpproxy

import (
	"context"
	"time"

	"rutile/internal/access"
)

// stream makes ans the client's open stream: what servers say outside of
// requests goes there until silent is called.
func (ps *parts) stream(ctx context.Context, cut context.CancelCauseFunc, ans *answer, who *access.Request) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.ans, ps.ctx, ps.cut, ps.who = ans, ctx, cut, who
	for _, pt := range ps.of {
		if pt.sess != nil {
			ps.followLocked(pt)
		}
	}
}

// silent says that the client's stream has ended.
func (ps *parts) silent() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.ans = nil
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
	pt.stop = stop
	s, out := pt.sess, &answer{w: ps.ans.w, onto: ps.ans, via: outward{server: pt.sess.server}.message}
	who := *ps.who
	who.ID, who.At, who.Server = access.NewID(access.PrefixDecision), time.Now(), s.server
	ps.p.spawnFor(ps.cut, "the stream of a session", func() {
		switch dec, err := ps.p.gate.Check(ctx, &who); {
		case err != nil:
			ps.p.log.Error("deciding about a stream", "decision", who.ID, "server", s.server, "error", err)
		case dec.Allowed():
			switch l := s.link.(type) {
			case *httpLegacy:
				ps.p.follow(ctx, s, l, out, &who)
			case *conversation:
				l.listenUntil(ctx, &sessionRelay{s: s, d: l.d, ans: out, who: &who})
			}
		}
	})
}
