package mcpproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/mcpheader"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// httpTarget is an upstream spoken to over HTTP. Requests carry only headers built
// here: nothing of the agent's own request travels on.
type httpTarget struct {
	url   *url.URL
	entry string // the url as the manifest has it
	host  string
	fixed map[string]string
	rt    http.RoundTripper // not a client: redirects are answers, and there are no cookies
	max   int               // bytes of one message
	log   *slog.Logger
	sse   bool // url is the event stream of the transport of 2024-11-05
}

func newHTTPTarget(h *registry.HTTP, rt http.RoundTripper, max int, log *slog.Logger) (*httpTarget, error) {
	u, err := url.Parse(h.URL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, access.Errorf(access.CodeInvalid, "the server's url is not an http or https address")
	}
	return &httpTarget{
		url: u, entry: h.URL, host: u.Host, fixed: h.Headers, max: max,
		rt: rt, sse: h.SSE, log: log,
	}, nil
}

var acceptBoth = []string{"application/json, text/event-stream"}

// request builds a request with our headers, the manifest's fixed ones and the
// leased credential, revealed here and nowhere earlier. A lease made for a
// server that is elsewhere by now is not: it was judged for that place.
func (t *httpTarget) request(ctx context.Context, httpMethod string, body []byte, d *gate.Dispatch) (*http.Request, error) {
	r := &http.Request{
		Method: httpMethod, URL: t.url, Host: t.host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Accept": acceptBoth, "User-Agent": userAgent},
	}
	if body != nil {
		r.Header["Content-Type"] = jsonType
		r.ContentLength = int64(len(body))
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
	for k, v := range t.fixed {
		r.Header.Set(k, v)
	}
	if d != nil && d.Lease != nil {
		if at := d.Server.Transport.HTTP; at == nil || at.URL != t.entry {
			return nil, errEntryChanged
		}
		if err := d.Lease.Headers(func(name, value string) { r.Header[http.CanonicalHeaderKey(name)] = []string{value} }); err != nil {
			return nil, fmt.Errorf("opening the credential: %w", err)
		}
	}
	return r.WithContext(ctx), nil
}

var userAgent = []string{"rutile"}

// do sends r; the reach says whether the upstream can have seen it.
func (t *httpTarget) do(r *http.Request) (*http.Response, access.Reach, error) {
	resp, err := t.rt.RoundTrip(r)
	if err == nil {
		return resp, access.ReachYes, nil
	}
	ctx := r.Context()
	if cause := context.Cause(ctx); cause != nil {
		return nil, access.ReachUnknown, cause
	}
	if msg, ok := notReached(err); ok {
		return nil, access.ReachNo, &access.Error{Code: access.CodeUnavailable, Msg: msg, Err: err}
	}
	var bad h1Malformed
	if errors.As(err, &bad) {
		return nil, access.ReachUnknown, &access.Error{Code: access.CodeUpstream, Msg: "the upstream's answer is not acceptable HTTP", Err: err}
	}
	return nil, access.ReachUnknown, &access.Error{Code: access.CodeUnavailable, Msg: "the connection to the upstream broke", Err: err}
}

// over notes what a reply, if there is one, came in. It must be the caller's own.
func (r *reply) over(resp *http.Response) *reply {
	if r != nil {
		r.http = httpVersion(resp.ProtoMajor, resp.ProtoMinor)
	}
	return r
}

// httpVersion is a version of HTTP as telemetry writes it: 1.1, 2.
func httpVersion(major, minor int) string {
	if minor == 0 && major > 1 {
		return strconv.Itoa(major)
	}
	return strconv.Itoa(major) + "." + strconv.Itoa(minor)
}

// httpModern is the stateless link of the 2026-07-28 revision.
type httpModern struct{ t *httpTarget }

func (l httpModern) close(context.Context) {}

func (l httpModern) send(context.Context, *gate.Dispatch, []byte) error {
	// 2026-07-28 has no client notification over HTTP but cancellation, which is
	// the end of the connection, and clients never send responses.
	return nil
}

func (l httpModern) answer(*gate.Dispatch, []byte) {}

func (l httpModern) call(ctx context.Context, x *exchange) (*reply, access.Reach, error) {
	return again(func() (*reply, access.Reach, error) { return l.once(ctx, x) })
}

func (l httpModern) once(ctx context.Context, x *exchange) (*reply, access.Reach, error) {
	r, err := l.t.request(ctx, http.MethodPost, x.body, x.d)
	if err != nil {
		return nil, access.ReachNo, err
	}
	h := r.Header
	h[headerVersion] = modernVersionHeader
	h[headerMethod] = []string{x.method.name}
	if x.method.source != "" {
		name := x.name
		if name == "" {
			name, _ = x.params.Get(x.method.source).Str()
		}
		h[headerName] = []string{mcpheader.Encode(name)}
	}
	for i := 0; i+1 < len(x.extra); i += 2 {
		h[x.extra[i]] = []string{x.extra[i+1]}
	}
	if x.shape != nil {
		setParamHeaders(func(k, v string) { h[k] = []string{v} }, x.shape, x.params.Get("arguments"))
	}
	return l.t.exchange(r, x, func(*http.Response) error { return nil }, nil)
}

var modernVersionHeader = []string{version2026}

// httpLegacy is one session with a legacy upstream.
type httpLegacy struct {
	t       *httpTarget
	session string
	version string
	beside  answers
	opened  time.Time
	ended   func(Ended)
	fan     *fan // who listens to it, nil if it is one client's own
}

func (l *httpLegacy) headers(h http.Header) {
	if l.session != "" {
		h[headerSession] = []string{l.session}
	}
	if l.version != "" {
		h[headerVersion] = []string{l.version}
	}
}

func (l *httpLegacy) call(ctx context.Context, x *exchange) (*reply, access.Reach, error) {
	return again(func() (*reply, access.Reach, error) { return l.once(ctx, x) })
}

func (l *httpLegacy) once(ctx context.Context, x *exchange) (*reply, access.Reach, error) {
	r, err := l.t.request(ctx, http.MethodPost, x.body, x.d)
	if err != nil {
		return nil, access.ReachNo, err
	}
	l.headers(r.Header)
	opened := func(resp *http.Response) error {
		if x.method.name != "initialize" {
			return nil
		}
		id := resp.Header.Get(headerSession)
		if len(id) > 1024 || (id != "" && !visibleASCII(id)) {
			return malformed("its session id is not visible ASCII")
		}
		l.session = id
		return nil
	}
	rep, reach, err := l.t.exchange(r, x, opened, l)
	if err != nil && ctx.Err() != nil && x.method.name != "initialize" {
		// Closing the connection does not cancel in these revisions. The lease
		// ends with the call, so that the request is made before that.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		tell, terr := l.message(ctx, x.d, cancelled(x.id))
		go func() {
			defer cancel()
			if terr == nil {
				// A courtesy: the call is over for us either way.
				contain(l.t.log, "a cancellation", func() { _ = l.deliver(tell) })
			}
		}()
	}
	return rep, reach, err
}

// cancelled is the notification that ends a request.
func cancelled(id []byte) []byte {
	return append(append([]byte(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`), id...), `,"reason":"the client gave up"}}`...)
}

func (l *httpLegacy) send(ctx context.Context, d *gate.Dispatch, msg []byte) error {
	r, err := l.message(ctx, d, msg)
	if err != nil {
		return err
	}
	return l.deliver(r)
}

func (l *httpLegacy) answer(d *gate.Dispatch, msg []byte) {
	l.beside.send(l.t.log, func(ctx context.Context) { _ = l.send(ctx, d, msg) })
}

// message is the request that carries a message of the session.
func (l *httpLegacy) message(ctx context.Context, d *gate.Dispatch, msg []byte) (*http.Request, error) {
	r, err := l.t.request(ctx, http.MethodPost, msg, d)
	if err != nil {
		return nil, err
	}
	l.headers(r.Header)
	return r, nil
}

func (l *httpLegacy) deliver(r *http.Request) error {
	resp, _, err := l.t.do(r) //nolint:bodyclose // drain closes it
	if err != nil {
		return err
	}
	defer drain(resp.Body)
	if l.lost(resp) {
		return errSessionEnded
	}
	if resp.StatusCode/100 != 2 {
		return statusError(resp.StatusCode)
	}
	return nil
}

// stream opens the session's GET stream and relays it until it ends.
func (l *httpLegacy) stream(ctx context.Context, d *gate.Dispatch, rl relay) error {
	r, err := l.t.request(ctx, http.MethodGet, nil, d)
	if err != nil {
		return err
	}
	r.Header["Accept"] = []string{"text/event-stream"}
	l.headers(r.Header)
	resp, _, err := l.t.do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if l.lost(resp) {
		return errSessionEnded
	}
	if resp.StatusCode != http.StatusOK || mediaType(resp) != "text/event-stream" {
		return statusError(resp.StatusCode)
	}
	if err := rl.begin(true); err != nil {
		return err
	}
	events := newSSEReader(resp.Body, l.t.max)
	var doc rawjson.Doc
	for {
		ev, err := events.next()
		if err != nil {
			return err
		}
		if !ev.isMessage() {
			continue
		}
		if err := doc.Parse(ev.data, rawjson.Limits{Bytes: l.t.max}); err != nil {
			return malformed("an event is not acceptable JSON")
		}
		if err := checkUpstream(doc.Root()); err != nil {
			return err
		}
		if err := route(rl, ev.data, doc.Root()); err != nil {
			return err
		}
	}
}

func (l *httpLegacy) close(ctx context.Context) {
	if l.session == "" {
		return
	}
	l.ended(Ended{Upstream: true, Version: l.version, Took: time.Since(l.opened)})
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := l.t.request(ctx, http.MethodDelete, nil, nil)
	if err != nil {
		return
	}
	l.headers(r.Header)
	// Ending an upstream session is a courtesy; it also ends by itself.
	if resp, _, err := l.t.do(r); err == nil { //nolint:bodyclose // drain closes it
		drain(resp.Body)
	}
}

// exchange sends r and reads its answer. legacy is the session, nil on modern
// links: it can be resumed, and it takes the answers to server requests.
func (t *httpTarget) exchange(r *http.Request, x *exchange, opened func(*http.Response) error, legacy *httpLegacy) (*reply, access.Reach, error) {
	resp, reach, err := t.do(r)
	if err != nil {
		return nil, reach, err
	}
	defer resp.Body.Close()
	if err := opened(resp); err != nil {
		return nil, reach, err
	}
	switch kind := mediaType(resp); {
	case legacy.lost(resp):
		drain(resp.Body)
		return nil, access.ReachNo, errSessionEnded
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		err := x.refused(r.Context(), resp)
		drain(resp.Body)
		return nil, reach, err
	case kind == "application/json" && (resp.StatusCode/100 == 2 || resp.StatusCode/100 == 4):
		rep, err := t.object(r.Context(), resp, x)
		return rep, reach, err
	case resp.StatusCode == http.StatusOK && kind == "text/event-stream":
		resp.Request, resp.Header = nil, nil // the stream may last, and they with it
		rep, err := t.events(r.Context(), resp, x, legacy)
		return rep.over(resp), reach, err
	case resp.StatusCode/100 != 2:
		drain(resp.Body)
		return nil, reach, statusError(resp.StatusCode)
	default:
		drain(resp.Body)
		return nil, reach, malformed("its answer is neither JSON nor an event stream")
	}
}

// object reads a JSON answer.
func (t *httpTarget) object(ctx context.Context, resp *http.Response, x *exchange) (*reply, error) {
	body, err := readBody(ctx, resp.Body, resp.ContentLength, t.max)
	if err != nil {
		return nil, err
	}
	if x.known != nil && x.known.again(resp.StatusCode, body, x.id) {
		giveBody(body)
		return x.known, x.relay.begin(false)
	}
	rep := (&reply{status: resp.StatusCode, lent: true}).over(resp)
	if len(body) >= minBodyKept {
		takeDoc(&rep.doc)
	}
	ok, err := rep.read(body, x.id, rawjson.Limits{Bytes: t.max})
	if resp.StatusCode/100 != 2 && (err != nil || !ok || !rep.fault.Exists()) {
		return nil, statusError(resp.StatusCode)
	}
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, malformed("it answered with an id that was not sent")
	}
	return rep, x.relay.begin(false)
}

// events reads a stream until the final message. A stream of a legacy server
// that ends after an event id is resumed once it is due (SEP-1699).
func (t *httpTarget) events(ctx context.Context, resp *http.Response, x *exchange, legacy *httpLegacy) (*reply, error) {
	if err := x.relay.begin(true); err != nil {
		return nil, err
	}
	body, wait, lastID := resp.Body, time.Second, ""
	for attempt := 0; ; attempt++ {
		rep, err := t.readEvents(body, x, &wait, &lastID, legacy == nil)
		body.Close()
		ended := errors.Is(err, io.EOF)
		if err == nil || (!ended && !errors.Is(err, errBroken)) {
			return rep, err
		}
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		if legacy == nil || lastID == "" || attempt >= 100 {
			if !ended {
				return nil, brokeOff(ctx, err)
			}
			return nil, malformed("its stream ended without a response")
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(wait):
		}
		if body, err = t.resume(ctx, legacy, lastID, x.d); err != nil {
			return nil, err
		}
	}
}

// errBroken says that the connection of a stream broke.
var errBroken = errors.New("the stream broke")

// brokeOff is the error for an answer that did not come to its end: why the call
// was ended, if it was, else that the connection broke.
func brokeOff(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return &access.Error{Code: access.CodeUnavailable, Msg: "the upstream's answer broke off", Err: err}
}

func (t *httpTarget) readEvents(body io.Reader, x *exchange, wait *time.Duration, lastID *string, modern bool) (*reply, error) {
	events := newSSEReader(body, t.max)
	for {
		ev, err := events.next()
		if errors.Is(err, errEventTooLarge) {
			return nil, malformed(err.Error())
		}
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errBroken, err)
		}
		if ev.hasID && len(ev.id) <= 1024 {
			*lastID = ev.id
		}
		if ev.retry != "" {
			if d, err := time.ParseDuration(ev.retry + "ms"); err == nil && d <= time.Minute {
				*wait = d
			}
			if err := x.relay.retry(ev.retry); err != nil {
				return nil, err
			}
		}
		if !ev.isMessage() {
			continue
		}
		rep := &reply{status: http.StatusOK}
		matched, err := rep.read(bytes.Clone(ev.data), x.id, rawjson.Limits{Bytes: t.max})
		if err != nil {
			return nil, err
		}
		if matched {
			return rep, nil
		}
		if modern && rep.root.Get("method").Exists() && rep.root.Get("id").Exists() {
			return nil, malformed("it sent a request, which servers of its revision never do")
		}
		if err := route(x.relay, rep.body, rep.root); err != nil {
			return nil, err
		}
	}
}

func (t *httpTarget) resume(ctx context.Context, l *httpLegacy, lastID string, d *gate.Dispatch) (io.ReadCloser, error) {
	r, err := t.request(ctx, http.MethodGet, nil, d)
	if err != nil {
		return nil, err
	}
	r.Header["Accept"] = []string{"text/event-stream"}
	r.Header[headerLastID] = []string{lastID}
	l.headers(r.Header)
	resp, _, err := t.do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK || mediaType(resp) != "text/event-stream" {
		drain(resp.Body)
		return nil, malformed("its stream ended without a response and could not be resumed")
	}
	return resp.Body, nil
}

// answerAhead is how many bytes of an answer are made room for before they
// arrive: what is announced may never come.
const answerAhead = 256 << 10

// readBody reads a body of at most max bytes into one buffer.
func readBody(ctx context.Context, r io.Reader, length int64, max int) ([]byte, error) {
	if length > int64(max) {
		return nil, malformed(fmt.Sprintf("its answer is over %d bytes", max))
	}
	size := int(min(length, answerAhead))
	if length < 0 {
		size = 4 << 10
	}
	buf := takeBody(size + 1)
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > max:
			return nil, malformed(fmt.Sprintf("its answer is over %d bytes", max))
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return nil, brokeOff(ctx, err)
		case len(buf) == cap(buf):
			buf = grownBody(buf, length, max)
		}
	}
}

func mediaType(resp *http.Response) string {
	ct := resp.Header.Get("Content-Type")
	if ct == "application/json" || ct == "text/event-stream" {
		return ct
	}
	if strings.IndexByte(ct, ';') < 0 {
		return strings.ToLower(strings.TrimSpace(ct))
	}
	mt, _, err := mime.ParseMediaType(ct)
	if err != nil {
		return ""
	}
	return mt
}

// drain reads the rest of a short body so that the connection can be reused.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	body.Close()
}
