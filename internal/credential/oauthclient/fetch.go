// Package oauthclient mints credentials as an OAuth client of the authorization
// servers in front of upstreams.
//
// It finds them as MCP 2026-07-28 says (RFC 9728, RFC 8414), proves who we are
// and asks for what one permitted call needs, for its resource alone (RFC 8707).
// Everything it reads was written by somebody else: it is bounded in size and
// time, no redirect is followed, and nothing of an answer but a registered error
// code reaches an error, a log or an agent.
package oauthclient

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/rawjson"
)

// Bounds of one exchange with an authorization server.
const (
	maxDocument = 64 << 10
	fetchTime   = 10 * time.Second
)

// HTTP reaches authorization servers. Its Transport MUST dial only where upstreams
// may live, at the address it judged, and MUST NOT be a client: nothing here
// follows a redirect or keeps a cookie.
type HTTP struct {
	Transport http.RoundTripper
	// For makes one that trusts the authorities in a PEM file instead of the system's;
	// it is called once for each file. Nil: nobody names one.
	For func(ca string) (http.RoundTripper, error)
	// CA returns the file a registered server is verified with, "" for the system's
	// authorities. Nil: none is.
	CA func(server string) string

	made *transports
}

// transports are those that were made, by file.
type transports struct {
	mu   sync.Mutex
	made map[string]http.RoundTripper
}

// over returns h with the authorities of a file. What trusts them trusts nobody else,
// and nothing else trusts them.
func (h HTTP) over(ca string) (HTTP, error) {
	if ca == "" {
		return h, nil
	}
	if h.For == nil {
		return h, access.Errorf(access.CodeUnsupported, "tls.ca is not supported here")
	}
	h.made.mu.Lock()
	defer h.made.mu.Unlock()
	rt := h.made.made[ca]
	if rt == nil {
		var err error
		if rt, err = h.For(ca); err != nil {
			return h, err
		}
		h.made.made[ca] = rt
	}
	h.Transport = rt
	return h, nil
}

// caOf is the file a registered server is verified with.
func (h HTTP) caOf(server string) string {
	if h.CA == nil {
		return ""
	}
	return h.CA(server)
}

// secure reports whether a URL may carry tokens: https, or a loopback literal.
func secure(u *url.URL) bool {
	if u.Scheme == "https" {
		return u.Host != "" && u.User == nil
	}
	a, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "http" && u.User == nil && (u.Hostname() == "localhost" || err == nil && a.IsLoopback())
}

// parse reads an absolute URL that may carry tokens.
func parse(raw, what string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || len(raw) > 2048 || u.Opaque != "" || !secure(u) || strings.Contains(raw, "#") {
		return nil, access.Errorf(access.CodeUpstream, "%s is not an https address", what)
	}
	return u, nil
}

func originOf(u *url.URL) string { return u.Scheme + "://" + credential.LowerHost(u.Host) }

// do sends r and reads an answer of at most maxDocument bytes. An answer that is a
// redirect is an error.
func (h HTTP) do(r *http.Request, what string) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(r.Context(), fetchTime)
	defer cancel()
	r = r.WithContext(ctx)
	r.Header.Set("User-Agent", "rutile")
	resp, err := h.Transport.RoundTrip(r)
	if err != nil {
		return nil, nil, unreached(what, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 == 3 {
		return nil, nil, access.Errorf(access.CodeUpstream, "%s redirects elsewhere, which is not followed", what)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	switch {
	case err != nil:
		return nil, nil, unreached(what, err)
	case len(body) > maxDocument:
		return nil, nil, access.Errorf(access.CodeUpstream, "%s answers with more than %d bytes", what, maxDocument)
	}
	return resp, body, nil
}

// unreached says that something could not be reached, without the URL error's
// text, which holds the address and may hold what was sent.
func unreached(what string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return access.Errorf(access.CodeTimeout, "%s does not answer in time", what)
	case errors.Is(err, context.Canceled):
		return access.Errorf(access.CodeUnavailable, "%s was not waited for", what)
	case errors.As(err, &op):
		return &access.Error{Code: access.CodeUnavailable, Msg: what + " cannot be reached", Err: err}
	default:
		return &access.Error{Code: access.CodeUnavailable, Msg: what + " cannot be reached, or breaks off", Err: err}
	}
}

// errAbsent says that a document is not there.
var errAbsent = errors.New("there is no such document")

// document fetches a JSON object.
func (h HTTP) document(ctx context.Context, u *url.URL, what string) (rawjson.Value, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return rawjson.Value{}, access.Errorf(access.CodeUpstream, "%s has no usable address", what)
	}
	r.Header.Set("Accept", "application/json")
	resp, body, err := h.do(r, what) //nolint:bodyclose // do closes it
	if err != nil {
		return rawjson.Value{}, err
	}
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusMethodNotAllowed {
		return rawjson.Value{}, errAbsent
	}
	if resp.StatusCode != http.StatusOK {
		return rawjson.Value{}, access.Errorf(access.CodeUpstream, "%s cannot be read: it answers %d", what, resp.StatusCode)
	}
	return object(resp, body, what)
}

// object reads a JSON object strictly: a member that is there twice is an error.
func object(resp *http.Response, body []byte, what string) (rawjson.Value, error) {
	if mt, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || mt != "application/json" && !strings.HasSuffix(mt, "+json") {
		return rawjson.Value{}, access.Errorf(access.CodeUpstream, "%s is not JSON", what)
	}
	v, err := rawjson.Parse(bytes.TrimSpace(body), rawjson.Limits{Bytes: maxDocument})
	if err != nil || v.Kind() != rawjson.Object {
		return rawjson.Value{}, access.Errorf(access.CodeUpstream, "%s is not acceptable JSON", what)
	}
	return v, nil
}

// text returns a member that is text, "" if it is not.
func text(v rawjson.Value, key string) string {
	s, _ := v.Get(key).Str()
	return s
}

// list returns the texts of a member that is a list.
func list(v rawjson.Value, key string) []string {
	var out []string
	if v.Get(key).Kind() != rawjson.Array {
		return nil
	}
	for item := range v.Get(key).Items() {
		if s, ok := item.Str(); ok {
			out = append(out, s)
		}
	}
	return out
}
