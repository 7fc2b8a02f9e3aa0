package mcpproxy

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"
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

	trimmed atomic.Pointer[trimmed] // see Proxy.declared
}

// offers reports whether the upstream advertised a capability.
func (p *peer) offers(capability string) bool {
	return capability == "" || p.capabilities.Get(capability).Kind() == rawjson.Object
}

// extends reports whether the upstream advertised an extension.
func (p *peer) extends(extension string) bool { return p.modern && declares(p.capabilities, extension) }

// target is one registered server as the proxy reaches it.
type target struct {
	p      *Proxy
	server registry.Server
	http   *httpTarget     // nil for stdio
	latest registry.Server // an entry equal to server, the last one compared with; of Proxy.mu
	own    *h1Transport    // of this server alone, nil where it shares the proxy's
	self   *ownLink        // of the gateway's own server, nil for any other

	probing    chan struct{} // one prober at a time
	mu         sync.Mutex
	known      *peer
	beyond     *peer // what a client was told beyond that, see introduce
	modernOnly bool  // it refused initialize
	pool       map[processKey]*pooled
	starts     []*start // of conversations for the pool
	closed     bool
	life       supervisor // of its processes
	processes  flow       // those that run or start
}

// errEntryChanged says that a conversation belongs to an earlier entry of its
// server.
var errEntryChanged = access.Errorf(access.CodeUnavailable, "the server's entry changed; try again")

func newTarget(p *Proxy, s registry.Server) (*target, error) {
	t := &target{p: p, server: s, latest: s, probing: make(chan struct{}, 1), pool: map[processKey]*pooled{}}
	var err error
	switch {
	case s.ID == access.OwnServer:
		t.self, err = newOwnLink(p.desk)
	case s.Transport.HTTP != nil:
		var rt *h1Transport
		var own bool
		if rt, own, err = p.transportFor(s.Transport.HTTP); err != nil {
			return nil, err
		}
		if own {
			t.own = rt
		}
		t.http, err = newHTTPTarget(s.Transport.HTTP, rt, p.cfg.MaxResult, p.log)
	case s.Transport.Stdio == nil:
		err = access.Errorf(access.CodeInvalid, "server %q has no transport; apply a manifest with one", s.ID)
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// same reports whether s is reached as t does; Proxy.mu is held. Entries share
// what did not change, so that it usually compares pointers.
func (t *target) same(s registry.Server) bool {
	if t.latest.Transport == s.Transport && t.latest.Credential == s.Credential {
		return true
	}
	if !sameEntry(t.server, s) {
		return false
	}
	t.latest = s
	return true
}

// sameEntry reports whether two entries are reached alike, with the same
// credential.
func sameEntry(a, b registry.Server) bool {
	if a.Transport == b.Transport && a.Credential == b.Credential {
		return true // entries share what did not change
	}
	return reflect.DeepEqual(a.Transport, b.Transport) && reflect.DeepEqual(a.Credential, b.Credential)
}

// acquire returns a conversation for a principal's stateless requests, whose
// client can be asked what caps says. release must be called; bad says that the
// conversation must not be used again.
func (t *target) acquire(ctx context.Context, who access.Principal, caps string, d *gate.Dispatch) (link, *peer, func(bad bool), error) {
	if t.left() {
		return nil, nil, nil, errEntryChanged
	}
	if t.self != nil {
		return t.self, t.self.peer, func(bool) {}, nil
	}
	if t.http != nil && !t.http.sse {
		pr, err := t.peer(ctx, d)
		if err != nil {
			return nil, nil, nil, err
		}
		if pr.modern {
			return httpModern{t.http}, pr, func(bool) {}, nil
		}
	}
	key := t.key(who, d)
	if !t.shared() {
		key.caps = caps
	}
	e, err := t.pooled(ctx, key, d)
	if err != nil {
		return nil, nil, nil, err
	}
	return e.link, e.peer, func(bad bool) { t.release(e, bad) }, nil
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
	l, pr, _, err := t.open(ctx, processKey{}, d, hello{})
	if err != nil {
		return nil, err
	}
	l.close(ctx)
	return pr, nil
}

// left reports whether everything that goes to t was ended.
func (t *target) left() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
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

// learnedLegacy keeps what a legacy handshake of our own told, which comes after
// server/discover was refused. What a client's handshake told says nothing of
// the modern revision.
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

// maxHandshake bounds what a server or a client says of itself: it is kept as
// long as the conversation.
const maxHandshake = 64 << 10

// handshaken refuses a server that says too much of itself.
func handshaken(rep *reply) error {
	if len(rep.body) > 16*maxHandshake {
		return malformed("what it says of itself is too large")
	}
	return nil
}

// discover asks a modern upstream what it is (mcp.md 2.2). A server that refuses
// the version and supports it all the same is asked once more, as the revision
// wants of a client whose version is on the server's list.
func (t *target) discover(ctx context.Context, l link, d *gate.Dispatch) (*peer, error) {
	rep, reach, err := t.askDiscover(ctx, l, d)
	if err == nil && rep.code() == codeVersion && supportsModern(rep.fault.Path("data", "supported")) {
		rep, reach, err = t.askDiscover(ctx, l, d)
	}
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
	if err := handshaken(rep); err != nil {
		return nil, err
	}
	return &peer{
		modern: true, version: version2026, capabilities: rep.result.Get("capabilities"),
		info: rep.result.Path("_meta", metaServerInfo).Raw(), instructions: textRaw(rep.result.Get("instructions")),
	}, nil
}

func (t *target) askDiscover(ctx context.Context, l link, d *gate.Dispatch) (*reply, access.Reach, error) {
	id := t.p.mint()
	body := append(append([]byte(`{"jsonrpc":"2.0","id":`), id...), `,"method":"server/discover","params":{"_meta":`...)
	body = append(append(body, ourMeta...), "}}"...)
	return l.call(ctx, &exchange{method: methods["server/discover"], body: body, id: id, d: d, relay: noRelay{}, limits: rawjson.Limits{Bytes: t.p.cfg.MaxResult}})
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

// hello is how a conversation begins with a legacy upstream: with a client's own
// initialize params, or with ours and what the clients behind it can be asked.
type hello struct {
	client []byte // raw params, nil for ours
	caps   string // carriedKinds
}

func (h hello) params() []byte {
	if h.client != nil {
		return h.client
	}
	caps := h.caps
	if caps == "" {
		caps = "{}"
	}
	return []byte(`{"protocolVersion":"` + version2511 + `","capabilities":` + caps + `,"clientInfo":{"name":"rutile","version":"1"}}`)
}

// open starts a conversation. The raw initialize result is nil if the upstream
// turned out to be modern.
func (t *target) open(ctx context.Context, key processKey, d *gate.Dispatch, h hello) (link, *peer, *reply, error) {
	if t.http != nil && t.http.sse {
		return t.openEvents(ctx, key, d, h)
	}
	if t.http != nil {
		l := &httpLegacy{t: t.http, opened: time.Now(), ended: t.p.ended}
		pr, rep, err := t.initialize(ctx, l, d, h)
		if err != nil {
			return nil, nil, nil, err
		}
		l.version = pr.version
		if err := l.send(ctx, d, []byte(initialized)); err != nil {
			l.close(context.WithoutCancel(ctx))
			return nil, nil, nil, err
		}
		if h.client == nil {
			t.learnedLegacy(pr)
		}
		return l, pr, rep, nil
	}
	return t.openStdio(ctx, key, d, h)
}

// openLegacy opens a conversation of its own for a legacy client. A server that
// speaks both eras is spoken to in the client's; the link is nil if it only
// speaks the modern one.
func (t *target) openLegacy(ctx context.Context, who access.Principal, d *gate.Dispatch, h hello) (link, *peer, error) {
	if t.self != nil {
		return nil, t.self.peer, nil
	}
	if t.shared() {
		// One process for everybody has one conversation, which is ours.
		e, err := t.pooled(ctx, processKey{}, d)
		if err != nil {
			return nil, nil, err
		}
		t.release(e, false)
		return nil, e.peer, nil
	}
	t.mu.Lock()
	known, only := t.known, t.modernOnly
	t.mu.Unlock()
	if only && known != nil {
		return nil, known, nil
	}
	l, pr, _, err := t.open(ctx, processKey{principal: who, session: d.Session}, d, h)
	if err == nil && !pr.modern {
		return l, pr, nil
	}
	if err == nil {
		l.close(context.WithoutCancel(ctx)) // a process that turned out to be modern
	} else {
		if access.CodeOf(err) != access.CodeUpstream || t.http == nil || t.http.sse {
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
func (t *target) initialize(ctx context.Context, l link, d *gate.Dispatch, h hello) (*peer, *reply, error) {
	id := t.p.mint()
	body := append(append([]byte(`{"jsonrpc":"2.0","id":`), id...), `,"method":"initialize","params":`...)
	body = append(append(body, h.params()...), '}')
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
	if err := handshaken(rep); err != nil {
		return nil, nil, err
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
	t.life.prune(now)
	for _, e := range t.pool {
		if e.busy == 0 && now.Sub(e.used) > t.idle() {
			t.remove(e)
			t.p.spawn("the end of a conversation", e.end)
		}
	}
}

// close ends every conversation.
func (t *target) close() {
	t.mu.Lock()
	t.closed = true
	pool := t.pool
	t.pool = map[processKey]*pooled{}
	t.mu.Unlock()
	var wg sync.WaitGroup
	for _, f := range t.p.flights.where(func(f *flight) bool { return f.t == t }) {
		wg.Go(func() {
			defer f.cut(errEntryChanged)
			t.p.contain("giving a call up", func() { f.abandon(errEntryChanged) })
		})
	}
	for _, e := range pool {
		e.replaced()
		wg.Go(func() { t.p.contain("the end of a conversation", e.end) })
	}
	wg.Wait()
	if t.own != nil {
		t.own.CloseIdleConnections()
	}
}

func netAddr(s string) (netip.AddrPort, error) { return netip.ParseAddrPort(s) }

var _ http.Handler = (*Proxy)(nil)
