// Package throttle bounds how often something may be done: a token bucket for each of
// those who do it.
//
// A limit by address holds up everybody who shares the address. It bounds work and noise,
// and MUST NOT be what a secret rests on.
package throttle

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// Rate is so many at once, and one more after each time.
type Rate struct {
	Burst int
	Every time.Duration
}

// Bucket holds when what was spent will have been refilled. The zero Bucket is full.
type Bucket struct{ clear time.Time }

// Wait returns how long until one more may be spent, 0 for now.
func (b *Bucket) Wait(now time.Time, r Rate) time.Duration {
	full := time.Duration(r.Burst) * r.Every
	switch ahead := b.clear.Sub(now); {
	case ahead < 0:
		b.clear = now
	case ahead > full:
		b.clear = now.Add(full) // the clock was set back
	}
	return max(0, b.clear.Add(r.Every).Sub(now)-full)
}

// Spend takes one, which Wait said may be.
func (b *Bucket) Spend(r Rate) { b.clear = b.clear.Add(r.Every) }

// Give undoes Spend.
func (b *Bucket) Give(r Rate) { b.clear = b.clear.Add(-r.Every) }

// MaxKeys is how many keys a Keyed remembers; the one not seen for longest is forgotten
// first.
const MaxKeys = 4096

// Keyed is a Bucket for each key. It is safe for concurrent use.
type Keyed struct {
	rate Rate
	now  func() time.Time

	mu     sync.Mutex
	keys   map[string]*list.Element
	recent *list.List // of *keyed, most recently seen first
}

type keyed struct {
	key string
	Bucket
}

// NewKeyed returns a Keyed in which nothing is spent.
func NewKeyed(r Rate, now func() time.Time) *Keyed {
	return &Keyed{rate: r, now: now, keys: map[string]*list.Element{}, recent: list.New()}
}

// Take spends one of a key and returns 0, or how long it has to wait. What has to wait
// costs nothing.
func (k *Keyed) Take(key string) time.Duration {
	now := k.now()
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.keys[key]
	if e == nil {
		if k.recent.Len() >= MaxKeys {
			oldest := k.recent.Back()
			delete(k.keys, oldest.Value.(*keyed).key)
			k.recent.Remove(oldest)
		}
		e = k.recent.PushFront(&keyed{key: key})
		k.keys[key] = e
	}
	k.recent.MoveToFront(e)
	b := e.Value.(*keyed)
	wait := b.Wait(now, k.rate)
	if wait == 0 {
		b.Spend(k.rate)
	}
	return wait
}

// Give undoes a Take that was no abuse after all.
func (k *Keyed) Give(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.keys[key]; e != nil {
		e.Value.(*keyed).Give(k.rate)
	}
}

// Len is how many keys are remembered.
func (k *Keyed) Len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.keys)
}

// Address is what a request is counted against: an IPv4 address, or the /64 a single IPv6
// host usually has. Forwarding headers are not read, because anybody can write them.
func Address(remote string) string {
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
