package fact

import (
	"context"
	"sync"
	"time"

	"rutile/internal/access"
)

// taintLife is how long a taint is kept: longer than any session lives.
const taintLife = 90 * 24 * time.Hour

// How much is remembered at a time because of one agent, of each fact. A call that
// would be remembered beyond it is denied: a rule may permit because of what was done,
// and one may forbid because of it, so that forgetting is safe for neither.
const (
	maxPriors = 10_000
	maxTaints = 100_000 // each is a session's, for longer than it lives
)

// marks are what is remembered, by digest. Where nobody else changes the store it is
// all there is.
type marks struct {
	mu     sync.Mutex
	list   map[[32]byte]remembered
	held   map[holder]int // how many of list are of whom
	coming map[holder]int // how many calls under way will add one
	tidied time.Time
}

type remembered struct {
	ends time.Time
	of   holder
}

// holder is an agent with what a fact remembers because of it.
type holder struct{ fact, agent string }

func (k *Mark) holder() holder { return holder{k.Fact, k.Agent} }

func (m *marks) put(k Mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.list == nil {
		m.list, m.held = map[[32]byte]remembered{}, map[holder]int{}
	}
	old, known := m.list[k.Digest]
	if known && !old.ends.Before(k.Ends) {
		return
	}
	if known {
		m.leave(old.of)
	}
	m.list[k.Digest] = remembered{k.Ends, k.holder()}
	m.held[k.holder()]++
}

// leave takes one from a holder; m.mu is held.
func (m *marks) leave(of holder) {
	if m.held[of]--; m.held[of] <= 0 {
		delete(m.held, of)
	}
}

func (m *marks) find(d [32]byte, at time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return at.Before(m.list[d].ends)
}

// expect makes room for a mark that a call under way will leave; false means that
// there is none. Where it stands already it needs none, and so does one that is not
// expected: fresh says which.
func (m *marks) expect(k Mark, most int) (fresh, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k.At.Before(m.list[k.Digest].ends) {
		return false, true
	}
	of := k.holder()
	if m.held[of]+m.coming[of] >= most && k.At.Sub(m.tidied).Abs() >= time.Second {
		m.tidy(k.At)
	}
	if m.held[of]+m.coming[of] >= most {
		return false, false
	}
	if m.coming == nil {
		m.coming = map[holder]int{}
	}
	m.coming[of]++
	return true, true
}

// came says that a call that was expected to leave a mark has ended.
func (m *marks) came(of holder) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.coming[of]--; m.coming[of] <= 0 {
		delete(m.coming, of)
	}
}

// prune forgets what has ended.
func (m *marks) prune(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tidy(at)
}

// tidy is prune; m.mu is held.
func (m *marks) tidy(at time.Time) {
	m.tidied = at
	for d, k := range m.list {
		if !at.Before(k.ends) {
			delete(m.list, d)
			m.leave(k.of)
		}
	}
}

// mark is what is remembered of a call where a fact is about it: with the
// arguments that count for later calls, or for this one.
func (l *Ledger) mark(r *rule, c *Call, at time.Time, earlier bool) (Mark, string) {
	m := Mark{Fact: r.ID, Key: r.key(c), Agent: c.Who.Actor.Agent, At: at}
	if r.Type == Taint {
		m.Digest, m.Ends = l.digest("taint", r.ID, m.Key), at.Add(taintLife)
		return m, ""
	}
	parts := []string{"prior", r.ID, m.Key}
	for _, b := range r.bind {
		p := b.now
		if earlier {
			p = b.earlier
		}
		raw, why := r.scalar(p, c)
		if why != "" {
			return m, why
		}
		// The pointers are part of it: what was bound otherwise does not count.
		parts = append(parts, b.earlier.String(), b.now.String(), string(raw))
	}
	m.Digest, m.Ends = l.digest(parts...), at.Add(time.Duration(r.Seconds)*time.Second)
	return m, ""
}

// remembers is the value of a prior or a taint for a call. soon says that a call
// is under way that would make it true.
func (l *Ledger) remembers(ctx context.Context, r *rule, c *Call, at time.Time) (v access.FactValue, soon bool) {
	m, why := l.mark(r, c, at, false)
	if why != "" {
		return access.FactValue{Err: why}, false
	}
	if l.marks.find(m.Digest, at) {
		return access.FactValue{Bool: true}, false
	}
	if l.shared { // another node may know
		ends, ok, err := l.store.Mark(ctx, r.ID, m.Digest)
		switch {
		case err != nil:
			return access.FactValue{Err: "fact " + r.ID + " cannot be computed: what is remembered cannot be read"}, false
		case ok && at.Before(ends):
			m.Ends = ends
			l.marks.put(m)
			return access.FactValue{Bool: true}, false
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return access.FactValue{}, r.Type == Prior && l.pending[m.Digest] > 0
}
