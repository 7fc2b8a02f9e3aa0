package oauthclient_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// verbs returns what was recorded, in order.
func (w *world) verbs() string {
	var out []string
	for _, e := range w.events {
		out = append(out, e.Verb)
	}
	return strings.Join(out, " ")
}

// TestRemovingACredentialEndsItsLinks: all people's, at their authorization server too,
// and nobody else's.
func TestRemovingACredentialEndsItsLinks(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.link(ann)
	w.link(bob)
	other := credential.Link{ID: "lnk_other", Credential: "other", Rev: 1, State: credential.LinkActive}
	w.store.links[other.ID] = other
	gone := w.source
	w.source = credential.Source{} // it is not declared any more
	ended, err := w.links.End(t.Context(), gone, "user:oper")
	if err != nil || ended.Revoked != 2 || ended.Left != nil || len(w.as.Access()) != 0 || len(w.as.Revoked()) != 4 {
		t.Errorf("ended %+v, %v; %d tokens are alive", ended, err, len(w.as.Access()))
	}
	if _, left := w.store.links["lnk_other"]; !left || len(w.store.links) != 1 {
		t.Errorf("left are %v", w.store.links)
	}
	if got := w.verbs(); got != "link link unlink unlink" || w.events[3].By != "user:oper" {
		t.Errorf("recorded %s by %q", got, w.events[3].By)
	}
}

// TestLinksEndAlsoWhereTheirServerDoesNotRevoke: the tokens are gone here, and what
// stays valid is said and recorded.
func TestLinksEndAlsoWhereTheirServerDoesNotRevoke(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world)
		why    string
	}{
		"it fails":           {func(w *world) { w.as.Revoke = http.StatusServiceUnavailable }, "did not revoke"},
		"it offers no way":   {func(w *world) { w.as.Metadata = func(m map[string]any) { delete(m, "revocation_endpoint") } }, "offers no revocation"},
		"it is not there":    {func(w *world) { w.as.Close() }, "did not revoke"},
		"it became somebody": {func(w *world) { w.as.Metadata = func(m map[string]any) { m["issuer"] = "https://evil.example" } }, "could not be found"},
	} {
		w := newWorld(t)
		w.user()
		w.link(ann)
		if name == "it offers no way" || name == "it became somebody" {
			w.pass(20 * time.Minute) // what is known of it is asked anew
		}
		c.change(w)
		ended, err := w.links.End(t.Context(), w.source, "user:oper")
		if err != nil || ended.Revoked != 0 || len(ended.Left) != 1 || !strings.Contains(ended.Left[0], c.why) || !strings.Contains(ended.Left[0], "valid until") || len(w.store.links) != 0 {
			t.Errorf("%s: ended %+v, %v", name, ended, err)
		}
		if got := w.verbs(); got != "link unlink revoke-failed" {
			t.Errorf("%s: recorded %s", name, got)
		}
	}
}

// TestALinkMadeWhileItsCredentialIsRemovedEnds: the removal did not see it, and its
// person is told that nothing was connected.
func TestALinkMadeWhileItsCredentialIsRemovedEnds(t *testing.T) {
	w := newWorld(t)
	w.user()
	answer := w.begin(ann)
	w.store.putErr = func(credential.Link) error {
		w.source = credential.Source{}
		return nil
	}
	if _, err := w.finish(ann, answer); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("got %v, want a conflict", err)
	}
	if len(w.store.links) != 0 || len(w.as.Access()) != 0 || len(w.as.Revoked()) != 2 {
		t.Errorf("%d links and %d tokens are left, %d are revoked", len(w.store.links), len(w.as.Access()), len(w.as.Revoked()))
	}
	if got := w.verbs(); got != "link unlink" {
		t.Errorf("recorded %s", got)
	}
}

// TestLinksOfARemovedCredentialEndAtTheNextStart: the gateway was killed between the
// removal and the end of its links.
func TestLinksOfARemovedCredentialEndAtTheNextStart(t *testing.T) {
	for name, id := range map[string]string{"a client of its own": "rutile", "one we registered": ""} {
		w := newWorld(t)
		w.user()
		w.source.UserOAuth.ClientID = id
		w.link(ann)
		if ended, err := w.links.EndOrphans(t.Context(), func(string) bool { return true }); err != nil || ended.Revoked != 0 || len(w.store.links) != 1 {
			t.Errorf("%s: of a declared one ended %+v, %v", name, ended, err)
		}
		ended, err := w.links.EndOrphans(t.Context(), func(string) bool { return false })
		if err != nil || ended.Revoked != 1 || len(w.store.links) != 0 || len(w.as.Revoked()) != 2 {
			t.Errorf("%s: ended %+v, %v", name, ended, err)
		}
	}
}

// TestPeopleDisconnectTheirOwnLinksOnly: somebody else's is not there, also for nobody.
func TestPeopleDisconnectTheirOwnLinksOnly(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.link(ann)
	id := credential.LinkID("mail", "up", ann)
	same := ann
	same.Issuer = "https://elsewhere.example"
	for _, who := range []access.Subject{bob, same, {}} {
		if _, err := w.links.DisconnectOwn(t.Context(), who, id, "user:"+who.ID); access.CodeOf(err) != access.CodeNotFound || len(w.store.links) != 1 {
			t.Errorf("%+v: %v", who, err)
		}
	}
	if left, err := w.links.DisconnectOwn(t.Context(), ann, id, "user:ann"); err != nil || left != "" || len(w.store.links) != 0 || len(w.as.Revoked()) != 2 {
		t.Errorf("left %q, %v", left, err)
	}
}
