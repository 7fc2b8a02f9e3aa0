package admin

import (
	"context"
	"fmt"
	"sync"
	"time"

	"rutile/internal/access"
)

// kindSignIn is what leaves about a session of a person at the console are of.
const kindSignIn = "SignIn"

// How many failed sign-ins get a leaf of their own, in a window.
const (
	failedLeaves = 30
	failedWindow = time.Minute
)

// entryTime bounds how long a leaf about a sign-in is waited for.
const entryTime = 10 * time.Second

// Entry is how somebody comes to the console or leaves it.
type Entry struct {
	Session string // what their session is called where it is shown, "" if there is none
	Way     string // passkey, password, token, link or sso
	Address string // they come from
	User    string // whom it is tried for, "" if nobody says or knows
	Why     string // it failed or ended, "" if there is nothing to say
}

// Entries records who signs in and out at the console, and who fails to. It is safe for
// concurrent use.
type Entries struct {
	admin *Admin

	mu    sync.Mutex
	began time.Time // of the window
	n     int       // leaves of failures in it
	held  int       // failures since the last leaf that have none of their own
}

// NewEntries returns the record of what happens at the door of the console.
func NewEntries(a *Admin) *Entries { return &Entries{admin: a} }

// In records that an actor signs in, before there is a session: where it fails
// (CodeEvidence) there MUST be none.
func (e *Entries) In(ctx context.Context, actor Actor, in Entry) error {
	return e.write(ctx, actor, "sign-in", in)
}

// Out records that a session of an actor ended by their own will. It has ended already.
func (e *Entries) Out(ctx context.Context, actor Actor, out Entry) error {
	return e.write(ctx, actor, "sign-out", out)
}

// Failed records that somebody failed to sign in. In a minute it writes 30 leaves at most;
// the next leaf of any kind here says how many failures have none.
func (e *Entries) Failed(ctx context.Context, f Entry) error {
	if !e.room() {
		return nil
	}
	if _, known := e.admin.Current().View.User(f.User); !known {
		f.User = "" // it may be a password that was typed into the wrong field
	}
	return e.write(ctx, System(), "fail-sign-in", f)
}

// TurnedAway counts somebody who was not asked because too many had failed.
func (e *Entries) TurnedAway() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held++
}

// room takes one of the leaves of failures, or counts a failure that gets none. A clock
// that was set back begins a new window.
func (e *Entries) room() bool {
	now := e.admin.now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if now.Before(e.began) || now.Sub(e.began) >= failedWindow {
		e.began, e.n = now, 0
	}
	if e.n >= failedLeaves {
		e.held++
		return false
	}
	e.n++
	return true
}

// write makes one leaf durable. Who or what it is about is a person's and only in what is
// sealed. The caller going away changes nothing: what it did is recorded.
func (e *Entries) write(ctx context.Context, actor Actor, verb string, x Entry) error {
	e.mu.Lock()
	held := e.held
	e.held = 0
	e.mu.Unlock()
	r := record{verb: verb, kind: kindSignIn, object: x.Session, reason: x.text(held), detail: entryDetail{
		Way: x.Way, Address: x.Address, User: x.User, Session: x.Session, Token: actor.Token, Factor: actor.Factor, Why: x.Why, Others: held,
	}}
	if verb == "fail-sign-in" {
		r.object = x.User
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), entryTime)
	defer cancel()
	if err := e.admin.note(ctx, actor, r); err != nil {
		e.mu.Lock()
		e.held += held
		e.mu.Unlock()
		return &access.Error{Code: access.CodeEvidence, Msg: "evidence cannot be kept, so nobody signs in; see the gateway's log", Err: err}
	}
	return nil
}

// entryDetail is what such a leaf's payload has, sealed.
type entryDetail struct {
	Way     string `json:"way"`
	Address string `json:"address,omitempty"`
	User    string `json:"user,omitempty"`
	Session string `json:"session,omitempty"`
	Token   string `json:"token,omitempty"`
	Factor  string `json:"factor,omitempty"`
	Why     string `json:"why,omitempty"`
	Others  int    `json:"others,omitempty"` // failures before it without a leaf of their own
}

func (x Entry) text(held int) string {
	out := "with " + x.Way
	if x.Address != "" {
		out += " from " + x.Address
	}
	if x.Why != "" {
		out += ": " + x.Why
	}
	if held > 0 {
		out += fmt.Sprintf(" (and %d failed before it without a leaf of their own)", held)
	}
	return out
}
