package mcpproxy

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"sort"
	"strconv"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

// session is one legacy session of a client. Its id names it and proves
// nothing: every request is authenticated anew and must come from the same
// principal.
type session struct {
	p         *Proxy
	id        string
	principal access.Principal
	sid       string // of the token it was opened with
	server    string
	version   string
	caps      rawjson.Value // the client's capabilities that policy carries
	opens     bool          // the client said that it can send somebody to an address
	info      []byte        // raw clientInfo
	target    *target
	link      link // the upstream session of its own; nil if the upstream is modern
	peer      *peer
	subs      *subscriptions // over a conversation of its own, or as a part of the aggregate's

	mu       sync.Mutex
	used     time.Time
	level    string
	inflight map[string]*call  // by idKey
	asked    map[string]*asked // by our id
	late     map[string]bool   // our ids of requests whose call ended before the client answered
	streamed *answer           // the open GET stream, nil if none
	hearing  *opening          // what the client's stream hears of its server; nil while it has none
	ended_   bool
	broken   bool          // it is over at its server; what runs in it finds that out
	over     chan struct{} // closed when it ends

	parts  *parts   // of the aggregate: the sessions with the servers used; nil of any other
	whole  *session // the aggregate's session this is a part of, nil if none
	opened time.Time
}

// asked is a server's request that waits for the client's answer.
type asked struct {
	upstream []byte // the server's raw id
	kind     string // elicitation, sampling or roots
	d        *gate.Dispatch
	link     link
	got      chan []byte // takes the raw result, nil for an error, where a modern server asks; else nil
}

// maxAsked bounds server requests waiting in one session.
const maxAsked = 64

func newSessionID() string {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// idKey makes JSON-RPC ids comparable: type and value.
func idKey(id rawjson.Value) string {
	if s, ok := id.Str(); ok {
		return "s" + s
	}
	return "n" + string(id.Raw())
}

// keep stores a new session. At the bound of a principal its least recently
// used idle session ends: a client may always initialize again, and many never
// end what they opened.
func (p *Proxy) keep(s *session) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.closed {
			return access.Errorf(access.CodeUnavailable, "the gateway is stopping")
		}
		if s.target != nil && p.targets[s.server] != s.target { // it changed meanwhile
			return errEntryChanged
		}
		own, oldest := 0, (*session)(nil)
		var since time.Time
		for _, o := range p.sessions {
			if o.principal != s.principal {
				continue
			}
			own++
			if used, idle := o.idle(); idle && (oldest == nil || used.Before(since)) {
				oldest, since = o, used
			}
		}
		if own < p.cfg.PerAgent && len(p.sessions) < p.cfg.Sessions {
			s.opened = time.Now()
			s.used = s.opened // not since the handshake with the server began
			p.sessions[s.id] = s
			return nil
		}
		if oldest == nil {
			return access.Errorf(access.CodeUnavailable, "too many sessions are open; end one or try again later")
		}
		p.evict(oldest)
	}
}

// idle reports when the session was last used, until the end of what ran in it,
// and whether nothing runs in it.
func (s *session) idle() (used time.Time, idle bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used, len(s.inflight) == 0 && s.streamed == nil
}

// session returns the live session of this principal and server, nil for any
// other id: somebody else's session looks like none (mcp.md rule 34).
func (p *Proxy) session(id string, who access.Principal, server string) *session {
	p.mu.Lock()
	s := p.sessions[id]
	p.mu.Unlock()
	if s == nil || s.principal != who || s.server != server {
		return nil
	}
	s.mu.Lock()
	s.used = time.Now()
	s.mu.Unlock()
	return s
}

// drop forgets the session and ends it in the background.
func (p *Proxy) drop(s *session) {
	if s.whole != nil {
		s.whole.parts.forget(s)
	}
	p.mu.Lock()
	if p.sessions[s.id] == s {
		delete(p.sessions, s.id)
	}
	closed := p.closed
	p.mu.Unlock()
	if !closed {
		p.spawn("the end of a session", s.end)
	}
}

func (p *Proxy) reapSessions(now time.Time) {
	p.mu.Lock()
	var idle []*session
	for _, s := range p.sessions {
		if s.parts != nil {
			p.spawn("the reaping of a session", func() { s.parts.reap(now) })
		}
		if used, free := s.idle(); free && now.Sub(used) > p.cfg.Idle {
			idle = append(idle, s)
		}
	}
	p.mu.Unlock()
	for _, s := range idle {
		p.drop(s)
	}
}

// end cancels what runs in the session and ends its upstream session.
func (s *session) end() {
	if s.finish() {
		s.close()
	}
}

// close is what is left to do of an end.
func (s *session) close() {
	if s.link != nil {
		defer s.link.close(context.Background())
	}
	if s.parts != nil {
		defer s.parts.end()
	}
	if !s.opened.IsZero() { // else it was never an agent's own
		s.p.ended(Ended{Version: s.version, Took: time.Since(s.opened)})
	}
}

// finish ends the session for its clients, once.
func (s *session) finish() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended_ {
		return false
	}
	s.ended_ = true
	close(s.over)
	for _, c := range s.inflight {
		if !s.broken {
			c.cut(context.Canceled)
		}
	}
	return true
}

// finishIdle is finish of a session in which nothing runs; first reports whether
// it had not ended before.
func (s *session) finishIdle() (idle, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.inflight) > 0 || s.streamed != nil {
		return false, false
	}
	if first = !s.ended_; first {
		s.ended_ = true
		close(s.over)
	}
	return true, first
}

// began registers a call; false means that its id is in flight already or the
// session has ended.
func (s *session) began(c *call) bool {
	key := idKey(c.in.msg.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, dup := s.inflight[key]; dup || s.ended_ {
		return false
	}
	s.inflight[key] = c
	return true
}

func (s *session) ended(c *call) {
	s.mu.Lock()
	delete(s.inflight, idKey(c.in.msg.id))
	s.used = time.Now() // what took long was used as long
	s.mu.Unlock()
	c.beside.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, a := range s.asked {
		if a.d == c.d { // what it asked is not waited for any more
			delete(s.asked, k)
			if s.late == nil || len(s.late) >= maxAsked {
				s.late = map[string]bool{}
			}
			s.late[k] = true
		}
	}
}

// cancel ends the call a client no longer wants.
func (s *session) cancel(id rawjson.Value) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.inflight[idKey(id)]; c != nil {
		c.cut(errClientCancelled)
	}
}

func (s *session) logLevel() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.level
}

// relayAsk relays a server's request to the client of this session if the
// client declared the kind and policy permits it.
func (s *session) relayAsk(c *call, to *answer, msg []byte, v rawjson.Value) {
	if v.Get("method").Equals("ping") || to.collect {
		refuseAsk(s.link, c.d, v)
		return
	}
	upstream := append([]byte(nil), v.Get("id").Raw()...)
	a, err := c.judge(c.in.r.Context(), s.caps, v)
	if err != nil {
		a = &ask{fault: &rpcError{code: codeInternal, msg: "it could not be decided whether this may be asked"}}
	}
	if a.refused() {
		s.decline(c, a, upstream)
		return
	}
	if !c.d.Passes(c.in.r.Context(), msg, c.findings()) { // it is part of what comes back
		a.no()
		s.decline(c, a, upstream)
		return
	}
	id := s.expect(&asked{upstream: upstream, kind: a.kind, d: c.d, link: s.link})
	if id == nil {
		a.no()
		s.decline(c, a, upstream)
		return
	}
	c.extend(s.p.cfg.ParkTime)
	start, end := v.Get("id").Span()
	// The client may have gone; the server's request then times out.
	_ = to.event(c.d.Scrub(rawjson.Splice(msg, rawjson.Edit{Start: start, End: end, Text: id})))
}

// askedBeside relays a request of the server that came outside every stream of
// a call, if one call is in flight that it can belong to.
func (s *session) askedBeside(msg []byte, v rawjson.Value) bool {
	s.mu.Lock()
	var one *call
	n := 0
	for _, c := range s.inflight {
		// One that is not under way yet has asked the server nothing.
		if c.d != nil && c.ans != nil && c.in.msg.method != nil && c.in.msg.method.asks() {
			one = c
			n++
		}
	}
	if n == 1 {
		one.beside.Add(1) // it does not end meanwhile
		defer one.beside.Done()
	}
	s.mu.Unlock()
	if n != 1 {
		return false
	}
	s.relayAsk(one, one.ans, msg, v)
	return true
}

// expect waits for an answer of the client and returns the id to ask under, nil
// if too many are waited for.
func (s *session) expect(a *asked) []byte {
	id := s.p.mint()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.asked) >= maxAsked || s.ended_ {
		return nil
	}
	s.asked[string(id)] = a
	return id
}

// decline answers a server's request in the client's stead (mcp.md 2.4 step 4).
func (s *session) decline(c *call, a *ask, id []byte) {
	var body []byte
	if a.own != nil {
		body = appendResult(nil, id, a.own)
	} else {
		body = appendError(nil, id, a.fault)
	}
	s.link.answer(c.d, body)
}

// respond carries the client's answer to the server that asked; false means
// that nothing waits for it.
func (s *session) respond(ctx context.Context, m *message) (bool, error) {
	key := string(m.id.Raw())
	if _, err := strconv.ParseInt(key, 10, 64); err != nil {
		return false, nil //nolint:nilerr // the proxy asks under numbers only, so nothing waits for it
	}
	s.mu.Lock()
	a := s.asked[key]
	late := s.late[key]
	delete(s.asked, key)
	delete(s.late, key)
	s.mu.Unlock()
	if a == nil {
		return late, nil // nobody waits any more, which is not the client's fault
	}
	if a.got != nil {
		a.got <- append([]byte(nil), m.root.Get("result").Raw()...) // buffered, and only one answer is taken
		return true, nil
	}
	start, end := m.id.Span()
	edits := []rawjson.Edit{{Start: start, End: end, Text: a.upstream}}
	if result := m.root.Get("result"); s.whole != nil && result.Exists() {
		start, end := result.Span()
		edits = append(edits, rawjson.Edit{Start: start, End: end, Text: inward(s.server, a.kind, result.Raw())})
		sort.Slice(edits, func(i, j int) bool { return edits[i].Start < edits[j].Start })
	}
	return true, a.link.send(ctx, a.d, rawjson.Splice(m.buf, edits...))
}

// Sessions returns how many legacy sessions are open.
func (p *Proxy) Sessions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sessions)
}

// Waiting returns how many calls wait for the input of their client.
func (p *Proxy) Waiting() int {
	p.flights.mu.Lock()
	defer p.flights.mu.Unlock()
	return p.flights.n
}
