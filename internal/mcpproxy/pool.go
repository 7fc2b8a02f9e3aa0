package mcpproxy

import (
	"context"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
)

// maxTold bounds the conversations of one principal with one server that differ
// in what the server was told.
const maxTold = 4

// pooled is a conversation kept for the stateless requests of those who share it.
type pooled struct {
	key  processKey
	link link
	peer *peer
	used time.Time
	busy int
	loud loudness
	gone bool // out of the pool; closed when nobody uses it
	fan  *fan // who listens to it; nil where a server of 2026-07-28 is at the other end
}

// replaced tells who listens that the conversation is not used any more.
func (e *pooled) replaced() {
	e.fan.replaced()
	if l, piped := e.link.(*conversation); piped {
		l.leave()
	}
}

// end closes the conversation.
func (e *pooled) end() {
	e.fan.end()
	e.link.close(context.Background())
}

// start is a conversation for the pool that is being opened. It counts as one.
type start struct {
	key  processKey
	all  bool          // whatever else its principal wants waits for it too
	over chan struct{} // closed when it is open, or will not be
}

// pooled returns the conversation of key, opening it if there is none. Who wants
// the same meanwhile waits for that; who wants another does not.
func (t *target) pooled(ctx context.Context, key processKey, d *gate.Dispatch) (*pooled, error) {
	for {
		e, other, own, err := t.claim(key, d)
		switch {
		case err != nil:
			return nil, err
		case e != nil:
			return e, nil
		case own != nil:
			return t.begin(ctx, own, d)
		}
		select {
		case <-other.over: // it may have failed for a reason of who opened it
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// claim returns the conversation of key, or else who opens it: another or, once
// begin is called, the caller.
func (t *target) claim(key processKey, d *gate.Dispatch) (e *pooled, other, own *start, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key = t.told(key)
	if e := t.kept(key, d); e != nil {
		return e, nil, nil, nil
	}
	// What a server not known yet turns out to be says whether one conversation
	// serves a principal whatever its client can be asked.
	all := t.known == nil
	for _, s := range t.starts {
		if s.key == key || (all || s.all) && s.key.life() == key.life() {
			return nil, s, nil, nil
		}
	}
	if t.closed {
		return nil, nil, nil, errEntryChanged
	}
	if err := t.room(key); err != nil {
		return nil, nil, nil, err
	}
	own = &start{key: key, all: all, over: make(chan struct{})}
	t.starts = append(t.starts, own)
	return nil, nil, own, nil
}

// begin opens the conversation of a start of the caller's own.
func (t *target) begin(ctx context.Context, s *start, d *gate.Dispatch) (*pooled, error) {
	defer func() { // also of a panic
		t.mu.Lock()
		defer t.mu.Unlock()
		t.began(s)
	}()
	l, pr, _, err := t.open(ctx, s.key, d, hello{caps: s.key.caps})
	if err != nil {
		return nil, err
	}
	e := &pooled{link: l, peer: pr, used: time.Now(), busy: 1, loud: loudness{turn: make(chan struct{}, 1)}}
	pooled := false
	defer func() { // also of a panic: nobody else would end it
		if !pooled {
			t.p.spawn("the end of a conversation", e.end)
		}
	}()
	t.p.log.Debug("a conversation with a server is open", "server", t.server.ID, "version", pr.version)
	if !pr.modern {
		e.fan = t.newFan(l)
		if s.key.caps != "" && s.key.principal != (access.Principal{}) {
			e.fan.follow(ctx) // what is asked there before it is open would be lost
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.began(s) // at once, so that it is not counted twice
	if t.closed {
		return nil, errEntryChanged
	}
	e.key = t.told(s.key)
	if same := t.kept(e.key, d); same != nil { // it turned out to be what there is already
		return same, nil
	}
	t.pool[e.key], pooled = e, true
	return e, nil
}

// began ends a start, once. t.mu is held.
func (t *target) began(s *start) {
	if i := slices.Index(t.starts, s); i >= 0 {
		t.starts = slices.Delete(t.starts, i, i+1)
		close(s.over)
	}
}

// retire takes a conversation out of the pool; it ends when nobody uses it. t.mu
// is held.
func (t *target) retire(e *pooled) {
	t.remove(e)
	if e.gone = true; e.busy == 0 {
		t.p.spawn("the end of a conversation", e.end)
	}
}

// remove takes a conversation out of the pool and tells who listens to it. t.mu
// is held.
func (t *target) remove(e *pooled) {
	delete(t.pool, e.key)
	e.replaced()
}

// lost takes a conversation that is over out of the pool.
func (t *target) lost(l link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.pool {
		if e.link == l {
			t.retire(e)
			return
		}
	}
}

// told is the key without what a modern server is not told by a handshake. t.mu
// is held.
func (t *target) told(key processKey) processKey {
	if t.known != nil && t.known.modern {
		key.caps = ""
	}
	return key
}

// room makes room for one more conversation: at the bounds of a principal, of a
// session that has a process of its own, and of the server, the least recently
// used idle one ends. It can be opened again; what is in use or being opened
// stays. t.mu is held.
func (t *target) room(key processKey) error {
	if !t.roomAmong(maxTold, func(k processKey) bool { return k.life() == key.life() }) {
		return access.Errorf(access.CodeUnavailable, "too many conversations with server %q differ in what its client can be asked; try again later", t.server.ID)
	}
	if !t.roomAmong(t.p.cfg.PerAgent, func(k processKey) bool { return k.principal == key.principal }) ||
		!t.roomAmong(t.p.cfg.PerAgent*4, func(processKey) bool { return true }) {
		return access.Errorf(access.CodeUnavailable, "server %q has too many conversations open; try again later", t.server.ID)
	}
	return nil
}

// roomAmong ends the least recently used idle conversation of those that count
// if there are most of them; false means that all are busy. t.mu is held.
func (t *target) roomAmong(most int, counts func(processKey) bool) bool {
	n := 0
	for _, s := range t.starts {
		if counts(s.key) {
			n++
		}
	}
	var idle *pooled
	for k, e := range t.pool {
		if !counts(k) {
			continue
		}
		if n++; e.busy == 0 && (idle == nil || e.used.Before(idle.used)) {
			idle = e
		}
	}
	if n < most {
		return true
	}
	if idle == nil {
		return false
	}
	t.retire(idle)
	return true
}

// kept returns the open conversation of key. A process or event stream that
// ended while nobody called is forgotten, and one that holds a credential that
// was replaced. t.mu is held.
func (t *target) kept(key processKey, d *gate.Dispatch) *pooled {
	e := t.pool[key]
	if e == nil {
		return nil
	}
	if l, ok := e.link.(*conversation); ok && (l.over() || !l.holds(d)) {
		t.retire(e)
		return nil
	}
	e.busy++
	e.used = time.Now()
	return e
}

func (t *target) release(e *pooled, bad bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e.busy--
	e.used = time.Now()
	bad = bad && t.pool[e.key] == e
	if bad {
		t.remove(e)
	}
	if bad || e.gone && e.busy == 0 {
		t.p.spawn("the end of a conversation", e.end)
	}
}
