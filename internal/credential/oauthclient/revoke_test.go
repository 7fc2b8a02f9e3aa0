package oauthclient_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"rutile/internal/credential"
)

// TestLinkIsForTheOriginItsPersonWasShown: what a person connected goes nowhere
// else when the server's entry is changed, also where the manifest names issuer and
// resource, so that neither follows from the address.
func TestLinkIsForTheOriginItsPersonWasShown(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.source.UserOAuth.Resource = "https://api.example"
	w.link(ann)
	if _, err := w.links.Mint(t.Context(), w.need(ann)); err != nil {
		t.Fatal(err)
	}
	w.up = "https://up.example/v2" // the same origin
	if _, err := w.links.Mint(t.Context(), w.need(ann)); err != nil {
		t.Errorf("at another path: %v", err)
	}
	w.up = "https://evil.example/mcp"
	got, err := w.links.Mint(t.Context(), w.need(ann))
	needsLink(t, err)
	w.links.Close(t.Context())
	if got.Values != nil || len(w.store.links) != 0 || len(w.as.Access()) != 0 {
		t.Errorf("the link went along to another origin: %d links are left, %d tokens alive", len(w.store.links), len(w.as.Access()))
	}
}

// TestLinkIsNotForANameThatLooksLikeItsOwn: İ in lower case is i, and DNS has neither.
func TestLinkIsNotForANameThatLooksLikeItsOwn(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.source.UserOAuth.Resource, w.up = "https://api.example", "https://mail.example/mcp"
	w.link(ann)
	w.up = "https://ma\u0130l.example/mcp"
	got, err := w.links.Mint(t.Context(), w.need(ann))
	needsLink(t, err)
	w.links.Close(t.Context())
	if got.Values != nil || len(w.store.links) != 0 {
		t.Errorf("the link went along to another host: %d links are left", len(w.store.links))
	}
}

// TestLinkThatEndedElsewhereIsNotUsedAgain: what is kept of a link has a key that
// changes when another node ends it, or its person makes it anew.
func TestLinkThatEndedElsewhereIsNotUsedAgain(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.link(ann)
	n := w.need(ann)
	first := w.links.ReuseKey(n)
	if first == "" || w.links.ReuseKey(n) != first || w.links.ReuseKey(w.need(bob)) != "" {
		t.Errorf("keys %q, %q, and of nobody's link %q", first, w.links.ReuseKey(n), w.links.ReuseKey(w.need(bob)))
	}
	clear(w.store.links)
	if k := w.links.ReuseKey(n); k != "" {
		t.Errorf("a link that is gone has the key %q", k)
	}
	w.pass(time.Second)
	w.link(ann)
	if k := w.links.ReuseKey(n); k == "" || k == first {
		t.Errorf("a link made anew has the key %q", k)
	}
}

// TestTokensOfALinkThatEndedMeanwhileAreRevoked: a renewal under way when somebody
// disconnects leaves nothing alive at the authorization server.
func TestTokensOfALinkThatEndedMeanwhileAreRevoked(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.link(ann)
	w.pass(2 * time.Hour)
	before := maps.Clone(w.as.Access())
	w.store.putErr = func(l credential.Link) error {
		if l.Busy.IsZero() {
			delete(w.store.links, l.ID) // PutLink holds the lock
		}
		return nil
	}
	if got, err := w.links.Mint(t.Context(), w.need(ann)); err == nil {
		t.Fatalf("used %s of a link that is gone", got.Version)
	}
	for token := range w.as.Access() {
		if _, old := before[token]; !old {
			t.Error("a token of the renewal lives on")
		}
	}
	if n := len(w.as.Revoked()); n != 2 {
		t.Errorf("%d tokens of the renewal are revoked", n)
	}
}

// TestWhoeverGoesAwayDoesNotEndTheRecord: what is done is recorded and revoked, also
// where who asked for it waits no longer.
func TestWhoeverGoesAwayDoesNotEndTheRecord(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.link(ann)
	ctx, leave := contextOf(t)
	w.record = func(ctx context.Context) error { return ctx.Err() }
	w.store.deleted = leave
	left, err := w.links.Disconnect(ctx, credential.LinkID("mail", "up", ann), "user:oper")
	if last := w.events[len(w.events)-1]; err != nil || left != "" || last.Verb != "unlink" || len(w.as.Revoked()) != 2 {
		t.Errorf("left %q, %v; recorded %s, revoked %d", left, err, last.Verb, len(w.as.Revoked()))
	}
}

// TestLinkNobodyCanReadOfIsNotKept and TestTokensAreRevokedWithoutARecord: the
// evidence being down widens nothing and keeps nothing alive.
func TestLinkNobodyCanReadOfIsNotKept(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.record = func(context.Context) error { return errors.New("the disk is full") }
	if _, err := w.finish(ann, w.begin(ann)); err == nil || len(w.store.links) != 0 {
		t.Errorf("got %v, and %d links", err, len(w.store.links))
	}
}

func TestTokensAreRevokedWithoutARecord(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.link(ann)
	w.record = func(context.Context) error { return errors.New("the disk is full") }
	if _, err := w.links.Disconnect(t.Context(), credential.LinkID("mail", "up", ann), "user:oper"); err == nil || len(w.as.Revoked()) != 2 {
		t.Errorf("got %v; revoked %d", err, len(w.as.Revoked()))
	}
}
