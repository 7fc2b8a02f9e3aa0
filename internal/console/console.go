// Package console serves the web console as plain HTML.
//
// The pages of the console proper are under Home, and listed in pages and acts. Beside
// them a person approves or denies one request of an agent, connects a server that acts
// for them, and sees and ends what they connected:
//
//	GET  /approve/{request}                       the request, or a form to sign in with
//	POST /approve/{request}                       the answer
//	POST /approve/sign/{request}                  what a passkey is to sign for it
//	GET  /approve/connect/{credential}/{server}   what connecting means
//	POST /approve/connect/{credential}/{server}   begins it
//	GET  /approve/connections                     what one connected
//	POST /approve/connections                     ends one of them
//	GET  /approve/connected[/{issuer}]            where authorization servers send people back to
//	POST /approve/connected[/{issuer}]            finishes it
//	POST /approve/sign-in                         a personal token, for a session
//	POST /approve/sign-out                        ends it
//
// People sign in with a passkey or a personal token, and accounts of the gateway's
// machine with a link that counts once: the operator token and an agent's access token are answered
// like any other that does not count. A session gives no right: admin decides every
// request anew, so that a session ends with its user and token. What agents and servers
// wrote is hostile: it MUST reach a template only through line, short, block or a field,
// and it is never a link, a style or a script. No page needs JavaScript but to use a passkey,
// and none loads anything from elsewhere. The package decides nothing and keeps nothing
// but sessions, links and what was asked of passkeys, in memory.
package console

import (
	"crypto/sha256"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/signin"
)

// Path is where the pages begin.
const Path = "/approve/"

// URL returns the address of the page of a request under the operators' public
// address.
func URL(operators, request string) string {
	return strings.TrimSuffix(operators, "/") + Path + url.PathEscape(request)
}

// Config configures the console.
type Config struct {
	Hosts []string // values of Host it answers to
	// Public is the address people use. Where it is https and something before us
	// ends TLS, what arrives under its host is from there.
	Public string
	Now    func() time.Time // nil is time.Now
	Log    *slog.Logger
	Links  Links  // nil if nobody can connect anything
	Issuer string // of our people, as agents' tokens name them
	// Local is the address people on this machine use, "" if there is none: links that
	// sign in are made for it.
	Local string
	Work  *Work // nil where there are no pages but those of requests and connections
	// SignIns are the ways to sign in besides tokens and links; nil where there are none.
	SignIns *admin.SignIns
	// Provider signs people in who prove elsewhere who they are; nil where none does.
	Provider *signin.Provider
}

// Console answers people. It is safe for concurrent use.
type Console struct {
	admin    *admin.Admin
	desk     *admin.Desk
	now      func() time.Time
	log      *slog.Logger
	hosts    map[string]bool
	public   *url.URL
	cross    *http.CrossOriginProtection
	sessions *sessions
	attempts *attempts
	style    template.CSS
	csp      string
	homeCSP  string // lets pages of the console load what stands beside them
	links    Links
	issuer   string
	local    string
	work     *Work
	invites  *invites
	entries  *admin.Entries
	signIns  *admin.SignIns
	asked    *signin.Challenges[signin.Asked]
	signing  *signin.Challenges[admin.Signing]
	asks     *attempts // how often people may be asked for a passkey
	chosen   *signin.Challenges[*signin.Enrolment]
	guesses  *guesses
	provider *signin.Provider
	away     *signin.Challenges[signin.Away]
	langs    map[string]words
	views    map[string]*template.Template // of the console, by language
	pages    map[string]*template.Template // of requests and connections, by language
	assets   map[string]asset
	trying   chan struct{} // held by whoever has a draft of rules tried
	mux      *http.ServeMux
}

// New builds the console. Admin and desk are required.
func New(cfg Config, a *admin.Admin, d *admin.Desk) (*Console, error) {
	if a == nil || d == nil || cfg.Log == nil {
		return nil, errors.New("console: a dependency is missing")
	}
	public, err := url.Parse(cfg.Public)
	if err != nil || public.Host == "" {
		return nil, errors.New("console: the public address is no URL")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Console{
		admin: a, desk: d, now: cfg.Now, log: cfg.Log, hosts: map[string]bool{}, public: public, cross: http.NewCrossOriginProtection(),
		sessions: newSessions(cfg.Now), entries: admin.NewEntries(a), attempts: newAttempts(cfg.Now), links: cfg.Links, issuer: cfg.Issuer, local: cfg.Local, work: cfg.Work,
		invites: &invites{now: cfg.Now, open: map[[sha256.Size]byte]invite{}}, mux: http.NewServeMux(), trying: make(chan struct{}, 1),
		signIns: cfg.SignIns, asked: signin.NewChallenges[signin.Asked](cfg.Now), signing: signin.NewChallenges[admin.Signing](cfg.Now), asks: newAttempts(cfg.Now), guesses: newGuesses(cfg.Now),
		provider: cfg.Provider, away: signin.NewChallenges[signin.Away](cfg.Now),
		chosen: signin.NewChallenges[*signin.Enrolment](cfg.Now),
	}
	if c.work != nil && !c.work.whole() {
		return nil, errors.New("console: a dependency is missing")
	}
	if err := c.load(); err != nil {
		return nil, err
	}
	for _, h := range cfg.Hosts {
		c.hosts[h] = true
	}
	c.mux.HandleFunc("POST "+Path+"sign-in", c.signIn)
	c.mux.HandleFunc("POST "+Path+"sign-out", c.signOut)
	c.mux.HandleFunc("GET "+Path+connectPath+"{credential}/{server}", c.offer)
	c.mux.HandleFunc("POST "+Path+connectPath+"{credential}/{server}", c.leave)
	c.mux.HandleFunc("GET "+Path+ownPath, c.own)
	c.mux.HandleFunc("POST "+Path+ownPath, c.disconnect)
	c.mux.HandleFunc("GET "+Path+returnPath, c.back)
	c.mux.HandleFunc("POST "+Path+returnPath, c.finish)
	c.mux.HandleFunc("GET "+Path+returnPath+"/{issuer}", c.back)
	c.mux.HandleFunc("POST "+Path+returnPath+"/{issuer}", c.finish)
	c.mux.HandleFunc("GET "+Path+"{request}", c.show)
	c.mux.HandleFunc("POST "+Path+"{request}", c.answer)
	c.mux.HandleFunc("GET "+Home+"static/{file}", c.static)
	if c.signIns != nil {
		c.routeSignIns()
	}
	if c.work != nil {
		c.route()
	}
	c.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { c.missing(w, r) })
	return c, nil
}

// maxForm bounds the body of a form, in bytes.
const maxForm = 16 << 10

// formLimit is how long the form of a page may be: those of rules are longer.
func formLimit(r *http.Request) int64 {
	if r.URL.Path == Home+"simulator" || r.URL.Path == Home+"policies" {
		return maxDraft
	}
	return maxForm
}

// ServeHTTP guards every path the same way. A page in a browser can name any Host
// and Origin but ours, so both are checked; what is written must prove that it
// comes from a page of ours.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.guard(w.Header(), r.URL.Path)
	switch {
	case !c.hosts[r.Host]:
		c.refuse(w, r, access.Errorf(access.CodeDenied, "this address does not answer to that Host"))
	case r.Method == http.MethodPost && r.URL.Path == logoutPath && c.provider != nil && c.signIns != nil:
		r.Body = http.MaxBytesReader(w, r.Body, maxForm) // from a server: the token proves who sends it
		c.backChannel(w, r)
	case c.foreign(r):
		c.refuse(w, r, access.Errorf(access.CodeDenied, "this did not come from a page of this gateway, so nothing was done: open the page of the request and use its form"))
	case (r.URL.RawQuery != "" || r.URL.ForceQuery) && !returns(r) && !asks(r):
		c.refuse(w, r, access.Errorf(access.CodeInvalid, "nothing is read from an address: leave out what follows the question mark. A token that was in it is in histories and logs now: revoke it"))
	default:
		r.Body = http.MaxBytesReader(w, r.Body, formLimit(r))
		c.mux.ServeHTTP(w, r)
	}
}

// asks reports whether an address is a page of the console, whose filters are in it.
func asks(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.HasPrefix(r.URL.Path, Home)
}

// guard sets what keeps a page from being framed, sniffed, kept or added to.
func (c *Console) guard(h http.Header, path string) {
	h.Set("Content-Security-Policy", c.csp)
	if strings.HasPrefix(path, Home) {
		h.Set("Content-Security-Policy", c.homeCSP)
	}
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	// Not no-referrer: with it browsers send "Origin: null" from our own forms.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// foreign reports whether a request comes from a page of somebody else. A link
// somewhere else may lead here; a form may not, and whoever does not say where a
// form is from is refused.
func (c *Console) foreign(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	return c.cross.Check(r) != nil || origin != "" && origin != c.origin(r) ||
		!reads && origin == "" && r.Header.Get("Sec-Fetch-Site") != "same-origin"
}

// origin is the origin of our pages as the browser that sent r sees it.
func (c *Console) origin(r *http.Request) string {
	if c.secure(r) {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// secure reports whether the browser that sent r came over TLS.
func (c *Console) secure(r *http.Request) bool {
	return r.TLS != nil || c.public.Scheme == "https" && r.Host == c.public.Host
}

// Names of the session's cookie. The prefix makes browsers hold it to TLS, this
// host and every path; not all of them take it on a plain loopback address.
const (
	secureCookie = "__Host-rutile"
	plainCookie  = "rutile"
)

// cookie makes the session's cookie; an empty id removes it.
func (c *Console) cookie(r *http.Request, id string) *http.Cookie {
	k := &http.Cookie{Name: plainCookie, Value: id, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if c.secure(r) {
		k.Name, k.Secure = secureCookie, true
	}
	if id == "" {
		k.MaxAge = -1
	}
	return k
}

// sessionID is the id r carries, "" if it carries none or several: somebody else
// may have set the others.
func (c *Console) sessionID(r *http.Request) string {
	found := r.CookiesNamed(c.cookie(r, "").Name)
	if len(found) != 1 {
		return ""
	}
	return found[0].Value
}

func (c *Console) session(r *http.Request) (session, bool) {
	id := c.sessionID(r)
	if id == "" {
		return session{}, false
	}
	return c.sessions.find(id, !background(r))
}

// background reports whether a page asks that refreshes itself, and nobody reads what
// it is answered as a page: that is no use of a session.
func background(r *http.Request) bool { return r.Header.Get("HX-Request") == "true" }
