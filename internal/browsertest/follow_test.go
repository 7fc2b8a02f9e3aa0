package browsertest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/finding"
	"rutile/internal/grant"
)

// stain writes hostile text wherever pages of the rig show what somebody wrote, and
// leaves one of everything behind that pages can show.
func (r *rig) stain() {
	t, ctx := r.t, r.t.Context()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	quoted := fmt.Sprintf("%q", markup)
	r.apply("kind: Agent\nid: stained\nowner: team-dev\npurpose: " + quoted + "\nriskTier: 1\ntools: [\"shop/look\"]\nruntime: other\n---\n" +
		"kind: Policy\nid: stained\ncedar: |\n  // " + markup + "\n  @id(\"stained\")\n  @advice(\"" + strings.ReplaceAll(markup, `"`, `'`) + "\")\n  forbid (principal == Mcp::Agent::\"stained\", action == Mcp::Action::\"shop/drop\", resource);\n")
	own := r.tokenOf("stained", "shop", "ann")
	said := r.send(ctx, own, "shop", "drop", `{"text":`+quoted+`}`)
	if !strings.Contains(said, "stained") {
		t.Fatalf("a call that the policy forbids: %s", said)
	}
	r.send(ctx, own, "shop", "look", `{"text":`+quoted+`}`)
	must(r.d.Desk.OpenTask(ctx, keeper, grant.Party{Agent: "stained"}, grant.TaskSpec{Purpose: markup, Ticket: markup}))
	must(r.d.Admin.CreateUserToken(ctx, keeper, "odd", markup, 0))
	must(r.d.Admin.ChangeAgent(ctx, keeper, "spare-bot", "suspend", hostile))
	must(r.d.Admin.ChangeServer(ctx, keeper, "new-shop", "quarantine", hostile))
	must(r.d.Effects.Revoke(ctx, keeper, admin.Order{Kind: "agent", ID: "stained", Reason: hostile}))
	must(r.d.Findings.Mute(ctx, keeper, r.wrong, hostile, time.Now().Add(24*time.Hour)))
	h := r.sign(user("vic"))
	if status, body, _ := h.post("/console/decisions/"+r.denied("drop"), url.Values{"form": {h.form}, "comment": {hostile}}); status != http.StatusSeeOther {
		t.Fatalf("reporting: %d %s", status, body)
	}
}

// once are the pages of the rig, one of each sort.
func (r *rig) once() []string {
	r.t.Helper()
	seen := map[string]bool{}
	var out []string
	add := func(p string) {
		path, query, _ := strings.Cut(p, "?")
		words := pattern("/console/" + path)
		if q, err := url.ParseQuery(query); err == nil {
			for k := range q {
				words += " " + k
			}
		}
		if !seen[words] {
			seen[words] = true
			out = append(out, p)
		}
	}
	for _, p := range r.pages() {
		add(p)
	}
	add("compliance")
	add("revoke")
	add("revoke?kind=agent&id=release-bot")
	add("account")
	receipts, err := r.d.Effects.Receipts(r.t.Context(), 1<<62, 1)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, x := range receipts {
		add("receipts/" + x.Revocation)
	}
	rows, err := r.d.Evidence.Search(r.t.Context(), audit.Query{Tool: "look", Types: []string{"intent"}, Limit: 1})
	if err != nil || len(rows) == 0 {
		r.t.Fatalf("no call: %v", err)
	}
	return append(out, fmt.Sprintf("evidence/%d", rows[0].Index), "decisions/"+r.denied("drop"), "servers/shop", "tool?server=shop&name=look")
}

// TestEveryLinkLeadsWhereItSays clicks every link and filter and opens every disclosure
// of every page, hostile text and all: the page that comes is the one the link names, a
// filter that is on says so, and nothing anybody wrote ran.
func TestEveryLinkLeadsWhereItSays(t *testing.T) {
	both(t, func(t *testing.T, r *rig, b *browser) {
		r.stain()
		b.enter(r.link(user("root")))
		proofs := r.sign(user("root"))
		n := 0
		for _, p := range r.once() {
			n += b.follow(r.base+"/console/"+p, proofs)
			b.quiet(p)
		}
		page := r.base + "/approve/" + r.request().ID
		n += b.follow(page, proofs)
		t.Logf("%d links followed", n)
	})
}

// follow uses what leads away from a page and was not used before, and returns how much
// that was.
func (b *browser) follow(page string, proofs *hand) int {
	b.t.Helper()
	b.visit(page)
	n := 0
	for i, x := range b.things() {
		if x.Tag != "a" && x.Tag != "summary" || !ledgers[b.scripts].untouched(x.String()) {
			continue
		}
		n++
		b.evaluate(fmt.Sprintf(`document.querySelectorAll(%q)[%d].setAttribute("data-next", "")`, everything, i))
		switch {
		case x.Tag == "summary":
			b.opens("summary[data-next]")
		case strings.HasPrefix(x.Href, "#"):
			b.uses("[data-next]")
			b.do(chromedp.Focus(chromedp.CSS("[data-next]")), chromedp.KeyEvent("\r"))
			if got := b.ask(`location.hash`); got != x.Href {
				b.t.Errorf("%s leads to %s at %s", x, got, page)
			}
		case x.Download:
			b.uses("[data-next]")
			status, body := proofs.get(x.Href)
			report, err := audit.VerifyBundle(body, audit.VerifyOptions{})
			if status != http.StatusOK || err != nil || len(report.Problems) > 0 {
				b.t.Errorf("%s hands out %d: %v, %+v", page, status, err, report)
			}
		default:
			b.uses("[data-next]")
			resp, err := chromedp.RunResponse(b.ctx, chromedp.Click(chromedp.CSS("[data-next]"), chromedp.NodeVisible))
			if err != nil {
				b.t.Fatalf("%s at %s: %v", x, page, err)
			}
			b.look()
			if want := strings.ReplaceAll(x.Href, "&amp;", "&"); resp.Status != http.StatusOK || b.ask(`location.pathname + location.search`) != want {
				b.t.Errorf("%s at %s: %d, and the page is %s", x, page, resp.Status, b.ask(`location.href`))
			}
			if x.Group != "" && x.Group != "nav" && x.Group != "header" && b.ask(fmt.Sprintf(`[...document.querySelectorAll(".filters a[aria-current]")].some((a) => a.textContent.trim() == %q) ? "on" : ""`, x.Label)) != "on" {
				b.t.Errorf("%s at %s: the page does not say that it is on", x, page)
			}
			b.do(chromedp.Navigate(page))
		}
	}
	if title := b.ask("document.title"); strings.Contains(title, "owned") {
		b.t.Errorf("%s: what somebody wrote ran: %q", page, title)
	}
	return n
}

// ask is what a script says of the page, run by the browser's own tools.
func (b *browser) ask(script string) string {
	b.t.Helper()
	s, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](script))
	if err != nil {
		b.t.Fatalf("%s: %v", script, err)
	}
	return s
}

func (b *browser) evaluate(script string) { b.ask("(() => { " + script + "; return \"\" })()") }

// TestAViewerMayLookAndNothingElse: no page offers a viewer a button but those of their
// own session and of a report; what is not for them says why; and forms sent all the same,
// from a page of theirs in the browser, are refused with a reason and do nothing.
func TestAViewerMayLookAndNothingElse(t *testing.T) {
	allowed := map[string]bool{"button post /console/language lang ko": true, "button post /console/language lang en": true, "button post /approve/sign-out": true, "button post /console/decisions/…": true}
	both(t, func(t *testing.T, r *rig, b *browser) {
		b.enter(r.link(user("vic")))
		barred := 0
		for _, p := range r.once() {
			resp, err := chromedp.Run(b.ctx, chromedp.NavigateResponse(r.base+"/console/"+p))
			if err != nil {
				t.Fatal(err)
			}
			if resp.Status == http.StatusForbidden {
				barred++
				has(t, p, b.text(), "Nothing was done", "may not do this", "needs the role")
				continue
			}
			if resp.Status != http.StatusOK {
				t.Errorf("%s: %d", p, resp.Status)
			}
			for _, x := range b.things() {
				if c := x.String(); x.Tag == "button" && x.Method == "post" && !allowed[c] && !strings.HasPrefix(c, "button post /console/account/") {
					t.Errorf("%s offers a viewer %s", p, c)
				}
			}
		}
		if barred < 8 {
			t.Errorf("only %d pages are not for viewers", barred)
		}
		for _, f := range r.forms() {
			b.do(chromedp.Navigate(r.base + "/console/agents/release-bot"))
			if text := b.forge("/console/"+f.path, f.fields); !strings.Contains(text, "Nothing was done") || !strings.Contains(text, "may not do this") {
				t.Errorf("a viewer sends %s: %s", f.path, text)
			}
		}
		r.unchanged("a viewer in a browser")
		b.mu.Lock() // what is refused is a failed load to the browser
		b.complaints = nil
		b.mu.Unlock()
	})
}

// forge sends a form that the page does not have, with the value of the page's session.
func (b *browser) forge(path string, fields url.Values) string {
	b.t.Helper()
	script := `const f = document.createElement("form"); f.method = "post"; f.action = ` + fmt.Sprintf("%q", path) + `;
const add = (k, v) => { const i = document.createElement("input"); i.type = "hidden"; i.name = k; i.value = v; f.append(i) };
add("form", document.querySelector("input[name=form]").value);`
	for k := range fields {
		script += fmt.Sprintf("add(%q, %q);", k, fields.Get(k))
	}
	_, err := chromedp.RunResponse(b.ctx, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Run(ctx, chromedp.Evaluate[string](`(() => { `+script+` document.body.append(f); f.submit(); return "" })()`))
		return err
	}))
	if err != nil {
		b.t.Fatalf("sending %s: %v", path, err)
	}
	return b.text()
}

// TestNoPageStandsInAnothers: a page of somebody else that frames pages of the console
// shows none of them.
func TestNoPageStandsInAnothers(t *testing.T) {
	r := newRig(t)
	pages := r.once()
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, `<main id="main">evil`)
		for _, p := range pages {
			_, _ = fmt.Fprintf(w, `<iframe src="%s/console/%s"></iframe>`, r.base, p)
		}
	}))
	t.Cleanup(evil.Close)
	b := open(t, true)
	b.enter(r.link(keeper))
	b.do(chromedp.Navigate(evil.URL), chromedp.WaitVisible(chromedp.CSS("#main")))
	refused := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		n := 0
		for _, c := range b.complaints {
			if strings.Contains(c, "frame-ancestors") {
				n++
			}
		}
		return n
	}
	deadline := time.Now().Add(30 * time.Second)
	for refused() < len(pages) && time.Now().Before(deadline) {
		b.ask("document.title")
	}
	if n := refused(); n != len(pages) {
		t.Errorf("%d of %d frames were refused", n, len(pages))
	}
}

// finds fails unless a finding is in a state.
func (r *rig) finds(id string, want finding.State) {
	r.t.Helper()
	list, err := r.d.Findings.List(r.t.Context(), finding.Filter{IDs: []string{id}})
	if err != nil || len(list) != 1 || list[0].State != want {
		r.t.Errorf("the finding is %+v, %v", list, err)
	}
}
