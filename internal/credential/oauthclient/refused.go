package oauthclient

import (
	"context"
	"errors"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// A server may stop taking a token before it ends: it lost its sessions, or somebody
// ended the grant. The token is then used no more, on no node, and renewed once. Where
// the server does not take the new one either, renewing is of no use, and the person
// connects anew.

// refusedTime is within which a second refusal, of a token that was renewed since the
// first, breaks a link.
const refusedTime = time.Minute

const refusedWhy = "the server does not take its tokens, new ones too"

// Refused implements [credential.Renewer]. Of many calls whose token the server did not
// take one takes it out of use.
func (l *Links) Refused(ctx context.Context, n credential.Need, v string) error {
	id := credential.LinkID(n.Source.ID, n.Server, n.Who.Subject)
	for {
		link, ok, err := l.cfg.Links.Link(ctx, id)
		if err != nil {
			return err
		}
		if !ok || link.State != credential.LinkActive {
			return needed(n, link.Why)
		}
		err = errMoved
		if !l.m.now().Before(link.Busy) {
			err = l.refuse(ctx, n, link, v)
		}
		if !errors.Is(err, errMoved) {
			return err
		}
		if err := l.cfg.Wait(ctx, pollTime); err != nil {
			return err
		}
	}
}

// refuse takes every access token of a link out of use if v is what it would give n:
// whatever made the server forget one made it forget all.
func (l *Links) refuse(ctx context.Context, n credential.Need, link credential.Link, v string) error {
	t, err := link.Open(ctx, l.cfg.Seal)
	if err != nil {
		return err
	}
	defer t.Clear()
	if held, ok := pick(t, narrowed(n, link)); !ok || version(held.Access) != v {
		return nil // it is another one by now
	}
	now := l.m.now()
	if !t.Refused.IsZero() && now.Before(t.Refused.Add(refusedTime)) && !link.Refreshed.Before(t.Refused) {
		return l.broken(ctx, n, link, t)
	}
	next := credential.LinkTokens{Refresh: t.Refresh, Refused: now}
	link.Rev++
	if err := l.put(ctx, &link, next); access.CodeOf(err) == access.CodeConflict {
		return errMoved
	} else if err != nil {
		return err
	}
	e := event("refused", link, "the server did not take it")
	e.Version, e.Decision = v, n.Decision
	return l.cfg.Record(ctx, e)
}

// broken marks a link as broken and revokes its tokens, which are of no use.
func (l *Links) broken(ctx context.Context, n credential.Need, link credential.Link, t credential.LinkTokens) error {
	owed, err := l.owe(ctx, link, t, refusedWhy)
	if err != nil {
		return err
	}
	if err := l.breaks(ctx, link, refusedWhy); err != nil {
		_, derr := l.cfg.Links.DeleteLink(ctx, owed.ID) // they are somebody else's to end, or still in use
		return errors.Join(err, derr)
	}
	l.settle(owed)
	return needed(n, refusedWhy)
}
