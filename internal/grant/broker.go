package grant

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"rutile/internal/access"
)

// Config configures a Broker.
type Config struct {
	Node string // among those that share the store
	Boot string // of this process; uses reserved in another one nobody will settle
	// Told, if it is set, is told of changes once they stand. It MUST NOT wait or
	// come back to the Broker.
	Told func(events []Event)
}

// Bounds of what agents can make us keep.
const (
	maxWaiting   = 64  // pending requests of one party
	maxHeld      = 256 // live grants of one party
	maxTasks     = 16  // open tasks of one party
	maxArguments = 256 << 10
	maxWords     = 1000 // bytes of a purpose or a reason
	maxTicket    = 128
	maxTaskLife  = 24 * time.Hour
)

// Broker changes requests, grants, uses and tasks. It is safe for concurrent use.
type Broker struct {
	cfg   Config
	store Store
	rec   Recorder
	seal  access.Sealer
	clock func() time.Time

	live    atomic.Pointer[live]
	running running
	mu      sync.Mutex // serialises writers of this process

	yeses  yeses                // under mu
	looked map[string]time.Time // what was held to an entitlement of when; under mu

	waitMu  sync.Mutex
	waiters map[*waiter]struct{}
}

// New loads what is live and settles as unknown what an earlier process left
// reserved.
func New(ctx context.Context, cfg Config, store Store, rec Recorder, seal access.Sealer, now func() time.Time) (*Broker, error) {
	if store == nil || rec == nil || seal == nil || now == nil || cfg.Node == "" || cfg.Boot == "" {
		return nil, errors.New("grant: a dependency is missing")
	}
	b := &Broker{cfg: cfg, store: store, rec: rec, seal: seal, clock: now, waiters: map[*waiter]struct{}{}, yeses: yeses{}}
	if _, err := store.AbandonUses(ctx, cfg.Node, cfg.Boot, b.now()); err != nil {
		return nil, fmt.Errorf("settling the uses of an earlier start: %w", err)
	}
	if err := b.Refresh(ctx); err != nil {
		return nil, err
	}
	return b, b.exhaust(ctx)
}

// Refresh reads what other nodes changed.
func (b *Broker) Refresh(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refresh(ctx)
}

func (b *Broker) refresh(ctx context.Context) error {
	l, err := b.store.LoadGrants(ctx)
	if err != nil {
		return fmt.Errorf("loading the grants: %w", err)
	}
	b.install(newLive(l, b.live.Load()))
	return nil
}

// now is the time changes carry: what every store keeps exactly.
func (b *Broker) now() time.Time { return b.clock().UTC().Truncate(time.Millisecond) }

// lookAgain is after how long who waits looks whether another node had an answer.
const lookAgain = 2 * time.Second

// waiter waits for the answer to one request.
type waiter struct {
	id       string
	answered chan struct{}
}

// install makes v what decisions find, and tells who waits for what is answered.
func (b *Broker) install(v *live) {
	b.live.Store(v)
	b.waitMu.Lock()
	defer b.waitMu.Unlock()
	for w := range b.waiters {
		if v.waits.get(w.id) == nil {
			close(w.answered)
			delete(b.waiters, w)
		}
	}
}

func (b *Broker) await(id string) *waiter {
	w := &waiter{id, make(chan struct{})}
	b.waitMu.Lock()
	defer b.waitMu.Unlock()
	b.waiters[w] = struct{}{}
	return w
}

func (b *Broker) leave(w *waiter) {
	b.waitMu.Lock()
	defer b.waitMu.Unlock()
	delete(b.waiters, w)
}

// Await returns a request once it is no longer pending, or as it is when ctx
// ends.
func (b *Broker) Await(ctx context.Context, id string) (Request, error) {
	for {
		w := b.await(id) // before it is read, so that no answer is missed
		r, ok, err := b.store.Request(context.WithoutCancel(ctx), id)
		if err == nil && !ok {
			err = errGone("request", id)
		}
		if err != nil || r.State != RequestPending {
			b.leave(w)
			return r, err
		}
		select {
		case <-w.answered:
		case <-time.After(lookAgain):
			b.leave(w)
		case <-ctx.Done():
			b.leave(w)
			return r, nil
		}
	}
}

// Covering returns the grants in force for c, whose constraints its arguments
// meet, in the order they are tried: the narrowest first (docs/grants.md). It
// asks no store.
func (b *Broker) Covering(c *Call) []Grant {
	under := ""
	if c.Use != "" {
		u, ok := b.running.find(c.Use)
		if !ok {
			return nil // what it ran under is over
		}
		if u.Grant == "" {
			return nil // it runs under none
		}
		under = u.Grant
	}
	return b.live.Load().covering(c, under)
}

// Archive reads what was ever kept.
func (b *Broker) Archive() Archive { return b.store }

// widen makes a change that lets somebody do more: its evidence is durable before
// it takes effect. Where it does not take effect after all, that is recorded too.
func (b *Broker) widen(ctx context.Context, batch Batch, events []Event) error {
	err := b.rec.Record(ctx, events)
	ctx = context.WithoutCancel(ctx) // what is recorded is done, or recorded as not done
	if err != nil {
		_ = b.rec.Record(ctx, void(events)) // some of them may be kept; the error says that not all are
		return err
	}
	if err = b.store.CommitGrants(ctx, batch); err == nil {
		b.install(b.live.Load().with(batch))
		b.tell(events)
		return nil
	}
	lost := access.CodeOf(err) != access.CodeConflict // perhaps only the answer is
	switch rerr := b.refresh(ctx); {
	case rerr != nil && lost:
		return errors.Join(err, rerr) // nobody knows; evidence says the wider of the two
	case rerr != nil:
		err = errors.Join(err, rerr)
	case lost && b.live.Load().has(batch):
		b.tell(events)
		return nil
	}
	return errors.Join(err, b.rec.Record(ctx, void(events)))
}

// void is what evidence says where events did not take effect.
func void(events []Event) []Event {
	out := make([]Event, len(events))
	for i, e := range events {
		out[i] = Event{Actor: system, Verb: "void", Kind: e.Kind, Object: e.Object, Reason: e.Verb + " did not take effect"}
	}
	return out
}

// narrow makes a change that lets somebody do less: it takes effect first, and
// stands even if it cannot be recorded, which is an error all the same. Its leaves
// are kept with it and written as soon as they can be.
func (b *Broker) narrow(ctx context.Context, batch Batch, events []Event) error {
	var err error
	if batch.Owed, err = b.owed(events); err != nil {
		return err
	}
	err = b.store.CommitGrants(ctx, batch)
	if access.CodeOf(err) == access.CodeConflict {
		if rerr := b.refresh(ctx); rerr != nil {
			return errors.Join(err, rerr)
		}
		return raced{err}
	}
	if err != nil {
		return err
	}
	b.install(b.live.Load().with(batch))
	b.tell(events)
	return b.rec.Settle(context.WithoutCancel(ctx), batch.Owed)
}

// owed is what evidence is to say of events.
func (b *Broker) owed(events []Event) ([]access.Owed, error) {
	id := access.NewID(access.PrefixChange)
	out := make([]access.Owed, 0, len(events))
	for _, e := range events {
		detail, err := json.Marshal(e.Detail)
		if err != nil {
			return nil, fmt.Errorf("recording a grant: %w", err)
		}
		out = append(out, access.Owed{ID: id, Node: b.cfg.Node, Actor: e.Actor, Verb: e.Verb, Kind: e.Kind, Object: e.Object, Before: e.Before, After: e.After, Reason: e.Reason, Detail: detail})
	}
	return out, nil
}

func (b *Broker) tell(events []Event) {
	if b.cfg.Told != nil {
		b.cfg.Told(events)
	}
}

// raced says that the store had another state of what was to change.
type raced struct{ error }

func (r raced) Unwrap() error { return r.error }

// again runs f anew where somebody was faster, for instance a call that took the
// last use: what narrows is not given up for that.
func again[T any](f func() (T, error)) (T, error) {
	const attempts = 4
	for n := 1; ; n++ {
		v, err := f()
		if r := (raced{}); n == attempts || !errors.As(err, &r) {
			return v, err
		}
	}
}

const system = "system"

// digestOf identifies an object in evidence.
func digestOf(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return "" // none of ours
	}
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func event(actor, verb, kind, object string, before, after any, why string) Event {
	e := Event{Actor: actor, Verb: verb, Kind: kind, Object: object, After: digestOf(after), Reason: why, Detail: after}
	if before != nil {
		e.Before = digestOf(before)
	}
	return e
}
