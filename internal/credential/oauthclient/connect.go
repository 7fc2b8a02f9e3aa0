package oauthclient

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// Offer is what a person is shown before they connect an upstream.
type Offer struct {
	Credential, Server string
	URL                string // of the upstream
	Issuer             string // where they will be sent
	Callback           string // where they will be sent back to, which is to be registered there
	Resource           string
	Scopes             []string
	Linked             bool // they are connected already
}

// flow is what is remembered between sending a person away and their return.
type flow struct {
	Subject    access.Subject
	Credential string
	Server     string
	Issuer     string
	Client     string
	Resource   string
	Origin     string // of the server, as the person was shown it
	Scopes     []string
	Redirect   string
	Verifier   string
}

// flowTime is how long a person has.
const flowTime = 10 * time.Minute

// Offer finds out what connecting would mean. It changes nothing.
func (l *Links) Offer(ctx context.Context, who access.Subject, id, server string) (Offer, error) {
	_, _, o, err := l.offer(ctx, who, id, server)
	return o, err
}

func (l *Links) offer(ctx context.Context, who access.Subject, id, server string) (credential.Source, *Server, Offer, error) {
	source, at, err := l.cfg.Target(id, server)
	if err != nil {
		return source, nil, Offer{}, err
	}
	spec := source.UserOAuth
	o := Offer{Credential: id, Server: server, URL: at, Issuer: spec.Issuer, Resource: spec.Resource, Scopes: spec.Scopes, Linked: l.Linked(ctx, id, server, who)}
	if o.Issuer == "" {
		found, err := l.m.find.Resource(ctx, at, l.m.http.caOf(server))
		if err != nil {
			return source, nil, Offer{}, err
		}
		o.Issuer = found.Issuers[0]
		if o.Resource == "" {
			o.Resource = found.Resource
		}
		if o.Scopes == nil {
			o.Scopes = found.Scopes
		}
	}
	if o.Resource == "" {
		o.Resource = at
	}
	s, err := l.m.find.Server(ctx, o.Issuer, spec.TLS.CA)
	switch {
	case err != nil:
		return source, s, o, err
	case s.Authorization == nil:
		err = access.Errorf(access.CodeUpstream, "the authorization server offers people no way to sign in")
	case !slices.Contains(s.PKCE, "S256"):
		// MCP 2026-07-28: without it the client must refuse.
		err = access.Errorf(access.CodeUpstream, "the authorization server does not say that it supports PKCE with S256, so nobody is sent there")
	}
	o.Callback = l.callback(s)
	return source, s, o, err
}

// Start begins a connection for a signed-in person and returns where to send them.
func (l *Links) Start(ctx context.Context, who access.Subject, id, server string) (string, error) {
	if who.Autonomous() {
		return "", access.Errorf(access.CodeUnauthenticated, "only a signed-in person connects")
	}
	source, s, o, err := l.offer(ctx, who, id, server)
	if err != nil {
		return "", err
	}
	at, err := parse(o.URL, "the upstream")
	if err != nil {
		return "", err
	}
	client, err := l.client(ctx, s, source.UserOAuth)
	if err != nil {
		return "", err
	}
	f := flow{
		Subject: who, Credential: id, Server: server, Issuer: s.Issuer, Client: client, Resource: o.Resource, Origin: originOf(at), Scopes: o.Scopes,
		Redirect: l.callback(s), Verifier: oauth2.GenerateVerifier(),
	}
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails (crypto/rand)
	state := base64.RawURLEncoding.EncodeToString(secret[:])
	plain, err := json.Marshal(f)
	if err != nil {
		return "", err
	}
	defer clear(plain)
	now := l.m.now()
	kept := credential.Flow{ID: flowID(state), Expires: now.Add(flowTime)}
	if kept.Sealed, err = l.cfg.Seal.Seal(ctx, "flow:"+kept.ID, plain); err != nil {
		return "", err
	}
	if err := l.cfg.Flows.PutFlow(ctx, kept, now); err != nil {
		return "", err
	}
	if err := l.replace(ctx, &source, credential.LinkID(id, server, who)); err != nil {
		return "", err
	}
	cfg := oauth2.Config{ClientID: client, RedirectURL: f.Redirect, Scopes: o.Scopes, Endpoint: oauth2.Endpoint{AuthURL: s.Authorization.String()}}
	return cfg.AuthCodeURL(state, oauth2.S256ChallengeOption(f.Verifier), oauth2.SetAuthURLParam("resource", f.Resource)), nil
}

// replaceTime bounds revoking what a new connection replaces.
const replaceTime = 5 * time.Second

// replace ends the link a person is about to make anew. That is before they agree and
// not after: to many authorization servers what they agreed to before and now is one
// grant, which revoking a token of it ends.
func (l *Links) replace(ctx context.Context, source *credential.Source, id string) error {
	link, ok, err := l.cfg.Links.Link(ctx, id)
	if err != nil || !ok || link.State != credential.LinkActive {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), replaceTime)
	defer cancel()
	_, err = l.disconnect(ctx, link, source, "user:"+link.Subject.ID, "its person connects anew")
	return err
}

func flowID(state string) string {
	sum := sha256.Sum256([]byte("state\x00" + state))
	return hex.EncodeToString(sum[:])
}

// The refusals of a return. They say nothing of what came.
var (
	errFlow     = access.Errorf(access.CodeInvalid, "this connection was not begun here, was finished already, or took too long: begin again")
	errOther    = access.Errorf(access.CodeDenied, "this connection was begun by somebody else: nothing was connected")
	errIssuer   = access.Errorf(access.CodeDenied, "the answer is not of the authorization server the connection was begun at: nothing was connected")
	errResponse = access.Errorf(access.CodeInvalid, "the authorization server's answer cannot be read: nothing was connected")
)

// Finish takes the answer a person came back with and makes the link. A state is
// good once, for the person who began; an answer of another issuer is refused
// before anything in it is looked at (RFC 9207 section 2.4), and so is one that came
// to the address of another issuer. tag is the last part of the address, "" for the
// one that is shared.
func (l *Links) Finish(ctx context.Context, who access.Subject, tag string, answer url.Values) (credential.Link, error) {
	none := credential.Link{}
	for _, key := range []string{"state", "code", "iss", "error"} {
		if len(answer[key]) > 1 {
			return none, errResponse
		}
	}
	f, err := l.taken(ctx, who, answer.Get("state"))
	if err != nil {
		return none, err
	}
	if !l.came(f, tag, answer.Has("iss")) {
		return none, errIssuer
	}
	source, at, err := l.cfg.Target(f.Credential, f.Server)
	if err != nil {
		return none, err
	}
	s, err := l.m.find.Server(ctx, f.Issuer, source.UserOAuth.TLS.CA)
	if err != nil {
		return none, err
	}
	if iss := answer.Get("iss"); (answer.Has("iss") || s.ResponseIss) && iss != f.Issuer {
		return none, errIssuer
	}
	code := answer.Get("code")
	switch {
	case answer.Has("error"):
		why := "for a reason of its own"
		if e := answer.Get("error"); knownError(e) {
			why = e
		}
		return none, access.Errorf(access.CodeDenied, "the authorization server refused (%s): nothing was connected", why)
	case code == "" || len(code) > 4096:
		return none, errResponse
	}
	return l.exchange(ctx, source, at, s, f, code)
}

// taken takes a flow by its state.
func (l *Links) taken(ctx context.Context, who access.Subject, state string) (flow, error) {
	if len(state) != 43 {
		return flow{}, errFlow
	}
	id := flowID(state)
	kept, ok, err := l.cfg.Flows.TakeFlow(ctx, id)
	if err != nil {
		return flow{}, err
	}
	if !ok || !l.m.now().Before(kept.Expires) {
		return flow{}, errFlow
	}
	plain, err := l.cfg.Seal.Open(ctx, "flow:"+id, kept.Sealed)
	if err != nil {
		return flow{}, err
	}
	defer clear(plain)
	var f flow
	if err := json.Unmarshal(plain, &f); err != nil {
		return flow{}, errFlow
	}
	if f.Subject != who || who.Autonomous() {
		return flow{}, errOther
	}
	return f, nil
}

// exchange turns the code into a link.
func (l *Links) exchange(ctx context.Context, source credential.Source, at string, s *Server, f flow, code string) (credential.Link, error) {
	none := credential.Link{}
	link := credential.Link{
		ID: credential.LinkID(f.Credential, f.Server, f.Subject), Credential: f.Credential, Server: f.Server, Subject: f.Subject,
		Issuer: f.Issuer, Client: f.Client, Resource: f.Resource, Origin: f.Origin, Scopes: f.Scopes, State: credential.LinkActive, Made: l.m.now(),
	}
	n := credential.Need{Source: &source, LeaseRequest: credential.LeaseRequest{Server: f.Server, URL: at, Outcome: access.Permit}}
	e, err := l.as(ctx, s, n, link)
	if err != nil {
		return none, err
	}
	t, err := e.token(ctx, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {f.Redirect}, "code_verifier": {f.Verifier}, "resource": {f.Resource},
	})
	if err != nil {
		return none, err
	}
	defer t.Clear()
	if t.Scope != "" {
		link.Scopes = strings.Fields(t.Scope)
	}
	if err := l.store(ctx, &link, credential.LinkTokens{Access: t.Access, Expires: t.Expires, Refresh: t.Refresh}); err != nil {
		return link, err
	}
	if now, _, _ := l.cfg.Target(f.Credential, f.Server); now.UserOAuth == nil { // End may not have seen it
		_, err := l.alone(ctx, link, &source, "", "its credential was removed while it was made")
		return none, errors.Join(access.Errorf(access.CodeConflict, "credential %q was removed meanwhile: nothing was connected", f.Credential), err)
	}
	return link, nil
}

// recorded records that a link was made, also where the person has gone away
// meanwhile. A link nobody can read of is not kept.
func (l *Links) recorded(ctx context.Context, link credential.Link, e credential.Event) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	err := l.cfg.Record(ctx, e)
	if err == nil {
		return nil
	}
	_, derr := l.cfg.Links.DeleteLink(ctx, link.ID)
	return errors.Join(err, derr)
}

// store keeps a new link in place of an earlier one.
func (l *Links) store(ctx context.Context, link *credential.Link, t credential.LinkTokens) error {
	for range 5 {
		old, ok, err := l.cfg.Links.Link(ctx, link.ID)
		if err != nil {
			return err
		}
		link.Rev = 1
		if ok {
			link.Rev = old.Rev + 1
		}
		err = l.put(ctx, link, t)
		if access.CodeOf(err) == access.CodeConflict {
			continue
		}
		if err != nil {
			return err
		}
		l.cfg.Forget(link.Credential, link.Subject)
		e := event("link", *link, "")
		e.By = "user:" + link.Subject.ID
		return l.recorded(ctx, *link, e)
	}
	return access.Errorf(access.CodeUnavailable, "the connection keeps changing: try again")
}
