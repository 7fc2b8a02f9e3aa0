// Package revocation keeps what was revoked, in order, and says of each thing at which
// position it was revoked last.
//
// A position (epoch) is one of the one append-only log (access.md 5.1). A token carries
// the position its issuer had seen; one with a smaller position than that of the last
// revocation of its agent, person, session or of everything MUST be refused. So what
// was minted from an old view is refused too, and signing in anew after a revocation
// works. An entry stands from the moment Begin returns; Finish keeps what it came to.
// The package ends nothing: package admin does.
package revocation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rutile/internal/access"
)

// Kind says what an entry is about.
type Kind string

// The kinds. Agent versions and instances are not told apart here, so they have none.
const (
	Tenant     Kind = "tenant" // everything at once; its id is Everything
	User       Kind = "user"   // "issuer|id"
	Agent      Kind = "agent"
	Session    Kind = "session"
	Grant      Kind = "grant" // and what was carved out of it
	Server     Kind = "server"
	Tool       Kind = "tool" // "server/name", perhaps with "@digest"
	Credential Kind = "credential"
	Approver   Kind = "approver" // "user:id" or "local:id"
)

// Everything is the id of the only Tenant.
const Everything = "default"

// Kinds returns the kinds, the widest first.
func Kinds() []Kind {
	return []Kind{Tenant, User, Agent, Session, Grant, Server, Tool, Credential, Approver}
}

// Target is what is revoked.
type Target struct {
	Kind Kind   `json:"kind"`
	ID   string `json:"id"`
}

// Entry is one revocation.
type Entry struct {
	ID       string // "rev_…"
	Position uint64
	Target   Target
	Cause    string
	Actor    string
	Node     string // that carries it out
	At       time.Time
	Done     bool // what it ends has ended, so that other nodes can cut what they run
	Receipt  []byte
}

// Node is one gateway of those that share a database.
type Node struct {
	ID  string
	Age time.Duration // since it was heard of, by the database's clock
}

// Query selects entries.
type Query struct {
	After      uint64 // positions above it, the oldest first
	Newest     bool   // the newest first instead, below Before where that is not 0
	Before     uint64
	Unfinished bool // only those without a receipt
	Limit      int
}

// Store keeps the log. Positions are given in the order of commits, without a gap.
type Store interface {
	// BeginRevocation appends e and returns it with its position. owe makes the leaf
	// it owes, which is kept in the same transaction.
	BeginRevocation(ctx context.Context, e Entry, owe func(Entry) access.Owed) (Entry, error)
	// RevocationDone says that what an entry ends has ended where it was begun.
	RevocationDone(ctx context.Context, id string) error
	// FinishRevocation keeps the receipt of an entry, with the leaf that owes.
	FinishRevocation(ctx context.Context, id string, receipt []byte, owed access.Owed) error
	// Revocations returns entries.
	Revocations(ctx context.Context, q Query) ([]Entry, error)
	// Revocation returns one entry by its id; ok is false if there is none.
	Revocation(ctx context.Context, id string) (e Entry, ok bool, err error)
}

// Log is what this node knows of the log. It is safe for concurrent use.
type Log struct {
	store Store

	mu    sync.Mutex
	todo  []Entry // done, and not handed to Refresh's caller yet
	known atomic.Pointer[view]
}

// view is one position and what was revoked up to it.
type view struct {
	position uint64
	last     map[Target]uint64
	open     map[string]uint64 // entries that are not done, by id: their position
}

// page is how many entries are read at once.
const page = 1000

// NewLog reads the log.
func NewLog(ctx context.Context, store Store) (*Log, error) {
	if store == nil {
		return nil, errors.New("revocation: a store is required")
	}
	l := &Log{store: store}
	l.known.Store(&view{last: map[Target]uint64{}, open: map[string]uint64{}})
	if err := l.refresh(ctx); err != nil {
		return nil, err
	}
	// Nothing runs here yet, but whoever has no receipt yet may wait for this node's word.
	l.todo = slices.DeleteFunc(l.todo, func(e Entry) bool { return len(e.Receipt) > 0 })
	return l, nil
}

// Position is that of the newest revocation known here: what a token made now carries.
func (l *Log) Position() uint64 { return l.known.Load().position }

// Last returns the position of the last revocation of any of the targets, 0 for none.
func (l *Log) Last(targets ...Target) uint64 {
	v := l.known.Load()
	var n uint64
	for _, t := range targets {
		if t.ID != "" {
			n = max(n, v.last[t])
		}
	}
	return n
}

// Since returns the position of the last revocation that ends tokens of an agent, a
// person ("issuer|id", "" for none) and a session. It reads memory only.
func (l *Log) Since(agent, subject, session string) uint64 {
	return l.Last(Target{Tenant, Everything}, Target{Agent, agent}, Target{User, subject}, Target{Session, session})
}

// Begin appends an entry. When it returns, tokens from before are refused here.
func (l *Log) Begin(ctx context.Context, e Entry, owe func(Entry) access.Owed) (Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, err := l.store.BeginRevocation(ctx, e, owe)
	if err != nil {
		return e, err
	}
	if err := l.refresh(context.WithoutCancel(ctx)); err != nil { // others may lie before it
		// It stands all the same: what is known of it is put in, and the position is not
		// moved, so that what lies before is read later.
		l.put([]Entry{e}, l.known.Load().position)
	}
	return e, nil
}

// Finish keeps the receipt of an entry, or amends it.
func (l *Log) Finish(ctx context.Context, id string, receipt []byte, owed access.Owed) error {
	return l.store.FinishRevocation(ctx, id, receipt, owed)
}

// Unfinished returns the entries without a receipt, the oldest first.
func (l *Log) Unfinished(ctx context.Context) ([]Entry, error) {
	return l.store.Revocations(ctx, Query{Unfinished: true, Limit: page})
}

// Done says that what an entry ends has ended here, so that other nodes carry it out.
func (l *Log) Done(ctx context.Context, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.store.RevocationDone(ctx, id); err != nil {
		return err
	}
	old := l.known.Load()
	if _, open := old.open[id]; open {
		next := &view{old.position, old.last, maps.Clone(old.open)}
		delete(next.open, id)
		l.known.Store(next)
	}
	return nil
}

// Refresh reads what other nodes appended. It returns the entries that are done since
// the last time, each once.
func (l *Log) Refresh(ctx context.Context) (done []Entry, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refresh(ctx); err != nil {
		return nil, err
	}
	done, l.todo = l.todo, nil
	return done, nil
}

// Again hands entries out once more: they could not be carried out.
func (l *Log) Again(done []Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.todo = append(done, l.todo...)
}

func (l *Log) refresh(ctx context.Context) error {
	var list []Entry
	for id := range l.known.Load().open {
		switch e, ok, err := l.store.Revocation(ctx, id); {
		case err != nil:
			return fmt.Errorf("reading what was revoked: %w", err)
		case ok && e.Done:
			list = append(list, e)
		}
	}
	position := l.known.Load().position
	for {
		more, err := l.store.Revocations(ctx, Query{After: position, Limit: page})
		if err != nil {
			return fmt.Errorf("reading what was revoked: %w", err)
		}
		list = append(list, more...)
		if len(more) > 0 {
			position = more[len(more)-1].Position
		}
		if len(more) < page {
			break
		}
	}
	for _, e := range list {
		if e.Done {
			l.todo = append(l.todo, e)
		}
	}
	if len(list) > 0 {
		l.put(list, position)
	}
	return nil
}

// put makes entries known; l.mu is held.
func (l *Log) put(list []Entry, position uint64) {
	old := l.known.Load()
	next := &view{max(old.position, position), maps.Clone(old.last), maps.Clone(old.open)}
	for _, e := range list {
		next.last[e.Target] = max(next.last[e.Target], e.Position)
		if e.Done {
			delete(next.open, e.ID)
		} else {
			next.open[e.ID] = e.Position
		}
	}
	l.known.Store(next)
}

// Entry returns one entry by its id; none is a CodeNotFound error.
func (l *Log) Entry(ctx context.Context, id string) (Entry, error) {
	e, ok, err := l.store.Revocation(ctx, id)
	if err == nil && !ok {
		err = access.Errorf(access.CodeNotFound, "there is no revocation %.64q: see rutile revoke list", id)
	}
	return e, err
}

// List returns entries, newest first, below a position where that is not 0.
func (l *Log) List(ctx context.Context, before uint64, limit int) ([]Entry, error) {
	return l.store.Revocations(ctx, Query{Newest: true, Before: before, Limit: limit})
}
