package console

import (
	"slices"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/registry"
)

// personPage is one person: roles, tokens, and what they sign in with. It is for whoever
// may change people.
type personPage struct {
	personRow
	Tokens  []admin.UserTokenUse
	Factors []admin.FactorUse
	Hidden  bool // how they sign in is not known here
}

func (c *Console) personPage(v *visit) (any, error) {
	view := c.admin.Current().View
	u, ok := view.User(v.PathValue("id"))
	if !ok {
		return nil, access.Errorf(access.CodeNotFound, "user %q is not registered", v.PathValue("id"))
	}
	p := personPage{personRow: personRow{User: u, Status: registry.UserStatus(u, v.now), Teams: view.TeamsOf(u.ID)}, Hidden: c.signIns == nil}
	var err error
	if p.Tokens, err = c.admin.UserTokens(v.Context(), u.ID); err != nil {
		return nil, err
	}
	if c.signIns != nil {
		p.Factors, err = c.signIns.Factors(v.Context(), v.session.actor, u.ID)
	}
	return p, err
}

func (c *Console) revokeToken(v *visit, f map[string]string) (string, string, error) {
	id := v.PathValue("id")
	err := c.admin.RevokeUserToken(v.Context(), v.session.actor, id, f["token"], f["reason"])
	return at("people", id), v.words.t("The token %s counts no more.", line(f["token"])), err
}

func (c *Console) dropFactor(v *visit, f map[string]string) (string, string, error) {
	id := v.PathValue("id")
	to := at("people", id)
	if c.signIns == nil {
		return to, "", access.Errorf(access.CodeUnsupported, "nobody signs in with anything but tokens and links here")
	}
	err := c.signIns.RemoveFactor(v.Context(), v.session.actor, id, f["factor"], f["reason"])
	return to, v.words.t("%s signs in with it no more. Sessions opened with it have ended.", id), err
}

func (c *Console) signOutPerson(v *visit, f map[string]string) (string, string, error) {
	id := v.PathValue("id")
	to := at("people", id)
	if c.signIns == nil {
		return to, "", access.Errorf(access.CodeUnsupported, "sessions are ended with rutile user sign-out")
	}
	err := c.signIns.SignOut(v.Context(), v.session.actor, id, f["reason"])
	return to, v.words.t("Every session of %s has ended.", id), err
}

// rolesPage is who may do what, as the office decides it.
type rolesPage struct {
	Roles []registry.Role
	Ops   []opRow
}

type opRow struct {
	Op  admin.Op
	Who []bool // by role, in the order of Roles
}

func (c *Console) roles(*visit) (any, error) {
	p := rolesPage{Roles: registry.Roles()}
	for _, op := range admin.Ops() {
		enough := c.admin.RolesFor(op)
		r := opRow{Op: op}
		for _, role := range p.Roles {
			r.Who = append(r.Who, slices.Contains(enough, string(role)))
		}
		p.Ops = append(p.Ops, r)
	}
	return p, nil
}
