package console

import (
	"net/http"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/grant"
)

// glassPage begins a break-glass, and lists what is owed for those before.
type glassPage struct {
	Owed []grant.Review
}

func (c *Console) glass(v *visit) (any, error) {
	var p glassPage
	for _, s := range []grant.State{grant.ReviewOverdue, grant.ReviewDue} {
		list, err := c.desk.Reviews(v.Context(), grant.Filter{State: s, Limit: rowsPerPage})
		if err != nil {
			return nil, err
		}
		p.Owed = append(p.Owed, list...)
	}
	return p, nil
}

// beginGlass takes the form that begins one, and leads to the page that signs it.
func (c *Console) beginGlass(v *visit, f map[string]string) (string, string, error) {
	s := admin.EmergencySpec{Entitlement: f["entitlement"], GrantSpec: admin.GrantSpec{Agent: f["agent"], Server: f["server"], Tool: f["tool"],
		Subject: f["subject"], Task: f["task"], Reason: strings.TrimSpace(f["reason"])}}
	minutes, err := number(f["minutes"], "minutes")
	if err != nil {
		return "", "", err
	}
	s.Seconds = minutes * int64(time.Minute/time.Second)
	if s.Uses, err = number(f["uses"], "calls"); err != nil {
		return "", "", err
	}
	if args := strings.TrimSpace(f["args"]); args != "" {
		if s.Args, err = grant.ParseConstraints([]byte(args)); err != nil {
			return "", "", err
		}
	}
	id, err := c.desk.BeginGlass(v.Context(), v.session.actor, s)
	if err != nil {
		return "", "", err
	}
	return at("break-glass", id), v.words.t("Nothing is given yet. Sign it below."), nil
}

// glassSignPage is what would be given, and the form that signs it.
type glassSignPage struct {
	admin.Glass
	Limits, Uses, Life string
	Tier               string
	Fields             []field // what every call must meet
	Ask                string  // where what is signed is asked for, "" if not here
	Elsewhere          string  // the address of this page where passkeys work
	Why                string  // they work nowhere
}

func (c *Console) glassSign(v *visit) (any, error) {
	id := v.PathValue("id")
	g, err := c.desk.Glass(v.Context(), v.session.actor, id)
	if err != nil {
		return nil, err
	}
	w := v.words
	p := glassSignPage{Glass: g, Limits: g.Would.Limits.Describe(), Uses: calls(w, g.Would.Uses), Life: (time.Duration(g.Would.Life) * time.Second).String(), Tier: atStake(w, g.Would.Target.Tier)}
	if p.Fields, err = fieldsOfConstraints(w, g.Would.Args); err != nil {
		return nil, err
	}
	here, elsewhere, why := c.passkeysFor(v.Request, "break-glass/"+id)
	p.Elsewhere, p.Why = elsewhere, line(why)
	if here {
		p.Ask = at("break-glass", id, "ask")
	}
	return p, nil
}

// askGlass hands out what a passkey signs to break the glass: once, for this session,
// within five minutes.
func (c *Console) askGlass(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	s, _, ok := c.scripted(w, r, "form")
	if !ok {
		return
	}
	options, asked, err := c.signIns.AskToBreak(r.Context(), c.desk, s.actor, id)
	if err != nil {
		c.deny(w, r, err)
		return
	}
	c.signing.Put(c.sessionID(r)+" "+id, asked)
	c.hand(w, options)
}

// breakGlass gives what was signed.
func (c *Console) breakGlass(v *visit, f map[string]string) (string, string, error) {
	id := v.PathValue("id")
	var signed *access.Assertion
	if f["answer"] != "" {
		var err error
		if signed, err = c.signature(v.Request, v.session, id, f["answer"]); err != nil {
			return "", "", err
		}
	}
	g, err := c.desk.BreakSigned(v.Context(), v.session.actor, id, signed)
	if err != nil {
		return "", "", err
	}
	return at("grants", g.ID), v.words.t("The glass is broken: the right is in force. Its owner is told, and somebody else must review it within 24 hours."), nil
}
