package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"rutile/internal/throttle"
)

// How many sign-ins may fail, from one address and from all of them. Nobody can guess 256
// bits: what is bounded is the work and the noise.
var (
	addressFails = throttle.Rate{Burst: 10, Every: 6 * time.Second}         //nolint:gochecknoglobals // a constant
	totalFails   = throttle.Rate{Burst: 200, Every: 200 * time.Millisecond} //nolint:gochecknoglobals // a constant
)

// attempts bounds sign-ins that fail: per address, and in all.
type attempts struct {
	now       func() time.Time
	addresses *throttle.Keyed

	mu    sync.Mutex
	total throttle.Bucket
}

func newAttempts(now func() time.Time) *attempts {
	return &attempts{now: now, addresses: throttle.NewKeyed(addressFails, now)}
}

// take spends one attempt and returns 0, or how long the address has to wait. A
// refused attempt costs nothing; one that succeeds is given back.
func (a *attempts) take(address string) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	wait := a.total.Wait(a.now(), totalFails)
	if wait == 0 {
		wait = a.addresses.Take(address)
	}
	if wait == 0 {
		a.total.Spend(totalFails)
	}
	return wait
}

// giveBack undoes a take that succeeded.
func (a *attempts) giveBack(address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.addresses.Give(address)
	a.total.Give(totalFails)
}

// Of one person's password: from one address, and in all. Who tries from everywhere
// holds up a password, and no passkey, token or link.
var (
	wordHere = throttle.Rate{Burst: 5, Every: 30 * time.Second} //nolint:gochecknoglobals // a constant
	wordAll  = throttle.Rate{Burst: 30, Every: time.Minute}     //nolint:gochecknoglobals // a constant
)

const wordSlots = 4096

// guesses bounds guesses at passwords, by what is guessed at. Slots are fixed and chosen
// by a keyed hash: nobody pushes another out, or learns who is known.
type guesses struct {
	now func() time.Time
	key [32]byte

	mu        sync.Mutex
	here, all [wordSlots]throttle.Bucket
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
	here, all := &g.here[g.slot(user, address)], &g.all[g.slot(user)]
	if wait := max(here.Wait(now, wordHere), all.Wait(now, wordAll)); wait > 0 {
		return wait
	}
	here.Spend(wordHere)
	all.Spend(wordAll)
	return 0
}

// giveBack undoes a take that succeeded.
func (g *guesses) giveBack(user, address string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.here[g.slot(user, address)].Give(wordHere)
	g.all[g.slot(user)].Give(wordAll)
}
