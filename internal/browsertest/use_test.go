package browsertest_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"rutile/internal/finding"
	"rutile/internal/grant"
	"rutile/internal/registry"
)

// both runs a test in a browser that runs scripts and in one that does not.
func both(t *testing.T, f func(t *testing.T, r *rig, b *browser)) {
	for name, scripts := range map[string]bool{"with scripts": true, "without scripts": false} {
		t.Run(name, func(t *testing.T) { f(t, newRig(t), open(t, scripts)) })
	}
}

// enter signs in by link.
func (b *browser) enter(link string) {
	b.t.Helper()
	b.visit(link)
	b.click("button")
}

// TestAnOperatorStopsAnAgent: from the overview to the agent, suspended, its next call
// denied, resumed, its call made.
func TestAnOperatorStopsAnAgent(t *testing.T) {
	both(t, func(t *testing.T, r *rig, b *browser) {
		b.enter(r.link(keeper))
		has(t, "the overview", b.text(), "What needs you", "An agent asks for a right", "A server waits for approval", "shop/drop")
		b.picture("overview", false)
		b.picture("overview", true)
		b.click(`nav a[href="/console/agents"]`)
		b.click(`a[href="/console/agents/release-bot"]`)
		b.picture("agent", false)
		b.fill("#why", "it behaves oddly")
		has(t, "what was done", b.click(`button[value="suspend"]`), "Agent release-bot is suspended.", "it behaves oddly")
		if r.agent("release-bot") != registry.AgentSuspended {
			t.Errorf("the agent is %s", r.agent("release-bot"))
		}
		if got := r.ask(t.Context(), "look"); strings.Contains(got, "Looked") {
			t.Errorf("a suspended agent's call: %s", got)
		}
		b.click(`button[value="resume"]`)
		r.call("look", "Looked")
		b.quiet("stopping an agent")
	})
}

// TestAnOperatorChangesTheCatalog: a tool is looked at and blocked, a server approved
// and another quarantined.
func TestAnOperatorChangesTheCatalog(t *testing.T) {
	both(t, func(t *testing.T, r *rig, b *browser) {
		b.enter(r.link(keeper))
		b.click(`nav a[href="/console/servers"]`)
		b.picture("servers", false)
		b.fill("#q", "new")
		if text := b.click(".search button"); strings.Contains(text, "sanctioned\tyes") {
			t.Errorf("the search finds all: %s", text)
		}
		b.click(`a[href="/console/servers/new-shop"]`)
		has(t, "approving a server", b.click(`button[value="approve"]`), "Server new-shop is sanctioned.", "look")
		b.picture("server", false)
		if s, _ := r.d.Admin.Current().View.Server("new-shop"); s.State != registry.ServerSanctioned {
			t.Errorf("the server is %s", s.State)
		}
		b.click(`a[href="/console/tool?name=odd&server=new-shop"]`)
		has(t, "a hostile definition", b.text(), `\u{202e}`, `\u{200b}`, `<script>`)
		b.picture("tool", false)
		b.fill("#why", "hidden text")
		has(t, "blocking a tool", b.click(`button[value="block"]`), "odd is blocked.")
		b.visit(r.base + "/console/servers/shop")
		has(t, "quarantining", b.click(`button[value="quarantine"]`), "Server shop is quarantined.")
		if got := r.ask(t.Context(), "look"); strings.Contains(got, "Looked") {
			t.Errorf("a call of a quarantined server: %s", got)
		}
		title, err := chromedp.Run(b.ctx, chromedp.Title())
		if err != nil || strings.Contains(title, "owned") {
			t.Errorf("the title is %q, %v", title, err)
		}
		b.quiet("the catalog")
	})
}

// TestAnApproverApprovesAndTakesBack: the request leads to its page, the grant to its
// revocation.
func TestAnApproverApprovesAndTakesBack(t *testing.T) {
	both(t, func(t *testing.T, r *rig, b *browser) {
		b.enter(r.link(user("ann")))
		b.click(`nav a[href="/console/requests"]`)
		b.picture("requests", false)
		id := r.request().ID
		b.click(`a[href="/approve/` + id + `"]`)
		b.picture("request", false)
		b.click(`main form button`)
		r.call("order", "Ordered")
		b.visit(r.base + "/console/grants")
		b.picture("grants", false)
		list, err := r.d.Desk.Grants(t.Context(), grant.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range list {
			if g.State != grant.GrantActive {
				continue
			}
			b.click(`a[href="/console/grants/` + g.ID + `"]`)
			b.picture("grant", false)
			b.fill("#why", "not needed")
			has(t, "revoking", b.click("main form button"), "is revoked", "not needed")
			return
		}
		t.Error("no grant was left to take back")
	})
}

// TestAnOperatorEndsASession: the call in flight is seen, and ends with its session.
func TestAnOperatorEndsASession(t *testing.T) {
	both(t, func(t *testing.T, r *rig, b *browser) {
		b.enter(r.link(keeper))
		done := make(chan string, 1)
		go func() { done <- r.ask(context.Background(), "slow") }()
		for len(r.calls()) == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		has(t, "live", b.visit(r.base+"/console/live"), "shop/slow", "release-bot", "ann")
		b.picture("live", false)
		has(t, "ending it", b.click(`td button[value="terminate"]`), "1 sessions ended", "1 calls cut off")
		if got := <-done; strings.Contains(got, "Slow") {
			t.Errorf("the call in flight answers %s", got)
		}
		if got := r.ask(t.Context(), "look"); strings.Contains(got, "Looked") {
			t.Errorf("a call in an ended session: %s", got)
		}
		b.quiet("ending a session")
	})
}

// calls are the calls in flight.
func (r *rig) calls() []string {
	status, body := r.sign(keeper).get("/console/live")
	if status != http.StatusOK || !strings.Contains(body, "shop/slow") {
		return nil
	}
	return []string{"shop/slow"}
}

// TestThePageOfCallsRefreshesItself: with scripts, without anybody's doing.
func TestThePageOfCallsRefreshesItself(t *testing.T) {
	r := newRig(t)
	b := open(t, true)
	b.enter(r.link(keeper))
	b.visit(r.base + "/console/live")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go r.ask(ctx, "slow")
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](`document.querySelector("#calls").innerText.includes("shop/slow")`)); err != nil {
		t.Fatal(err)
	}
	b.quiet("refreshing")
}

// TestAnAuditorFollowsACall: from a search to the story of a call, with its proof.
func TestAnAuditorFollowsACall(t *testing.T) {
	both(t, func(t *testing.T, r *rig, b *browser) {
		b.enter(r.link(user("odd")))
		b.click(`nav a[href="/console/evidence"]`)
		b.fill("#f-tool", "look")
		text := b.click(".query button")
		has(t, "the search", text, "shop/look", "permit")
		b.picture("evidence", false)
		if strings.Contains(text, "shop/drop") {
			t.Errorf("the search finds more than was asked for: %s", text)
		}
		b.click(`tbody a[href^="/console/evidence/"]`)
		has(t, "the story", b.text(), "intent", "outcome", "Take the proof", "rutile audit verify proof-")
		b.picture("event", false)
		b.quiet("evidence")
	})
}

// TestAnOperatorTakesAFinding: from the overview's worklist to what was found, the
// finding given to a team and then left alone.
func TestAnOperatorTakesAFinding(t *testing.T) {
	both(t, func(t *testing.T, r *rig, b *browser) {
		b.enter(r.link(keeper))
		b.click(`nav a[href="/console/inventory"]`)
		b.picture("inventory", false)
		b.click(`a[href^="/console/found?"]`)
		has(t, "what was found", b.text(), "notes", "NOTES_TOKEN", "~/.cursor/mcp.json")
		b.picture("found", false)
		b.click(`nav a[href="/console/findings"]`)
		b.picture("findings", false)
		form := "#text-" + r.wrong
		b.fill(form, "team-dev")
		has(t, "assigning", b.click(form+` ~ button[value="assign"]`), "The finding is with team-dev now.")
		b.fill(form, "until the pilot ends")
		has(t, "muting", b.click(form+` ~ button[value="mute"]`), "left alone for 30 days")
		list, err := r.d.Findings.List(t.Context(), finding.Filter{IDs: []string{r.wrong}})
		if err != nil || len(list) != 1 || list[0].Owner != "team-dev" || list[0].State != finding.Muted {
			t.Errorf("the finding is %+v, %v", list, err)
		}
		b.quiet("findings")
	})
}

// TestEveryPageInABrowser: no page complains, in both languages and with the least
// rights, and signing out ends it.
func TestEveryPageInABrowser(t *testing.T) {
	both(t, func(t *testing.T, r *rig, b *browser) {
		b.enter(r.link(user("vic")))
		for _, p := range []string{"", "servers", "agents", "people", "policies", "credentials", "tasks", "health"} {
			text := b.visit(r.base + "/console/" + p)
			b.quiet(p)
			if strings.Contains(text, "Evidence\n") || strings.Contains(text, "Change its state") {
				t.Errorf("a viewer is offered more than they may on %s: %s", p, text)
			}
			b.picture("page-"+p, false)
		}
		has(t, "Korean", b.click(`button[value="ko"]`), "로그인한 사람:")
		b.click(`button[value="en"]`)
		b.click(`form[action="/approve/sign-out"] button`)
		has(t, "signed out", b.visit(r.base+"/console/"), "Personal token")
	})
}
