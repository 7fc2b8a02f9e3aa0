package console

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/credential/oauthclient"
)

// connectPath is where people connect upstreams, below Path, and returnPath where
// authorization servers send them back to.
const (
	connectPath = "connect/"
	returnPath  = "connected"
)

// ConnectURL returns the address of the page on which a person connects a server.
func ConnectURL(operators, credential, server string) string {
	return strings.TrimSuffix(operators, "/") + Path + connectPath + url.PathEscape(credential) + "/" + url.PathEscape(server)
}

// ReturnURL returns the address authorization servers send people back to.
func ReturnURL(operators string) string {
	return strings.TrimSuffix(operators, "/") + Path + returnPath
}

// Links connects people to upstreams.
type Links interface {
	Offer(ctx context.Context, who access.Subject, credential, server string) (oauthclient.Offer, error)
	Start(ctx context.Context, who access.Subject, credential, server string) (string, error)
	// List returns everybody's links, and DisconnectOwn ends one of who.
	List(ctx context.Context) ([]credential.Link, error)
	DisconnectOwn(ctx context.Context, who access.Subject, id, by string) (left string, err error)
	Finish(ctx context.Context, who access.Subject, tag string, answer url.Values) (credential.Link, error)
}

// connectPage is the page of one connection.
type connectPage struct {
	User, Form, Where string
	Server, URL       string
	Issuer, Resource  string
	Callback          string
	Scopes            []string
	Linked            bool
	Problem           string
	Leave             string // where to go on, "" before the person agreed
}

// returnPage is the page an authorization server sends people back to. The
// browser does not say who they are when it comes from there: their own click
// does.
type returnPage struct{ Where, State, Code, Iss, Error string }

func connectPlace(credential, server string) string { return connectPath + credential + "/" + server }

// ownPlace reports whether s is the address of a page of the console, which one may
// be sent to.
func ownPlace(s string) (string, bool) {
	u, err := url.Parse(s)
	ok := err == nil && u.Scheme == "" && u.Host == "" && u.User == nil && u.Fragment == "" && len(s) <= maxForm/4 &&
		strings.HasPrefix(u.EscapedPath(), Home) && !strings.Contains(u.EscapedPath(), "//") && !strings.ContainsAny(s, "\\\r\n\t")
	return s, ok
}

// address is where a place is.
func address(place string) string {
	if at, ok := ownPlace("/" + place); ok {
		return at
	}
	return Path + place
}

// place reports whether s is a page one can sign in for: a request's, a
// connection's, that of one's own connections or one of the console.
func place(s string) bool {
	_, ok := ownPlace("/" + s)
	return ok || approvalPlace(s)
}

// approvalPlace reports whether s is, below Path, the page of a request or of
// connections.
func approvalPlace(s string) bool {
	if requestID(s) || s == ownPath {
		return true
	}
	rest, ok := strings.CutPrefix(s, connectPath)
	credential, server, two := strings.Cut(rest, "/")
	return ok && two && access.ValidID(credential) && access.ValidID(server)
}

// person is the subject behind a session, as agents' tokens name it.
func (c *Console) person(s session) (access.Subject, bool) {
	p, ok := c.admin.Person(s.actor)
	return access.Subject{Issuer: c.issuer, ID: p.ID}, ok
}

// offer shows what connecting a server means, to a signed-in person.
func (c *Console) offer(w http.ResponseWriter, r *http.Request) {
	c.connect(w, r, func(ctx context.Context, who access.Subject, id, server string, page *connectPage) error {
		o, err := c.links.Offer(ctx, who, id, server)
		page.URL, page.Issuer, page.Resource, page.Callback, page.Linked = line(o.URL), line(o.Issuer), line(o.Resource), line(o.Callback), o.Linked
		for _, s := range o.Scopes {
			page.Scopes = append(page.Scopes, line(s))
		}
		return err
	})
}

// leave begins a connection. The person goes on by a link: a form may not lead
// elsewhere.
func (c *Console) leave(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r, "form")
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	if s, ok := c.session(r); ok && !s.holds(f["form"]) {
		c.refuse(w, r, otherSession())
		return
	}
	c.connect(w, r, func(ctx context.Context, who access.Subject, id, server string, page *connectPage) error {
		at, err := c.links.Start(ctx, who, id, server)
		page.Leave = at
		return err
	})
}

func (c *Console) connect(w http.ResponseWriter, r *http.Request, do func(context.Context, access.Subject, string, string, *connectPage) error) {
	id, server := r.PathValue("credential"), r.PathValue("server")
	where := connectPlace(id, server)
	if c.links == nil || !place(where) {
		c.missing(w, r)
		return
	}
	s, ok := c.session(r)
	if !ok {
		c.askWho(w, r, where, "")
		return
	}
	who, ok := c.person(s)
	if !ok {
		c.over(w, r, where)
		return
	}
	page := connectPage{User: line(s.actor.ID), Form: s.form, Where: where, Server: line(server)}
	status := http.StatusOK
	if err := do(r.Context(), who, id, server, &page); err != nil {
		status, page.Problem = c.told(r, err)
		page.Leave = ""
	}
	c.render(w, r, status, "connect", page)
}

// returnPlace is where people come back to from an issuer, below Path.
func returnPlace(tag string) string {
	if tag == "" {
		return returnPath
	}
	return returnPath + "/" + tag
}

// returns reports whether an address is one people come back to with an answer.
func returns(r *http.Request) bool {
	rest, ok := strings.CutPrefix(r.URL.Path, Path+returnPath)
	return r.Method == http.MethodGet && ok && (rest == "" || strings.HasPrefix(rest, "/") && oauthclient.IsTag(rest[1:]))
}

// back takes whoever comes from an authorization server. Nothing is looked at yet.
func (c *Console) back(w http.ResponseWriter, r *http.Request) {
	tag := r.PathValue("issuer")
	if tag != "" && !oauthclient.IsTag(tag) {
		c.missing(w, r)
		return
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(r.URL.RawQuery) > maxForm/2 {
		c.refuse(w, r, access.Errorf(access.CodeInvalid, "the answer cannot be read: nothing was connected"))
		return
	}
	for _, key := range []string{"state", "code", "iss", "error"} {
		if len(q[key]) > 1 {
			c.refuse(w, r, access.Errorf(access.CodeInvalid, "the answer says something twice: nothing was connected"))
			return
		}
	}
	c.render(w, r, http.StatusOK, "connected", returnPage{returnPlace(tag), q.Get("state"), q.Get("code"), q.Get("iss"), q.Get("error")})
}

// finish makes the connection for the person who is signed in.
func (c *Console) finish(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r, "state", "code", "iss", "error")
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	s, ok := c.session(r)
	who, live := access.Subject{}, false
	if ok {
		who, live = c.person(s)
	}
	if c.links == nil || !live {
		c.refuse(w, r, access.Errorf(access.CodeUnauthenticated, "you are not signed in any more: open the page of the connection again and begin anew"))
		return
	}
	answer := url.Values{}
	for key, v := range f {
		if v != "" {
			answer.Set(key, v)
		}
	}
	l, err := c.links.Finish(r.Context(), who, r.PathValue("issuer"), answer)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	c.log.Info("a server is connected", "user", s.actor.ID, "server", l.Server, "link", l.ID)
	c.render(w, r, http.StatusOK, "notice", notice{Title: c.wordsOf(r).t("Connected"), Text: c.wordsOf(r).t("Server %s is connected for %s. Go back to the agent: its call goes on, or works when it is made again.", line(l.Server), line(s.actor.ID))})
}
