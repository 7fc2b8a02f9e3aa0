package identity

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"rutile/internal/access"
)

// SessionState is what stands against a session; "" is nothing.
type SessionState string

// The states. Nothing passes in a session that has one. A quarantined one stands,
// so that whoever opened it cannot open another, until a person releases it; after
// one that was revoked or terminated a new one may be opened.
const (
	SessionQuarantined SessionState = "quarantined"
	SessionRevoked     SessionState = "revoked"
	SessionTerminated  SessionState = "terminated"
)

// Selection says which sessions: those that are all its members say; "" restricts
// nothing. The zero Selection selects none.
type Selection struct {
	ID      string
	Agent   string
	Subject string // "issuer|sub", as Family has it
	All     bool   // every session, where nothing else is said
}

// SubjectOf is how a Family and a Selection name a subject.
func SubjectOf(s access.Subject) string { return familySubject(s) }

// Archive is what is kept of sessions for longer than they live.
type Archive interface {
	// StateFamilies gives the sessions of sel the state to and returns those it
	// changed, in one transaction: of those that nothing stands against, and where to
	// ends a session also of those that are quarantined. owe makes the leaf each of
	// them owes, which is kept in the same transaction.
	StateFamilies(ctx context.Context, sel Selection, to SessionState, why string, owe func(Family) access.Owed) ([]Family, error)
	// ReleaseFamily takes the quarantine from a session; ok is false where it has none.
	ReleaseFamily(ctx context.Context, id string) (f Family, ok bool, err error)
	// Families returns sessions, newest first, whose ids are below before, where that
	// is not "", and at most limit; held only those that something stands against.
	Families(ctx context.Context, before string, limit int, held bool) ([]Family, error)
	// FamiliesOf returns the newest sessions of sel, at most limit, in whatever state.
	FamiliesOf(ctx context.Context, sel Selection, limit int) ([]Family, error)
}

// Sessions ends sessions, holds them and lets them go. It is safe for concurrent
// use.
type Sessions struct {
	store   Archive
	changed func() // what is remembered about verified tokens is useless

	mu      sync.Mutex
	refused atomic.Pointer[map[string]Family]
}

// maxHeld bounds how many sessions that something stands against are remembered;
// what is not is found in the store when a token is verified.
const maxHeld = 100_000

// NewSessions returns the sessions of a store. changed is called whenever what
// stands against some of them is another.
func NewSessions(ctx context.Context, store Archive, changed func()) (*Sessions, error) {
	if store == nil || changed == nil {
		return nil, errors.New("identity: sessions need a store and whom to tell")
	}
	s := &Sessions{store: store, changed: changed}
	s.refused.Store(&map[string]Family{})
	return s, s.Refresh(ctx)
}

// Refresh reads what other nodes changed.
func (s *Sessions) Refresh(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	held, err := s.store.Families(ctx, "", maxHeld, true)
	if err != nil {
		return fmt.Errorf("reading the sessions something stands against: %w", err)
	}
	next := make(map[string]Family, len(held))
	same := len(held) == len(*s.refused.Load())
	for _, f := range held {
		next[f.ID] = f
		same = same && (*s.refused.Load())[f.ID].State == f.State
	}
	if !same {
		s.refused.Store(&next)
		s.changed()
	}
	return nil
}

// Put gives the sessions of sel a state and returns those it changed. When it
// returns nothing passes in them, and the leaf that owe made of each is owed.
func (s *Sessions) Put(ctx context.Context, sel Selection, to SessionState, why string, owe func(Family) access.Owed) ([]Family, error) {
	if sel == (Selection{}) {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := s.store.StateFamilies(ctx, sel, to, why, owe)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	s.install(func(m map[string]Family) {
		for _, f := range list {
			m[f.ID] = f
		}
	})
	return list, nil
}

// Release takes the quarantine from a session. One that is not quarantined is a
// CodeConflict error.
func (s *Sessions) Release(ctx context.Context, id string) (Family, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok, err := s.store.ReleaseFamily(ctx, id)
	if err != nil {
		return f, err
	}
	if !ok {
		return f, access.Errorf(access.CodeConflict, "session %.64q is not quarantined: see rutile session list --held", id)
	}
	s.install(func(m map[string]Family) { delete(m, id) })
	return f, nil
}

// install makes a change known; s.mu is held.
func (s *Sessions) install(change func(map[string]Family)) {
	old := *s.refused.Load()
	next := make(map[string]Family, len(old)+1)
	for id, f := range old {
		next[id] = f
	}
	change(next)
	s.refused.Store(&next)
	s.changed()
}

// Refused reports what stands against a session, "" if nothing.
func (s *Sessions) Refused(id string) SessionState { return (*s.refused.Load())[id].State }

// List returns sessions, newest first: at most limit with ids below before, where
// that is not ""; held only those that something stands against.
func (s *Sessions) List(ctx context.Context, before string, limit int, held bool) ([]Family, error) {
	return s.store.Families(ctx, before, limit, held)
}

// Of returns the newest sessions of sel, at most limit, in whatever state.
func (s *Sessions) Of(ctx context.Context, sel Selection, limit int) ([]Family, error) {
	if sel == (Selection{}) {
		return nil, nil
	}
	return s.store.FamiliesOf(ctx, sel, limit)
}

// Open reports whether tokens of f may be accepted at a time.
func (f *Family) Open(at time.Time) bool { return f.State == "" && at.Before(f.Absolute) }
