package oauthclient

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// LinksConfig is what links stand on. All but ClientDocument and Wait are required.
type LinksConfig struct {
	Links   credential.LinkStore
	Flows   credential.FlowStore
	Clients credential.ClientStore
	Seal    access.Sealer
	Record  func(ctx context.Context, e credential.Event) error
	// Redirect is the address of our callback, and ClientDocument that of our client
	// id metadata document, "" if we host none that others can read.
	Redirect, ClientDocument string
	// Target returns the declared credential and the URL of a server it is for.
	Target func(id, server string) (s credential.Source, url string, err error)
	// Forget lets go of what was minted.
	Forget func(id string, who access.Subject)
	// Wait waits; nil is the clock. Tests bring their own.
	Wait func(ctx context.Context, d time.Duration) error
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Links makes, uses and ends the links of people to upstreams. It is safe for
// concurrent use. Close must be called.
type Links struct {
	m     *Minters
	cfg   LinksConfig
	owing owing
}

// NewLinks returns the links over the same minters.
func (m *Minters) NewLinks(cfg LinksConfig) (*Links, error) {
	if cfg.Links == nil || cfg.Flows == nil || cfg.Clients == nil || cfg.Seal == nil || cfg.Record == nil || cfg.Redirect == "" || cfg.Target == nil || cfg.Forget == nil {
		return nil, errors.New("oauthclient: links need their stores, a sealer, a record, addresses and targets")
	}
	if cfg.Wait == nil {
		cfg.Wait = wait
	}
	l := &Links{m: m, cfg: cfg}
	l.owing.life, l.owing.end = context.WithCancel(context.Background())
	return l, nil
}

// ReuseKey is one for all calls of a person's agent, as long as the link is what
// it was: another node may have ended it, or its person made it anew.
func (l *Links) ReuseKey(n credential.Need) string {
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	link, ok, err := l.cfg.Links.Link(ctx, credential.LinkID(n.Source.ID, n.Server, n.Who.Subject))
	if err != nil || !ok || link.State != credential.LinkActive {
		return "" // Mint says why
	}
	return reuse(link, narrowed(n, link))
}

func reuse(link credential.Link, narrow string) string {
	return "link " + strconv.FormatInt(link.Made.UnixMicro(), 10) + " " + strconv.FormatInt(link.Rev, 10) + " " + narrow
}

// Mint returns the access token of the caller's person, refreshed if it has to be.
func (l *Links) Mint(ctx context.Context, n credential.Need) (credential.Minted, error) {
	who := n.Who.Subject
	if who.Autonomous() {
		return credential.Minted{}, access.Errorf(access.CodeDenied, "server %q acts for people, and agent %q acts for nobody here: sign in as a person, or use a token issued with a subject", n.Server, n.Who.Actor.Agent)
	}
	id := credential.LinkID(n.Source.ID, n.Server, who)
	for {
		link, ok, err := l.cfg.Links.Link(ctx, id)
		if err != nil {
			return credential.Minted{}, err
		}
		if !ok || link.State != credential.LinkActive {
			return credential.Minted{}, needed(n, link.Why)
		}
		s, err := l.still(ctx, n, link)
		if err != nil {
			return credential.Minted{}, err
		}
		got, err := l.use(ctx, n, s, link)
		if !errors.Is(err, errMoved) {
			return got, err
		}
		if err := l.cfg.Wait(ctx, pollTime); err != nil {
			return credential.Minted{}, err
		}
	}
}

// pollTime is how often somebody else's refresh is looked at, busyTime how long it
// may take, and freshTime how long a token must last to be used.
const (
	pollTime  = 50 * time.Millisecond
	busyTime  = 20 * time.Second
	freshTime = 20 * time.Second
)

// lookTime bounds looking up a link, and recordTime recording what became of one.
const (
	lookTime   = 5 * time.Second
	recordTime = 10 * time.Second
)

// errMoved says that somebody else changes the link.
var errMoved = errors.New("the link is being changed")

func needed(n credential.Need, why string) error {
	msg := "the person the agent acts for has not connected server " + n.Server
	if why != "" {
		msg = "the connection of the person the agent acts for to server " + n.Server + " is broken (" + why + ") and must be made anew"
	}
	return &access.Error{Code: access.CodeDenied, Msg: msg, Err: &credential.NeedLink{Credential: n.Source.ID, Server: n.Server, Subject: n.Who.Subject, Why: msg}}
}

// still finds the authorization server of a link again. An upstream that names
// another one by now, or another resource, loses what is stored.
func (l *Links) still(ctx context.Context, n credential.Need, link credential.Link) (*Server, error) {
	spec := n.Source.UserOAuth
	at, err := parse(n.URL, "the upstream")
	if err != nil {
		return nil, err
	}
	if originOf(at) != link.Origin {
		if err := l.leave(ctx, link, "the server moved to another origin than its person was shown"); err != nil {
			return nil, err
		}
		return nil, needed(n, "the server moved to another address")
	}
	issuer, resource := spec.Issuer, spec.Resource
	if issuer == "" {
		found, err := l.m.find.Resource(ctx, n.URL, l.m.http.caOf(n.Server))
		if err != nil {
			return nil, err
		}
		issuer = found.Issuers[0]
		if slices.Contains(found.Issuers, link.Issuer) {
			issuer = link.Issuer
		}
		if resource == "" {
			resource = found.Resource
		}
	}
	if resource == "" {
		resource = n.URL
	}
	if issuer != link.Issuer || resource != link.Resource || spec.ClientID != "" && spec.ClientID != link.Client {
		if err := l.leave(ctx, link, "the upstream changed its authorization server, its resource or our client"); err != nil {
			return nil, err
		}
		return nil, needed(n, "the server now trusts another authorization server")
	}
	return l.m.find.Server(ctx, issuer, spec.TLS.CA)
}

// use returns the token of a link, refreshing it where it ends soon.
func (l *Links) use(ctx context.Context, n credential.Need, s *Server, link credential.Link) (credential.Minted, error) {
	now := l.m.now()
	if now.Before(link.Busy) {
		return credential.Minted{}, errMoved
	}
	t, err := link.Open(ctx, l.cfg.Seal)
	if err != nil {
		return credential.Minted{}, err
	}
	narrow := narrowed(n, link)
	if lacks := beyond(narrow, link); lacks != "" {
		t.Clear()
		return credential.Minted{}, needed(n, "it is not for scope "+lacks)
	}
	switch held, ok := pick(t, narrow); {
	case ok && (held.Expires.IsZero() || now.Add(freshTime).Before(held.Expires)):
		held.Access = bytes.Clone(held.Access)
		t.Clear()
		return linked(link, narrow, held), nil
	case t.Refresh == nil && narrow != "":
		t.Clear()
		return credential.Minted{}, errNoNarrowing
	case t.Refresh == nil:
		t.Clear()
		if err := l.breaks(ctx, link, "it ended and cannot be renewed"); err != nil {
			return credential.Minted{}, err
		}
		return credential.Minted{}, needed(n, "it ended and cannot be renewed")
	}
	defer t.Clear()
	return l.refresh(ctx, n, s, link, t, narrow)
}

// linked is the credential of a token of a link.
func linked(link credential.Link, narrow string, t credential.NarrowToken) credential.Minted {
	what := "to resource " + link.Resource + ", of the person's own connection"
	switch {
	case narrow != "":
		what = "to scope " + narrow + " for the tool, at resource " + link.Resource + ", of the person's own connection"
	case len(link.Scopes) > 0:
		what = "to scope " + strings.Join(link.Scopes, " ") + " at resource " + link.Resource + ", of the person's own connection"
	}
	return credential.Minted{Values: map[string][]byte{"secret": t.Access}, Version: version(t.Access), Expires: t.Expires, Reuse: reuse(link, narrow), Narrowed: what}
}

// refresh renews a link. One at a time does, of all nodes: a refresh token is good
// for one use, and its second use ends the whole link at the authorization server.
// The new one is durable before anything is used. narrow are the scopes to ask for,
// "" for all of the link (RFC 6749 section 6).
func (l *Links) refresh(ctx context.Context, n credential.Need, s *Server, link credential.Link, old credential.LinkTokens, narrow string) (credential.Minted, error) {
	link.Busy = l.m.now().Add(busyTime)
	link.Rev++
	if err := l.put(ctx, &link, old); err != nil {
		if access.CodeOf(err) == access.CodeConflict {
			return credential.Minted{}, errMoved
		}
		return credential.Minted{}, err
	}
	// From here on the caller going away changes nothing: what the authorization
	// server gives is kept.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), busyTime)
	defer cancel()
	e, err := l.as(ctx, s, n, link)
	if err != nil {
		return credential.Minted{}, err
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {string(old.Refresh)}, "resource": {link.Resource}}
	if narrow != "" {
		form.Set("scope", narrow)
	}
	t, err := e.token(ctx, form)
	var refused *Refused
	switch {
	case errors.As(err, &refused) && (refused.Code == "invalid_grant" || refused.Code == "interaction_required" || refused.Code == "login_required"):
		if berr := l.breaks(ctx, link, "the authorization server does not renew it"); berr != nil {
			return credential.Minted{}, berr
		}
		return credential.Minted{}, needed(n, "the authorization server does not renew it")
	case err != nil:
		link.Busy = time.Time{}
		link.Rev++
		return credential.Minted{}, errors.Join(err, l.put(ctx, &link, old))
	}
	if t.Refresh == nil {
		t.Refresh = bytes.Clone(old.Refresh)
	}
	link.Busy, link.Refreshed = time.Time{}, l.m.now()
	link.Rev++
	return l.renewed(ctx, e, link, old, t, narrow)
}

// renewed keeps what a refresh brought, and returns it unless it is for more than was
// asked for: then the new refresh token is kept, and nothing is used.
func (l *Links) renewed(ctx context.Context, e *endpoint, link credential.Link, old credential.LinkTokens, t Token, narrow string) (credential.Minted, error) {
	next := credential.LinkTokens{Access: t.Access, Expires: t.Expires, Refresh: t.Refresh, Refused: old.Refused, Narrow: alive(old.Narrow, l.m.now())}
	got := credential.NarrowToken{Access: t.Access, Expires: t.Expires}
	tooWide := narrow != "" && wider(t.Scope, strings.Fields(narrow))
	switch {
	case narrow == "":
		if t.Scope != "" && !wider(t.Scope, link.Scopes) {
			link.Scopes = strings.Fields(t.Scope)
		}
	case tooWide:
		next.Access, next.Expires = old.Access, old.Expires
	default:
		next.Access, next.Expires = old.Access, old.Expires
		next.Narrow[narrow] = got
	}
	if err := l.put(ctx, &link, next); err != nil {
		if access.CodeOf(err) == access.CodeConflict { // it was ended meanwhile, and so these are
			err = errors.Join(err, e.end(ctx, credential.LinkTokens{Access: t.Access, Refresh: t.Refresh}))
		}
		t.Clear()
		return credential.Minted{}, err
	}
	clear(t.Refresh)
	if tooWide {
		if r := e.revoke(t.Access, "access_token"); r != nil {
			_ = r(ctx) // it is used for nothing, and ends by itself
		}
		clear(t.Access)
		return credential.Minted{}, errNotNarrowed
	}
	return linked(link, narrow, got), nil
}

func (l *Links) put(ctx context.Context, link *credential.Link, t credential.LinkTokens) error {
	if err := link.Seal(ctx, l.cfg.Seal, t); err != nil {
		return err
	}
	return l.cfg.Links.PutLink(ctx, *link)
}

// breaks marks a link as broken and forgets its tokens. Somebody else's change
// goes first.
func (l *Links) breaks(ctx context.Context, link credential.Link, why string) error {
	link.State, link.Why, link.Busy = credential.LinkBroken, why, time.Time{}
	link.Rev++
	err := l.put(ctx, &link, credential.LinkTokens{})
	if access.CodeOf(err) == access.CodeConflict {
		return errMoved
	}
	if err != nil {
		return err
	}
	l.cfg.Forget(link.Credential, link.Subject)
	return l.cfg.Record(ctx, event("break", link, why))
}

// destroy removes a link.
func (l *Links) destroy(ctx context.Context, link credential.Link, by, why string) error {
	if _, err := l.cfg.Links.DeleteLink(ctx, link.ID); err != nil {
		return err
	}
	l.cfg.Forget(link.Credential, link.Subject)
	e := event("unlink", link, why)
	e.By = by
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime) // it is gone, whoever asked too
	defer cancel()
	return l.cfg.Record(ctx, e)
}

func event(verb string, link credential.Link, why string) credential.Event {
	return credential.Event{
		Verb: verb, Credential: link.Credential, Kind: credential.SourceUserOAuth, Server: link.Server, Subject: link.Subject, Why: why,
		Narrowed: "issuer " + link.Issuer + ", resource " + link.Resource + ", scope " + strings.Join(link.Scopes, " "),
	}
}

// List returns the links, without anything sealed.
func (l *Links) List(ctx context.Context) ([]credential.Link, error) {
	list, err := l.cfg.Links.Links(ctx)
	list = slices.DeleteFunc(list, func(x credential.Link) bool { return x.State == credential.LinkEnding })
	for i := range list {
		list[i].Sealed = nil
	}
	return list, err
}

// Linked reports whether a person has a link that can be used.
func (l *Links) Linked(ctx context.Context, id, server string, who access.Subject) bool {
	link, ok, err := l.cfg.Links.Link(ctx, credential.LinkID(id, server, who))
	return err == nil && ok && link.State == credential.LinkActive
}

// end revokes the tokens of a link where their authorization server offers that.
func (e *endpoint) end(ctx context.Context, t credential.LinkTokens) error {
	if e.server.Revocation == nil {
		return nil
	}
	var errs error
	for _, n := range t.Narrow {
		errs = errors.Join(errs, e.revoke(n.Access, "access_token")(ctx))
	}
	for _, k := range []struct {
		token []byte
		hint  string
	}{{t.Refresh, "refresh_token"}, {t.Access, "access_token"}} {
		if k.token != nil {
			errs = errors.Join(errs, e.revoke(k.token, k.hint)(ctx))
		}
	}
	return errs
}
