package gatetest_test

import (
	"encoding/base64"
	"fmt"
	"html"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/credential"
	"rutile/internal/credential/oauthclient/astest"
	"rutile/internal/daemon"
)

const seedCanary = "seed-canary/4711+x"

// mintedServer is a bot, a server behind a minted credential, and that credential.
func mintedServer(at, source string) string {
	return strings.Replace(botAndServer(at, `["up/*"]`), "\nstate:", "\ncredential: {ref: crm, header: Authorization, value: \"Bearer {secret}\"}\nstate:", 1) +
		"---\nkind: Credential\nid: crm\nowner: team\nservers: [up]\n" + source
}

// TestCredentialIsMintedForACall goes the whole way with client credentials: the
// upstream sees a token that was asked for with the scope of the tool and the
// resource alone, what it repeats of it is removed, it is revoked after the call,
// and neither the seed nor the token is anywhere else.
func TestCredentialIsMintedForACall(t *testing.T) {
	t.Parallel()
	as, p := astest.New(t), newPeer(t, v2026)
	as.Secret, as.Resource = seedCanary, p.URL+"/mcp"
	p.handle("tools/call", func(x *exchange) {
		token := strings.TrimPrefix(x.r.Header.Get("Authorization"), "Bearer ")
		x.result(`{"resultType":"complete","content":[{"type":"text","text":"got ` + token + ` or ` + base64.StdEncoding.EncodeToString([]byte("x"+token)) + `"}]}`)
	})
	data := t.TempDir()
	r := startRig(t, nil, func(c *daemon.Config) { c.Data = data })
	if _, err := r.d.Admin.SetCredential(t.Context(), operator, credential.Secret{ID: "seed", MaxTier: 3}, []byte(seedCanary)); err != nil {
		t.Fatal(err)
	}
	r.apply(mintedServer(p.URL+"/mcp", "perCall: true\nsource:\n  clientCredentials: {issuer: \""+as.URL+"\", clientID: rutile, secret: seed, scopes: [all], toolScopes: {\"ec*\": [read]}}\n"), "up")
	token := r.token("bot", "up")
	var said []string
	for range 2 {
		got := r.call(token, "up", "echo", `{}`)
		if !strings.Contains(got.body, "got [credential removed] or") {
			t.Fatalf("answered %d %s", got.status, got.body)
		}
		said = append(said, got.body)
	}
	bearer := strings.TrimPrefix(p.last("tools/call").header.Get("Authorization"), "Bearer ")
	forms := as.Forms()
	last := forms[len(forms)-1]
	if last.Get("scope") != "read" || last.Get("resource") != p.URL+"/mcp" || last.Get("client_secret") != "" {
		t.Errorf("asked with %v", last)
	}
	eventually(t, "the tokens of both calls and of the listing are revoked", func() bool { return len(as.Access()) == 0 })
	// The authorization server fails: the call is refused and goes nowhere.
	as.Token = func(w http.ResponseWriter, _ *http.Request, form url.Values) bool {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error":"invalid_client","error_description":"%s is wrong"}`, seedCanary)
		return true
	}
	before := len(p.got("tools/call"))
	refused := r.call(token, "up", "echo", `{}`)
	if len(p.got("tools/call")) != before || !strings.Contains(refused.body, "refuses: invalid_client") {
		t.Errorf("without a token: %s", refused.body)
	}
	said = append(said, refused.body, r.logs.String())
	minted, statuses := 0, ""
	for _, l := range r.leaves(0) {
		said = append(said, l.raw)
		if strings.Contains(l.raw, `"kind":"clientCredentials"`) && strings.Contains(l.raw, `"minted":"`) {
			minted++
		}
		if strings.Contains(l.raw, `"st":"`) {
			statuses += regexp.MustCompile(`"st":"([a-z_]+)"`).FindStringSubmatch(l.raw)[1] + " "
		}
	}
	if minted != 2 || !strings.HasSuffix(statuses, "ok ok refused ") {
		t.Errorf("%d outcomes name what was minted; outcomes %s", minted, statuses)
	}
	said = append(said, files(t, data)...)
	r.stop()
	said = append(said, files(t, data)...)
	noneHolds(t, said, seedCanary)
	noneHolds(t, said, bearer)
}

const annAct = "---\nkind: User\nid: ann\n---\nkind: User\nid: bob\n"

// browser is one in which a person may be signed in.
type browser struct {
	t *testing.T
	r *rig
	c *http.Client

	finishing string // where the form of the page a person came back to leads
}

// signedIn is a browser in which a person is signed in for a page.
func signedIn(t *testing.T, r *rig, person, page string) *browser {
	t.Helper()
	tk, err := r.d.Admin.CreateUserToken(t.Context(), operator, person, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	jar, _ := cookiejar.New(nil) // never fails without options
	b := &browser{t: t, r: r, c: &http.Client{Jar: jar}}
	t.Cleanup(b.c.CloseIdleConnections)
	where := strings.TrimPrefix(page, r.d.OperatorsURL+"/approve/")
	if status, body := visit(t, b.c, r.d.OperatorsURL+"/approve/sign-in", r.d.OperatorsURL, url.Values{"request": {where}, "token": {tk.Token}}); status != http.StatusOK {
		t.Fatalf("signing in: %d %s", status, body)
	}
	return b
}

// connect presses Connect on a page and returns where it leads: the page a person
// comes back to, with its fields.
func (b *browser) connect(page string) url.Values {
	b.t.Helper()
	_, body := visit(b.t, b.c, page, "", nil)
	form := regexp.MustCompile(`name="form" value="([^"]+)"`).FindStringSubmatch(body)
	if form == nil {
		b.t.Fatalf("the page of the connection: %s", body)
	}
	_, body = visit(b.t, b.c, page, b.r.d.OperatorsURL, url.Values{"form": {form[1]}})
	link := regexp.MustCompile(`<a href="([^"]+)" rel="noreferrer">`).FindStringSubmatch(body)
	if link == nil {
		b.t.Fatalf("connecting: %s", body)
	}
	status, body := visit(b.t, b.c, html.UnescapeString(link[1]), "", nil)
	if status != http.StatusOK || !strings.Contains(body, "Finish connecting") {
		b.t.Fatalf("coming back: %d %s", status, body)
	}
	b.finishing = "/approve/connected"
	if m := regexp.MustCompile(`action="(/approve/connected/[0-9a-f]{32})"`).FindStringSubmatch(body); m != nil {
		b.finishing = m[1]
	}
	fields := url.Values{}
	for _, m := range regexp.MustCompile(`type="hidden" name="([a-z]+)" value="([^"]*)"`).FindAllStringSubmatch(body, -1) {
		fields.Set(m[1], m[2])
	}
	return fields
}

func (b *browser) finish(fields url.Values) (int, string) {
	b.t.Helper()
	return visit(b.t, b.c, b.r.d.OperatorsURL+b.finishing, b.r.d.OperatorsURL, fields)
}

func (r *rig) tokenFor(agent, server, subject string) string {
	r.t.Helper()
	tk, err := r.d.Admin.IssueDevelopmentToken(r.t.Context(), operator, admin.TokenRequest{Agent: agent, Server: server, Subject: subject, TTL: time.Hour})
	if err != nil {
		r.t.Fatal(err)
	}
	return tk.Value
}

const opensMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{"url":{}}}}`

// TestAPersonConnectsAServerOnce goes the whole way: an agent is told where its
// person connects, the person does, the same call goes on, and later calls of that
// person's agent use and renew the link; nobody else's do.
func TestAPersonConnectsAServerOnce(t *testing.T) {
	t.Parallel()
	as, p := astest.New(t), newPeer(t, v2026)
	as.Life = 1 // every call renews
	data := t.TempDir()
	r := startRig(t, nil, func(c *daemon.Config) { c.Data = data })
	r.apply(mintedServer(p.URL+"/mcp", "source:\n  userOAuth: {issuer: \""+as.URL+"\", scopes: [mail.read]}\n")+annAct, "up")
	ann := r.tokenFor("bot", "up", "ann")
	body := func(more string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{},` + more + opensMeta + `}}`
	}
	asked := post(t, r.url("up"), modernHeaders(ann, "tools/call", "echo"), body(""))
	page := r.d.OperatorsURL + "/approve/connect/crm/up"
	state := regexp.MustCompile(`"requestState":("[^"]+")`).FindStringSubmatch(asked.body)
	if state == nil || !strings.Contains(asked.body, `"url":"`+page+`"`) || len(p.got("tools/call")) != 0 {
		t.Fatalf("without a link: %s", asked.body)
	}
	if denied := r.call(r.token("bot", "up"), "up", "echo", `{}`); !strings.Contains(denied.body, "acts for nobody") {
		t.Errorf("without a person: %s", denied.body)
	}
	if told := r.call(ann, "up", "echo", `{}`); !strings.Contains(told.body, page) || !strings.Contains(told.body, `"class":"connect"`) {
		t.Errorf("a client that opens nothing: %s", told.body)
	}
	b := signedIn(t, r, "ann", page)
	back := b.connect(page)
	// Bob finishing what ann began connects nobody, and uses it up.
	bob := signedIn(t, r, "bob", page)
	bob.finishing = b.finishing
	if status, said := bob.finish(back); status != http.StatusForbidden || !strings.Contains(said, "somebody else") {
		t.Errorf("finished by another: %d %s", status, said)
	}
	if status, said := b.finish(back); status != http.StatusBadRequest {
		t.Errorf("a state was good twice: %d %s", status, said)
	}
	if status, said := b.finish(b.connect(page)); status != http.StatusOK || !strings.Contains(said, "Connected") {
		t.Fatalf("finishing: %d %s", status, said)
	}
	went := post(t, r.url("up"), modernHeaders(ann, "tools/call", "echo"), body(`"requestState":`+state[1]+`,"inputResponses":{"connect":{"action":"accept"}},`))
	if went.msg.Result == nil || strings.Contains(went.body, "isError\":true") || len(p.got("tools/call")) != 1 {
		t.Fatalf("the retry: %s", went.body)
	}
	for range 3 {
		if got := r.call(ann, "up", "echo", `{}`); strings.Contains(got.body, "isError\":true") || got.msg.Error != nil {
			t.Fatalf("a later call: %s", got.body)
		}
	}
	if n, err := r.d.Admin.RewrapCredentials(t.Context(), operator); n != 1 || err != nil {
		t.Errorf("sealing the connection anew: %d, %v", n, err)
	}
	if got := r.call(ann, "up", "echo", `{}`); strings.Contains(got.body, "isError\":true") || got.msg.Error != nil {
		t.Errorf("a call after it: %s", got.body)
	}
	if other := r.call(r.tokenFor("bot", "up", "bob"), "up", "echo", `{}`); !strings.Contains(other.body, `"class":"connect"`) {
		t.Errorf("bob used what ann connected: %s", other.body)
	}
	if as.Clients() != 1 {
		t.Errorf("%d clients registered", as.Clients())
	}
	calls := len(p.got("tools/call"))
	if ended, err := r.d.Admin.RemoveCredential(t.Context(), operator, "crm"); err != nil || ended.Revoked != 1 || ended.Left != nil || len(as.Revoked()) == 0 {
		t.Errorf("ended %+v, %v; %d tokens were revoked", ended, err, len(as.Revoked()))
	}
	if got := r.call(ann, "up", "echo", `{}`); len(p.got("tools/call")) != calls {
		t.Errorf("a credential that was taken back was used: %s", got.body)
	}
	bearer := strings.TrimPrefix(p.last("tools/call").header.Get("Authorization"), "Bearer ")
	said := append(files(t, data), r.logs.String())
	for _, l := range r.leaves(0) {
		said = append(said, l.raw)
	}
	noneHolds(t, said, bearer)
	for _, f := range as.Forms() {
		if rt := f.Get("refresh_token"); rt != "" {
			noneHolds(t, said, rt)
		}
	}
}
