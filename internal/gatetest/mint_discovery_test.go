package gatetest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/credential/oauthclient/astest"
)

// TestUpstreamThatRefusesWhatWasMinted: a challenge for more scopes is answered to the
// agent and asks for nothing more; a token that is not taken is not used again, and
// nothing of a challenge is repeated.
func TestUpstreamThatRefusesWhatWasMinted(t *testing.T) {
	t.Parallel()
	as, p := astest.New(t), newPeer(t, v2026)
	r := newRig(t)
	if _, err := r.d.Admin.SetCredential(t.Context(), operator, credential.Secret{ID: "seed", MaxTier: 3}, []byte(seedCanary)); err != nil {
		t.Fatal(err)
	}
	r.apply(mintedServer(p.URL+"/mcp", "source:\n  clientCredentials: {issuer: \""+as.URL+"\", clientID: rutile, secret: seed, scopes: [read]}\n"), "up")
	token := r.token("bot", "up")
	bearer := func() string { return p.last("tools/call").header.Get("Authorization") }
	answer := func(status int, challenge string) {
		p.handle("tools/call", func(x *exchange) {
			x.w.Header().Set("WWW-Authenticate", challenge)
			x.status(status, `{"error":"chatter"}`)
		})
	}
	answer(http.StatusForbidden, `Bearer error="insufficient_scope", scope="admin:everything", resource_metadata="`+p.URL+`/evil"`)
	got := r.call(token, "up", "echo", `{}`)
	if !strings.Contains(got.body, "insufficient_scope") || !strings.Contains(got.body, "toolScopes") || strings.Contains(got.body, "admin:everything") {
		t.Errorf("more scopes: %s", got.body)
	}
	first := bearer()
	if got := r.call(token, "up", "echo", `{}`); bearer() != first || !strings.Contains(got.body, "insufficient_scope") {
		t.Errorf("again: %s", got.body)
	}
	for _, form := range as.Forms() {
		if form.Get("scope") != "read" {
			t.Errorf("it asked for %q", form.Get("scope"))
		}
	}
	answer(http.StatusUnauthorized, `Bearer error="invalid_token"`)
	calls := len(p.got("tools/call"))
	got = r.call(token, "up", "echo", `{}`)
	second := bearer()
	if n := len(p.got("tools/call")) - calls; n != 2 || second == first || !strings.Contains(got.body, "is not used again") || strings.Contains(got.body, "chatter") {
		t.Errorf("a token that is not taken, nor the one that was minted for it: %d requests, %s", n, got.body)
	}
	p.handle("tools/call", func(x *exchange) { x.text("fine") })
	if got := r.call(token, "up", "echo", `{}`); !strings.Contains(got.body, "fine") || bearer() == first || bearer() == second {
		t.Errorf("after it: %s", got.body)
	}
	eventually(t, "the token that was not taken is revoked", func() bool {
		return strings.Contains(strings.Join(as.Revoked(), " "), strings.TrimPrefix(first, "Bearer "))
	})
}

// TestAuthorizationServersLiveWhereUpstreamsMay: an issuer at a private address,
// written in the manifest or named by the upstream, is asked nothing, in whatever form
// the address is written.
func TestAuthorizationServersLiveWhereUpstreamsMay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := newPeer(t, v2026)
	if _, err := r.d.Admin.SetCredential(t.Context(), operator, credential.Secret{ID: "seed", MaxTier: 3}, []byte(seedCanary)); err != nil {
		t.Fatal(err)
	}
	r.apply(mintedServer(p.URL+"/mcp", "source:\n  clientCredentials: {issuer: \""+astest.New(t).URL+"\", clientID: rutile, secret: seed}\n"), "up")
	for _, host := range []string{"10.1.2.3", "169.254.169.254", "[::ffff:a9fe:a9fe]", "[fd00::1]", "192.168.1.1:8443", "[64:ff9b::a9fe:a9fe]"} {
		r.apply(mintedServer(p.URL+"/mcp", "source:\n  clientCredentials: {issuer: \"https://"+host+"\", clientID: rutile, secret: seed}\n"))
		if got := r.call(r.token("bot", "up"), "up", "echo", `{}`); len(p.got("tools/call")) != 0 || !strings.Contains(got.body, "cannot be reached") || strings.Contains(got.body, "169.254") {
			t.Errorf("%s: %s", host, got.body)
		}
	}
}

// TestLegacyClientIsSentToConnect: before anybody connected, the handshake says where;
// a client of 2025-11-25 that opens addresses is sent there by error -32042 when the
// connection ends later, another is told in a denial, and after the person connected
// anew the same session goes on.
func TestLegacyClientIsSentToConnect(t *testing.T) {
	t.Parallel()
	as, p := astest.New(t), newPeer(t, v2026)
	p.handle("tools/call", func(x *exchange) { x.text("fine") })
	r := newRig(t)
	r.apply(mintedServer(p.URL+"/mcp", "source:\n  userOAuth: {issuer: \""+as.URL+"\", scopes: [mail.read]}\n")+annAct, "up")
	token, page := r.tokenFor("bot", "up", "ann"), r.d.OperatorsURL+"/approve/connect/crm/up"
	early := &oldClient{t: t, r: r, token: token, server: "up", version: v2511}
	said := early.post(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"` + v2511 + `","capabilities":{},"clientInfo":{"name":"old","version":"1"}}}`)
	if !strings.Contains(said.body, page) || !strings.Contains(said.body, `"class":"connect"`) {
		t.Errorf("the handshake: %s", said.body)
	}
	b := signedIn(t, r, "ann", page)
	connect := func() {
		t.Helper()
		if status, said := b.finish(b.connect(page)); status != http.StatusOK {
			t.Fatalf("finishing: %d %s", status, said)
		}
	}
	connect()
	opens, plain := r.legacy(token, "up", v2511, `{"elicitation":{"url":{}}}`), r.legacy(token, "up", v2511, `{}`)
	if _, err := r.d.Links.Disconnect(t.Context(), credential.LinkID("crm", "up", access.Subject{Issuer: r.d.AgentsURL, ID: "ann"}), operator.String()); err != nil {
		t.Fatal(err)
	}
	if got := opens.call("echo", `{}`); !strings.Contains(got.body, `"code":-32042`) || !strings.Contains(got.body, fmt.Sprintf(`"mode":"url","url":%q`, page)) || !strings.Contains(got.body, `"elicitationId":"`) {
		t.Errorf("a client that opens addresses: %s", got.body)
	}
	if got := plain.call("echo", `{}`); strings.Contains(got.body, "-32042") || !strings.Contains(got.body, page) {
		t.Errorf("one that does not: %s", got.body)
	}
	connect()
	if got := opens.call("echo", `{}`); !strings.Contains(got.body, "fine") {
		t.Errorf("after it: %s", got.body)
	}
	if len(p.got("tools/call")) != 1 {
		t.Errorf("%d calls were made", len(p.got("tools/call")))
	}
}
