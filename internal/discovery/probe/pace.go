package probe

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// pace lets connections begin no faster than so many a second, in all and to
// one address, with a random pause more between them, and bounds how many to
// one address are open at once.
type pace struct {
	every, hostEvery time.Duration

	mu      sync.Mutex
	next    time.Time
	hosts   map[netip.Addr]*hostPace
	changed chan struct{} // closed when a connection ends
}

type hostPace struct {
	next time.Time
	open int
}

func newPace(rate, hostRate float64) *pace {
	if rate <= 0 || rate > DefaultRate {
		rate = DefaultRate
	}
	if hostRate <= 0 || hostRate > DefaultHost {
		hostRate = DefaultHost
	}
	return exactPace(rate, hostRate)
}

func exactPace(rate, hostRate float64) *pace {
	return &pace{
		every: time.Duration(float64(time.Second) / rate), hostEvery: time.Duration(float64(time.Second) / hostRate),
		hosts: map[netip.Addr]*hostPace{}, changed: make(chan struct{}),
	}
}

// take waits until a connection to a may begin. The caller ends it with release.
func (p *pace) take(ctx context.Context, a netip.Addr) (release func(), err error) {
	for {
		wait, changed := p.try(a)
		if wait == 0 {
			return sync.OnceFunc(func() { p.release(a) }), nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-changed:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// try begins a connection if it may begin now; otherwise it says how long to
// wait at most, and what ends the wait earlier.
func (p *pace) try(a netip.Addr) (time.Duration, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	h := p.hosts[a]
	if h == nil {
		p.forget(now)
		h = &hostPace{}
		p.hosts[a] = h
	}
	if h.open >= DefaultHost {
		return time.Hour, p.changed
	}
	ready := p.next
	if h.next.After(ready) {
		ready = h.next
	}
	if wait := ready.Sub(now); wait > 0 {
		return wait, nil
	}
	h.open++
	p.next, h.next = now.Add(jitter(p.every)), now.Add(jitter(p.hostEvery))
	return 0, nil
}

// forget drops addresses that need not wait, once there are many.
func (p *pace) forget(now time.Time) {
	if len(p.hosts) < 4*workers {
		return
	}
	for a, h := range p.hosts {
		if h.open == 0 && h.next.Before(now) {
			delete(p.hosts, a)
		}
	}
}

func (p *pace) release(a netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.hosts[a]; h != nil {
		h.open--
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// jitter makes a pause up to a quarter longer, never shorter.
func jitter(d time.Duration) time.Duration { return d + rand.N(d/4+1) } //nolint:gosec // spreads load, hides nothing
