// Package webhook tells other systems that people are asked for something.
//
// A webhook asks and never answers: a Sender MUST NOT read more of an answer than
// its status, MUST follow no redirect, and what it is told never waits for a
// network. An event holds names and no value of an argument. How an address is
// dialled and how a secret is opened are given to it; it decides nothing.
package webhook

import "time"

// Webhook is a declared receiver of events.
type Webhook struct {
	ID      string    `json:"id"`
	Owner   string    `json:"owner"`
	URL     string    `json:"url"`
	Events  []string  `json:"events"` // sorted
	Form    string    `json:"form"`
	Secret  string    `json:"secret,omitempty"` // sealed credential it is signed with, "" for no signature
	Path    string    `json:"path,omitempty"`   // sealed credential that is the rest of the address, "" for none
	State   string    `json:"state"`
	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"`
}

// The states of a webhook.
const (
	Active  = "active"
	Retired = "retired" // is told nothing
)

// The forms of what is sent.
const (
	FormJSON  = "json"
	FormSlack = "slack" // one line of text with a link
)

// The events.
const (
	RequestPending  = "request.pending"  // somebody must answer a request
	RequestAnswered = "request.answered" // nobody must any more
	GrantIssued     = "grant.issued"     // for a request, or by an operator
	GlassBroken     = "glass.broken"     // somebody took a right alone
	GlassOverdue    = "glass.overdue"    // nobody reviewed it in time, which locks
	GlassReviewed   = "glass.reviewed"   // somebody else did

	FindingOpened     = "finding.opened"     // something is wrong, or is again
	FindingResolved   = "finding.resolved"   // it is not any more
	RevocationDone    = "revocation.done"    // nothing of what was revoked lives
	RevocationPartial = "revocation.partial" // something an issuer made lives still
)

// Events returns every event there is, sorted.
func Events() []string {
	return []string{FindingOpened, FindingResolved, GlassBroken, GlassOverdue, GlassReviewed, GrantIssued, RequestAnswered, RequestPending, RevocationDone, RevocationPartial}
}
