package mcpproxy

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
)

// A process of 2026-07-28 is sent a listen as a server over HTTP is, but says
// everything in one stream: what is of a listen is tagged with its id, by which
// it is told apart even where several principals share the process. A process
// that ends, or is replaced, is followed by another, which is sent it again.

// listenedAt is the process a listen was sent to.
type listenedAt struct {
	l       *conversation
	release func(bad bool)
	d       *gate.Dispatch // its own, nil if it came with the listen
}

func (at *listenedAt) leave() {
	at.release(false)
	if at.d != nil {
		at.d.Release()
	}
}

// subscribePiped serves a listen at a process of 2026-07-28.
func (c *call) subscribePiped(ctx context.Context, t *target, at *listenedAt, sub *subscription) error {
	defer func() {
		if at != nil {
			at.leave()
		}
	}()
	for wait := resumeAgain; ; {
		since := time.Now()
		again := sub.told != nil
		rep, err := c.listenOnce(ctx, t, at.l, sub)
		switch {
		case err == nil && again && !sub.acked: // refused, as an error or at once
			return errUnheard
		case err == nil:
			return c.subscribed(ctx, sub.d, rep)
		case again && errors.Is(err, errUnacknowledged):
			return errUnheard
		case sub.told == nil || !errors.Is(err, errReplaced) && !brokenLink(err):
			return err
		}
		if time.Since(since) > followMax {
			wait = resumeAgain // it worked for a while
		}
		at.leave()
		at = nil
		if err := c.resumed(ctx, t, sub.told.uris, &wait, func() (refused bool, err error) {
			at, refused, err = c.listenNext(ctx, t, sub)
			return refused, err
		}); err != nil {
			return err
		}
	}
}

// listenNext makes the process there is now the one that is listened to.
func (c *call) listenNext(ctx context.Context, t *target, sub *subscription) (at *listenedAt, refused bool, err error) {
	l, pr, d, release, refused, err := c.acquireNext(ctx, t)
	if err != nil {
		return nil, refused, err
	}
	at = &listenedAt{release: release, d: d}
	var piped bool
	if at.l, piped = l.(*conversation); !piped || !pr.modern {
		at.leave()
		return nil, true, errUnheard // it speaks another revision now
	}
	c.link, c.peer = l, pr
	sub.d, sub.acked = d, false
	return at, false, nil
}

// listenOnce keeps a listen at one process, until that ends it or is over.
func (c *call) listenOnce(ctx context.Context, t *target, l *conversation, sub *subscription) (*reply, error) {
	one, cut := context.WithCancelCause(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cut(context.Canceled)
	box := newAside(c, sub)
	x, err := c.subscribing(one, sub.d, box)
	if err != nil {
		return nil, err
	}
	for uri := range c.in.msg.params.Path("notifications", "resourceSubscriptions").Items() {
		if text, ok := uri.Str(); ok {
			box.wants[change{resourceUpdated, text}] = true
		}
	}
	for id := range c.watched {
		box.wants[change{taskChanged, id}] = true
	}
	told := make(chan struct{})
	work.Go(func() {
		defer close(told)
		if c.in.p.contain("a subscription", func() {
			if err := box.tell(one); err != nil {
				cut(err)
			}
		}) {
			cut(errPanicked)
		}
	})
	work.Go(func() {
		if c.in.p.contain("a subscription", func() { c.watchProcess(one, cut, t, l, box) }) {
			cut(errPanicked)
		}
	})
	rep, _, err := l.call(one, x)
	if err != nil {
		return nil, err
	}
	box.end()
	<-told // what it said before
	return rep, context.Cause(one)
}

// watchProcess ends a listen that is not acknowledged in time, and one whose
// process is another's turn now.
func (c *call) watchProcess(ctx context.Context, cut context.CancelCauseFunc, t *target, l *conversation, box *aside) {
	late := time.NewTimer(c.in.p.cfg.CallTimeout)
	defer late.Stop()
	look := time.NewTicker(beatTime)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.out:
			cut(errReplaced)
			return
		case <-late.C:
			if !box.began() {
				cut(errUnacknowledged)
				return
			}
		case <-look.C:
			if c.outdated(ctx, t, l) {
				cut(errReplaced)
				return
			}
		}
	}
}

// resumed holds what is acknowledged again to what the client was told, and tells
// it of what it may have missed.
func (s *subscription) resumed(now heard) error {
	missing := func(told, now []string) bool {
		return slices.ContainsFunc(told, func(x string) bool { return !slices.Contains(now, x) })
	}
	if missing(s.told.uris, now.uris) || missing(s.told.tasks, now.tasks) || missing(s.told.lists, now.lists) {
		return errUnheard
	}
	s.c.in.p.relearn(s.c.req.Server) // it may list something else by now
	for _, uri := range s.told.uris {
		if !s.c.mayHear(access.KindResource, uri) {
			continue
		}
		if err := s.c.ans.event(updateNotice(uri, s.c.ans.id)); err != nil {
			return context.Canceled // the client has gone
		}
	}
	return nil
}
