package console

import (
	"net/http"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// ownPath is where people see and end what they connected, below Path.
const ownPath = "connections"

// ownPage lists what one person connected.
type ownPage struct {
	User, Form string
	Said       string // what came of ending one
	Links      []ownLink
}

// ownLink is a connection as its person sees it.
type ownLink struct {
	ID, Server, Issuer, Resource, State, Made, Used string
	Scopes                                          []string
}

// own shows a signed-in person what they connected.
func (c *Console) own(w http.ResponseWriter, r *http.Request) {
	s, who, ok := c.owner(w, r)
	if ok {
		c.listOwn(w, r, s, who, "")
	}
}

// owner is the person who is signed in; where nobody is, they are asked.
func (c *Console) owner(w http.ResponseWriter, r *http.Request) (session, access.Subject, bool) {
	if c.links == nil {
		c.missing(w, r)
		return session{}, access.Subject{}, false
	}
	s, ok := c.session(r)
	if !ok {
		c.askWho(w, r, ownPath, "")
		return s, access.Subject{}, false
	}
	who, ok := c.person(s)
	if !ok {
		c.over(w, r, ownPath)
	}
	return s, who, ok
}

func (c *Console) listOwn(w http.ResponseWriter, r *http.Request, s session, who access.Subject, said string) {
	list, err := c.links.List(r.Context())
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	page := ownPage{User: line(s.actor.ID), Form: s.form, Said: said}
	for _, l := range list {
		if l.Subject == who {
			page.Links = append(page.Links, shown(c.wordsOf(r), l))
		}
	}
	c.render(w, r, http.StatusOK, "own", page)
}

func shown(w words, l credential.Link) ownLink {
	o := ownLink{ID: l.ID, Server: line(l.Server), Issuer: line(l.Issuer), Resource: line(l.Resource), State: w.t("works"), Made: stamp(l.Made)}
	if l.State != credential.LinkActive {
		o.State = w.t("broken: connect it again when an agent's call asks for it, or disconnect it") + because(l.Why)
	}
	if !l.Refreshed.IsZero() {
		o.Used = stamp(l.Refreshed)
	}
	for _, s := range l.Scopes {
		o.Scopes = append(o.Scopes, line(s))
	}
	return o
}

// disconnect ends one of the signed-in person's connections.
func (c *Console) disconnect(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r, "form", "link")
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	s, who, ok := c.owner(w, r)
	if !ok {
		return
	}
	if !s.holds(f["form"]) {
		c.refuse(w, r, otherSession())
		return
	}
	left, err := c.links.DisconnectOwn(r.Context(), who, f["link"], s.actor.String())
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	said := c.wordsOf(r).t("It is disconnected, and its tokens are revoked.")
	if left != "" {
		said = c.wordsOf(r).t("It is disconnected: %s.", line(left))
	}
	c.log.Info("a server is disconnected", "user", s.actor.ID, "link", f["link"])
	c.listOwn(w, r, s, who, said)
}
