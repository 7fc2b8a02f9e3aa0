package gatetest_test

import (
	"net/http"
	"strings"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/credential"
	"rutile/internal/credential/oauthclient/astest"
	"rutile/internal/grant"
)

// TestRevokingAGrantEndsWhatWasMinted goes the whole way: calls are denied at once, the
// token their server saw is revoked, and while the authorization server does not do that
// the grant says what lives. It is asked again until it does.
func TestRevokingAGrantEndsWhatWasMinted(t *testing.T) {
	t.Parallel()
	as, p := astest.New(t), newPeer(t, v2026)
	as.Secret, as.Resource = seedCanary, p.URL+"/mcp"
	r := startRig(t, nil)
	if _, err := r.d.Admin.SetCredential(t.Context(), operator, credential.Secret{ID: "seed", MaxTier: 3}, []byte(seedCanary)); err != nil {
		t.Fatal(err)
	}
	manifests := strings.Replace(mintedServer(p.URL+"/mcp", "source:\n  clientCredentials: {issuer: \""+as.URL+"\", clientID: rutile, secret: seed, scopes: [read]}\n"), `["up/*"]`, "[]", 1)
	r.apply(manifests+"---\nkind: Entitlement\nid: echoes\nowner: team\nagents: [bot]\ntools: [\"up/echo\"]\n", "up")
	token := r.token("bot", "up")
	given := func() grant.Grant {
		t.Helper()
		g, err := r.d.Desk.CreateGrant(t.Context(), operator, admin.GrantSpec{Agent: "bot", Server: "up", Tool: "echo", Seconds: 600})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.call(token, "up", "echo", `{}`); strings.Contains(got.body, "require_approval") {
			t.Fatalf("under a grant: %s", got.body)
		}
		return g
	}
	seen := func() string {
		return strings.TrimPrefix(p.last("tools/call").header.Get("Authorization"), "Bearer ")
	}
	revoke := func(id string) grant.Grant {
		t.Helper()
		g, err := r.d.Desk.RevokeGrant(t.Context(), operator, id, "enough")
		if err != nil {
			t.Fatal(err)
		}
		before := len(p.got("tools/call"))
		if got := r.call(token, "up", "echo", `{}`); len(p.got("tools/call")) != before || !strings.Contains(got.body, "require_approval") {
			t.Errorf("after the revocation: %s", got.body)
		}
		return g.Grant
	}
	first := given()
	one := seen()
	if g := revoke(first.ID); g.State != grant.GrantRevoked || as.Access()[one] != nil {
		t.Errorf("it is %s, and its token lives: %t", g.State, as.Access()[one] != nil)
	}
	as.Revoking(http.StatusServiceUnavailable)
	second := given()
	two := seen()
	if two == one {
		t.Error("a revoked token is used again")
	}
	g := revoke(second.ID)
	if g.State != grant.GrantRevokePartial || len(g.Left) != 1 || g.Left[0].Credential != "crm" || g.Left[0].Until.IsZero() || !strings.Contains(g.Left[0].Why, "503") {
		t.Errorf("it is %s: %+v", g.State, g.Left)
	}
	as.Revoking(0)
	eventually(t, "its token is revoked", func() bool {
		v, err := r.d.Desk.Grant(t.Context(), second.ID)
		return err == nil && v.State == grant.GrantRevoked && as.Access()[two] == nil
	})
	// The last leaf is owed by the change it is about, and written after it.
	eventually(t, "the evidence says each step", func() bool {
		verbs := ""
		for _, l := range r.leaves(0) {
			for _, verb := range []string{"revoke", "revoke-partial", "revoke-end"} {
				if strings.Contains(l.raw, second.ID) && strings.Contains(l.raw, `"`+verb+`"`) && strings.Contains(l.raw, `"Grant"`) {
					verbs += verb + " "
				}
			}
		}
		return verbs == "revoke revoke-partial revoke-end "
	})
}
