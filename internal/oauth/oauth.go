// Package oauth serves the authorization server's endpoints; identity decides
// and issues.
//
// It serves exactly these paths of the agents' listener and nothing else:
//
//	/.well-known/oauth-protected-resource              metadata of the aggregate (RFC 9728)
//	/.well-known/oauth-protected-resource/mcp          the same, path-inserted
//	/.well-known/oauth-protected-resource/mcp/{server} metadata of one server
//	/.well-known/oauth-authorization-server            metadata of the issuer (RFC 8414)
//	/.well-known/openid-configuration                  the same document
//	/oauth/token                                       POST, grant client_credentials with private_key_jwt
//	/oauth/enroll                                      POST, redeems an enrollment code
//	/oauth/authorize                                   refuses: no grant uses it yet
//	/oauth/jwks                                        keys of access tokens (RFC 7517)
//
// A resource that is unknown and one that is hidden MUST get the same bytes.
// No answer carries a CORS header: no browser application is a client. The
// package keeps no session and never sees an access token presented for a call.
package oauth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"rutile/internal/identity"
	"rutile/internal/throttle"
)

const (
	serverMetadataPath = "/.well-known/oauth-authorization-server"
	openIDPath         = "/.well-known/openid-configuration"
)

// Servers says which resource URIs exist. A hidden one does not.
type Servers interface {
	Known(uri string) bool
}

// Config configures the endpoints. The zero value is safe.
type Config struct {
	// AddressRate is how many token requests a second one network address may
	// make, AddressBurst how many at once; 50 and 200.
	AddressRate, AddressBurst int
	// AgentRate is how many tokens a second one agent may be issued, AgentBurst
	// how many at once; 10 and 60. Only requests that authenticated count, so
	// nobody can lock an agent out by naming it.
	AgentRate, AgentBurst int
	// Now is the clock of the limits; time.Now.
	Now func() time.Time
	// Enroll redeems an enrollment for a key and returns the agent and the id of
	// the key. Errors are *identity.Error or *access.Error for the caller. Nil
	// offers none.
	Enroll func(ctx context.Context, request string) (agent, key string, err error)
	// Log receives why token requests were refused; it may be nil.
	Log *slog.Logger
}

type server struct {
	authority *identity.Authority
	servers   Servers
	redeem    func(ctx context.Context, request string) (agent, key string, err error)
	log       *slog.Logger
	addresses *throttle.Keyed
	agents    *throttle.Keyed
	metadata  []byte // of the issuer
}

// New returns the handler of the paths above. URLs in its documents start with
// the authority's issuer, whatever host a request names.
func New(cfg Config, authority *identity.Authority, servers Servers) (http.Handler, error) {
	if authority == nil || servers == nil {
		return nil, errors.New("oauth needs an authority and servers")
	}
	for _, d := range []struct {
		value *int
		def   int
	}{{&cfg.AddressRate, 50}, {&cfg.AddressBurst, 200}, {&cfg.AgentRate, 10}, {&cfg.AgentBurst, 60}} {
		if *d.value < 0 || *d.value > 1_000_000 {
			return nil, errors.New("oauth: rates and bursts must be between 1 and 1000000")
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	metadata, err := serverMetadata(authority.Issuer())
	if err != nil {
		return nil, err
	}
	return &server{
		authority: authority,
		servers:   servers,
		redeem:    cfg.Enroll,
		log:       cfg.Log,
		addresses: throttle.NewKeyed(rate(cfg.AddressRate, cfg.AddressBurst), cfg.Now),
		agents:    throttle.NewKeyed(rate(cfg.AgentRate, cfg.AgentBurst), cfg.Now),
		metadata:  metadata,
	}, nil
}

// rate is so many a second, and so many at once.
func rate(second, burst int) throttle.Rate {
	return throttle.Rate{Burst: burst, Every: time.Second / time.Duration(second)}
}

// ServeHTTP routes by the exact path. A mux would clean paths and redirect;
// here a path that is not spelled as above does not exist.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	path := r.URL.Path
	if r.URL.RawPath != "" {
		path = "" // an escaped spelling
	}
	switch path {
	case identity.TokenPath:
		s.token(w, r)
	case identity.EnrollPath:
		s.enroll(w, r)
	case identity.JWKSPath:
		s.document(w, r, s.authority.JWKS())
	case identity.AuthorizePath:
		s.authorize(w, r)
	case serverMetadataPath, openIDPath:
		s.document(w, r, s.metadata)
	case identity.ResourceMetadataPath:
		s.resource(w, r, identity.Resource(s.authority.Issuer(), ""))
	default:
		if rest, ok := strings.CutPrefix(path, identity.ResourceMetadataPath+"/"); ok {
			s.resource(w, r, s.authority.Issuer()+"/"+rest)
			return
		}
		notFound(w)
	}
}

// authorize refuses every request and never redirects: no client has a
// registered redirect URI, and no response type is supported.
func (s *server) authorize(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodHead, http.MethodPost) {
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	http.Error(w, "unsupported_response_type: signing in with a browser is not offered here; "+
		"an agent authenticates at "+s.authority.TokenEndpoint()+" with grant_type=client_credentials and a client_assertion", http.StatusBadRequest)
}

// allow answers 405 and reports false unless the method is one of methods.
func allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	for _, m := range methods {
		if r.Method == m {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	http.Error(w, "method not allowed; use "+methods[0], http.StatusMethodNotAllowed)
	return false
}

func notFound(w http.ResponseWriter) { http.Error(w, "not found", http.StatusNotFound) }

// refused logs why a token request was refused. The causes identity gives hold
// no byte of an assertion.
func (s *server) refused(ctx context.Context, from string, err error) {
	level := slog.LevelError
	if e := (*identity.Error)(nil); errors.As(err, &e) {
		level = slog.LevelInfo // the client's, not ours
	}
	s.log.Log(ctx, level, "refusing a token", "from", from, "reason", err, "cause", errors.Unwrap(err))
}
