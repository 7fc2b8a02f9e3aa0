package browsertest_test

import (
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"rutile/internal/credential/oauthclient/astest"
	"rutile/internal/daemon"
	"rutile/internal/gatetest"
	"rutile/internal/registry"
	"rutile/internal/signin/signintest"
	"rutile/internal/store"
)

// wider is what pages of the rig lack: a server that was only discovered, agents to be
// tried, reviewed and made to spend, a rule that holds sessions, and people who answer.
const wider = `kind: Server
id: seen-shop
owner: team-dev
state: discovered
transport: {http: {url: "URL"}}
---
kind: Agent
id: tidy-bot
owner: team-dev
riskTier: 1
tools: ["shop/tidy"]
---
kind: Agent
id: drop-bot
owner: team-dev
riskTier: 1
---
kind: Agent
id: spend-bot
owner: team-dev
riskTier: 1
---
kind: Entitlement
id: spending
owner: team-dev
agents: [spend-bot]
tools: ["shop/order"]
maxTTL: 1h
budget: {unit: EUR-cent, amount: 500, arg: /amount}
---
kind: Policy
id: hold
cedar: |
  @outcome("quarantine") @target("session")
  forbid (principal == Mcp::Agent::"release-bot", action == Mcp::Action::"shop/tidy", resource);
---
kind: User
id: dee
roles: [approver, operator]
---
kind: User
id: gil
roles: [approver]
`

// TestEveryButtonDoesWhatItSays uses the forms that the other tests have not, as an admin
// and as who answers requests, and looks at what came of it where it is kept.
func TestEveryButtonDoesWhatItSays(t *testing.T) {
	for name, scripts := range map[string]bool{"with scripts": true, "without scripts": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, seeded(t, func(s *store.Store) error { return ages(t.Context(), s) }))
			up := httptest.NewServer(r.upstream())
			t.Cleanup(up.Close)
			r.apply(strings.ReplaceAll(wider, "URL", up.URL))
			b := open(t, scripts)
			b.enter(r.link(user("root")))
			for _, part := range []struct {
				name string
				f    func(*rig, *browser)
			}{{"searches", searches}, {"found", found}, {"findings", findings}, {"work", work}, {"reviews", reviews}, {"servers", servers}, {"definitions", definitions}, {"agents", agents}, {"people", people}} {
				began := time.Now()
				part.f(r, b)
				b.quiet(part.name)
				t.Log(part.name, time.Since(began).Round(time.Millisecond))
			}
			b.click(`form[action="/approve/sign-out"] button`)
			b.enter(r.link(user("dee")))
			answers(r, b)
			glass(r, b)
			signed(r, b)
			b.quiet("answering")
		})
	}
}

// servers takes a server through all its states.
func servers(r *rig, b *browser) {
	step := func(id, verb string, want registry.ServerState) {
		b.visit(r.base + "/console/servers/" + id)
		why := "#why"
		if verb == "deprecate" {
			why = "#why-deprecate"
			b.day("#ends", 2031, 3, 9)
			b.fill("#replacement", "shop")
		}
		b.fill(why, "because of "+verb)
		has(b.t, verb, b.click(`main button[value="`+verb+`"]`), "Server "+id+" is "+string(want)+".", "because of "+verb)
		if s, _ := r.d.Admin.Current().View.Server(id); s.State != want {
			b.t.Errorf("after %s the server is %s", verb, s.State)
		}
	}
	step("seen-shop", "triage", registry.ServerTriaged)
	step("new-shop", "approve", registry.ServerSanctioned)
	step("new-shop", "deprecate", registry.ServerDeprecated)
	step("new-shop", "quarantine", registry.ServerQuarantined)
	step("new-shop", "release", registry.ServerTriaged)
	step("new-shop", "block", registry.ServerBlocked)
	step("new-shop", "release", registry.ServerTriaged)
	step("new-shop", "retire", registry.ServerRetired)
}

// definitions takes a tool through all its states, approves it with another class, and
// has one learned anew that behaves oddly.
func definitions(r *rig, b *browser) {
	step := func(verb string, want registry.ToolState) {
		b.visit(r.base + "/console/tool?name=look&server=shop")
		if verb == "approve" {
			b.fill("#class", "write,egress")
			b.fill("#tier", "2")
			b.fill("#why-approve", "because of approve")
		} else {
			b.fill("#why", "because of "+verb)
		}
		has(b.t, verb, b.click(`main button[value="`+verb+`"]`), "look is "+string(want))
		if x, _ := r.d.Admin.Current().View.Tool("shop", "look"); x.State != want {
			b.t.Errorf("after %s the tool is %s", verb, x.State)
		}
	}
	step("quarantine", registry.ToolQuarantined)
	step("release", registry.ToolChanged)
	step("approve", registry.ToolApproved)
	if x, _ := r.d.Admin.Current().View.Tool("shop", "look"); r.d.Admin.Current().View.Class(x).Tier != 2 {
		b.t.Errorf("the tool is of tier %d", r.d.Admin.Current().View.Class(x).Tier)
	}
	step("block", registry.ToolBlocked)
	step("release", registry.ToolChanged)
	step("approve", registry.ToolApproved)
	token := r.tokenOf("tidy-bot", "shop", "ann")
	for range 3 {
		r.send(b.t.Context(), token, "shop", "tidy", `{}`)
	}
	has(b.t, "what it does", b.visit(r.base+"/console/tool?name=tidy&server=shop"), "How it behaves", "This is as it should be")
	b.fill("#why-relearn", "it tidies up")
	has(b.t, "relearning", b.click(`main button[value="relearn"]`), "learned anew")
	b.visit(r.base + "/console/tool?name=drop&server=shop")
	b.fill("#why", "never")
	has(b.t, "retiring", b.click(`main button[value="retire"]`), "drop is retired.")
}

// agents takes an agent through all its states, by its page and by what revokes it.
func agents(r *rig, b *browser) {
	step := func(verb string, want registry.AgentState) {
		b.visit(r.base + "/console/agents/spare-bot")
		b.fill("#why", "because of "+verb)
		has(b.t, verb, b.click(`main button[value="`+verb+`"]`), "Agent spare-bot is "+string(want)+".")
		if r.agent("spare-bot") != want {
			b.t.Errorf("after %s the agent is %s", verb, r.agent("spare-bot"))
		}
	}
	step("suspend", registry.AgentSuspended)
	step("resume", registry.AgentActive)
	step("quarantine", registry.AgentQuarantined)
	step("resume", registry.AgentActive)
	step("retire", registry.AgentRetired)
}

// people changes what a person is and signs in with.
func people(r *rig, b *browser) {
	tok, err := r.d.Admin.CreateUserToken(b.t.Context(), keeper, "odd", "laptop", 0)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := r.d.SignIns.GivePassword(b.t.Context(), keeper, "odd", "correct horse battery"); err != nil {
		b.t.Fatal(err)
	}
	page := r.base + "/console/people/odd"
	has(b.t, "a person", b.visit(page), "laptop", "password")
	u, _ := r.d.Admin.Current().View.User("odd")
	b.fill("#why-"+u.Factors[0].ID, "forgotten")
	b.submitted(b.click(`form[action="/console/people/odd/factor"] button`), "Neither a passkey nor a password")
	b.fill("#why-"+tok.ID, "lost")
	b.submitted(b.click(`form[action="/console/people/odd/token"] button`), "counts no more.")
	b.fill("#why", "gone")
	b.submitted(b.click(`form[action="/console/people/odd/sign-out"] button`), "Every session of odd has ended.")
	for _, s := range []struct {
		verb string
		want registry.UserState
	}{{"suspend", registry.UserSuspended}, {"resume", registry.UserActive}, {"retire", registry.UserRetired}} {
		b.visit(r.base + "/console/people")
		b.fill("#why-odd", "because of "+s.verb)
		b.click(`#why-odd ~ button[value="` + s.verb + `"]`)
		if u, _ := r.d.Admin.Current().View.User("odd"); u.State != s.want {
			b.t.Errorf("after %s the person is %s", s.verb, u.State)
		}
	}
}

// day writes a day into a field, as an American keyboard does.
func (b *browser) day(sel string, year, month, day int) {
	b.t.Helper()
	b.keys(sel, fmt.Sprintf("%02d%02d%04d", month, day, year))
}

// TestAnAccountIsItsPersons: a password is set and signs in, another session is ended,
// and what one signs in with is taken away again.
func TestAnAccountIsItsPersons(t *testing.T) {
	both(t, func(t *testing.T, r *rig, b *browser) {
		const chosen = "correct horse battery"
		account := r.local() + "/console/account"
		has(t, "the account", b.token(account, r.personalToken("vic")), "Your account")
		b.fill("#new", chosen)
		b.fill("#again", chosen)
		text := b.click(`form[action="/console/account/password"] button`)
		secret, others := regexp.MustCompile(`[A-Z2-7]{32}`).FindString(text), regexp.MustCompile(`[a-z2-7]{4}(-[a-z2-7]{4}){3}`).FindAllString(text, 3)
		b.fill("#code", signintest.Code(t, secret, time.Now()))
		has(t, "the password", b.click(`main form button`), "The password is set")
		other := r.sign(user("vic"))
		label := regexp.MustCompile(`name="session" value="([^"]+)"[^>]*>[^<]*</button></form></td></tr>`)
		_, body := other.get("/console/account")
		for _, m := range label.FindAllStringSubmatch(body, -1) {
			if !strings.Contains(body, m[1]+` <b>`) { // not the one that looks
				continue
			}
			b.visit(account)
			b.click(`button[name="session"][value="` + m[1] + `"]`)
		}
		if status, _ := other.get("/console/account"); status != 401 {
			t.Errorf("the session that was ended answers %d", status)
		}
		has(t, "out of all", b.click(`button[value="all"]`), "Personal token")
		b.visit(account)
		b.fill("#user", "vic")
		b.fill("#password", chosen)
		b.fill("#code", others[0])
		has(t, "with a password", b.click(`form[action="/console/sign-in/password"] button`), "9 recovery codes left")
		b.click(`form[action="/approve/sign-out"] button`)
		has(t, "with a token that counts for less", b.token(account, r.personalToken("vic")), "sign in with your passkey or password first")
		has(t, "signing in again", b.click(`form[action="/console/account/again"] button`), "Personal token")
		b.fill("#user", "vic")
		b.fill("#password", chosen)
		b.fill("#code", others[1])
		has(t, "with a password again", b.click(`form[action="/console/sign-in/password"] button`), "8 recovery codes left")
		has(t, "taking the last away", b.click(`form[action="/console/account/factor"] button`), "Nothing was done", "admin")
		key := r.passkey("vic", chosen, others[2])
		b.visit(account)
		has(t, "taking one of two away", b.click(`form:has([name="factor"][value="`+key+`"]) button`), "It is removed")
		b.quiet("an account")
	})
}

// passkey gives somebody who has a password a passkey too and returns its id.
func (r *rig) passkey(user, password, code string) string {
	r.t.Helper()
	actor, err := r.d.SignIns.SignInWithPassword(r.t.Context(), user, password, code)
	if err != nil {
		r.t.Fatal(err)
	}
	actor.Since = time.Now()
	options, asked, err := r.d.SignIns.AskPasskey(r.t.Context(), actor)
	if err != nil {
		r.t.Fatal(err)
	}
	f, err := r.d.SignIns.AddPasskey(r.t.Context(), actor, asked, "my other key", signintest.New(r.t, r.local(), "localhost").Make(options))
	if err != nil {
		r.t.Fatal(err)
	}
	return f.ID
}

// TestAPersonConnectsAServer: what agents then use is connected, seen and ended again.
func TestAPersonConnectsAServer(t *testing.T) {
	both(t, func(t *testing.T, r *rig, b *browser) {
		as, up := astest.New(t), httptest.NewServer(r.upstream())
		t.Cleanup(up.Close)
		r.apply("kind: Server\nid: mail\nowner: team-dev\ntransport: {http: {url: \"" + up.URL + "\"}}\ncredential: {ref: crm, header: Authorization, value: \"Bearer {secret}\"}\nstate: sanctioned\n---\n" +
			"kind: Credential\nid: crm\nowner: team-dev\nservers: [mail]\nsource:\n  userOAuth: {issuer: \"" + as.URL + "\", scopes: [mail.read]}\n")
		b.enter(r.link(user("ann")))
		has(t, "what it means", b.visit(r.base+"/approve/connect/crm/mail"), "Connect server mail for yourself", as.URL, "mail.read")
		has(t, "leaving", b.click("main form button"), "Go on to the authorization server")
		has(t, "coming back", b.click(`a[rel="noreferrer"]`), "Nothing is connected until you finish")
		has(t, "connected", b.click("main form button"), "Connected")
		has(t, "what is connected", b.visit(r.base+"/approve/connections"), "What you connected", "mail")
		has(t, "disconnecting", b.click(`form[action="/approve/connections"] button`), "You have connected nothing")
		has(t, "signing out", b.click(`form[action="/approve/sign-out"] button`), "The session is over.")
		b.enter(r.link(user("ann")))
		b.visit(r.base + "/approve/connect/crm/mail")
		has(t, "signing out", b.click(`form[action="/approve/sign-out"] button`), "The session is over.")
		if links, err := r.d.Links.List(t.Context()); err != nil || len(links) != 0 {
			t.Errorf("links: %+v, %v", links, err)
		}
		b.quiet("connecting")
	})
}

// TestAPersonSignsInElsewhere: at a real provider, and back.
func TestAPersonSignsInElsewhere(t *testing.T) {
	issuer, _ := gatetest.OIDCProvider(t, "http://127.0.0.1/console/sign-in/back")
	for name, scripts := range map[string]bool{"with scripts": true, "without scripts": false} {
		t.Run(name, func(t *testing.T) {
			r, b := newRig(t, func(c *daemon.Config) { c.SignIn = daemon.SignIn{Issuer: issuer, ClientID: "person", Name: "Corp"} }), open(t, scripts)
			r.apply("kind: User\nid: annie\nroles: [viewer]\nsubjects: [{issuer: \"" + issuer + "\", subject: ann}]\n")
			b.visit(r.local() + "/console/")
			has(t, "at its own address", b.click(`a[href="`+r.base+`/console/"]`), "Sign in with Corp")
			has(t, "leaving", b.click(`form[action="/console/sign-in/away"] button`), "Go on to Corp")
			has(t, "coming back", b.click(`a[rel="noreferrer"]`), "Sign in with Corp")
			has(t, "signed in", b.click(`form[action="/console/sign-in/back"] button`), "user:annie")
			b.quiet("single sign-on")
		})
	}
}
