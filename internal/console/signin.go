package console

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/throttle"
)

// signIn opens a session for whoever sends a personal token that counts. Every
// token that does not is answered with the same page.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r, "request", "token")
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	id := f["request"]
	if !place(id) {
		c.missing(w, r)
		return
	}
	from := throttle.Address(r.RemoteAddr)
	if c.tooMany(w, r, id, from) {
		return
	}
	actor, err := c.authenticate(r, strings.TrimSpace(f["token"]))
	if access.CodeOf(err) == access.CodeUnauthenticated {
		err = access.Errorf(access.CodeUnauthenticated, "This token does not count: it is no personal token, or unknown, revoked or expired, or its user is not active.")
	}
	c.signedIn(w, r, id, actor, "token", "", err)
}

// tooMany spends a sign-in of an address, and answers who has to wait.
func (c *Console) tooMany(w http.ResponseWriter, r *http.Request, request, from string) bool {
	wait := c.attempts.take(from)
	if wait <= 0 {
		return false
	}
	c.entries.TurnedAway()
	seconds := int((wait + time.Second - 1) / time.Second)
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	c.askWhoStatus(w, r, http.StatusTooManyRequests, request, fmt.Sprintf("Too many sign-ins have failed. Wait %s and try again.", count(seconds, "second")))
	return true
}

// signedIn opens a session for who has signed in, or asks again where that did not
// count. by is how, in a word, and user whom they say they are, if they do.
func (c *Console) signedIn(w http.ResponseWriter, r *http.Request, request string, actor admin.Actor, by, user string, err error) {
	switch {
	case access.CodeOf(err) == access.CodeUnauthenticated:
		c.failed(r, by, user, access.Reasons(err))
		_, text := c.told(r, err)
		c.askWho(w, r, request, text)
		return
	case err != nil:
		c.refuse(w, r, err)
		return
	}
	c.attempts.giveBack(throttle.Address(r.RemoteAddr))
	if err := c.begin(w, r, actor, by); err != nil {
		c.refuse(w, r, err)
		return
	}
	http.Redirect(w, r, address(request), http.StatusSeeOther)
}

func (c *Console) authenticate(r *http.Request, token string) (admin.Actor, error) {
	if !strings.HasPrefix(token, admin.UserTokenPrefix) {
		return admin.Actor{}, access.Errorf(access.CodeUnauthenticated, "no personal token")
	}
	return c.admin.Authenticate(r.Context(), token)
}

// signOut ends the session.
func (c *Console) signOut(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r, "form")
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	if s, ok := c.session(r); ok && !s.holds(f["form"]) {
		c.refuse(w, r, otherSession())
		return
	}
	c.left(r, c.sessionID(r))
	http.SetCookie(w, c.cookie(r, ""))
	c.render(w, r, http.StatusOK, "notice", notice{Title: c.wordsOf(r).t("Signed out"), Text: c.wordsOf(r).t("The session is over. To go on, open the page again.")})
}

func otherSession() error {
	return access.Errorf(access.CodeDenied, "this form is of another session, so nothing was done: open the page of the request again")
}

// signInPage asks who looks.
type signInPage struct {
	Request, Problem string
	Connect          bool // it is a connection's
	Console          bool // it is a page of the console
	Where            string
	Passkey          bool   // one can be used here
	Elsewhere        string // the address where one can be, "" if nowhere
	Password         bool   // one signs in with one
	Provider         string // what people call it, "" if there is none
	ProviderAt       string // the address it can be used at, "" if here
}

func (c *Console) askWho(w http.ResponseWriter, r *http.Request, request, problem string) {
	c.askWhoStatus(w, r, http.StatusUnauthorized, request, problem)
}

func (c *Console) askWhoStatus(w http.ResponseWriter, r *http.Request, status int, request, problem string) {
	w.Header().Set("Content-Security-Policy", c.homeCSP) // it loads what the console's pages do
	p := signInPage{
		Request: request, Problem: problem, Connect: strings.HasPrefix(request, connectPath) || request == ownPath,
		Console: strings.HasPrefix(request, strings.TrimPrefix(Home, "/")), Where: address(request),
	}
	c.ways(r, &p)
	c.renderFree(w, r, status, "sign-in", p)
}

// requestID reports whether s can be the id of a request. It says nothing about
// whether there is one.
func requestID(s string) bool {
	rest, ok := strings.CutPrefix(s, access.PrefixRequest)
	return ok && len(rest) == 26 && strings.Trim(rest, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") == ""
}

// readForm reads the body of a form. Its fields are those named, each at most
// once: whatever else there is refuses the whole.
func readForm(r *http.Request, names ...string) (map[string]string, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/x-www-form-urlencoded" {
		return nil, access.Errorf(access.CodeInvalid, "this is no form of ours: open the page of the request and use its form")
	}
	if err := r.ParseForm(); err != nil {
		return nil, access.Errorf(access.CodeInvalid, "the form cannot be read, or it has more than %d bytes", formLimit(r))
	}
	return fields(r.PostForm, names)
}

func fields(form url.Values, names []string) (map[string]string, error) {
	out := map[string]string{}
	for _, n := range names {
		if v := form[n]; len(v) == 1 {
			out[n] = v[0]
		} else if len(v) > 1 {
			return nil, access.Errorf(access.CodeInvalid, "a field of the form is there twice")
		}
		delete(form, n)
	}
	if len(form) > 0 {
		return nil, access.Errorf(access.CodeInvalid, "the form has a field too many")
	}
	return out, nil
}
