package fact

import (
	"context"
	"sync"
	"time"

	"rutile/internal/access"
)

// taintLife is how long a taint is kept: longer than any session lives.
const taintLife = 90 * 24 * time.Hour

// marks are what is remembered, by digest, with the ends. Where nobody else
// changes the store it is all there is.
type marks struct {
	mu   sync.Mutex
	ends map[[32]byte]time.Time
}

func (m *marks) put(k Mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ends == nil {
		m.ends = map[[32]byte]time.Time{}
	}
	if m.ends[k.Digest].Before(k.Ends) {
		m.ends[k.Digest] = k.Ends
	}
}

func (m *marks) find(d [32]byte, at time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return at.Before(m.ends[d])
}

// prune forgets what has ended.
func (m *marks) prune(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for d, ends := range m.ends {
		if !at.Before(ends) {
			delete(m.ends, d)
		}
	}
}

// mark is what is remembered of a call where a fact is about it: with the
// arguments that count for later calls, or for this one.
func (l *Ledger) mark(r *rule, c *Call, at time.Time, earlier bool) (Mark, string) {
	m := Mark{Fact: r.ID, Key: r.key(c), At: at}
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
