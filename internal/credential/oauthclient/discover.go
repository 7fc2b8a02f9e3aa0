package oauthclient

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"rutile/internal/access"
)

// Server is what an authorization server says of itself (RFC 8414 section 2), as
// far as it is used here.
type Server struct {
	Issuer        string
	Token         *url.URL
	Authorization *url.URL // nil if it has none
	Registration  *url.URL // nil if it has none
	Revocation    *url.URL // nil if it has none
	AuthMethods   []string // of the token endpoint; nil if it does not say
	PKCE          []string // code challenge methods
	ResponseIss   bool     // it sends iss in every authorization response (RFC 9207)
	ClientDocs    bool     // it takes client id metadata documents
	Scopes        []string // it says it knows

	http HTTP // how it is reached
}

// Resource is what an upstream says of itself (RFC 9728 section 2).
type Resource struct {
	Resource string   // its identifier
	Issuers  []string // its authorization servers
	Scopes   []string // from the challenge, else those the document names
}

// Discovery finds authorization servers and keeps what it found for a while. It is
// safe for concurrent use.
type Discovery struct {
	http HTTP
	now  func() time.Time

	mu      sync.Mutex
	servers map[string]kept[*Server]
}

type kept[T any] struct {
	value T
	until time.Time
}

// keepTime is how long metadata is believed, and maxServers of how many.
const (
	keepTime   = 10 * time.Minute
	maxServers = 1000
)

// NewDiscovery returns a Discovery.
func NewDiscovery(h HTTP, now func() time.Time) *Discovery {
	if h.made == nil {
		h.made = &transports{made: map[string]http.RoundTripper{}}
	}
	return &Discovery{http: h, now: now, servers: map[string]kept[*Server]{}}
}

// Resource finds out what upstream says of itself: with the address its challenge
// names, else at the well-known places (MCP 2026-07-28, authorization server
// discovery). Its document MUST be on its own origin and MUST name it. ca is the file
// the upstream is verified with, "" for the system's authorities.
func (d *Discovery) Resource(ctx context.Context, upstream, ca string) (Resource, error) {
	const what = "the upstream's protected resource metadata"
	u, err := parse(upstream, "the upstream")
	if err != nil {
		return Resource{}, err
	}
	h, err := d.http.over(ca)
	if err != nil {
		return Resource{}, err
	}
	places, scopes := h.challenge(ctx, u)
	if places == nil {
		places = []*url.URL{wellKnown(u, "oauth-protected-resource", true)}
		if strings.Trim(u.Path, "/") != "" {
			places = append(places, wellKnown(u, "oauth-protected-resource", false))
		}
	}
	for i, at := range places {
		doc, err := h.document(ctx, at, what)
		if errors.Is(err, errAbsent) {
			continue
		}
		if err != nil {
			return Resource{}, err
		}
		r := Resource{Resource: text(doc, "resource"), Issuers: list(doc, "authorization_servers"), Scopes: scopes}
		// The root document stands for the whole origin where it names that.
		if !names(r.Resource, u, i == len(places)-1) {
			return Resource{}, access.Errorf(access.CodeUpstream, "%s is of another resource than the upstream", what)
		}
		if len(r.Issuers) == 0 {
			return Resource{}, access.Errorf(access.CodeUpstream, "%s names no authorization server; name it as issuer in the credential's manifest", what)
		}
		if slices.ContainsFunc(r.Issuers, func(issuer string) bool { return inward(u, issuer) }) {
			return Resource{}, access.Errorf(access.CodeUpstream, "%s names an authorization server on the gateway's own machine", what)
		}
		if r.Scopes == nil {
			r.Scopes = list(doc, "scopes_supported")
		}
		return r, nil
	}
	return Resource{}, access.Errorf(access.CodeUpstream, "the upstream does not say which authorization server it trusts; name it as issuer in the credential's manifest")
}

// names reports whether a resource identifier is of the upstream: the same URL,
// or, where origin may stand for it, its origin or a parent path of it (RFC 9728
// section 3.3 asks for equality with what the well-known address was made of).
func names(resource string, u *url.URL, origin bool) bool {
	r, err := url.Parse(resource)
	if err != nil || resource == "" || r.Fragment != "" || originOf(r) != originOf(u) {
		return false
	}
	if strings.TrimSuffix(r.Path, "/") == strings.TrimSuffix(u.Path, "/") && r.RawQuery == u.RawQuery {
		return true
	}
	return origin && strings.Trim(r.Path, "/") == "" && r.RawQuery == ""
}

// inward reports whether what was said at an https address leads to plain HTTP,
// which is spoken on this machine only: nobody elsewhere has business to send us
// there.
func inward(from *url.URL, to string) bool {
	at, err := url.Parse(to)
	return from.Scheme == "https" && (err != nil || at.Scheme != "https")
}

// challenge asks the upstream without a credential and reads what its challenge
// names: where its metadata is, and the scopes it wants. No answer, or none of
// use, is no error: the well-known places remain.
func (h HTTP) challenge(ctx context.Context, u *url.URL) (places []*url.URL, scopes []string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, nil
	}
	r.Header.Set("Accept", "application/json, text/event-stream")
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	resp, err := h.Transport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, nil
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		return nil, nil
	}
	for _, c := range resp.Header.Values("Www-Authenticate") {
		params := challengeParams(c)
		if s := params["scope"]; s != "" {
			scopes = strings.Fields(s)
		}
		at, err := parse(params["resource_metadata"], "the metadata's address")
		if err == nil && originOf(at) == originOf(u) {
			places = []*url.URL{at}
		}
	}
	return places, scopes
}

// challengeParams reads the parameters of a Bearer challenge (RFC 9110 section
// 11.6.1). What it cannot read it leaves out.
func challengeParams(h string) map[string]string {
	out := map[string]string{}
	scheme, rest, _ := strings.Cut(h, " ")
	if !strings.EqualFold(scheme, "bearer") || len(h) > 8<<10 {
		return out
	}
	for rest != "" {
		name, after, ok := strings.Cut(strings.TrimLeft(rest, " ,\t"), "=")
		if !ok {
			break
		}
		var value string
		if quoted, found := strings.CutPrefix(after, `"`); found {
			end := 0
			for end < len(quoted) && quoted[end] != '"' {
				if quoted[end] == '\\' {
					end++
				}
				end++
			}
			if end >= len(quoted) {
				break
			}
			value, rest = strings.ReplaceAll(quoted[:end], `\`, ""), quoted[end+1:]
		} else {
			value, rest, _ = strings.Cut(after, ",")
		}
		out[strings.ToLower(strings.TrimSpace(name))] = value
	}
	return out
}

// wellKnown is the well-known address of a suffix, with the path of u after it or
// without.
func wellKnown(u *url.URL, suffix string, path bool) *url.URL {
	at := &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/.well-known/" + suffix}
	if p := strings.TrimSuffix(u.Path, "/"); path && p != "" {
		at.Path += p
	}
	if path {
		at.RawQuery = u.RawQuery
	}
	return at
}

// Server returns what the authorization server of an issuer says of itself: the
// document at the first well-known place that has one, which MUST name exactly
// that issuer (RFC 8414 section 3.3). ca is the file it and its endpoints are verified
// with, "" for the system's authorities.
func (d *Discovery) Server(ctx context.Context, issuer, ca string) (*Server, error) {
	key := issuer + "\x00" + ca
	d.mu.Lock()
	k, ok := d.servers[key]
	d.mu.Unlock()
	if ok && d.now().Before(k.until) {
		return k.value, nil
	}
	h, err := d.http.over(ca)
	if err != nil {
		return nil, err
	}
	s, err := h.server(ctx, issuer)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.servers) >= maxServers {
		clear(d.servers)
	}
	d.servers[key] = kept[*Server]{s, d.now().Add(keepTime)}
	return s, nil
}

func (h HTTP) server(ctx context.Context, issuer string) (*Server, error) {
	const what = "the authorization server's metadata"
	u, err := parse(issuer, "the authorization server's issuer")
	if err != nil || u.RawQuery != "" {
		return nil, access.Errorf(access.CodeUpstream, "the authorization server's issuer is not an https address without a query")
	}
	places := []*url.URL{wellKnown(u, "oauth-authorization-server", true), wellKnown(u, "openid-configuration", true)}
	if p := strings.TrimSuffix(u.Path, "/"); p != "" {
		places = append(places, &url.URL{Scheme: u.Scheme, Host: u.Host, Path: p + "/.well-known/openid-configuration"})
	}
	for _, at := range places {
		doc, err := h.document(ctx, at, what)
		if errors.Is(err, errAbsent) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if text(doc, "issuer") != issuer {
			return nil, access.Errorf(access.CodeUpstream, "%s is of another issuer than it was fetched for; it is not used", what)
		}
		s := &Server{http: h, Issuer: issuer, AuthMethods: list(doc, "token_endpoint_auth_methods_supported"), PKCE: list(doc, "code_challenge_methods_supported"), Scopes: list(doc, "scopes_supported")}
		s.ResponseIss, _ = doc.Get("authorization_response_iss_parameter_supported").Bool()
		s.ClientDocs, _ = doc.Get("client_id_metadata_document_supported").Bool()
		for key, to := range map[string]**url.URL{
			"token_endpoint": &s.Token, "authorization_endpoint": &s.Authorization,
			"registration_endpoint": &s.Registration, "revocation_endpoint": &s.Revocation,
		} {
			if raw := text(doc, key); raw != "" {
				if *to, err = parse(raw, "the "+strings.ReplaceAll(key, "_", " ")+" of the authorization server"); err != nil {
					return nil, err
				}
				if inward(u, raw) {
					return nil, access.Errorf(access.CodeUpstream, "%s names an address on the gateway's own machine", what)
				}
			}
		}
		if s.Token == nil {
			return nil, access.Errorf(access.CodeUpstream, "%s names no token endpoint", what)
		}
		return s, nil
	}
	return nil, access.Errorf(access.CodeUpstream, "the authorization server publishes no metadata")
}

// supports reports whether the server takes a way to authenticate. One that does
// not say takes client_secret_basic (RFC 8414 section 2).
func (s *Server) supports(method string) bool {
	if s.AuthMethods == nil {
		return true // it may well take others; it will say
	}
	return slices.Contains(s.AuthMethods, method)
}
