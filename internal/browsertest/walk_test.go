package browsertest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/finding"
	"rutile/internal/grant"
	"rutile/internal/registry"
)

// step is one use of one form: the page it is on, what is written or chosen there, what
// is pressed, and what the page then says and does not say.
type step struct {
	page  string // below the console or, with a slash, of the gateway; "" for the one that is open
	put   []string
	press string
	says  []string
	lacks []string
}

// take takes steps, one after the other.
func (r *rig) take(b *browser, steps ...step) {
	b.t.Helper()
	for _, s := range steps {
		switch {
		case strings.HasPrefix(s.page, "/"):
			b.visit(r.base + s.page)
		case s.page != "":
			b.visit(r.base + "/console/" + s.page)
		}
		for i := 0; i+1 < len(s.put); i += 2 {
			b.put(s.put[i], s.put[i+1])
		}
		text := b.click(s.press)
		has(b.t, s.page+" "+s.press, text, s.says...)
		for _, w := range s.lacks {
			if strings.Contains(text, w) {
				b.t.Errorf("%s %s says %q:\n%s", s.page, s.press, w, text)
			}
		}
	}
}

// put gives a field a value, as its sort is given one.
func (b *browser) put(sel, text string) {
	b.t.Helper()
	b.do(chromedp.WaitVisible(chromedp.CSS(sel)))
	switch b.ask(`(e => e.tagName + ' ' + e.type)(document.querySelector(` + quoted(sel) + `))`) {
	case "SELECT select-one":
		b.choose(sel, text)
	case "INPUT checkbox":
		b.press(sel)
	case "INPUT date":
		d, err := time.Parse(time.DateOnly, text)
		if err != nil {
			b.t.Fatal(err)
		}
		b.day(sel, d.Year(), int(d.Month()), d.Day())
	default:
		b.fill(sel, text)
	}
}

// searches looks for something in every list that is searched, and counts what is
// counted.
func searches(r *rig, b *browser) {
	const find, show = ".search button", ".query button"
	intent := r.intent("look")
	r.take(b,
		step{"servers", []string{"#q", "new"}, find, []string{"new-shop"}, []string{"seen-shop"}},
		step{"agents", []string{"#q", "tidy"}, find, []string{"tidy-bot"}, []string{"spare-bot"}},
		step{"sources", []string{"#q", "nothing"}, find, []string{"No machine matches."}, nil},
		step{"", []string{"#q", "hst_0000"}, find, []string{"hst_000000000000"}, nil},
		step{"inventory", []string{"#q", "notes"}, find, []string{"pkg:npm/notes", "--text notes"}, []string{"new-shop"}},
		step{"evidence", []string{"#f-agent", "release-bot", "#f-server", "shop", "#f-tool", "look", "#f-subject", "ann", "#f-type", "intent", "#f-since", "1h", "#f-until", "2031-01-01", "#f-decision", intent.Decision, "#f-session", intent.Session},
			show, []string{"shop/look"}, []string{"shop/drop", "shop/order"}},
		step{"evidence", []string{"#f-policy", "no-drop"}, show, []string{"shop/drop"}, []string{"shop/look"}},
		step{"evidence", []string{"#f-text", "zzz", "#f-task", "tsk_1", "#f-grant", "grt_1", "#f-label", "zzz", "#f-status", "ok", "#f-trace", "1"}, show, []string{"Nothing was found."}, []string{"shop/"}},
		step{"compliance", []string{"#f-since", "48h", "#f-until", "0s"}, show, []string{"rutile report compliance"}, nil},
		step{"risk", []string{"#days", "7"}, "main form button", []string{"What came of it", "rutile risk replay"}, nil},
	)
	if got := b.ask("location.search"); got != "?days=7" {
		b.t.Errorf("scoring asks for %s", got)
	}
	h := r.sign(user("root"))
	for _, f := range []string{"text", "agent", "subject", "server", "tool", "session", "task", "grant", "label", "policy", "decision", "status", "trace"} {
		if status, body := h.get("/console/evidence?" + f + "=zzz"); status != http.StatusOK || !strings.Contains(body, "Nothing was found.") {
			b.t.Errorf("a search for another %s finds something: %d", f, status)
		}
	}
}

// found keeps a view of the inventory, forgets it, and says who answers for what is in it.
func found(r *rig, b *browser) {
	owner := func(want string) {
		b.t.Helper()
		if e, err := r.d.Inventory.Show(b.t.Context(), r.shadow); err != nil || e.Owner != want {
			b.t.Errorf("%s is %q's, not %q's: %v", r.shadow, e.Owner, want, err)
		}
	}
	r.take(b, step{"inventory?status=shadow", []string{"#view", "unknown ones"}, `button[value="save"]`, []string{"The view is kept as unknown ones."}, nil})
	b.visit(r.base + "/console/inventory")
	has(b.t, "a view", b.click(`[aria-label="Your views"] a`), "pkg:npm/notes", "Forget the view unknown ones")
	r.take(b,
		step{"", nil, `button[value="forget"]`, []string{"The view unknown ones is forgotten."}, []string{"Your views"}},
		step{"", []string{`input[name="row"]`, "", "#owner", "ann"}, `form[action="/console/inventory/own"] p.row button:not([name])`, []string{"ann would answer for 1 servers", "nobody"}, nil},
		step{"", []string{"#why", "she knows it"}, `form[action="/console/inventory/own"] button`, []string{"ann answers for 1 servers now."}, nil},
	)
	owner("ann")
	r.take(b,
		step{"inventory?owner=ann", nil, `button[name="match"]`, []string{"Nobody would answer for 1 servers"}, nil},
		step{"", []string{"#why", "a mistake"}, `form[action="/console/inventory/own"] button`, []string{"Nobody answers for 1 servers any more."}, nil},
	)
	owner("")
}

// findings leaves one alone, has it count again and gives it a due date, on the list and
// on its own page.
func findings(r *rig, b *browser) {
	state := func(want finding.State, person string) finding.Finding {
		b.t.Helper()
		list, err := r.d.Findings.List(b.t.Context(), finding.Filter{IDs: []string{r.wrong}})
		if err != nil || len(list) != 1 || list[0].State != want || list[0].Owner != person {
			b.t.Fatalf("the finding is %+v, %v", list, err)
		}
		return list[0]
	}
	text, row := "#text-"+r.wrong, func(verb string) string { return "#text-" + r.wrong + ` ~ button[value="` + verb + `"]` }
	r.take(b, step{"findings", []string{text, "team-dev"}, row("assign"), []string{"The finding is with team-dev now."}, nil},
		step{"", []string{text, "a pilot"}, row("mute"), []string{"left alone for 30 days"}, nil})
	state(finding.Muted, "team-dev")
	r.take(b, step{"findings?state=muted", []string{text, "it ended"}, row("unmute"), []string{"The finding counts again."}, nil})
	state(finding.Open, "team-dev")
	day := time.Now().UTC().AddDate(0, 2, 0).Format(time.DateOnly)
	page := "findings/" + r.wrong
	r.take(b, step{page, []string{"#owner", "ann", "#due", day}, `button[value="assign"]`, []string{"The finding is with ann now.", "set by"}, nil})
	if f := state(finding.Open, "ann"); f.Due.Format(time.DateOnly) != day {
		b.t.Errorf("it is due on %s, not on %s", f.Due, day)
	}
	r.take(b, step{page, []string{"#why", "a longer pilot", "#until", day}, `button[value="mute"]`, []string{"The finding is left alone until " + day, "a longer pilot"}, nil})
	if f := state(finding.Muted, "ann"); f.Mute == nil || f.Mute.Until.Format(time.DateOnly) != day {
		b.t.Errorf("it is left alone until %+v, not until %s", f.Mute, day)
	}
	r.take(b, step{"", []string{"#why", "it ended"}, `button[value="unmute"]`, []string{"The finding counts again."}, nil})
	state(finding.Open, "ann")
}

// work ends and lets go sessions, closes a task and revokes what an agent holds.
func work(r *rig, b *browser) {
	r.ask(b.t.Context(), "tidy") // a policy holds the session for it
	held, err := r.d.Effects.List(b.t.Context(), "", 2, true)
	if err != nil || len(held) != 1 {
		b.t.Fatalf("held are %+v, %v", held, err)
	}
	id := held[0].ID
	state := func(want string) {
		b.t.Helper()
		if s, err := r.d.Effects.Session(b.t.Context(), id); err != nil || s.State != want {
			b.t.Errorf("the session is %s, not %s: %v", s.State, want, err)
		}
	}
	r.take(b, step{"live?held=true", []string{"#why-" + id, "it was a drill"}, `td button[value="release"]`, []string{"Session " + id + " is open."}, nil})
	state("open")
	r.call("look", "Looked")
	r.take(b, step{"live", []string{"#why-" + id, "enough"}, "#why-" + id + ` ~ button[value="terminate"]`, []string{"1 sessions ended"}, nil})
	state("terminated")
	r.token = r.tokenOf("release-bot", "shop", "ann")
	r.call("look", "Looked")
	list, err := r.d.Effects.List(b.t.Context(), "", 1, false)
	if err != nil || len(list) != 1 || !strings.HasSuffix(list[0].Subject, "|ann") {
		b.t.Fatalf("sessions: %+v, %v", list, err)
	}
	id = list[0].ID
	r.take(b, step{"live", []string{"#kind", "Person", "#id", list[0].Subject, "#why", "she left"}, `form.box button`, []string{"sessions ended", "grants taken back"}, nil})
	state("terminated")

	task, err := r.d.Desk.OpenTask(b.t.Context(), keeper, grant.Party{Agent: "tidy-bot"}, grant.TaskSpec{Purpose: "tidy up"})
	if err != nil {
		b.t.Fatal(err)
	}
	r.take(b, step{"tasks", []string{"#why-" + task.ID, "it is tidy"}, "#why-" + task.ID + " ~ button", []string{"Task " + task.ID + " is closed."}, nil})
	if tasks, err := r.d.Desk.Tasks(b.t.Context(), grant.Filter{State: grant.TaskOpen}); err != nil || len(tasks) != 0 {
		b.t.Errorf("open are %+v, %v", tasks, err)
	}
	r.token = r.tokenOf("tidy-bot", "shop", "ann")
	r.call("tidy", "Deleted")
	r.take(b, step{"revoke", []string{"#kind", "agent", "#id", "tidy-bot"}, "main form button", []string{"Revoke agent tidy-bot", "Sessions that end", "Type tidy-bot to go on"}, nil},
		step{"", []string{"#typed", "tidy-bot", "#why", "it is over"}, "main form button", []string{"calls cut off in", "it is over"}, nil})
	if got := r.ask(b.t.Context(), "tidy"); strings.Contains(got, "Deleted") {
		b.t.Errorf("a call of what was revoked: %s", got)
	}
}

// reviews makes reviews due and gives every answer to one.
func reviews(r *rig, b *browser) {
	day := time.Now().UTC().AddDate(0, 0, 9)
	r.take(b, step{"reviews", []string{"#kind", "agent", "#owner", "team-dev", "#due", day.Format(time.DateOnly), "#why", "every quarter"}, "main form button", []string{"selected", "made due."}, nil})
	if a, _ := r.d.Admin.Current().View.Agent("drop-bot"); a.Expires.After(day.AddDate(0, 0, 1)) {
		b.t.Errorf("the review of the agent is due on %s, not by %s", a.Expires, day)
	}
	page := "reviews/agent/" + aged
	r.take(b, step{page, []string{"#why-narrow", "it only looks"}, `form[action$="/narrow"] button`, []string{"Agent " + aged + " may call what it used, and nothing else."}, nil})
	if a, _ := r.d.Admin.Current().View.Agent(aged); len(a.Tools) != 1 || a.Tools[0] != "shop/look" {
		b.t.Errorf("the agent may use %v", a.Tools)
	}
	r.take(b, step{page, []string{"#why", "it is needed"}, `button[value="keep"]`, []string{aged + " is answered: kept."}, nil},
		step{page, []string{"#why", "odd"}, `button[value="quarantine"]`, []string{aged + " is answered:"}, nil},
		step{"reviews/agent/drop-bot", []string{"#why", "nobody uses it"}, `button[value="retire"]`, []string{"drop-bot is answered:"}, nil})
	if r.agent(aged) != registry.AgentQuarantined || r.agent("drop-bot") != registry.AgentRetired {
		b.t.Errorf("the agents are %s and %s", r.agent(aged), r.agent("drop-bot"))
	}
}

// answers answers requests with what the pages let somebody say.
func answers(r *rig, b *browser) {
	r.token = r.tokenOf("spend-bot", "shop", "ann")
	ask := func(scope, reason string) grant.Request {
		b.t.Helper()
		said := r.send(b.t.Context(), r.tokenOf("spend-bot", "rutile", "ann"), "rutile", "rutile_access_request", `{"server":"shop","tool":"order","scope":"`+scope+`","reason":"`+reason+`"}`)
		q := r.request()
		if q.Reason != reason {
			b.t.Fatalf("asking says %s", said)
		}
		return q
	}
	answered := func(id string, want grant.State) grant.Request {
		b.t.Helper()
		q, err := r.d.Desk.Request(b.t.Context(), id)
		if err != nil || q.State != want {
			b.t.Fatalf("the request is %+v, %v", q, err)
		}
		return q.Request
	}
	q := ask("time", "a shopping spree")
	r.take(b, step{"/approve/" + q.ID, []string{"#minutes", "5", "#uses", "3", "#amount", "200", "#yes-reason", "not that much"}, `form[aria-labelledby="yes"] button`, []string{"State: issued"}, nil})
	q = answered(q.ID, grant.RequestIssued)
	g, err := r.d.Desk.Grant(b.t.Context(), q.Grant)
	if err != nil || g.UsesMax != 3 || g.Budget.Amount != 200 || g.Expires.Sub(g.NotBefore) != 5*time.Minute {
		b.t.Errorf("the grant is %+v, %v", g, err)
	}
	q = ask("time", "another spree")
	r.take(b, step{"/approve/" + q.ID, []string{"#no-reason", "once is enough"}, `button[value="deny"]`, []string{"State: denied"}, nil})
	answered(q.ID, grant.RequestDenied)
	q = ask("time", "and another")
	r.take(b, step{"/approve/" + q.ID, []string{"#no-reason", "it does not stop"}, `button[value="deny-suspend"]`, []string{"State: denied"}, nil})
	answered(q.ID, grant.RequestDenied)
	if r.agent("spend-bot") != registry.AgentSuspended {
		b.t.Errorf("the agent is %s", r.agent("spend-bot"))
	}
	b.click(`form[action="/approve/sign-out"] button`)
}

// intent is the newest call of a tool.
func (r *rig) intent(tool string) audit.Row {
	r.t.Helper()
	rows, err := r.d.Evidence.Search(r.t.Context(), audit.Query{Tool: tool, Types: []string{"intent"}, Limit: 1})
	if err != nil || len(rows) == 0 {
		r.t.Fatalf("no call of %s: %v", tool, err)
	}
	return rows[0]
}

// lend has scripts run for a while in a browser without, to make ready what only a script
// makes.
func (b *browser) lend(f func()) {
	b.t.Helper()
	was := b.scripts
	set := func(scripts bool) {
		b.scripts = scripts
		call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !scripts})
	}
	set(true)
	f()
	set(was)
}

// glass begins to break the glass and looks at what would be signed. With scripts it is
// signed too; without, the page says that it cannot be.
func glass(r *rig, b *browser) {
	b.device()
	b.lend(func() {
		b.token(r.local()+"/console/account", r.personalToken("gil"))
		b.fill("#passkey-name", "laptop")
		has(b.t, "the account", b.click(`form[data-passkey="make"] button`), "The passkey laptop is added.")
	})
	task, err := r.d.Desk.OpenTask(b.t.Context(), keeper, grant.Party{Agent: "release-bot", Subject: "ann"}, grant.TaskSpec{Purpose: "put it out"})
	if err != nil {
		b.t.Fatal(err)
	}
	b.visit(r.local() + "/console/break-glass")
	for _, f := range [][2]string{{"agent", "release-bot"}, {"server", "shop"}, {"tool", "order"}, {"reason", "the shop burns"}, {"minutes", "5"}, {"uses", "2"}, {"args", `[{"at":"/text","eq":"water"}]`}} {
		b.fill("#"+f[0], f[1])
	}
	b.press("details summary")
	for _, f := range [][2]string{{"entitlement", "orders"}, {"subject", "ann"}, {"task", task.ID}} {
		b.fill("#"+f[0], f[1])
	}
	has(b.t, "what would be given", b.click("main form button"), "Sign to break the glass", "the shop burns", "5m0s", "water", task.ID, "orders")
	here := b.ask("location.pathname")
	b.token(r.base+"/console/account", r.personalToken("gil"))
	has(b.t, "at another address", b.visit(r.base+here), "Passkeys work at another address")
	text := b.elsewhere()
	if !b.scripts {
		has(b.t, "without scripts", text, "Sign to break the glass", "Signing needs JavaScript in this browser.")
		return
	}
	has(b.t, "signing", b.click(`form[data-passkey="use"] button`), "The glass is broken", "the shop burns")
	list, err := r.d.Desk.Grants(b.t.Context(), grant.Filter{Task: task.ID})
	if err != nil || len(list) != 1 || list[0].UsesMax != 2 || list[0].Expires.Sub(list[0].NotBefore) != 5*time.Minute {
		b.t.Errorf("given is %+v, %v", list, err)
	}
}

// elsewhere follows a link to where passkeys work. It is one from another site to the
// browser, which sends no session with it: the page says how to go on.
func (b *browser) elsewhere() string {
	b.t.Helper()
	has(b.t, "from another address", b.click(`main a[href^="http://localhost"]`), "I have signed in already")
	return b.click(`main a[href^="/"]`)
}

// signed looks at a request that is approved with a passkey alone, where none works and
// where it does.
func signed(r *rig, b *browser) {
	for _, verb := range []registry.Verb{registry.VerbQuarantine, registry.VerbRelease} { // so that it is looked at again
		if _, err := r.d.Admin.ChangeTool(b.t.Context(), keeper, "shop", "order", verb, "it destroys"); err != nil {
			b.t.Fatal(err)
		}
	}
	if _, err := r.d.Admin.ApproveTool(b.t.Context(), keeper, "shop", "order", admin.Approval{Class: &registry.ToolClass{Class: "destroy", Tier: 3}, Reason: "it does"}); err != nil {
		b.t.Fatal(err)
	}
	r.token, r.text = r.tokenOf("release-bot", "shop", "ann"), "grave"
	r.call("order", "approv")
	has(b.t, "at another address", b.visit(r.base+"/approve/"+r.request().ID), "passkeys work at another address")
	text := b.elsewhere()
	if !b.scripts {
		has(b.t, "without scripts", text, "Signing needs JavaScript in this browser.")
		return
	}
	b.fill("#yes-reason", "agreed")
	has(b.t, "signing", b.click(`form[data-passkey="use"] button`), "user:gil", "signed with a passkey")
}

// TestAFormIsForWhoeverMayAlone: no page shows a viewer, an auditor or an approver a form
// they may not send.
func TestAFormIsForWhoeverMayAlone(t *testing.T) {
	r := newRig(t)
	pages := r.once()
	for who, more := range map[string][]string{"vic": nil, "odd": nil, "ann": {"/console/break-glass", "/console/grants/", "/console/tasks"}} {
		h := r.sign(user(who))
		for _, p := range pages {
			_, body := h.get("/console/" + p)
			for _, f := range formOf.FindAllStringSubmatch(body, -1) {
				a := actionOf.FindStringSubmatch(f[1])
				if a == nil || !strings.Contains(f[1], `method="post"`) {
					continue
				}
				theirs := everybodys(a[1]) || strings.HasPrefix(a[1], "/console/decisions/")
				for _, m := range more {
					theirs = theirs || strings.HasPrefix(a[1], m)
				}
				if !theirs {
					t.Errorf("%s is offered %s on %s", who, a[1], p)
				}
			}
		}
	}
}
