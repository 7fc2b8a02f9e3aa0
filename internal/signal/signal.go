// Package signal reads what other systems tell of people, agents and sessions: that a
// session was revoked, an account disabled, a device lost.
//
// A source is declared, and what it tells counts only if it is signed by it, for us, of
// now, and new: a Receiver MUST keep it before it says that it has it, and acts on it at
// least once. What an event means stands in one table (MeaningOf). Who it is about and
// whether the source may do that is decided by whoever acts: the package acts on nothing.
// Words of a source are text and MUST NOT be followed.
package signal

import (
	"slices"
	"time"
)

// Source is who tells us something.
type Source struct {
	ID    string `json:"id"`
	Owner string `json:"owner"`
	Form  string `json:"form"`
	// Of form ssf: who signs, for whom, and where its keys are where its own metadata does
	// not say so (SSF 1.0, section 7).
	Issuer   string `json:"issuer,omitempty"`
	Audience string `json:"audience,omitempty"`
	JWKS     string `json:"jwks,omitempty"`
	Poll     string `json:"poll,omitempty"` // asked for events (RFC 8936); "" where they are pushed (RFC 8935)
	// Secret is a sealed credential: the bearer token of polling or of pushing, or the key
	// of webhooks.
	Secret string   `json:"secret,omitempty"`
	Events []string `json:"events"` // that are acted on, by their short names, sorted
	May    []string `json:"may"`    // what it may do, sorted
	// Subjects say who a subject of theirs is, besides what users say of themselves.
	Subjects []Match `json:"subjects,omitempty"`
	State    string  `json:"state"`

	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"`
}

// Match says who a subject of a source is.
type Match struct {
	Subject string `json:"subject"` // see Subject.Keys
	User    string `json:"user,omitempty"`
	Agent   string `json:"agent,omitempty"`
}

// The forms of sources.
const (
	FormSSF     = "ssf"     // security event tokens of OpenID Shared Signals
	FormWebhook = "webhook" // Standard Webhooks, signed with a shared key
)

// The states of a source.
const (
	Active  = "active"
	Retired = "retired" // nothing of it counts
)

// What a source may do.
const (
	MaySession = "session" // end sessions
	MayUser    = "user"    // end what is done for a person, and their sign-ins
	MayAgent   = "agent"   // end what an agent does
	MaySuspend = "suspend" // besides, keep them out until a person lets them in
)

// Mays lists what a source may do, sorted.
func Mays() []string { return []string{MayAgent, MaySession, MaySuspend, MayUser} }

// Can reports whether a source may do something.
func (s *Source) Can(what string) bool { return slices.Contains(s.May, what) }

// Forms lists the forms.
func Forms() []string { return []string{FormSSF, FormWebhook} }
