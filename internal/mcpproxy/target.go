package mcpproxy

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"reflect"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// peer is what is known of an upstream since it was last probed. All bytes are
// raw JSON, nil if absent.
type peer struct {
	modern       bool
	version      string
	capabilities rawjson.Value // an object
	info         []byte        // serverInfo
	instructions []byte
}

// offers reports whether the upstream advertised a capability.
func (p *peer) offers(capability string) bool {
	return capability == "" || p.capabilities.Get(capability).Kind() == rawjson.Object
}

// target is one registered server as the proxy reaches it.
type target struct {
	p      *Proxy
	server registry.Server
	http   *httpTarget // nil for stdio

	probing    chan struct{} // one prober at a time
	mu         sync.Mutex
	known      *peer
	modernOnly bool // it refused initialize
	pool       map[access.Principal]*pooled
	closed     bool
	failed     int // starts of a process that ended at once, for the backoff
	retryAt    time.Time
}

// pooled is a conversation kept for one principal's stateless requests.
type pooled struct {
	link link
	peer *peer
	used time.Time
	busy int
}

func newTarget(p *Proxy, s registry.Server) (*target, error) {
	t := &target{p: p, server: s, probing: make(chan struct{}, 1), pool: map[access.Principal]*pooled{}}
	if s.Transport.HTTP != nil {
		h, err := newHTTPTarget(s.Transport.HTTP, p.transport, p.cfg.MaxResult)
		if err != nil {
			return nil, err
		}
		t.http = h
	} else if s.Transport.Stdio == nil {
		return nil, access.Errorf(access.CodeInvalid, "server %q has no transport; apply a manifest with one", s.ID)
	}
	return t, nil
}

// same reports whether s is reached as t does.
func (t *target) same(s registry.Server) bool {
	if t.server.Changed.Equal(s.Changed) {
		return true
	}
	return reflect.DeepEqual(t.server.Transport, s.Transport) && reflect.DeepEqual(t.server.Credential, s.Credential)
}

// acquire returns a conversation for a principal's stateless requests. release
// must be called; bad says that the conversation must not be used again.
func (t *target) acquire(ctx context.Context, who access.Principal, d *gate.Dispatch) (link, *peer, func(bad bool), error) {
	if t.http != nil {
		pr, err := t.peer(ctx, d)
		if err != nil {
			return nil, nil, nil, err
		}
		if pr.modern {
			return httpModern{t.http}, pr, func(bool) {}, nil
		}
	}
	e, err := t.pooled(ctx, who, d)
	if err != nil {
		return nil, nil, nil, err
	}
	return e.link, e.peer, func(bad bool) { t.release(who, e, bad) }, nil
}

// pooled returns the principal's conversation, opening it if there is none. Only
// opening waits for others that open one.
func (t *target) pooled(ctx context.Context, who access.Principal, d *gate.Dispatch) (*pooled, error) {
	if e := t.kept(who); e != nil {
		return e, nil
	}
	if err := t.lock(ctx); err != nil {
		return nil, err
	}
	defer t.unlock()
	if e := t.kept(who); e != nil {
		return e, nil
	}
	t.mu.Lock()
	n := len(t.pool)
	t.mu.Unlock()
	if n >= t.p.cfg.PerAgent*4 {
		return nil, access.Errorf(access.CodeUnavailable, "server %q has too many conversations open; try again later", t.server.ID)
	}
	l, pr, _, err := t.open(ctx, who, d, nil)
	if err != nil {
		return nil, err
	}
	e := &pooled{link: l, peer: pr, used: time.Now(), busy: 1}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		t.p.work.Go(func() { l.close(context.Background()) })
		return nil, access.Errorf(access.CodeUnavailable, "the server's entry changed; try again")
	}
	t.pool[who] = e
	return e, nil
}

// kept returns the principal's open conversation. A process that ended while
// nobody called is forgotten.
func (t *target) kept(who access.Principal) *pooled {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.pool[who]
	if e == nil {
		return nil
	}
	if l, ok := e.link.(*stdioLink); ok && l.over() {
		delete(t.pool, who)
		t.p.work.Go(func() { l.close(context.Background()) })
		return nil
	}
	e.busy++
	e.used = time.Now()
	return e
}

func (t *target) release(who access.Principal, e *pooled, bad bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e.busy--
	e.used = time.Now()
	if bad && t.pool[who] == e {
		delete(t.pool, who)
		t.p.work.Go(func() { e.link.close(context.Background()) })
	}
}

func (t *target) lock(ctx context.Context) error {
	select {
	case t.probing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t *target) unlock() { <-t.probing }

// peer returns what is known of an HTTP upstream, probing it if nothing is.
func (t *target) peer(ctx context.Context, d *gate.Dispatch) (*peer, error) {
	if pr := t.current(); pr != nil {
		return pr, nil
	}
	if err := t.lock(ctx); err != nil {
		return nil, err
	}
	defer t.unlock()
	if pr := t.current(); pr != nil {
		return pr, nil
	}
	pr, err := t.discover(ctx, httpModern{t.http}, d)
	if err == nil {
		t.learned(pr)
		return pr, nil
	}
	if !errors.Is(err, errLegacyPeer) {
		return nil, err
	}
	l, pr, _, err := t.open(ctx, access.Principal{}, d, nil)
	if err != nil {
		return nil, err
	}
	l.close(ctx)
	return pr, nil
}

func (t *target) current() *peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known
}

func (t *target) learned(pr *peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known = pr
}

// learnedLegacy keeps what a legacy handshake told, unless the server is known
// to speak the modern revision too.
func (t *target) learnedLegacy(pr *peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil {
		t.known = pr
	}
}

// forget makes the next request probe again.
func (t *target) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known, t.modernOnly = nil, false
}

// errLegacyPeer says that the upstream does not speak 2026-07-28.
var errLegacyPeer = errors.New("the upstream speaks a session-based revision")

// discover asks a modern upstream what it is (mcp.md 2.2).
func (t *target) discover(ctx context.Context, l link, d *gate.Dispatch) (*peer, error) {
	id := t.p.mint()
	body := append(append([]byte(`{"jsonrpc":"2.0","id":`), id...), `,"method":"server/discover","params":{"_meta":`...)
	body = append(append(body, ourMeta...), "}}"...)
	x := &exchange{method: methods["server/discover"], body: body, id: id, d: d, relay: noRelay{}, limits: rawjson.Limits{Bytes: t.p.cfg.MaxResult}}
	rep, reach, err := l.call(ctx, x)
	if err != nil {
		if access.CodeOf(err) == access.CodeUpstream && reach == access.ReachYes {
			return nil, errLegacyPeer // any other 4xx, an empty or unrecognised body
		}
		return nil, err
	}
	if rep.fault.Exists() {
		if rep.code() == codeVersion && !supportsModern(rep.fault.Path("data", "supported")) {
			return nil, errLegacyPeer
		}
		switch rep.code() {
		case codeHeaderMismatch, codeCapability, codeVersion:
			return nil, malformed("it refuses server/discover although it speaks the revision")
		}
		return nil, errLegacyPeer
	}
	if rep.result.Get("supportedVersions").Kind() != rawjson.Array || rep.result.Get("capabilities").Kind() != rawjson.Object {
		return nil, errLegacyPeer
	}
	if !supportsModern(rep.result.Get("supportedVersions")) {
		return nil, errLegacyPeer
	}
	return &peer{
		modern: true, version: version2026, capabilities: rep.result.Get("capabilities"),
		info: rep.result.Path("_meta", metaServerInfo).Raw(), instructions: textRaw(rep.result.Get("instructions")),
	}, nil
}

func supportsModern(list rawjson.Value) bool {
	for v := range list.Items() {
		if v.Equals(version2026) {
			return true
		}
	}
	return false
}

func textRaw(v rawjson.Value) []byte {
	if v.Kind() != rawjson.String {
		return nil
	}
	return v.Raw()
}

// ourMeta is the _meta of the gateway's own modern requests: no capability is
// declared, so a server may ask nothing of it.
const ourMeta = `{"` + metaVersion + `":"` + version2026 + `","` + metaCapabilities + `":{},"` + metaClientInfo + `":{"name":"rutile","version":"1"}}`

// ourInit are the initialize params of the gateway's own conversations.
const ourInit = `{"protocolVersion":"` + version2511 + `","capabilities":{},"clientInfo":{"name":"rutile","version":"1"}}`

// open starts a conversation. init are the initialize params to send to a
// legacy upstream, nil for ours; the raw initialize result is nil if the
// upstream turned out to be modern.
func (t *target) open(ctx context.Context, who access.Principal, d *gate.Dispatch, init []byte) (link, *peer, *reply, error) {
	if t.http != nil {
		l := &httpLegacy{t: t.http}
		pr, rep, err := t.initialize(ctx, l, d, init)
		if err != nil {
			return nil, nil, nil, err
		}
		l.version = pr.version
		if err := l.send(ctx, d, []byte(initialized)); err != nil {
			l.close(context.WithoutCancel(ctx))
			return nil, nil, nil, err
		}
		t.learnedLegacy(pr)
		return l, pr, rep, nil
	}
	return t.openStdio(ctx, who, d, init)
}

// openLegacy opens a conversation of its own for a legacy client. A server that
// speaks both eras is spoken to in the client's; the link is nil if it only
// speaks the modern one.
func (t *target) openLegacy(ctx context.Context, who access.Principal, d *gate.Dispatch, init []byte) (link, *peer, error) {
	t.mu.Lock()
	known, only := t.known, t.modernOnly
	t.mu.Unlock()
	if only && known != nil {
		return nil, known, nil
	}
	l, pr, _, err := t.open(ctx, who, d, init)
	if err == nil && !pr.modern {
		return l, pr, nil
	}
	if err == nil {
		l.close(context.WithoutCancel(ctx)) // a process that turned out to be modern
	} else {
		if access.CodeOf(err) != access.CodeUpstream || t.http == nil {
			return nil, nil, err
		}
		if pr, err = t.peer(ctx, d); err != nil {
			return nil, nil, err
		}
		if !pr.modern {
			return nil, nil, malformed("it refuses to initialize")
		}
	}
	t.mu.Lock()
	t.modernOnly = true
	t.mu.Unlock()
	return nil, pr, nil
}

const initialized = `{"jsonrpc":"2.0","method":"notifications/initialized"}`

// initialize performs the legacy handshake on l.
func (t *target) initialize(ctx context.Context, l link, d *gate.Dispatch, init []byte) (*peer, *reply, error) {
	if init == nil {
		init = []byte(ourInit)
	}
	id := t.p.mint()
	body := append(append([]byte(`{"jsonrpc":"2.0","id":`), id...), `,"method":"initialize","params":`...)
	body = append(append(body, init...), '}')
	x := &exchange{method: methods["initialize"], body: body, id: id, d: d, relay: noRelay{}, limits: rawjson.Limits{Bytes: t.p.cfg.MaxResult}}
	rep, _, err := l.call(ctx, x)
	if err != nil {
		return nil, nil, err
	}
	if rep.fault.Exists() {
		return nil, nil, malformed("it refuses to initialize")
	}
	version, _ := rep.result.Get("protocolVersion").Str()
	if !legacyVersion(version) && version != "2024-11-05" {
		return nil, nil, malformed("it negotiated a protocol revision the gateway did not offer")
	}
	if rep.result.Get("capabilities").Kind() != rawjson.Object {
		return nil, nil, malformed("its initialize result has no capabilities")
	}
	return &peer{
		version: version, capabilities: rep.result.Get("capabilities"),
		info: rep.result.Get("serverInfo").Raw(), instructions: textRaw(rep.result.Get("instructions")),
	}, rep, nil
}

// reap closes conversations that have not been used for long.
func (t *target) reap(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for who, e := range t.pool {
		if e.busy == 0 && now.Sub(e.used) > t.p.cfg.Idle {
			delete(t.pool, who)
			t.p.work.Go(func() { e.link.close(context.Background()) })
		}
	}
}

// close ends every conversation.
func (t *target) close() {
	t.mu.Lock()
	t.closed = true
	pool := t.pool
	t.pool = map[access.Principal]*pooled{}
	t.mu.Unlock()
	var wg sync.WaitGroup
	for _, e := range pool {
		wg.Go(func() { e.link.close(context.Background()) })
	}
	wg.Wait()
}

func netAddr(s string) (netip.AddrPort, error) { return netip.ParseAddrPort(s) }

var _ http.Handler = (*Proxy)(nil)
