package console_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/console"
	"rutile/internal/credential"
	"rutile/internal/grant"
	"rutile/internal/identity"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
	"rutile/internal/store"
	"rutile/internal/store/storetest"
)

const (
	host   = "127.0.0.1:7434"
	origin = "http://" + host
)

// keeper keeps the gateway.
var keeper = admin.Actor{Kind: "user", ID: "keeper", Host: true}

// parts are everything around the parts under test that keeps nothing.
type parts struct {
	mu     sync.Mutex
	events []grant.Event
	err    error         // of recording
	before func()        // the next change is recorded
	leaves []audit.Admin // of changes
	full   error         // of recording those
}

func (p *parts) Settle(ctx context.Context, owed []access.Owed) error {
	var events []grant.Event
	for _, w := range owed {
		events = append(events, grant.Event{Actor: w.Actor, Verb: w.Verb, Kind: w.Kind, Object: w.Object, Reason: w.Reason})
	}
	return p.Record(ctx, events)
}

func (p *parts) Record(_ context.Context, events []grant.Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.events = append(p.events, events...)
	}
	return p.err
}

// fail makes recording fail.
func (p *parts) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

// said counts the events of a verb.
func (p *parts) said(verb string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, e := range p.events {
		if e.Verb == verb {
			n++
		}
	}
	return n
}

// first makes something happen before the next change of the registry is recorded.
func (p *parts) first(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = do
}

func (p *parts) Admin(_ context.Context, a audit.Admin) (audit.Ref, error) {
	p.mu.Lock()
	do, full := p.before, p.full
	p.before = nil
	if full == nil {
		p.leaves = append(p.leaves, a)
	}
	p.mu.Unlock()
	if do != nil {
		do()
	}
	return audit.Ref{}, full
}

// fill makes leaves of changes impossible to keep, or possible again.
func (p *parts) fill(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.full = err
}

// of returns the leaves of a kind.
func (p *parts) of(kind string) []audit.Admin {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []audit.Admin
	for _, l := range p.leaves {
		if l.Kind == kind {
			out = append(out, l)
		}
	}
	return out
}
func (p *parts) Seal(_ context.Context, _ string, b []byte) ([]byte, error) {
	return append([]byte("sealed:"), b...), nil
}
func (p *parts) Open(_ context.Context, _ string, b []byte) ([]byte, error) {
	return b[len("sealed:"):], nil
}
func (p *parts) Set(context.Context, credential.Secret, []byte) (credential.Secret, error) {
	return credential.Secret{}, nil
}
func (p *parts) Rotate(context.Context, string, []byte) (credential.Secret, error) {
	return credential.Secret{}, nil
}
func (p *parts) Rewrap(context.Context) (int, error) { return 0, nil }
func (p *parts) End(context.Context, credential.Source, string) credential.Ended {
	return credential.Ended{}
}
func (p *parts) Used(context.Context) (map[string]credential.Use, error) { return nil, nil }
func (p *parts) Remove(context.Context, string) (bool, error)            { return false, nil }
func (p *parts) List(context.Context) ([]credential.Secret, error)       { return nil, nil }
func (p *parts) Guessable(context.Context, string) (bool, error)         { return false, nil }
func (p *parts) DevelopmentToken(context.Context, admin.TokenRequest) (identity.Token, error) {
	return identity.Token{}, nil
}

// clock is a clock a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// rig is a console over a real store, with people, an agent and tools.
type rig struct {
	t      *testing.T
	clock  *clock
	parts  *parts
	admin  *admin.Admin
	broker *grant.Broker
	desk   *admin.Desk // of the page
	page   *console.Console
	log    *strings.Builder

	db       *store.Store
	findings *admin.Findings // of the console

	inventory *admin.Inventory // of the console
}

const people = `kind: Agent
id: bot
owner: team-bots
purpose: test
---
kind: Server
id: shop
owner: team-shop
transport: {http: {url: "https://shop.example.com/mcp"}}
state: sanctioned
---
kind: User
id: ann
roles: [approver]
---
kind: User
id: bob
roles: [approver]
---
kind: User
id: cat
roles: [approver]
---
kind: User
id: vic
roles: [viewer]
`

func newRig(t *testing.T, change ...func(*console.Config)) *rig {
	t.Helper()
	return rigOf(t, admin.Config{Node: "n1"}, change...)
}

func rigOf(t *testing.T, rules admin.Config, change ...func(*console.Config)) *rig {
	t.Helper()
	r := &rig{t: t, clock: &clock{at: time.Now().UTC()}, parts: &parts{}, log: &strings.Builder{}}
	db, err := store.Open(t.Context(), store.Config{DSN: "sqlite", Dir: storetest.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r.db = db
	if r.admin, err = admin.New(t.Context(), rules, admin.Deps{
		Store: db, Registry: db, Evidence: r.parts, Vault: r.parts, Authority: r.parts, Now: r.clock.now,
	}); err != nil {
		t.Fatal(err)
	}
	if r.broker, err = grant.New(t.Context(), grant.Config{Node: "n1", Boot: "b1"}, db, r.parts, r.parts, r.clock.now); err != nil {
		t.Fatal(err)
	}
	desk, err := admin.NewDesk(r.admin, r.broker, "http://127.0.0.1:7433", func(context.Context, grant.Minted, []byte) string { return "" }, noCalls{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := console.Config{Hosts: []string{host}, Public: origin, Now: r.clock.now, Log: slog.New(slog.NewTextHandler(r.log, nil))}
	for _, f := range change {
		f(&cfg)
	}
	r.desk = desk
	if r.page, err = console.New(cfg, r.admin, desk); err != nil {
		t.Fatal(err)
	}
	if _, err := r.admin.Apply(t.Context(), keeper, []admin.Document{{File: "m.yaml", Text: people}}, false); err != nil {
		t.Fatal(err)
	}
	r.list("order", "refund")
	return r
}

// list makes the server list tools, and approves them as they are.
func (r *rig) list(tools ...string) {
	r.t.Helper()
	var l registry.Listing
	for _, name := range tools {
		raw, err := json.Marshal(map[string]any{"name": name, "description": "It does.", "inputSchema": map[string]any{"type": "object"}})
		if err != nil {
			r.t.Fatal(err)
		}
		l.Definitions = append(l.Definitions, registry.Definition{Name: name, Raw: raw})
	}
	if _, err := r.admin.Observe(r.t.Context(), "shop", l); err != nil {
		r.t.Fatal(err)
	}
}

// token makes a personal token.
func (r *rig) token(user string) admin.NewUserToken {
	r.t.Helper()
	tok, err := r.admin.CreateUserToken(r.t.Context(), keeper, user, "", 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return tok
}

// ask opens a request of the agent.
func (r *rig) ask(args string, change ...func(*grant.Ask)) grant.Request {
	r.t.Helper()
	v, err := rawjson.Parse([]byte(args), rawjson.Limits{})
	if err != nil {
		r.t.Fatal(err)
	}
	def, _ := r.admin.Current().View.Tool("shop", "order")
	a := grant.Ask{
		Call: grant.Call{Party: grant.Party{Agent: "bot"}, Args: v, Target: grant.Target{Server: "shop", Kind: access.KindTool, Name: "order", Digest: def.PinDigest, Tier: 2}},
	}
	for _, f := range change {
		f(&a)
	}
	req, err := r.broker.Open(r.t.Context(), a)
	if err != nil {
		r.t.Fatal(err)
	}
	return req
}

// state is what the store holds of a request.
func (r *rig) state(id string) grant.Request {
	r.t.Helper()
	req, ok, err := r.broker.Archive().Request(r.t.Context(), id)
	if err != nil || !ok {
		r.t.Fatalf("request %s: %v, %v", id, ok, err)
	}
	return req
}

// browser is a browser of one person: it keeps cookies and says where forms are
// from.
type browser struct {
	rig     *rig
	cookies map[string]string
	form    string // of the page it looked at last
	change  func(*http.Request)
}

func (r *rig) browser() *browser { return &browser{rig: r, cookies: map[string]string{}} }

type answer struct {
	status int
	header http.Header
	body   string
}

func (b *browser) do(method, path string, form url.Values) answer {
	b.rig.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req := httptest.NewRequest(method, origin+path, body)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", origin)
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for n, v := range b.cookies {
		req.AddCookie(&http.Cookie{Name: n, Value: v})
	}
	if b.change != nil {
		b.change(req)
	}
	w := httptest.NewRecorder()
	b.rig.page.ServeHTTP(w, req)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	if m := regexp.MustCompile(`name="form" value="([^"]+)"`).FindStringSubmatch(w.Body.String()); m != nil {
		b.form = m[1]
	}
	return answer{w.Code, w.Header(), w.Body.String()}
}

func (b *browser) get(path string) answer { b.rig.t.Helper(); return b.do("GET", path, nil) }

// signIn signs in for a request and looks at its page.
func (b *browser) signIn(token, request string) answer {
	b.rig.t.Helper()
	a := b.do("POST", "/approve/sign-in", url.Values{"request": {request}, "token": {token}})
	if a.status != http.StatusSeeOther || a.header.Get("Location") != "/approve/"+request {
		b.rig.t.Fatalf("signing in: %d %s %s", a.status, a.header.Get("Location"), a.body)
	}
	return b.get("/approve/" + request)
}

// answer sends the form of the page it looked at.
func (b *browser) answer(request, action string, more ...string) answer {
	b.rig.t.Helper()
	f := url.Values{"form": {b.form}, "action": {action}}
	for i := 0; i < len(more); i += 2 {
		f.Set(more[i], more[i+1])
	}
	return b.do("POST", "/approve/"+request, f)
}

// signedIn is a browser of somebody who looks at a request.
func (r *rig) signedIn(user, request string) *browser {
	r.t.Helper()
	b := r.browser()
	if a := b.signIn(r.token(user).Token, request); a.status != http.StatusOK {
		r.t.Fatalf("%s looks at %s: %d %s", user, request, a.status, a.body)
	}
	return b
}

func (a answer) wants(t *testing.T, what string, status int, words ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("%s: status %d, want %d: %s", what, a.status, status, text(a.body))
		return
	}
	for _, w := range words {
		if !strings.Contains(a.body, w) {
			t.Errorf("%s: %q is not in: %s", what, w, text(a.body))
		}
	}
}

// text is a page without its style and tags.
func text(page string) string {
	page = regexp.MustCompile(`(?s)<style>.*</style>`).ReplaceAllString(page, "")
	return strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page, " ")), " ")
}

// approveTool approves the definition of a tool as it was listed last.
func approveTool(t *testing.T, r *rig, name string) {
	t.Helper()
	d, err := r.admin.DiffTool("shop", name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.admin.ApproveTool(t.Context(), keeper, "shop", name, admin.Approval{Digest: d.Seen, Reason: "fine"}); err != nil {
		t.Fatal(err)
	}
}

// noCalls is that nothing runs.
type noCalls struct{}

func (noCalls) Recalling() func([]string) int { return func([]string) int { return 0 } }
