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
	Grace     time.Duration // how long requests in flight may run on after the client closed its end, default 4 s: clients kill after 5
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
	dur(&c.Grace, 4*time.Second)
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
// end by themselves and what nobody waits for end now.
func (s *Shim) rest(ctx context.Context) {
	s.mu.Lock()
	s.resting = true
	for _, f := range s.flights {
		if f.method == "subscriptions/listen" || f.dropped() {
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
