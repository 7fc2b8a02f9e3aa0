package oauthclient_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/credential/oauthclient"
)

// private is a server whose certificate no system trusts, and the file that holds it.
func private(t *testing.T, h func(base string) http.HandlerFunc) (at, ca string) {
	t.Helper()
	var s *httptest.Server
	s = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h(s.URL)(w, r) }))
	t.Cleanup(s.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return s.URL, ca
}

// TestPrivateAuthorities: an authorization server is verified by the file its
// credential names, the upstream's own word by the upstream's, and neither stands in
// for the other or for the system's authorities.
func TestPrivateAuthorities(t *testing.T) {
	asked := 0
	issuer, asCA := private(t, func(base string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if r.URL.Path == "/token" {
				asked++
				fmt.Fprint(w, `{"access_token":"a-token-of-a-private-one","token_type":"Bearer","expires_in":600}`)
				return
			}
			fmt.Fprintf(w, `{"issuer":%q,"token_endpoint":"%s/token"}`, base, base)
		}
	})
	up, upCA := private(t, func(base string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, "/.well-known/") {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"resource":"%s/mcp","authorization_servers":[%q]}`, base, issuer)
		}
	})
	other := filepath.Join(t.TempDir(), "other.pem")
	if err := os.WriteFile(other, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		issuer, as, server string
		ok                 bool
	}{
		"both files":                   {"", asCA, upCA, true},
		"a written issuer":             {issuer, asCA, "", true},
		"no file":                      {issuer, "", upCA, false},
		"no file for the upstream":     {"", asCA, "", false},
		"a file without a certificate": {issuer, other, upCA, false},
		"a file that is not there":     {issuer, other + ".not", upCA, false},
	} {
		w := newWorld(t)
		w.client(credential.AuthBasic)
		w.source.ClientCredentials.Issuer, w.source.ClientCredentials.TLS.CA, w.up = c.issuer, c.as, up+"/mcp"
		m := oauthclient.New(oauthclient.HTTP{
			Transport: &http.Transport{DisableKeepAlives: true},
			For: func(ca string) (http.RoundTripper, error) {
				conf, err := credential.TLS{CA: ca}.Config()
				return &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}, err
			},
			CA: func(string) string { return c.server },
		}, w.vault, time.Now)
		asked = 0
		got, err := m.ClientCredentials().Mint(t.Context(), w.need(access.Subject{}))
		if (err == nil) != c.ok || asked != map[bool]int{true: 1}[c.ok] {
			t.Errorf("%s: %v, %v; asked %d times", name, got.Version, err, asked)
		}
		if err != nil && access.CodeOf(err) == "" {
			t.Errorf("%s: %v is nobody's to read", name, err)
		}
	}
}
