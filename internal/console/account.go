package console

import (
	"net/http"
	"strings"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/registry"
)

// accountPage is what people see and change of their own.
type accountPage struct {
	registry.User
	Nobody    bool // is signed in who is registered
	Teams     []string
	Factors   []admin.FactorUse
	Stale     string // why nothing can be added or removed now
	Passkey   bool   // one can be made here
	Elsewhere string // the address where one can be, "" if nowhere
	Why       string // nowhere
	Sessions  []listed

	HasPassword bool
}

func (c *Console) account(v *visit) (any, error) {
	actor := v.session.actor
	who, ok := c.admin.Person(actor)
	if !ok || c.signIns == nil {
		return accountPage{Nobody: true}, nil
	}
	p := accountPage{HasPassword: who.Has(registry.FactorPassword), User: who.User, Teams: who.Teams, Sessions: c.sessions.of(actor, v.id)}
	var err error
	if p.Factors, err = c.signIns.Factors(v.Context(), actor, who.ID); err != nil {
		return nil, err
	}
	if err := c.signIns.Fresh(actor); err != nil {
		_, p.Stale = c.told(v.Request, err)
	}
	p.Passkey, p.Elsewhere, p.Why = c.passkeysFor(v.Request, "account")
	return p, nil
}

// passkeysFor says whether passkeys work where r came to, and if not, at which address
// of the same page they do, or why nowhere.
func (c *Console) passkeysFor(r *http.Request, below string) (here bool, elsewhere, why string) {
	if c.signIns == nil {
		return false, "", ""
	}
	origin, why := c.signIns.Origin()
	switch {
	case origin == "":
		return false, "", why
	case origin == c.origin(r):
		return true, "", ""
	default:
		return false, origin + Home + below, ""
	}
}

func (c *Console) addPasskey(v *visit, f map[string]string) (string, string, error) {
	asked, ok := c.asked.Take(v.id)
	if !ok {
		return at("account"), "", access.Errorf(access.CodeConflict, "the passkey was asked for too long ago, or its form was sent before: try again")
	}
	added, err := c.signIns.AddPasskey(v.Context(), v.session.actor, asked, f["name"], []byte(f["answer"]))
	if err == nil {
		c.sessions.proven(v.id, added.ID) // its device was used just now
	}
	return at("account"), v.words.t("The passkey %s is added.", line(added.Name)), err
}

func (c *Console) removeFactor(v *visit, f map[string]string) (string, string, error) {
	err := c.signIns.RemoveFactor(v.Context(), v.session.actor, v.session.actor.ID, f["factor"], "")
	return at("account"), v.words.t("It is removed. Sessions opened with it are over."), err
}

// endSessions ends one of the visitor's sessions, or all of them on every node.
func (c *Console) endSessions(v *visit, f map[string]string) (string, string, error) {
	actor := v.session.actor
	if f["session"] == "all" {
		if err := c.signIns.SignOut(v.Context(), actor, actor.ID, ""); err != nil {
			return at("account"), "", err
		}
		c.sessions.endOf(actor, "")
		return Home, "", nil
	}
	if f["session"] == "" || c.sessions.endOf(actor, f["session"]) == 0 {
		return at("account"), "", access.Errorf(access.CodeNotFound, "there is no such session any more")
	}
	c.ended(v.Request, actor, admin.Entry{Session: f["session"], Way: v.session.by, Why: "ended from another session"})
	return at("account"), v.words.t("The session is ended."), nil
}

// again ends the session and asks who it is, to come back to the account.
func (c *Console) again(w http.ResponseWriter, r *http.Request) {
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
	http.Redirect(w, r, at("account"), http.StatusSeeOther)
}

// ways completes the page that asks who looks.
func (c *Console) ways(r *http.Request, p *signInPage) {
	below := ""
	if p.Console {
		below = strings.TrimPrefix(p.Request, strings.TrimPrefix(Home, "/"))
	}
	p.Passkey, p.Elsewhere, _ = c.passkeysFor(r, below)
	p.Password = c.signIns != nil
	if c.signIns != nil && c.provider != nil {
		p.Provider = line(c.provider.Name())
		if public := c.public.Scheme + "://" + c.public.Host; public != c.origin(r) {
			p.ProviderAt = public + p.Where
		}
	}
	if p.Elsewhere != "" && !p.Console {
		origin, _ := c.signIns.Origin()
		p.Elsewhere = origin + p.Where
	}
}
