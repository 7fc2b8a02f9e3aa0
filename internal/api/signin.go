package api

import (
	"context"
	"time"
)

// SignInLink signs whoever asked for it in to the console, once.
type SignInLink struct {
	Link    string    `json:"link"` // a secret until it is used
	Expires time.Time `json:"expires"`
}

func (a *API) signInLink(c *call) (any, error) {
	link, until, err := a.deps.SignInLink(c.actor)
	return answerOf(SignInLink{link, until.UTC()}, err)
}

// SignInLink returns an address that signs the caller in to the console once, from the
// gateway's machine.
func (c *Client) SignInLink(ctx context.Context) (SignInLink, error) {
	return ask[SignInLink](ctx, c, "POST", "own/sign-in-link", struct{}{})
}
