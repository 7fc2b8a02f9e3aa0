// Package grant keeps entitlements, requests, grants and uses: just-in-time,
// just-enough access.
//
// An agent that may ask for a right opens a Request; people, or the entitlement
// itself, answer it; what was approved is a Grant, and every call under a grant
// is a Use. A Broker is the one way any of them changes: a change that widens
// what an agent may do MUST be in the evidence before it takes effect, one that
// narrows takes effect first. Grants are found without the store; a use is
// reserved in the store, so that no two calls spend the same one. The package
// decides nothing about a call and never holds a credential.
package grant

import (
	"time"

	"rutile/internal/access"
)

// Scope says how much an approval covers.
type Scope string

// The scopes. The zero value is not one.
const (
	ScopeOnce Scope = "once" // exactly this call
	ScopeTask Scope = "task" // calls of this tool within the constraints, while the task is open
	ScopeTime Scope = "time" // calls of this tool within the constraints, until the grant expires
)

// Party is on whose behalf a right is asked for and used: an agent and the person
// behind it, if there is one.
type Party struct {
	Agent   string `json:"agent"`
	Issuer  string `json:"issuer,omitempty"`
	Subject string `json:"subject,omitempty"`
}

// PartyOf returns who stands behind an identity.
func PartyOf(i access.Identity) Party {
	return Party{Agent: i.Actor.Agent, Issuer: i.Subject.Issuer, Subject: i.Subject.ID}
}

// Target is what a right is about: one definition of one server.
type Target struct {
	Server string      `json:"server"`
	Kind   access.Kind `json:"kind"`
	Name   string      `json:"name"`             // tool or prompt name, resource URI
	Digest string      `json:"digest,omitempty"` // of the approved definition
	Tier   int         `json:"tier"`
}

// Action is the policy name of what the target is.
func (t Target) Action() string {
	r := access.Request{Server: t.Server, Kind: t.Kind, Target: t.Name}
	return r.Action()
}

// same reports whether o is the same thing in the same definition.
func (t Target) same(o Target) bool {
	return t.Server == o.Server && t.Kind == o.Kind && t.Name == o.Name && t.Digest == o.Digest
}

// Approval is one person's answer to a request.
type Approval struct {
	By     string    `json:"by"` // user:… or local:…; "auto" and the rule for automatic ones
	At     time.Time `json:"at"`
	Method string    `json:"method"`          // cli, api, page, auto
	Token  string    `json:"token,omitempty"` // id of the personal token it came with
}

// Grant is a right for a while (access.md 3.2). It permits nothing by itself:
// policy sees it as context.grant.
type Grant struct {
	ID          string      `json:"id"`
	Request     string      `json:"request,omitempty"` // it came from; "" where an operator made it
	Entitlement string      `json:"entitlement,omitempty"`
	Party       Party       `json:"party"`
	Session     string      `json:"session,omitempty"` // that asked, for the record
	Task        string      `json:"task,omitempty"`    // it ends with; calls must belong to it
	Target      Target      `json:"target"`
	Scope       Scope       `json:"scope"`
	Args        Constraints `json:"args,omitempty"`    // every call must meet them
	UsesMax     int64       `json:"usesMax,omitempty"` // 0: without limit
	NotBefore   time.Time   `json:"notBefore"`
	Expires     time.Time   `json:"expires"` // from activation
	Quorum      int         `json:"quorum"`  // distinct persons who approved
	Approvals   []Approval  `json:"approvals,omitempty"`
	Reason      string      `json:"reason,omitempty"`
	State       State       `json:"state"`
	Why         string      `json:"why,omitempty"` // it is in its state
	Created     time.Time   `json:"created"`
	Changed     time.Time   `json:"changed"`
	Counts      Counts      `json:"counts"` // as last read
	Rev         int64       `json:"-"`
}

// Counts are the uses of a grant.
type Counts struct {
	Spent    int64 `json:"spent"`
	Reserved int64 `json:"reserved"` // calls in flight
	Seq      int64 `json:"-"`        // grows with every change of the others
}

// Remaining is how many more calls the grant covers, as last read.
func (g *Grant) Remaining() int64 {
	if g.UsesMax == 0 {
		return unlimited
	}
	return max(0, g.UsesMax-g.Counts.Spent-g.Counts.Reserved)
}

// unlimited is what policies see as what remains of a grant without a limit.
const unlimited = 1<<63 - 1

// Bound reports whether the grant is bound to the arguments of one call.
func (g *Grant) Bound() bool { return exact(g.Args) }

// Seconds is a duration of so many seconds, or the longest there is.
func Seconds(n int64) time.Duration {
	const most = int64(1<<63-1) / int64(time.Second)
	return time.Duration(max(-most, min(n, most))) * time.Second
}

// Covers reports whether g is in force for this call now. It is about time,
// party, task, target and definition; what the arguments must be is Args, and
// what is left of it Remaining.
func (g *Grant) Covers(c *Call) bool {
	return g.State == GrantActive && g.Party == c.Party && g.Target.same(c.Target) && c.Target.Tier <= g.Target.Tier && (g.Task == "" || g.Task == c.Task) &&
		!c.At.Before(g.NotBefore) && c.At.Before(g.Expires)
}
