package browsertest_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/credential"
	"rutile/internal/grant"
)

// listed are pages that show every link of links but to a next page.
func (r *rig) listed() []string {
	r.t.Helper()
	rows, err := r.d.Evidence.Search(r.t.Context(), audit.Query{Tool: "look", Agent: "release-bot", Types: []string{"intent"}, Limit: 1})
	if err != nil || len(rows) == 0 {
		r.t.Fatalf("no call: %v", err)
	}
	grants, err := r.d.Desk.Grants(r.t.Context(), grant.Filter{State: grant.GrantActive})
	if err != nil || len(grants) == 0 {
		r.t.Fatalf("no grant: %v", err)
	}
	sessions, err := r.d.Effects.List(r.t.Context(), "", 1, false)
	if err != nil || len(sessions) == 0 {
		r.t.Fatalf("no session: %v", err)
	}
	receipts, err := r.d.Effects.Receipts(r.t.Context(), 1<<62, 1)
	if err != nil || len(receipts) == 0 {
		r.t.Fatalf("no receipt: %v", err)
	}
	out := []string{"", "live", "live?pause=true", "sessions/" + rows[0].Session, "requests", "findings", "reviews", "reviews?owner=team-dev", "inventory", "inventory?status=shadow", "inventory?has=configured",
		"inventory/own?match=&owner=ann", "sources", "servers", "servers/shop", "servers/shop/access", "tool?server=shop&name=look", "agents", "agents/release-bot", "agents/release-bot/access", "people", "credentials",
		"policies", "policies/no-drop", "grants", "grants/" + grants[0].ID, "tasks", "receipts", "receipts/" + receipts[0].Revocation,
		"evidence", "evidence?agent=release-bot", fmt.Sprintf("evidence/%d", rows[0].Index), "decisions/" + r.denied("drop"), "compliance", "health", "settings", "account"}
	if s := sessions[0].ID; s != rows[0].Session {
		out = append(out, "sessions/"+s)
	}
	return out
}

// seenLink is a link of a page, and its place among the links of it.
type seenLink struct {
	usage
	I     int  `json:"i"`
	Shown bool `json:"shown"`
	Here  bool `json:"here"` // it says that what it leads to is what is shown
}

// fresh are the controls that a link is and that were not used yet.
func (l *ledger) fresh(scripts bool, u *usage) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for k := range l.find(u, "link", "") {
		if !l.used[scripts][k] {
			out = append(out, k)
		}
	}
	return out
}

// TestEveryLinkLeadsWhereItSays: the filters, the next pages, the files, the ways to a
// change and the navigation, each followed once from where it stands.
func TestEveryLinkLeadsWhereItSays(t *testing.T) {
	r, many := newRig(t), newCrowd(t)
	if _, err := r.d.Admin.SetCredential(t.Context(), keeper, credential.Secret{ID: "crm"}, []byte("secret-enough")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.d.Desk.OpenTask(t.Context(), keeper, grant.Party{Agent: "release-bot"}, grant.TaskSpec{Purpose: "cut a release"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.d.Effects.Revoke(t.Context(), keeper, admin.Order{Kind: "agent", ID: "spare-bot"}); err != nil {
		t.Fatal(err)
	}
	r.apply("kind: Policy\nid: no-more\ncedar: |\n  forbid (principal, action == Mcp::Action::\"shop/drop\", resource);\n") // so that there are two generations
	pages := r.listed()
	for name, scripts := range map[string]bool{"with scripts": true, "without scripts": false} {
		t.Run(name, func(t *testing.T) {
			b := open(t, scripts)
			b.ledger = newLedger() // what another test followed is followed here all the same
			b.ledger.read(t)
			defer all.join(b.ledger)
			b.enter(r.link(user("root")))
			for _, p := range pages {
				b.follow(r.base+"/console/"+p, false)
			}
			b.follow(r.base+"/approve/"+r.request().ID, false)
			b.click(`form[action="/approve/sign-out"] button`)
			b.follow(r.base+"/console/servers", false)
			b.enter(many.link(user("root")))
			for _, p := range []string{"live", "requests", "findings", "reviews", "inventory", "sources", "servers", "servers/wide", "servers/wide/access", "agents", "agents/wide-bot/access", "people", "credentials", "policies", "grants", "tasks", "receipts", "evidence"} {
				b.follow(many.base+"/console/"+p, true)
			}
		})
	}
}

// follow opens a page and follows each sort of its links that nobody followed yet, or of
// those to a next page.
func (b *browser) follow(page string, next bool) {
	b.t.Helper()
	for done := map[int]bool{}; ; {
		before := b.visit(page)
		var list []seenLink
		b.tell(`[...document.links].map((a, i) => ({...link(a), i, shown: a.getClientRects().length > 0, here: a.hasAttribute('aria-current')}))`, &list)
		at := -1
		for i := range list {
			if l := &list[i]; l.Shown && !l.Here && (l.Next || !next) && !done[l.I] && len(b.ledger.fresh(b.scripts, &l.usage)) > 0 {
				at = i
				break
			}
		}
		if at < 0 {
			b.quiet(page)
			return
		}
		l := &list[at]
		done[l.I] = true
		b.ask(fmt.Sprintf(`document.links[%d].setAttribute('data-picked', '') || ''`, l.I))
		b.led(page, before, l)
		if left := b.ledger.fresh(b.scripts, &l.usage); len(left) > 0 {
			b.t.Errorf("%s of %s comes to nothing", left, page)
		}
	}
}

// led follows the link that is picked and looks at where it leads.
func (b *browser) led(page, before string, l *seenLink) {
	b.t.Helper()
	const picked = "a[data-picked]"
	switch {
	case l.Action == "#main":
		b.skip(picked)
		return
	case strings.Contains(l.Action, "/export?"), strings.HasSuffix(l.Action, "/proof"):
		raw := b.download(picked)
		if strings.Contains(l.Action, "as=csv") {
			has(b.t, l.Action, string(raw), "pkg:npm/notes")
		} else if !json.Valid(raw) {
			b.t.Errorf("%s hands out %s", l.Action, raw)
		}
		return
	}
	text := b.click(picked)
	at, err := url.Parse(page)
	if err != nil {
		b.t.Fatal(err)
	}
	to, err := at.Parse(l.Action)
	if err != nil {
		b.t.Fatal(err)
	}
	if got := b.ask("location.href"); got != to.String() {
		b.t.Errorf("%s of %s leads to %s", l.Action, page, got)
	}
	if n := b.ask(`'' + document.querySelectorAll('h1').length`); n != "1" {
		b.t.Errorf("%s has %s headings of the first level", l.Action, n)
	}
	if l.Next && text == before {
		b.t.Errorf("%s of %s shows what was shown before", l.Action, page)
	}
	if l.Group != "" && l.Group != "Your views" && b.ask(`'' + [...document.querySelectorAll('.filters a[aria-current]')].some(a => a.closest('.filters').getAttribute('aria-label') === '`+l.Group+`')`) != "true" {
		b.t.Errorf("%s of %s is not said to be chosen", l.Action, page)
	}
}

// skip goes where the first link of a page leads, with the keyboard: it is seen only then.
func (b *browser) skip(sel string) {
	b.t.Helper()
	u := b.about(sel)
	b.do(chromedp.Focus(chromedp.CSS(sel)), chromedp.KeyEvent("\r"))
	if got := b.ask("location.hash"); got != "#main" {
		b.t.Errorf("the skip link leads to %q", got)
		return
	}
	b.ledger.use(b.scripts, &u)
}
