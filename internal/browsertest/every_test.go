package browsertest_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"rutile/internal/credential/oauthclient/astest"
	"rutile/internal/daemon"
	"rutile/internal/finding"
	"rutile/internal/gatetest"
	"rutile/internal/grant"
	"rutile/internal/registry"
	"rutile/internal/signin/signintest"
)

// wider is what pages of the rig lack: a server that was only discovered, agents that
// may ask for more than one call, a policy that holds sessions.
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
id: odd-bot
owner: team-dev
riskTier: 1
tools: ["shop/look"]
---
kind: Agent
id: buyer
owner: team-dev
riskTier: 1
---
kind: Entitlement
id: buying
owner: team-dev
agents: [buyer]
tools: ["shop/order"]
approve: quorum:1
budget: {unit: EUR-cent, amount: 50000, arg: /amount}
---
kind: Policy
id: hold-odd
cedar: |
  @outcome("quarantine") @target("session")
  forbid (principal == Mcp::Agent::"odd-bot", action == Mcp::Action::"shop/order", resource);
`

// TestEveryButtonDoesWhatItSays presses what the other tests have not, as an admin, and
// looks at what came of it where it is kept. What no test uses fails the run (TestMain).
func TestEveryButtonDoesWhatItSays(t *testing.T) {
	both(t, func(t *testing.T, r *rig, b *browser) {
		up := httptest.NewServer(r.upstream())
		t.Cleanup(up.Close)
		r.apply(strings.ReplaceAll(wider, "URL", up.URL))
		b.enter(r.link(keeper))
		for _, part := range []struct {
			name string
			f    func(*rig, *browser)
		}{{"servers", servers}, {"definitions", definitions}, {"agents", agents}, {"people", people}, {"work", working}, {"findings", findings}, {"reviews", reviews}, {"searches", searches}} {
			part.f(r, b)
			b.quiet(part.name)
		}
	})
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

// working ends tasks, sessions and rights, and approves and denies requests.
func working(r *rig, b *browser) {
	t := b.t
	task, err := r.d.Desk.OpenTask(t.Context(), keeper, grant.Party{Agent: "buyer"}, grant.TaskSpec{Purpose: "buy <b>pens</b>"})
	if err != nil {
		t.Fatal(err)
	}
	own := r.tokenOf("buyer", "rutile", "")
	asks := func(scope, more string) string {
		said := r.send(t.Context(), own, "rutile", "rutile_access_request", `{"server":"shop","tool":"order","scope":"`+scope+`","reason":"we buy"`+more+`}`)
		id := regexp.MustCompile(`req_[0-9a-z]+`).FindString(said)
		if id == "" {
			t.Fatalf("asking: %s", said)
		}
		return id
	}
	narrowed := asks("time", "")
	b.visit(r.base + "/console/tasks")
	b.click(`form[action="/approve/sign-out"] button`)
	b.enter(r.link(user("ann")))
	b.visit(r.base + "/approve/" + narrowed)
	b.fill("#minutes", "3")
	b.fill("#amount", "700")
	b.fill("#uses", "2")
	b.fill("#yes-reason", "agreed")
	b.click(`form[aria-labelledby="yes"] button`)
	q, err := r.d.Desk.Request(t.Context(), narrowed)
	if err != nil || q.State != grant.RequestIssued {
		t.Fatalf("the request is %s, %v", q.State, err)
	}
	list, err := r.d.Desk.Grants(t.Context(), grant.Filter{Agent: "buyer"})
	if err != nil || len(list) != 1 || list[0].UsesMax != 2 || list[0].Budget.Amount != 700 || list[0].Expires.Sub(list[0].NotBefore) > 3*time.Minute {
		t.Errorf("the grant is %+v, %v", list, err)
	}
	no := asks("once", `,"arguments":{"amount":5}`)
	b.visit(r.base + "/approve/" + no)
	b.fill("#no-reason", "not now")
	has(t, "denied", b.click(`button[value="deny"]`), "State: denied")
	b.click(`form[action="/approve/sign-out"] button`)
	b.enter(r.link(keeper))
	b.visit(r.base + "/console/tasks")
	b.fill("#why-"+task.ID, "done")
	has(t, "closing", b.click(`form[action="/console/tasks"] button`), "Task "+task.ID+" is closed.")

	r.send(t.Context(), r.tokenOf("odd-bot", "shop", "ann"), "shop", "order", `{}`)
	held := r.base + "/console/live?held=true"
	has(t, "held", b.visit(held), "odd-bot", "quarantined")
	sessions, err := r.d.Effects.List(t.Context(), "", 10, true)
	if err != nil || len(sessions) != 1 {
		t.Fatalf("held: %+v, %v", sessions, err)
	}
	b.fill("#why-"+sessions[0].ID, "it was a test")
	b.click(`td button[value="release"]`)
	if sessions, err = r.d.Effects.List(t.Context(), "", 10, true); err != nil || len(sessions) != 0 {
		t.Errorf("after it was let go: %+v, %v", sessions, err)
	}
	b.visit(r.base + "/console/live")
	b.choose("#kind", "Agent")
	b.fill("#id", "tidy-bot")
	b.fill("#why", "enough")
	has(t, "ending all", b.click(`form.box button[value="terminate"]`), "1 sessions ended")

	b.visit(r.base + "/console/revoke")
	b.choose("#kind", "agent")
	b.fill("#id", "odd-bot")
	has(t, "what would end", b.click("main form button"), "How to undo it", "Sessions that end")
	b.fill("#typed", "odd-bot")
	b.fill("#why", "enough")
	has(t, "the receipt", b.click("main form button"), "Denied after", "How to undo it", "enough")
	if got := r.send(context.Background(), r.tokenOf("release-bot", "shop", "ann"), "shop", "order", `{}`); !strings.Contains(got, "approv") {
		t.Errorf("another agent: %s", got)
	}
}

// findings lets one that is left alone count again, and sets when it is due.
func findings(r *rig, b *browser) {
	b.visit(r.base + "/console/findings")
	field := "#text-" + r.wrong
	b.fill(field, "until the pilot ends")
	b.click(field + ` ~ button[value="mute"]`)
	b.visit(r.base + "/console/findings?state=muted")
	has(b.t, "unmuting", b.click(field+` ~ button[value="unmute"]`), "counts again")
	page := r.base + "/console/findings/" + r.wrong
	b.visit(page)
	b.fill("#owner", "team-dev")
	b.day("#due", 2031, 3, 9)
	b.submitted(b.click(`button[value="assign"]`), "The finding is with team-dev now.", "2031-03-09")
	b.visit(page)
	b.fill("#why", "until the audit")
	soon := time.Now().AddDate(0, 2, 0)
	b.day("#until", soon.Year(), int(soon.Month()), soon.Day())
	b.submitted(b.click(`button[value="mute"]`), "left alone until "+soon.Format(time.DateOnly))
	b.fill("#why", "it is over")
	b.submitted(b.click(`button[value="unmute"]`), "counts again")
	r.finds(r.wrong, finding.Open)
}

// day writes a day into a field, as an American keyboard does.
func (b *browser) day(sel string, year, month, day int) {
	b.t.Helper()
	b.fill(sel, fmt.Sprintf("%02d%02d%04d", month, day, year))
}

// reviews starts a campaign and gives each answer.
func reviews(r *rig, b *browser) {
	b.visit(r.base + "/console/reviews")
	b.choose("#kind", "agent")
	b.fill("#owner", "team-dev")
	soon := time.Now().AddDate(0, 0, 9)
	b.day("#due", soon.Year(), int(soon.Month()), soon.Day())
	b.fill("#why", "the audit comes")
	has(b.t, "a campaign", b.click(`form[action="/console/reviews"] button`), soon.Format(time.DateOnly))
	b.visit(r.base + "/console/reviews/agent/tidy-bot")
	b.fill("#why", "looked at")
	b.click(`button[value="quarantine"]`)
	if r.agent("tidy-bot") != registry.AgentQuarantined {
		b.t.Errorf("the agent is %s", r.agent("tidy-bot"))
	}
	b.visit(r.base + "/console/reviews/agent/buyer")
	b.fill("#why", "looked at")
	b.click(`button[value="retire"]`)
	if r.agent("buyer") != registry.AgentRetired {
		b.t.Errorf("the agent is %s", r.agent("buyer"))
	}
}

// searches fills every field that looks for something.
func searches(r *rig, b *browser) {
	for page, finds := range map[string]string{"inventory": "notes", "agents": "release", "servers": "shop", "sources": "hst_0"} {
		b.visit(r.base + "/console/" + page)
		b.fill("#q", finds)
		has(b.t, page, b.click(".search button"), finds)
		b.fill("#q", "zzz")
		if text := b.click(".search button"); strings.Contains(text, "zzz\t") || !strings.Contains(text, "match") {
			b.t.Errorf("%s, looking for what is not there: %s", page, text)
		}
	}
	id := r.denied("drop")
	b.visit(r.base + "/console/evidence")
	for name, text := range map[string]string{"text": "drop", "agent": "release-bot", "subject": "ann", "server": "shop", "tool": "drop", "policy": "no-drop", "decision": id, "since": "1h"} {
		b.fill("#f-"+name, text)
	}
	has(b.t, "a search", b.click(".query button"), "shop/drop", "deny", "no-drop")
	for _, name := range []string{"session", "task", "grant", "label", "type", "status", "trace", "until"} {
		b.visit(r.base + "/console/evidence")
		text := "zzz"
		if name == "until" {
			text = "2001-01-01T00:00:00Z"
		}
		b.fill("#f-"+name, text)
		has(b.t, "a search by "+name, b.click(".query button"), "Nothing was found")
	}
	b.visit(r.base + "/console/compliance")
	b.fill("#f-since", "2h")
	b.fill("#f-until", time.Now().UTC().Add(-time.Hour).Format(time.RFC3339))
	has(b.t, "a report", b.click(".query button"), "Leaves of evidence")
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
		secret, recovery := regexp.MustCompile(`[A-Z2-7]{32}`).FindString(text), regexp.MustCompile(`[a-z2-7]{4}(-[a-z2-7]{4}){3}`).FindString(text)
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
		b.fill("#code", recovery)
		has(t, "with a password", b.click(`form[action="/console/sign-in/password"] button`), "9 recovery codes left")
		has(t, "taking it away", b.click(`form[action="/console/account/factor"] button`), "admin")
		b.quiet("an account")
	})
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
			b.visit(r.base + "/console/")
			has(t, "leaving", b.click(`form[action="/console/sign-in/away"] button`), "Go on to Corp")
			has(t, "coming back", b.click(`a[rel="noreferrer"]`), "Sign in with Corp")
			has(t, "signed in", b.click(`form[action="/console/sign-in/back"] button`), "user:annie")
			b.quiet("single sign-on")
		})
	}
}

// TestTheFormThatBreaksTheGlass: what is needed is typed, looked at, and given only with
// a passkey; without scripts the page says that signing needs them.
func TestTheFormThatBreaksTheGlass(t *testing.T) {
	both(t, func(t *testing.T, r *rig, b *browser) {
		task, err := r.d.Desk.OpenTask(t.Context(), keeper, grant.Party{Agent: "release-bot", Issuer: r.d.AgentsURL, Subject: "ann"}, grant.TaskSpec{Purpose: "the fire"})
		if err != nil {
			t.Fatal(err)
		}
		b.token(r.local()+"/console/break-glass", r.personalToken("ann"))
		b.visit(r.local() + "/console/break-glass")
		for sel, text := range map[string]string{"#agent": "release-bot", "#server": "shop", "#tool": "order", "#reason": "the shop burns", "#minutes": "5", "#uses": "2", "#args": `[{"at":"/text","prefix":"a"}]`} {
			b.fill(sel, text)
		}
		b.opens("summary")
		for sel, text := range map[string]string{"#entitlement": "orders", "#subject": "ann", "#task": task.ID} {
			b.fill(sel, text)
		}
		text := b.click(`form[action="/console/break-glass"] button`)
		has(t, "what is signed", text, "Sign to break the glass", "the shop burns", "5m0s", "/text", task.ID)
		if !b.scripts {
			has(t, "without scripts", text, "Signing needs JavaScript in this browser.")
		}
		b.quiet("breaking the glass")
	})
}
