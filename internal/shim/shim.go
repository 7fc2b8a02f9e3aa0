// Package shim speaks MCP over standard input and output to one client and
// authenticated HTTP to the gateway.
//
// It holds the agent's key itself and fetches its own short-lived tokens, so the
// client and its configuration hold no credential. Messages MUST pass byte for
// byte; only line ends between tokens become blanks, because on standard output
// a line is a message. Nothing but messages is ever written there. Every request
// the client sends MUST end: in the gateway's answer, or in a JSON-RPC error
// that names the next step. A request MUST NOT be sent twice unless the gateway
// said, or the network shows, that it was not taken. The token MUST go to the
// enrolled gateway and nowhere else. The shim decides nothing: the gateway
// judges every message again.
package shim

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/identity"
)

// Config says for whom, to which server and within which bounds. The zero value
// of each bound is its default.
type Config struct {
	Profile Profile
	Server  string // id of the server; "" is the aggregate
	In      io.Reader
	Out     io.Writer
	Log     *slog.Logger

	MaxLine   int           // bytes of a message of the client, default 32 MiB
	MaxAnswer int           // bytes of a message of the gateway, default 33 MiB
	MaxHeld   int           // bytes of requests in flight, default 64 MiB
	InFlight  int           // requests in flight, default 256
	Patience  time.Duration // how long a message waits for a gateway that is away or says to come later, default 15 s
	CallMax   time.Duration // the longest a request may run, default 11 min, a little over the gateway's own bound
	Silence   time.Duration // a long stream without even a keep-alive is dead, default 90 s
	Grace     time.Duration // how long requests in flight may run on after the client closed its end, default 5 s
	Now       func() time.Time
}

func (c Config) withDefaults() Config {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	dur := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.MaxLine, 32<<20)
	def(&c.MaxAnswer, 33<<20)
	def(&c.MaxHeld, 64<<20)
	def(&c.InFlight, 256)
	dur(&c.Patience, 15*time.Second)
	dur(&c.CallMax, 11*time.Minute)
	dur(&c.Silence, 90*time.Second)
	dur(&c.Grace, 5*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// farewell bounds ending the session and waiting for what was cancelled.
const farewell = time.Second

// Shim is one run between a client and the gateway.
type Shim struct {
	cfg    Config
	url    string // of the server at the gateway
	http   *http.Client
	tokens *tokens
	out    *output
	log    *slog.Logger
	base   context.Context // ends when everything must
	work   sync.WaitGroup

	mu      sync.Mutex
	flights map[string]*flight // by id
	held    int                // bytes of messages on their way
	queued  int                // notifications and answers on their way
	resting bool               // the client closed its end
	away    time.Time          // when a notification or answer last failed
	before  chan struct{}      // closed when all that must be sent before the next message is
	session *session           // of a legacy client
	params  map[string][]param // mirrored arguments by tool
	renew   sync.Mutex         // held while a session is opened again
}

// New returns a Shim. Profile, In, Out and Log are required.
func New(cfg Config) (*Shim, error) {
	if cfg.In == nil || cfg.Out == nil || cfg.Log == nil {
		return nil, errors.New("shim: standard input, output and a log are required")
	}
	cfg = cfg.withDefaults()
	client, err := cfg.Profile.client()
	if err != nil {
		return nil, err
	}
	s := &Shim{
		cfg: cfg, url: identity.Resource(cfg.Profile.Gateway, cfg.Server), http: client, log: cfg.Log,
		out: newOutput(cfg.Out), flights: map[string]*flight{}, before: make(chan struct{}), params: map[string][]param{},
	}
	close(s.before)
	s.tokens = &tokens{profile: cfg.Profile, resource: s.url, http: client, now: cfg.Now}
	return s, nil
}

// Run serves until the client closes its end, its output breaks or ctx ends.
func (s *Shim) Run(ctx context.Context) error {
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	s.base = base
	lines, served := make(chan line), make(chan error, 1)
	go readLines(base, s.cfg.In, s.cfg.MaxLine, lines)
	s.work.Go(func() { served <- s.serve(lines) })
	var err error
	select {
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-s.out.broken:
		err = s.out.failure()
	case err = <-served:
	}
	if err == nil {
		s.rest(ctx) // the client may still read the answers it waits for
	}
	s.mu.Lock()
	for _, f := range s.flights {
		f.cut()
	}
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		s.end()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(farewell):
	}
	if err == nil {
		s.wait(farewell)
	}
	cut()
	s.wait(farewell)
	s.http.CloseIdleConnections()
	if err == nil {
		err = s.out.failure()
	}
	return err
}

// serve takes what the client sends. It may wait for a client that does not
// read; Run does not wait for it.
func (s *Shim) serve(lines <-chan line) error {
	for {
		select {
		case <-s.base.Done():
			return context.Cause(s.base)
		case l := <-lines:
			switch {
			case errors.Is(l.err, io.EOF):
				return nil
			case l.err != nil && !errors.Is(l.err, errLine):
				return access.Errorf(access.CodeUnavailable, "reading standard input: %w", l.err)
			case l.err != nil:
				s.refuse(nil, &failure{code: codeInvalidRequest, kind: "too_large", msg: l.err.Error()})
			default:
				s.take(l.text)
			}
		}
	}
}

// rest lets requests in flight finish within the grace. Streams that would not
// end by themselves end now.
func (s *Shim) rest(ctx context.Context) {
	s.mu.Lock()
	s.resting = true
	for _, f := range s.flights {
		if f.method == "subscriptions/listen" {
			f.drop()
		}
	}
	if s.session != nil {
		s.session.cut()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.work.Wait()
		close(done)
	}()
	timer := time.NewTimer(s.cfg.Grace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	case <-s.out.broken:
	}
}

func (s *Shim) wait(most time.Duration) {
	done := make(chan struct{})
	go func() {
		s.work.Wait()
		close(done)
	}()
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C: // whoever does not read its output holds the rest; the process ends
	}
}

// take deals with one message of the client.
func (s *Shim) take(text []byte) {
	m, f := readMessage(text, s.cfg.MaxLine)
	switch {
	case f != nil:
		s.refuse(nil, f)
	case m.kind == isRequest:
		s.request(m)
	case m.method == "notifications/cancelled":
		s.cancel(m)
	default:
		s.forward(m)
	}
}

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

// refuse answers requests with an error; without ids it is about a message that
// could not be read.
func (s *Shim) refuse(ids [][]byte, f *failure) {
	if f.kind != "" {
		s.log.Warn("refused", "kind", f.kind, "reason", f.msg, "cause", f.cause(), "ref", f.reference())
	}
	if ids == nil {
		s.out.write(f.message(nil))
	}
	for _, id := range ids {
		s.out.write(f.message(id))
	}
}
