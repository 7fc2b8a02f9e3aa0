package ssf

import (
	"net/netip"
	"sync"
	"time"
)

// Bounds of tokens that are nobody's: an address that shows that many within the time has
// to wait for its end, and at most so many addresses are remembered.
const (
	maxRefusals  = 30
	refusalsFor  = time.Minute
	maxAddresses = 4096
)

// refusals counts per address the tokens that were nobody's, so that they cannot be tried
// by the million. It is safe for concurrent use.
type refusals struct {
	now func() time.Time

	mu   sync.Mutex
	from map[netip.Addr]refusal
}

type refusal struct {
	n     int
	since time.Time
}

func newRefusals(now func() time.Time) *refusals {
	return &refusals{now: now, from: map[netip.Addr]refusal{}}
}

// wait is how long an address is not listened to, 0 for not at all.
func (r *refusals) wait(a netip.Addr) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.from[a]
	age := r.now().Sub(f.since)
	if f.n < maxRefusals || age < 0 || age >= refusalsFor { // below 0 the clock was set back
		return 0
	}
	return refusalsFor - age
}

// add counts one of an address.
func (r *refusals) add(a netip.Addr) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	f, known := r.from[a]
	if age := now.Sub(f.since); !known || age < 0 || age >= refusalsFor {
		f = refusal{since: now}
	}
	if !known && len(r.from) >= maxAddresses {
		r.forget(now)
	}
	f.n++
	r.from[a] = f
}

// forget makes room: what is over goes, else whoever tried least.
func (r *refusals) forget(now time.Time) {
	var least netip.Addr
	n := maxRefusals + 1
	for a, f := range r.from {
		if now.Sub(f.since) >= refusalsFor {
			delete(r.from, a)
		} else if f.n < n {
			least, n = a, f.n
		}
	}
	if len(r.from) >= maxAddresses {
		delete(r.from, least)
	}
}

// addressOf is what a request is counted against: an IPv4 address, or the /64 that one
// IPv6 host usually has. Forwarding headers are not read, because anybody can write them.
func addressOf(remote string) netip.Addr {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	ip := ap.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip
	}
	p, err := ip.Prefix(64)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}
