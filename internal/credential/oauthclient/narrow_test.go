package oauthclient_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// tools declares a source people link, whose tools are given less than all of it.
func (w *world) tools() {
	w.user()
	w.source.UserOAuth.Scopes = []string{"mail.read", "mail.send"}
	w.source.UserOAuth.ToolScopes = map[string][]string{"get_*": {"mail.read"}, "*": {"mail.send", "mail.read"}}
}

// tool mints for a call of a tool, and returns what the token was asked with.
func (w *world) tool(name string) (url.Values, error) {
	n := w.need(ann)
	n.Tool, n.Kind = name, access.KindTool
	got, err := w.links.Mint(w.t.Context(), n)
	if err != nil {
		return nil, err
	}
	form, ok := w.as.Access()[string(got.Values["secret"])]
	if !ok {
		w.t.Errorf("%s was given a token that does not count", name)
	}
	return form, nil
}

// TestToolIsGivenItsScopesOfALink: by a refresh that asks for them alone, once in the
// life of the token; other tools and the refresh token keep all of them.
func TestToolIsGivenItsScopesOfALink(t *testing.T) {
	w := newWorld(t)
	w.tools()
	w.link(ann)
	for range 3 {
		if form, err := w.tool("get_mail"); err != nil || form.Get("scope") != "mail.read" {
			t.Fatalf("get_mail was given what was asked with %v, %v", form, err)
		}
		if form, err := w.tool("send_mail"); err != nil || form.Get("grant_type") != "authorization_code" {
			t.Fatalf("send_mail was given what was asked with %v, %v", form, err)
		}
	}
	if n := refreshes(w); n != 1 {
		t.Errorf("%d refreshes", n)
	}
	link := w.store.links[credential.LinkID("mail", "up", ann)]
	if strings.Join(link.Scopes, " ") != "mail.read mail.send" {
		t.Errorf("the link is for %v now", link.Scopes)
	}
	w.pass(2 * time.Hour)
	if form, err := w.tool("send_mail"); err != nil || form.Get("scope") != "" {
		t.Errorf("renewed with %v, %v", form, err)
	}
	if form, err := w.tool("get_mail"); err != nil || form.Get("scope") != "mail.read" || refreshes(w) != 3 {
		t.Errorf("renewed with %v, %v; %d refreshes", form, err, refreshes(w))
	}
	if left, err := w.links.Disconnect(t.Context(), link.ID, "user:oper"); err != nil || left != "" {
		t.Errorf("left %q, %v", left, err)
	}
	if n := len(w.as.Revoked()); n != 3 { // refresh token, token, and that of get_mail
		t.Errorf("%d tokens are revoked", n)
	}
}

// TestServerThatDoesNotNarrowGetsNothingUsed: a token for more than was asked for, and
// one that cannot be asked for, end the call; the connection stays, and no refresh
// token is lost.
func TestServerThatDoesNotNarrowGetsNothingUsed(t *testing.T) {
	w := newWorld(t)
	w.tools()
	w.link(ann)
	w.as.Wide = "mail.read mail.send"
	for range 2 { // the second would end the family if the first refresh token were used again
		if _, err := w.tool("get_mail"); access.CodeOf(err) != access.CodeUpstream || !strings.Contains(err.Error(), "remove toolScopes") {
			t.Fatalf("got %v", err)
		}
	}
	if n := len(w.as.Revoked()); n != 2 {
		t.Errorf("%d of 2 wide tokens are revoked", n)
	}
	w.as.Wide = ""
	w.as.Token = func(rw http.ResponseWriter, _ *http.Request, form url.Values) bool {
		if form.Get("scope") == "" {
			return false
		}
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(rw, `{"error":"invalid_scope"}`)
		return true
	}
	if _, err := w.tool("get_mail"); access.CodeOf(err) != access.CodeUpstream || !strings.Contains(err.Error(), "invalid_scope") {
		t.Errorf("got %v", err)
	}
	w.as.Token = nil
	if _, err := w.tool("get_mail"); err != nil {
		t.Errorf("after it: %v", err)
	}
}

// TestScopeNobodyAgreedToAsksToConnect: a person who agreed to less is asked anew, and
// a link without a refresh token is not used wider than the tool.
func TestScopeNobodyAgreedToAsksToConnect(t *testing.T) {
	w := newWorld(t)
	w.tools()
	w.as.Wide = "mail.send" // is what it gives
	w.link(ann)
	_, err := w.tool("get_mail")
	needsLink(t, err)
	w = newWorld(t)
	w.tools()
	w.as.Token = func(rw http.ResponseWriter, _ *http.Request, _ url.Values) bool {
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprint(rw, `{"access_token":"a-token-without-more","token_type":"Bearer","expires_in":3600}`)
		return true
	}
	w.link(ann)
	if _, err := w.tool("get_mail"); access.CodeOf(err) != access.CodeUpstream || !strings.Contains(err.Error(), "no refresh token") {
		t.Errorf("got %v", err)
	}
}

// TestToolsOfOnePersonAtOnce: their refreshes wait for one another, and each is given
// its own scopes.
func TestToolsOfOnePersonAtOnce(t *testing.T) {
	w := newWorld(t)
	w.tools()
	w.source.UserOAuth.ToolScopes = map[string][]string{"get_*": {"mail.read"}, "send_*": {"mail.send"}}
	w.link(ann)
	var work sync.WaitGroup
	for i := range 12 {
		name, want := "get_mail", "mail.read"
		if i%2 == 0 {
			name, want = "send_mail", "mail.send"
		}
		work.Go(func() {
			if form, err := w.tool(name); err != nil || form.Get("scope") != want {
				t.Errorf("%s: %v, %v", name, form, err)
			}
		})
	}
	work.Wait()
	if n := refreshes(w); n != 2 {
		t.Errorf("%d refreshes", n)
	}
}
