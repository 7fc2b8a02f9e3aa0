package probe

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	errDial    = errors.New("no connection")
	errRefused = errors.New("the address is refused")
	errSlow    = errors.New("no answer in time")
	errBig     = errors.New("more than 64 KiB")
	errStream  = errors.New("the answer does not end")
)

// client asks one place. It has no cookies, no proxy, no credentials, and one
// connection, beside that of a stream, which go to the place's address whatever a
// URL says.
type client struct {
	place   place
	scheme  string
	agent   string
	http    *http.Client
	rt      *http.Transport
	guard   *guard
	pace    *pace
	dials   atomic.Int64
	asked   int
	strikes int // answers that did not come in time, or did not end
	certMu  sync.Mutex
	shown   *Certificate
	refusal string
}

func newClient(r *runner, p place, scheme string) *client {
	c := &client{place: p, scheme: scheme, guard: r.guard, pace: r.pace, agent: userAgent(r.cfg)}
	c.rt = &http.Transport{
		DialContext: c.dial, DisableCompression: true, MaxConnsPerHost: DefaultHost, IdleConnTimeout: 2 * stepTime,
		TLSHandshakeTimeout: stepTime, ResponseHeaderTimeout: stepTime, MaxResponseHeaderBytes: maxBody,
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1.1 only
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS10, InsecureSkipVerify: true, //nolint:gosec // nothing secret is sent; who it is, is recorded and not believed
			VerifyConnection: c.certificate,
		},
	}
	c.http = &http.Client{Transport: c.rt, CheckRedirect: stay}
	return c
}

func userAgent(cfg Config) string {
	version := cfg.Version
	if version == "" {
		version = "unknown"
	}
	ua := "rutile-discovery/" + version
	if cfg.Contact != "" {
		ua += " (+" + cfg.Contact + ")"
	}
	return ua
}

// stay follows redirects to the same origin only, and few of them.
func stay(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if req.URL.Scheme != first.Scheme || req.URL.Host != first.Host || req.URL.User != nil || len(via) > 3 || req.Method != via[0].Method {
		return http.ErrUseLastResponse
	}
	req.Header.Del("Referer")
	return nil
}

// dial connects to the place at the run's pace. The address is judged once
// more, when the system is about to connect.
func (c *client) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	// The wait for a turn is the run's own and no slowness of the server.
	release, err := c.pace.take(ctx, c.place.addr.Addr())
	if err != nil {
		return nil, err
	}
	c.dials.Add(1)
	d := &net.Dialer{Timeout: stepTime, FallbackDelay: -1, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("reading the dialled address: %w", err)
		}
		if why := c.guard.refuses(ap.Addr(), ap.Port()); why != "" {
			c.refusal = why
			return errRefused
		}
		return nil
	}}
	conn, err := d.DialContext(ctx, network, c.place.addr.String())
	if err != nil {
		release()
		if errors.Is(err, errRefused) {
			return nil, errRefused
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return nil, errors.Join(errDial, errSlow)
		}
		return nil, errors.Join(errDial, err)
	}
	return &pacedConn{Conn: conn, release: release}, nil
}

// pacedConn counts as open until it is closed.
type pacedConn struct {
	net.Conn
	release func()
}

func (c *pacedConn) Close() error {
	c.release()
	return c.Conn.Close()
}

// certificate records what a TLS server shows. It verifies nothing.
func (c *client) certificate(s tls.ConnectionState) error {
	if len(s.PeerCertificates) == 0 {
		return nil
	}
	leaf := s.PeerCertificates[0]
	cert := &Certificate{Issuer: clip(leaf.Issuer.String()), SelfSigned: selfSigned(leaf), Until: leaf.NotAfter.UTC()}
	for _, n := range leaf.DNSNames {
		if len(cert.Names) < 20 {
			cert.Names = append(cert.Names, clip(n))
		}
	}
	for _, ip := range leaf.IPAddresses {
		if len(cert.Names) < 20 {
			cert.Names = append(cert.Names, ip.String())
		}
	}
	c.certMu.Lock()
	c.shown = cert
	c.certMu.Unlock()
	return nil
}

// selfSigned reports whether a certificate is signed with its own key. Keys of
// unusual size are not tried: verifying with them is work a hostile server can
// make us do.
func selfSigned(leaf *x509.Certificate) bool {
	switch k := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() > 8192 {
			return false
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return false
	}
	return bytes.Equal(leaf.RawIssuer, leaf.RawSubject) && leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil
}

// url is the address of a path at the place.
func (c *client) url(path string) string {
	host := c.place.host
	if host == "" {
		host = c.place.addr.Addr().String()
	}
	port := c.place.addr.Port()
	if c.scheme == "http" && port == 80 || c.scheme == "https" && port == 443 {
		if c.place.addr.Addr().Is6() && c.place.host == "" {
			host = "[" + host + "]"
		}
		return c.scheme + "://" + host + path
	}
	return c.scheme + "://" + net.JoinHostPort(host, strconv.Itoa(int(port))) + path
}

// answer is the head of a response and, after read, its body.
type answer struct {
	status int
	header http.Header
	body   io.ReadCloser
	cancel context.CancelFunc
	c      *client
}

// ask sends one request. The time limits are the transport's: 3 s each to
// connect, to shake hands and to the end of the response's head.
func (c *client) ask(ctx context.Context, method, path string, head map[string]string, body []byte) (*answer, error) {
	// A place that is slow or endless again and again is left alone, once what was
	// opened there is closed.
	if c.strikes >= 2 && method != http.MethodDelete {
		return nil, errSlow
	}
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, method, c.url(path), bytes.NewReader(body))
	if err != nil {
		cancel()
		return nil, fmt.Errorf("making a request: %w", err)
	}
	if body == nil {
		req.Body, req.GetBody, req.ContentLength = nil, nil, 0
	}
	req.Header.Set("User-Agent", c.agent)
	for k, v := range head {
		req.Header.Set(k, v)
	}
	resp, err := c.http.Do(req) //nolint:bodyclose // answer.close does
	ended := ctx.Err() != nil
	if err == nil || !ended && !errors.Is(err, errDial) && !errors.Is(err, errRefused) {
		c.asked++
	}
	if err != nil {
		cancel()
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() && !ended || errors.Is(err, errSlow) {
			c.strikes++
			return nil, errors.Join(errSlow, err)
		}
		return nil, err //nolint:wrapcheck // read by its kind only, never shown
	}
	return &answer{status: resp.StatusCode, header: resp.Header, body: resp.Body, cancel: cancel, c: c}, nil
}

// close ends the answer, whatever of it was read.
func (a *answer) close() {
	a.cancel()
	_ = a.body.Close()
}

// read returns the body if it ends in time and within the bound.
func (a *answer) read() ([]byte, error) {
	defer a.close()
	timer := time.AfterFunc(stepTime, a.cancel)
	defer func() {
		if !timer.Stop() {
			a.c.strikes++
		}
	}()
	b, err := io.ReadAll(io.LimitReader(a.body, maxBody+1))
	switch {
	case len(b) > maxBody:
		a.c.strikes++
		return b[:maxBody], errBig
	case err != nil:
		return b, errors.Join(errStream, err)
	}
	return b, nil
}

// clip cuts a text of a server to a bound.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + "…"
}
