package browsertest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"rutile/internal/audit"
)

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

// ask is what a script says of the page, run by the browser's own tools.
func (b *browser) ask(script string) string {
	b.t.Helper()
	s, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](script))
	if err != nil {
		b.t.Fatalf("%s: %v", script, err)
	}
	return s
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
