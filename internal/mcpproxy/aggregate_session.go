package mcpproxy

import (
	"context"
	"net/http"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

// parts are the sessions of one session of the aggregate with the servers its
// client used: each is made at the first use of its server, with the client's
// own initialize, and is what a session of /mcp/{server} would be.
type parts struct {
	p     *Proxy
	init  []byte // the client's initialize, told to every server
	whole *session

	mu   sync.Mutex
	of   map[string]*part
	ans  *answer // the client's open stream, nil if none
	r    *http.Request
	ctx  context.Context
	cut  context.CancelCauseFunc // ends the stream
	who  *access.Request         // that opened it
	over bool
}

// part is one place; sess is nil until somebody opened it.
type part struct {
	turn chan struct{} // one opens at a time
	sess *session
	stop context.CancelFunc // of what follows its stream

	subs   *subscriptions  // of this and every earlier session
	missed map[string]bool // resources the client is to be told of
	ready  <-chan struct{} // closed once what follows the stream hears something, or never will
	again  bool            // another session is being opened for what is subscribed to
	since  time.Time       // when the last was
	wait   time.Duration   // for the last that was waited for
}

// maxInit bounds an initialize that is kept for servers yet to be used.
const maxInit = 64 << 10

// initializeAll opens a session of the aggregate. No server is asked.
func (c *call) initializeAll() {
	params := c.in.msg.params
	requested, err := initParams(params)
	if err != nil {
		c.ans.fail(err)
		return
	}
	if len(c.in.msg.buf) > maxInit {
		c.ans.fail(invalidParams("/params of an initialize to the aggregate may have 64 KiB"))
		return
	}
	s := &session{
		p: c.in.p, id: newSessionID(), principal: c.req.Who.Principal(), sid: c.req.Who.Session, version: requested, opens: opensAddresses(params.Get("capabilities")), used: time.Now(),
		inflight: map[string]*call{}, asked: map[string]*asked{}, over: make(chan struct{}),
		parts: &parts{p: c.in.p, init: append([]byte(nil), c.in.msg.buf...), of: map[string]*part{}},
	}
	s.parts.whole = s
	if err := c.in.p.keep(s); err != nil {
		c.ans.fail(c.failure(err))
		return
	}
	c.in.w.Header()[headerSession] = []string{s.id}
	result := rawjson.AppendString([]byte(`{"protocolVersion":`), requested)
	result = append(result, `,"capabilities":`+ourCaps+`,"serverInfo":`+ourInfo+`,"instructions":`...)
	result = append(rawjson.AppendString(result, ourInstructions), '}')
	_ = c.ans.final(http.StatusOK, appendResult(nil, c.ans.id, result)) // the client may have gone
}

// initParams checks the parameters of an initialize and returns the revision to
// speak.
func initParams(params rawjson.Value) (string, *rpcError) {
	requested, ok := params.Get("protocolVersion").Str()
	if !ok || params.Get("capabilities").Kind() != rawjson.Object || params.Get("clientInfo").Kind() != rawjson.Object {
		return "", invalidParams("/params must have protocolVersion (a string), capabilities and clientInfo (objects)")
	}
	if !legacyVersion(requested) {
		requested = version2511
	}
	return requested, nil
}

// join makes the call one of its session, and of a session of the aggregate one
// of the session with its server too, opening that if it is not open. leave must
// be called with the error the call ends with.
func (c *call) join(ctx context.Context, t *target, d *gate.Dispatch) (leave func(error), err error) {
	whole := c.sess
	if !whole.began(c) {
		return nil, errIDInFlight
	}
	if whole.parts == nil {
		return func(err error) {
			whole.ended(c)
			if brokenLink(err) && whole.link != nil {
				c.in.p.drop(whole) // the client is told to initialize again
			}
		}, nil
	}
	defer func() {
		if leave == nil { // it did not join, or panicked
			whole.ended(c)
		}
	}()
	if err := c.joinPart(ctx, whole, t, d); err != nil {
		return nil, err
	}
	return func(err error) {
		defer whole.ended(c)
		c.sess.ended(c)
		if brokenLink(err) {
			c.in.p.leaveBroken(c.sess) // the next call opens another
		}
	}, nil
}

var errIDInFlight = badRequest(codeInvalidRequest, "this id is already in flight in the session")

func (c *call) joinPart(ctx context.Context, whole *session, t *target, d *gate.Dispatch) error {
	for {
		s, err := whole.parts.session(ctx, c, t, d, whole)
		if err != nil {
			return err
		}
		was := c.sess
		c.sess = s // before its server can ask beside the call
		if s.began(c) {
			return nil
		}
		c.sess = was
		whole.parts.forget(s) // it ended just now
	}
}

// leaveBroken gives up a session with a server that is over. What else runs in
// it is not cancelled, but finds out by itself: it may have been answered, or
// can be sent again as well.
func (p *Proxy) leaveBroken(s *session) {
	s.mu.Lock()
	s.broken = true
	s.mu.Unlock()
	p.drop(s)
}

// joinAgain leaves a session with a server that was over before it took the call
// for a new one.
func (c *call) joinAgain(ctx context.Context, t *target, d *gate.Dispatch) error {
	c.sess.ended(c)
	c.in.p.leaveBroken(c.sess)
	return c.joinPart(ctx, c.sess.whole, t, d)
}

// session returns the open session with a server.
func (ps *parts) session(ctx context.Context, c *call, t *target, d *gate.Dispatch, whole *session) (*session, error) {
	ps.mu.Lock()
	pt := ps.of[d.Server.ID]
	if pt == nil {
		pt = &part{turn: make(chan struct{}, 1), subs: new(subscriptions)}
		ps.of[d.Server.ID] = pt
	}
	ps.mu.Unlock()
	select {
	case pt.turn <- struct{}{}:
		defer func() { <-pt.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	ps.mu.Lock()
	s := pt.sess
	ps.mu.Unlock()
	if s != nil && !s.outdated(t, d) {
		s.mu.Lock()
		s.used = time.Now()
		s.mu.Unlock()
		return s, nil
	}
	if s != nil {
		c.in.p.drop(s) // its server is reached another way now
	}
	p := c.in.p
	room := place{p: p, who: whole.principal}
	defer room.leave()
	if t.converses() {
		if err := room.take(); err != nil {
			return nil, err
		}
	}
	s, err := ps.openPart(ctx, c, d, whole)
	if err != nil {
		return nil, err
	}
	s.subs = pt.subs
	if s.link != nil {
		if err := room.take(); err != nil {
			p.spawn("the end of a session", s.end)
			return nil, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.over || ps.of[d.Server.ID] != pt || p.sessions[whole.id] != whole {
		p.spawn("the end of a session", s.end)
		return nil, access.Errorf(access.CodeUnavailable, "the session has ended")
	}
	if p.targets[s.server] != s.target {
		p.spawn("the end of a session", s.end)
		return nil, errEntryChanged
	}
	pt.sess, pt.since = s, time.Now()
	room.left()
	ps.followLocked(pt)
	if s.subs.any() { // of an earlier session
		r := bare(c.req)
		r.Server = s.server
		p.spawn("subscribing again", func() { ps.subscribeAgain(pt, s, r) })
	}
	return s, nil
}

// openPart makes the session as an initialize at /mcp/{server} would.
func (ps *parts) openPart(ctx context.Context, c *call, d *gate.Dispatch, whole *session) (*session, error) {
	in := &inbound{p: c.in.p, all: true, w: discard{}, r: c.in.r, who: c.in.who, received: c.in.received}
	in.is(d.Server.ID)
	if err := in.msg.parse(ps.init, rawjson.Limits{}); err != nil {
		return nil, err
	}
	open := &call{in: in, req: in.request(whole.version)} // of the whole session, whatever the answer of this call can carry
	s, _, err := open.open(ctx, d, whole.version)
	if err != nil {
		return nil, err
	}
	s.whole, s.version, s.level = whole, whole.version, whole.logLevel()
	if s.level != "" {
		s.carryLevel(ctx, d)
	}
	return s, nil
}

// open returns the sessions that are open.
func (ps *parts) open() []*session {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var open []*session
	for _, pt := range ps.of {
		if pt.sess != nil {
			open = append(open, pt.sess)
		}
	}
	return open
}

// listens reports whether the client waits for updates of resources in the
// session: what is listened to is in use.
func (ps *parts) listens(s *session) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	pt := ps.of[s.server]
	return pt != nil && pt.sess == s && pt.stop != nil && pt.subs.any()
}

// forget makes the next call to the session's server open another, or opens it
// where the client waits for what comes in it.
func (ps *parts) forget(s *session) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if pt := ps.of[s.server]; pt != nil && pt.sess == s {
		pt.close()
		ps.reopenLocked(pt, s.server)
	}
}

func (pt *part) close() {
	pt.sess = nil
	if pt.stop != nil {
		pt.stop()
		pt.stop = nil
	}
}

// end ends every session with a server, side by side.
func (ps *parts) end() {
	var open []*session
	ps.mu.Lock()
	ps.over = true
	for _, pt := range ps.of {
		if pt.sess != nil {
			open = append(open, pt.sess)
		}
		pt.close()
	}
	ps.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range open {
		wg.Go(func() { ps.p.contain("the end of a session", s.end) })
	}
	wg.Wait()
}

// reap ends the sessions with servers that have not been used for long, unless
// the client listens to them.
func (ps *parts) reap(now time.Time) {
	ps.mu.Lock()
	var idle []*session
	for _, pt := range ps.of {
		if pt.sess == nil || pt.stop != nil && pt.sess.heard() {
			continue
		}
		if used, free := pt.sess.idle(); free && now.Sub(used) > ps.p.cfg.Idle {
			idle = append(idle, pt.sess)
		}
	}
	ps.mu.Unlock()
	for _, s := range idle {
		ps.p.drop(s)
	}
}

// waiting returns the session that waits for the client's response m: s itself,
// or of the aggregate the part that asked.
func (s *session) waiting(m *message) *session {
	if s.parts == nil {
		return s
	}
	for _, part := range s.parts.open() {
		part.mu.Lock()
		key := m.id.Raw()
		asked := part.asked[string(key)] != nil || part.late[string(key)]
		part.mu.Unlock()
		if asked {
			return part
		}
	}
	return s
}

// setLevelAll keeps the level for every server, and tells those that are open.
func (c *call) setLevelAll() {
	level, ok := logLevel(c.in.msg.params)
	if !ok {
		c.ans.fail(invalidParams("/params/level must be one of the eight log levels"))
		return
	}
	s, p := c.sess, c.in.p
	s.mu.Lock()
	s.level = level
	s.mu.Unlock()
	for _, part := range s.parts.open() {
		part.mu.Lock()
		part.level = level
		part.mu.Unlock()
		p.spawn("a log level", func() { // a server that is slow to take it delays nobody
			ctx, cancel := context.WithTimeout(context.Background(), p.cfg.CallTimeout)
			defer cancel()
			stop := context.AfterFunc(p.base, cancel)
			defer stop()
			d, err := p.gate.System(ctx, part.server)
			if err != nil {
				return
			}
			defer d.Release()
			part.carryLevel(ctx, d)
		})
	}
	_ = c.ans.final(http.StatusOK, appendResult(nil, c.ans.id, []byte("{}"))) // the client may have gone
}

// carryLevel tells a server of the session's level, where it has one.
func (s *session) carryLevel(ctx context.Context, d *gate.Dispatch) {
	if s.link == nil || !s.p.mayUse(s.server, s.peer, "logging") {
		return
	}
	if err := s.p.tellLevel(ctx, s.link, s.logLevel(), d); err != nil {
		s.p.log.Warn("a server was not told of the log level", "server", s.server, "error", err)
	}
}
