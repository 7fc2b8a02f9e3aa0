package oauthclient_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// mint requires a token and returns its version.
func (w *world) mint(who access.Subject) string {
	w.t.Helper()
	got, err := w.links.Mint(w.t.Context(), w.need(who))
	if err != nil {
		w.t.Fatal(err)
	}
	return got.Version
}

// TestTokenTheServerDoesNotTakeIsRenewedOnce: of many calls that were refused with it
// one renews; where the next is refused too the link is broken, its tokens are revoked
// and its person is asked to connect anew.
func TestTokenTheServerDoesNotTakeIsRenewedOnce(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.link(ann)
	first := w.mint(ann)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := w.links.Refused(t.Context(), w.need(ann), first); err != nil {
				t.Error(err)
			}
			if got, err := w.links.Mint(t.Context(), w.need(ann)); err != nil || got.Version == first {
				t.Errorf("minted %s, %v", got.Version, err)
			}
		})
	}
	wg.Wait()
	if n := refreshes(w); n != 1 {
		t.Errorf("%d refreshes", n)
	}
	second := w.mint(ann)
	err := w.links.Refused(t.Context(), w.need(ann), second)
	needsLink(t, err)
	if !strings.Contains(err.Error(), "new ones too") {
		t.Errorf("it says %v", err)
	}
	_, err = w.links.Mint(t.Context(), w.need(ann))
	needsLink(t, err)
	needsLink(t, w.links.Refused(t.Context(), w.need(ann), second))
	w.links.Close(t.Context())
	if n := refreshes(w); n != 1 || len(w.store.links) != 1 {
		t.Errorf("%d refreshes, %d links", n, len(w.store.links))
	}
	if got := w.verbs(); got != "link refused break" {
		t.Errorf("recorded %s", got)
	}
	for token, form := range w.as.Access() {
		if form.Get("grant_type") == "refresh_token" {
			t.Errorf("%s is alive", token)
		}
	}
}

// TestServerThatForgetsNowAndThenBreaksNothing: a refusal a while after the last one is
// a first one, and one of a token that is out of use already does nothing.
func TestServerThatForgetsNowAndThenBreaksNothing(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.link(ann)
	v := w.mint(ann)
	for range 4 {
		if err := w.links.Refused(t.Context(), w.need(ann), v); err != nil {
			t.Fatal(err)
		}
		next := w.mint(ann)
		if err := w.links.Refused(t.Context(), w.need(ann), v); err != nil || w.mint(ann) != next {
			t.Fatalf("a late refusal of an earlier token: %v", err)
		}
		v = next
		w.pass(2 * time.Minute)
	}
	if n := refreshes(w); n != 4 {
		t.Errorf("%d refreshes", n)
	}
}

// TestNoRefreshTokenMeansConnectingAnew: there is nothing to renew with.
func TestNoRefreshTokenMeansConnectingAnew(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.link(ann)
	id := credential.LinkID("mail", "up", ann)
	l := w.store.links[id]
	tokens, err := l.Open(t.Context(), w.vault)
	if err != nil {
		t.Fatal(err)
	}
	tokens.Refresh = nil
	if err := l.Seal(t.Context(), w.vault, tokens); err != nil {
		t.Fatal(err)
	}
	w.store.links[id] = l
	if err := w.links.Refused(t.Context(), w.need(ann), w.mint(ann)); err != nil {
		t.Fatal(err)
	}
	_, err = w.links.Mint(t.Context(), w.need(ann))
	needsLink(t, err)
}

// TestRefusalOfATokenForFewerScopesRenewsThat: and the others of the link with it.
func TestRefusalOfATokenForFewerScopesRenewsThat(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.source.UserOAuth.Scopes = []string{"mail.read", "mail.send"}
	w.source.UserOAuth.ToolScopes = map[string][]string{"get_*": {"mail.read"}}
	w.link(ann)
	narrow := w.need(ann)
	narrow.Tool = "get_mail"
	got, err := w.links.Mint(t.Context(), narrow)
	if err != nil {
		t.Fatal(err)
	}
	wide := w.mint(ann)
	if err := w.links.Refused(t.Context(), narrow, got.Version); err != nil {
		t.Fatal(err)
	}
	// A call that was under way with the other token comes later.
	if err := w.links.Refused(t.Context(), w.need(ann), wide); err != nil {
		t.Errorf("the other token: %v", err)
	}
	again, err := w.links.Mint(t.Context(), narrow)
	if err != nil || again.Version == got.Version || w.mint(ann) == wide {
		t.Errorf("minted %s, %v", again.Version, err)
	}
}

// TestConnectingAnewRevokesWhatWas: before the person agrees, because revoking later
// ends the new grant too at many servers.
func TestConnectingAnewRevokesWhatWas(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.link(ann)
	old := slices.Collect(maps.Keys(w.as.Access()))
	answer := w.begin(ann)
	if n := len(w.as.Revoked()); n != 2 || len(w.store.links) != 0 {
		t.Errorf("%d tokens were revoked before the person came back, %d links are left", n, len(w.store.links))
	}
	if _, err := w.finish(ann, answer); err != nil {
		t.Fatal(err)
	}
	if n := len(w.as.Revoked()); n != 2 {
		t.Errorf("%d tokens were revoked afterwards", n-2)
	}
	w.mint(ann)
	for token := range w.as.Access() {
		if slices.Contains(old, token) {
			t.Errorf("%s is alive", token)
		}
	}
	if got := w.verbs(); got != "link unlink link" {
		t.Errorf("recorded %s", got)
	}
}

// TestAnotherPersonsStartEndsNothing: what is replaced is the person's own.
func TestAnotherPersonsStartEndsNothing(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.link(ann)
	w.begin(bob)
	if len(w.as.Revoked()) != 0 || len(w.store.links) != 1 {
		t.Errorf("%d tokens were revoked, %d links are left", len(w.as.Revoked()), len(w.store.links))
	}
}

// TestWhatIsOwedSurvivesAStop: tokens the gateway had no time to revoke are revoked by
// its next start, are listed nowhere as a connection and sealed anew like one.
func TestWhatIsOwedSurvivesAStop(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.link(ann)
	w.as.Revoke = 503
	w.links.Close(t.Context()) // nothing is revoked in the background any more
	w.up = "https://moved.example/mcp"
	_, err := w.links.Mint(t.Context(), w.need(ann))
	needsLink(t, err)
	if list, err := w.links.List(t.Context()); err != nil || len(list) != 0 || len(w.store.links) != 1 || len(w.as.Revoked()) != 0 {
		t.Fatalf("listed %+v, %v; %d rows", list, err, len(w.store.links))
	}
	if ended, err := w.links.EndOrphans(t.Context(), func(string) bool { return false }); err != nil || ended.Revoked != 0 || len(w.store.links) != 1 {
		t.Errorf("as a connection it ended: %+v, %v", ended, err)
	}
	if n, err := w.links.Reseal(t.Context()); n != 1 || err != nil {
		t.Errorf("sealed anew: %d, %v", n, err)
	}
	w.as.Revoke = 0
	left, err := w.links.EndOwed(t.Context())
	if err != nil || left != nil || len(w.as.Revoked()) != 2 || len(w.store.links) != 0 || len(w.as.Access()) != 0 {
		t.Errorf("left %q, %v; %d revoked, %d rows", left, err, len(w.as.Revoked()), len(w.store.links))
	}
	if left, err := w.links.EndOwed(t.Context()); err != nil || left != nil || len(w.as.Revoked()) != 2 {
		t.Errorf("again: %q, %v", left, err)
	}
}

// TestWhatCannotBeRevokedIsSaidOnce: it is recorded, and not tried for ever.
func TestWhatCannotBeRevokedIsSaidOnce(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.link(ann)
	w.links.Close(t.Context())
	w.up = "https://moved.example/mcp"
	_, err := w.links.Mint(t.Context(), w.need(ann))
	needsLink(t, err)
	w.as.Revoke = 503
	left, err := w.links.EndOwed(t.Context())
	if err != nil || len(left) != 1 || !strings.Contains(left[0], "did not revoke") || len(w.store.links) != 0 {
		t.Errorf("left %q, %v; %d rows", left, err, len(w.store.links))
	}
	if got := w.verbs(); got != "link unlink revoke-failed" {
		t.Errorf("recorded %s", got)
	}
}

// TestWhoeverWaitsForARevocationGoingAwayDropsNothing: it goes on in the background.
func TestWhoeverWaitsForARevocationGoingAwayDropsNothing(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.link(ann)
	ctx, leave := contextOf(t)
	leave()
	if _, err := w.links.End(ctx, w.source, "user:oper"); err != nil && !errors.Is(err, ctx.Err()) {
		t.Error(err)
	}
	w.links.Close(t.Context())
	if len(w.as.Revoked()) != 2 || len(w.store.links) != 0 {
		t.Errorf("%d revoked, %d rows", len(w.as.Revoked()), len(w.store.links))
	}
}
