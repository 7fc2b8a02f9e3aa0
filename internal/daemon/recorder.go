package daemon

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"rutile/internal/audit"
	"rutile/internal/gate"
)

// recorder is the evidence log as the gate uses it, observed: how long durable
// waits take, which leaf a span is about, and whether evidence could be kept
// lately.
type recorder struct {
	log  *audit.Log
	t    *telemetry
	lost atomic.Pointer[lapse] // the last that could not be kept, nil once one could
}

// lapse is a record that could not be kept.
type lapse struct {
	at  time.Time
	err error
}

// lapseCounts is how long a lapse speaks for the log while nothing else was
// recorded. Whoever sends no calls while we are not ready would otherwise never
// find out that we are again.
const lapseCounts = 10 * time.Second

// healthy returns why evidence cannot be kept, nil if it can. The log can live
// and yet take nothing: no room for another segment, no database for a key.
func (r *recorder) healthy() error {
	if err := r.log.Healthy(); err != nil {
		return err
	}
	if l := r.lost.Load(); l != nil && time.Since(l.at) < lapseCounts {
		return l.err
	}
	return nil
}

// kept observes one durable wait.
func (r *recorder) kept(ctx context.Context, from time.Time, ref audit.Ref, err error) {
	switch {
	case err == nil:
		if r.lost.Load() != nil {
			r.lost.Store(nil)
		}
		r.t.commit.Record(ctx, time.Since(from).Seconds())
		if r.t.tracer != nil {
			trace.SpanFromContext(ctx).SetAttributes(attribute.Int64("rutile.evidence.leaf", int64(ref.Index)))
		}
	case ctx.Err() == nil: // else it was the caller who gave up
		r.lost.Store(&lapse{time.Now(), err})
	}
}

// Intent records that a call is about to be dispatched.
func (r *recorder) Intent(ctx context.Context, i audit.Intent) (audit.Ref, error) {
	from := time.Now()
	ref, err := r.log.Intent(ctx, i)
	r.kept(ctx, from, ref, err)
	return ref, err
}

// Verdict records a decision after which nothing is dispatched.
func (r *recorder) Verdict(ctx context.Context, i audit.Intent) (audit.Ref, error) {
	from := time.Now()
	ref, err := r.log.Verdict(ctx, i)
	r.kept(ctx, from, ref, err)
	return ref, err
}

// Outcome records how a call ended.
func (r *recorder) Outcome(ctx context.Context, o audit.Outcome) (audit.Ref, error) {
	from := time.Now()
	ref, err := r.log.Outcome(ctx, o)
	r.kept(ctx, from, ref, err)
	return ref, err
}

// Listed records a list, behind the disk.
func (r *recorder) Listed(ctx context.Context, i audit.Intent) error {
	err := r.log.Listed(ctx, i)
	if err != nil && ctx.Err() == nil {
		r.lost.Store(&lapse{time.Now(), err})
	}
	return err
}

var _ gate.Evidence = (*recorder)(nil)
