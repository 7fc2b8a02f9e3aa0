package oauth

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// maxClients bounds how many clients a limiter remembers; the one not seen for
// longest is forgotten first.
const maxClients = 4096

// limiter is a token bucket per client.
type limiter struct {
	every time.Duration // one request refills
	full  time.Duration // an idle client may spend at once
	now   func() time.Time

	mu      sync.Mutex
	clients map[string]*list.Element
	recent  *list.List // of *bucket, most recently seen first
}

// bucket holds when the client's spending will have been refilled.
type bucket struct {
	client string
	clear  time.Time
}

func newLimiter(rate, burst int, now func() time.Time) *limiter {
	every := time.Second / time.Duration(rate)
	return &limiter{every: every, full: every * time.Duration(burst), now: now, clients: map[string]*list.Element{}, recent: list.New()}
}

// take spends one request of the client and returns 0, or how long it has to
// wait. A refused request costs nothing.
func (l *limiter) take(client string) time.Duration {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.clients[client]
	if e == nil {
		if l.recent.Len() >= maxClients {
			oldest := l.recent.Back()
			delete(l.clients, oldest.Value.(*bucket).client)
			l.recent.Remove(oldest)
		}
		e = l.recent.PushFront(&bucket{client: client, clear: now})
		l.clients[client] = e
	}
	l.recent.MoveToFront(e)
	b := e.Value.(*bucket)
	switch ahead := b.clear.Sub(now); {
	case ahead < 0:
		b.clear = now
	case ahead > l.full:
		b.clear = now.Add(l.full) // the clock was set back
	}
	if wait := b.clear.Add(l.every).Sub(now) - l.full; wait > 0 {
		return wait
	}
	b.clear = b.clear.Add(l.every)
	return 0
}

// clientAddress is the network address a request is counted against: an IPv4
// address, or the /64 a single IPv6 host usually has. Forwarding headers are
// not read, because anybody can write them.
func clientAddress(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return "unknown"
	}
	ip := ap.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	p, err := ip.Prefix(64)
	if err != nil {
		return "unknown"
	}
	return p.String()
}
