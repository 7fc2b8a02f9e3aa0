package audit

import (
	"context"
	"time"

	"rutile/internal/access"
)

// maxListed bounds the leaves Listed has queued and nobody waits for.
const maxListed = 1024

// Intent records that a call is about to be dispatched. The caller MUST NOT
// dispatch unless the error is nil.
func (l *Log) Intent(ctx context.Context, i Intent) (Ref, error) {
	if i.Request == nil || i.Decision == nil {
		return Ref{}, access.Errorf(access.CodeEvidence, "recording an intent: the request or its decision is missing")
	}
	relaxed := l.relaxed(&i)
	e, err := l.scribe.call(ctx, typeIntent, &i, relaxed)
	if err != nil {
		return Ref{}, evidence("recording the intent", err)
	}
	ref, err := l.submit(ctx, e)
	if err == nil {
		l.mu.Lock()
		l.calls[ref.Index] = openCall{since: i.Request.At, relaxed: relaxed}
		l.mu.Unlock()
	}
	return ref, err
}

// openCall is a call whose intent has no outcome yet.
type openCall struct {
	since   time.Time
	relaxed bool // its outcome need not be awaited either
}

// OpenCalls returns how many calls of this run have an intent and no outcome,
// and since when the oldest; those of earlier runs were closed at the start.
func (l *Log) OpenCalls() (n int, oldest time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.calls {
		if oldest.IsZero() || c.since.Before(oldest) {
			oldest = c.since
		}
	}
	return len(l.calls), oldest
}

// relaxed reports whether the sync of i's leaves need not be awaited: calls of
// known tools of tier 0, and only where the configuration says so.
func (l *Log) relaxed(i *Intent) bool {
	return l.cfg.Durability == DurabilityRelaxed && i.Request.Kind == access.KindTool &&
		i.Decision.Tier == 0 && i.Decision.Tool != "" && i.Decision.Allowed()
}

// Verdict records a decision after which nothing is dispatched. The caller MUST
// NOT return a refusal unless the error is nil.
func (l *Log) Verdict(ctx context.Context, i Intent) (Ref, error) {
	if i.Request == nil || i.Decision == nil {
		return Ref{}, access.Errorf(access.CodeEvidence, "recording a verdict: the request or its decision is missing")
	}
	e, err := l.scribe.call(ctx, typeVerdict, &i, false)
	if err != nil {
		return Ref{}, evidence("recording the verdict", err)
	}
	return l.submit(ctx, e)
}

// Listed records a permitted list, ping or discovery as a verdict without
// waiting for the disk. It waits while maxListed of them are on their way;
// nothing is dropped.
func (l *Log) Listed(ctx context.Context, i Intent) error {
	if i.Request == nil || i.Decision == nil {
		return access.Errorf(access.CodeEvidence, "recording a list: the request or its decision is missing")
	}
	if err := l.Healthy(); err != nil {
		return err
	}
	select {
	case l.listed <- struct{}{}:
	case <-l.died:
		return l.Healthy()
	case <-ctx.Done():
		return evidence("recording a list", ctx.Err())
	}
	e, err := l.scribe.call(ctx, typeVerdict, &i, false)
	if err != nil {
		<-l.listed
		return evidence("recording a list", err)
	}
	e.listed = true
	if !l.queue.put(e) {
		<-l.listed
		return l.stopped()
	}
	return nil
}

// Outcome records how a dispatched call ended. The caller MUST NOT release the
// result unless the error is nil.
func (l *Log) Outcome(ctx context.Context, o Outcome) (Ref, error) {
	if o.Request == nil || o.Status == "" {
		return Ref{}, access.Errorf(access.CodeEvidence, "recording an outcome: the request or the status is missing")
	}
	l.mu.Lock()
	relaxed := l.calls[o.Intent.Index].relaxed
	l.mu.Unlock()
	e, err := l.scribe.outcome(ctx, &o, relaxed)
	if err != nil {
		return Ref{}, evidence("recording the outcome", err)
	}
	ref, err := l.submit(ctx, e)
	if err == nil {
		l.mu.Lock()
		delete(l.calls, o.Intent.Index)
		l.mu.Unlock()
	}
	return ref, err
}

// Admin records a change, durably, and has it sealed at once.
func (l *Log) Admin(ctx context.Context, a Admin) (Ref, error) {
	e, err := l.scribe.admin(ctx, &a)
	if err != nil {
		return Ref{}, evidence("recording the change", err)
	}
	return l.submit(ctx, e)
}

// Loss records that something could not be recorded.
func (l *Log) Loss(ctx context.Context, loss Loss) (Ref, error) {
	e, err := l.scribe.loss(ctx, &loss)
	if err != nil {
		return Ref{}, evidence("recording a loss", err)
	}
	return l.submit(ctx, e)
}
