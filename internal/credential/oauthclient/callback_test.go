package oauthclient_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/credential/oauthclient"
	"rutile/internal/credential/oauthclient/astest"
)

const shared = "https://ops.example/approve/connected"

// silent makes a server one that does not say who it is in its answers (RFC 9207).
func silent(as *astest.Server) {
	as.Metadata = func(m map[string]any) { delete(m, "authorization_response_iss_parameter_supported") }
	as.Return = func(q url.Values) { q.Del("iss") }
}

// TestMixUpIsSeenWithoutIss: a hostile authorization server sends its visitor on to an
// honest one, whose answer then comes with the state of the hostile flow. It comes to
// the honest one's address, so that its code goes nowhere, whatever either says of iss.
func TestMixUpIsSeenWithoutIss(t *testing.T) {
	honest := astest.New(t)
	for name, c := range map[string]struct {
		evil func(as *astest.Server)
		tag  string // of the address the answer comes to
		iss  string
	}{
		"both say nothing":                  {silent, oauthclient.Tag(honest.URL), ""},
		"the hostile one promises iss":      {nil, oauthclient.Tag(honest.URL), ""},
		"and sends one of its own":          {nil, oauthclient.Tag(honest.URL), "its own"},
		"the honest one says who it is":     {silent, "", honest.URL},
		"to the shared address, nobody's":   {nil, "", ""},
		"to the shared one, of a silent":    {silent, "", ""},
		"to the shared one with a false":    {silent, "", "its own"},
		"to an address of nobody":           {silent, strings.Repeat("0", 32), ""},
		"to the hostile one's, by honest":   {nil, "hostile", honest.URL},
		"to the hostile one's which shares": {nil, "hostile", ""},
	} {
		w := newWorld(t)
		w.user()
		if c.evil != nil {
			c.evil(w.as)
		}
		at, err := w.links.Start(t.Context(), ann, "mail", "up")
		if err != nil {
			t.Fatal(err)
		}
		sent, _ := url.Parse(at)
		answer := url.Values{"state": {sent.Query().Get("state")}, "code": {"the honest one's code"}}
		switch c.iss {
		case "":
		case "its own":
			answer.Set("iss", w.as.URL)
		default:
			answer.Set("iss", c.iss)
		}
		tag := c.tag
		if tag == "hostile" {
			tag = oauthclient.Tag(w.as.URL)
		}
		if _, err := w.links.Finish(t.Context(), ann, tag, answer); access.CodeOf(err) != access.CodeDenied {
			t.Errorf("%s: %v", name, err)
		}
		if len(w.as.Forms()) != 0 || len(w.store.links) != 0 {
			t.Errorf("%s: the code was sent %d times", name, len(w.as.Forms()))
		}
	}
}

// TestEachSilentIssuerHasAnAddressOfItsOwn: and one that says who it is keeps the
// address it has, so that what is registered there stays good.
func TestEachSilentIssuerHasAnAddressOfItsOwn(t *testing.T) {
	seen := map[string]bool{}
	for range 2 {
		w := newWorld(t)
		w.user()
		silent(w.as)
		at, err := w.links.Start(t.Context(), ann, "mail", "up")
		if err != nil {
			t.Fatal(err)
		}
		sent, _ := url.Parse(at)
		redirect := sent.Query().Get("redirect_uri")
		if redirect != oauthclient.Own(shared, oauthclient.Tag(w.as.URL)) || seen[redirect] {
			t.Errorf("sent back to %s", redirect)
		}
		seen[redirect] = true
		w.link(ann) // the server compares the address with that of the request
	}
	w := newWorld(t)
	w.user()
	at, err := w.links.Start(t.Context(), ann, "mail", "up")
	if err != nil || !strings.Contains(at, url.QueryEscape(shared)+"&") {
		t.Errorf("sent to %s, %v", at, err)
	}
}

// TestEarlierRegistrationKeepsItsLinks: a link made as the client registered with the
// shared address is renewed and ended as that client; a new one is registered anew.
func TestEarlierRegistrationKeepsItsLinks(t *testing.T) {
	w := newWorld(t)
	w.user()
	w.source.UserOAuth.ClientID = ""
	w.link(ann)
	silent(w.as)
	w.pass(2 * time.Hour)
	if _, err := w.links.Mint(t.Context(), w.need(ann)); err != nil || refreshes(w) != 1 {
		t.Fatalf("%d refreshes, %v", refreshes(w), err)
	}
	w.link(bob)
	if n := w.as.Clients(); n != 2 || len(w.store.clients) != 2 {
		t.Errorf("%d registrations, %d kept", n, len(w.store.clients))
	}
	if _, err := w.links.Reseal(t.Context()); err != nil {
		t.Error(err)
	}
	for _, who := range []access.Subject{ann, bob} {
		if left, err := w.links.Disconnect(t.Context(), credential.LinkID("mail", "up", who), "user:oper"); err != nil || left != "" {
			t.Errorf("%s: left %q, %v", who.ID, left, err)
		}
	}
}

// TestClientDocumentNamesOneAddress: an authorization server that takes client id
// metadata documents is shown one in which no address of another issuer stands, and
// nobody is registered.
func TestClientDocumentNamesOneAddress(t *testing.T) {
	const document = "https://mcp.example/oauth/upstream-client.json"
	for name, c := range map[string]struct {
		silent bool
		want   func(issuer string) string
	}{
		"one that says who it is": {false, func(string) string { return document }},
		"one that does not":       {true, func(issuer string) string { return oauthclient.OwnDocument(document, oauthclient.Tag(issuer)) }},
	} {
		w := newWorldWith(t, document)
		w.user()
		w.source.UserOAuth.ClientID = ""
		if c.silent {
			w.as.Return = func(q url.Values) { q.Del("iss") }
		}
		w.as.Metadata = func(m map[string]any) {
			m["client_id_metadata_document_supported"] = true
			m["authorization_response_iss_parameter_supported"] = !c.silent
		}
		w.link(ann)
		link := w.store.links[credential.LinkID("mail", "up", ann)]
		if want := c.want(w.as.URL); link.Client != want || w.as.Clients() != 0 {
			t.Errorf("%s: linked as %s, want %s; %d registered", name, link.Client, want, w.as.Clients())
		}
		w.pass(2 * time.Hour)
		if _, err := w.links.Mint(t.Context(), w.need(ann)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		forms := w.as.Forms()
		if last := forms[len(forms)-1]; last.Get("client_id") != link.Client || last.Get("client_secret") != "" {
			t.Errorf("%s: renewed as %s", name, last.Get("client_id"))
		}
	}
}
