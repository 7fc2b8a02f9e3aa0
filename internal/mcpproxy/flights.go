package mcpproxy

import (
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// waiting is what a parked flight waits with.
type waiting struct {
	round  int
	raised []*ask
	req    *access.Request
	intent audit.Ref // of the request whose answer asked
	timer  *time.Timer
	asked  chan struct{} // closed once the outcome of that request is recorded
}

// flights are the calls that may ask, and which of them are parked.
type flights struct {
	mu     sync.Mutex
	air    map[string]*flight
	parked map[access.Principal]int
	n      int
}

func (l *flights) add(f *flight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.air[f.id] = f
}

// over forgets a flight that has ended, unless its end waits to be fetched.
func (l *flights) over(f *flight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.waiting == nil {
		delete(l.air, f.id)
	}
}

func (l *flights) find(id string) *flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.air[id]
}

// where returns the flights that fit.
func (l *flights) where(fits func(*flight) bool) []*flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*flight
	for _, f := range l.air {
		if fits(f) {
			out = append(out, f)
		}
	}
	return out
}

// park lets a flight wait with w, unless too many wait.
func (l *flights) park(f *flight, w *waiting) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	who := w.req.Who.Principal()
	if l.n >= f.p.cfg.ParkedAll || l.parked[who] >= f.p.cfg.Parked || f.p.base.Err() != nil {
		return false
	}
	l.n++
	l.parked[who]++
	l.air[f.id], f.waiting = f, w
	w.timer = time.AfterFunc(f.p.cfg.ParkTime, func() {
		if f.p.enter() { // else Close ends it
			defer f.p.calls.Done()
			f.p.contain("giving a call up", func() { f.abandon(errGaveUp) })
		}
	})
	return true
}

// claim ends the waiting of a flight, once; round 0 stands for any.
func (l *flights) claim(f *flight, round int) *waiting {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := f.waiting
	if w == nil || round != 0 && round != w.round {
		return nil
	}
	w.timer.Stop()
	f.waiting = nil
	l.n--
	who := w.req.Who.Principal()
	if l.parked[who]--; l.parked[who] <= 0 {
		delete(l.parked, who)
	}
	if f.ended() {
		delete(l.air, f.id)
	}
	return w
}

// reap ends the calls that wait although they are no longer permitted.
func (l *flights) reap(p *Proxy) {
	for _, f := range l.where(func(f *flight) bool { return f.waiting != nil && !p.gate.Visible(f.waiting.req) }) {
		if p.enter() {
			go func() {
				defer p.calls.Done()
				p.contain("giving a call up", func() { f.abandon(errNoLonger) })
			}()
		}
	}
}

// only is the flight a request of the server belongs to that came outside every
// stream of a call: the one in the air on the link, nil if that is not one.
func (l *flights) only(over link) *flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	var one *flight
	for _, f := range l.air {
		if f.link != over || f.ended() {
			continue
		}
		if one != nil {
			return nil
		}
		one = f
	}
	return one
}
