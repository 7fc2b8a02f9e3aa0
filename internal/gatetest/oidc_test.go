package gatetest_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"rutile/internal/credential"
	"rutile/internal/gatetest"
)

// active asks the provider about a token.
func active(t *testing.T, issuer, token string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, issuer+"/token/introspection", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("service", url.QueryEscape("service-secret-4711+/x"))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestAgainstOIDCProvider mints at a real authorization server, in each way it
// knows: a client secret, a private key, and a person's link whose refresh tokens
// are good once.
func TestAgainstOIDCProvider(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	r := newRig(t)
	issuer, key := gatetest.OIDCProvider(t, r.d.OperatorsURL+"/approve/connected")
	for id, value := range map[string]string{"secret": "service-secret-4711+/x", "key": string(key)} {
		if _, err := r.d.Admin.SetCredential(t.Context(), operator, credential.Secret{ID: id, MaxTier: 3}, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	bearer := func() string { return strings.TrimPrefix(p.last("tools/call").header.Get("Authorization"), "Bearer ") }
	for name, source := range map[string]string{
		"a client secret": `clientID: service, secret: secret`,
		"a private key":   `clientID: keyed, secret: key, auth: private_key_jwt`,
	} {
		r.apply(mintedServer(p.URL+"/mcp", "perCall: true\nsource:\n  clientCredentials: {issuer: \""+issuer+"\", "+source+", scopes: [read]}\n"), "up")
		live := ""
		p.handle("tools/call", func(x *exchange) {
			live = active(t, issuer, strings.TrimPrefix(x.r.Header.Get("Authorization"), "Bearer "))
			x.text("fine")
		})
		if got := r.call(r.token("bot", "up"), "up", "echo", `{}`); !strings.Contains(got.body, "fine") {
			t.Fatalf("%s: %s", name, got.body)
		}
		if !strings.Contains(live, `"active":true`) || !strings.Contains(live, `"aud":"`+p.URL+`/mcp"`) || !strings.Contains(live, `"scope":"read"`) {
			t.Errorf("%s: the token in use is %s", name, live)
		}
		eventually(t, "the token is revoked", func() bool { return active(t, issuer, bearer()) == `{"active":false}` })
	}
	r.apply(mintedServer(p.URL+"/mcp", "source:\n  userOAuth: {issuer: \""+issuer+"\", clientID: person, scopes: [read, write], toolScopes: {\"ec*\": [read]}}\n")+annAct+"---\nkind: Agent\nid: cat\nowner: team\nriskTier: 1\ntools: [\"up/*\"]\n", "up")
	p.handle("tools/call", func(x *exchange) { x.text("fine") })
	page := r.d.OperatorsURL + "/approve/connect/crm/up"
	b := signedIn(t, r, "ann", page)
	if status, said := b.finish(b.connect(page)); status != http.StatusOK || !strings.Contains(said, "Connected") {
		t.Fatalf("finishing: %d %s", status, said)
	}
	// A token lasts less than is wanted of one, so that each agent's first call
	// renews the link.
	seen := map[string]bool{}
	for _, agent := range []string{"bot", "cat"} {
		if got := r.call(r.tokenFor(agent, "up", "ann"), "up", "echo", `{}`); !strings.Contains(got.body, "fine") {
			t.Fatalf("a call of a linked person: %s", got.body)
		}
		if live := active(t, issuer, bearer()); !strings.Contains(live, `"active":true`) || !strings.Contains(live, `"scope":"read"`) {
			t.Errorf("the tool was given %s", live)
		}
		seen[bearer()] = true
	}
	links, err := r.d.Links.List(t.Context())
	if err != nil || len(links) != 1 || links[0].State != credential.LinkActive || links[0].Refreshed.IsZero() || len(seen) != 2 {
		t.Fatalf("links %+v, %v; %d tokens", links, err, len(seen))
	}
	left, err := r.d.Links.Disconnect(t.Context(), links[0].ID, operator.String())
	if err != nil || left != "" || active(t, issuer, bearer()) != `{"active":false}` {
		t.Errorf("after disconnecting: left %q, %v, %s", left, err, active(t, issuer, bearer()))
	}
}
