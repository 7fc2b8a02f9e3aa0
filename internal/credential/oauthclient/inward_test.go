package oauthclient_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential/oauthclient"
)

// TestNobodyElsewhereSendsUsToOurOwnMachine: what an https server says of its
// authorization server, and what that says of its endpoints, leads to no plain HTTP.
func TestNobodyElsewhereSendsUsToOurOwnMachine(t *testing.T) {
	asked := 0
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	t.Cleanup(inner.Close)
	var up *httptest.Server
	up = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasPrefix(r.URL.Path, "/.well-known/oauth-protected-resource"):
			fmt.Fprintf(w, `{"resource":"%s/mcp","authorization_servers":["%s"]}`, up.URL, inner.URL)
		case strings.HasPrefix(r.URL.Path, "/.well-known/oauth-authorization-server"):
			fmt.Fprintf(w, `{"issuer":"%s","token_endpoint":"%s/token"}`, up.URL, inner.URL)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(up.Close)
	d := oauthclient.NewDiscovery(oauthclient.HTTP{Transport: up.Client().Transport}, time.Now)
	if r, err := d.Resource(t.Context(), up.URL+"/mcp", ""); access.CodeOf(err) != access.CodeUpstream {
		t.Errorf("an issuer on our machine: %v, %v", r.Issuers, err)
	}
	if _, err := d.Server(t.Context(), up.URL, ""); access.CodeOf(err) != access.CodeUpstream || asked != 0 {
		t.Errorf("an endpoint on our machine: %v, asked %d times", err, asked)
	}
}

// TestWhatATokenIsForIsText: the words of an authorization server go into evidence
// and onto screens.
func TestWhatATokenIsForIsText(t *testing.T) {
	for _, scope := range []string{"a\u001b]0;x", "a\nb", "\u00e9", `a"b`, strings.Repeat("a", 5000)} {
		w := newWorld(t)
		w.user()
		w.as.Token = func(rw http.ResponseWriter, _ *http.Request, _ url.Values) bool {
			rw.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(rw).Encode(map[string]any{"access_token": "long-enough-token", "token_type": "Bearer", "scope": scope})
			return true
		}
		if _, err := w.finish(ann, w.begin(ann)); access.CodeOf(err) != access.CodeUpstream || len(w.store.links) != 0 {
			t.Errorf("%.20q: %v", scope, err)
		}
	}
}
