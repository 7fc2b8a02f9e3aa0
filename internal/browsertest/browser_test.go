// Package browsertest drives the console in a real Chromium.
package browsertest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"rutile/internal/gatetest"
)

// program skips a test where there is no browser; in CI that fails.
func program(t *testing.T) {
	t.Helper()
	if _, err := executable(); err != nil {
		gatetest.Lack(t, "no Chromium: the console is not tried in a browser (Debian: chromium)")
	}
}

func executable() (path string, err error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err = exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", err
}

// browser is a window with a profile of its own in the browser that all tests share.
// complaints are what its pages said in the console, were refused by the policy of their
// content, or failed to load.
type browser struct {
	t       *testing.T
	ctx     context.Context
	scripts bool
	ledger  *ledger // of what is used in it

	mu         sync.Mutex
	complaints []string
}

// started is the browser that all tests share: to start one takes longer than most of them
// use it. TestMain ends it.
var started = sync.OnceValues(func() (context.Context, func()) { //nolint:gochecknoglobals // it outlives every test
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.NoSandbox, chromedp.WindowSize(1280, 900), chromedp.Flag("lang", "en"))
	if path, err := executable(); err == nil {
		opts = append(opts, chromedp.ExecPath(path))
	}
	alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	return ctx, func() { cancel(); stop() }
})

// open opens a window, with or without JavaScript in its pages.
func open(t *testing.T, scripts bool) *browser {
	t.Helper()
	program(t)
	shared, _ := started()
	if err := chromedp.Do(shared); err != nil { // starts it, once
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(shared, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	ctx, end := context.WithTimeout(ctx, 10*time.Minute)
	t.Cleanup(end)
	b := &browser{t: t, ctx: ctx, scripts: scripts, ledger: all}
	b.ledger.read(t)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	err := chromedp.Listen(ctx, func(ev any) {
		switch e := ev.(type) {
		case *log.EventEntryAdded:
			if e.Entry.Level == log.EntryLevelError {
				b.complain("%s %s", e.Entry.Text, e.Entry.URL)
			}
		case *runtime.EventExceptionThrown:
			b.complain("%s", e.ExceptionDetails.Text)
		case *network.EventLoadingFailed:
			if e.BlockedReason != "" {
				b.complain("blocked: %s", e.BlockedReason)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	call(b, network.Enable, network.EnableParams{})
	call(b, log.Enable, cdp.Empty{})
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !scripts})
	return b
}

// call sends a command to the browser.
func call[P, R any](b *browser, cmd cdp.Command[P, R], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, cmd, params); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) complain(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, fmt.Sprintf(format, args...))
}

// quiet fails if a page complained since it was last asked.
func (b *browser) quiet(where string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.complaints {
		if strings.Contains(c, "status of 401") {
			continue // a page that asks who looks says so to the browser too
		}
		b.t.Errorf("%s: the browser complains: %s", where, c)
	}
	b.complaints = nil
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%v on a page that says %s", err, b.text())
	}
}

// patience is how long one step in a browser may take on a machine that is busy.
const patience = 40 * time.Second

// visit opens a page and returns its text.
func (b *browser) visit(url string) string {
	b.t.Helper()
	b.do(chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("#main")))
	return b.see()
}

func (b *browser) text() string {
	b.t.Helper()
	s, err := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS("body")))
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// inPage are what the browser's own tools say of things of a page: one is what a button
// or a link is, all are those that templates leave open.
const inPage = `
const about = () => ({page: location.pathname, asks: !!document.querySelector('form[action="/approve/sign-in"]')});
const wrote = i => i.type === 'checkbox' ? i.checked : i.tagName === 'SELECT' ? i.selectedIndex !== Math.max(0, [...i.options].findIndex(o => o.defaultSelected)) : i.value !== i.defaultValue;
const named = f => [...f.elements].filter(i => i.name && i.tagName !== 'BUTTON' && i.type !== 'hidden');
const of = f => ({...about(), method: f.method, action: f.getAttribute('action') || location.pathname});
const link = a => ({...about(), action: a.getAttribute('href'), group: a.closest('.filters')?.getAttribute('aria-label') || '', next: a.rel === 'next', nav: !!a.closest('nav')});
const button = b => ({...of(b.form), name: b.name && b.name + '=' + b.value});
const one = e => e.closest('a') ? link(e.closest('a')) : {...button(e.closest('button')), fields: named(e.form).filter(wrote).map(i => i.name)};
const all = () => [...[...document.forms].flatMap(f => [...[...f.querySelectorAll('button')].map(button), {...of(f), fields: named(f).map(i => i.name)}]),
	...[...document.querySelectorAll('nav a, .filters a')].map(link)];
`

// see returns the text of a page, and notes what it offers.
func (b *browser) see() string {
	b.t.Helper()
	var page struct {
		Text string
		All  []usage
	}
	b.tell(`{text: document.body.innerText, all: all()}`, &page)
	b.ledger.offer(page.All)
	return page.Text
}

// tell reads what an expression over inPage says.
func (b *browser) tell(expression string, out any) {
	b.t.Helper()
	said := b.ask(`(() => {` + inPage + `return JSON.stringify(` + expression + `)})()`)
	if err := json.Unmarshal([]byte(said), out); err != nil {
		b.t.Fatalf("%s says %s: %v", expression, said, err)
	}
}

// about says what a selector finds, once it can be used.
func (b *browser) about(sel string) usage {
	b.t.Helper()
	b.do(chromedp.WaitVisible(chromedp.CSS(sel)))
	var u usage
	b.tell(`one(document.querySelector(`+quoted(sel)+`))`, &u)
	return u
}

// quoted is a text as a script writes it.
func quoted(s string) string {
	raw, _ := json.Marshal(s)
	return string(raw)
}

// click presses what a selector finds and waits for the page it leads to. Where that says
// that it came to something, it is a use of what was pressed.
func (b *browser) click(sel string) string {
	b.t.Helper()
	u := b.about(sel)
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	resp, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(sel), chromedp.NodeVisible))
	if err != nil {
		b.t.Fatalf("clicking %s: %v on a page that says %s", sel, err, b.text())
	}
	text := b.see()
	if (resp.Status < 400 || resp.Status == http.StatusUnauthorized) && !strings.Contains(text, "Nothing was done") {
		b.ledger.use(b.scripts, &u)
	}
	return text
}

// download presses a link that hands out a file, and returns that.
func (b *browser) download(sel string) []byte {
	b.t.Helper()
	u, dir := b.about(sel), b.t.TempDir()
	call(b, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{Behavior: cdpbrowser.SetDownloadBehaviorBehaviorAllow, DownloadPath: dir, BrowserContextID: chromedp.FromContext(b.ctx).BrowserContextID})
	b.do(chromedp.Click(chromedp.CSS(sel), chromedp.NodeVisible))
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); b.ask("document.title") {
		list, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			b.t.Fatal(err)
		}
		if len(list) != 1 || strings.HasSuffix(list[0], ".crdownload") {
			continue
		}
		raw, err := os.ReadFile(list[0])
		if err != nil || len(raw) == 0 {
			continue // it is being renamed
		}
		b.ledger.use(b.scripts, &u)
		return raw
	}
	b.t.Fatalf("%s hands out no file", sel)
	return nil
}

// fill writes into a field, over what stands in it.
func (b *browser) fill(sel, text string) {
	b.t.Helper()
	if b.ask(`(e => { e.focus(); e.select(); return '' + (document.activeElement === e) })(document.querySelector(`+quoted(sel)+`))`) != "true" {
		b.t.Fatalf("%s cannot be written into on a page that says %s", sel, b.text())
	}
	call(b, input.InsertText, input.InsertTextParams{Text: text})
}

// keys presses keys in a field, as somebody at a keyboard does. chromedp's SendKeys reads
// the field's attributes while the browser tells of their change, which is a race.
func (b *browser) keys(sel, text string) {
	b.t.Helper()
	b.do(chromedp.Focus(chromedp.CSS(sel)), chromedp.KeyEvent(text))
}

// choose chooses of a list what begins with a text.
func (b *browser) choose(sel, text string) {
	b.t.Helper()
	b.keys(sel, text)
	if got := b.ask(`document.querySelector(` + quoted(sel) + `).selectedOptions[0].text`); !strings.HasPrefix(got, text) {
		b.t.Fatalf("%s is at %q, not at %q", sel, got, text)
	}
}

// press presses what leads to no page.
func (b *browser) press(sel string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(sel), chromedp.NodeVisible))
}

// picture keeps what a page looks like, where RUTILE_PICTURES names a directory.
func (b *browser) picture(name string, dark bool) {
	b.t.Helper()
	dir := os.Getenv("RUTILE_PICTURES")
	if dir == "" {
		return
	}
	scheme := "light"
	if dark {
		scheme, name = "dark", name+"-dark"
	}
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/"+name+".png", png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// has fails unless a page says all of the words.
func has(t *testing.T, where, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s does not say %q:\n%s", where, w, text)
		}
	}
}
