// Package notice tells people by mail what waits for them: findings, requests and
// break-glass uses.
//
// What waits is looked at again and again, and what a receiver was not told of yet is
// told in one message, however much it is: nothing is queued, so nothing is lost with a
// process and a storm is one mail. A thing is told when a server has taken the mail it is
// in, and then once; a crash in between tells it twice. A mail MUST hold nothing but text
// of ours, names in quotes and links that give no right. The package decides nothing.
package notice

import (
	"slices"
	"time"
)

// Mail is a declared receiver of mail.
type Mail struct {
	ID    string `json:"id"`
	Owner string `json:"owner"`
	// Server is smtp://host:587, where STARTTLS is required, or smtps://host:465.
	Server string   `json:"server"`
	User   string   `json:"user,omitempty"`
	Secret string   `json:"secret,omitempty"` // sealed credential, the password
	From   string   `json:"from"`
	To     []string `json:"to"` // of whatever no route is for
	// Routes are addresses of owners and teams, in place of To.
	Routes []Route       `json:"routes,omitempty"`
	About  []string      `json:"about"` // sorted
	Least  string        `json:"least"` // severity of findings it is told of
	Every  time.Duration `json:"every"` // at most one mail to an address
	State  string        `json:"state"`

	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"`
}

// Route is where what an owner answers for is sent.
type Route struct {
	Owner string   `json:"owner"`
	To    []string `json:"to"`
}

// The states of a Mail.
const (
	Active  = "active"
	Retired = "retired"
)

// What a mail may be about.
const (
	AboutFinding = "finding"
	AboutRequest = "request" // that waits for an answer
	AboutGlass   = "glass"   // a break-glass use that waits for a review
)

// Abouts lists what a mail may be about, sorted.
func Abouts() []string { return []string{AboutFinding, AboutGlass, AboutRequest} }

// Bounds of how often an address gets mail.
const (
	DefaultEvery = 15 * time.Minute
	ShortEvery   = time.Minute
	LongEvery    = 24 * time.Hour
)

// To returns the addresses for what an owner answers for.
func (m *Mail) to(owner string) []string {
	for _, r := range m.Routes {
		if owner != "" && r.Owner == owner {
			return r.To
		}
	}
	return m.To
}

// wants reports whether a receiver is to be told of something.
func (m *Mail) wants(i *Item) bool { return slices.Contains(m.About, i.About) }
