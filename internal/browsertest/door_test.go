package browsertest_test

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"rutile/internal/audit"
	"rutile/internal/finding"
	"rutile/internal/grant"
	"rutile/internal/registry"
)

// pages are all pages of the console with what is in the rig.
func (r *rig) pages() []string {
	list, err := r.d.Desk.Grants(r.t.Context(), grant.Filter{})
	if err != nil {
		r.t.Fatal(err)
	}
	out := []string{"", "servers", "servers?state=sanctioned&q=shop", "servers/shop", "servers/shop?tools=approved", "servers/shop/access", "servers/new-shop", "servers/new-shop/access", "tool?server=shop&name=look", "tool?server=shop&name=odd",
		"agents", "agents?q=zzz", "agents/release-bot", "agents/release-bot/access", "agents/spare-bot", "agents/spare-bot/access", "requests", "requests?state=denied", "grants", "tasks", "live", "live?held=true", "live?pause=true",
		"evidence", "evidence?agent=release-bot&outcome=deny", "evidence?text=look&since=1h", "evidence/0", "inventory", "inventory?status=shadow", "found?key=" + url.QueryEscape(r.shadow), "findings", "findings?state=muted&from=high", "policies", "policies/no-drop", "rules?to=1", "simulator", "simulator?policy=no-drop", "sources", "reviews", "reviews?kind=agent", "reviews/server/shop", "reviews/agent/release-bot", "settings", "roles", "people/vic", "findings/" + r.wrong, "credentials", "people", "health", "receipts", "break-glass"}
	for _, g := range list {
		out = append(out, "grants/"+g.ID)
	}
	sessions, err := r.d.Effects.List(r.t.Context(), "", 5, false)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, s := range sessions {
		out = append(out, "sessions/"+s.ID)
	}
	for _, id := range r.decisions() {
		out = append(out, "decisions/"+id)
	}
	for i := range r.d.Evidence.Size() {
		out = append(out, fmt.Sprintf("evidence/%d", i))
	}
	return out
}

var (
	linkTo  = regexp.MustCompile(`(?:href|action|hx-get)="([^"]+)"`)
	labelOf = regexp.MustCompile(`<label[^>]* for="([^"]+)"`)
	idOf    = regexp.MustCompile(` id="([^"]+)"`)
	inputOf = regexp.MustCompile(`<(?:input|select)([^>]*)>`)
)

// TestEveryPageIsWhole: each page answers quickly enough to be small, has one heading,
// a label for every field, links that lead somewhere, and shows what others wrote as
// text alone.
func TestEveryPageIsWhole(t *testing.T) {
	r := newRig(t)
	h := r.sign(keeper)
	seen := map[string]bool{}
	for _, lang := range []string{"en", "ko"} {
		if status, _, _ := h.post("/console/language", url.Values{"lang": {lang}, "back": {"/console/"}}); status != http.StatusSeeOther {
			t.Fatalf("the language: %d", status)
		}
		for _, p := range r.pages() {
			status, body := h.get("/console/" + p)
			if status != http.StatusOK {
				t.Errorf("%s: %d %s", p, status, body)
				continue
			}
			if n := strings.Count(body, "<h1"); n != 1 {
				t.Errorf("%s has %d headings of the first level", p, n)
			}
			if len(body) > 150<<10 {
				t.Errorf("%s has %d bytes", p, len(body))
			}
			if !strings.Contains(body, `<html lang="`+lang+`">`) {
				t.Errorf("%s is not in %s", p, lang)
			}
			for _, bad := range []string{"<script>", "<img", "\u202e", "\u200b", "\x1b", "<b>bold", "http://evil.example\""} {
				if strings.Contains(body, bad) {
					t.Errorf("%s lets %q through", p, bad)
				}
			}
			whole(t, p, body)
			for _, m := range linkTo.FindAllStringSubmatch(body, -1) {
				if u := strings.ReplaceAll(m[1], "&amp;", "&"); strings.HasPrefix(u, "/") && !strings.Contains(m[0], "action") {
					seen[u] = true
				} else if !strings.HasPrefix(u, "/") && !strings.HasPrefix(u, "#") {
					t.Errorf("%s leads out: %s", p, u)
				}
			}
		}
	}
	for u := range seen {
		if status, _ := h.get(u); status != http.StatusOK {
			t.Errorf("a link leads to %s, which answers %d", u, status)
		}
	}
	if len(seen) < 40 {
		t.Errorf("only %d links were found", len(seen))
	}
}

// whole checks that ids are there once, every label has its field and every field a
// label.
func whole(t *testing.T, page, body string) {
	t.Helper()
	ids := map[string]int{}
	for _, m := range idOf.FindAllStringSubmatch(body, -1) {
		ids[m[1]]++
	}
	for id, n := range ids {
		if n > 1 {
			t.Errorf("%s has the id %s %d times", page, id, n)
		}
	}
	labels := map[string]bool{}
	for _, m := range labelOf.FindAllStringSubmatch(body, -1) {
		labels[m[1]] = true
		if ids[m[1]] == 0 {
			t.Errorf("%s labels %s, which is not there", page, m[1])
		}
	}
	for _, m := range inputOf.FindAllStringSubmatch(body, -1) {
		if strings.Contains(m[1], `type="hidden"`) {
			continue
		}
		id := idOf.FindStringSubmatch(m[1])
		if id == nil || !labels[id[1]] {
			t.Errorf("%s has a field without a label: %s", page, m[1])
		}
	}
}

// forms are all that can be sent, each as one that would do something.
func (r *rig) forms() []struct {
	path   string
	fields url.Values
} {
	sessions, err := r.d.Effects.List(r.t.Context(), "", 1, false)
	if err != nil || len(sessions) == 0 {
		r.t.Fatalf("no session: %v", err)
	}
	g, err := r.d.Desk.Grants(r.t.Context(), grant.Filter{})
	if err != nil {
		r.t.Fatal(err)
	}
	out := []struct {
		path   string
		fields url.Values
	}{
		{"servers/shop", url.Values{"verb": {"quarantine"}}},
		{"servers/new-shop", url.Values{"verb": {"approve"}}},
		{"tool", url.Values{"verb": {"block"}, "server": {"shop"}, "name": {"look"}}},
		{"agents/release-bot", url.Values{"verb": {"suspend"}}},
		{"live", url.Values{"verb": {"terminate"}, "kind": {"session"}, "id": {sessions[0].ID}}},
		{"live", url.Values{"verb": {"terminate"}, "kind": {"agent"}, "id": {"release-bot"}}},
		{"revoke", url.Values{"kind": {"agent"}, "id": {"release-bot"}, "typed": {"release-bot"}}},
		{"people", url.Values{"verb": {"retire"}, "user": {"odd"}}},
		{"tasks", url.Values{"task": {"tsk_1"}}},
		{"inventory/own", r.owning("ann")},
		{"findings", url.Values{"verb": {"mute"}, "id": {r.wrong}, "text": {"never mind"}, "back": {""}}},
		{"findings/" + r.wrong, url.Values{"verb": {"mute"}, "text": {"never mind"}, "day": {"2026-12-24"}}},
		{"policies", url.Values{"id": {"no-drop"}, "cedar": {"permit (principal, action, resource);"}, "generation": {fmt.Sprint(r.d.Admin.Current().View.Generation())}}},
		{"rules", url.Values{"generation": {"1"}, "seen": {"1"}}},
		{"reviews", url.Values{"kind": {"agent"}, "owner": {""}, "due": {"2026-12-24"}}},
		{"reviews/agent/release-bot", url.Values{"answer": {"retire"}}},
		{"reviews/agent/release-bot/narrow", url.Values{"tools": {"shop/look"}, "generation": {fmt.Sprint(r.d.Admin.Current().View.Generation())}}},
		{"people/odd/token", url.Values{"token": {"utk_1"}}},
		{"people/odd/factor", url.Values{"factor": {"fac_1"}}},
		{"people/odd/sign-out", url.Values{}},
		{"grants/grt_1", url.Values{}},
		{"break-glass", url.Values{"agent": {"release-bot"}, "server": {"shop"}, "tool": {"order"}, "reason": {"it burns"}}},
	}
	for _, x := range g {
		out = append(out, struct {
			path   string
			fields url.Values
		}{"grants/" + x.ID, url.Values{}})
	}
	return out
}

// owning is the plan to give every server found to somebody, as its page sends it.
func (r *rig) owning(owner string) url.Values {
	r.t.Helper()
	_, page := r.sign(keeper).get("/console/inventory/own?match=&owner=" + owner)
	out := url.Values{"owner": {owner}}
	for _, name := range []string{"rows", "seen"} {
		m := regexp.MustCompile(`name="` + name + `" value="([^"]+)"`).FindStringSubmatch(page)
		if m == nil {
			r.t.Fatalf("the plan has no field %s", name)
		}
		out.Set(name, html.UnescapeString(m[1]))
	}
	return out
}

// decisions are the ids of what was decided.
func (r *rig) decisions() []string {
	r.t.Helper()
	rows, err := r.d.Evidence.Search(r.t.Context(), audit.Query{Types: []string{"intent", "verdict"}, Limit: 20})
	if err != nil {
		r.t.Fatal(err)
	}
	var out []string
	for _, x := range rows {
		out = append(out, x.Decision)
	}
	if len(out) < 4 {
		r.t.Fatalf("only %d decisions are there", len(out))
	}
	return out
}

// unchanged fails if anything of what the forms are about is not as it was.
func (r *rig) unchanged(what string) {
	r.t.Helper()
	view := r.d.Admin.Current().View
	if s, _ := view.Server("shop"); s.State != registry.ServerSanctioned {
		r.t.Errorf("%s: the server is %s", what, s.State)
	}
	if s, _ := view.Server("new-shop"); s.State != registry.ServerTriaged {
		r.t.Errorf("%s: the new server is %s", what, s.State)
	}
	if x, _ := view.Tool("shop", "look"); x.State != registry.ToolApproved {
		r.t.Errorf("%s: the tool is %s", what, x.State)
	}
	if list, err := r.d.Findings.List(r.t.Context(), finding.Filter{IDs: []string{r.wrong}}); err != nil || len(list) != 1 || list[0].State != finding.Open {
		r.t.Errorf("%s: the finding is %+v, %v", what, list, err)
	}
	if x, err := r.d.Inventory.Show(r.t.Context(), r.shadow); err != nil || x.Owner != "" {
		r.t.Errorf("%s: the server nobody registered is %q's, %v", what, x.Owner, err)
	}
	if r.agent("release-bot") != registry.AgentActive {
		r.t.Errorf("%s: the agent is %s", what, r.agent("release-bot"))
	}
	if u, _ := view.User("odd"); u.State != registry.UserActive {
		r.t.Errorf("%s: the person is %s", what, u.State)
	}
	r.call("look", "Looked")
}

// TestAViewerChangesNothing: whoever may only look is refused whatever they send by
// hand, with a form of their own session, and is offered no form.
func TestAViewerChangesNothing(t *testing.T) {
	r := newRig(t)
	for _, who := range []string{"vic", "odd", "ann"} {
		h := r.sign(user(who))
		for _, f := range r.forms() {
			if who == "ann" && (strings.HasPrefix(f.path, "grants/") || f.path == "tasks") {
				continue // she may
			}
			f.fields.Set("form", h.form)
			if f.fields["text"] == nil {
				f.fields.Set("reason", "because I can")
			}
			if status, body, _ := h.post("/console/"+f.path, f.fields); status != http.StatusForbidden {
				t.Errorf("%s sends %s: %d %s", who, f.path, status, body)
			}
		}
		for _, p := range []string{"servers/shop", "tool?server=shop&name=look", "agents/release-bot", "live", "people"} {
			if _, body := h.get("/console/" + p); strings.Contains(body, `name="verb"`) {
				t.Errorf("%s is offered a form on %s", who, p)
			}
		}
	}
	r.unchanged("viewers")
	h := r.sign(user("vic"))
	for _, p := range []string{"evidence", "evidence/0", "evidence/0/proof"} {
		if status, body := h.get("/console/" + p); status != http.StatusForbidden || strings.Contains(body, "rutile_log") {
			t.Errorf("a viewer reads %s: %d", p, status)
		}
	}
	if status, _ := r.sign(user("odd")).get("/console/evidence/0/proof"); status != http.StatusOK {
		t.Errorf("an auditor is refused the proof: %d", status)
	}
}

// TestForgedFormsDoNothing: forms from elsewhere, of another session, with a field too
// many, or sent as a link are refused although their sender may do everything.
func TestForgedFormsDoNothing(t *testing.T) {
	r := newRig(t)
	h, other := r.sign(keeper), r.sign(user("root"))
	for _, f := range r.forms() {
		with := func(form string, more ...string) url.Values {
			out := url.Values{"form": {form}}
			if f.fields["text"] == nil {
				out.Set("reason", "x")
			}
			for k, v := range f.fields {
				out[k] = v
			}
			for i := 0; i+1 < len(more); i += 2 {
				out.Add(more[i], more[i+1])
			}
			return out
		}
		for _, forged := range []struct {
			what   string
			fields url.Values
			change func(*http.Request)
		}{
			{"another origin", with(h.form), func(q *http.Request) { q.Header.Set("Origin", "http://evil.example") }},
			{"another port", with(h.form), func(q *http.Request) { q.Header.Set("Origin", "http://127.0.0.1:1") }},
			{"no origin", with(h.form), func(q *http.Request) { q.Header.Del("Origin"); q.Header.Del("Sec-Fetch-Site") }},
			{"another site", with(h.form), func(q *http.Request) { q.Header.Set("Sec-Fetch-Site", "cross-site") }},
			{"another host", with(h.form), func(q *http.Request) { q.Host = "evil.example" }},
			{"no form token", with(""), nil},
			{"another session's", with(other.form), nil},
			{"a field twice", with(h.form, "reason", "y"), nil},
			{"a field too many", with(h.form, "owner", "me"), nil},
			{"as JSON", with(h.form), func(q *http.Request) { q.Header.Set("Content-Type", "application/json") }},
			{"as plain text", with(h.form), func(q *http.Request) { q.Header.Set("Content-Type", "text/plain") }},
			{"with a query", with(h.form), func(q *http.Request) { q.URL.RawQuery = "verb=retire" }},
			{"signed out", with(h.form), func(q *http.Request) { q.Header.Del("Cookie") }},
		} {
			from := h
			if forged.what == "signed out" {
				from = &hand{t: t, base: r.base, Client: &http.Client{}}
			}
			var change []func(*http.Request)
			if forged.change != nil {
				change = append(change, forged.change)
			}
			if status, body, to := from.post("/console/"+f.path, forged.fields, change...); status < 400 {
				t.Errorf("%s, %s: %d to %s: %s", f.path, forged.what, status, to, body)
			}
		}
		if status, _ := h.get("/console/" + f.path + "?" + with(h.form).Encode()); status >= 500 {
			t.Errorf("%s as a link: %d", f.path, status)
		}
	}
	r.unchanged("forged forms")
}

// TestALinkSignsInOnce: it counts once and for its own address alone; looking at it
// uses nothing up, and the session it begins is a new one.
func TestALinkSignsInOnce(t *testing.T) {
	r := newRig(t)
	at, err := url.Parse(r.link(keeper))
	if err != nil {
		t.Fatal(err)
	}
	code := url.Values{"code": {at.Query().Get("code")}}
	stranger := &hand{t: t, base: r.base, Client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	for range 3 {
		if status, body := stranger.get(at.RequestURI()); status != http.StatusOK || strings.Contains(body, "Sign out") {
			t.Fatalf("looking at the link: %d %s", status, body)
		}
	}
	for what, change := range map[string]func(*http.Request){
		"from elsewhere": func(q *http.Request) { q.Header.Set("Origin", "http://evil.example") },
		"as localhost": func(q *http.Request) {
			q.Host = strings.Replace(strings.TrimPrefix(r.base, "http://"), "127.0.0.1", "localhost", 1)
			q.Header.Set("Origin", "http://"+q.Host)
		},
	} {
		if status, _, _ := stranger.post("/console/enter", code, change); status < 400 {
			t.Errorf("%s: %d", what, status)
		}
	}
	if status, _, to := stranger.post("/console/enter", code, func(q *http.Request) { q.AddCookie(&http.Cookie{Name: "rutile", Value: "fixed"}) }); status != http.StatusSeeOther || to != "/console/" {
		t.Fatalf("signing in: %d %s", status, to)
	}
	if status, body, _ := stranger.post("/console/enter", code); status != http.StatusForbidden {
		t.Errorf("the same link again: %d %s", status, body)
	}
	stranger.Jar = nil
	if status, _ := stranger.get("/console/"); status != http.StatusUnauthorized {
		t.Errorf("without the cookie: %d", status)
	}
}

// TestNobodyIsSentElsewhereAfterSigningIn: the place a sign-in leads to is a page of
// ours.
func TestNobodyIsSentElsewhereAfterSigningIn(t *testing.T) {
	r := newRig(t)
	tok, err := r.d.Admin.CreateUserToken(t.Context(), keeper, "vic", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	h := &hand{t: t, base: r.base, Client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	for place, want := range map[string]string{
		"console/": "/console/", "console/servers?state=sanctioned": "/console/servers?state=sanctioned",
		"/evil.example/console/": "", "console/\\evil.example": "", "https://evil.example/console/": "", "console//evil.example": "",
		"/console/": "", "console/%2f%2fevil": "/console/%2f%2fevil", "console/\r\nX: y": "", "console": "",
	} {
		status, _, to := h.post("/approve/sign-in", url.Values{"request": {place}, "token": {tok.Token}})
		if (status == http.StatusSeeOther) != (want != "") || to != want {
			t.Errorf("%q leads to %d %q, want %q", place, status, to, want)
		}
	}
	if status, _, to := h.post("/console/language", url.Values{"lang": {"ko"}, "back": {"//evil.example"}}); status != http.StatusSeeOther || to != "/console/" {
		t.Errorf("the language leads to %q", to)
	}
}
