package oauthclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/credential/oauthclient/astest"
)

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

// needsLink requires an error that sends the person to connect.
func needsLink(t *testing.T, err error) {
	t.Helper()
	var need *credential.NeedLink
	if !errors.As(err, &need) || access.CodeOf(err) != access.CodeDenied {
		t.Errorf("got %v, want that the person connects", err)
	}
}

func TestLinkBelongsToOnePerson(t *testing.T) {
	w := newWorld(t)
	w.user()
	_, err := w.links.Mint(t.Context(), w.need(ann))
	needsLink(t, err)
	w.link(ann)
	if _, err := w.links.Mint(t.Context(), w.need(ann)); err != nil {
		t.Fatal(err)
	}
	_, err = w.links.Mint(t.Context(), w.need(bob))
	needsLink(t, err)
	if _, err = w.links.Mint(t.Context(), w.need(access.Subject{})); access.CodeOf(err) != access.CodeDenied {
		t.Errorf("for nobody: %v", err)
	}
	for _, l := range w.store.links {
		for token := range w.as.Access() {
			if bytes.Contains(l.Sealed, []byte(token)) {
				t.Error("a token is kept in clear")
			}
		}
	}
}

// TestReturnThatIsNotOursConnectsNothing is the negative corpus of the callback.
func TestReturnThatIsNotOursConnectsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		who    access.Subject
		change func(w *world, q url.Values)
	}{
		"another person":       {bob, nil},
		"nobody":               {access.Subject{}, nil},
		"another issuer":       {ann, func(_ *world, q url.Values) { q.Set("iss", "https://honest.example") }},
		"issuer with a slash":  {ann, func(w *world, q url.Values) { q.Set("iss", w.as.URL+"/") }},
		"no issuer":            {ann, func(_ *world, q url.Values) { q.Del("iss") }},
		"empty issuer":         {ann, func(_ *world, q url.Values) { q.Set("iss", "") }},
		"two issuers":          {ann, func(w *world, q url.Values) { q.Add("iss", w.as.URL) }},
		"two codes":            {ann, func(_ *world, q url.Values) { q.Add("code", "x") }},
		"another state":        {ann, func(_ *world, q url.Values) { q.Set("state", strings.Repeat("A", 43)) }},
		"no state":             {ann, func(_ *world, q url.Values) { q.Del("state") }},
		"an error":             {ann, func(_ *world, q url.Values) { q.Set("error", "<script>") }},
		"another code":         {ann, func(_ *world, q url.Values) { q.Set("code", "stolen") }},
		"no code":              {ann, func(_ *world, q url.Values) { q.Del("code") }},
		"too late":             {ann, func(w *world, _ url.Values) { w.pass(11 * time.Minute) }},
		"error of another one": {ann, func(_ *world, q url.Values) { q.Set("error", "access_denied"); q.Set("iss", "https://evil.example") }},
	} {
		w := newWorld(t)
		w.user()
		q := w.begin(ann)
		if c.change != nil {
			c.change(w, q)
		}
		if _, err := w.finish(c.who, q); err == nil || strings.Contains(err.Error(), "script") {
			t.Errorf("%s: got %v", name, err)
		}
		if len(w.store.links) != 0 {
			t.Errorf("%s: something was connected", name)
		}
	}
}

func TestStateIsGoodOnce(t *testing.T) {
	w := newWorld(t)
	w.user()
	q := w.begin(ann)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for range 8 {
		wg.Go(func() {
			if _, err := w.finish(ann, q); err == nil {
				mu.Lock()
				made++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("%d connections were made", made)
	}
}

// TestMixUpIsSeenBeforeTheCodeLeaves: an answer of another issuer sends the code
// nowhere.
func TestMixUpIsSeenBeforeTheCodeLeaves(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.as.Return = func(q url.Values) { q.Set("iss", "https://evil.example") }
	if _, err := w.finish(ann, w.begin(ann)); access.CodeOf(err) != access.CodeDenied {
		t.Errorf("got %v", err)
	}
	if n := len(w.as.Forms()); n != 0 {
		t.Errorf("the code was sent %d times", n)
	}
}

func TestNobodyIsSentWhereThereIsNoPKCE(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"absent": func(m map[string]any) { delete(m, "code_challenge_methods_supported") },
		"plain":  func(m map[string]any) { m["code_challenge_methods_supported"] = []string{"plain"} },
	} {
		w := newWorld(t)
		w.user()
		w.as.Metadata = change
		if at, err := w.links.Start(t.Context(), ann, "mail", "up"); access.CodeOf(err) != access.CodeUpstream {
			t.Errorf("%s: sent to %q, %v", name, at, err)
		}
	}
}

// TestRefreshIsDoneOnceAndKeptBeforeUse: of many calls at once one renews, and a
// new token that cannot be kept is not used.
func TestRefreshIsDoneOnceAndKeptBeforeUse(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.link(ann)
	w.pass(2 * time.Hour)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := w.links.Mint(t.Context(), w.need(ann)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := refreshes(w); n != 1 {
		t.Errorf("%d refreshes", n)
	}
	w.pass(2 * time.Hour)
	w.store.putErr = func(l credential.Link) error {
		if l.Busy.IsZero() {
			return errors.New("the disk is full")
		}
		return nil
	}
	if got, err := w.links.Mint(t.Context(), w.need(ann)); err == nil {
		t.Errorf("used %s although it could not be kept", got.Version)
	}
}

func refreshes(w *world) int {
	n := 0
	for _, f := range w.as.Forms() {
		if f.Get("grant_type") == "refresh_token" {
			n++
		}
	}
	return n
}

// TestCrashBetweenRefreshAndStoreAsksToReconnect: the old refresh token was used,
// so the authorization server ends the link; the person is asked, and nothing
// loops.
func TestCrashBetweenRefreshAndStoreAsksToReconnect(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.link(ann)
	w.pass(2 * time.Hour)
	w.store.putErr = func(l credential.Link) error {
		if l.Busy.IsZero() {
			return errors.New("killed here")
		}
		return nil
	}
	if _, err := w.links.Mint(t.Context(), w.need(ann)); err == nil {
		t.Fatal("it was not killed")
	}
	w.store.putErr = nil
	w.pass(time.Minute) // nobody renews it any more
	_, err := w.links.Mint(t.Context(), w.need(ann))
	needsLink(t, err)
	for _, l := range w.store.links {
		if l.State != credential.LinkBroken {
			t.Errorf("the link is %s", l.State)
		}
	}
	if last := w.events[len(w.events)-1]; last.Verb != "break" {
		t.Errorf("recorded %+v", last)
	}
	w.link(ann) // connecting anew mends it
	if _, err := w.links.Mint(t.Context(), w.need(ann)); err != nil {
		t.Error(err)
	}
}

func TestRefreshThatFailsForNowBreaksNothing(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.link(ann)
	w.pass(2 * time.Hour)
	w.as.Token = func(rw http.ResponseWriter, _ *http.Request, _ url.Values) bool {
		rw.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	if _, err := w.links.Mint(t.Context(), w.need(ann)); access.CodeOf(err) != access.CodeUpstream {
		t.Errorf("got %v", err)
	}
	w.as.Token = nil
	if _, err := w.links.Mint(t.Context(), w.need(ann)); err != nil {
		t.Errorf("after it: %v", err)
	}
}

// TestUpstreamThatChangesItsServerLosesTheLink: what was stored goes to nobody.
func TestUpstreamThatChangesItsServerLosesTheLink(t *testing.T) {
	w := newWorld(t)
	other := astest.New(t)
	issuer := w.as.URL
	up := upstream(t, func(base string) string {
		return fmt.Sprintf(`{"resource":"%s/mcp","authorization_servers":["%s"]}`, base, issuer)
	}, nil)
	w.up = up.URL + "/mcp"
	w.user()
	w.source.UserOAuth.Issuer = ""
	w.link(ann)
	issuer = other.URL
	_, err := w.links.Mint(t.Context(), w.need(ann))
	needsLink(t, err)
	w.links.Close(t.Context())
	if len(w.store.links) != 0 || len(other.Forms()) != 0 || w.forgot == 0 || len(w.as.Access()) != 0 {
		t.Errorf("%d links, %d requests at the other, %d times forgotten, %d tokens alive", len(w.store.links), len(other.Forms()), w.forgot, len(w.as.Access()))
	}
}

// TestLinkOpensForNothingElse: a row that says it is another's does not open.
func TestLinkOpensForNothingElse(t *testing.T) {
	for name, change := range map[string]func(*credential.Link){
		"another person":   func(l *credential.Link) { l.Subject = bob; l.ID = credential.LinkID("mail", "up", bob) },
		"another resource": func(l *credential.Link) { l.Resource = "https://evil.example" },
		"another issuer":   func(l *credential.Link) { l.Issuer = "https://evil.example" },
		"an earlier rev":   func(l *credential.Link) { l.Rev = 7 },
	} {
		w := newWorld(t)
		w.user()
		w.link(ann)
		for id, l := range w.store.links {
			delete(w.store.links, id)
			change(&l)
			w.store.links[l.ID] = l
		}
		for _, who := range []access.Subject{ann, bob} {
			if got, err := w.links.Mint(t.Context(), w.need(who)); err == nil {
				t.Errorf("%s: %s was given %s", name, who.ID, got.Version)
			}
		}
	}
}

func TestDisconnectRevokesAndForgets(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.link(ann)
	id := credential.LinkID("mail", "up", ann)
	left, err := w.links.Disconnect(t.Context(), id, "user:oper")
	if err != nil || left != "" || len(w.as.Revoked()) != 2 || len(w.store.links) != 0 || w.forgot == 0 {
		t.Errorf("left %q, %v; revoked %d", left, err, len(w.as.Revoked()))
	}
	if last := w.events[len(w.events)-1]; last.Verb != "unlink" || last.By != "user:oper" {
		t.Errorf("recorded %+v", last)
	}
	if _, err := w.links.Disconnect(t.Context(), id, "user:oper"); access.CodeOf(err) != access.CodeNotFound {
		t.Errorf("twice: %v", err)
	}
	w.link(ann)
	w.as.Revoke = http.StatusServiceUnavailable
	if left, err := w.links.Disconnect(t.Context(), id, "user:oper"); err != nil || !strings.Contains(left, "valid until") || len(w.store.links) != 0 {
		t.Errorf("without revocation: left %q, %v", left, err)
	}
}

func TestWeRegisterOnceWhereNobodyDid(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.source.UserOAuth.ClientID = ""
	w.link(ann)
	w.link(bob)
	if n := w.as.Clients(); n != 1 {
		t.Errorf("%d registrations", n)
	}
	for _, l := range w.store.links {
		if l.Client != "registered-1" {
			t.Errorf("linked as %q", l.Client)
		}
	}
	w = newWorld(t)
	w.user()
	w.source.UserOAuth.ClientID = ""
	w.as.Metadata = func(m map[string]any) { delete(m, "registration_endpoint") }
	if _, err := w.links.Start(t.Context(), ann, "mail", "up"); access.CodeOf(err) != access.CodeUpstream || !strings.Contains(err.Error(), "register a client there") {
		t.Errorf("got %v", err)
	}
}
