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
	By     string    `json:"by"` // user:… or local:…; "auto:" and what says so for automatic ones
	At     time.Time `json:"at"`
	Method string    `json:"method"`          // cli, api, page, auto
	Token  string    `json:"token,omitempty"` // id of the personal token it came with
	Stage  int       `json:"stage,omitempty"` // of the rule it was given in: 0 the first
	// Policies and Set say of an automatic one by which policies, of the set with
	// which digest.
	Policies []string `json:"policies,omitempty"`
	Set      string   `json:"set,omitempty"`
	// Signed is what a passkey signed, nil if none did.
	Signed *access.Assertion `json:"signed,omitempty"`
}

// Grant is a right for a while (access.md 3.2). It permits nothing by itself:
// policy sees it as context.grant.
type Grant struct {
	ID          string      `json:"id"`
	Request     string      `json:"request,omitempty"` // it came from; "" where an operator made it
	Mode        string      `json:"mode,omitempty"`    // ModeBreakGlass, "" for the rest
	Entitlement string      `json:"entitlement,omitempty"`
	Parent      string      `json:"parent,omitempty"`   // grant it was carved out of
	Depth       int         `json:"depth,omitempty"`    // 0 where there is no parent
	MaxDepth    int         `json:"maxDepth,omitempty"` // of what may be carved out of it; it may delegate below that
	Party       Party       `json:"party"`
	Session     string      `json:"session,omitempty"` // that asked, or handed it on
	Task        string      `json:"task,omitempty"`    // it ends with; calls must belong to it
	Target      Target      `json:"target"`
	Scope       Scope       `json:"scope"`
	Args        Constraints `json:"args,omitempty"`    // every call must meet them
	UsesMax     int64       `json:"usesMax,omitempty"` // 0: without limit
	Limits
	NotBefore time.Time  `json:"notBefore"`
	Expires   time.Time  `json:"expires"` // from activation
	Quorum    int        `json:"quorum"`  // distinct persons who approved
	Approvals []Approval `json:"approvals,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	State     State      `json:"state"`
	Why       string     `json:"why,omitempty"`  // it is in its state
	Left      []Left     `json:"left,omitempty"` // of what was minted under it, that could not be revoked
	Created   time.Time  `json:"created"`
	Changed   time.Time  `json:"changed"`
	Counts    Counts     `json:"counts"` // as last read
	Rev       int64      `json:"-"`
}

// Counts are what was used of a grant. What is carved is its children's.
type Counts struct {
	Spent         int64     `json:"spent"`
	Reserved      int64     `json:"reserved"` // calls in flight
	Carved        int64     `json:"carved,omitempty"`
	Amount        Tally     `json:"amount,omitzero"` // of the budget
	RunningCarved int64     `json:"concurrencyCarved,omitempty"`
	WindowCarved  int64     `json:"windowCarved,omitempty"`
	Bytes         int64     `json:"bytesOut,omitempty"`
	BytesCarved   int64     `json:"bytesCarved,omitempty"`
	Used          time.Time `json:"used,omitzero"` // last
	Seq           int64     `json:"-"`             // grows with every change of the others
}

// Tally is what was taken of a budget.
type Tally struct {
	Spent    int64 `json:"spent"`
	Reserved int64 `json:"reserved"` // by calls in flight
	Carved   int64 `json:"carved,omitempty"`
}

// Remaining is how many more calls the grant covers, as last read.
func (g *Grant) Remaining() int64 {
	if g.UsesMax == 0 {
		return unlimited
	}
	return max(0, g.UsesMax-g.Counts.Spent-g.Counts.Reserved-g.Counts.Carved)
}

// AmountLeft is what is left of the budget, as last read.
func (g *Grant) AmountLeft() int64 {
	a := g.Counts.Amount
	return max(0, g.Budget.Amount-a.Spent-a.Reserved-a.Carved)
}

// BytesLeft is what results may still have, as last read.
func (g *Grant) BytesLeft() int64 { return max(0, g.BytesOut-g.Counts.Bytes-g.Counts.BytesCarved) }

// idle reports whether the grant was not used for too long.
func (g *Grant) idle(at time.Time) bool {
	if g.Idle == 0 || g.Counts.Reserved > 0 {
		return false
	}
	since := g.NotBefore
	if g.Counts.Used.After(since) {
		since = g.Counts.Used
	}
	return !at.Before(since.Add(Seconds(g.Idle)))
}

// full reports whether as many calls are under way as may be.
func (g *Grant) full() bool {
	return g.Concurrency > 0 && g.Counts.Reserved+g.Counts.RunningCarved >= g.Concurrency
}

// room reports whether enough is left for a call with these arguments, but for how
// many are under way or were made in the window.
func (g *Grant) room(c *Call) bool {
	if g.Remaining() == 0 || g.BytesOut > 0 && g.BytesLeft() == 0 || g.idle(c.At) {
		return false
	}
	if g.Budget == (Budget{}) || c.Unknown {
		return true
	}
	n, err := g.Budget.AmountOf(c.Args)
	return err == nil && n <= g.AmountLeft()
}

// spentOut says what is used up for good, "" if nothing is.
func (g *Grant) spentOut() string {
	c := &g.Counts
	switch {
	case g.UsesMax > 0 && c.Spent+c.Carved >= g.UsesMax:
		return "every use is spent"
	case g.Budget.Amount > 0 && c.Amount.Spent+c.Amount.Carved >= g.Budget.Amount:
		return "the budget is spent"
	case g.BytesOut > 0 && c.Bytes+c.BytesCarved >= g.BytesOut:
		return "its results have as many bytes as they may"
	}
	return ""
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
	return g.State == GrantActive && g.is(c) && !c.At.Before(g.NotBefore) && c.At.Before(g.Expires)
}

// is reports whether c is a call g is for, whatever the time.
func (g *Grant) is(c *Call) bool {
	return g.Party == c.Party && g.Target.same(c.Target) && c.Target.Tier <= g.Target.Tier && (g.Task == "" || g.Task == c.Task)
}
