package credential

import (
	"context"
	"fmt"
	"sync"
	"time"

	"rutile/internal/access"
)

// Ended says what ending a credential came to.
type Ended struct {
	Revoked int      `json:"revoked"`        // that were minted, or connected by people, and are revoked at their issuer
	Left    []string `json:"left,omitempty"` // what could not be revoked so far, and how long it is valid
}

// EndTime bounds how long End waits. What is not revoked by then is tried further
// in the background, within the bounds of revoking.
const EndTime = 15 * time.Second

// End revokes all that was minted of a credential here and is still alive, what
// calls are using too, and lets go of what is kept. Each is an event: revoke, or
// revoke-failed with how long it is valid. It MUST be called after the credential
// is not declared any more; what is being minted meanwhile is revoked then.
func (m *Mint) End(ctx context.Context, credential, by string) Ended {
	alive := m.alive(credential) // before what is kept is let go of: it is counted too
	m.Forget(credential, access.Subject{})
	ctx, cancel := context.WithTimeout(ctx, EndTime)
	defer cancel()
	var mu sync.Mutex
	var out Ended
	waiting := map[*opened]bool{}
	done := make(chan struct{})
	var work sync.WaitGroup
	for _, o := range alive {
		waiting[o] = true
	}
	work.Add(len(alive))
	for _, o := range alive {
		m.revoker.end(o, by, func(why string) {
			mu.Lock()
			defer mu.Unlock()
			delete(waiting, o)
			if why == "" {
				out.Revoked++
			} else {
				out.Left = append(out.Left, o.left(why))
			}
			work.Done()
		})
	}
	go func() { work.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
	mu.Lock()
	defer mu.Unlock()
	said := Ended{out.Revoked, append([]string(nil), out.Left...)}
	for o := range waiting {
		said.Left = append(said.Left, o.left("its issuer is asked again"))
	}
	return said
}

func (o *opened) left(why string) string {
	return fmt.Sprintf("version %s for server %s: %s; it is valid until: %s", o.minted.Version, o.server, why, until(o.minted.Expires))
}

// alive returns what was minted of a credential and is in memory yet, held.
func (m *Mint) alive(credential string) []*opened {
	m.liveMu.Lock()
	defer m.liveMu.Unlock()
	var out []*opened
	for o := range m.live {
		if o.source.ID == credential && o.hold() {
			out = append(out, o)
		}
	}
	return out
}

// born and gone keep the list of what is alive.
func (m *Mint) born(o *opened) {
	m.liveMu.Lock()
	defer m.liveMu.Unlock()
	m.live[o] = true
}

func (m *Mint) gone(o *opened) {
	m.liveMu.Lock()
	defer m.liveMu.Unlock()
	delete(m.live, o)
}

// Sweep lets go of what will not be used again: what ends, and what was minted of
// a credential, or with a seed, that was changed or removed since, here or by
// another node. The latter is revoked.
func (m *Mint) Sweep() {
	now := m.cfg.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, h := range m.kept {
		s, declared := m.cfg.Sources(k.credential)
		stale := !declared || m.rev(&s) != k.rev
		if stale {
			h.open.ends.Store(true)
		}
		if stale || !now.Before(h.until) {
			m.drop(k, h)
		}
	}
}

// stands reports whether a source is declared as it was when n was decided.
func (m *Mint) stands(n Need) bool {
	s, ok := m.cfg.Sources(n.Source.ID)
	return ok && s.digest() == n.Source.digest()
}
