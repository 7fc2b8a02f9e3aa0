package browsertest_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	"rutile/internal/registry"
)

// ledger notes which controls of the console the tests really used in a browser, by
// whether scripts ran in it. What it holds to is what the templates say, and of what they
// leave open (the verbs of a state, the fields of a search, the pages of the navigation)
// what pages offered.
type ledger struct {
	controls []control
	routes   []route
	parts    map[string][]string // of a page: its template and what that includes

	mu      sync.Mutex
	offered map[string]string // and what each is one of
	used    map[bool]map[string]bool
}

// route says which template an address is shown with.
type route struct {
	at       *regexp.Regexp
	template string
}

// usage is what a browser says of something that is about to be used, or could be.
type usage struct {
	Page   string   `json:"page"`   // the path of the page it is on
	Asks   bool     `json:"asks"`   // the page asks who looks
	Method string   `json:"method"` // of its form, "" for a link
	Action string   `json:"action"` // of its form, or where the link leads
	Name   string   `json:"name"`   // NAME=VALUE of a button
	Fields []string `json:"fields"` // of its form, that somebody wrote into or chose
	Group  string   `json:"group"`  // what the filters are called the link is one of
	Next   bool     `json:"next"`   // the link goes on with a list
	Nav    bool     `json:"nav"`    // the link is in the navigation
}

// all is what the tests of this package used.
var all = newLedger() //nolint:gochecknoglobals // it outlives every test

func newLedger() *ledger {
	return &ledger{offered: map[string]string{}, used: map[bool]map[string]bool{}}
}

// links are the links that change what a page shows, hand something out or begin a
// change, by template as it writes them, and what address the template is given. The rest
// only lead to another page: TestEveryPageIsWhole follows each of them.
func links() map[string]string {
	return map[string]string{
		"top #main": "", "request #main": "", "top /console/": "", "top {{.Account}}": `^/console/account$`, "top {{.URL}}": `^/console/[a-z-]*$`,
		"sign-in {{.Elsewhere}}": `^http://localhost:.*/console/`, "sign-in {{.ProviderAt}}": `^http://127\.0\.0\.1:.*/console/`, "sign-in {{.Where}}": `^/`, "account {{.Elsewhere}}": `^http://localhost:.*/console/account$`,
		"away {{.Address}}": `^http`, "connect {{.Leave}}": `^http`, "request /console/requests": "", "request {{.Elsewhere}}": `^http://localhost:.*/approve/`, "glass-sign {{.Elsewhere}}": `^http://localhost:.*/console/break-glass/`,
		"agent /console/revoke?kind=agent&id={{.ID}}": "", "agent {{.Events}}": `^/console/evidence\?agent=`, "agent {{.Grants}}": `^/console/grants\?agent=`,
		`agent {{at "agents" .ID "access"}}`: "", `server {{at "servers" .ID "access"}}`: "", `agent-access {{at "reviews" "agent" .ID}}`: "",
		"server /console/revoke?kind=server&id={{.ID}}": "", "server {{.Events}}": `^/console/evidence\?server=`,
		"tool /console/revoke?kind=tool&id={{.Server}}/{{.Name}}": "",
		"inventory {{.}}": `^/console/inventory$`, "inventory {{.CSV}}": `^/console/inventory/export\?as=csv`, "inventory {{.JSON}}": `^/console/inventory/export\?as=json`,
		"owning {{.Back}}": `^/console/inventory`, "overview {{.URL}}": `^/(console|approve)/`, "overview /console/findings": "", "overview /console/evidence": "",
		"live {{.Pause}}": `^/console/live(\?pause=true)?$`, "live /console/risk": "", `live {{revoking "session" .ID}}`: "", "live /console/revoke": "", "live /console/receipts": "",
		`session {{revoking "session" .ID}}`: "", "session {{.Events}}": `^/console/evidence\?session=`, "session /console/risk": "",
		"policies /console/simulator": "", "policies /console/rules?from={{before .N}}&to={{.N}}": "", "policies /console/rules?to={{.N}}": "", "policy {{.}}": `^/console/simulator\?policy=`,
		"evidence /console/evidence": "", "event {{.Proof}}": `^/console/evidence/\d+/proof$`, "event {{$.Page.Why}}": `^/console/decisions/`,
		"reviews /console/reviews?owner={{.Owner}}": "", "reviews /console/reviews": "",
		"receipts /console/revoke": "", "receipt {{.Events}}": `^/console/evidence\?text=`,
		`grant {{revoking "grant" .ID}}`: "", "grant {{.Events}}": `^/console/evidence\?text=`, "credentials /console/revoke?kind=credential&id={{.ID}}": "",
		`people {{revoking "user" .ID}}`: "", `people {{revoking "approver" .ID}}`: "", "tasks /console/grants?task={{.ID}}": "",
		"decision {{.Request}}": `^/console/requests\?agent=`, "compliance {{.Console}}": `^/console/`,
	}
}

// leading are the links with an address of the page's own making that only lead on.
func leading() []string {
	return []string{"decision {{.}}", "finding {{.URL}}", "findings {{.URL}}", "server {{.URL}}", "server-access {{.URL}}", "review {{.Tool}}", "event {{.URL}}"}
}

// elsewhere are the controls that no page of a test in a browser can show, and what
// tries them instead.
func elsewhere() map[string]string {
	return map[string]string{
		"evidence link {{.Further}}": "a search of more than 30,000 leaves: TestASearchThatGaveUpIsNotSaidToHaveFoundNothing",
	}
}

// read fills the ledger with what there is, once.
func (l *ledger) read(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.controls != nil {
		return
	}
	works := links()
	for _, c := range controls(t) {
		key := c.Template + " " + c.Action
		_, ok := works[key]
		switch {
		case c.Kind != "link" || ok || strings.HasPrefix(c.Action, "filter:") || strings.HasPrefix(c.Action, "next:") || elsewhere()[c.String()] != "":
			l.controls = append(l.controls, c)
		case strings.HasPrefix(c.Action, "{{at ") || strings.HasPrefix(c.Action, "{{found ") || strings.HasPrefix(c.Action, "/") || slices.Contains(leading(), key):
		default:
			t.Errorf("%s is neither among links nor leading", key)
		}
	}
	raw, err := os.ReadFile("../console/visit.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\{"([^"]+)", admin\.Op\w+, "([^"]+)", \(`).FindAllStringSubmatch(string(raw), -1) {
		at := regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(strings.TrimSuffix(m[1], "{$}"), "[^/]+")
		l.routes = append(l.routes, route{regexp.MustCompile("^/console/" + at + "$"), m[2]})
	}
	if len(l.routes) < 40 {
		t.Fatalf("only %d pages are known", len(l.routes))
	}
	for at, name := range map[string]string{"/approve/connect/.*": "connect", "/approve/connections": "own", "/approve/connected.*": "connected", "/approve/req_[^/]+": "request",
		"/console/enter": "enter", "/console/sign-in/away": "away", "/console/sign-in/back": "back"} {
		l.routes = append(l.routes, route{regexp.MustCompile("^" + at + "$"), name})
	}
	l.parts = map[string][]string{}
	texts := templates(t)
	for name := range texts {
		list := []string{name}
		for i := 0; i < len(list); i++ {
			for _, m := range includeOf.FindAllStringSubmatch(texts[list[i]], -1) {
				if !slices.Contains(list, m[1]) {
					list = append(list, m[1])
				}
			}
		}
		l.parts[name] = list
	}
}

// on are the templates that a page stands in.
func (l *ledger) on(u *usage) []string {
	if u.Asks {
		return l.parts["sign-in"]
	}
	for _, r := range l.routes {
		if r.at.MatchString(u.Page) {
			return l.parts[r.template]
		}
	}
	return nil
}

// several reports whether a template leaves open what a control is called: then it stands
// for those that pages show.
func (c *control) several() bool {
	switch c.Kind {
	case "button":
		return strings.HasPrefix(c.Name, "verb={{")
	case "field":
		return strings.Contains(c.Name, "{{")
	default:
		return c.Action == "filter:{{.Label}}" || c.Template == "top" && c.Action == "{{.URL}}"
	}
}

// find are the controls of a kind that something on a page is, each with the one of the
// templates it is one of.
func (l *ledger) find(u *usage, kind, name string) map[string]string {
	out := map[string]string{}
	on := l.on(u)
	for i := range l.controls {
		c := l.controls[i]
		is := c.sends
		if kind == "link" {
			is = c.leads
		}
		if c.Kind != kind || !slices.Contains(on, c.Template) || !is(u, name) {
			continue
		}
		of := c.String()
		switch {
		case !c.several():
		case u.Group != "" && strings.ContainsFunc(u.Group, func(r rune) bool { return r > unicode.MaxASCII }):
			continue // the same group under its Korean name: it is used in English
		case u.Group != "":
			c.Action = "filter:" + u.Group
		case kind == "link":
			c.Action = u.Action
		default:
			c.Name = name
		}
		out[c.String()] = of
	}
	return out
}

// leads reports whether a link on a page is one of a template.
func (c *control) leads(u *usage, _ string) bool {
	if label, ok := strings.CutPrefix(c.Action, "filter:"); ok || u.Group != "" {
		return ok && u.Group != "" && (u.Group == label || c.several())
	}
	if list, ok := strings.CutPrefix(c.Action, "next:"); ok {
		cursor := map[string]string{".NextRights": "rights=", ".NextTeams": "teams="}[list]
		if cursor == "" {
			cursor = "cursor="
		}
		return u.Next && strings.Contains(u.Action, cursor)
	}
	if u.Nav != (c.Template == "top" && c.several()) {
		return false
	}
	if text := links()[c.Template+" "+c.Action]; text != "" {
		return regexp.MustCompile(text).MatchString(u.Action)
	}
	return addressOf(c.Action).MatchString(u.Action)
}

// sends reports whether a button or a field of a form on a page is one of a template.
func (c *control) sends(u *usage, name string) bool {
	if c.Method != u.Method || c.Action == "" && u.Action != u.Page || c.Action != "" && !addressOf(c.Action).MatchString(u.Action) {
		return false
	}
	if c.Kind == "field" && c.several() {
		return true
	}
	key, value, _ := strings.Cut(c.Name, "=")
	gotKey, got, _ := strings.Cut(name, "=")
	return key == gotKey && (value == got || strings.Contains(value, "{{") && got != "all")
}

// use notes that something was used.
func (l *ledger) use(scripts bool, u *usage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.used[scripts] == nil {
		l.used[scripts] = map[string]bool{}
	}
	kind := "button"
	if u.Method == "" {
		kind = "link"
	}
	for k := range l.find(u, kind, u.Name) {
		l.used[scripts][k] = true
	}
	for _, f := range u.Fields {
		for k := range l.find(u, "field", f) {
			l.used[scripts][k] = true
		}
	}
}

// offer notes what a page shows of what templates leave open.
func (l *ledger) offer(list []usage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range list {
		u := &list[i]
		kind, names := "button", []string{u.Name}
		switch {
		case u.Method == "":
			kind = "link"
		case u.Fields != nil:
			kind, names = "field", u.Fields
		}
		for _, n := range names {
			for k, of := range l.find(u, kind, n) {
				if k != of {
					l.offered[k] = of
				}
			}
		}
	}
}

// join adds what another ledger notes.
func (l *ledger) join(o *ledger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, of := range o.offered {
		l.offered[k] = of
	}
	for scripts, used := range o.used {
		if l.used[scripts] == nil {
			l.used[scripts] = map[string]bool{}
		}
		for k := range used {
			l.used[scripts][k] = true
		}
	}
}

// unused are the controls that no test used with scripts, or without.
func (l *ledger) unused(scripts bool) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	want, shown := map[string]bool{}, map[string]bool{}
	for k, of := range l.offered {
		want[k], shown[of] = true, true
	}
	for i := range l.controls {
		c := &l.controls[i]
		if elsewhere()[c.String()] == "" && !shown[c.String()] && (scripts || !c.Scripts) {
			want[c.String()] = true
		}
	}
	var out []string
	for k := range want {
		if !l.used[scripts][k] {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// TestTheLedgerNamesWhatIsUnused: looking at a page is no use of it, nor is a click that
// comes to nothing, nor one in a browser of the other sort; what is used is used alone.
func TestTheLedgerNamesWhatIsUnused(t *testing.T) {
	r, b := newRig(t), open(t, false)
	b.ledger = newLedger()
	b.ledger.read(t)
	const button, field, link, other = `agent button post {{at "agents" .ID}} verb=suspend`, `agent field post {{at "agents" .ID}} reason`, "agent link {{.Grants}}", `agent button post {{at "agents" .ID}} verb=retire`
	left := func(what string, scripts bool, want ...string) {
		t.Helper()
		unused := b.ledger.unused(scripts)
		for _, c := range []string{button, field, link, other} {
			if slices.Contains(unused, c) != slices.Contains(want, c) {
				t.Errorf("%s: that %s is unused is %t", what, c, slices.Contains(unused, c))
			}
		}
	}
	b.enter(r.link(user("root")))
	b.visit(r.base + "/console/agents/release-bot")
	b.fill("#why", "tried")
	left("a page that was looked at", false, button, field, link, other)
	if _, err := r.d.Admin.ChangeAgent(t.Context(), keeper, "release-bot", registry.VerbQuarantine, ""); err != nil {
		t.Fatal(err)
	}
	has(t, "too late", b.click(`button[value="suspend"]`), "Nothing was done")
	left("a click that came to nothing", false, button, field, link, other)
	if _, err := r.d.Admin.ChangeAgent(t.Context(), keeper, "release-bot", registry.VerbResume, ""); err != nil {
		t.Fatal(err)
	}
	b.visit(r.base + "/console/agents/release-bot")
	b.click(`main a[href="/console/grants?agent=release-bot"]`)
	left("a link that was followed", false, button, field, other)
	b.visit(r.base + "/console/agents/release-bot")
	b.click(`button[value="suspend"]`)
	left("a form without a reason", false, field, other)
	b.fill("#why", "tried")
	b.click(`button[value="resume"]`)
	left("a reason", false, other)
	left("the other sort of browser", true, button, field, link, other)
}

// TestMain fails where all tests ran, passed, and left a control unused. Where only some
// run, nothing can be said.
func TestMain(m *testing.M) {
	code := m.Run()
	_, stop := started()
	stop()
	if code == 0 && everything() {
		for scripts, how := range map[bool]string{true: "with scripts", false: "without scripts"} {
			for _, c := range all.unused(scripts) {
				code = 1
				fmt.Fprintf(os.Stderr, "no test uses in a browser %s: %s\n", how, c)
			}
		}
	}
	os.Exit(code)
}

// everything reports whether every test of the package ran, and with a browser.
func everything() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return false
		}
	}
	return len(all.used) > 0
}
