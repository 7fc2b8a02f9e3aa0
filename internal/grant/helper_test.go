package grant_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/rawjson"
	"rutile/internal/store"
	"rutile/internal/store/storetest"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// clock is what the time is in a test.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

// evidence notes events, and can fail.
type evidence struct {
	mu     sync.Mutex
	events []grant.Event
	fail   func(grant.Event) error
	onAdd  func(grant.Event)
}

func (e *evidence) Record(ctx context.Context, events []grant.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range events {
		if e.fail != nil {
			if err := e.fail(x); err != nil {
				return err
			}
		}
		if e.onAdd != nil {
			e.onAdd(x)
		}
		e.events = append(e.events, x)
	}
	return ctx.Err()
}

// Settle notes what the store was given with the change.
func (e *evidence) Settle(ctx context.Context, owed []access.Owed) error {
	events := make([]grant.Event, 0, len(owed))
	for _, o := range owed {
		events = append(events, grant.Event{Actor: o.Actor, Verb: o.Verb, Kind: o.Kind, Object: o.Object, Before: o.Before, After: o.After, Reason: o.Reason, Detail: o.Detail})
	}
	return e.Record(ctx, events)
}

// said is "verb Kind" of every event after the first n.
func (e *evidence) said(n int) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := []string{}
	for _, x := range e.events[n:] {
		out = append(out, x.Verb+" "+x.Kind)
	}
	return out
}

func (e *evidence) len() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.events)
}

// faulty is the real store with accidents.
type faulty struct {
	*store.Store
	mu     sync.Mutex
	commit func(grant.Batch) error // before the commit
	after  func(grant.Batch) error // after it took effect
	load   func(grant.Live)        // between reading and returning
}

func (f *faulty) hooks() (before, after func(grant.Batch) error, load func(grant.Live)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.commit, f.after, f.load
}

func (f *faulty) set(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *faulty) CommitGrants(ctx context.Context, b grant.Batch) error {
	before, after, _ := f.hooks()
	if before != nil {
		if err := before(b); err != nil {
			return err
		}
	}
	err := f.Store.CommitGrants(ctx, b)
	if err == nil && after != nil {
		return after(b)
	}
	return err
}

func (f *faulty) LoadGrants(ctx context.Context) (grant.Live, error) {
	l, err := f.Store.LoadGrants(ctx)
	if _, _, load := f.hooks(); load != nil {
		load(l)
	}
	return l, err
}

// sealed marks what it sealed with its purpose.
type sealed struct{}

func (sealed) Seal(_ context.Context, purpose string, plain []byte) ([]byte, error) {
	return []byte("sealed for " + purpose + ":" + string(plain)), nil
}

func (sealed) Open(_ context.Context, purpose string, b []byte) ([]byte, error) {
	plain, ok := bytes.CutPrefix(b, []byte("sealed for "+purpose+":"))
	if !ok {
		return nil, errors.New("it was sealed for something else")
	}
	return plain, nil
}

// rig is a Broker over a real store.
type rig struct {
	*grant.Broker
	t     testing.TB
	clock *clock
	log   *evidence
	store *faulty
}

func newRig(t testing.TB) *rig {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{DSN: "sqlite", Dir: storetest.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{t: t, clock: &clock{at: noon}, log: &evidence{}, store: &faulty{Store: s}}
	r.Broker = r.boot("n1", "boot-1")
	return r
}

// boot starts another Broker on the same store.
func (r *rig) boot(node, boot string) *grant.Broker {
	r.t.Helper()
	b, err := grant.New(r.t.Context(), grant.Config{Node: node, Boot: boot}, r.store, r.log, sealed{}, r.clock.now)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

func args(t testing.TB, text string) rawjson.Value {
	t.Helper()
	v, err := rawjson.Parse([]byte(text), rawjson.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func limits(t testing.TB, text string) grant.Constraints {
	t.Helper()
	c, err := grant.ParseConstraints([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var (
	bot     = grant.Party{Agent: "bot", Issuer: "https://idp", Subject: "zoe"}
	other   = grant.Party{Agent: "other", Issuer: "https://idp", Subject: "zoe"}
	deploy  = grant.Target{Server: "ops", Kind: access.KindTool, Name: "deploy", Digest: "sha256:1", Tier: 2}
	oneYes  = grant.Rule{Quorum: 1}
	deploys = "deploys"
)

// ask is for one deployment, by an entitlement with a rule.
func (r *rig) ask(rule grant.Rule, change ...func(*grant.Ask)) grant.Ask {
	a := grant.Ask{Call: grant.Call{Party: bot, Session: "ses_1", Target: deploy, Args: args(r.t, `{"to":"prod","n":1}`), At: r.clock.now()},
		Entitlement: &grant.Entitlement{ID: deploys, Approve: rule, Ceiling: grant.Ceiling{Seconds: 600, Uses: 5}}}
	for _, f := range change {
		f(&a)
	}
	return a
}

func (r *rig) open(a grant.Ask) grant.Request {
	r.t.Helper()
	q, err := r.Open(r.t.Context(), a)
	if err != nil {
		r.t.Fatalf("opening: %v", err)
	}
	return q
}

func (r *rig) approve(id, by string) grant.Request {
	r.t.Helper()
	q, err := r.Approve(r.t.Context(), id, grant.Answer{By: by, Method: "api"})
	if err != nil {
		r.t.Fatalf("approving: %v", err)
	}
	return q
}

// create makes a grant without a request.
func (r *rig) create(change ...func(*grant.Spec)) grant.Grant {
	r.t.Helper()
	s := grant.Spec{Party: bot, Target: deploy, Uses: 3, Life: time.Hour, By: "user:ann", Method: "api"}
	for _, f := range change {
		f(&s)
	}
	g, err := r.Create(r.t.Context(), s)
	if err != nil {
		r.t.Fatalf("creating: %v", err)
	}
	return g
}

func (r *rig) task(p grant.Party) grant.Task {
	r.t.Helper()
	k, err := r.OpenTask(r.t.Context(), p, "ses_1", p.Actor(), grant.TaskSpec{Purpose: "ship it"})
	if err != nil {
		r.t.Fatalf("opening a task: %v", err)
	}
	return k
}

func (r *rig) grant(id string) grant.Grant {
	r.t.Helper()
	g, ok, err := r.Archive().Grant(r.t.Context(), id)
	if err != nil || !ok {
		r.t.Fatalf("grant %s: %t, %v", id, ok, err)
	}
	return g
}

func (r *rig) request(id string) grant.Request {
	r.t.Helper()
	q, ok, err := r.Archive().Request(r.t.Context(), id)
	if err != nil || !ok {
		r.t.Fatalf("request %s: %t, %v", id, ok, err)
	}
	return q
}

// covering is the ids of what covers a call, in order.
func (r *rig) covering(change ...func(*grant.Call)) []string {
	c := r.ask(oneYes).Call
	for _, f := range change {
		f(&c)
	}
	ids := []string{}
	for _, g := range r.Covering(&c) {
		ids = append(ids, g.ID)
	}
	return ids
}

// sweep sweeps while the approved definition is digest.
func (r *rig) sweep(digest string) {
	r.t.Helper()
	if err := r.Sweep(r.t.Context(), grant.Standing{Digest: func(grant.Target) string { return digest }}); err != nil {
		r.t.Fatalf("sweeping: %v", err)
	}
}

func (r *rig) reserve(id string) grant.Use {
	r.t.Helper()
	u, err := r.Reserve(r.t.Context(), id, access.NewID(access.PrefixDecision), args(r.t, `{"to":"prod","n":1}`))
	if err != nil {
		r.t.Fatalf("reserving: %v", err)
	}
	return u
}

func (r *rig) settle(u grant.Use, to grant.State) {
	r.t.Helper()
	if err := r.Settle(r.t.Context(), u, to); err != nil {
		r.t.Fatalf("settling: %v", err)
	}
}

func equal[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func hasCode(t testing.TB, what string, err error, code access.Code, words ...string) {
	t.Helper()
	if access.CodeOf(err) != code {
		t.Errorf("%s: code %q, want %q: %v", what, access.CodeOf(err), code, err)
		return
	}
	for _, w := range words {
		if !strings.Contains(fmt.Sprint(err), w) {
			t.Errorf("%s: %q is not in: %v", what, w, err)
		}
	}
}

func hasWords(t testing.TB, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in %q", w, text)
		}
	}
}
