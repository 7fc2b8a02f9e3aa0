package oauthclient

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// as is the endpoint we speak to for a link, as the client the link is of.
func (l *Links) as(ctx context.Context, s *Server, n credential.Need, link credential.Link) (*endpoint, error) {
	c := n.Source.UserOAuth.Client
	c.ClientID = link.Client
	e := l.m.endpoint(s, c, n)
	switch {
	case n.Source.UserOAuth.ClientID != "":
	case link.Client == l.cfg.ClientDocument, link.Client == OwnDocument(l.cfg.ClientDocument, Tag(s.Issuer)):
		e.client.Auth = credential.AuthNone
	default:
		r, ok, err := l.registration(ctx, s.Issuer, link.Client)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, access.Errorf(access.CodeConflict, "our registration at the authorization server is another one than the link was made with; disconnect and connect again")
		}
		return e, l.registered(ctx, e, r)
	}
	return e, nil
}

// registered makes e speak as a client we registered.
func (l *Links) registered(ctx context.Context, e *endpoint, r credential.Registration) error {
	e.client.ClientID, e.client.Auth = r.ClientID, r.Auth
	if r.Auth == credential.AuthNone {
		return nil
	}
	var err error
	e.secret, err = l.cfg.Seal.Open(ctx, "client:"+r.ID, r.Sealed)
	return err
}

func registrationID(issuer, redirect string) string {
	sum := sha256.Sum256([]byte(issuer + "\x00" + redirect))
	return hex.EncodeToString(sum[:16])
}

// client decides who we are to a server, in the order MCP 2026-07-28 gives:
// registered beforehand, by our client id metadata document, by dynamic
// registration (RFC 7591).
func (l *Links) client(ctx context.Context, s *Server, spec *credential.UserOAuth) (id string, err error) {
	switch {
	case spec.ClientID != "":
		return spec.ClientID, nil
	case s.ClientDocs && l.cfg.ClientDocument != "":
		return l.document(s), nil
	case s.Registration == nil:
		return "", access.Errorf(access.CodeUpstream, "the authorization server knows no way to register us by itself: register a client there with the redirect address %s and write its clientID into the credential's manifest", l.callback(s))
	}
	r, ok, err := l.cfg.Clients.Registration(ctx, registrationID(s.Issuer, l.callback(s)))
	if err != nil || ok {
		return r.ClientID, err
	}
	r, err = l.register(ctx, s)
	return r.ClientID, err
}

// register registers us and keeps what we got.
func (l *Links) register(ctx context.Context, s *Server) (credential.Registration, error) {
	const what = "the authorization server's registration endpoint"
	none := credential.Registration{}
	body, err := json.Marshal(ClientMetadata("", l.callback(s)))
	if err != nil {
		return none, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Registration.String(), bytes.NewReader(body))
	if err != nil {
		return none, access.Errorf(access.CodeUpstream, "%s has no usable address", what)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	resp, answer, err := s.http.do(req, what) //nolint:bodyclose // do closes it
	if err != nil {
		return none, err
	}
	defer clear(answer)
	if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK {
		return none, access.Errorf(access.CodeUpstream, "%s refuses with status %d", what, resp.StatusCode)
	}
	v, err := object(resp, answer, "the answer of "+what)
	if err != nil {
		return none, err
	}
	r := credential.Registration{ID: registrationID(s.Issuer, l.callback(s)), Issuer: s.Issuer, Redirect: l.callback(s), ClientID: text(v, "client_id"), Auth: text(v, "token_endpoint_auth_method")}
	secret := text(v, "client_secret")
	if r.Auth == "" && secret == "" {
		r.Auth = credential.AuthNone
	} else if r.Auth == "" {
		r.Auth = credential.AuthBasic
	}
	switch {
	case r.ClientID == "" || len(r.ClientID) > 1024:
		return none, access.Errorf(access.CodeUpstream, "%s gave no client id", what)
	case r.Auth == credential.AuthNone:
	case (r.Auth == credential.AuthBasic || r.Auth == credential.AuthPost) && secret != "" && len(secret) <= credential.MaxValue:
		if r.Sealed, err = l.cfg.Seal.Seal(ctx, "client:"+r.ID, []byte(secret)); err != nil {
			return none, err
		}
	default:
		return none, access.Errorf(access.CodeUpstream, "%s wants us to authenticate in a way we cannot", what)
	}
	return r, l.cfg.Clients.PutRegistration(ctx, r)
}

// ClientMetadata is what we say of ourselves as a client, in a registration or,
// with its own address as id, in our client id metadata document.
func ClientMetadata(id, redirect string) map[string]any {
	kind := "web"
	if strings.HasPrefix(redirect, "http:") {
		kind = "native" // a loopback address, which a web client may not have
	}
	m := map[string]any{
		"client_name": "Rutile", "redirect_uris": []string{redirect}, "grant_types": []string{"authorization_code", "refresh_token"},
		"response_types": []string{"code"}, "token_endpoint_auth_method": credential.AuthNone, "application_type": kind,
	}
	if id != "" {
		m["client_id"] = id
	}
	return m
}
