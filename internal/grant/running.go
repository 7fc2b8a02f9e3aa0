package grant

import (
	"sync"
	"time"
)

// running is the uses this process has reserved and not settled.
type running struct {
	mu   sync.Mutex
	uses map[string]runningUse
}

type runningUse struct {
	Use
	until time.Time // when it is given up, of one that waits; zero while a call runs
}

func (r *running) find(id string) (Use, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u, ok := r.uses[id]
	return u.Use, ok
}

func (r *running) put(u Use, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.uses == nil {
		r.uses = map[string]runningUse{}
	}
	r.uses[u.ID] = runningUse{u, until}
}

// take returns a use that waits and lets it run again; one that runs is not
// there for a second call.
func (r *running) take(id string) (Use, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u, ok := r.uses[id]
	if !ok || u.until.IsZero() {
		return Use{}, false
	}
	u.until = time.Time{}
	r.uses[id] = u
	return u.Use, true
}

func (r *running) remove(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.uses, id)
}

// late returns the uses that wait for longer than they may.
func (r *running) late(at time.Time) []Use {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Use
	for _, u := range r.uses {
		if !u.until.IsZero() && !at.Before(u.until) {
			out = append(out, u.Use)
		}
	}
	return out
}
