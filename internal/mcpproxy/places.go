package mcpproxy

import (
	"math"
	"sync"
	"time"

	"rutile/internal/access"
)

// The processes of one server are counted for the principal they serve, from
// before they are started, whatever for: sessions of legacy clients, those behind
// the aggregate, and conversations of modern clients. One that is to end counts no
// more.

// reserve counts one more process for a principal, until free is called. At the
// bound of the principal the least recently used idle one ends: a modern client's,
// which notices nothing, before that of a session.
func (t *target) reserve(who access.Principal) (free func(), err error) {
	for !t.processes.begin(who, t.p.cfg.PerAgent, math.MaxInt) {
		l := t.idlePooled(who)
		if l == nil {
			l = t.p.idleSession(t, who)
		}
		if l == nil {
			return nil, access.Errorf(access.CodeUnavailable, "too many processes of server %q are in use; end a session or try again later", t.server.ID)
		}
		l.free()
	}
	return sync.OnceFunc(func() { t.processes.end(who) }), nil
}

// idlePooled ends the least recently used idle conversation of a principal's
// modern clients and returns it, nil if there is none.
func (t *target) idlePooled(who access.Principal) *conversation {
	t.mu.Lock()
	defer t.mu.Unlock()
	var idle *pooled
	for k, e := range t.pool {
		if k.principal == who && e.busy == 0 && (idle == nil || e.used.Before(idle.used)) {
			idle = e
		}
	}
	if idle == nil {
		return nil
	}
	t.retire(idle)
	l, _ := idle.link.(*conversation)
	return l
}

// idleSession ends the least recently used idle session of a principal that has a
// process of a server, and returns its conversation, nil if there is none.
func (p *Proxy) idleSession(t *target, who access.Principal) *conversation {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		var oldest *session
		var since time.Time
		consider := func(s *session) {
			if _, piped := s.link.(*conversation); !piped || s.target != t {
				return
			}
			if used, idle := s.idle(); idle && (oldest == nil || used.Before(since)) {
				oldest, since = s, used
			}
		}
		for _, s := range p.sessions {
			if s.principal != who {
				continue
			}
			if s.parts == nil {
				consider(s)
				continue
			}
			for _, part := range s.parts.open() {
				if !s.parts.listens(part) {
					consider(part)
				}
			}
		}
		if oldest == nil {
			return nil
		}
		if p.evict(oldest) {
			return oldest.link.(*conversation)
		}
	}
}
