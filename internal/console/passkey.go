package console

import (
	"net/http"
	"time"

	"rutile/internal/access"
	"rutile/internal/signin"
	"rutile/internal/throttle"
)

// routeSignIns adds the ways to sign in besides tokens and links.
func (c *Console) routeSignIns() {
	c.mux.HandleFunc("POST "+Path+"sign/{request}", c.askSignature)
	c.mux.HandleFunc("POST "+Home+"break-glass/{id}/ask", c.askGlass)
	c.mux.HandleFunc("POST "+Home+"sign-in/ask", c.askPasskey)
	c.mux.HandleFunc("POST "+Home+"sign-in/passkey", c.passkeySignIn)
	c.mux.HandleFunc("POST "+Home+"sign-in/password", c.passwordSignIn)
	if c.provider != nil {
		c.mux.HandleFunc("POST "+Home+"sign-in/away", c.sendAway)
		c.mux.HandleFunc("GET "+Home+"sign-in/back", c.cameBack)
		c.mux.HandleFunc("POST "+Home+"sign-in/back", c.providerSignIn)
	}
	c.mux.HandleFunc("POST "+Home+"account/passkey/ask", c.askNewPasskey)
	c.mux.HandleFunc("POST "+Home+"account/again", c.again)
}

// visitCookie holds which visit a passkey was asked of, while nobody is signed in.
const visitCookie = "-visit"

// visitOf is the visit r belongs to, "" if to none.
func (c *Console) visitOf(r *http.Request) string {
	found := r.CookiesNamed(c.cookie(r, "").Name + visitCookie)
	if len(found) != 1 {
		return ""
	}
	return found[0].Value
}

// setVisit begins a visit, or ends the one there is with an empty id.
func (c *Console) setVisit(w http.ResponseWriter, r *http.Request, id string) {
	k := c.cookie(r, id)
	k.Name += visitCookie
	if id != "" {
		k.MaxAge = int(signin.ChallengeLife / time.Second)
	}
	http.SetCookie(w, k)
}

// askPasskey hands out what a passkey must sign for somebody to sign in: once, for this
// browser, within five minutes.
func (c *Console) askPasskey(w http.ResponseWriter, r *http.Request) {
	if _, err := readForm(r, "request"); err != nil {
		c.deny(w, r, err)
		return
	}
	if wait := c.asks.take(throttle.Address(r.RemoteAddr)); wait > 0 {
		c.deny(w, r, access.Errorf(access.CodeUnavailable, "passkeys were asked for too often: wait %s", wait.Round(time.Second)))
		return
	}
	options, asked, err := c.signIns.AskToSignIn()
	if err != nil {
		c.deny(w, r, err)
		return
	}
	visit := random()
	c.asked.Put(visit, asked)
	c.setVisit(w, r, visit)
	c.hand(w, options)
}

// passkeySignIn opens a session for whoever sends an answer that counts. Every other is
// answered with the same page.
func (c *Console) passkeySignIn(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r, "request", "answer")
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	if !place(f["request"]) {
		c.missing(w, r)
		return
	}
	from := throttle.Address(r.RemoteAddr)
	if c.tooMany(w, r, f["request"], from) {
		return
	}
	asked, ok := c.asked.Take(c.visitOf(r))
	c.setVisit(w, r, "")
	if !ok {
		c.askWho(w, r, f["request"], "The passkey was asked for too long ago, or its answer was sent before: try again.")
		return
	}
	actor, err := c.signIns.SignInWithPasskey(r.Context(), asked, []byte(f["answer"]))
	c.signedIn(w, r, f["request"], actor, "passkey", "", err)
}

// askNewPasskey hands out what a new passkey of the signed-in person must sign.
func (c *Console) askNewPasskey(w http.ResponseWriter, r *http.Request) {
	s, _, ok := c.scripted(w, r, "form", "name")
	if !ok {
		return
	}
	options, asked, err := c.signIns.AskPasskey(r.Context(), s.actor)
	if err != nil {
		c.deny(w, r, err)
		return
	}
	c.asked.Put(c.sessionID(r), asked)
	c.hand(w, options)
}

// scripted reads a form that a script sends, and reports whether it is of the session it
// came with; otherwise the script is answered.
func (c *Console) scripted(w http.ResponseWriter, r *http.Request, names ...string) (session, map[string]string, bool) {
	f, err := readForm(r, names...)
	if err != nil {
		c.deny(w, r, err)
		return session{}, nil, false
	}
	s, ok := c.session(r)
	if !ok || !s.holds(f["form"]) {
		c.deny(w, r, otherSession())
		return session{}, nil, false
	}
	return s, f, true
}

// hand writes what a script is given.
func (c *Console) hand(w http.ResponseWriter, options []byte) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(options) // the reader may have gone
}

// deny is refuse for a script, which shows the text.
func (c *Console) deny(w http.ResponseWriter, r *http.Request, err error) {
	status, text := c.told(r, err)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the reader may have gone
}
