// Package identity turns a presented credential into an authenticated subject
// and actor, and issues our own tokens.
//
// Tokens are RFC 9068 JWTs of five minutes for one audience. Verify MUST check
// type, algorithm, key, signature, issuer, audience (byte-equal), times, the
// agent's standing and its session on every call; what it keeps of an earlier
// check is used only while nothing it depends on has changed. The zero Identity
// is never returned without an error. A client assertion MUST be accepted once.
// The package serves no HTTP: package oauth does. It decides nothing about what
// an identity may do: scopes and tokens alone permit nothing.
package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"rutile/internal/access"
)

// Family is a token family, the session we mint (access.md 1.3).
type Family struct {
	ID       string // "ses_…"
	Parent   string
	Agent    string
	Subject  string // "issuer|sub", "" if autonomous
	Proof    string // thumbprint of the proof key that opened it
	Source   string // "private_key_jwt", "development"
	Task     string
	Opened   time.Time
	Last     time.Time // last use
	Absolute time.Time // end, whatever happens
	State    SessionState
	Why      string // of State
}

// SigningKey is one of our token keys as stored.
type SigningKey struct {
	ID      string    // kid
	Alg     string    // "EdDSA"
	Sealed  []byte    // JWK sealed by access.Sealer with purpose "token-key"; private while it signs, public once retired
	Created time.Time // the oldest key that is not retired signs, the next one is published ahead
	Retired time.Time // zero while it signs or waits; verifies until the last token it signed has expired
}

// Store keeps what identity must remember across restarts.
type Store interface {
	LoadSigningKeys(ctx context.Context) ([]SigningKey, error)
	SaveSigningKey(ctx context.Context, k SigningKey) error
	// JoinFamily returns the open family of (agent, subject, proof, task) if it
	// was used within idle, has not passed its absolute end and was not ended,
	// updating Last; one that is quarantined it returns whatever its times.
	// Otherwise it stores and returns f. It is one transaction.
	JoinFamily(ctx context.Context, f Family, idle time.Duration) (Family, error)
	// UseAssertion records (issuer, jti) until expires. It returns false if it
	// was there already: a replay.
	UseAssertion(ctx context.Context, issuer, jti string, expires time.Time) (bool, error)
	// LoadFamily returns a family by id; ok is false if there is none.
	LoadFamily(ctx context.Context, id string) (f Family, ok bool, err error)
}

// Agents says which agents may authenticate now and with which keys.
// Implementations MUST be safe for concurrent use and cheap: both methods run
// on every call.
type Agents interface {
	// AgentKeys returns the public JWKs of an agent. refused is not nil if the
	// agent may not authenticate now (unknown, suspended, quarantined, expired,
	// retired); an *access.Error there is shown to the caller. The keys of a
	// refused agent should be returned too: then whoever holds one of them, and
	// nobody else, is told why.
	AgentKeys(id string) (keys []json.RawMessage, refused error)
	// Generation grows with every change of an agent. What was verified under
	// an earlier generation is verified again.
	Generation() uint64
}

// Resources says which resource URIs exist. A hidden one does not.
type Resources interface {
	Known(uri string) bool
}

// Revocations says what was revoked (access.md 5.1). Implementations MUST be safe for
// concurrent use and cheap: both methods run on every call.
type Revocations interface {
	// Position is that of the newest revocation known here.
	Position() uint64
	// Since returns the position of the last revocation that ends tokens of an agent,
	// a person ("issuer|id", "" for none) and a session; 0 if there was none.
	Since(agent, subject, session string) uint64
}

// Config configures an Authority. Only Issuer has no default.
type Config struct {
	// Issuer is the base URL of the agents' listener as agents use it: scheme
	// and host only, for example https://mcp.example.com or
	// http://127.0.0.1:7433. Resource URIs start with it.
	Issuer string
	// Insecure accepts an http issuer that is not a loopback address.
	Insecure bool
	// TokenTTL is the life of an access token; 5 minutes.
	TokenTTL time.Duration
	// DevelopmentTTL is the longest life of a development token; 1 hour.
	DevelopmentTTL time.Duration
	// Idle is how long a session stays open without a new token; 30 minutes.
	Idle time.Duration
	// Absolute is the longest life of a session; 12 hours.
	Absolute time.Duration
	// Skew is how far clocks may differ; 60 seconds.
	Skew time.Duration
	// CacheSize is how many verified tokens are remembered; 8192.
	CacheSize int
	// Now is the clock; time.Now.
	Now func() time.Time
}

// Authority issues and verifies our tokens. It is safe for concurrent use.
type Authority struct {
	cfg       Config
	store     Store
	sealer    access.Sealer
	agents    Agents
	resources Resources
	revoked   Revocations
	cache     *cache
	epoch     atomic.Uint64 // of Invalidate
	ring      atomic.Pointer[keyring]
	rotating  sync.Mutex
}

// New loads the token keys, making them on the first start.
func New(ctx context.Context, cfg Config, store Store, sealer access.Sealer, agents Agents, resources Resources, revoked Revocations) (*Authority, error) {
	if store == nil || sealer == nil || agents == nil || resources == nil || revoked == nil {
		return nil, errors.New("identity needs a store, a sealer, agents, resources and revocations")
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &Authority{cfg: cfg, store: store, sealer: sealer, agents: agents, resources: resources, revoked: revoked, cache: newCache(cfg.CacheSize)}
	a.rotating.Lock()
	defer a.rotating.Unlock()
	if err := a.loadKeys(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// Issuer returns the configured issuer, byte for byte.
func (a *Authority) Issuer() string { return a.cfg.Issuer }

// TokenEndpoint returns the URL of the token endpoint, the audience of client
// assertions.
func (a *Authority) TokenEndpoint() string { return a.cfg.Issuer + TokenPath }

// Invalidate makes everything remembered about verified tokens useless before
// it returns: each token is verified in full when it is next seen.
func (a *Authority) Invalidate() { a.epoch.Add(1) }

// generation is what a cached verification depends on.
type generation struct{ agents, epoch uint64 }

func (a *Authority) generation() generation {
	return generation{a.agents.Generation(), a.epoch.Load()}
}

func (c Config) withDefaults() (Config, error) {
	if err := checkIssuer(c.Issuer, c.Insecure); err != nil {
		return c, err
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"token lifetime", &c.TokenTTL, 5 * time.Minute},
		{"longest development token lifetime", &c.DevelopmentTTL, time.Hour},
		{"session idle time", &c.Idle, 30 * time.Minute},
		{"session lifetime", &c.Absolute, 12 * time.Hour},
		{"clock skew", &c.Skew, time.Minute},
	} {
		if *d.value < 0 {
			return c, fmt.Errorf("%s must not be negative, got %v", d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if c.TokenTTL < time.Second || c.TokenTTL > c.Absolute {
		return c, fmt.Errorf("token lifetime must be between 1s and the session lifetime %v, got %v", c.Absolute, c.TokenTTL)
	}
	if c.CacheSize < 0 {
		return c, fmt.Errorf("token cache size must not be negative, got %d", c.CacheSize)
	}
	if c.CacheSize == 0 {
		c.CacheSize = 8192
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

// CheckIssuer reports whether s may be the issuer of a gateway: https, or http
// on a loopback address.
func CheckIssuer(s string) error { return checkIssuer(s, false) }

// checkIssuer holds the issuer to one spelling, because it is compared byte for
// byte everywhere.
func checkIssuer(s string, insecure bool) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || s != u.Scheme+"://"+u.Host {
		return fmt.Errorf("issuer %q must be a scheme and a host, without path, query or trailing slash, for example https://mcp.example.com", s)
	}
	switch {
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && (insecure || loopback(u.Hostname())):
		return nil
	}
	return fmt.Errorf("issuer %q must use https; http is for loopback addresses only", s)
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
