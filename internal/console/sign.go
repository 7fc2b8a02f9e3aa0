package console

import (
	"net/http"

	"rutile/internal/access"
)

// offerSigning completes a form whose approval a passkey signs: here, or where passkeys
// work. It is the one form that needs a script.
func (c *Console) offerSigning(w http.ResponseWriter, r *http.Request, id string, a *answerForm) {
	here, elsewhere, why := c.passkeysFor(r, "")
	switch {
	case here:
		w.Header().Set("Content-Security-Policy", c.homeCSP) // it loads the script
		a.Ask, a.Script, a.Icon = Path+"sign/"+id, c.assets["passkey.js"].url, c.assets["icon.svg"].url
	case elsewhere != "":
		origin, _ := c.signIns.Origin()
		a.Elsewhere = origin + Path + id
	default:
		a.Bar = c.wordsOf(r).t("You cannot approve this request. An approval of this tier is signed with a passkey.") + " " + sentence(line(why))
	}
}

// askSignature hands out what a passkey signs for the answer a form holds: once, for
// this session, within five minutes.
func (c *Console) askSignature(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("request")
	s, f, ok := c.scripted(w, r, answerFields()...)
	if !ok {
		return
	}
	if !requestID(id) || f["action"] != "approve" {
		c.deny(w, r, otherSession())
		return
	}
	a, err := c.yes(r, s, id, f)
	if err != nil {
		c.deny(w, r, err)
		return
	}
	options, asked, err := c.signIns.AskToSign(r.Context(), c.desk, s.actor, id, a)
	if err != nil {
		c.deny(w, r, err)
		return
	}
	c.signing.Put(c.sessionID(r)+" "+id, asked)
	c.hand(w, options)
}

// signature takes the answer to askSignature, once.
func (c *Console) signature(r *http.Request, s session, id, answer string) (*access.Assertion, error) {
	asked, ok := c.signing.Take(c.sessionID(r) + " " + id)
	if !ok || c.signIns == nil {
		return nil, access.Errorf(access.CodeConflict, "the signature was asked for too long ago, or its form was sent before: try again")
	}
	return c.signIns.Signed(r.Context(), s.actor, id, asked, []byte(answer))
}
