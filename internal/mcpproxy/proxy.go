// Package mcpproxy speaks MCP to agents and to upstream servers.
//
// It is byte-level: a message is parsed once by our strict parser, and the
// bytes judged are the bytes forwarded, or bytes spliced into their recorded
// spans and parsed again. Both eras are served on both faces: the stateless
// 2026-07-28 revision and the session-based ones before it. Every request goes
// through package gate; nothing is sent to a server before the gate's
// continuation runs. An agent's credential never travels upstream, and nothing
// of an upstream's headers, challenges or error texts travels back.
package mcpproxy

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/petition"
	"rutile/internal/registry"
)

// Config says how the proxy listens and what it bounds. The zero value of each
// bound is its default.
type Config struct {
	URL         string        // public base address agents use, without a trailing slash
	Hosts       []string      // accepted Host headers; any other is refused (DNS rebinding)
	Origins     []string      // accepted Origin headers besides the hosts' own
	MaxBody     int           // bytes of a request, default 4 MiB
	MaxResult   int           // bytes of an upstream message, default 32 MiB
	BodyTimeout time.Duration // to send a whole request, default 60 s
	CallTimeout time.Duration // silence of an upstream before a call ends, default 60 s
	CallMax     time.Duration // the longest a call may run, default 10 min
	Sessions    int           // legacy sessions in all, default 10 000
	PerAgent    int           // legacy sessions, sessions with servers behind those of the aggregate, long streams, and processes of one server, of one principal each, default 64
	InFlight    int           // HTTP requests of one principal at once, default 512
	InFlightAll int           // such requests in all, default 8192
	Parked      int           // calls of one principal that wait for the client's input, default 8
	ParkedAll   int           // such calls in all, default 1024
	ParkTime    time.Duration // how long a call waits for the client's input, default 5 min
	Idle        time.Duration // an unused session or upstream conversation ends, default 30 min
	Extensions  []string      // protocol extensions carried besides tasks, as "prefix/name"
	Homes       string        // directory for the home directories of processes; "" makes a new one at each start
	Private     []string      // files and directories no process may be granted, whatever its manifest says
	StartTime   time.Duration // for a process to start and say what it speaks, default 60 s
	LookTime    time.Duration // for one look at the lists of a server, default 2 min
	// ApprovalURL is where people answer a request, for who can open an address;
	// nil if nobody can.
	ApprovalURL func(request string) string
	Connect     Connect // zero if nobody can connect anything
	Egress      Egress
	Ended       func(Ended) // observes sessions that end; it must not block
}

// Ended is a session that ended, for who measures.
type Ended struct {
	Upstream bool   // it was one of ours at a server, or a process; else an agent's here
	Version  string // protocol revision, "" if it is not one for all of the session
	Pipe     bool   // a process on standard input and output
	Took     time.Duration
}

func (p *Proxy) ended(e Ended) {
	if p.cfg.Ended != nil {
		p.cfg.Ended(e)
	}
}

// Defaults returns the bounds a zero Config stands for.
func Defaults() Config { return Config{}.withDefaults() }

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
	def(&c.MaxBody, 4<<20)
	def(&c.MaxResult, 32<<20)
	def(&c.Sessions, 10_000)
	def(&c.PerAgent, 64)
	def(&c.InFlight, 512)
	def(&c.InFlightAll, 8192)
	def(&c.Parked, 8)
	def(&c.ParkedAll, 1024)
	dur(&c.BodyTimeout, time.Minute)
	dur(&c.CallTimeout, time.Minute)
	dur(&c.CallMax, 10*time.Minute)
	c.CallTimeout = min(c.CallTimeout, c.CallMax)
	dur(&c.ParkTime, 5*time.Minute)
	dur(&c.Idle, 30*time.Minute)
	dur(&c.StartTime, time.Minute)
	dur(&c.LookTime, 2*time.Minute)
	return c
}

// Verifier authenticates a bearer token for exactly one resource.
type Verifier interface {
	Verify(ctx context.Context, bearer, resource string) (access.Identity, error)
}

// Catalog learns what servers list. Observe MUST have taken effect on new
// decisions when it returns.
type Catalog interface {
	Observe(ctx context.Context, server string, l registry.Listing) error
}

// Proxy serves /mcp/{server}, the gateway's own tools at /mcp/rutile and the
// aggregate /mcp.
type Proxy struct {
	cfg      Config
	gate     *gate.Gate
	verifier Verifier
	catalog  Catalog
	desk     *petition.Desk
	seal     access.Sealer
	log      *slog.Logger

	hosts     map[string]bool
	origins   map[string]bool
	transport *h1Transport
	ids       atomic.Int64
	flow      flow
	room      flow     // what makes room at the bound of flow
	opening   flow     // legacy sessions whose handshake with the server is not over
	shapes    sync.Map // shapeKey → *shape
	told      sync.Map // what toldOf parsed, by text
	offers    offers   // what the aggregate lists
	pages     pages    // what was listed at /mcp/{server}

	mu       sync.Mutex
	targets  map[string]*target
	sessions map[string]*session
	flights  flights
	streams  map[access.Principal]int
	joining  map[access.Principal]int // places taken
	learning map[string]*learning
	closed   bool
	changed  chan struct{} // closed when decisions rest on another state
	ears     ears
	stop     chan struct{}
	draining chan struct{}
	base     context.Context // ends when calls must end
	cut      context.CancelFunc
	life     sync.RWMutex // held for writing when base ends, so that calls is not added to after that
	calls    sync.WaitGroup
	work     sync.WaitGroup
}

// New returns a Proxy. Every dependency is required. Close must be called.
func New(cfg Config, g *gate.Gate, v Verifier, c Catalog, desk *petition.Desk, seal access.Sealer, log *slog.Logger) (*Proxy, error) {
	if g == nil || v == nil || c == nil || desk == nil || seal == nil || log == nil {
		return nil, errors.New("mcpproxy: a dependency is missing")
	}
	if cfg.URL == "" || len(cfg.Hosts) == 0 {
		return nil, errors.New("mcpproxy: the public address and the accepted hosts are required")
	}
	p := &Proxy{
		cfg: cfg.withDefaults(), gate: g, verifier: v, catalog: c, desk: desk, seal: seal, log: log,
		hosts: map[string]bool{}, origins: map[string]bool{}, transport: newTransport(cfg.Egress),
		targets: map[string]*target{}, sessions: map[string]*session{}, streams: map[access.Principal]int{}, joining: map[access.Principal]int{},
		learning: map[string]*learning{}, flights: flights{air: map[string]*flight{}, parked: map[access.Principal]int{}},
		stop:     make(chan struct{}),
		draining: make(chan struct{}),
	}
	p.transport.log = log
	p.base, p.cut = context.WithCancel(context.Background())
	for _, h := range cfg.Hosts {
		p.hosts[h] = true
		p.origins["http://"+h], p.origins["https://"+h] = true, true
	}
	for _, o := range cfg.Origins {
		p.origins[o] = true
	}
	p.changed = make(chan struct{})
	p.spawn("reaping", p.reap)
	p.spawn("announcing", p.announce)
	return p, nil
}

// mint returns a JSON-RPC id or progress token no other request of this process
// has.
func (p *Proxy) mint() []byte { return strconv.AppendInt(nil, p.ids.Add(1), 10) }

// target returns how server is reached now. A changed manifest makes a new
// target; conversations and sessions under the old one end. Who comes with an
// earlier entry of a server, decided before it changed, gets nothing.
func (p *Proxy) target(server registry.Server) (*target, error) {
	if now, ok := p.gate.State().View.Server(server.ID); !ok || !sameEntry(now, server) {
		return nil, errEntryChanged
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, access.Errorf(access.CodeUnavailable, "the gateway is stopping")
	}
	if t := p.targets[server.ID]; t != nil {
		if t.same(server) {
			return t, nil
		}
		p.leave(t)
	}
	t, err := newTarget(p, server)
	if err != nil {
		return nil, err
	}
	p.targets[server.ID] = t
	return t, nil
}

// leave ends everything that goes to t; p.mu is held.
func (p *Proxy) leave(t *target) {
	delete(p.targets, t.server.ID)
	p.spawn("leaving a server", t.close)
	for id, s := range p.sessions {
		if s.target == t {
			delete(p.sessions, id)
			p.spawn("the end of a session", s.end)
		}
		if s.parts == nil {
			continue
		}
		for _, part := range s.parts.open() {
			if part.target == t {
				p.spawn("the end of a session", func() { p.drop(part) })
			}
		}
	}
}

// shapeKey names a definition.
type shapeKey struct{ server, tool string }

// shapeOf returns what is to be known of an approved definition. One is kept for
// each tool: a server may change its definitions as often as it likes.
func (p *Proxy) shapeOf(tool registry.Tool) *shape {
	definition, digest := tool.Offered()
	if tool.SeenDigest != "" && (len(definition) == 0 || tool.State == registry.ToolChanged) {
		definition, digest = tool.Seen, tool.SeenDigest
	}
	key := shapeKey{tool.Server, tool.Name}
	if kept, ok := p.shapes.Load(key); ok && kept.(*shape).digest == digest {
		return kept.(*shape)
	}
	sh := newShape(definition)
	sh.digest = digest
	p.shapes.Store(key, sh)
	return sh
}

// unlearn forgets what was kept about definitions and servers that cannot be
// called any more. It is made again where they can.
func (p *Proxy) unlearn(view *registry.View) {
	p.pages.forget()
	p.shapes.Range(func(k, _ any) bool {
		key := k.(shapeKey)
		if _, st := view.Callable(key.server, key.tool); !st.OK {
			p.shapes.Delete(key)
		}
		return true
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	for server, l := range p.learning {
		if !view.ServerStanding(server).OK && l.over() {
			delete(p.learning, server)
		}
	}
}

// enter counts a call in flight, unless the proxy is closed.
func (p *Proxy) enter() bool {
	p.life.RLock()
	defer p.life.RUnlock()
	if p.base.Err() != nil {
		return false
	}
	p.calls.Add(1)
	return true
}

// hold counts a long stream of a principal; release must be called if ok.
func (p *Proxy) hold(who access.Principal) (release func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.streams[who] >= p.cfg.PerAgent {
		return nil, false
	}
	p.streams[who]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.streams[who]--; p.streams[who] <= 0 {
			delete(p.streams, who)
		}
	}, true
}

// reap ends what has not been used for long.
func (p *Proxy) reap() {
	tick := time.NewTicker(min(p.cfg.Idle/4, 5*time.Second) + time.Millisecond)
	defer tick.Stop()
	var seen *registry.View
	for {
		select {
		case <-p.stop:
			return
		case now := <-tick.C:
			p.contain("reaping", func() {
				p.reapSessions(now)
				p.flights.reap(p)
				view := p.gate.State().View
				if view != seen {
					p.unlearn(view)
					seen = view
				}
				for _, t := range p.standing(view) {
					t.reap(now)
				}
			})
		}
	}
}

// standing returns how servers are reached, and leaves those that are reached
// another way in view or not at all.
func (p *Proxy) standing(view *registry.View) []*target {
	p.mu.Lock()
	defer p.mu.Unlock()
	targets := make([]*target, 0, len(p.targets))
	for id, t := range p.targets {
		if s, ok := view.Server(id); !ok || !t.same(s) {
			p.leave(t)
			continue
		}
		targets = append(targets, t)
	}
	return targets
}

// Drain ends the streams that would otherwise never end, so that the listener
// can stop; calls in flight run on.
func (p *Proxy) Drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.draining:
	default:
		close(p.draining)
	}
}

// Close cancels the calls still in flight, ends every session and upstream
// conversation, and waits for all of it, at most until ctx ends.
func (p *Proxy) Close(ctx context.Context) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	close(p.stop)
	p.life.Lock()
	p.cut()
	p.life.Unlock()
	sessions, targets := p.sessions, p.targets
	p.sessions, p.targets = map[string]*session{}, map[string]*target{}
	p.mu.Unlock()
	for _, f := range p.flights.where(func(f *flight) bool { return f.waiting != nil }) {
		p.calls.Go(func() { p.contain("giving a call up", func() { f.abandon(errStopping) }) })
	}
	for _, s := range sessions {
		p.spawn("the end of a session", s.end)
	}
	for _, t := range targets {
		p.spawn("leaving a server", t.close)
	}
	done := make(chan struct{})
	go func() {
		p.calls.Wait() // their outcomes are recorded
		p.work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	p.transport.CloseIdleConnections()
	return nil
}
