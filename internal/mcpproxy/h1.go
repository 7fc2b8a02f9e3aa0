package mcpproxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// What one exchange may cost.
const (
	h1BufferSize    = 8 << 10
	h1LargeSize     = 64 << 10 // for a body that filled the other
	h1MaxHead       = 64 << 10 // the heads of an answer, interim ones included
	h1MaxHeaders    = 200
	h1MaxInterim    = 5
	h1MaxChunkLine  = 1 << 10
	h1MaxExtensions = 16 << 10 // chunk extensions of one body
	h1MaxTrailer    = 4 << 10
	h1MaxDrain      = 32 << 10
	h1DrainTime     = 50 * time.Millisecond
	h1EarlyTime     = time.Second
	h1WriteTime     = 30 * time.Second // for h1WritePiece bytes
	h1WritePiece    = 256 << 10
	h1IdleTime      = 90 * time.Second
	h1IdlePerHost   = 512
	h1IdleTotal     = 4096
)

// h1Error says what is wrong with a request, without a byte of it.
type h1Error string

func (e h1Error) Error() string { return string(e) }

// h1Malformed says what is wrong with an answer, without a byte of it.
type h1Malformed string

func (e h1Malformed) Error() string { return "malformed HTTP answer: " + string(e) }

// h1Unsent is in the chain of an error after which the upstream cannot have
// seen a byte of the request. Without it, it may have seen all of it.
const h1Unsent h1Error = "nothing was sent"

func h1NotSent(err error) error { return fmt.Errorf("%w: %w", h1Unsent, err) }

// h1Transport is an HTTP/1.1 client (RFC 9112) for plain http upstreams that
// writes the request and reads the answer on the calling goroutine, over pooled
// connections. Requests to https are the fallback's.
//
// A request is delivered at most once: it is sent again only if not one byte of
// it was written. It carries exactly the headers it was given, Host and
// Content-Length; the length of its body must be known. Where its context ends,
// the connection is closed at once and the error is the context's cause. A
// connection on which anything follows an answer is never used again.
//
// It does not follow redirects, decompress, keep cookies, use proxies or show
// trailers, and it has no deadline for an answer but the context's.
type h1Transport struct {
	log      *slog.Logger
	fallback *http.Transport
	proxied  bool // everything is the fallback's
	dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	buffers  sync.Pool // of *h1Buffer
	large    sync.Pool // of *h1Large

	idleTime       time.Duration
	drainTime      time.Duration // for the end of an answer that was closed
	perHost, total int

	mu      sync.Mutex
	idle    map[string][]*h1Conn // by host of the URL, the last used last
	count   int                  // idle connections of all hosts
	reaping bool                 // a timer is set
	era     int                  // ended by CloseIdleConnections
}

type (
	h1Buffer [h1BufferSize]byte
	h1Large  [h1LargeSize]byte
)

func newH1Transport(fallback *http.Transport, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *h1Transport {
	return &h1Transport{
		log: slog.New(slog.DiscardHandler), fallback: fallback, dial: dial,
		buffers:  sync.Pool{New: func() any { return new(h1Buffer) }},
		large:    sync.Pool{New: func() any { return new(h1Large) }},
		idleTime: h1IdleTime, drainTime: h1DrainTime, perHost: h1IdlePerHost, total: h1IdleTotal,
		idle: map[string][]*h1Conn{},
	}
}

// RoundTrip implements http.RoundTripper. It closes r.Body before it returns.
func (t *h1Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.proxied || r.URL != nil && r.URL.Scheme == "https" {
		return t.fallback.RoundTrip(r)
	}
	x := &h1Exchange{t: t, ctx: r.Context(), buf: t.buffers.Get().(*h1Buffer)}
	err := x.run(r)
	if r.Body != nil {
		r.Body.Close()
	}
	if err == nil {
		return &x.resp, nil
	}
	x.settle(false)
	if cause := context.Cause(x.ctx); cause != nil {
		return nil, cause
	}
	return nil, err
}

// run sends r and reads the head of its answer.
func (x *h1Exchange) run(r *http.Request) error {
	if err := context.Cause(x.ctx); err != nil {
		return err
	}
	head, body, err := h1Encode(x.buf[:0], r)
	if err != nil {
		return h1NotSent(err)
	}
	for fresh := false; ; fresh = true {
		if err := x.connect(r.URL, fresh); err != nil {
			return h1NotSent(err)
		}
		sent, err := x.c.send(head, body, r.ContentLength)
		switch {
		case err == nil:
			return x.answer(r)
		case sent > 0:
			return x.early(r, err)
		case !x.c.used || x.ctx.Err() != nil || body != nil && r.GetBody == nil:
			return h1NotSent(fmt.Errorf("writing the request: %w", err))
		}
		// The upstream closed a pooled connection before anything was written.
		x.release(false)
		if body != nil {
			again, err := r.GetBody()
			if err != nil {
				return h1NotSent(fmt.Errorf("reading the request's body again: %w", err))
			}
			defer again.Close()
			body = again
		}
	}
}

// connect takes a pooled connection, or dials a fresh one, and ties it to the
// context.
func (x *h1Exchange) connect(u *url.URL, fresh bool) error {
	if !fresh {
		x.c = x.t.take(u.Host)
	}
	if x.c == nil {
		era := x.t.current()
		nc, err := x.t.dial(x.ctx, "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80")))
		if err != nil {
			return fmt.Errorf("dialling the upstream: %w", err)
		}
		x.c = newH1Conn(nc, u.Host)
		x.c.era = era
	}
	if x.ctx.Done() != nil {
		x.stop = context.AfterFunc(x.ctx, x.c.close)
	}
	return nil
}

func (t *h1Transport) current() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.era
}

// take returns an idle connection on which nothing has arrived since it was
// last used, nil if there is none.
func (t *h1Transport) take(host string) *h1Conn {
	for {
		t.mu.Lock()
		list := t.idle[host]
		if len(list) == 0 {
			t.mu.Unlock()
			return nil
		}
		c := list[len(list)-1]
		list[len(list)-1] = nil
		t.idle[host] = list[:len(list)-1]
		t.count--
		t.mu.Unlock()
		if time.Now().Before(c.until) && c.quiet() {
			return c
		}
		c.close()
	}
}

// put keeps c for the next exchange, for at most hint if that is not 0.
func (t *h1Transport) put(c *h1Conn, hint time.Duration) {
	idle := t.idleTime
	if hint > 0 {
		idle = min(idle, hint)
	}
	c.used, c.until = true, time.Now().Add(idle)
	t.mu.Lock()
	list := t.idle[c.host]
	useless := c.era != t.era || len(list) >= t.perHost || t.count >= t.total
	if !useless {
		t.idle[c.host] = append(list, c)
		t.count++
		if !t.reaping {
			t.reaping = true
			time.AfterFunc(t.idleTime/4, t.reap)
		}
	}
	t.mu.Unlock()
	if useless {
		c.close()
	}
}

// reap closes the connections that have been idle for too long, and comes again
// while there are others.
func (t *h1Transport) reap() {
	now := time.Now()
	t.purge(func(c *h1Conn) bool { return !now.Before(c.until) })
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.reaping = len(t.idle) > 0; t.reaping {
		time.AfterFunc(t.idleTime/4, t.reap)
	}
}

// CloseIdleConnections closes the connections nothing is using, and the others
// as soon as that is true of them.
func (t *h1Transport) CloseIdleConnections() {
	t.mu.Lock()
	t.era++
	t.mu.Unlock()
	t.purge(func(*h1Conn) bool { return true })
	t.fallback.CloseIdleConnections()
}

func (t *h1Transport) purge(old func(*h1Conn) bool) {
	var gone []*h1Conn
	t.mu.Lock()
	for host, list := range t.idle {
		kept := list[:0]
		for _, c := range list {
			if old(c) {
				gone = append(gone, c)
			} else {
				kept = append(kept, c)
			}
		}
		clear(list[len(kept):])
		if t.idle[host] = kept; len(kept) == 0 {
			delete(t.idle, host)
		}
	}
	t.count -= len(gone)
	t.mu.Unlock()
	for _, c := range gone {
		c.close()
	}
}

// h1Encode appends the head of r to b, and its body where that fits into b. The
// body is returned where it does not.
func h1Encode(b []byte, r *http.Request) ([]byte, io.Reader, error) {
	b, err := h1AppendHead(b, r)
	if err != nil || r.Body == nil || r.Body == http.NoBody {
		return b, nil, err
	}
	if r.ContentLength >= int64(cap(b)-len(b)) {
		return b, r.Body, nil
	}
	end := len(b) + int(r.ContentLength)
	if _, err := io.ReadFull(r.Body, b[len(b):end]); err != nil {
		return b, nil, fmt.Errorf("reading the request's body: %w", err)
	}
	// One byte more than announced would be read as the next request.
	switch n, err := io.ReadFull(r.Body, b[end:end+1]); {
	case n > 0:
		return b, nil, h1Error("the request's body is longer than its Content-Length")
	case !errors.Is(err, io.EOF):
		return b, nil, fmt.Errorf("reading the request's body: %w", err)
	}
	return b[:end], nil, nil
}

func h1AppendHead(b []byte, r *http.Request) ([]byte, error) {
	if r.URL == nil || r.URL.Scheme != "http" {
		return b, h1Error("the request's url is neither http nor https")
	}
	method, target, host := cmp.Or(r.Method, "GET"), r.URL.RequestURI(), strings.TrimSuffix(cmp.Or(r.Host, r.URL.Host), ":")
	hasBody := r.Body != nil && r.Body != http.NoBody
	switch {
	case !h1Token(method) || method == "CONNECT":
		return b, h1Error("the request's method is not one to send")
	case !h1Target(target):
		return b, h1Error("the request's url is not a percent-encoded path and query")
	case r.URL.Hostname() == "" || !h1Host(host):
		return b, h1Error("the request's host is not a name or address with a port")
	case len(r.TransferEncoding) > 0 || len(r.Trailer) > 0:
		return b, h1Error("the request asks for a transfer coding or trailers")
	case r.ContentLength < 0 || r.ContentLength > 0 && !hasBody:
		return b, h1Error("the length of the request's body is not known")
	}
	b = append(append(append(b, method...), ' '), target...)
	b = append(append(append(b, " HTTP/1.1\r\nHost: "...), host...), "\r\n"...)
	for name, values := range r.Header {
		if !h1Token(name) {
			return b, h1Error("a header's name is not a token")
		}
		if len(values) > 0 && h1Reserved(name) {
			return b, h1Error("the request has a header that only the transport may set: " + name)
		}
		for _, v := range values {
			if !h1Value(v) {
				return b, h1Error("the value of a header holds a control character: " + name)
			}
			b = append(append(append(append(b, name...), ": "...), v...), "\r\n"...)
		}
	}
	if r.Close {
		b = append(b, "Connection: close\r\n"...)
	}
	if r.ContentLength > 0 || method == "POST" || method == "PUT" || method == "PATCH" {
		b = append(b, "Content-Length: "...)
		b = append(strconv.AppendInt(b, r.ContentLength, 10), "\r\n"...)
	}
	return append(b, "\r\n"...), nil
}

// h1Reserved reports the headers that decide where a message ends, who it is
// for and what may be spoken after it.
func h1Reserved(name string) bool {
	is := func(s string) bool { return strings.EqualFold(name, s) }
	switch len(name) {
	case 4:
		return is("Host")
	case 6:
		return is("Expect")
	case 7:
		return is("Trailer") || is("Upgrade")
	case 10:
		return is("Connection")
	case 14:
		return is("Content-Length")
	case 17:
		return is("Transfer-Encoding")
	}
	return false
}

// h1Token reports whether s is a token (RFC 9110, 5.6.2).
func h1Token(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-':
		case strings.IndexByte("!#$%&'*+.^_`|~", c) < 0:
			return false
		}
	}
	return s != ""
}

// h1Value reports whether s may stand in a field's value (RFC 9110, 5.5).
func h1Value(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// h1Target reports whether s is a target in origin form (RFC 9112, 3.2.1).
func h1Target(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return s != "" && s[0] == '/'
}

// h1Host reports whether s may stand in a Host header: no userinfo, no zone,
// nothing to decode.
func h1Host(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("-._~:[]", c) < 0:
			return false
		}
	}
	return s != ""
}
