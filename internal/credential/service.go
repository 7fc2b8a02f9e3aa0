package credential

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// Way makes the transport to a service that is verified as a configuration says.
// It MUST judge addresses after resolution, as for an upstream, use nothing of
// the environment and not decompress.
type Way func(t *tls.Config) (http.RoundTripper, error)

// TLS says how a token service is verified and what it is shown: absolute paths
// of PEM files, "" for the system's authorities and for no certificate.
type TLS struct {
	CA         string `json:"ca,omitempty"`
	Cert       string `json:"cert,omitempty"`
	Key        string `json:"key,omitempty"`
	ServerName string `json:"serverName,omitempty"`
}

// Bounds of one request to a token service.
const (
	serviceTime   = 15 * time.Second
	maxServiceSay = 256 << 10 // bytes of an answer
)

// service is where credentials are asked for. What is configured is all there
// is: no proxy, authority, token or address of the environment, and no redirect
// is followed, which would carry a seed elsewhere.
type service struct {
	name string // in errors
	base *url.URL
	http *http.Client
}

// newService checks base and prepares the way there. A seed in clear is sent to
// this machine alone.
func newService(name, base string, way Way, t TLS) (*service, error) {
	if way == nil {
		return nil, errors.New("credential: a way to services is required")
	}
	u, err := checkService(base)
	if err != nil {
		return nil, err
	}
	conf, err := t.Config()
	if err != nil {
		return nil, err
	}
	transport, err := way(conf)
	if err != nil {
		return nil, err
	}
	return &service{name: name, base: u, http: &http.Client{
		Timeout: serviceTime, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// checkService reads the address of a token service.
func checkService(base string) (*url.URL, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return nil, access.Errorf(access.CodeInvalid, "is not the address of a service: write https://host")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(base, "?#"):
		return nil, access.Errorf(access.CodeInvalid, "must hold no user, query or fragment")
	case u.Scheme == "http" && loopbackHost(u.Hostname()):
	case u.Scheme != "https":
		return nil, access.Errorf(access.CodeInvalid, "must start with https://: what is sent there opens credentials")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

func loopbackHost(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// origin is where seeds for the service must be bound to.
func (s *service) origin() string { return s.base.Scheme + "://" + s.base.Host }

// close lets go of idle connections.
func (s *service) close() { s.http.CloseIdleConnections() }

// said is an answer of a service.
type said struct {
	status int
	header http.Header
	body   []byte // to be cleared by whoever reads it
}

// ask sends one request whose path is made of segments, and reads an answer of
// the given type. An answer that is no success carries no body worth reading.
func (s *service) ask(ctx context.Context, method string, segments []string, header http.Header, body []byte, want string) (said, error) {
	r, err := http.NewRequestWithContext(ctx, method, s.base.JoinPath(segments...).String(), bytes.NewReader(body))
	if err != nil {
		return said{}, fmt.Errorf("making a request to %s: %w", s.name, err)
	}
	r.Header = header
	resp, err := s.do(r)
	if err != nil {
		return said{}, err
	}
	defer resp.Body.Close()
	out := said{status: resp.StatusCode, header: resp.Header}
	if out.body, err = io.ReadAll(resp.Body); err != nil {
		clear(out.body)
		return said{}, s.failed(ctx, err)
	}
	if resp.StatusCode/100 == 2 && len(out.body) > 0 {
		if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != want {
			clear(out.body)
			return said{}, access.Errorf(access.CodeUpstream, "%s answered with another content type than %s", s.name, want)
		}
	}
	return out, nil
}

// errTooMuch ends the reading of an answer.
var errTooMuch = errors.New("the answer is too large")

// do sends r, which must be for the service, and bounds what comes back.
func (s *service) do(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != s.base.Scheme || r.URL.Host != s.base.Host {
		return nil, access.Errorf(access.CodeInternal, "a request to %s was made for another place", s.name)
	}
	r.Header.Set("User-Agent", "rutile")
	resp, err := s.http.Do(r)
	if err != nil {
		return nil, s.failed(r.Context(), err)
	}
	if resp.StatusCode/100 == 3 {
		resp.Body.Close()
		return nil, access.Errorf(access.CodeUpstream, "%s answered with a redirect, which is not followed: name its final address in the manifest", s.name)
	}
	resp.Body = &bounded{of: resp.Body, left: maxServiceSay}
	return resp, nil
}

// bounded is a body that ends in an error when it is too long.
type bounded struct {
	of   io.ReadCloser
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.of.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func (b *bounded) Close() error { return b.of.Close() }

// failed says that no answer came. The text of a transport's error may hold the
// address, which is the manifest's, and nothing that was sent.
func (s *service) failed(ctx context.Context, err error) error {
	var out *access.Error
	switch {
	case errors.As(err, &out):
		return err
	case context.Cause(ctx) != nil:
		return fmt.Errorf("asking %s: %w", s.name, context.Cause(ctx))
	case errors.Is(err, errTooMuch):
		return &access.Error{Code: access.CodeUpstream, Msg: fmt.Sprintf("%s answered with more than %d bytes", s.name, maxServiceSay), Err: err}
	}
	return &access.Error{Code: access.CodeUnavailable, Msg: s.name + " cannot be reached; see the gateway's log", Err: err}
}

// refused says what an answer that is no success means. What it says in words is
// left out: it may repeat what was sent.
func (s *service) refused(doing string, a said) error {
	switch {
	case a.status == http.StatusTooManyRequests, a.status == http.StatusServiceUnavailable, limited(a):
		return access.Errorf(access.CodeUnavailable, "%s has no time for %s (status %d)%s", s.name, doing, a.status, after(a))
	case a.status/100 == 5:
		return access.Errorf(access.CodeUnavailable, "%s failed at %s (status %d)", s.name, doing, a.status)
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		return access.Errorf(access.CodeUpstream, "%s does not permit %s (status %d): look at what the gateway's own credential may do there", s.name, doing, a.status)
	}
	return access.Errorf(access.CodeUpstream, "%s refused %s (status %d)", s.name, doing, a.status)
}

// limited reports an answer that means "later".
func limited(a said) bool {
	return a.status == http.StatusForbidden && (a.header.Get("X-Ratelimit-Remaining") == "0" || a.header.Get("Retry-After") != "")
}

func after(a said) string {
	if d, err := time.ParseDuration(a.header.Get("Retry-After") + "s"); err == nil && d > 0 {
		return fmt.Sprintf(": try again in %v", d)
	}
	return ""
}

// object reads a JSON object.
func (s *service) object(a said) (rawjson.Value, error) {
	v, err := rawjson.Parse(a.body, rawjson.Limits{Bytes: maxServiceSay})
	if err != nil || v.Kind() != rawjson.Object {
		return rawjson.Value{}, access.Errorf(access.CodeUpstream, "%s answered with something that is no JSON object", s.name)
	}
	return v, nil
}

// Config reads the files.
func (t TLS) Config() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, access.Errorf(access.CodeUnavailable, "tls.ca: %s cannot be read: %v", t.CA, reason(err))
		}
		if cfg.RootCAs = x509.NewCertPool(); !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, access.Errorf(access.CodeInvalid, "tls.ca: %s holds no PEM certificate", t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, &access.Error{Code: access.CodeUnavailable, Msg: "tls.cert and tls.key cannot be used; see the gateway's log", Err: err}
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
