package daemon

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// conns bounds the open connections of a listener, in all and from one address.
// One over is closed at once: left in the kernel's queue, it would keep waiting
// who comes from elsewhere, and there would be no telling why.
type conns struct {
	net.Listener
	name    string
	most    int // in all
	each    int // from one address
	log     *slog.Logger
	refused func(listener, bound string) // counts one

	mu   sync.Mutex
	of   map[netip.Prefix]int
	open int
	said map[netip.Prefix]time.Time // when the log last told of an address
}

func bounded(ln net.Listener, name string, l Limits, log *slog.Logger, refused func(listener, bound string)) *conns {
	l = l.withDefaults()
	return &conns{
		Listener: ln, name: name, most: l.Connections, each: l.ConnectionsPerAddress, log: log, refused: refused,
		of: map[netip.Prefix]int{}, said: map[netip.Prefix]time.Time{},
	}
}

// Accept returns the next connection there is room for.
func (l *conns) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := origin(c.RemoteAddr())
		bound := l.admit(from)
		if bound == "" {
			return &counted{Conn: c, free: sync.OnceFunc(func() { l.leave(from) })}, nil
		}
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // reset it: else the kernel keeps each for a minute
		}
		c.Close()
		l.refused(l.name, bound)
		if l.tell(from, time.Now()) {
			l.log.Warn("connections are closed at once: too many are open; the metric rutile_connections_refused_total counts them", "listener", l.name, "address", from, "bound", "limits."+bound)
		}
	}
}

// admit counts one more connection, or names the key of the bound it is over.
func (l *conns) admit(from netip.Prefix) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.of[from] >= l.each:
		return "connectionsPerAddress"
	case l.open >= l.most:
		return "connections"
	}
	l.of[from]++
	l.open++
	return ""
}

func (l *conns) leave(from netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.of[from]--; l.of[from] <= 0 {
		delete(l.of, from)
	}
}

// count is how many are open.
func (l *conns) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

const (
	sayEvery = time.Second // how often the log tells of one address at most
	maxSaid  = 256         // addresses it tells of within that time
)

// tell reports whether the log may tell of an address now.
func (l *conns) tell(from netip.Prefix, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.said[from]; ok && now.Sub(at) < sayEvery {
		return false
	}
	if len(l.said) >= maxSaid {
		for a, at := range l.said {
			if now.Sub(at) >= sayEvery {
				delete(l.said, a)
			}
		}
	}
	if len(l.said) >= maxSaid {
		return false
	}
	l.said[from] = now
	return true
}

// origin is what counts as one address: of IPv6 the /64, since one host has all
// of it. Whatever has no IP address, such as a unix socket, is one together.
func origin(a net.Addr) netip.Prefix {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

type counted struct {
	net.Conn
	free func()
}

func (c *counted) Close() error {
	defer c.free()
	return c.Conn.Close()
}
