package signin

import (
	"crypto/sha256"
	"sync"
	"time"
)

// Bounds of challenges.
const (
	ChallengeLife = 5 * time.Minute
	maxChallenges = 4096
)

// Challenges are what people were asked to prove and have not answered yet. They are
// kept in memory: a new start fails whoever answers one of before. The zero value is
// not usable.
type Challenges[T any] struct {
	now func() time.Time

	mu   sync.Mutex
	open map[[sha256.Size]byte]pending[T]
}

type pending[T any] struct {
	value T
	made  time.Time
}

// NewChallenges returns none.
func NewChallenges[T any](now func() time.Time) *Challenges[T] {
	return &Challenges[T]{now: now, open: map[[sha256.Size]byte]pending[T]{}}
}

// Put keeps what a visit is asked, in place of what it was asked before. Where too many
// are open the oldest counts no longer.
func (c *Challenges[T]) Put(visit string, value T) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	var oldest [sha256.Size]byte
	var since time.Time
	for k, p := range c.open {
		if !p.counts(now) {
			delete(c.open, k)
		} else if since.IsZero() || p.made.Before(since) {
			oldest, since = k, p.made
		}
	}
	if len(c.open) >= maxChallenges {
		delete(c.open, oldest)
	}
	c.open[sha256.Sum256([]byte(visit))] = pending[T]{value, now}
}

// Take returns what a visit was asked, once.
func (c *Challenges[T]) Take(visit string) (T, bool) {
	k := sha256.Sum256([]byte(visit))
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.open[k]
	delete(c.open, k)
	if !ok || visit == "" || !p.counts(c.now()) {
		var zero T
		return zero, false
	}
	return p.value, true
}

// Look returns what a visit was asked, and leaves it.
func (c *Challenges[T]) Look(visit string) (T, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.open[sha256.Sum256([]byte(visit))]
	if !ok || visit == "" || !p.counts(c.now()) {
		var zero T
		return zero, false
	}
	return p.value, true
}

// counts reports whether a challenge may still be answered. A clock that was set back
// ends it.
func (p pending[T]) counts(now time.Time) bool {
	return !now.Before(p.made) && now.Sub(p.made) < ChallengeLife
}
