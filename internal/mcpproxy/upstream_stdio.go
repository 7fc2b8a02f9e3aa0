package mcpproxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
)

var errProcessEnded = access.Errorf(access.CodeUnavailable, "the server's process ended; it is started again at the next call")

// processPipe is a process spoken to over its standard input and output.
type processPipe struct{ proc *stdioProcess }

func (p processPipe) deliver(ctx context.Context, _ *gate.Dispatch, msg []byte) <-chan delivery {
	done := make(chan delivery, 1)
	err := p.proc.Send(ctx, msg)
	switch {
	case err == nil:
		done <- delivery{reach: access.ReachYes}
	case ctx.Err() != nil:
		done <- delivery{access.ReachUnknown, context.Cause(ctx)}
	case errors.Is(err, errStdioUnsent):
		done <- delivery{access.ReachNo, errProcessEnded}
	default:
		done <- delivery{access.ReachUnknown, errProcessEnded}
	}
	return done
}

func (p processPipe) close(ctx context.Context) error { return p.proc.Close(ctx) }
func (p processPipe) err() error                      { return p.proc.Err() }

// openStdio starts a process and finds out what it speaks (mcp.md 2.2).
func (t *target) openStdio(ctx context.Context, key processKey, d *gate.Dispatch, h hello) (link, *peer, *reply, error) {
	if err := t.life.mayStart(fmt.Sprintf("the process of server %q", t.server.ID), "an operator sees why with: rutile server show "+t.server.ID, key.life(), time.Now()); err != nil {
		return nil, nil, nil, err
	}
	begun := time.Now()
	ctx, done := t.starting(ctx)
	defer done()
	failed := func(err error) {
		if stillWanted(ctx) {
			t.life.failed(err, begun, time.Now())
		}
	}
	if t.shared() && t.server.Credential != nil {
		return nil, nil, nil, t.startError(errSharedCredential)
	}
	free, err := t.reserve(key.principal)
	if err != nil {
		return nil, nil, nil, err
	}
	opened := false
	defer func() { // also of a panic
		if !opened {
			free()
		}
	}()
	own, err := t.leased(ctx, d)
	if err != nil {
		return nil, nil, nil, err
	}
	l, err := t.start(ctx, key, own, h.asks(), free)
	if err != nil {
		failed(err)
		return nil, nil, nil, t.startError(err)
	}
	defer func() { // also of a panic: nobody else would end it
		if !opened && !l.over() {
			t.p.spawn("the end of a conversation", func() { l.close(context.Background()) })
		}
	}()
	if !l.holds(d) { // replaced since d was leased
		l.close(context.WithoutCancel(ctx))
		return nil, nil, nil, errEntryChanged
	}
	pr, rep, err := t.handshake(ctx, l, d, h)
	if err != nil {
		l.close(context.WithoutCancel(ctx))
		return nil, nil, nil, t.unspoken(ctx, key, l, err, failed)
	}
	t.life.started()
	switch {
	case pr.modern:
		l.asksNothing()
		t.learned(pr)
	case h.client == nil:
		t.learnedLegacy(pr)
	}
	opened = true
	return l, pr, rep, nil
}

// unspoken notes why a process that started was closed again before anybody could
// talk to it, and returns what the caller is told.
func (t *target) unspoken(ctx context.Context, key processKey, l *conversation, err error, failed func(error)) error {
	switch ended := l.pipe.err(); {
	case errors.Is(err, errStartTimeout):
		failed(err)
		return t.startError(errStartTimeout)
	case errors.Is(err, errProcessEnded) && ended != nil:
		failed(ended)
	case errors.Is(err, errProcessEnded):
		failed(err)
	case stillWanted(ctx): // it lives and refuses what it is told of this client
		t.life.refused(key.life(), err, time.Now())
	}
	return fmt.Errorf("starting server %q: %w", t.server.ID, err)
}

// probeTime is how long a process may take to answer server/discover before it
// is taken for one that only knows initialize.
const probeTime = 20 * time.Second

func (t *target) handshake(ctx context.Context, l *conversation, d *gate.Dispatch, h hello) (*peer, *reply, error) {
	if h.client != nil && !t.isModernOnly() {
		pr, rep, err := t.initialize(ctx, l, d, h)
		if err == nil {
			return pr, rep, l.send(ctx, d, []byte(initialized))
		}
		if access.CodeOf(err) != access.CodeUpstream {
			return nil, nil, err
		}
	}
	if known := t.current(); known == nil || known.modern {
		pctx, cancel := context.WithTimeout(ctx, min(probeTime, t.startTime()/2))
		pr, err := t.discover(pctx, l, d)
		cancel()
		if err == nil {
			return pr, nil, nil
		}
		if errors.Is(err, errProcessEnded) || ctx.Err() != nil {
			return nil, nil, err
		}
	}
	pr, rep, err := t.initialize(ctx, l, d, h)
	if err != nil {
		return nil, nil, err
	}
	return pr, rep, l.send(ctx, d, []byte(initialized))
}

func (t *target) isModernOnly() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.modernOnly
}

// start runs the command of the manifest: the only place a process comes from.
// own is its own to release, and free called once it is no more.
func (t *target) start(ctx context.Context, key processKey, own *gate.Dispatch, asks bool, free func()) (*conversation, error) {
	begun := time.Time{}
	defer func() {
		if begun.IsZero() { // it did not start, or panicked
			own.Release()
		}
	}()
	s := t.server.Transport.Stdio
	home, env := t.home(key)
	cfg := stdioConfig{
		Command: s.Command, Args: s.Args, Env: env, Dir: s.Dir, MaxLine: t.p.cfg.MaxResult, StartTimeout: t.startTime(),
		Confine: profileOf(s, home, t.p.cfg.Private),
		Log:     t.p.log.With("server", t.server.ID), Scrub: own.Scrub,
	}
	if own.Lease != nil {
		cfg.Secret, cfg.Files, cfg.Arguments = own.Lease.Variables, own.Lease.Contents, own.Lease.Arguments
	}
	t.p.log.Info("starting a server's process", "server", t.server.ID, "command", s.Command, "confined", cfg.Confine != nil)
	proc, err := startStdio(ctx, cfg)
	if err != nil {
		return nil, err
	}
	begun = time.Now()
	t.life.began(proc.report)
	l := t.newConversation(own, asks, errProcessEnded)
	l.pipe, l.free = processPipe{proc}, free
	t.p.spawn("the end of a process", func() {
		defer own.Release()
		if t.p.contain("the reader of a process", func() {
			for line := range proc.Messages() {
				l.take(line)
			}
		}) {
			proc.stop(errPanicked) // it would wait for its reader
		}
		close(l.ended)
		free()
		<-proc.Done()
		t.ended(key, l, "process", time.Since(begun))
		t.p.ended(Ended{Upstream: true, Pipe: true, Took: time.Since(begun)})
	})
	return l, nil
}
