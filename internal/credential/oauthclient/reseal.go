package oauthclient

import (
	"context"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// Reseal seals the tokens of every link, and our secrets as a client of their
// authorization servers, under the vault's newest root key: what an earlier key of
// the vault opened, it opens no more. n is how many links it came to.
func (l *Links) Reseal(ctx context.Context) (n int, err error) {
	list, err := l.cfg.Links.Links(ctx)
	if err != nil {
		return 0, err
	}
	clients := map[string]bool{}
	for _, link := range list {
		for _, at := range l.addresses(link.Issuer) {
			id := registrationID(link.Issuer, at)
			if clients[id] {
				continue
			}
			clients[id] = true
			if err := l.resealClient(ctx, id); err != nil {
				return n, err
			}
		}
		if err := l.reseal(ctx, link); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func (l *Links) reseal(ctx context.Context, link credential.Link) error {
	for {
		if l.m.now().Before(link.Busy) { // a new rev would lose what its refresh brings
			if err := l.cfg.Wait(ctx, pollTime); err != nil {
				return err
			}
		} else {
			t, err := link.Open(ctx, l.cfg.Seal)
			if err != nil {
				return err
			}
			link.Rev++
			err = l.put(ctx, &link, t)
			t.Clear()
			if access.CodeOf(err) != access.CodeConflict {
				return err
			}
		}
		now, ok, err := l.cfg.Links.Link(ctx, link.ID)
		if err != nil || !ok {
			return err
		}
		link = now
	}
}

func (l *Links) resealClient(ctx context.Context, id string) error {
	r, ok, err := l.cfg.Clients.Registration(ctx, id)
	if err != nil || !ok || len(r.Sealed) == 0 {
		return err
	}
	secret, err := l.cfg.Seal.Open(ctx, "client:"+id, r.Sealed)
	if err != nil {
		return err
	}
	defer clear(secret)
	if r.Sealed, err = l.cfg.Seal.Seal(ctx, "client:"+id, secret); err != nil {
		return err
	}
	return l.cfg.Clients.PutRegistration(ctx, r)
}
