package api

import (
	"context"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
)

// SignInLink signs whoever asked for it in to the console, once.
type SignInLink struct {
	Link    string    `json:"link"` // a secret until it is used
	Expires time.Time `json:"expires"`
}

// signInLink is for accounts of the machine: the operator token does not open sessions,
// and whoever has a personal token signs in with it.
func (a *API) signInLink(c *call) (any, error) {
	if c.actor.Kind != "local" && c.actor.Account == (admin.Account{}) {
		return nil, access.Errorf(access.CodeDenied, "a link is for an account of the gateway's machine: ask over its socket (rutile user link there, without a token), or sign in with a personal token")
	}
	link, until, err := a.deps.SignInLink(c.actor)
	return answerOf(SignInLink{link, until.UTC()}, err)
}

// SignInLink returns an address that signs the caller in to the console once, from the
// gateway's machine.
func (c *Client) SignInLink(ctx context.Context) (SignInLink, error) {
	return ask[SignInLink](ctx, c, "POST", "own/sign-in-link", struct{}{})
}
