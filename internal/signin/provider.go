package signin

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"rutile/internal/access"
)

// ProviderConfig says who else knows our people: an OpenID Connect provider.
type ProviderConfig struct {
	Name     string // on the page that asks to sign in
	Issuer   string
	ClientID string
	Secret   func() (string, error) // read when it is needed; nil for a public client
	Redirect string                 // where it sends people back to
}

// Provider signs people in who prove elsewhere who they are: OpenID Connect Core 1.0,
// the authorization code with PKCE, a state, a nonce and, where the provider says who
// answers, that (RFC 9207). It is safe for concurrent use.
type Provider struct {
	cfg    ProviderConfig
	client *http.Client
	now    func() time.Time

	mu    sync.Mutex
	known *known
}

// known is what the provider says of itself.
type known struct {
	verifier *oidc.IDTokenVerifier
	oauth    oauth2.Config
	says     bool // it names itself in its answers
	// algorithms are those of its signatures that are taken.
	algorithms []jose.SignatureAlgorithm
}

// Bounds of a provider.
const (
	providerTime = 10 * time.Second
	providerBody = 1 << 20
)

// CheckIssuer says why an issuer cannot be one, "" if it can.
func CheckIssuer(issuer string) string {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "must be the issuer of an OpenID Connect provider, such as https://login.example.com"
	case u.Scheme == "https":
		return ""
	case u.Scheme == "http" && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()):
		return ""
	default:
		return "must be https: people's sign-ins go there"
	}
}

// NewProvider returns a Provider. It asks it nothing yet.
func NewProvider(cfg ProviderConfig, now func() time.Time) (*Provider, error) {
	if cfg.ClientID == "" || cfg.Redirect == "" || cfg.Name == "" || now == nil {
		return nil, errors.New("signin: a dependency is missing")
	}
	if msg := CheckIssuer(cfg.Issuer); msg != "" {
		return nil, access.Errorf(access.CodeInvalid, "the issuer %s", msg)
	}
	return &Provider{cfg: cfg, now: now, client: &http.Client{
		Timeout: providerTime, Transport: bounded{http.DefaultTransport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// bounded reads no more of an answer than there can be.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, providerBody)
	}
	return resp, err
}

// Name is what people know it by.
func (p *Provider) Name() string { return p.cfg.Name }

// Away is somebody who was sent to the provider. It MUST come back at most once, to the
// browser that was sent.
type Away struct{ state, nonce, verifier string }

// Subject is a person as a provider knows them. Issuer and ID together are one person.
type Subject struct{ Issuer, ID string }

// Begin returns where to send somebody.
func (p *Provider) Begin(ctx context.Context) (address string, a Away, err error) {
	k, err := p.learn(ctx)
	if err != nil {
		return "", a, err
	}
	a = Away{oauth2.GenerateVerifier(), oauth2.GenerateVerifier(), oauth2.GenerateVerifier()}
	return k.oauth.AuthCodeURL(a.state, oidc.Nonce(a.nonce), oauth2.S256ChallengeOption(a.verifier)), a, nil
}

// learn reads what the provider says of itself, once it succeeds.
func (p *Provider) learn(ctx context.Context) (*known, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known != nil {
		return p.known, nil
	}
	// The context stays with the key set, which reads keys anew when they rotate.
	at, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), p.client), p.cfg.Issuer)
	if err != nil {
		return nil, access.Errorf(access.CodeUnavailable, "the identity provider does not answer as one: sign in another way, or try again; %w", err)
	}
	var more struct {
		Says       bool     `json:"authorization_response_iss_parameter_supported"`
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
	}
	if err := at.Claims(&more); err != nil {
		return nil, access.Errorf(access.CodeUnavailable, "the identity provider's description of itself cannot be read: %w", err)
	}
	taken := slices.DeleteFunc([]string{oidc.RS256, oidc.ES256, oidc.PS256, oidc.EdDSA}, func(a string) bool { return !slices.Contains(more.Algorithms, a) })
	if len(taken) == 0 {
		return nil, access.Errorf(access.CodeUnavailable, "the identity provider signs with no algorithm that is taken: RS256, PS256, ES256 or EdDSA")
	}
	var algorithms []jose.SignatureAlgorithm
	for _, a := range taken {
		algorithms = append(algorithms, jose.SignatureAlgorithm(a))
	}
	p.known = &known{
		algorithms: algorithms,
		verifier:   at.Verifier(&oidc.Config{ClientID: p.cfg.ClientID, SupportedSigningAlgs: taken, Now: p.now}),
		oauth:      oauth2.Config{ClientID: p.cfg.ClientID, Endpoint: at.Endpoint(), RedirectURL: p.cfg.Redirect, Scopes: []string{oidc.ScopeOpenID}},
		says:       more.Says,
	}
	return p.known, nil
}

// Back is who came back, as the provider says it.
type Back struct {
	Subject
	Session string // there, "" where it names none
}

// Finish returns who came back, by what the provider sent along. Whatever does not count
// is ErrRefused, with why for the log alone.
func (p *Provider) Finish(ctx context.Context, a Away, state, issuer, code string) (Back, error) {
	k, err := p.learn(ctx)
	if err != nil {
		return Back{}, err
	}
	switch {
	case a.state == "" || subtle.ConstantTimeCompare([]byte(state), []byte(a.state)) != 1:
		return Back{}, fmt.Errorf("%w: the state is not the one that was sent", ErrRefused)
	case issuer != p.cfg.Issuer && (issuer != "" || k.says):
		return Back{}, fmt.Errorf("%w: the answer is another provider's", ErrRefused)
	case code == "":
		return Back{}, fmt.Errorf("%w: there is no code", ErrRefused)
	}
	oauth := k.oauth
	if p.cfg.Secret != nil {
		if oauth.ClientSecret, err = p.cfg.Secret(); err != nil {
			return Back{}, err
		}
	}
	token, err := oauth.Exchange(oidc.ClientContext(ctx, p.client), code, oauth2.VerifierOption(a.verifier))
	if err != nil {
		var answered *oauth2.RetrieveError
		if errors.As(err, &answered) {
			return Back{}, fmt.Errorf("%w: the provider takes the code for none: %s", ErrRefused, answered.ErrorCode)
		}
		return Back{}, access.Errorf(access.CodeUnavailable, "the identity provider does not answer: sign in another way, or try again; %w", err)
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := k.verifier.Verify(oidc.ClientContext(ctx, p.client), raw)
	if err != nil {
		return Back{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return p.whose(a, id)
}

// whose checks what the library leaves to us (OpenID Connect Core, 3.1.3.7): the nonce,
// that the token is for us alone or says so, and that it is not of tomorrow.
func (p *Provider) whose(a Away, id *oidc.IDToken) (Back, error) {
	var more struct {
		Party   string `json:"azp"`
		Session string `json:"sid"`
	}
	if err := id.Claims(&more); err != nil {
		return Back{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	switch {
	case subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(a.nonce)) != 1:
		return Back{}, fmt.Errorf("%w: the nonce is not the one that was sent", ErrRefused)
	case len(id.Audience) != 1 && more.Party != p.cfg.ClientID, more.Party != "" && more.Party != p.cfg.ClientID:
		return Back{}, fmt.Errorf("%w: the token is for somebody else", ErrRefused)
	case id.Subject == "" || id.IssuedAt.After(p.now().Add(time.Minute)):
		return Back{}, fmt.Errorf("%w: the token names nobody, or is of the future", ErrRefused)
	}
	if len(more.Session) > maxClaim {
		return Back{}, fmt.Errorf("%w: the session is named too long", ErrRefused)
	}
	return Back{Subject{id.Issuer, id.Subject}, more.Session}, nil
}
