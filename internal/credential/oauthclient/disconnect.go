package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// Disconnect ends a link: it is gone here whatever happens, and its tokens are
// revoked at the authorization server where that offers it (RFC 7009). left says
// what could not be revoked, "" if nothing.
func (l *Links) Disconnect(ctx context.Context, id, by string) (left string, err error) {
	link, ok, err := l.cfg.Links.Link(ctx, id)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", noLink(id)
	}
	return l.alone(ctx, link, nil, by, "disconnected")
}

// DisconnectOwn is Disconnect by the person whose link it is. Somebody else's is
// not there.
func (l *Links) DisconnectOwn(ctx context.Context, who access.Subject, id, by string) (left string, err error) {
	link, ok, err := l.cfg.Links.Link(ctx, id)
	if err != nil {
		return "", err
	}
	if !ok || who.Autonomous() || link.Subject != who {
		return "", noLink(id)
	}
	return l.alone(ctx, link, nil, by, "disconnected by its person")
}

// alone disconnects one link; source is what is declared, nil to look it up. Whoever
// asked for it going away does not end it.
func (l *Links) alone(ctx context.Context, link credential.Link, source *credential.Source, by, why string) (left string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*credential.EndTime)
	defer cancel()
	return l.disconnect(ctx, link, source, by, why)
}

func noLink(id string) error {
	return access.Errorf(access.CodeNotFound, "there is no link %q; list them with: rutile credential links", id)
}

// End ends all links of a credential that is not declared any more. source is what
// it was.
func (l *Links) End(ctx context.Context, source credential.Source, by string) (credential.Ended, error) {
	return l.endAll(ctx, by, "its credential was removed", func(link credential.Link) (*credential.Source, bool) {
		return &source, link.Credential == source.ID
	})
}

// EndOrphans ends the links whose credential is not declared: the gateway stopped
// while they were ended.
func (l *Links) EndOrphans(ctx context.Context, declared func(id string) bool) (credential.Ended, error) {
	return l.endAll(ctx, "", "its credential is not declared any more", func(link credential.Link) (*credential.Source, bool) {
		return &credential.Source{ID: link.Credential, UserOAuth: &credential.UserOAuth{}}, !declared(link.Credential)
	})
}

func (l *Links) endAll(ctx context.Context, by, why string, of func(credential.Link) (*credential.Source, bool)) (out credential.Ended, err error) {
	list, err := l.cfg.Links.Links(ctx)
	if err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, credential.EndTime)
	defer cancel()
	var mu sync.Mutex
	var work sync.WaitGroup
	room := make(chan struct{}, enders)
	for _, link := range list {
		source, ok := of(link)
		if !ok || link.State == credential.LinkEnding {
			continue
		}
		room <- struct{}{}
		work.Go(func() {
			defer func() { <-room }()
			left, derr := l.disconnect(ctx, link, source, by, why)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case derr != nil:
				err = errors.Join(err, fmt.Errorf("ending link %s: %w", link.ID, derr))
			case left != "":
				out.Left = append(out.Left, fmt.Sprintf("link %s of %s: %s", link.ID, link.Subject.ID, left))
			case link.State == credential.LinkActive:
				out.Revoked++
			}
		})
	}
	work.Wait()
	slices.Sort(out.Left)
	return out, err
}

// enders bounds how many links are ended at once.
const enders = 8

// disconnect destroys a link, also where ctx has ended, and revokes its tokens while
// it lasts; source is what is declared, nil to look it up.
func (l *Links) disconnect(ctx context.Context, link credential.Link, source *credential.Source, by, why string) (left string, err error) {
	kept := context.WithoutCancel(ctx)
	t, err := link.Open(kept, l.cfg.Seal)
	if err != nil || link.State != credential.LinkActive {
		return "", l.destroy(kept, link, by, why)
	}
	defer t.Clear()
	owed, err := l.owe(kept, link, t, why)
	if err != nil {
		return "", err
	}
	gone := l.destroy(kept, link, by, why)
	left, err = l.settled(ctx, owed, source)
	return left, errors.Join(gone, err)
}

// revokeRetries is how long is waited before tokens are tried to be revoked again.
func revokeRetries() []time.Duration { return []time.Duration{time.Second, 3 * time.Second} }

// revoked returns why tokens could not be revoked.
func (l *Links) revoked(ctx context.Context, link credential.Link, source *credential.Source, t credential.LinkTokens) string {
	if source == nil {
		declared, _, err := l.cfg.Target(link.Credential, link.Server)
		source = &declared
		if err != nil && declared.UserOAuth == nil {
			source = &credential.Source{ID: link.Credential, UserOAuth: &credential.UserOAuth{}}
		}
	}
	n := credential.Need{Source: source, LeaseRequest: credential.LeaseRequest{Server: link.Server, Outcome: access.Permit}}
	for i := 0; ; i++ {
		why, again := l.tryRevoke(ctx, n, link, t)
		if why == "" || !again || i == len(revokeRetries()) || l.cfg.Wait(ctx, revokeRetries()[i]) != nil {
			return why
		}
	}
}

// tryRevoke returns why tokens could not be revoked, and whether it may be otherwise
// in a moment.
func (l *Links) tryRevoke(ctx context.Context, n credential.Need, link credential.Link, t credential.LinkTokens) (why string, again bool) {
	s, err := l.m.find.Server(ctx, link.Issuer, n.Source.UserOAuth.TLS.CA)
	if err != nil {
		return "their authorization server could not be found", true
	}
	if s.Revocation == nil {
		return "their authorization server offers no revocation", false
	}
	e, err := l.as(ctx, s, n, link)
	if access.CodeOf(err) == access.CodeConflict { // nobody knows any more how we were registered
		e, err = l.m.endpoint(s, credential.Client{ClientID: link.Client, Auth: credential.AuthNone}, n), nil
	}
	if err != nil {
		return "we could not prove to their authorization server who we are", true
	}
	if e.end(ctx, t) != nil {
		return "their authorization server did not revoke them", true
	}
	return "", false
}
