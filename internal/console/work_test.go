package console_test

import (
	"context"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/conduct"
	"rutile/internal/console"
	"rutile/internal/discovery"
	"rutile/internal/finding"
	"rutile/internal/gate"
	"rutile/internal/grant"
	"rutile/internal/identity"
	"rutile/internal/pdp"
	"rutile/internal/privilege"
	"rutile/internal/registry"
	"rutile/internal/rehearsal"
	"rutile/internal/revocation"
)

// work is everything the console stands on that keeps nothing.
type work struct {
	err     error // of ending sessions
	changed []identity.Family
	calls   []gate.Call
	learned []string
	leaves  []audit.Row // of every decision, newest first
	book    *conduct.Book
	running []*access.Request // calls in flight, under grant grt_1
	touched access.Touched
	asked   []audit.Query
	find    func(audit.Query) []audit.Row // instead of leaves, if set
	below   uint64                        // where a part of a search ends
	holders []privilege.Holder            // who may use what of the shop
}

// unrehearsed knows no decision.
type unrehearsed struct{}

func (unrehearsed) Explain(_ context.Context, id string, _ bool) (rehearsal.Explained, error) {
	return rehearsal.Explained{}, access.Errorf(access.CodeNotFound, "no decision %s", id)
}

// Alarms finds one crossing, of an agent whose name wants to be more than text.
func (unrehearsed) Alarms(context.Context, time.Time, string) (rehearsal.Alarms, error) {
	return rehearsal.Alarms{Calls: 7, Agents: 1, AgentDays: 3, Known: 2, Rungs: []rehearsal.RungAlarms{{Rule: "baseline.risk-step-up", Session: 60, Agent: 75, Calls: 2, Crossings: 1, Days: rehearsal.Share{K: 1, N: 3, Low: .0615, High: .7923}}},
		Thresholds: []rehearsal.Threshold{{Score: 40, Session: rehearsal.Share{K: 2, N: 3}}},
		Crossings: []rehearsal.Crossing{{Decision: "dec_7", Agent: "bot", Session: "ses_7", Action: "shop/<b>order", Rules: []string{"baseline.risk-step-up"},
			Risk: &access.Risk{Session: 63, Agent: 12, Top: []access.RiskPoint{{Family: "volume", Signal: "sent", Points: 40}}}}}}, nil
}

func (unrehearsed) Replay(context.Context, admin.Draft, time.Time, bool) (rehearsal.Report, error) {
	return rehearsal.Report{}, nil
}

func (w *work) Put(context.Context, identity.Selection, identity.SessionState, string, func(identity.Family) access.Owed) ([]identity.Family, error) {
	return w.changed, nil
}
func (w *work) Refused(string) identity.SessionState { return "" }
func (w *work) Release(context.Context, string) (identity.Family, error) {
	return identity.Family{}, nil
}
func (w *work) List(context.Context, string, int, bool) ([]identity.Family, error) {
	return w.changed, nil
}
func (w *work) Settle(context.Context, string) error { return w.err }
func (w *work) Of(context.Context, identity.Selection, int) ([]identity.Family, error) {
	return w.changed, nil
}
func (w *work) Catch(func(*access.Request, string) bool) admin.Ending {
	return func(string, access.Class) admin.Cut {
		return admin.Cut{Calls: 1, Wait: func(context.Context) int { return 0 }, Late: func() int { return 0 }}
	}
}
func (w *work) Count(of func(*access.Request, string) bool) int {
	for _, r := range w.running {
		of(r, "grt_1")
	}
	return 1
}
func (w *work) End(func(*access.Identity) bool)   {}
func (w *work) EndServer(string)                  {}
func (w *work) Gone(context.Context, string) bool { return true }
func (w *work) SignOut(string) int                { return 0 }
func (w *work) Await(context.Context, string, time.Time) []admin.Node {
	return []admin.Node{{Node: "n1", US: 1}}
}
func (w *work) Wake() {}

// evidenceOf is the evidence of work: both count, other things.
type evidenceOf struct{ *work }

func (w evidenceOf) Count(ctx context.Context, q audit.Query, most int) (int, error) {
	q.Limit = most
	rows, err := w.Search(ctx, q)
	return min(len(rows), most), err
}
func (w evidenceOf) Checkpoint() []byte  { return []byte("log\n1\n") }
func (w evidenceOf) VerifierKey() string { return "log+1+k" }

func (w *work) Size() uint64                                    { return 10_000 }
func (w *work) Proof(context.Context, []uint64) ([]byte, error) { return []byte("{}"), nil }

func (w *work) Search(_ context.Context, q audit.Query) ([]audit.Row, error) {
	w.asked = append(w.asked, q)
	if w.find != nil {
		return w.find(q), nil
	}
	return w.leaves[:min(len(w.leaves), q.Limit)], nil
}

func (w *work) SearchPart(ctx context.Context, q audit.Query) (audit.Part, error) {
	rows, err := w.Search(ctx, q)
	return audit.Part{Rows: rows, Below: w.below, Back: time.Date(2026, 11, 3, 14, 12, 0, 0, time.UTC)}, err
}

func (w *work) Reveal(_ context.Context, index uint64) (*audit.Revealed, error) {
	r := &audit.Revealed{Index: index, Leaf: []byte(`{}`)}
	r.Row.Index, r.Row.Type, r.Row.Decision = index, "call.decision", "dec_1"
	return r, nil
}

// console makes the rig serve the pages of the console too.
func (r *rig) console(w *work, change ...func(*console.Config)) {
	r.t.Helper()
	revoked, err := revocation.NewLog(r.t.Context(), r.db)
	if err != nil {
		r.t.Fatal(err)
	}
	effects, err := admin.NewEffects(admin.EffectsDeps{
		Admin: r.admin, Broker: r.broker, Sessions: w, Debts: w, Traffic: w, State: func() *pdp.State { return nil },
		Revoked: revoked, Peers: w, People: w, Issuer: origin, Touched: func(context.Context, string) *access.Touched { return &w.touched }, End: func(context.Context, grant.Minted, []byte) string { return "" },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(effects.Close)
	if r.findings, err = admin.NewFindings(r.admin, r.db, w); err != nil {
		r.t.Fatal(err)
	}
	inventory, err := admin.NewInventory(admin.InventoryConfig{Host: "hst_0123456789ab", Describe: func() *discovery.Describer { return &discovery.Describer{} }}, r.admin, r.db, r.findings, w)
	if err != nil {
		r.t.Fatal(err)
	}
	r.inventory = inventory
	views, err := admin.NewViews(r.admin, r.db)
	if err != nil {
		r.t.Fatal(err)
	}
	desk, err := admin.NewDesk(r.admin, r.broker, "http://127.0.0.1:7433", func(context.Context, grant.Minted, []byte) string { return "" }, noCalls{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.desk = desk
	cfg := console.Config{
		Hosts: []string{host}, Public: origin, Now: r.clock.now, Local: origin, Log: slog.New(slog.NewTextHandler(r.log, nil)),
		Work: &console.Work{
			Effects: effects, Evidence: evidenceOf{w}, Inventory: inventory, Findings: r.findings, Views: views,
			Status: func() console.Status { return console.Status{} }, Doctor: func(context.Context) []console.Check { return nil },
			Calls: func() []gate.Call { return w.calls }, Rehearsal: unrehearsed{}, Privileges: rightsOf{w}, Settings: func() []console.Setting { return nil },
			Conduct: func(server, tool string) *conduct.Summary {
				if w.book == nil {
					return nil
				}
				w.book.Keep(r.admin.Revision)
				return w.book.Of(server, tool, r.clock.now())
			},
			Learn: func(_ context.Context, server string) error { w.learned = append(w.learned, server); return nil },
		},
	}
	for _, f := range change {
		f(&cfg)
	}
	if r.page, err = console.New(cfg, r.admin, desk); err != nil {
		r.t.Fatal(err)
	}
}

// enter is a browser of the gateway's keeper in the console.
func (r *rig) enter() *browser {
	r.t.Helper()
	link, _, err := r.page.Invite(keeper)
	if err != nil {
		r.t.Fatal(err)
	}
	u, err := url.Parse(link)
	if err != nil {
		r.t.Fatal(err)
	}
	b := r.browser()
	b.change = func(q *http.Request) { q.RemoteAddr = "127.0.0.1:1" }
	if a := b.do("POST", "/console/enter", url.Values{"code": {u.Query().Get("code")}}); a.status != http.StatusSeeOther {
		r.t.Fatalf("entering: %d %s", a.status, text(a.body))
	}
	b.get("/console/live").wants(r.t, "the first page", http.StatusOK)
	return b
}

// poll asks as the page that refreshes itself does.
func (b *browser) poll(path string) answer {
	b.rig.t.Helper()
	before := b.change
	b.change = func(q *http.Request) { before(q); q.Header.Set("HX-Request", "true") }
	defer func() { b.change = before }()
	return b.get(path)
}

// send sends a form of the console.
func (b *browser) send(path string, kv ...string) answer {
	b.rig.t.Helper()
	f := url.Values{"form": {b.form}}
	for i := 0; i < len(kv); i += 2 {
		f.Set(kv[i], kv[i+1])
	}
	return b.do("POST", path, f)
}

// TestWhatWasDoneIsSaidOnAPageSomebodyReads: a page that refreshes itself in the
// background does not swallow it.
func TestWhatWasDoneIsSaidOnAPageSomebodyReads(t *testing.T) {
	r := newRig(t)
	r.console(&work{})
	b := r.enter()
	b.send("/console/agents/bot", "verb", "suspend", "reason", "odd").wants(t, "suspending", http.StatusSeeOther)
	if a := b.poll("/console/live"); strings.Contains(a.body, "Agent bot is suspended") {
		t.Error("the page nobody looks at said it")
	}
	b.get("/console/agents/bot").wants(t, "the page it leads to", http.StatusOK, "Agent bot is suspended")
	if a := b.get("/console/agents/bot"); strings.Contains(a.body, "Agent bot is suspended.") {
		t.Error("it is said twice")
	}
}

// TestAPageThatRefreshesItselfKeepsNoSessionOpen: nobody uses it, and when the session
// is over the browser is told to ask anew rather than to show what was.
func TestAPageThatRefreshesItselfKeepsNoSessionOpen(t *testing.T) {
	r := newRig(t)
	r.console(&work{})
	b := r.enter()
	for range 3 {
		if a := b.poll("/console/live"); a.status != http.StatusOK || a.header.Get("HX-Refresh") != "" {
			t.Fatalf("while it is open: %d", a.status)
		}
		r.clock.pass(5 * 60e9)
	}
	if a := b.poll("/console/live"); a.status != http.StatusUnauthorized || a.header.Get("HX-Refresh") != "true" {
		t.Errorf("after 15 minutes without use: %d, HX-Refresh %q", a.status, a.header.Get("HX-Refresh"))
	}
}

// TestResolvedFindingsAreListed where they are asked for, and nowhere else.
func TestResolvedFindingsAreListed(t *testing.T) {
	r := newRig(t)
	r.console(&work{})
	b := r.enter()
	says := finding.Says{Source: "test", Covers: finding.Everything, Raised: []finding.Raised{{Rule: "tool-changed", Subject: finding.Subject{Kind: finding.SubjectServer, ID: "shop"}, Severity: finding.High, Why: "it changed"}}}
	if err := r.findings.Tell(t.Context(), says); err != nil {
		t.Fatal(err)
	}
	b.get("/console/findings").wants(t, "open", http.StatusOK, "it changed")
	says.Raised = nil
	if err := r.findings.Tell(t.Context(), says); err != nil {
		t.Fatal(err)
	}
	if a := b.get("/console/findings"); strings.Contains(a.body, "it changed") {
		t.Error("what is resolved is listed as open")
	}
	b.get("/console/findings?state=resolved").wants(t, "resolved", http.StatusOK, "it changed")
}

// TestOverdueFindingsAreShown on the overview and in their list, and nothing else is
// where only they are asked for.
func TestOverdueFindingsAreShown(t *testing.T) {
	r := newRig(t)
	r.console(&work{})
	about := func(id string) finding.Subject { return finding.Subject{Kind: finding.SubjectServer, ID: id} }
	low := finding.Raised{Rule: "LOW", Subject: about("shop"), Severity: finding.Low, Tier: 3, Why: "it is late"}
	says := finding.Says{Source: "test", Covers: finding.Everything, Raised: []finding.Raised{low, {Rule: "OTHER", Subject: about("shop"), Severity: finding.Low, Why: "there is time"}}}
	if err := r.findings.Tell(t.Context(), says); err != nil {
		t.Fatal(err)
	}
	b := r.enter()
	if a := b.get("/console/"); strings.Contains(a.body, "it is late") || strings.Contains(a.body, "Findings overdue") {
		t.Error("what is due tomorrow is on the overview")
	}
	r.clock.pass(25 * time.Hour)
	b = r.enter()
	b.get("/console/").wants(t, "overview", http.StatusOK, "it is late", "overdue", "Findings overdue", "/console/findings?due=overdue")
	a := b.get("/console/findings?due=overdue")
	a.wants(t, "the overdue", http.StatusOK, "it is late")
	if strings.Contains(a.body, "there is time") {
		t.Error("what is not overdue is among the overdue")
	}
	b.get("/console/findings").wants(t, "all", http.StatusOK, "it is late", "there is time")
}

// TestNothingIsSaidUndoneThatMayBeDone: sessions that ended and could not be recorded
// yet have ended.
func TestNothingIsSaidUndoneThatMayBeDone(t *testing.T) {
	r := newRig(t)
	w := &work{err: access.Errorf(access.CodeEvidence, "evidence cannot be written"), changed: []identity.Family{{ID: "ses_1"}}}
	r.console(w)
	b := r.enter()
	b.send("/console/live", "verb", "terminate", "kind", "agent", "id", "bot", "reason", "odd").wants(t, "ending", http.StatusSeeOther)
	a := b.get("/console/live")
	a.wants(t, "what is said", http.StatusOK, "evidence cannot be written", "may have been done")
	if strings.Contains(a.body, "Nothing was done") {
		t.Error("the page says that nothing was done")
	}
	b.send("/console/live", "verb", "terminate", "kind", "grant", "id", "x").wants(t, "a wrong form", http.StatusSeeOther)
	b.get("/console/live").wants(t, "a wrong form", http.StatusOK, "Nothing was done:")
}

// TestAnApprovalSaysWhatItApproves: no tier is ignored, and no definition approved that
// nobody named.
func TestAnApprovalSaysWhatItApproves(t *testing.T) {
	r := newRig(t)
	r.console(&work{})
	r.list("order", "refund", "drop")
	seen, _ := r.admin.Current().View.Tool("shop", "drop")
	b := r.enter()
	for what, kv := range map[string][]string{
		"a tier without a class":    {"tier", "3", "digest", seen.SeenDigest},
		"a definition nobody names": {},
	} {
		b.send("/console/tool", append(kv, "server", "shop", "name", "drop", "verb", "approve", "reason", "fine")...).wants(t, what, http.StatusSeeOther)
		b.get("/console/tool?server=shop&name=drop").wants(t, what, http.StatusOK, "Nothing was done:")
		if now, _ := r.admin.Current().View.Tool("shop", "drop"); now.State != seen.State {
			t.Errorf("%s: it is %s", what, now.State)
		}
	}
	b.send("/console/tool", "server", "shop", "name", "drop", "verb", "approve", "reason", "fine", "digest", seen.SeenDigest).wants(t, "as shown", http.StatusSeeOther)
	if now, _ := r.admin.Current().View.Tool("shop", "drop"); now.State == seen.State {
		t.Error("what was shown is not approved")
	}
}

// TestNoListIsWithoutEnd: however much there is of what a page lists, it shows a part,
// and the rest is behind the next page.
func TestNoListIsWithoutEnd(t *testing.T) {
	r := newRig(t)
	r.console(&work{})
	var b strings.Builder
	for i := range 230 {
		fmt.Fprintf(&b, "kind: User\nid: u-%03d\nname: %s\nroles: [viewer]\n---\n", i, strings.Repeat("ann ", 3))
		fmt.Fprintf(&b, "kind: Team\nid: t-%03d\nmembers: [u-%03d]\n---\n", i, i)
		fmt.Fprintf(&b, "kind: Agent\nid: a-%03d\nowner: team-bots\npurpose: %s\n---\n", i, strings.Repeat("work on it ", 500))
		fmt.Fprintf(&b, "kind: Policy\nid: p-%03d\ncedar: |\n  forbid (principal, action == Mcp::Action::\"shop/no%d\", resource);\n---\n", i, i)
		fmt.Fprintf(&b, "kind: Entitlement\nid: e-%03d\nowner: team-bots\nagents: [bot]\ntools: [\"shop/no%d\"]\n---\n", i, i)
	}
	if _, err := r.admin.Apply(t.Context(), keeper, []admin.Document{{File: "m.yaml", Text: b.String()}}, false); err != nil {
		t.Fatal(err)
	}
	h := r.enter()
	for _, c := range []struct{ path, prefix string }{{"people", "u-"}, {"people", "t-"}, {"agents", "a-"}, {"policies", "p-"}, {"policies", "e-"}} {
		seen, known := map[string]bool{}, map[string]bool{"/console/" + c.path: true}
		for todo := []string{"/console/" + c.path}; len(todo) > 0 && len(known) < 100; todo = todo[1:] {
			a := h.get(todo[0])
			a.wants(t, todo[0], http.StatusOK)
			if len(a.body) > 150_000 {
				t.Errorf("%s: %d bytes", todo[0], len(a.body))
			}
			for _, m := range regexp.MustCompile(`[>]`+c.prefix+`(\d{3})[ <]`).FindAllStringSubmatch(a.body, -1) {
				seen[m[1]] = true
			}
			for _, m := range regexp.MustCompile(`href="([^"]+)" rel="next"`).FindAllStringSubmatch(a.body, -1) {
				if at := html.UnescapeString(m[1]); !known[at] {
					known[at] = true
					todo = append(todo, at)
				}
			}
		}
		if len(seen) != 230 {
			t.Errorf("%s: %d of 230 %s are on a page", c.path, len(seen), c.prefix)
		}
	}
}

// TestWhatIsNotShownIsCounted: calls in flight, and a story that is too long for one page.
func TestWhatIsNotShownIsCounted(t *testing.T) {
	r := newRig(t)
	w := &work{}
	for i := range 130 {
		w.calls = append(w.calls, gate.Call{Action: "shop/order", At: r.clock.now()})
		row := audit.Row{}
		row.Index, row.Type, row.Decision = uint64(500-i), "call.decision", "dec_1"
		w.leaves = append(w.leaves, row)
	}
	r.console(w)
	b := r.enter()
	b.get("/console/live").wants(t, "130 calls", http.StatusOK, "80 more are not shown")
	b.get("/console/evidence/500").wants(t, "130 leaves", http.StatusOK, "rutile audit show", "is longer than this page")
}

// TestWhatIsHeldComesBeforeWhatIsNew: many servers that wait do not push those that
// are quarantined off the page.
func TestWhatIsHeldComesBeforeWhatIsNew(t *testing.T) {
	r := newRig(t)
	r.console(&work{})
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, "kind: Server\nid: new-%03d\nowner: team\ntransport: {http: {url: \"https://s%d.example.com/mcp\"}}\n---\n", i, i)
	}
	if _, err := r.admin.Apply(t.Context(), keeper, []admin.Document{{File: "m.yaml", Text: b.String()}}, false); err != nil {
		t.Fatal(err)
	}
	if _, err := r.admin.ChangeServer(t.Context(), keeper, "shop", registry.VerbQuarantine, "odd"); err != nil {
		t.Fatal(err)
	}
	r.enter().get("/console/").wants(t, "the overview", http.StatusOK, "A server is quarantined")
}

// rightsOf are what the holders of work come to.
type rightsOf struct{ *work }

func (w rightsOf) Access(_ context.Context, server, _ string) (privilege.Access, error) {
	if server != "shop" {
		return privilege.Access{}, access.Errorf(access.CodeNotFound, "server %q is not registered", server)
	}
	return privilege.Access{Server: server, Holders: w.holders}, nil
}

func (w rightsOf) Of(_ context.Context, agent, _ string) (privilege.Report, error) {
	r := privilege.Report{Agent: agent}
	if a := (privilege.Agent{ID: agent, Can: []privilege.Reach{}}); agent == "bot" {
		for i := range w.holders {
			a.Can = append(a.Can, w.holders[i].Reach)
		}
		r.Agents = append(r.Agents, a)
	}
	return r, nil
}
