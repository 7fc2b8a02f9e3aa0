package oauthclient_test

import (
	"bytes"
	"testing"

	"rutile/internal/credential"
)

// TestLinksAreSealedAnewWithTheVault: a row of before opens for nobody any more, and
// the link still works, also for a client we registered ourselves with a secret.
func TestLinksAreSealedAnewWithTheVault(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.source.UserOAuth.ClientID = ""
	w.link(ann)
	w.link(bob)
	id := credential.LinkID("mail", "up", ann)
	before := w.store.links[id]
	for k, r := range w.store.clients { // as one with a secret is kept
		r.Auth = credential.AuthPost
		var err error
		if r.Sealed, err = w.vault.Seal(t.Context(), "client:"+k, []byte("a client secret")); err != nil {
			t.Fatal(err)
		}
		w.store.clients[k] = r
	}
	if n, err := w.links.Reseal(t.Context()); err != nil || n != 2 {
		t.Fatalf("%d links, %v", n, err)
	}
	after := w.store.links[id]
	if bytes.Equal(before.Sealed, after.Sealed) || after.Rev != before.Rev+1 {
		t.Errorf("rev %d, then %d", before.Rev, after.Rev)
	}
	if _, err := w.links.Mint(t.Context(), w.need(ann)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	for k, r := range w.store.clients {
		if got, err := w.vault.Open(t.Context(), "client:"+k, r.Sealed); err != nil || string(got) != "a client secret" {
			t.Errorf("our secret as a client: %v", err)
		}
	}
}
