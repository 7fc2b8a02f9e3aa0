package fact

import (
	"sync"
	"time"

	"rutile/internal/access"
)

// maxKeys bounds the counters of one rate. A call beyond them cannot be counted.
const maxKeys = 100_000

// rates are the counters in memory, by what they count.
type rates struct {
	mu     sync.Mutex
	tables map[string]map[string]*ring
}

// ring is one counter: what was counted in each of the last steps of its window.
// It costs the same however many calls come.
type ring struct {
	steps [buckets + 1]int64
	last  int64 // the step it stands at
	total int64
	span  time.Duration // of a step
}

func (r *rule) span() time.Duration { return time.Duration(r.Seconds) * time.Second / buckets }

// advance brings the ring to a step. Time that goes back changes nothing.
func (g *ring) advance(to int64) {
	if to-g.last > buckets {
		*g = ring{last: to, span: g.span}
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
func (l *Ledger) ring(r *rule, key string, at time.Time, create bool) *ring {
	step := at.UnixNano() / int64(r.span())
	table := l.rates.tables[r.table]
	g := table[key]
	if g == nil && create {
		if len(table) >= maxKeys {
			tidy(table, at)
		}
		if len(table) >= maxKeys {
			return nil
		}
		if l.rates.tables == nil {
			l.rates.tables = map[string]map[string]*ring{}
		}
		if table == nil {
			table = map[string]*ring{}
			l.rates.tables[r.table] = table
		}
		g = &ring{last: step, span: r.span()}
		table[key] = g
	}
	if g != nil {
		g.advance(step)
	}
	return g
}

// tidy forgets the counters of a table that hold nothing any more.
func tidy(table map[string]*ring, at time.Time) {
	for k, g := range table {
		if at.UnixNano()/int64(g.span)-g.last > buckets {
			delete(table, k)
		}
	}
}

// rate is the value of a rate for a call, which it includes.
func (l *Ledger) rate(r *rule, c *Call, at time.Time) access.FactValue {
	var n int64
	if !c.Again && r.covers(c) {
		var why string
		if n, why = r.amount(c); why != "" {
			return access.FactValue{Err: why}
		}
	}
	l.rates.mu.Lock()
	defer l.rates.mu.Unlock()
	if g := l.ring(r, r.key(c), at, false); g != nil {
		n += g.total
	}
	return access.FactValue{Long: n}
}

// ticked is what a call has added to a rate.
type ticked struct {
	rule   *rule
	key    string
	step   int64
	amount int64
	total  int64 // with it
}

// tick counts a call; ok is false where it cannot be.
func (l *Ledger) tick(r *rule, c *Call, at time.Time) (t ticked, ok bool) {
	n, why := r.amount(c)
	if why != "" {
		return t, false
	}
	t = ticked{rule: r, key: r.key(c), amount: n}
	l.rates.mu.Lock()
	defer l.rates.mu.Unlock()
	g := l.ring(r, t.key, at, true)
	if g == nil || g.total > access.MaxTotal-n {
		return t, false
	}
	t.step = g.last // where time went back, the newest step there is
	g.steps[t.step%(buckets+1)] += n
	g.total += n
	t.total = g.total
	return t, true
}

// untick takes back what tick counted, if it still counts.
func (l *Ledger) untick(t ticked) {
	l.rates.mu.Lock()
	defer l.rates.mu.Unlock()
	g := l.rates.tables[t.rule.table][t.key]
	if g == nil || g.last-t.step > buckets {
		return
	}
	g.steps[t.step%(buckets+1)] -= t.amount
	g.total -= t.amount
}
