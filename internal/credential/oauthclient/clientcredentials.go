package oauthclient

import (
	"bytes"
	"context"
	"net/url"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// Minters are the minters of this package. They share what they found out.
type Minters struct {
	http  HTTP
	seeds seeds
	now   func() time.Time
	find  *Discovery
}

// New returns the minters. seeds is the vault.
func New(h HTTP, seeds seeds, now func() time.Time) *Minters {
	return &Minters{http: h, seeds: seeds, now: now, find: NewDiscovery(h, now)}
}

// server finds the authorization server of a client and the resource a token is
// for.
func (m *Minters) server(ctx context.Context, c credential.Client, n credential.Need) (*Server, string, error) {
	issuer, resource := c.Issuer, c.Resource
	if issuer == "" {
		if n.URL == "" {
			return nil, "", access.Errorf(access.CodeInvalid, "a server that is a process names no authorization server: add issuer to the credential's manifest")
		}
		found, err := m.find.Resource(ctx, n.URL, m.http.caOf(n.Server))
		if err != nil {
			return nil, "", err
		}
		issuer = found.Issuers[0]
		if resource == "" {
			resource = found.Resource
		}
	}
	if resource == "" {
		resource = n.URL
	}
	s, err := m.find.Server(ctx, issuer, c.TLS.CA)
	return s, resource, err
}

func (m *Minters) endpoint(s *Server, c credential.Client, n credential.Need) *endpoint {
	return &endpoint{seeds: m.seeds, now: m.now, server: s, client: c, need: n}
}

// ClientCredentials returns the minter for RFC 6749 section 4.4.
func (m *Minters) ClientCredentials() credential.Minter { return clientCredentials{m} }

type clientCredentials struct{ m *Minters }

// ReuseKey is the scopes a call asks for: whoever asks for the same may be given
// the same.
func (c clientCredentials) ReuseKey(n credential.Need) string {
	scopes, _ := n.Source.ClientCredentials.ScopesFor(n.Tool)
	return "scope " + strings.Join(scopes, " ")
}

func (c clientCredentials) Mint(ctx context.Context, n credential.Need) (credential.Minted, error) {
	client := n.Source.ClientCredentials.Client
	s, resource, err := c.m.server(ctx, client, n)
	if err != nil {
		return credential.Minted{}, err
	}
	scopes, narrowed := client.ScopesFor(n.Tool)
	form := url.Values{"grant_type": {"client_credentials"}}
	e := c.m.endpoint(s, client, n)
	t, err := e.narrow(form, scopes, resource).token(ctx, form)
	if err != nil {
		return credential.Minted{}, err
	}
	if t.Refresh != nil {
		clear(t.Refresh) // RFC 6749 section 4.4.3: there should be none, and it is not used
	}
	return e.minted(t, scopes, narrowed, resource, c.ReuseKey(n))
}

// narrow adds what a token is to be good for.
func (e *endpoint) narrow(form url.Values, scopes []string, resource string) *endpoint {
	if len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
	if resource != "" {
		form.Set("resource", resource)
	}
	return e
}

// minted is the credential of a token. One that is good for more than was asked
// for is refused.
func (e *endpoint) minted(t Token, scopes []string, narrowed bool, resource, reuse string) (credential.Minted, error) {
	if extra := wider(t.Scope, scopes); extra && len(scopes) > 0 {
		t.Clear()
		return credential.Minted{}, access.Errorf(access.CodeUpstream, "%s gave a token for more than was asked for; it is not used", tokenEndpoint)
	}
	what := "to resource " + resource
	switch {
	case len(scopes) > 0 && narrowed:
		what = "to scope " + strings.Join(scopes, " ") + " for the tool, at resource " + resource
	case len(scopes) > 0:
		what = "to scope " + strings.Join(scopes, " ") + " at resource " + resource
	}
	out := credential.Minted{
		Values: map[string][]byte{"secret": t.Access}, Version: version(t.Access), Expires: t.Expires, Reuse: reuse, Narrowed: what, Revoke: e.revoke(t.Access, "access_token"),
	}
	if out.Revoke != nil {
		out.How = bytes.Clone(t.Access)
	}
	return out, nil
}

// End ends an access token.
func (c clientCredentials) End(ctx context.Context, n credential.Need, how []byte) error {
	return c.m.end(ctx, n.Source.ClientCredentials.Client, n, how)
}

// end ends an access token of a client (RFC 7009).
func (m *Minters) end(ctx context.Context, c credential.Client, n credential.Need, token []byte) error {
	s, _, err := m.server(ctx, c, n)
	if err != nil {
		return err
	}
	revoke := m.endpoint(s, c, n).revoke(token, "access_token")
	if revoke == nil {
		return access.Errorf(access.CodeUnsupported, "the authorization server offers no revocation any more")
	}
	return revoke(ctx)
}

// wider reports whether granted holds a scope that was not asked for. "" is what
// was asked for.
func wider(granted string, asked []string) bool {
	for _, g := range strings.Fields(granted) {
		found := false
		for _, a := range asked {
			found = found || a == g
		}
		if !found {
			return true
		}
	}
	return false
}
