package browsertest_test

import (
	"flag"
	"fmt"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// ledger is which controls the pages of all tests showed, and which of them somebody
// used: every page a browser opens is looked at, and whatever is clicked, filled in or
// chosen is noted before. It is kept apart for pages with and without scripts, by which
// it has nothing to do with what a test means to try.
type ledger struct {
	mu    sync.Mutex
	shown map[string]string // a control, and an address it was seen at
	used  map[string]bool
}

// ledgers are those of pages with scripts and without.
var ledgers = map[bool]*ledger{true: {shown: map[string]string{}, used: map[string]bool{}}, false: {shown: map[string]string{}, used: map[string]bool{}}}

// TestMain fails a run of all tests if a page showed a control that nobody used.
func TestMain(m *testing.M) {
	code := m.Run()
	if whole := flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == ""; code == 0 && whole {
		for scripts, l := range ledgers {
			for _, c := range l.unused() {
				fmt.Printf("nobody used, scripts %t: %s (seen at %s)\n", scripts, c, l.shown[c])
				code = 1
			}
		}
	}
	os.Exit(code)
}

// unused are the controls that were shown and never used.
func (l *ledger) unused() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(l.shown)), func(c string) bool { return l.used[c] })
}

func (l *ledger) note(c, where string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shown[c] == "" {
		l.shown[c] = where
	}
}

func (l *ledger) use(c string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used[c] = true
}

func (l *ledger) untouched(c string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.used[c]
}

// thing is something on a page that can be used.
type thing struct {
	Tag, Page, Method, Action, Name, Value, Href, Group, Label string
	Download                                                   bool
}

// describe is a script that says of an element what a thing is.
const describe = `(e) => { const f = e.form || e.closest("form"), g = e.closest(".filters");
return {Tag: e.tagName.toLowerCase(), Page: location.pathname, Method: f ? f.method : "", Action: f ? f.getAttribute("action") || location.pathname : "",
Name: e.getAttribute("name") || "", Value: e.tagName == "BUTTON" ? e.value : "", Href: e.getAttribute("href") || "", Group: g ? g.getAttribute("aria-label") : e.closest("nav") ? "nav" : e.closest("header") ? "header" : "",
Label: e.textContent.trim(), Download: e.hasAttribute("download")} }`

// everything is a selector of what can be used on a page; what is in a form that only
// scripts show is not there without them.
const everything = `a[href], form:not([hidden]) button, summary, form:not([hidden]) select, form:not([hidden]) textarea, form:not([hidden]) input:not([type=hidden])`

// things are what can be used on the page the browser shows, in order.
func (b *browser) things() []thing {
	b.t.Helper()
	out, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]thing](`[...document.querySelectorAll("`+everything+`")].map(`+describe+`)`))
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// look notes what the page shows.
func (b *browser) look() {
	b.t.Helper()
	for _, x := range b.things() {
		ledgers[b.scripts].note(x.String(), x.Page)
	}
}

// uses notes that somebody uses what a selector finds first.
func (b *browser) uses(sel string) {
	b.t.Helper()
	b.do(chromedp.WaitReady(chromedp.CSS(sel)))
	x, err := chromedp.Run(b.ctx, chromedp.Evaluate[thing](fmt.Sprintf(`(%s)(document.querySelector(%q))`, describe, sel)))
	if err != nil {
		b.t.Fatalf("using %s: %v", sel, err)
	}
	ledgers[b.scripts].use(x.String())
}

// String names a thing by what it does: two buttons that send the same form with the
// same word are one, whichever object they are about.
func (x thing) String() string {
	page := pattern(x.Page)
	switch x.Tag {
	case "a":
		if x.Group != "" && x.Group != "nav" && x.Group != "header" {
			return "filter " + page + " " + x.Group + ": " + x.Label
		}
		if x.Group != "" {
			page = x.Group
		}
		u, err := url.Parse(x.Href)
		if err != nil {
			return "link " + x.Href
		}
		to := pattern(u.Path)
		if u.Fragment != "" {
			to += "#" + u.Fragment
		}
		for _, k := range slices.Sorted(maps.Keys(u.Query())) {
			to += " " + k
		}
		return "link " + page + " -> " + to
	case "summary":
		return "details " + page + " " + x.Label
	case "button":
		value := x.Value
		if !worded[x.Name] && value != "all" && value != "" {
			value = "…"
		}
		return strings.TrimSpace("button " + x.Method + " " + pattern(x.Action) + " " + x.Name + " " + value)
	default:
		return x.Tag + " " + x.Method + " " + pattern(x.Action) + " " + x.Name
	}
}

// worded are the buttons whose value says what they do.
var worded = map[string]bool{"verb": true, "answer": true, "action": true, "lang": true}

var word = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)

// pattern is an address without the names of what it is about: those stand after what
// they are one of, and the rest are the words of the console's own addresses.
func pattern(path string) string {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, p := range parts {
		if i >= 2 && !(word.MatchString(p) && own[p]) || i == 1 && strings.HasPrefix(p, "req_") {
			parts[i] = "…"
		}
	}
	return "/" + strings.Join(parts, "/")
}

// own are words that stand after another in addresses of the console.
var own = map[string]bool{"": true, "token": true, "factor": true, "sign-out": true, "narrow": true, "proof": true, "again": true, "password": true, "passkey": true, "confirm": true, "sessions": true, "away": true, "back": true}
