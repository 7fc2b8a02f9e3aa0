package shim

import (
	"context"
	"sync"
	"time"
)

// flight is a request that waits for its answer.
type flight struct {
	*message
	ctx context.Context
	cut context.CancelFunc

	mu   sync.Mutex
	gone bool            // the client no longer wants it
	open map[string]bool // ids without an answer
}

// drop ends a request nobody wants an answer to.
func (f *flight) drop() {
	f.mu.Lock()
	f.gone = true
	f.mu.Unlock()
	f.cut()
}

func (f *flight) dropped() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gone
}

// answered says that id has its answer; false if it was not waiting for one.
func (f *flight) answered(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.open[id] {
		return false
	}
	delete(f.open, id)
	return true
}

// waiting returns the raw ids without an answer.
func (f *flight) waiting() [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out [][]byte
	for _, id := range f.ids {
		if f.open[string(id)] {
			out = append(out, id)
		}
	}
	return out
}

// request starts a request. It never blocks: a client that waits for room could
// not answer what the server asks, and room would never come.
func (s *Shim) request(m *message) {
	f := &flight{message: m, open: map[string]bool{}}
	for _, id := range m.ids {
		f.open[string(id)] = true
	}
	s.mu.Lock()
	for _, id := range m.ids {
		if s.flights[string(id)] != nil || len(f.open) != len(m.ids) {
			s.mu.Unlock()
			s.refuse(nil, &failure{code: codeInvalidRequest, kind: "invalid", msg: "this id is in flight already; give each request its own"})
			return
		}
	}
	if len(s.flights)+len(m.ids) > s.cfg.InFlight || s.held+len(m.raw) > s.cfg.MaxHeld {
		s.mu.Unlock()
		s.refuse(m.ids, &failure{code: codeInternal, kind: "busy", msg: "too many requests are in flight; wait for answers first"})
		return
	}
	f.ctx, f.cut = context.WithCancel(s.base)
	s.held += len(m.raw)
	for _, id := range m.ids {
		s.flights[string(id)] = f
	}
	before, sent := s.before, make(chan struct{})
	if m.method == "initialize" && m.version == "" {
		s.before = sent // what follows belongs into the session
	}
	s.mu.Unlock()
	s.work.Go(func() {
		defer close(sent)
		defer f.cut()
		select {
		case <-before:
		case <-f.ctx.Done():
		}
		fault := s.exchange(f)
		s.mu.Lock()
		s.held -= len(m.raw)
		for _, id := range m.ids {
			s.land(f, string(id))
		}
		s.mu.Unlock()
		if left := f.waiting(); len(left) > 0 && !f.dropped() && s.base.Err() == nil {
			if fault == nil {
				fault = s.lost(nil)
			}
			s.refuse(left, fault)
		}
	})
}

// land makes an id free again. The caller holds s.mu.
func (s *Shim) land(f *flight, id string) {
	if s.flights[id] == f {
		delete(s.flights, id)
	}
}

// settle says that id has its answer, before the client can see it and use the
// id again; false if none is waited for.
func (s *Shim) settle(f *flight, id string) bool {
	if !f.answered(id) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.land(f, id)
	return true
}

// cancel ends a request the client no longer wants: over modern HTTP by closing
// its stream, in a session by saying so.
func (s *Shim) cancel(m *message) {
	id := m.params.Get("requestId")
	s.mu.Lock()
	f := s.flights[string(id.Raw())]
	s.mu.Unlock()
	switch {
	case f != nil && (f.version != "" || f.method == "subscriptions/listen"):
		f.drop()
	case f != nil && f.method == "initialize": // it cannot be cancelled
	case f != nil:
		f.mu.Lock()
		f.gone = true // an answer that is under way is not wanted any more
		f.mu.Unlock()
		s.forward(m)
	}
}

// forward sends a notification or an answer in the order they came.
func (s *Shim) forward(m *message) {
	s.mu.Lock()
	if s.queued >= s.cfg.InFlight || s.held+len(m.raw) > s.cfg.MaxHeld {
		s.mu.Unlock()
		s.log.Warn("a message was dropped: too many wait for the gateway", "method", m.method)
		return
	}
	s.queued, s.held = s.queued+1, s.held+len(m.raw)
	before, sent, queued := s.before, make(chan struct{}), time.Now()
	s.before = sent
	s.mu.Unlock()
	s.work.Go(func() {
		defer func() {
			s.mu.Lock()
			s.queued, s.held = s.queued-1, s.held-len(m.raw)
			s.mu.Unlock()
			close(sent)
		}()
		select {
		case <-before:
		case <-s.base.Done():
			return
		}
		s.mu.Lock()
		ses, away := s.session, queued.Before(s.away)
		s.mu.Unlock()
		switch {
		case ses == nil:
			s.log.Debug("a message outside of a session went nowhere", "method", m.method)
			return
		case away:
			// One waited for the gateway for all of them, and requests wait behind.
			s.log.Warn("a message was dropped: the gateway was away", "method", m.method)
			return
		}
		if f := s.post(ses, m); f != nil {
			s.mu.Lock()
			s.away = time.Now()
			s.mu.Unlock()
			s.log.Warn("a message could not be delivered", "method", m.method, "reason", f.msg, "ref", f.reference())
		}
	})
}
