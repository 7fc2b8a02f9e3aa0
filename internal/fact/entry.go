package fact

import (
	"context"

	"rutile/internal/access"
)

// Entry is one call in the ledger, from before it is sent until it has ended.
type Entry struct {
	l       *Ledger
	charges []access.Charge
	ticks   []ticked
	priors  []Mark
	taints  []Mark
	coming  []holder // of the marks that are expected of it
	counted bool
}

// Enter counts a call that is permitted. What the store counts is in Charges, for
// who reserves it. A call that is counted already is counted no second time. An
// error means that it cannot be counted; nothing of it is then. With lenient what cannot be counted is left out.
func (l *Ledger) Enter(p *Plan, c *Call, lenient bool) (*Entry, error) {
	if p == nil || c == nil {
		return nil, nil
	}
	e := &Entry{l: l}
	at := l.now()
	for _, r := range p.rules {
		if !r.covers(c) {
			continue
		}
		switch {
		case r.Type == Taint:
			m, _ := l.mark(r, c, at, true)
			if fresh, ok := e.expect(m, maxTaints); fresh {
				e.taints = append(e.taints, m)
			} else if !ok && !lenient && !r.tried {
				return nil, e.refuse("fact " + r.ID + " cannot be kept: too many sessions of the agent are remembered")
			}
		case r.Type == Prior:
			m, why := l.mark(r, c, at, true)
			if why != "" { // no later call is bound to it
				continue
			}
			if _, ok := e.expect(m, maxPriors); ok {
				e.priors = append(e.priors, m)
			} else if !lenient && !r.tried {
				return nil, e.refuse("fact " + r.ID + " cannot be kept: too much is remembered of the agent's calls; call again when some of it has ended")
			}
		case c.Again:
			e.counted = true
		case r.Type == Limit:
			ch, why := l.charge(r, c, at)
			switch {
			case why == "":
				e.charges, e.counted = append(e.charges, ch), true
			case !lenient && !r.tried:
				return nil, e.refuse(why)
			}
		case r.Type == Rate:
			t, ok := l.tick(r, c, at)
			switch {
			case ok:
				e.ticks, e.counted = append(e.ticks, t), true
			case !lenient && !r.tried:
				return nil, e.refuse("fact " + r.ID + " cannot be computed: its counter is full, or there are too many")
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range e.priors {
		l.pending[m.Digest]++
	}
	return e, nil
}

// expect makes room for a mark.
func (e *Entry) expect(m Mark, most int) (fresh, ok bool) {
	if fresh, ok = e.l.marks.expect(m, most); fresh {
		e.coming = append(e.coming, m.holder())
	}
	return fresh, ok
}

// arrive gives back the room that was made for marks.
func (e *Entry) arrive() {
	for _, of := range e.coming {
		e.l.marks.came(of)
	}
	e.coming = nil
}

func (e *Entry) refuse(why string) error {
	e.arrive()
	for _, t := range e.ticks {
		e.l.untick(t)
	}
	return access.Errorf(access.CodeDenied, "%s", why)
}

// Charges are what the store is to count. They MUST be reserved before the call
// is sent.
func (e *Entry) Charges() []access.Charge {
	if e == nil {
		return nil
	}
	return e.charges
}

// Counted reports whether the call is counted anywhere, now or before.
func (e *Entry) Counted() bool { return e != nil && e.counted }

// Moved sets the values that were judged to those the counters had when the call
// was counted, and reports whether one is another.
func (e *Entry) Moved(f *access.Facts) bool {
	if e == nil || f == nil {
		return false
	}
	moved := false
	set := func(id string, total int64) {
		if v, ok := f.Values[id]; ok && (v.Err != "" || v.Long != total) {
			f.Values[id] = access.FactValue{Long: total}
			moved = true
		}
	}
	for _, ch := range e.charges {
		set(ch.Fact, ch.Total)
	}
	for _, t := range e.ticks {
		set(t.rule.ID, t.total)
	}
	return moved
}

// Send notes what a session is about to see. It MUST be called, and succeed,
// before the call is sent: parts of its result may reach the caller as they come.
func (e *Entry) Send(ctx context.Context) error {
	if e == nil {
		return nil
	}
	return e.put(ctx, e.taints)
}

// Done notes that the call ended well. It MUST be called before its result is
// released.
func (e *Entry) Done(ctx context.Context) error {
	if e == nil {
		return nil
	}
	return e.put(ctx, e.priors)
}

func (e *Entry) put(ctx context.Context, list []Mark) error {
	for _, m := range list {
		if err := e.l.store.PutMark(ctx, m); err != nil {
			return err
		}
		e.l.marks.put(m)
	}
	return nil
}

// Release takes back what memory counted: the call was not made. What the store
// counted is released with its use.
func (e *Entry) Release() {
	if e == nil {
		return
	}
	for _, t := range e.ticks {
		e.l.untick(t)
	}
	e.ticks = nil
}

// End says that the call has ended and its use is settled, to who waits for it.
func (e *Entry) End() {
	if e != nil {
		e.arrive()
	}
	if e == nil || len(e.charges)+len(e.priors) == 0 {
		return
	}
	l := e.l
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range e.priors {
		if l.pending[m.Digest]--; l.pending[m.Digest] <= 0 {
			delete(l.pending, m.Digest)
		}
	}
	e.priors = nil
	close(l.changed)
	l.changed = make(chan struct{})
}
