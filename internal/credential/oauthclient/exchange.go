package oauthclient

import (
	"context"
	"net/url"
	"strings"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// Statement makes our signed statement that agent acts for subject, for the
// authorization server with the given issuer alone: a JWT of a minute.
type Statement func(issuer, agent string, subject access.Subject) (string, error)

// TokenExchange returns the minter for RFC 8693. The subject token is our own
// statement: the agent's token never leaves, since its audience is us.
func (m *Minters) TokenExchange(state Statement) credential.Minter { return tokenExchange{m, state} }

type tokenExchange struct {
	m     *Minters
	state Statement
}

// ReuseKey is what a call asks for.
func (x tokenExchange) ReuseKey(n credential.Need) string {
	scopes, _ := n.Source.TokenExchange.ScopesFor(n.Tool)
	return "scope " + strings.Join(scopes, " ")
}

const (
	grantExchange   = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
)

func (x tokenExchange) Mint(ctx context.Context, n credential.Need) (credential.Minted, error) {
	agent := n.Who.Actor.Agent
	if agent == "" {
		return credential.Minted{}, access.Errorf(access.CodeDenied, "a token is exchanged for an agent's call only")
	}
	spec := n.Source.TokenExchange
	s, resource, err := x.m.server(ctx, spec.Client, n)
	if err != nil {
		return credential.Minted{}, err
	}
	statement, err := x.state(s.Issuer, agent, n.Who.Subject)
	if err != nil {
		return credential.Minted{}, err
	}
	scopes, narrowed := spec.ScopesFor(n.Tool)
	form := url.Values{
		"grant_type": {grantExchange}, "subject_token": {statement}, "subject_token_type": {typeJWT}, "requested_token_type": {typeAccessToken},
	}
	if spec.Audience != "" {
		form.Set("audience", spec.Audience)
	}
	e := x.m.endpoint(s, spec.Client, n)
	t, err := e.narrow(form, scopes, resource).token(ctx, form)
	if err != nil {
		return credential.Minted{}, err
	}
	clear(t.Refresh) // one that outlives the call is not wanted
	got, err := e.minted(t, scopes, narrowed, resource, x.ReuseKey(n))
	if err == nil && !n.Who.Subject.Autonomous() {
		got.Narrowed += ", for the person the agent acts for"
	}
	return got, err
}

// End ends an access token.
func (x tokenExchange) End(ctx context.Context, n credential.Need, how []byte) error {
	return x.m.end(ctx, n.Source.TokenExchange.Client, n, how)
}
