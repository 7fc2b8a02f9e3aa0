package console

import (
	"time"

	"rutile/internal/admin"
	"rutile/internal/grant"
)

// HTTPStatus, Block, Spelled and Line are the tables and texts every page is made with.
var (
	HTTPStatus = httpStatus
	Block      = block
	Spelled    = spelled
	Line       = line
)

// Stands says what a grant permits, in English.
func Stands(g *grant.Grant) []string { return stands(words{}, g) }

// Begin opens a session without a token; open is how many there are then.
func (c *Console) Begin(user string) (id string, open int) {
	id = random()
	c.sessions.begin(id, admin.Actor{Kind: "user", ID: user}, "token", "")
	c.sessions.mu.Lock()
	defer c.sessions.mu.Unlock()
	return id, len(c.sessions.open)
}

// Known reports whether a session is open, and uses it.
func (c *Console) Known(id string) bool {
	_, ok := c.sessions.find(id, true)
	return ok
}

// Attempt spends a sign-in of an address; known is how many addresses are
// remembered then.
func (c *Console) Attempt(address string) (wait time.Duration, known int) {
	wait = c.attempts.take(address)
	return wait, c.attempts.addresses.Len()
}
