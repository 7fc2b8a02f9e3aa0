package console

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/compliance"
	"rutile/internal/conduct"
	"rutile/internal/gate"
)

// Home is where the console begins.
const Home = "/console/"

// Evidence is what the console shows of the log.
type Evidence interface {
	compliance.Evidence
	Search(ctx context.Context, q audit.Query) ([]audit.Row, error)
	// SearchPart is Search that gives up after so many rows that it looked at.
	SearchPart(ctx context.Context, q audit.Query) (audit.Part, error)
	Reveal(ctx context.Context, index uint64) (*audit.Revealed, error)
	// Proof returns the file that rutile audit verify checks without this gateway.
	Proof(ctx context.Context, leaves []uint64) ([]byte, error)
}

// Check is what was found of one part of the gateway.
type Check struct{ Name, Level, Reason, Mend string }

// Setting is one value of the configuration, "" where it is left out, and where it is
// from.
type Setting struct{ Key, Value, Origin string }

// Status says what this gateway is.
type Status struct {
	Version, Node, Mode, Store, Data string
	Agents, Operators                string
	Started                          time.Time
	Generation                       uint64
}

// Work is what the console stands on besides answering requests.
type Work struct {
	Effects   *admin.Effects
	Evidence  Evidence
	Inventory *admin.Inventory
	Findings  *admin.Findings
	Views     *admin.Views
	Status    func() Status
	Doctor    func(ctx context.Context) []Check
	// Calls are those in flight, in no order.
	Calls func() []gate.Call
	// Learn lists what a server offers and returns when decisions know it.
	Learn func(ctx context.Context, server string) error
	// Settings are the configuration, without secrets.
	Settings func() []Setting
	// Rehearsal explains decisions and tries rules.
	Rehearsal Rehearsal
	// Privileges say who may do what, and what of it was used.
	Privileges Privileges
	// Conduct is how a tool behaved, nil if it was not called lately. It may be nil itself.
	Conduct func(server, tool string) *conduct.Summary
}

func (w *Work) whole() bool {
	return w.Effects != nil && w.Evidence != nil && w.Inventory != nil && w.Findings != nil && w.Views != nil && w.Status != nil && w.Doctor != nil && w.Calls != nil && w.Learn != nil && w.Rehearsal != nil && w.Privileges != nil && w.Settings != nil
}

// visit is one request of somebody who is signed in and may see the page.
type visit struct {
	*http.Request
	session session
	id      string // of the session
	q       url.Values
	words   words
	now     time.Time
}

// page is a page of the console: who may see it and what it shows.
type page struct {
	pattern string // below Home
	op      admin.Op
	name    string // of its template, and of its place in the navigation
	show    func(c *Console, v *visit) (any, error)
}

// act is a form of a page: who may send it and what it does. What it says is shown on
// the page it leads to.
type act struct {
	pattern string
	op      admin.Op
	fields  []string // besides the session's
	do      func(c *Console, v *visit, f map[string]string) (to, said string, err error)
}

func pages() []page {
	return []page{
		{"{$}", admin.OpRead, "overview", (*Console).overview},
		{"servers", admin.OpRead, "servers", (*Console).servers},
		{"servers/{id}", admin.OpRead, "server", (*Console).server},
		{"servers/{id}/access", admin.OpRehearse, "server-access", (*Console).serverAccess},
		{"tool", admin.OpRead, "tool", (*Console).tool},
		{"agents", admin.OpRead, "agents", (*Console).agents},
		{"agents/{id}", admin.OpRead, "agent", (*Console).agent},
		{"agents/{id}/access", admin.OpRehearse, "agent-access", (*Console).agentAccess},
		{"requests", admin.OpRead, "requests", (*Console).requests},
		{"grants", admin.OpRead, "grants", (*Console).grants},
		{"grants/{id}", admin.OpRead, "grant", (*Console).grant},
		{"tasks", admin.OpRead, "tasks", (*Console).tasks},
		{"break-glass", admin.OpBreak, "glass", (*Console).glass},
		{"break-glass/{id}", admin.OpBreak, "glass-sign", (*Console).glassSign},
		{"live", admin.OpRead, "live", (*Console).live},
		{"sessions/{id}", admin.OpRead, "session", (*Console).agentSession},
		{"risk", admin.OpEvidence, "risk", (*Console).risk},
		{"decisions/{id}", admin.OpRead, "decision", (*Console).decision},
		{"revoke", admin.OpSession, "revoke", (*Console).revokePlan},
		{"receipts", admin.OpRead, "receipts", (*Console).receipts},
		{"receipts/{id}", admin.OpRead, "receipt", (*Console).receipt},
		{"evidence", admin.OpEvidence, "evidence", (*Console).search},
		{"evidence/{index}", admin.OpEvidence, "event", (*Console).event},
		{"compliance", admin.OpEvidence, "compliance", (*Console).compliance},
		{"inventory", admin.OpRead, "inventory", (*Console).inventory},
		{"inventory/own", admin.OpInventory, "owning", (*Console).ownPlan},
		{"found", admin.OpRead, "found", (*Console).found},
		{"findings", admin.OpRead, "findings", (*Console).findings},
		{"findings/{id}", admin.OpRead, "finding", (*Console).finding},
		{"policies", admin.OpRead, "policies", (*Console).policies},
		{"policies/{id}", admin.OpRead, "policy", (*Console).policy},
		{"rules", admin.OpRead, "rules", (*Console).rules},
		{"sources", admin.OpRead, "sources", (*Console).sources},
		{"reviews", admin.OpRead, "reviews", (*Console).reviews},
		{"reviews/{kind}/{id}", admin.OpRead, "review", (*Console).review},
		{"settings", admin.OpRead, "settings", (*Console).settings},
		{"roles", admin.OpRead, "roles", (*Console).roles},
		{"people/{id}", admin.OpUser, "person", (*Console).personPage},
		{"simulator", admin.OpRehearse, "simulator", (*Console).simulator},
		{"credentials", admin.OpRead, "credentials", (*Console).credentials},
		{"people", admin.OpRead, "people", (*Console).people},
		{"health", admin.OpRead, "health", (*Console).health},
		{"account", admin.OpOwn, "account", (*Console).account},
		{"account/password", admin.OpOwn, "password", (*Console).password},
	}
}

func acts() []act {
	return []act{
		{"servers/{id}", admin.OpServer, []string{"verb", "reason", "ends", "replacement"}, (*Console).changeServer},
		{"tool", admin.OpTool, []string{"server", "name", "verb", "reason", "digest", "class", "tier"}, (*Console).changeTool},
		{"agents/{id}", admin.OpAgent, []string{"verb", "reason"}, (*Console).changeAgent},
		{"grants/{id}", admin.OpGrant, []string{"reason"}, (*Console).revokeGrant},
		{"tasks", admin.OpGrant, []string{"task", "reason"}, (*Console).closeTask},
		{"break-glass", admin.OpBreak, []string{"agent", "server", "tool", "reason", "minutes", "uses", "args", "entitlement", "subject", "task"}, (*Console).beginGlass},
		{"break-glass/{id}", admin.OpBreak, []string{"answer"}, (*Console).breakGlass},
		{"live", admin.OpSession, []string{"verb", "kind", "id", "reason"}, (*Console).endSession},
		{"revoke", admin.OpSession, []string{"kind", "id", "typed", "reason"}, (*Console).revoke},
		{"inventory/own", admin.OpInventory, []string{"rows", "owner", "seen", "reason"}, (*Console).ownFound},
		{"inventory/views", admin.OpOwn, []string{"verb", "name", "query"}, (*Console).changeView},
		{"findings", admin.OpFinding, []string{"id", "verb", "text", "back"}, (*Console).changeFinding},
		{"findings/{id}", admin.OpFinding, []string{"verb", "text", "day"}, (*Console).dealWith},
		{"decisions/{id}", admin.OpReport, []string{"comment"}, (*Console).reportDenial},
		{"policies", admin.OpPolicy, []string{"id", "cedar", "generation", "reason"}, (*Console).publish},
		{"rules", admin.OpApply, []string{"generation", "seen", "reason"}, (*Console).rollBack},
		{"reviews", admin.OpServer, []string{"kind", "owner", "due", "reason"}, (*Console).startReviews},
		{"reviews/{kind}/{id}", admin.OpServer, []string{"answer", "reason"}, (*Console).answerReview},
		{"reviews/{kind}/{id}/narrow", admin.OpApply, []string{"tools", "generation", "reason"}, (*Console).narrow},
		{"people/{id}/token", admin.OpUser, []string{"token", "reason"}, (*Console).revokeToken},
		{"people/{id}/factor", admin.OpUser, []string{"factor", "reason"}, (*Console).dropFactor},
		{"people/{id}/sign-out", admin.OpUser, []string{"reason"}, (*Console).signOutPerson},
		{"people", admin.OpUser, []string{"user", "verb", "reason"}, (*Console).changeUser},
		{"account/passkey", admin.OpOwn, []string{"name", "answer"}, (*Console).addPasskey},
		{"account/password", admin.OpOwn, []string{"new", "again"}, (*Console).choosePassword},
		{"account/password/confirm", admin.OpOwn, []string{"code"}, (*Console).confirmPassword},
		{"account/factor", admin.OpOwn, []string{"factor"}, (*Console).removeFactor},
		{"account/sessions", admin.OpOwn, []string{"session"}, (*Console).endSessions},
	}
}

// route adds the pages and forms of the console.
func (c *Console) route() {
	for _, p := range pages() {
		c.mux.HandleFunc("GET "+Home+p.pattern, func(w http.ResponseWriter, r *http.Request) { c.visit(w, r, p) })
	}
	for _, a := range acts() {
		c.mux.HandleFunc("POST "+Home+a.pattern, func(w http.ResponseWriter, r *http.Request) { c.act(w, r, a) })
	}
	c.mux.HandleFunc("GET "+Home+"evidence/{index}/proof", c.proof)
	c.mux.HandleFunc("GET "+Home+"inventory/export", c.exportInventory)
	c.mux.HandleFunc("POST "+Home+"simulator", c.simulate)
	c.mux.HandleFunc("GET "+Home+"enter", c.enterPage)
	c.mux.HandleFunc("POST "+Home+"enter", c.enter)
	c.mux.HandleFunc("POST "+Home+"language", c.language)
}

// visitor is who asks for a page, and reports whether they may see it; otherwise they
// are answered.
func (c *Console) visitor(w http.ResponseWriter, r *http.Request, op admin.Op) (*visit, bool) {
	if background(r) {
		w.Header().Set("HX-Refresh", "true") // what is not for them any more does not stay on the page
	}
	s, ok := c.session(r)
	if !ok {
		c.askWho(w, r, strings.TrimPrefix(r.URL.RequestURI(), "/"), "")
		return nil, false
	}
	if err := c.admin.Authorize(r.Context(), s.actor, op); access.CodeOf(err) == access.CodeUnauthenticated {
		c.over(w, r, strings.TrimPrefix(Home, "/"))
		return nil, false
	} else if err != nil {
		c.refuse(w, r, err)
		return nil, false
	}
	w.Header().Del("HX-Refresh")
	return &visit{Request: r, session: s, id: c.sessionID(r), q: r.URL.Query(), words: c.wordsOf(r), now: c.now()}, true
}

// visit shows a page.
func (c *Console) visit(w http.ResponseWriter, r *http.Request, p page) {
	v, ok := c.visitor(w, r, p.op)
	if !ok {
		return
	}
	data, err := p.show(c, v)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	c.renderPage(w, v, p.name, data)
}

// act carries a form out. It is decided again where it is done; what it comes to is
// said on the page it leads to, so that going back or anew does nothing twice.
func (c *Console) act(w http.ResponseWriter, r *http.Request, a act) {
	f, err := readForm(r, append([]string{"form"}, a.fields...)...)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	v, ok := c.visitor(w, r, a.op)
	if !ok {
		return
	}
	if !v.session.holds(f["form"]) {
		c.refuse(w, r, otherSession())
		return
	}
	to, said, err := a.do(c, v, f)
	switch code := access.CodeOf(err); {
	case err == nil:
		c.sessions.say(v.id, message{Text: said})
	case code == access.CodeDenied || code == access.CodeUnauthenticated || to == "":
		c.refuse(w, r, err)
		return
	default:
		_, text := c.told(r, err)
		c.sessions.say(v.id, message{Text: text, Problem: true, Undone: undone(code)})
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// undone reports whether an error of this code says that nothing was done. Others may
// come after a part of it, as where something ended and could not be recorded yet.
func undone(code access.Code) bool {
	switch code {
	case access.CodeInvalid, access.CodeUsage, access.CodeNotFound, access.CodeConflict, access.CodeTooLarge, access.CodeFindings, access.CodeUnsupported:
		return true
	default:
		return false
	}
}

// may reports whether the visitor may do an operation, so that pages offer nothing
// that will be refused. What is sent is decided anew.
func (c *Console) may(v *visit, op admin.Op) bool { return c.admin.Offers(v.session.actor, op) }

// at is the address of a page of the console.
func at(parts ...string) string {
	out := strings.TrimSuffix(Home, "/")
	for _, p := range parts {
		out += "/" + url.PathEscape(p)
	}
	return out
}

// with is an address with one parameter changed, and back on the first page.
func with(v *visit, key, value string) string {
	q := url.Values{}
	for k, x := range v.q {
		if k != cursorKey && k != key && len(x) == 1 && x[0] != "" {
			q.Set(k, x[0])
		}
	}
	if value != "" {
		q.Set(key, value)
	}
	if len(q) == 0 {
		return v.URL.Path
	}
	return v.URL.Path + "?" + q.Encode()
}
