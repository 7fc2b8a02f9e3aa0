package risk

import "time"

// maxPardons bounds the sessions of an agent that are remembered to have been let go.
const maxPardons = 32

// Pardon forgets what was held against an agent and its sessions: a person has looked and
// has let it go. What is usual of it stays.
func (b *Book) Pardon(id string) {
	k := b.clocks()
	b.mu.Lock()
	a := b.agents[id]
	b.mu.Unlock()
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pardon(k, k.wall.UTC())
}

// PardonSession forgets what was held against one session of an agent, "" for whichever
// agent has it.
func (b *Book) PardonSession(id, session string) {
	k := b.clocks()
	b.mu.Lock()
	a := b.agents[id]
	b.mu.Unlock()
	if id == "" {
		a = b.agentOf(session)
	}
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pardonSession(k, session, k.wall.UTC())
}

// agentOf is the agent that has a session, nil if none is known to.
func (b *Book) agentOf(session string) *agent {
	for _, a := range b.all() {
		a.mu.Lock()
		_, ok := a.sessions[session]
		a.mu.Unlock()
		if ok {
			return a
		}
	}
	return nil
}

func (a *agent) pardon(k clocks, at time.Time) {
	a.pardoned, a.dirty = at, true
	after := k.since(at)
	a.levels.forget(after)
	for _, s := range a.sessions {
		s.levels.forget(after)
	}
	a.forgetRecent(after)
}

func (a *agent) pardonSession(k clocks, id string, at time.Time) {
	if a.pardons == nil {
		a.pardons = map[string]time.Time{}
	}
	if _, ok := a.pardons[id]; !ok && len(a.pardons) >= maxPardons {
		var old string
		for x, t := range a.pardons {
			if old == "" || t.Before(a.pardons[old]) {
				old = x
			}
		}
		delete(a.pardons, old)
	}
	a.pardons[id], a.dirty = at, true
	after := k.since(at)
	if s := a.sessions[id]; s != nil {
		s.levels.forget(after)
	}
	a.pardonedAny = later(a.pardonedAny, at)
	a.forgetRecent(after)
}

func (a *agent) forgetRecent(after time.Duration) {
	for who, h := range a.recent {
		h.levels.forget(after)
		a.recent[who] = h
	}
}

// forget drops what is not later than a time.
func (l *levels) forget(after time.Duration) {
	for i := range l {
		if l[i].at <= after {
			l[i] = level{}
		}
	}
}
