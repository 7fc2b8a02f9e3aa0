package console

import (
	"errors"
	"net/http"
	"strings"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/signin"
	"rutile/internal/throttle"
)

// awayPage leads to the provider; backPage is where it sends people back to.
type awayPage struct{ Provider, Address string }

type backPage struct{ Provider, Problem, State, Issuer, Code string }

// sendAway sends somebody to the identity provider. A form may lead nowhere else
// (form-action), so that a page with a link does.
func (c *Console) sendAway(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r, "request")
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	if !place(f["request"]) {
		c.missing(w, r)
		return
	}
	if wait := c.asks.take(throttle.Address(r.RemoteAddr)); wait > 0 {
		c.refuse(w, r, access.Errorf(access.CodeUnavailable, "people were sent away too often: wait a minute"))
		return
	}
	address, away, err := c.provider.Begin(r.Context())
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	visit := random()
	c.away.Put(visit, away)
	c.setVisit(w, r, visit)
	c.renderFree(w, r, http.StatusOK, "away", awayPage{line(c.provider.Name()), address})
}

// cameBack shows a button to whoever the provider sent back: a browser sends the cookie
// of the visit with a form of ours, and not with a link of somebody else.
func (c *Console) cameBack(w http.ResponseWriter, r *http.Request) {
	p := backPage{Provider: line(c.provider.Name())}
	q := r.URL.Query()
	for name, to := range map[string]*string{"state": &p.State, "iss": &p.Issuer, "code": &p.Code} {
		if len(q[name]) > 1 {
			c.refuse(w, r, access.Errorf(access.CodeInvalid, "the answer of the identity provider says something twice, so nothing was done"))
			return
		}
		*to = q.Get(name)
	}
	status := http.StatusOK
	if e := q.Get("error"); e != "" || p.Code == "" {
		p.Problem, status = c.wordsOf(r).t("The identity provider did not sign you in: %s", short(e)), http.StatusUnauthorized
	}
	c.renderFree(w, r, status, "back", p)
}

// providerSignIn opens a session for whoever the provider vouches for, in the browser
// that was sent there.
func (c *Console) providerSignIn(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r, "state", "iss", "code")
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	home := strings.TrimPrefix(Home, "/")
	if c.tooMany(w, r, home, throttle.Address(r.RemoteAddr)) {
		return
	}
	away, ok := c.away.Take(c.visitOf(r))
	c.setVisit(w, r, "")
	if !ok {
		c.askWho(w, r, home, "You were sent away too long ago, or came back before, or to another browser: try again.")
		return
	}
	who, err := c.provider.Finish(r.Context(), away, f["state"], f["iss"], f["code"])
	if errors.Is(err, signin.ErrRefused) {
		err = &access.Error{Code: access.CodeUnauthenticated, Msg: "the identity provider's answer does not count: try again", Err: err}
	}
	var actor admin.Actor
	if err == nil {
		actor, err = c.signIns.SignInWithProvider(r.Context(), who)
	}
	c.signedIn(w, r, home, actor, "sso", "", err)
}
