package fact

import (
	"sync"
	"time"

	"rutile/internal/access"
)

// Bounds of what one rate keeps in memory: counters, and different values where it
// counts those. A call beyond them cannot be counted. One agent may fill a tenth, so
// that none takes the room of the others by making sessions, tasks or values up.
const (
	maxKeys      = 100_000
	maxKeysOf    = maxKeys / 10
	maxValues    = 1_000_000
	maxValuesOf  = maxValues / 10
	tidyInterval = time.Second // a full table is looked through no more often
)

// rates are the counters in memory, by what they count.
type rates struct {
	mu     sync.Mutex
	tables map[string]*table
}

// table is the counters of one rate, by key: each key has its own.
type table struct {
	rings  map[string]*ring
	keys   map[string]int // how many an agent made
	values map[string]int // how many values an agent made known
	all    int            // of all agents
	tidied time.Time
}

// ring is one counter: what was counted in each of the last steps of its window.
// It costs the same however many calls come, but for the values it tells apart.
type ring struct {
	steps [buckets + 1]int64
	last  int64 // the step it stands at
	total int64
	span  time.Duration // of a step
	agent string        // that made it
	seen  map[[32]byte]sight
}

// sight is a value that was seen: it counts in the newest step it was seen in.
type sight struct {
	step  int64
	n     int64 // calls in that step
	prev  int64 // the step it counted in before, -1 for none
	agent string
}

func (r *rule) span() time.Duration { return time.Duration(r.Seconds) * time.Second / buckets }

// advance brings the ring to a step. Time that goes back changes nothing.
func (g *ring) advance(to int64) {
	if to-g.last > buckets {
		g.steps, g.total, g.last = [buckets + 1]int64{}, 0, to
		return
	}
	for ; g.last < to; g.last++ {
		i := (g.last + 1) % (buckets + 1)
		g.total -= g.steps[i]
		g.steps[i] = 0
	}
}

// ring returns the counter of a call at a time, nil if there is none and create is
// false, or there are too many.
func (l *Ledger) ring(r *rule, c *Call, key string, at time.Time, create bool) *ring {
	step := at.UnixNano() / int64(r.span())
	t := l.rates.tables[r.table]
	if t == nil && create {
		t = &table{rings: map[string]*ring{}, keys: map[string]int{}, values: map[string]int{}}
		if l.rates.tables == nil {
			l.rates.tables = map[string]*table{}
		}
		l.rates.tables[r.table] = t
	}
	if t == nil {
		return nil
	}
	g := t.rings[key]
	if g == nil && create {
		agent := c.Who.Actor.Agent
		full := func() bool { return len(t.rings) >= maxKeys || t.keys[agent] >= maxKeysOf }
		if full() {
			t.tidy(at, tidyInterval, nil)
		}
		if full() {
			return nil
		}
		g = &ring{last: step, span: r.span(), agent: agent}
		if r.Agg.Func == Distinct {
			g.seen = map[[32]byte]sight{}
		}
		t.rings[key] = g
		t.keys[agent]++
	}
	if g != nil {
		g.advance(step)
	}
	return g
}

// tidy forgets the counters that hold nothing any more, and values that no longer
// count, unless that was done within the time before. The counter keep stays: it is
// about to be counted in.
func (t *table) tidy(at time.Time, within time.Duration, keep *ring) {
	if at.Sub(t.tidied).Abs() < within {
		return
	}
	t.tidied = at
	for k, g := range t.rings {
		g.advance(at.UnixNano() / int64(g.span))
		for v, s := range g.seen {
			if g.last-s.step > buckets {
				g.forget(t, v)
			}
		}
		if g != keep && g.total == 0 && len(g.seen) == 0 {
			delete(t.rings, k)
			less(t.keys, g.agent)
		}
	}
}

// forget takes a value out of a counter in which it no longer counts.
func (g *ring) forget(t *table, v [32]byte) {
	less(t.values, g.seen[v].agent)
	t.all--
	delete(g.seen, v)
}

func less(of map[string]int, agent string) {
	if of[agent]--; of[agent] <= 0 {
		delete(of, agent)
	}
}

// see counts a value; false means that there are too many.
func (g *ring) see(t *table, agent string, v [32]byte, at time.Time) bool {
	s, known := g.seen[v]
	if !known {
		full := func() bool { return t.all >= maxValues || t.values[agent] >= maxValuesOf }
		if full() {
			t.tidy(at, tidyInterval, g)
		}
		if full() {
			return false
		}
		t.values[agent]++
		t.all++
		s = sight{step: -1, agent: agent}
	}
	switch counts := known && g.last-s.step <= buckets; {
	case counts && s.step == g.last:
		s.n++
	default:
		s.prev = -1
		if counts {
			s.prev = s.step
			g.steps[s.step%(buckets+1)]--
		} else {
			g.total++
		}
		s.step, s.n = g.last, 1
		g.steps[s.step%(buckets+1)]++
	}
	g.seen[v] = s
	return true
}

// unsee takes back one sight of a value in a step. Where a newer one stands it takes
// nothing: then a value counts for up to a window longer than it should, never less.
func (g *ring) unsee(t *table, v [32]byte, step int64) {
	s, known := g.seen[v]
	if !known || s.step != step {
		return
	}
	if s.n--; s.n > 0 {
		g.seen[v] = s
		return
	}
	g.steps[step%(buckets+1)]--
	if s.prev >= 0 && g.last-s.prev <= buckets {
		s.step, s.n, s.prev = s.prev, 1, -1
		g.steps[s.step%(buckets+1)]++
		g.seen[v] = s
		return
	}
	g.total--
	g.forget(t, v)
}

// value is the digest of what a call adds to a counter of different values.
func (l *Ledger) value(r *rule, c *Call) (v [32]byte, why string) {
	raw, why := r.scalar(r.at, c)
	if why == "" {
		v = l.digest("value", r.ID, string(raw))
	}
	return v, why
}

// rate is the value of a rate for a call, which it includes.
func (l *Ledger) rate(r *rule, c *Call, at time.Time) access.FactValue {
	var n int64
	var v [32]byte
	counts := !c.Again && r.covers(c)
	if counts {
		var why string
		if n, why = r.amount(c); why == "" && r.Agg.Func == Distinct {
			v, why = l.value(r, c)
		}
		if why != "" {
			return access.FactValue{Err: why}
		}
	}
	l.rates.mu.Lock()
	defer l.rates.mu.Unlock()
	if g := l.ring(r, c, r.key(c), at, false); g != nil {
		if counts && g.has(v) {
			n = 0
		}
		n += g.total
	}
	return access.FactValue{Long: n}
}

// has reports whether a value counts already.
func (g *ring) has(v [32]byte) bool {
	s, known := g.seen[v]
	return known && g.last-s.step <= buckets
}

// ticked is what a call has added to a rate.
type ticked struct {
	rule   *rule
	key    string
	step   int64
	amount int64
	value  [32]byte // of one that counts different values
	total  int64    // with it
}

// tick counts a call; ok is false where it cannot be.
func (l *Ledger) tick(r *rule, c *Call, at time.Time) (t ticked, ok bool) {
	n, why := r.amount(c)
	if why == "" && r.Agg.Func == Distinct {
		t.value, why = l.value(r, c)
	}
	if why != "" {
		return t, false
	}
	t.rule, t.key, t.amount = r, r.key(c), n
	l.rates.mu.Lock()
	defer l.rates.mu.Unlock()
	g := l.ring(r, c, t.key, at, true)
	if g == nil || g.total > access.MaxTotal-n {
		return t, false
	}
	t.step = g.last // where time went back, the newest step there is
	if g.seen != nil {
		if !g.see(l.rates.tables[r.table], c.Who.Actor.Agent, t.value, at) {
			return t, false
		}
	} else {
		g.steps[t.step%(buckets+1)] += n
		g.total += n
	}
	t.total = g.total
	return t, true
}

// untick takes back what tick counted, if it still counts.
func (l *Ledger) untick(t ticked) {
	l.rates.mu.Lock()
	defer l.rates.mu.Unlock()
	table := l.rates.tables[t.rule.table]
	if table == nil {
		return
	}
	g := table.rings[t.key]
	switch {
	case g == nil || g.last-t.step > buckets:
	case g.seen != nil:
		g.unsee(table, t.value, t.step)
	default:
		g.steps[t.step%(buckets+1)] -= t.amount
		g.total -= t.amount
	}
}
