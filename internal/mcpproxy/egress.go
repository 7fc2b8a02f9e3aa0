package mcpproxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"

	"rutile/internal/access"
	"rutile/internal/registry"
)

// transportFor returns how a server is reached: over the transport all share,
// or over one of its own where its entry says how it is verified or which proxy
// leads to it. own says that it is the server's and must be closed with it.
func (p *Proxy) transportFor(h *registry.HTTP) (rt *h1Transport, own bool, err error) {
	proxy := h.Proxy
	if proxy == "" {
		proxy = p.cfg.Egress.Proxy
	}
	if proxy == registry.ProxyNone {
		proxy = ""
	}
	if h.TLS == nil && proxy == "" {
		return p.transport, false, nil
	}
	rt = newTransport(p.cfg.Egress)
	rt.log = p.log
	if h.TLS != nil {
		if rt.fallback.TLSClientConfig, err = clientTLS(h.TLS); err != nil {
			return nil, false, err
		}
	}
	if proxy != "" {
		u, err := url.Parse(proxy)
		if err != nil {
			return nil, false, access.Errorf(access.CodeInvalid, "the address of the forward proxy cannot be read")
		}
		rt.proxied, rt.fallback.Proxy = true, func(r *http.Request) (*url.URL, error) {
			return u, p.cfg.Egress.beyond(r.URL)
		}
	}
	return rt, true, nil
}

// beyond judges an upstream that a forward proxy will resolve: an address is
// held to the same rule as one we dial, and the proxy's own machine is never
// meant. Where a name leads is the proxy's to police.
func (e Egress) beyond(u *url.URL) error {
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	a, err := netip.ParseAddr(host)
	switch {
	case err == nil:
	case last == "localhost":
		a = netip.IPv6Loopback()
	case last == "" || last[0] >= '0' && last[0] <= '9':
		// An address in a spelling of its own, such as 127.1 or 0x7f000001 (WHATWG
		// URL, 3.5: a host ends in a number).
		return errForbiddenAddress
	default:
		return nil
	}
	if !e.permits(a.WithZone("")) {
		return errForbiddenAddress
	}
	return nil
}

// clientTLS is the configuration for a server whose entry names files. They are
// read now, so that an error is seen at the first call, and the client
// certificate again for every connection, so that a renewed one is used.
func clientTLS(t *registry.TLS) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, tlsFile("ca", t.CA, err)
		}
		if cfg.RootCAs = x509.NewCertPool(); !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, tlsFile("ca", t.CA, errors.New("it holds no PEM certificate"))
		}
	}
	if t.Cert == "" {
		return cfg, nil
	}
	pair := &keyPair{cert: t.Cert, key: t.Key}
	if _, err := pair.get(nil); err != nil {
		return nil, tlsFile("cert", t.Cert, err)
	}
	cfg.GetClientCertificate = pair.get
	return cfg, nil
}

func tlsFile(key, file string, err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return &access.Error{Code: access.CodeUnavailable, Msg: "the server's TLS files cannot be used; see the gateway's log",
		Err: fmt.Errorf("transport.http.tls.%s: %s: %w", key, file, err)}
}

// keyPair is a client certificate in files. One that cannot be read does not
// replace the last that could: a file is there in halves while it is renewed.
type keyPair struct {
	cert, key string

	mu   sync.Mutex
	last *tls.Certificate
}

func (k *keyPair) get(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err == nil {
		k.last = &c
	}
	if k.last == nil {
		return nil, err
	}
	return k.last, nil
}

// notReached reports whether err, of a round trip, came before the upstream can
// have seen the request, and what a caller may be told.
func notReached(err error) (msg string, ok bool) {
	var op *net.OpError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &cert):
		return "the upstream's certificate is not trusted", true
	case errors.As(err, &record):
		return "the upstream does not speak TLS", true
	case errors.Is(err, h1Unsent), errors.Is(err, errForbiddenAddress),
		errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect"):
		return "the upstream cannot be reached", true
	}
	return "", false
}

// Transport returns a transport with the same rules for what is no MCP: the
// authorization servers in front of upstreams. It follows no redirect.
func (e Egress) Transport() (http.RoundTripper, error) { return e.TransportFor(nil) }

// TransportFor is Transport for a service that is verified as t says.
func (e Egress) TransportFor(t *tls.Config) (http.RoundTripper, error) {
	rt := newTransport(e).fallback
	rt.TLSClientConfig = t
	if e.Proxy == "" || e.Proxy == registry.ProxyNone {
		return rt, nil
	}
	u, err := url.Parse(e.Proxy)
	if err != nil {
		return nil, access.Errorf(access.CodeInvalid, "the address of the forward proxy cannot be read")
	}
	rt.Proxy = func(r *http.Request) (*url.URL, error) { return u, e.beyond(r.URL) }
	return rt, nil
}
