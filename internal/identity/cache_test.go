package identity_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/identity"
)

// warm returns a token that stands in the cache.
func (w *world) warm() identity.Token {
	w.t.Helper()
	tok := w.token()
	if _, err := w.Verify(w.t.Context(), tok.Value, files); err != nil {
		w.t.Fatal(err)
	}
	return tok
}

// refused checks that a token is not accepted.
func (w *world) refused(tok identity.Token, when string) {
	w.t.Helper()
	who, err := w.Verify(w.t.Context(), tok.Value, files)
	if problem(err) != identity.ProblemInvalid || who != (access.Identity{}) {
		w.t.Errorf("%s: %v %v", when, who, err)
	}
}

func TestCachedTokenExpires(t *testing.T) {
	w := newWorld(t)
	tok := w.warm()
	w.clock.advance(6 * time.Minute)
	if _, err := w.Verify(t.Context(), tok.Value, files); err != nil {
		t.Errorf("within the skew: %v", err)
	}
	w.clock.advance(time.Second)
	w.refused(tok, "expired by 61 s while cached")
}

func TestCachedTokenIsRefusedWhenTheClockMovesBack(t *testing.T) {
	w := newWorld(t)
	tok := w.warm()
	w.clock.advance(-time.Minute)
	if _, err := w.Verify(t.Context(), tok.Value, files); err != nil {
		t.Errorf("within the skew: %v", err)
	}
	w.clock.advance(-time.Second)
	w.refused(tok, "61 s before it was issued")
	w.clock.advance(62 * time.Second)
	if _, err := w.Verify(t.Context(), tok.Value, files); err != nil {
		t.Errorf("when the clock is right again: %v", err)
	}
}

func TestRemovedKeyEndsCachedTokens(t *testing.T) {
	w := newWorld(t)
	tok := w.warm()
	w.agents.set("release-bot", newEd25519(t))
	w.refused(tok, "the key that opened the session was removed")
	w.agents.set("release-bot")
	w.refused(tok, "all keys were removed")
	w.agents.set("release-bot", w.key)
	if _, err := w.Verify(t.Context(), tok.Value, files); err != nil {
		t.Errorf("the key is back: %v", err)
	}
}

// TestSuspendedAgentIsRefusedFromTheCache: also where nobody announced the
// change.
func TestSuspendedAgentIsRefusedFromTheCache(t *testing.T) {
	w := newWorld(t)
	tok := w.warm()
	w.agents.mu.Lock()
	w.agents.refused["release-bot"] = access.Errorf(access.CodeDenied, "agent release-bot is suspended")
	w.agents.mu.Unlock()
	w.refused(tok, "suspended")
	_, err := w.Verify(t.Context(), tok.Value, files)
	if b := (err).(*identity.BearerError); b.Agent != "release-bot" {
		t.Errorf("the refusal is held against %q", b.Agent)
	}
}

func TestInvalidateEndsCachedTokens(t *testing.T) {
	w := newWorld(t)
	tok := w.warm()
	w.store.change(tok.Session, func(f *identity.Family) { f.Absolute = w.clock.now() })
	if _, err := w.Verify(t.Context(), tok.Value, files); err != nil {
		t.Fatalf("the token was not cached, so this test shows nothing: %v", err)
	}
	w.Invalidate()
	w.refused(tok, "the session was ended and the cache invalidated")
}

// TestVerificationUnderOldAgentsIsNotRemembered: agents change while a token is
// being verified; what was found is not used again.
func TestVerificationUnderOldAgentsIsNotRemembered(t *testing.T) {
	w := newWorld(t)
	tok := w.token()
	during := &changing{memory: w.store}
	a, err := identity.New(t.Context(), w.cfg, during, w.sealer, w.agents, known{files: true}, &w.revoked)
	if err != nil {
		t.Fatal(err)
	}
	during.then = func() { w.agents.set("release-bot", newEd25519(t)) }
	w.Authority = a
	if _, err := a.Verify(t.Context(), tok.Value, files); problem(err) != identity.ProblemInvalid {
		// The keys were read after the change, so even this one is refused.
		t.Errorf("during the change: %v", err)
	}
	w.agents.set("release-bot", w.key)
	during.then = func() { w.agents.gen.Add(1) }
	if _, err := a.Verify(t.Context(), tok.Value, files); err != nil {
		t.Fatal(err)
	}
	loads := w.store.loads.Load()
	during.then = nil
	if _, err := a.Verify(t.Context(), tok.Value, files); err != nil {
		t.Fatal(err)
	}
	if w.store.loads.Load() == loads {
		t.Error("what was verified under the old generation was used again")
	}
}

func TestCacheIsBounded(t *testing.T) {
	w := newWorld(t)
	w.cfg.CacheSize = 64
	w.restart()
	var last identity.Token
	for range 500 {
		last = w.warm()
	}
	if n := identity.CacheLen(w.Authority); n > 64 || n < 32 {
		t.Errorf("%d tokens are remembered, want at most 64", n)
	}
	loads := w.store.loads.Load()
	if _, err := w.Verify(t.Context(), last.Value, files); err != nil {
		t.Fatal(err)
	}
	if w.store.loads.Load() != loads {
		t.Error("the newest token was forgotten")
	}
}

func TestRefusedTokensAreNotRemembered(t *testing.T) {
	w := newWorld(t)
	kept := w.warm().Value
	for range 100 {
		w.Verify(t.Context(), kept+"x", files)
		w.Verify(t.Context(), w.token().Value, releases)
	}
	if n := identity.CacheLen(w.Authority); n != 1 {
		t.Errorf("%d tokens are remembered, want 1", n)
	}
}

// TestVerifyUnderChange runs everything at once, for the race detector, and
// checks that no token of a removed key is accepted after its removal.
func TestVerifyUnderChange(t *testing.T) {
	w := newWorld(t)
	w.cfg.CacheSize = 16
	w.restart()
	tok := w.warm()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if _, err := w.Verify(t.Context(), tok.Value, files); err != nil {
					t.Errorf("a good token was refused: %v", err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			w.Invalidate()
			w.agents.gen.Add(1)
			w.JWKS()
			if err := w.Rotate(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	w.agents.set("release-bot", newEd25519(t))
	w.refused(tok, "after the key was removed")
}

// changing is a Store during whose reads something else happens.
type changing struct {
	*memory
	then func()
}

func (c *changing) LoadFamily(ctx context.Context, id string) (identity.Family, bool, error) {
	if c.then != nil {
		c.then()
	}
	return c.memory.LoadFamily(ctx, id)
}

// A session is over when nothing can be done in it any more: with its time, without a
// new token, or by a person. One that is held for a look is not, whatever its times, and
// one that cannot be read is not said to be.
func TestSessionsAreOverWhenNoTokenCounts(t *testing.T) {
	for name, c := range map[string]struct {
		later time.Duration
		state identity.SessionState
		want  bool
	}{
		"in use":                           {0, "", false},
		"without a new token for a while":  {59 * time.Minute, "", false}, // a development token lives as long
		"without a new token for too long": {62 * time.Minute, "", true},
		"after its end":                    {12 * time.Hour, "", true},
		"revoked":                          {0, identity.SessionRevoked, true},
		"terminated":                       {0, identity.SessionTerminated, true},
		"quarantined":                      {13 * time.Hour, identity.SessionQuarantined, false},
	} {
		w := newWorld(t)
		id := w.token().Session
		w.store.change(id, func(f *identity.Family) { f.State = c.state })
		w.clock.advance(c.later)
		if over, err := w.Over(t.Context(), id); err != nil || over != c.want {
			t.Errorf("%s: over %v, %v", name, over, err)
		}
	}
	w := newWorld(t)
	id := w.token().Session
	if over, err := w.Over(t.Context(), "ses_none"); err != nil || !over {
		t.Errorf("one that was never: over %v, %v", over, err)
	}
	w.store.down = errors.New("the disk is gone")
	if over, err := w.Over(t.Context(), id); over || access.CodeOf(err) != access.CodeUnavailable {
		t.Errorf("one that cannot be read: over %v, %v", over, err)
	}
}
