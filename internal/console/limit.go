package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"
)

// How many sign-ins may fail. Nobody can guess 256 bits: what is bounded is the
// work and the noise.
const (
	addressFails = 10 // at once, from one address
	addressEvery = 6 * time.Second
	totalFails   = 200 // at once, from all of them
	totalEvery   = 200 * time.Millisecond
	maxAddresses = 4096
)

// attempts bounds sign-ins that fail: per address, and in all.
type attempts struct {
	now func() time.Time

	mu        sync.Mutex
	total     bucket
	addresses map[string]*bucket
}

// bucket holds when what was spent will have been refilled.
type bucket struct{ clear time.Time }

func newAttempts(now func() time.Time) *attempts {
	return &attempts{now: now, addresses: map[string]*bucket{}}
}

// take spends one attempt and returns 0, or how long the address has to wait. A
// refused attempt costs nothing; one that succeeds is given back.
func (a *attempts) take(address string) time.Duration {
	now := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	one := a.addresses[address]
	if one == nil {
		one = &bucket{}
		a.room(now)
		a.addresses[address] = one
	}
	if wait := max(one.wait(now, addressFails, addressEvery), a.total.wait(now, totalFails, totalEvery)); wait > 0 {
		return wait
	}
	one.clear, a.total.clear = one.clear.Add(addressEvery), a.total.clear.Add(totalEvery)
	return 0
}

// giveBack undoes a take that succeeded.
func (a *attempts) giveBack(address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if one := a.addresses[address]; one != nil {
		one.clear = one.clear.Add(-addressEvery)
	}
	a.total.clear = a.total.clear.Add(-totalEvery)
}

// room forgets addresses that have nothing spent, or whichever comes first where
// all have: the bound in all holds for them still.
func (a *attempts) room(now time.Time) {
	if len(a.addresses) < maxAddresses {
		return
	}
	for address, b := range a.addresses {
		if !now.Before(b.clear) {
			delete(a.addresses, address)
		}
	}
	for address := range a.addresses {
		if len(a.addresses) < maxAddresses {
			return
		}
		delete(a.addresses, address)
	}
}

// Of one person's password: from one address, and in all. Who tries from everywhere
// holds up a password, and no passkey, token or link.
const (
	wordFails  = 5
	wordEvery  = 30 * time.Second
	wordsFails = 30
	wordsEvery = time.Minute
	wordSlots  = 4096
)

// guesses bounds guesses at passwords, by what is guessed at. Slots are fixed and chosen
// by a keyed hash: nobody pushes another out, or learns who is known.
type guesses struct {
	now func() time.Time
	key [32]byte

	mu        sync.Mutex
	here, all [wordSlots]bucket
}

func newGuesses(now func() time.Time) *guesses {
	g := &guesses{now: now}
	_, _ = rand.Read(g.key[:]) // never fails
	return g
}

func (g *guesses) slot(words ...string) int {
	mac := hmac.New(sha256.New, g.key[:])
	for _, w := range words {
		mac.Write([]byte(w + "\x00"))
	}
	return int(binary.BigEndian.Uint16(mac.Sum(nil))) % wordSlots
}

// take spends one guess at a user's password from an address and returns 0, or how long
// to wait.
func (g *guesses) take(user, address string) time.Duration {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	one, all := &g.here[g.slot(user, address)], &g.all[g.slot(user)]
	if wait := max(one.wait(now, wordFails, wordEvery), all.wait(now, wordsFails, wordsEvery)); wait > 0 {
		return wait
	}
	one.clear, all.clear = one.clear.Add(wordEvery), all.clear.Add(wordsEvery)
	return 0
}

// giveBack undoes a take that succeeded.
func (g *guesses) giveBack(user, address string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one, all := &g.here[g.slot(user, address)], &g.all[g.slot(user)]
	one.clear, all.clear = one.clear.Add(-wordEvery), all.clear.Add(-wordsEvery)
}

// wait returns how long until one more may be spent of so many.
func (b *bucket) wait(now time.Time, burst int, every time.Duration) time.Duration {
	full := time.Duration(burst) * every
	switch ahead := b.clear.Sub(now); {
	case ahead < 0:
		b.clear = now
	case ahead > full:
		b.clear = now.Add(full) // the clock was set back
	}
	return max(0, b.clear.Add(every).Sub(now)-full)
}

// addressOf is what an attempt is counted against: an IPv4 address, or the /64 a
// single IPv6 host usually has. Forwarding headers are not read, because anybody
// can write them.
func addressOf(remote string) string {
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
