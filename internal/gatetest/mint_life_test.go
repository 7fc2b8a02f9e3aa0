package gatetest_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"rutile/internal/credential"
	"rutile/internal/credential/oauthclient"
	"rutile/internal/credential/oauthclient/astest"
)

// TestMintedStaysWhereItWasDeclared goes the whole way: a server that is moved by its
// entry alone gets no token at its new address, neither for calls nor for lists; after
// the credential names that address it does; and removing the credential revokes what
// is alive, kept as it is.
func TestMintedStaysWhereItWasDeclared(t *testing.T) {
	t.Parallel()
	as, home, away := astest.New(t), newPeer(t, v2026), newPeer(t, v2026)
	for _, p := range []*peer{home, away} {
		p.handle("tools/call", func(x *exchange) { x.text("fine") })
	}
	r := newRig(t)
	if _, err := r.d.Admin.SetCredential(t.Context(), operator, credential.Secret{ID: "seed", MaxTier: 3}, []byte(seedCanary)); err != nil {
		t.Fatal(err)
	}
	source := "source:\n  clientCredentials: {issuer: \"" + as.URL + "\", clientID: rutile, secret: seed, scopes: [read]}\n"
	r.apply(mintedServer(home.URL+"/mcp", source), "up")
	token := r.token("bot", "up")
	if got := r.call(token, "up", "echo", `{}`); !strings.Contains(got.body, "fine") {
		t.Fatalf("at home: %s", got.body)
	}
	moved, manifest, _ := strings.Cut(mintedServer(away.URL+"/mcp", source), "---\nkind: Credential")
	r.apply(moved)
	if err := r.d.Proxy.Learn(t.Context(), "up"); err == nil {
		t.Error("it listed at its new address")
	}
	if got := r.call(token, "up", "echo", `{}`); !strings.Contains(got.body, "is not bound to "+away.URL) || !strings.Contains(got.body, "write origins: ["+away.URL+"]") {
		t.Errorf("moved: %s", got.body)
	}
	for _, s := range away.all() {
		if s.header.Get("Authorization") != "" {
			t.Errorf("%s %s came with a credential", s.verb, s.method)
		}
	}
	if c, err := r.d.Admin.ShowCredential(t.Context(), "crm"); err != nil || c.State != "elsewhere" || c.Minted == "" || c.LastUsed.IsZero() {
		t.Errorf("shown %+v, %v", c, err)
	}
	r.apply("kind: Credential"+strings.Replace(manifest, "source:", "origins: [\""+away.URL+"\"]\nsource:", 1), "up")
	if got := r.call(token, "up", "echo", `{}`); !strings.Contains(got.body, "fine") {
		t.Fatalf("after origins: %s", got.body)
	}
	bearer := strings.TrimPrefix(away.last("tools/call").header.Get("Authorization"), "Bearer ")
	if _, alive := as.Access()[bearer]; !alive {
		t.Fatal("what is used again is revoked")
	}
	ended, err := r.d.Admin.RemoveCredential(t.Context(), operator, "crm")
	if _, alive := as.Access()[bearer]; err != nil || ended.Revoked == 0 || ended.Left != nil || alive {
		t.Errorf("removed: %+v, %v, alive %t", ended, err, alive)
	}
	revoked := false
	for _, l := range r.leaves(0) {
		revoked = revoked || strings.Contains(l.raw, `"verb":"revoke"`) && strings.Contains(l.raw, `"kind":"Credential"`)
	}
	if !revoked {
		t.Error("the revocation is not in the evidence")
	}
}

// TestAPersonConnectsAtASilentServerAndEndsIt: an authorization server that does not
// say who it is sends people back to an address of its own, and to no other; the person
// sees the connection and ends it, and nobody else can.
func TestAPersonConnectsAtASilentServerAndEndsIt(t *testing.T) {
	t.Parallel()
	as, p := astest.New(t), newPeer(t, v2026)
	as.Metadata = func(m map[string]any) { delete(m, "authorization_response_iss_parameter_supported") }
	as.Return = func(q url.Values) { q.Del("iss") }
	p.handle("tools/call", func(x *exchange) { x.text("fine") })
	r := newRig(t)
	r.apply(mintedServer(p.URL+"/mcp", "source:\n  userOAuth: {issuer: \""+as.URL+"\", scopes: [mail.read]}\n")+annAct, "up")
	page, own := r.d.OperatorsURL+"/approve/connect/crm/up", r.d.OperatorsURL+"/approve/connections"
	b := signedIn(t, r, "ann", page)
	fields := b.connect(page)
	if b.finishing != "/approve/connected/"+oauthclient.Tag(as.URL) {
		t.Fatalf("came back to %s", b.finishing)
	}
	b.finishing = "/approve/connected/" + oauthclient.Tag("https://honest.example")
	if status, said := b.finish(fields); status != http.StatusForbidden || !strings.Contains(said, "not of the authorization server") {
		t.Errorf("at another's address: %d %s", status, said)
	}
	if status, said := b.finish(b.connect(page)); status != http.StatusOK || !strings.Contains(said, "Connected") {
		t.Fatalf("finishing: %d %s", status, said)
	}
	if got := r.call(r.tokenFor("bot", "up", "ann"), "up", "echo", `{}`); !strings.Contains(got.body, "fine") {
		t.Fatalf("a call: %s", got.body)
	}
	forgets(t, r, p, as)
	if status, said := b.finish(b.connect(page)); status != http.StatusOK {
		t.Fatalf("connecting anew: %d %s", status, said)
	}
	p.handle("tools/call", func(x *exchange) { x.text("fine") })
	gone := len(as.Revoked())
	form := regexp.MustCompile(`name="form" value="([^"]+)"`)
	link := regexp.MustCompile(`name="link" value="([^"]+)"`)
	_, seen := visit(t, b.c, own, "", nil)
	id := link.FindStringSubmatch(seen)
	if id == nil || !strings.Contains(seen, as.URL) {
		t.Fatalf("ann sees %s", seen)
	}
	bob := signedIn(t, r, "bob", own)
	_, seen = visit(t, bob.c, own, "", nil)
	if link.MatchString(seen) {
		t.Errorf("bob sees %s", seen)
	}
	if status, said := visit(t, bob.c, own, r.d.OperatorsURL, url.Values{"form": {form.FindStringSubmatch(seen)[1]}, "link": {id[1]}}); status != http.StatusNotFound || len(as.Revoked()) != gone {
		t.Errorf("bob ended it: %d %s", status, said)
	}
	_, seen = visit(t, b.c, own, "", nil)
	if status, said := visit(t, b.c, own, r.d.OperatorsURL, url.Values{"form": {"another session's"}, "link": {id[1]}}); status != http.StatusForbidden || len(as.Revoked()) != gone {
		t.Errorf("with a foreign form: %d %s", status, said)
	}
	if status, said := visit(t, b.c, own, r.d.OperatorsURL, url.Values{"form": {form.FindStringSubmatch(seen)[1]}, "link": {id[1]}}); status != http.StatusOK || !strings.Contains(said, "tokens are revoked") || len(as.Revoked()) != gone+2 {
		t.Errorf("ann ended it: %d %s", status, said)
	}
	if got := r.call(r.tokenFor("bot", "up", "ann"), "up", "echo", `{}`); !strings.Contains(got.body, `"class":"connect"`) {
		t.Errorf("after it: %s", got.body)
	}
}

// forgets is a server that forgets tokens before they end: the call goes on with a new
// one, once, and where that is not taken either its person is asked to connect anew.
func forgets(t *testing.T, r *rig, p *peer, as *astest.Server) {
	t.Helper()
	ann := r.tokenFor("bot", "up", "ann")
	since := r.d.Evidence.Size()
	first, ran := p.last("tools/call").header.Get("Authorization"), 0
	p.handle("tools/call", func(x *exchange) {
		if x.r.Header.Get("Authorization") == first {
			x.status(http.StatusUnauthorized, `{"error":"chatter"}`)
			return
		}
		ran++
		x.text("renewed for " + x.r.Header.Get("Authorization"))
	})
	got := r.call(ann, "up", "echo", `{}`)
	bearer := strings.TrimPrefix(p.last("tools/call").header.Get("Authorization"), "Bearer ")
	if !strings.Contains(got.body, "renewed") || ran != 1 || strings.Contains(got.body, bearer) {
		t.Errorf("a token that was forgotten: ran %d times, %s", ran, got.body)
	}
	said := r.since(since)
	if last := said[len(said)-1]; last.Type != "outcome" || strings.Count(last.raw, `"minted"`) != 2 {
		t.Errorf("the outcome names not both: %s", last.raw)
	}
	p.handle("tools/call", func(x *exchange) { x.status(http.StatusUnauthorized, `{"error":"chatter"}`) })
	before := len(p.got("tools/call"))
	got = r.call(ann, "up", "echo", `{}`)
	if n := len(p.got("tools/call")) - before; n > 2 || !strings.Contains(got.body, `"class":"connect"`) || strings.Contains(got.body, "chatter") {
		t.Errorf("no token is taken: %d requests, %s", n, got.body)
	}
	if got := r.call(ann, "up", "echo", `{}`); len(p.got("tools/call"))-before > 2 || !strings.Contains(got.body, `"class":"connect"`) {
		t.Errorf("after it: %s", got.body)
	}
	eventually(t, "what was of no use is revoked", func() bool { return strings.Contains(strings.Join(as.Revoked(), " "), bearer) })
}
