package api

import (
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/registry"
)

// User is a person as the registry keeps it, without tokens, with the teams that
// name it and the state that counts now.
type User struct {
	registry.User
	Teams  []string           `json:"teams,omitempty"`
	Status registry.UserState `json:"status"` // state, or expired
}

// UserTokenSpec says which personal token to make.
type UserTokenSpec struct {
	Name    string `json:"name,omitempty"`
	Seconds int64  `json:"seconds,omitempty"` // default 90 days
}

// UserTokens are the personal tokens of a user.
type UserTokens struct {
	Items []admin.UserTokenUse `json:"items"`
}

func (a *API) viewUser(v *registry.View, u registry.User) User {
	out := User{User: u, Teams: v.TeamsOf(u.ID), Status: registry.UserStatus(u, a.cfg.Now())}
	out.Tokens, out.Factors = nil, nil // they have lists of their own
	return out
}

func (a *API) users(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor", "state")
	if err != nil {
		return nil, err
	}
	view := a.deps.Admin.Current().View
	var all []User
	for _, u := range view.Users() {
		if v := a.viewUser(view, u); q.Get("state") == "" || q.Get("state") == string(v.Status) {
			all = append(all, v)
		}
	}
	return paged(all, func(u User) string { return u.ID }, q.Get("cursor"), limit)
}

func (a *API) user(c *call) (any, error) {
	view := a.deps.Admin.Current().View
	u, ok := view.User(c.PathValue("id"))
	if !ok {
		return nil, access.Errorf(access.CodeNotFound, "user %q is not registered: see rutile user list", c.PathValue("id"))
	}
	return a.viewUser(view, u), nil
}

func (a *API) changeUser(c *call) (any, error) {
	verb, err := c.verb(registry.VerbSuspend, registry.VerbResume, registry.VerbRetire)
	if err != nil {
		return nil, err
	}
	var in Reason
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	u, err := a.deps.Admin.ChangeUser(c.Context(), c.actor, c.PathValue("id"), verb, in.Reason)
	if err != nil {
		return nil, err
	}
	return a.viewUser(a.deps.Admin.Current().View, u), nil
}

func (a *API) userTokens(c *call) (any, error) {
	list, err := a.deps.Admin.UserTokens(c.Context(), c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return UserTokens{append([]admin.UserTokenUse{}, list...)}, nil
}

func (a *API) createUserToken(c *call) (any, error) {
	var in UserTokenSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.Seconds < 0 || in.Seconds > int64(admin.MaxUserTokenTTL/time.Second) {
		return nil, access.Errorf(access.CodeInvalid, "seconds must be between 1 and a year's worth")
	}
	return answerOf(a.deps.Admin.CreateUserToken(c.Context(), c.actor, c.PathValue("id"), in.Name, time.Duration(in.Seconds)*time.Second))
}

func (a *API) revokeUserToken(c *call) (any, error) {
	var in Reason
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if err := a.deps.Admin.RevokeUserToken(c.Context(), c.actor, c.PathValue("id"), c.PathValue("token"), in.Reason); err != nil {
		return nil, err
	}
	return Done{true}, nil
}
