package mcpproxy

import (
	"time"

	"rutile/internal/access"
)

// place is room for one more conversation with a server that a principal's
// sessions of the aggregate hold. It is taken before the conversation is opened,
// which may be a process, and left once that counts itself.
type place struct {
	p     *Proxy
	who   access.Principal
	taken bool
}

// take takes the place, once. At the bound of a principal's sessions its least
// recently used idle conversation ends.
func (l *place) take() error {
	p := l.p
	p.mu.Lock()
	defer p.mu.Unlock()
	for !l.taken {
		n, oldest := p.conversations(l.who)
		switch {
		case n < p.cfg.PerAgent:
			p.joining[l.who]++
			l.taken = true
		case oldest == nil:
			return access.Errorf(access.CodeUnavailable, "too many sessions with servers are open; end one or try again later")
		default:
			p.evict(oldest)
		}
	}
	return nil
}

// conversations counts those a principal's sessions of the aggregate hold or are
// opening, and returns the least recently used idle one. p.mu is held.
func (p *Proxy) conversations(who access.Principal) (n int, oldest *session) {
	n = p.joining[who]
	var since time.Time
	for _, whole := range p.sessions {
		if whole.parts == nil || whole.principal != who {
			continue
		}
		for _, part := range whole.parts.open() {
			if part.link == nil {
				continue
			}
			n++
			if used, idle := part.idle(); idle && !whole.parts.listens(part) && (oldest == nil || used.Before(since)) {
				oldest, since = part, used
			}
		}
	}
	return n, oldest
}

// evict forgets a session at once and ends it in the background, unless
// something runs in it by now. p.mu is held.
func (p *Proxy) evict(s *session) (gone bool) {
	idle, first := s.finishIdle()
	if !idle {
		return false
	}
	if s.whole != nil {
		s.whole.parts.forget(s)
	} else if p.sessions[s.id] == s {
		delete(p.sessions, s.id)
	}
	if first {
		p.spawn("the end of a session", s.close)
	}
	return true
}

// leave gives the place back, where nothing took it over.
func (l *place) leave() {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	l.left()
}

// left is leave with p.mu held.
func (l *place) left() {
	if !l.taken {
		return
	}
	l.taken = false
	if l.p.joining[l.who]--; l.p.joining[l.who] <= 0 {
		delete(l.p.joining, l.who)
	}
}

// converses reports whether a legacy client's session may have a conversation of
// its own there, as far as is known.
func (t *target) converses() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.shared() && (t.known == nil || !t.modernOnly)
}
