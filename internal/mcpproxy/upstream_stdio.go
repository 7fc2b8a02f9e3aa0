package mcpproxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

var errProcessEnded = access.Errorf(access.CodeUnavailable, "the server's process ended; it is started again at the next call")

// stdioLink is one process and everything that runs over its two pipes. Ids and
// progress tokens are unique in it because the gateway minted them.
type stdioLink struct {
	p      *Proxy
	proc   *stdioProcess
	server string
	max    int
	shared bool // by principals: what belongs to no call is for nobody
	d      *gate.Dispatch
	ended  chan struct{} // closed once everything the process said is read
	beside answers

	stopping atomic.Bool // it ends because we want it to

	mu      sync.Mutex
	pending map[string]*stdioCall // by raw id
	turn    chan struct{}         // held by the call that may be asked something; nil if the server may ask nothing
}

// stdioCall is a request in flight. Its relay is used by the reading goroutine
// only while mu is held and over is false: when the call returns, what it
// belonged to is gone.
type stdioCall struct {
	x    *exchange
	done chan stdioReply // buffered

	mu   sync.Mutex
	over bool
}

// relay hands a message to the call's relay unless the call is over.
func (c *stdioCall) relay(line []byte, v rawjson.Value) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return nil
	}
	return route(c.x.relay, line, v)
}

func (c *stdioCall) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
}

type stdioReply struct {
	rep *reply
	err error
}

// openStdio starts a process and finds out what it speaks (mcp.md 2.2).
func (t *target) openStdio(ctx context.Context, key processKey, d *gate.Dispatch, h hello) (link, *peer, *reply, error) {
	if err := t.life.mayStart(t.server.ID, key.life(), time.Now()); err != nil {
		return nil, nil, nil, err
	}
	asked := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, t.startTime(), errStartTimeout)
	defer cancel()
	failed := func(err error) {
		if asked.Err() == nil { // whoever gives up says nothing about the process
			t.life.failed(err, time.Now())
		}
	}
	l, err := t.start(ctx, key, h.asks())
	if err != nil {
		failed(err)
		return nil, nil, nil, t.startError(err)
	}
	if !l.holds(d) { // replaced since d was leased
		l.close(context.WithoutCancel(ctx))
		return nil, nil, nil, errEntryChanged
	}
	pr, rep, err := t.handshake(ctx, l, d, h)
	if err != nil {
		l.close(context.WithoutCancel(ctx))
		if ended := l.proc.Err(); errors.Is(err, errProcessEnded) && ended != nil {
			failed(ended)
		} else {
			failed(err)
		}
		if errors.Is(err, errStartTimeout) {
			return nil, nil, nil, t.startError(errStartTimeout)
		}
		return nil, nil, nil, fmt.Errorf("starting server %q: %w", t.server.ID, err)
	}
	t.life.started()
	switch {
	case pr.modern:
		l.mu.Lock()
		l.turn = nil // it sends no requests
		l.mu.Unlock()
		t.learned(pr)
	case h.client == nil:
		t.learnedLegacy(pr)
	}
	return l, pr, rep, nil
}

// probeTime is how long a process may take to answer server/discover before it
// is taken for one that only knows initialize.
const probeTime = 20 * time.Second

func (t *target) handshake(ctx context.Context, l *stdioLink, d *gate.Dispatch, h hello) (*peer, *reply, error) {
	if h.client != nil && !t.isModernOnly() {
		pr, rep, err := t.initialize(ctx, l, d, h)
		if err == nil {
			return pr, rep, l.send(ctx, d, []byte(initialized))
		}
		if access.CodeOf(err) != access.CodeUpstream {
			return nil, nil, err
		}
	}
	if known := t.current(); known == nil || known.modern {
		pctx, cancel := context.WithTimeout(ctx, min(probeTime, t.startTime()/2))
		pr, err := t.discover(pctx, l, d)
		cancel()
		if err == nil {
			return pr, nil, nil
		}
		if errors.Is(err, errProcessEnded) || ctx.Err() != nil {
			return nil, nil, err
		}
	}
	pr, rep, err := t.initialize(ctx, l, d, h)
	if err != nil {
		return nil, nil, err
	}
	return pr, rep, l.send(ctx, d, []byte(initialized))
}

func (t *target) isModernOnly() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.modernOnly
}

// start runs the command of the manifest: the only place a process comes from.
func (t *target) start(ctx context.Context, key processKey, asks bool) (*stdioLink, error) {
	s := t.server.Transport.Stdio
	if t.shared() && t.server.Credential != nil {
		return nil, errSharedCredential
	}
	// The process holds its credential as long as it lives, so the lease is its
	// own and not the call's.
	own, err := t.p.gate.System(ctx, t.server.ID)
	if err != nil {
		return nil, err
	}
	if !sameEntry(t.server, own.Server) { // the credential of one entry is not for the command of another
		own.Release()
		return nil, errEntryChanged
	}
	home, env := t.home(key)
	cfg := stdioConfig{
		Command: s.Command, Args: s.Args, Env: env, Dir: s.Dir, MaxLine: t.p.cfg.MaxResult, StartTimeout: t.startTime(),
		Confine: profileOf(s, home, t.p.cfg.Private),
		Log:     t.p.log.With("server", t.server.ID), Scrub: own.Scrub,
	}
	if own.Lease != nil {
		cfg.Secret = own.Lease.Env
	}
	t.p.log.Info("starting a server's process", "server", t.server.ID, "command", s.Command, "confined", cfg.Confine != nil)
	proc, err := startStdio(ctx, cfg)
	if err != nil {
		own.Release()
		return nil, err
	}
	t.life.began(proc.report)
	l := &stdioLink{
		p: t.p, proc: proc, server: t.server.ID, max: t.p.cfg.MaxResult, shared: t.shared(), d: own,
		pending: map[string]*stdioCall{}, ended: make(chan struct{}),
	}
	if asks {
		l.turn = make(chan struct{}, 1)
	}
	begun := time.Now()
	t.p.work.Go(func() {
		defer own.Release()
		l.read()
		close(l.ended)
		<-proc.Done()
		t.p.ended(Ended{Upstream: true, Pipe: true, Took: time.Since(begun)})
		t.ended(key, l, time.Since(begun))
	})
	return l, nil
}

// over reports whether the process has ended and everything it said is read.
func (l *stdioLink) over() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// holds reports whether the process holds the credential d was given, or as d
// none: one that holds an earlier version could show it, and is not what the
// server is to be called with.
func (l *stdioLink) holds(d *gate.Dispatch) bool { return sameCredential(l.d, d) }

// sameCredential reports whether both were given one version of one credential,
// or both none.
func sameCredential(a, b *gate.Dispatch) bool {
	if a.Lease == nil || b.Lease == nil {
		return a.Lease == b.Lease
	}
	return a.Lease.Same(b.Lease)
}

func (l *stdioLink) close(ctx context.Context) {
	if !l.over() { // else nobody wanted that
		l.stopping.Store(true)
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := l.proc.Close(ctx); err != nil {
		l.p.log.Debug("a server's process ended", "server", l.server, "error", err)
	}
}

func (l *stdioLink) send(ctx context.Context, _ *gate.Dispatch, msg []byte) error {
	if err := l.proc.Send(ctx, msg); err != nil {
		return fmt.Errorf("%w: %w", errProcessEnded, err)
	}
	return nil
}

func (l *stdioLink) answer(d *gate.Dispatch, msg []byte) {
	l.beside.send(func(ctx context.Context) { _ = l.send(ctx, d, msg) })
}

func (l *stdioLink) call(ctx context.Context, x *exchange) (*reply, access.Reach, error) {
	l.mu.Lock()
	turn := l.turn
	l.mu.Unlock()
	if turn != nil && x.method.asks() {
		// Nothing in a server's request tells which call it belongs to.
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-l.ended:
			return nil, access.ReachNo, errProcessEnded
		case <-ctx.Done():
			return nil, access.ReachNo, context.Cause(ctx)
		}
	}
	c := &stdioCall{x: x, done: make(chan stdioReply, 1)}
	key := string(x.id)
	l.mu.Lock()
	l.pending[key] = c
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.pending, key)
		l.mu.Unlock()
		c.end()
	}()
	if err := l.proc.Send(ctx, x.body); err != nil {
		if ctx.Err() != nil {
			return nil, access.ReachUnknown, context.Cause(ctx)
		}
		if errors.Is(err, errStdioUnsent) {
			return nil, access.ReachNo, errProcessEnded
		}
		return nil, access.ReachUnknown, errProcessEnded
	}
	select {
	case r := <-c.done:
		if r.err != nil {
			return nil, access.ReachYes, r.err
		}
		return r.rep, access.ReachYes, x.relay.begin(false)
	case <-l.ended:
		select {
		case r := <-c.done: // it answered and then ended
			if r.err == nil {
				return r.rep, access.ReachYes, x.relay.begin(false)
			}
		default:
		}
		l.p.log.Warn("a server's process ended with a call in flight", "server", l.server, "error", l.proc.Err())
		return nil, access.ReachUnknown, errProcessEnded
	case <-ctx.Done():
		if x.method.name != "initialize" {
			sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_ = l.proc.Send(sctx, cancelled(x.id)) // a courtesy: the call is over for us either way
		}
		return nil, access.ReachUnknown, context.Cause(ctx)
	}
}

// read hands every message of the process to what it belongs to.
func (l *stdioLink) read() {
	for line := range l.proc.Messages() {
		rep := &reply{status: http.StatusOK}
		rep.body = line
		if err := rep.doc.Parse(line, rawjson.Limits{Bytes: l.max}); err != nil {
			l.p.log.Warn("dropped a message of a server's process", "server", l.server, "error", faultOf(err))
			continue
		}
		rep.root = rep.doc.Root()
		if err := checkUpstream(rep.root); err != nil {
			l.p.log.Warn("dropped a message of a server's process", "server", l.server, "error", err)
			continue
		}
		if rep.root.Get("method").Exists() {
			l.message(line, rep.root)
			continue
		}
		l.answered(rep)
	}
}

func (l *stdioLink) answered(rep *reply) {
	id := rep.root.Get("id")
	l.mu.Lock()
	c := l.pending[string(id.Raw())]
	l.mu.Unlock()
	if c == nil {
		l.p.log.Debug("dropped an answer nobody waits for", "server", l.server)
		return
	}
	matched, err := rep.match(c.x.id)
	if err == nil && !matched {
		err = malformed("it answered with neither a result nor an error")
	}
	select {
	case c.done <- stdioReply{rep, err}:
	default: // answered twice: the first counts
	}
}

// message attributes a notification by its progress token, else to the one call
// in flight, and a request to the one call that may be asked something. What belongs to nobody is dropped or refused.
func (l *stdioLink) message(line []byte, v rawjson.Value) {
	method, _ := v.Get("method").Str()
	var owner *stdioCall
	l.mu.Lock()
	if len(l.pending) == 1 && !l.shared {
		for _, c := range l.pending {
			owner = c
		}
	}
	request, asks := v.Get("id").Exists(), l.turn != nil
	switch {
	case request && asks:
		owner = nil
		for _, c := range l.pending {
			if c.x.method.asks() {
				owner = c // there is one at most
			}
		}
	case method == "notifications/progress":
		owner = l.byToken(v.Path("params", "progressToken"))
	}
	l.mu.Unlock()
	switch {
	case request && (owner == nil || !asks):
		refuseAsk(l, l.d, v)
	case owner == nil && (method == "notifications/tools/list_changed" || method == "notifications/prompts/list_changed" || method == "notifications/resources/list_changed"):
		l.p.relearn(l.server)
	case owner != nil:
		if err := owner.relay(line, v); err != nil {
			l.p.log.Debug("dropped a message of a server's process", "server", l.server, "error", err)
		}
	}
}

// byToken finds the call that sent a progress token; l.mu is held.
func (l *stdioLink) byToken(token rawjson.Value) *stdioCall {
	for _, c := range l.pending {
		if len(c.x.token) > 0 && string(c.x.token) == string(token.Raw()) {
			return c
		}
	}
	return nil
}
