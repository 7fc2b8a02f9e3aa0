package fact

import (
	"context"
	"slices"
	"time"

	"rutile/internal/access"
)

// Step is what the value of a fact is from some time on, if nothing else happens.
type Step struct {
	In    time.Duration // from now
	Value int64
}

// Held is what the end of one step of time takes out of a counter.
type Held struct {
	Bucket int64 // see access.Charge
	Amount int64
}

// Later says how the value of a limit or a rate goes down for a call that waits:
// the steps in order of time. It is empty where it does not, or nobody can tell.
func (l *Ledger) Later(ctx context.Context, p *Plan, id string, c *Call) []Step {
	if p == nil || p.byID[id] == nil || c == nil {
		return nil
	}
	r, at := p.byID[id], l.now()
	var own int64
	if r.Counts() && !c.Again && r.covers(c) {
		own, _ = r.amount(c) // what has none was not decided on
	}
	var parts []Step
	switch r.Type {
	case Limit:
		ch, why := l.charge(r, c, at)
		if why != "" {
			return nil
		}
		list, err := l.store.Buckets(ctx, ch)
		if err != nil {
			return nil // the wait is a courtesy
		}
		for _, h := range list {
			parts = append(parts, Step{time.Unix(h.Bucket+r.Seconds, 0).Sub(at), h.Amount})
		}
	case Rate:
		parts = l.draining(r, c, at)
	}
	slices.SortFunc(parts, func(a, b Step) int { return int(min(1, max(-1, a.In-b.In))) })
	total := own
	for _, s := range parts {
		total += s.Value
	}
	for i := range parts {
		total -= parts[i].Value
		parts[i].Value = total
	}
	return parts
}

// draining is what leaves the window of a rate, and when.
func (l *Ledger) draining(r *rule, c *Call, at time.Time) []Step {
	l.rates.mu.Lock()
	defer l.rates.mu.Unlock()
	g := l.ring(r, c, r.key(c), at, false)
	if g == nil {
		return nil
	}
	own := int64(-1) // the step in which what the call counts does already
	if g.seen != nil && !c.Again && r.covers(c) {
		if v, why := l.value(r, c); why == "" && g.has(v) {
			own = g.seen[v].step
		}
	}
	var out []Step
	for s := g.last - buckets; s <= g.last; s++ {
		if s < 0 {
			continue
		}
		n := g.steps[s%(buckets+1)]
		if s == own {
			n--
		}
		if n > 0 {
			ends := time.Unix(0, (s+buckets+1)*int64(g.span))
			out = append(out, Step{ends.Sub(at), n})
		}
	}
	return out
}

// Until is the shortest wait after which passes says that the values of these
// facts are low enough, 0 if there is none. It asks at most some twenty times.
func Until(facts map[string][]Step, values map[string]access.FactValue, passes func(map[string]access.FactValue) bool) time.Duration {
	var times []time.Duration
	for _, steps := range facts {
		for _, s := range steps {
			times = append(times, s.In)
		}
	}
	slices.Sort(times)
	times = slices.Compact(times)
	at := func(in time.Duration) map[string]access.FactValue {
		out := make(map[string]access.FactValue, len(values))
		for id, v := range values {
			out[id] = v
		}
		for id, steps := range facts {
			for _, s := range steps {
				if s.In <= in {
					out[id] = access.FactValue{Long: s.Value}
				}
			}
		}
		return out
	}
	if len(times) == 0 || !passes(at(times[len(times)-1])) {
		return 0
	}
	i, _ := slices.BinarySearchFunc(times, true, func(in time.Duration, _ bool) int {
		if passes(at(in)) {
			return 0
		}
		return -1
	})
	return max(times[i], time.Millisecond)
}
