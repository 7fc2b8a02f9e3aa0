package mcpproxy

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

// errClientCancelled says that the client sent notifications/cancelled.
var errClientCancelled = errors.New("the client cancelled the request")

// legacy serves one message of a session-based revision.
func (in *inbound) legacy(ans *answer) {
	m := &in.msg
	id := in.r.Header[headerSession]
	if len(id) == 0 {
		if m.kind == isRequest && m.name == "initialize" {
			c := &call{in: in, ans: ans, req: in.request("")}
			if in.all {
				c.initializeAll()
			} else {
				c.initialize()
			}
			return
		}
		ans.fail(badRequest(codeInvalidRequest, "a session id is required; initialize first"))
		return
	}
	s := in.session()
	if s == nil {
		ans.fail(&rpcError{status: http.StatusNotFound, code: codeInvalidRequest, msg: "this session has ended; initialize again"})
		return
	}
	if err := in.sessionVersion(s); err != nil {
		ans.fail(err)
		return
	}
	switch m.kind {
	case isResponse:
		in.response(s, ans)
	case isNotification:
		in.notification(s)
		in.w.WriteHeader(http.StatusAccepted)
	default:
		in.sessionRequest(s, ans)
	}
}

// session returns the live session the request names, nil if there is none. A
// session under an earlier entry of its server is over.
func (in *inbound) session() *session {
	id := in.r.Header[headerSession]
	if len(id) != 1 || !in.known {
		return nil
	}
	if !in.all {
		if _, err := in.p.target(in.server); err != nil {
			return nil
		}
	}
	return in.p.session(id[0], in.who.Principal(), in.server.ID)
}

// sessionVersion applies rule 35 as the specification has it: an unsupported
// version is refused. A served revision other than the negotiated one is let
// pass, because clients send it; the session stays what it is.
func (in *inbound) sessionVersion(s *session) *rpcError {
	v, present, err := oneHeader(in.r.Header, headerVersion)
	if err != nil {
		return badRequest(codeInvalidRequest, err.msg)
	}
	if present && v != s.version && !legacyVersion(v) {
		return badRequest(codeInvalidRequest, "the header MCP-Protocol-Version names a version that is not served")
	}
	return nil
}

func (in *inbound) response(s *session, ans *answer) {
	s = s.waiting(&in.msg)
	matched, err := s.respond(in.r.Context(), &in.msg)
	switch {
	case !matched:
		ans.fail(badMessage(codeInvalidRequest, "no request waits for this response"))
	case err != nil:
		in.p.log.Warn("a client's answer could not be delivered", "server", s.server, "error", err)
		ans.fail(upstreamError("upstream_unavailable", "the answer could not be delivered"))
	default:
		in.w.WriteHeader(http.StatusAccepted)
	}
}

// notification takes a client's notification; what the upstream needs of it is
// sent on.
func (in *inbound) notification(s *session) {
	m := &in.msg
	if s.parts != nil && m.name != "notifications/cancelled" {
		for _, part := range s.parts.open() {
			in.is(part.server)
			in.notification(part)
		}
		return
	}
	switch m.name {
	case "notifications/cancelled":
		s.cancel(m.params.Get("requestId"))
	case "notifications/roots/list_changed", "notifications/progress":
		if s.link == nil {
			return
		}
		c := &call{in: in, req: in.request(s.version), sess: s}
		if !in.p.gate.Visible(c.req) || m.name == "notifications/roots/list_changed" && !in.p.gate.Visible(c.entryRequest(access.KindAsk, "roots")) {
			return // what may not use the server now tells it nothing either
		}
		d, err := in.p.gate.System(in.r.Context(), s.server)
		if err != nil {
			return
		}
		defer d.Release()
		if err := s.link.send(in.r.Context(), d, m.buf); err != nil {
			in.p.log.Warn("a client's notification could not be delivered", "server", s.server, "method", m.name, "error", err)
		}
	}
}

// sessionRequest serves a request inside a session.
func (in *inbound) sessionRequest(s *session, ans *answer) {
	m := &in.msg
	if m.method == nil || !m.method.legacy || m.method.notify {
		ans.fail(methodNotFound(false))
		return
	}
	if in.all && in.aggregate(ans, s) {
		return
	}
	c := &call{in: in, ans: ans, sess: s, req: in.request(s.version)}
	c.req.Session = s.id
	switch {
	case m.name == "initialize":
		ans.fail(badRequest(codeInvalidRequest, "the session is initialized already"))
	case m.name == "ping":
		_ = ans.final(http.StatusOK, appendResult(nil, ans.id, []byte("{}")))
	case m.name == "logging/setLevel":
		c.setLevel()
	case m.method.list != "":
		c.list()
	case m.name == "resources/unsubscribe":
		c.plain()
	default:
		c.gated()
	}
}

// plain carries a request about the server itself unchanged.
func (c *call) plain() {
	if err := c.target(); err != nil {
		c.ans.fail(err)
		return
	}
	c.req.Target = ""
	c.observed(func(d *gate.Dispatch) error {
		ctx, done := c.context()
		defer done()
		_, resp, err := c.forward(ctx, d)
		if err != nil {
			return err
		}
		return c.ans.final(http.StatusOK, d.Scrub(resp.Body))
	})
}

// setLevel keeps the level of the session and, where the upstream has one too,
// carries it there.
func (c *call) setLevel() {
	level, ok := logLevel(c.in.msg.params)
	if !ok {
		c.ans.fail(invalidParams("/params/level must be one of the eight log levels"))
		return
	}
	c.sess.mu.Lock()
	c.sess.level = level
	c.sess.mu.Unlock()
	if c.sess.link == nil {
		_ = c.ans.final(http.StatusOK, appendResult(nil, c.ans.id, []byte("{}")))
		return
	}
	c.plain()
}

// logLevel returns the level a setLevel names; ok is false if there is none.
func logLevel(params rawjson.Value) (level string, ok bool) {
	level, _ = params.Get("level").Str()
	return level, slices.Contains(levels, level)
}

// initialize opens a session: the handshake with a legacy upstream is made with
// the client's own parameters, less what policy does not carry.
func (c *call) initialize() {
	requested, bad := initParams(c.in.msg.params)
	if bad != nil {
		c.ans.fail(bad)
		return
	}
	if len(c.in.msg.params.Raw()) > maxHandshake {
		c.ans.fail(invalidParams("/params of initialize are too large"))
		return
	}
	c.req.Version = requested
	c.observed(func(d *gate.Dispatch) error {
		ctx, done := c.context()
		defer done()
		s, result, err := c.open(ctx, d, requested)
		if err != nil {
			return err
		}
		if err := c.in.p.keep(s); err != nil {
			c.in.p.spawn("the end of a session", s.end)
			return err
		}
		c.in.w.Header()[headerSession] = []string{s.id}
		_ = c.ans.final(http.StatusOK, appendResult(nil, c.ans.id, d.Scrub(result)))
		return nil
	})
}

// open makes the session and the initialize result for the client.
func (c *call) open(ctx context.Context, d *gate.Dispatch, requested string) (*session, []byte, error) {
	// What is being opened counts as no session yet, and may be a process.
	who := c.req.Who.Principal()
	if !c.in.p.opening.begin(who, c.in.p.cfg.PerAgent, c.in.p.cfg.Sessions) {
		return nil, nil, access.Errorf(access.CodeUnavailable, "too many sessions are being opened; try again later")
	}
	defer c.in.p.opening.end(who)
	t, err := c.in.p.target(d.Server)
	if err != nil {
		return nil, nil, err
	}
	params := c.in.msg.params
	caps := without(params.Get("capabilities"), append(c.deniedKinds(params.Get("capabilities")), "tasks"))
	kept, err := rawjson.Parse(caps, rawjson.Limits{})
	if err != nil {
		return nil, nil, access.Errorf(access.CodeInternal, "parsing the capabilities kept: %w", err)
	}
	s := &session{
		p: c.in.p, id: newSessionID(), principal: who, sid: c.req.Who.Session, server: d.Server.ID, version: requested, caps: kept, opens: opensAddresses(params.Get("capabilities")),
		info: append([]byte(nil), params.Get("clientInfo").Raw()...), target: t, used: time.Now(), subs: new(subscriptions),
		inflight: map[string]*call{}, asked: map[string]*asked{}, over: make(chan struct{}),
	}
	init := rawjson.AppendString([]byte(`{"protocolVersion":`), requested)
	init = append(append(init, `,"capabilities":`...), caps...)
	init = append(append(append(init, `,"clientInfo":`...), s.info...), '}')
	l, pr, err := t.openLegacy(ctx, s.principal, d, hello{client: init, caps: c.carriedKinds(kept, requested)})
	if err != nil {
		return nil, nil, err
	}
	c.in.p.introduce(ctx, t, pr)
	if s.peer = pr; l == nil {
		return s, s.result(c.in.p.toldBy(ctx, d, pr.instructions)), nil
	}
	opened := false
	defer func() { // of a panic: nobody else would end it
		if !opened {
			c.in.p.spawn("the end of a conversation", func() { l.close(context.Background()) })
		}
	}()
	s.link = l
	if legacyVersion(pr.version) {
		s.version = pr.version
	} else {
		s.version = version2503
	}
	result := s.result(c.in.p.toldBy(ctx, d, pr.instructions))
	opened = true
	return s, result, nil
}

// result is the initialize result for the client, with the instructions it may be
// told.
func (s *session) result(instructions []byte) []byte {
	b := rawjson.AppendString([]byte(`{"protocolVersion":`), s.version)
	var unheard []string
	if s.link == nil {
		unheard = nothingHeard
	}
	b = append(append(b, `,"capabilities":`...), s.p.carried(s.server, s.peer, false, unheard)...)
	info := s.peer.info
	if info == nil {
		info = []byte(`{"name":` + string(rawjson.AppendString(nil, s.server)) + `,"version":"unknown"}`)
	}
	b = append(append(b, `,"serverInfo":`...), info...)
	if instructions != nil {
		b = append(append(b, `,"instructions":`...), instructions...)
	}
	return append(b, '}')
}

// outdated reports whether the session belongs to an earlier entry of its
// server, or its process or event stream to an earlier credential.
func (s *session) outdated(t *target, d *gate.Dispatch) bool {
	l, ok := s.link.(*conversation)
	return s.target != t || ok && !l.holds(d)
}

// get serves the stream of a session for messages that belong to no request.
func (in *inbound) get() {
	if len(in.r.Header[headerSession]) == 0 {
		in.w.Header().Set("Allow", "POST")
		in.w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	s := in.session()
	if s == nil {
		http.Error(in.w, "this session has ended; initialize again", http.StatusNotFound)
		return
	}
	if err := in.sessionVersion(s); err != nil {
		http.Error(in.w, err.msg, http.StatusBadRequest)
		return
	}
	if !accepts(in.r.Header["Accept"], "text/event-stream") {
		http.Error(in.w, "the Accept header must list text/event-stream", http.StatusNotAcceptable)
		return
	}
	if !in.mayListen(s) {
		return
	}
	release, ok := in.p.hold(s.principal)
	if !ok {
		http.Error(in.w, "too many streams are open", http.StatusTooManyRequests)
		return
	}
	defer release()
	in.serveStream(s)
}

// streamMethod is what the decision about a session's stream is recorded as.
const streamMethod = "stream"

// mayListen decides whether the session's stream may be opened now, as the
// session once was; it answers itself if not.
func (in *inbound) mayListen(s *session) bool {
	if s.parts != nil {
		return true // what a server says is decided where it is followed
	}
	req := in.streams(s)
	dec, err := in.p.gate.Check(in.r.Context(), req)
	switch {
	case err != nil && in.r.Context().Err() != nil: // the client has left meanwhile
	case err != nil:
		in.p.log.Error("deciding about a stream", "decision", req.ID, "server", s.server, "error", access.Reasons(err))
		http.Error(in.w, "the stream cannot be opened now; try again", http.StatusServiceUnavailable)
	case !dec.Allowed():
		http.Error(in.w, denialText(&dec), http.StatusForbidden)
	}
	return err == nil && dec.Allowed()
}

// streams is the request for the stream of a session.
func (in *inbound) streams(s *session) *access.Request {
	req := in.request(s.version)
	req.Method = streamMethod
	return req
}

func (in *inbound) serveStream(s *session) {
	ans := &answer{w: in.w}
	s.mu.Lock()
	if s.streamed != nil {
		s.mu.Unlock()
		http.Error(in.w, "the session has a stream open already", http.StatusConflict)
		return
	}
	s.streamed = ans
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.streamed, s.used = nil, time.Now()
		s.mu.Unlock()
		ans.close()
	}()
	ctx, cut := context.WithCancelCause(in.r.Context())
	defer cut(context.Canceled)
	p := in.p
	if h, ok := s.link.(*httpLegacy); ok {
		who, open := in.streams(s), s.hear()
		p.spawnFor(cut, "the stream of a session", func() {
			defer open.over()
			_ = p.follow(ctx, s, h, ans, who, open.over)
		})
	}
	if l, ok := s.link.(*conversation); ok {
		defer l.listen(&sessionRelay{s: s, d: l.d, ans: ans, who: in.streams(s)})()
	}
	if s.parts != nil {
		s.parts.stream(ctx, cut, ans, in.streams(s), in.r)
		defer s.parts.silent()
		p.followAll(ctx)
	}
	if err := ans.begin(true); err != nil { // last: who sees it open may subscribe
		return
	}
	if s.announces() {
		w := p.watch(in.request(s.version), s.server)
		p.spawnFor(cut, "the watch of a session", func() {
			w.run(ctx, func(notification string) error { return ans.event(changeNotice(notification, nil)) })
		})
	}
	beat := time.NewTicker(beatTime)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-in.p.draining:
			return
		case <-s.over:
			return
		case <-beat.C:
			if ans.comment() != nil {
				return
			}
		}
	}
}

// follow relays the upstream session's own stream. Without one, which a server
// may refuse, the client's stream stays silent.
func (p *Proxy) follow(ctx context.Context, s *session, h *httpLegacy, ans *answer, who *access.Request, opened func()) error {
	d, err := p.gate.System(ctx, s.server)
	if err != nil {
		return err
	}
	defer d.Release()
	if err = h.stream(ctx, d, &sessionRelay{s: s, d: d, ans: ans, who: who, opened: opened}); err != nil && ctx.Err() == nil {
		p.log.Debug("an upstream's stream ended", "server", s.server, "error", err)
	}
	return err
}

// sessionRelay relays messages that belong to no request of the client.
type sessionRelay struct {
	s   *session
	d   *gate.Dispatch
	ans *answer
	who *access.Request // for the stream

	heard  *gate.Hearing
	opened func() // called when the server's stream is open; nil if it has none of its own
}

// may reports whether the client may still hear of this: a stream lives long
// after it was decided about.
func (r *sessionRelay) may(kind access.Kind, target string) bool {
	return r.s.p.mayHear(r.who, kind, target)
}

func (r *sessionRelay) begin(bool) error {
	if r.opened != nil {
		r.opened()
	}
	return nil
}

func (r *sessionRelay) retry(string) error { return nil }

// ask gives a request to the one call in flight. Outside a client's request a
// server may only ping (SEP-2260).
func (r *sessionRelay) ask(msg []byte, v rawjson.Value) {
	if !r.s.askedBeside(msg, v) {
		refuseAsk(r.s.link, r.d, v)
	}
}

func (r *sessionRelay) note(msg []byte, v rawjson.Value) error {
	switch name, _ := v.Get("method").Str(); name {
	case "notifications/tools/list_changed", "notifications/prompts/list_changed", "notifications/resources/list_changed":
		r.s.p.relearn(r.s.server)
	case resourceUpdated:
		if uri, ok := v.Path("params", "uri").Str(); !ok || !r.may(access.KindResource, uri) {
			return nil
		}
	case "notifications/message", "notifications/elicitation/complete":
	default:
		return nil
	}
	if !r.may(access.KindServer, "") {
		return nil
	}
	if r.heard == nil {
		r.heard = r.s.p.gate.Hearing(r.who)
	}
	if msg = r.d.Scrub(msg); !r.heard.Passes(context.Background(), msg) {
		return nil
	}
	return r.ans.event(msg)
}

// delete ends a session.
func (in *inbound) delete() {
	if len(in.r.Header[headerSession]) == 0 {
		in.w.Header().Set("Allow", "POST")
		in.w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	s := in.session()
	if s == nil {
		http.Error(in.w, "this session has ended", http.StatusNotFound)
		return
	}
	in.p.drop(s)
	in.w.WriteHeader(http.StatusNoContent)
}
