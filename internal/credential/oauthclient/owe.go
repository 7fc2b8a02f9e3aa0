package oauthclient

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"rutile/internal/credential"
)

// Tokens of a link that is no more are owed to their authorization server: they are
// kept, under an id of their own, until they are revoked or it is recorded that they
// could not be, so that a gateway that stops in between goes on at its next start.

// owing is what is being revoked.
type owing struct {
	life context.Context
	end  context.CancelFunc
	mu   sync.Mutex
	shut bool
	work sync.WaitGroup
}

// owe keeps the tokens of a link as owed.
func (l *Links) owe(ctx context.Context, link credential.Link, t credential.LinkTokens, why string) (credential.Link, error) {
	var id [13]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	link.ID, link.Rev, link.State, link.Why, link.Busy = "lnk_"+hex.EncodeToString(id[:]), 1, credential.LinkEnding, why, time.Time{}
	return link, l.put(ctx, &link, t)
}

// leave destroys a link, and revokes its tokens in the background.
func (l *Links) leave(ctx context.Context, link credential.Link, why string) error {
	t, err := link.Open(ctx, l.cfg.Seal)
	if err != nil || link.State != credential.LinkActive {
		return l.destroy(ctx, link, "", why) // there is nothing to revoke, or nobody can
	}
	defer t.Clear()
	owed, err := l.owe(ctx, link, t, why)
	if err != nil {
		return err
	}
	err = l.destroy(ctx, link, "", why)
	l.settle(owed)
	return err
}

// settle revokes owed tokens in the background, unless the gateway stops: the next
// start does then.
func (l *Links) settle(owed credential.Link) {
	l.owing.mu.Lock()
	defer l.owing.mu.Unlock()
	if l.owing.shut {
		return
	}
	l.owing.work.Go(func() { _, _ = l.settled(l.owing.life, owed, nil) })
}

// settled revokes owed tokens and forgets them. left says what could not be revoked,
// which is recorded. Where ctx is cancelled first they stay owed.
func (l *Links) settled(ctx context.Context, owed credential.Link, source *credential.Source) (left string, err error) {
	kept := context.WithoutCancel(ctx)
	t, err := owed.Open(kept, l.cfg.Seal)
	if err != nil {
		return "", err
	}
	defer t.Clear()
	why := l.revoked(ctx, owed, source, t)
	if why != "" && errors.Is(ctx.Err(), context.Canceled) { // whoever waits went away, or the gateway stops
		l.settle(owed)
		return "their authorization server is asked again", nil
	}
	if why != "" {
		left = "its tokens are gone here, but " + why
		if !t.Expires.IsZero() {
			left += "; the last access token is valid until " + t.Expires.UTC().Format(time.RFC3339)
		}
		e := event("revoke-failed", owed, why)
		e.Expires = t.Expires
		rctx, cancel := context.WithTimeout(kept, recordTime)
		defer cancel()
		if err := l.cfg.Record(rctx, e); err != nil {
			return left, err
		}
	}
	_, err = l.cfg.Links.DeleteLink(kept, owed.ID)
	return left, err
}

// EndOwed revokes what an earlier start of the gateway left owed.
func (l *Links) EndOwed(ctx context.Context) (left []string, err error) {
	list, err := l.cfg.Links.Links(ctx)
	if err != nil {
		return nil, err
	}
	for _, owed := range list {
		if owed.State != credential.LinkEnding || ctx.Err() != nil {
			continue
		}
		why, serr := l.settled(ctx, owed, nil)
		if serr != nil {
			err = errors.Join(err, fmt.Errorf("revoking the tokens of a link that ended: %w", serr))
		}
		if why != "" {
			left = append(left, fmt.Sprintf("link of %s to server %s: %s", owed.Subject.ID, owed.Server, why))
		}
	}
	return left, err
}

// closeTime bounds waiting for what is being revoked when the gateway stops.
const closeTime = 5 * time.Second

// Close waits a moment for what is being revoked. What is left stays owed.
func (l *Links) Close(ctx context.Context) {
	l.owing.mu.Lock()
	l.owing.shut = true
	l.owing.mu.Unlock()
	done := make(chan struct{})
	go func() { l.owing.work.Wait(); close(done) }()
	t := time.NewTimer(closeTime)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	case <-ctx.Done():
	}
	l.owing.end()
	<-done
}
