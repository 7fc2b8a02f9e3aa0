package identity_test

import (
	"errors"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/identity"
)

// A token is refused that is older than a revocation of its agent, its session or
// everything, also one that was verified before, and one minted by who had not heard.
// One made anew counts.
func TestTokensOlderThanARevocationAreRefused(t *testing.T) {
	for _, kind := range []string{"agent release-bot", "session", "another"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			old := w.token()
			if _, err := w.Verify(t.Context(), old.Value, files); err != nil {
				t.Fatal(err)
			}
			key := kind
			if kind == "session" {
				key += " " + old.Session
			}
			w.revoked.revoke(key)
			w.clock.advance(-time.Second) // a clock that is set back changes nothing
			_, err := w.Verify(t.Context(), old.Value, files)
			var refused *identity.BearerError
			if want := kind != "another"; errors.As(err, &refused) != want || want && refused.Problem != identity.ProblemInvalid {
				t.Errorf("the token from before: %v", err)
			}
			w.clock.advance(time.Second)
			if _, err := w.Verify(t.Context(), w.token().Value, files); err != nil {
				t.Errorf("a token made anew: %v", err)
			}
			// A node that had not heard mints with its own position.
			seen := w.revoked.position.Swap(0)
			stale := w.token()
			w.revoked.position.Store(seen)
			if _, err := w.Verify(t.Context(), stale.Value, files); errors.As(err, &refused) != (kind != "another") {
				t.Errorf("a token minted from an old view: %v", err)
			}
		})
	}
}

// A token for a person is older than a revocation of that person, and of no other.
func TestARevokedPersonsTokensAreRefused(t *testing.T) {
	w := newWorld(t)
	tok, err := w.Development(t.Context(), "release-bot", files, "ann", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	w.revoked.revoke("user " + identity.SubjectOf(access.Subject{Issuer: issuer, ID: "bob"}))
	if _, err := w.Verify(t.Context(), tok.Value, files); err != nil {
		t.Errorf("another person was revoked: %v", err)
	}
	w.revoked.revoke("user " + identity.SubjectOf(access.Subject{Issuer: issuer, ID: "ann"}))
	var refused *identity.BearerError
	if _, err := w.Verify(t.Context(), tok.Value, files); !errors.As(err, &refused) {
		t.Errorf("the person was revoked: %v", err)
	}
}
