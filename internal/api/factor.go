package api

import (
	"context"
	"net/url"

	"rutile/internal/admin"
)

// UserFactors are what a user signs in to the console with.
type UserFactors struct {
	Items []admin.FactorUse `json:"items"`
}

func (a *API) userFactors(c *call) (any, error) {
	list, err := a.deps.SignIns.Factors(c.Context(), c.actor, c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return UserFactors{append([]admin.FactorUse{}, list...)}, nil
}

func (a *API) removeUserFactor(c *call) (any, error) {
	var in Reason
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return answerOf(Done{true}, a.deps.SignIns.RemoveFactor(c.Context(), c.actor, c.PathValue("id"), c.PathValue("factor"), in.Reason))
}

func (a *API) signOutUser(c *call) (any, error) {
	var in Reason
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return answerOf(Done{true}, a.deps.SignIns.SignOut(c.Context(), c.actor, c.PathValue("id"), in.Reason))
}

// PasswordSpec is a person's new password.
type PasswordSpec struct {
	Value []byte `json:"value"` // base64
}

func (a *API) setUserPassword(c *call) (any, error) {
	var in PasswordSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return answerOf(a.deps.SignIns.GivePassword(c.Context(), c.actor, c.PathValue("id"), string(in.Value)))
}

func (a *API) resetUserCodes(c *call) (any, error) {
	if err := c.decode(&struct{}{}); err != nil {
		return nil, err
	}
	return answerOf(a.deps.SignIns.ResetCodes(c.Context(), c.actor, c.PathValue("id")))
}

// SetUserPassword sets a person's password and returns what they need besides, once.
func (c *Client) SetUserPassword(ctx context.Context, id string, password []byte) (admin.NewPassword, error) {
	return ask[admin.NewPassword](ctx, c, "POST", "users/"+url.PathEscape(id)+"/password", PasswordSpec{password})
}

// ResetUserCodes gives a person's password a new secret for codes, and returns it once.
func (c *Client) ResetUserCodes(ctx context.Context, id string) (admin.NewPassword, error) {
	return ask[admin.NewPassword](ctx, c, "POST", "users/"+url.PathEscape(id)+"/codes", struct{}{})
}

// UserFactors lists what a person signs in to the console with.
func (c *Client) UserFactors(ctx context.Context, id string) (UserFactors, error) {
	return ask[UserFactors](ctx, c, "GET", "users/"+url.PathEscape(id)+"/factors", nil)
}

// RemoveUserFactor removes what a person signs in with.
func (c *Client) RemoveUserFactor(ctx context.Context, id, factor, why string) error {
	_, err := ask[Done](ctx, c, "POST", "users/"+url.PathEscape(id)+"/factors/"+url.PathEscape(factor)+"/remove", Reason{why})
	return err
}

// SignOutUser ends a person's sessions at the console, on every node.
func (c *Client) SignOutUser(ctx context.Context, id, why string) error {
	_, err := ask[Done](ctx, c, "POST", "users/"+url.PathEscape(id)+"/sign-out", Reason{why})
	return err
}
