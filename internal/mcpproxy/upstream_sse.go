package mcpproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
)

// The two-endpoint transport of 2024-11-05: one GET stream carries everything
// the server says, and its first event names the address that messages are
// posted to. It is spoken only where a manifest says so.

var (
	errStreamEnded = access.Errorf(access.CodeUnavailable, "the server's event stream ended; another is opened at the next call")
	errStreamOver  = errors.New("the stream was closed")
	errStreamNoise = errors.New("the stream was closed because it holds too many events that are no messages")
	errNoEndpoint  = access.Errorf(access.CodeUpstream, "the upstream broke the protocol: its event stream did not say in time where messages go")
)

const (
	endpointTime = 20 * time.Second // for the stream to open and name its endpoint
	deliverTime  = 30 * time.Second // for a message to be taken
	maxEndpoint  = 4096             // bytes of its address
	maxNoise     = 3                // events that are no messages, as of a process
)

// eventPipe is one event stream and the address messages go to.
type eventPipe struct {
	t        *httpTarget
	endpoint *url.URL
	ctx      context.Context // of the stream and of everything posted
	cut      context.CancelCauseFunc
	events   *sseReader
	body     func() // closes the stream
	done     chan struct{}

	mu  sync.Mutex
	why error
}

// openEvents opens an event stream and makes the handshake on it.
func (t *target) openEvents(ctx context.Context, key processKey, d *gate.Dispatch, h hello) (link, *peer, *reply, error) {
	what := fmt.Sprintf("the event stream of server %q", t.server.ID)
	if err := t.life.mayStart(what, "the gateway's log says why", key.life(), time.Now()); err != nil {
		return nil, nil, nil, err
	}
	own, err := t.leased(ctx, d)
	if err != nil {
		return nil, nil, nil, err
	}
	l, err := t.startEvents(ctx, key, own, h.asks())
	if err != nil {
		return nil, nil, nil, err
	}
	opened := false
	defer func() { // also of a panic: nobody else would end it
		if !opened && !l.over() {
			t.p.spawn("the end of a conversation", func() { l.close(context.Background()) })
		}
	}()
	t.p.log.Debug("the event stream of a server is open", "server", t.server.ID)
	pr, rep, err := t.eventHandshake(ctx, l, d, h)
	if err != nil {
		l.close(context.WithoutCancel(ctx))
		return nil, nil, nil, err
	}
	t.life.started()
	if h.client == nil {
		t.learnedLegacy(pr)
	}
	opened = true
	return l, pr, rep, nil
}

// startEvents opens an event stream and begins to read it. own is its own to
// release.
func (t *target) startEvents(ctx context.Context, key processKey, own *gate.Dispatch, asks bool) (*conversation, error) {
	reading := false
	defer func() {
		if !reading { // it did not open, or panicked
			own.Release()
		}
	}()
	begun := time.Now()
	pipe, err := t.http.openEvents(ctx, own, min(endpointTime, t.startTime()))
	if err != nil {
		if ctx.Err() == nil { // whoever gives up says nothing about the server
			t.life.failed(err, begun, time.Now())
		}
		return nil, err
	}
	l := t.newConversation(own, asks, errStreamEnded)
	l.pipe = pipe
	begun = time.Now()
	t.life.opened()
	t.p.spawn("the end of an event stream", func() {
		defer own.Release()
		if t.p.contain("the reader of an event stream", func() { pipe.read(l) }) {
			pipe.end(errPanicked)
		}
		close(l.ended)
		t.ended(key, l, "event stream", time.Since(begun))
	})
	reading = true
	return l, nil
}

func (t *target) eventHandshake(ctx context.Context, l *conversation, d *gate.Dispatch, h hello) (*peer, *reply, error) {
	if !l.holds(d) { // replaced since d was leased
		return nil, nil, errEntryChanged
	}
	pr, rep, err := t.initialize(ctx, l, d, h)
	if err != nil {
		return nil, nil, err
	}
	return pr, rep, l.send(ctx, d, []byte(initialized))
}

// openEvents opens the stream and reads, for wait at most, which address it
// names. ctx bounds that only.
func (t *httpTarget) openEvents(ctx context.Context, d *gate.Dispatch, wait time.Duration) (*eventPipe, error) {
	sctx, cut := context.WithCancelCause(context.Background())
	stop := context.AfterFunc(ctx, func() { cut(context.Cause(ctx)) })
	defer stop()
	late := time.AfterFunc(wait, func() { cut(errNoEndpoint) })
	defer late.Stop()
	p := &eventPipe{t: t, ctx: sctx, cut: cut, done: make(chan struct{})}
	opened := false
	defer func() { // also of a panic
		if opened {
			return
		}
		cut(errStreamOver)
		if p.body != nil {
			p.body()
		}
	}()
	if err := p.open(d); err != nil {
		if cause := context.Cause(sctx); cause != nil {
			err = cause
		}
		return nil, err
	}
	if !late.Stop() || !stop() { // it was cut meanwhile
		return nil, context.Cause(sctx)
	}
	opened = true
	return p, nil
}

// open leaves a body to close where it has one, also if it fails.
func (p *eventPipe) open(d *gate.Dispatch) error {
	r, err := p.t.request(p.ctx, http.MethodGet, nil, d)
	if err != nil {
		return err
	}
	r.Header["Accept"] = []string{"text/event-stream"}
	resp, _, err := p.t.do(r) //nolint:bodyclose // p.body closes it
	if err != nil {
		return err
	}
	p.body = func() { resp.Body.Close() }
	if resp.StatusCode != http.StatusOK || mediaType(resp) != "text/event-stream" {
		if resp.StatusCode/100 == 2 {
			return malformed("the address of its event stream holds none")
		}
		return statusError(resp.StatusCode)
	}
	p.events = newSSEReader(resp.Body, p.t.max)
	ev, err := p.events.next()
	for err == nil && ev.name == "" && len(ev.data) == 0 { // a reconnection time, or an id
		ev, err = p.events.next()
	}
	if err == nil && ev.name != "endpoint" {
		err = malformed("its event stream does not begin with its endpoint")
	}
	if err == nil {
		p.endpoint, err = endpointAt(p.t.url, string(ev.data))
	}
	if err != nil {
		if access.CodeOf(err) == access.CodeUpstream {
			return err
		}
		return malformed("its event stream ended before it named its endpoint")
	}
	return nil
}

// endpointAt resolves what an endpoint event names against the address of the
// stream. Messages carry the credential, so no other origin is one.
func endpointAt(base *url.URL, text string) (*url.URL, error) {
	elsewhere := malformed("its endpoint is not an address of its own origin")
	if text == "" || len(text) > maxEndpoint || !visibleASCII(text) || strings.ContainsAny(text, `\#`) {
		return nil, elsewhere
	}
	ref, err := url.Parse(text)
	if err != nil || ref.Opaque != "" || ref.User != nil {
		return nil, elsewhere
	}
	u := base.ResolveReference(ref)
	if u.Scheme != base.Scheme || !strings.EqualFold(u.Hostname(), base.Hostname()) || portOf(u) != portOf(base) {
		return nil, elsewhere
	}
	u.Host, u.User = base.Host, nil
	return u, nil
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

// deliver posts a message. The answer comes on the stream, often before the
// server says that it took the message, so that is not waited for here.
func (p *eventPipe) deliver(_ context.Context, d *gate.Dispatch, msg []byte) <-chan delivery {
	done := make(chan delivery, 1)
	ctx, stop := context.WithTimeoutCause(p.ctx, deliverTime, access.Errorf(access.CodeTimeout, "the upstream did not take a message in time"))
	r, err := p.t.request(ctx, http.MethodPost, bytes.Clone(msg), d)
	if err != nil {
		stop()
		done <- delivery{access.ReachNo, err}
		return done
	}
	r.URL = p.endpoint
	go func() {
		defer stop()
		if contain(p.t.log, "posting a message", func() { p.post(r, done) }) {
			select {
			case done <- delivery{access.ReachUnknown, errPanicked}:
			default: // it had said how it went
			}
		}
	}()
	return done
}

func (p *eventPipe) post(r *http.Request, done chan<- delivery) {
	resp, reach, err := p.t.do(r) //nolint:bodyclose // drain closes it
	if err != nil {
		if context.Cause(p.ctx) != nil {
			err = errStreamEnded
		}
		done <- delivery{reach, err}
		return
	}
	switch {
	case resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone:
		// The server does not know the stream any more. That the message was not
		// taken is said before the end is seen, which leaves it open.
		done <- delivery{access.ReachNo, errStreamEnded}
		p.end(errStreamEnded)
	case resp.StatusCode/100 != 2:
		done <- delivery{access.ReachYes, statusError(resp.StatusCode)}
	default:
		done <- delivery{reach: access.ReachYes}
	}
	drain(resp.Body)
}

// read gives the conversation what the server says until the stream ends.
func (p *eventPipe) read(l *conversation) {
	defer close(p.done)
	defer p.body()
	for noise := 0; ; {
		ev, err := p.events.next()
		if err != nil {
			p.end(err)
			return
		}
		if ev.name == "endpoint" {
			p.end(malformed("its event stream names a second endpoint"))
			return
		}
		if !ev.isMessage() {
			continue
		}
		if !l.take(bytes.Clone(ev.data)) {
			if noise++; noise >= maxNoise {
				p.end(errStreamNoise)
				return
			}
		}
	}
}

// end notes why the stream ends, the first reason of several, and ends it.
func (p *eventPipe) end(why error) {
	p.mu.Lock()
	if p.why == nil {
		p.why = why
	}
	p.mu.Unlock()
	p.cut(why)
}

func (p *eventPipe) close(ctx context.Context) error {
	p.end(errStreamOver)
	select {
	case <-p.done:
		return p.err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *eventPipe) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.why
}
