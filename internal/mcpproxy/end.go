package mcpproxy

import (
	"rutile/internal/access"
)

// End ends what servers have for nobody but whom of says: legacy sessions, the
// conversations and processes kept for them, and calls that wait for input. What is
// shared with others stays. Calls in flight are the gate's to cut, before.
func (p *Proxy) End(of func(who *access.Identity) bool) {
	p.mu.Lock()
	var over []*session
	for _, s := range p.sessions {
		if of(identityOf(s.principal, s.sid)) {
			over = append(over, s)
		}
	}
	targets := make([]*target, 0, len(p.targets))
	for _, t := range p.targets {
		targets = append(targets, t)
	}
	p.mu.Unlock()
	for _, s := range over {
		p.drop(s)
	}
	for _, t := range targets {
		t.leave(func(k processKey) bool {
			return k != (processKey{caps: k.caps}) && of(identityOf(k.principal, k.session))
		})
	}
	p.Wake()
}

func identityOf(who access.Principal, session string) *access.Identity {
	return &access.Identity{Actor: access.Actor{Agent: who.Agent}, Subject: access.Subject{Issuer: who.Issuer, ID: who.Subject}, Session: session}
}

// leave ends the conversations of the keys that are over, once nobody uses them.
func (t *target) leave(over func(processKey) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, e := range t.pool {
		if over(k) {
			t.retire(e)
		}
	}
}

// Wake has everything that outlives its decision look again whether it may go on:
// what stands against a caller is no change of the state decisions are made on.
func (p *Proxy) Wake() {
	p.mu.Lock()
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
	p.spawn("the end of calls that wait", func() { p.flights.reap(p) })
}

// EndServer ends everything that goes to a server: its processes, the conversations
// and legacy sessions with it, and what calls still run there. It is reached anew once
// it may be called again.
func (p *Proxy) EndServer(id string) {
	p.mu.Lock()
	if t := p.targets[id]; t != nil {
		p.leave(t)
	}
	p.mu.Unlock()
}
