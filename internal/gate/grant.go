package gate

import (
	"context"
	"fmt"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/fact"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/policy"
	"rutile/internal/rawjson"
)

// Grants opens requests for rights nobody holds and counts the uses of those that
// are held.
type Grants interface {
	// TaskOf returns the task a call belongs to, "" if to none; an error means that
	// it names one that is not its party's own and open.
	TaskOf(who access.Identity, named string, at time.Time) (string, error)
	// Open opens the request for a call or joins the one that is pending for it.
	Open(ctx context.Context, a grant.Ask) (grant.Request, error)
	// Await returns a request once it is no longer pending, or as it is when ctx
	// ends.
	Await(ctx context.Context, id string) (grant.Request, error)
	// Busy says why a grant that would cover c does not at this moment, "" where
	// none would.
	Busy(c *grant.Call) string
	// Reserve takes one use, and of a budget what the arguments say, and in the same
	// transaction adds the charges to their counters; a CodeConflict error means that
	// there is no use left.
	Reserve(ctx context.Context, id, decision string, args rawjson.Value, charges ...access.Charge) (grant.Use, error)
	// Settle ends a use that Reserve or Resume returned. A CodeDenied error means
	// that its result has more bytes than it may.
	Settle(ctx context.Context, u grant.Use, to grant.State) error
	// More counts bytes of what came of a use after it was settled. A CodeDenied error
	// means that they are more than may be shown.
	More(ctx context.Context, use string, bytes int64) error
	// Held returns the grant a call was made under, where it still stands.
	Held(ctx context.Context, use string, own grant.Party) (grant.Grant, bool, error)
	// TakenBack says why nothing goes on under a grant: it was revoked, or what it was
	// carved out of. It is "" for every other, also one that is used up or over. It MUST
	// NOT do input or output for one that is in force.
	TakenBack(ctx context.Context, id string) (why string, err error)
	// Wait keeps a use for who goes on with its call; Resume takes it back.
	Wait(u grant.Use, until time.Time)
	Resume(id string) (grant.Use, bool)
}

// waitTime is how long a use is kept for a call that waits for input. It is more
// than any client is given, and after it the use counts as used.
const waitTime = 15 * time.Minute

// errSpent says that the grant a call was permitted under covers it no longer.
var errSpent = access.Errorf(access.CodeConflict, "other calls used up the grant at the same moment; call again to ask anew")

// errOver says that a call cannot go on: its use ended, or somebody goes on with
// it already.
var errOver = access.Errorf(access.CodeDenied, "what this call was permitted under is over; call anew")

// task puts r under its task. What only asks a server about itself belongs to one
// if it says so: a list or a stream outlives the tasks of its agent.
func (g *Gate) task(r *access.Request) error {
	if r.Task == "" && r.Who.Task == "" && (r.Kind == access.KindServer || r.Kind == access.KindAsk) {
		return nil
	}
	task, err := g.grants.TaskOf(r.Who, r.Task, r.At)
	if err == nil {
		r.Who.Task = task
	}
	return err
}

// follow finds the right that the call was made under which r asks after.
func (g *Gate) follow(ctx context.Context, r *access.Request) error {
	r.Held = nil // whatever an earlier decision on the same request found
	if !r.Follows || r.Use == "" {
		return nil
	}
	held, ok, err := g.grants.Held(ctx, r.Use, grant.PartyOf(r.Who))
	if err != nil {
		return fmt.Errorf("finding what a call was made under: %w", err)
	}
	if ok {
		r.Held = &access.Held{Grant: held.ID, Quorum: held.Quorum, Bound: held.Bound(), Depth: held.Depth}
		if held.Depth > 0 {
			r.Held.From = held.Session
		}
	}
	return nil
}

// ask opens the request for the approval ru says is missing. Where the
// entitlement grants it at once, ru becomes the ruling under the grant; the
// state it was made on is returned.
func (g *Gate) ask(ctx context.Context, state *pdp.State, r *access.Request, ru *pdp.Ruling) (*pdp.State, error) {
	dec := &ru.Decision
	switch {
	case r.Follows:
		dec.Outcome, dec.Class, dec.Help = access.Deny, access.ClassApproval, "the right the call was made under was taken back, or policy asks for another now"
		return state, nil
	case r.Use != "": // whatever is approved now would not be what it goes on under
		dec.Outcome, dec.Class, dec.Help = access.Deny, access.ClassApproval, errOver.Error()
		return state, nil
	}
	ask, ok := pdp.Asking(state, r, dec)
	if !ok {
		return state, nil
	}
	if why := g.grants.Busy(&ask.Call); why != "" {
		dec.Outcome, dec.Class, dec.Help = access.Deny, access.ClassBusy, why
		return state, nil
	}
	req, err := g.grants.Open(ctx, ask)
	switch access.CodeOf(err) {
	case "":
	case access.CodeConflict, access.CodeDenied, access.CodeInvalid, access.CodeTooLarge:
		dec.Outcome, dec.Class, dec.Help = access.Deny, access.ClassApproval, err.Error()
		return state, nil
	default:
		return state, evidenceError("opening a request", err)
	}
	if req.State == grant.RequestIssued {
		state = g.states.State()
		*ru = g.decide(ctx, state, r)
	}
	dec.Request = req.ID
	return state, nil
}

// Await returns a request once people have answered it, or as it is when ctx
// ends.
func (g *Gate) Await(ctx context.Context, id string) (grant.Request, error) {
	return g.grants.Await(ctx, id)
}

// reserve takes the use of the grant dec was made under, or goes on with the one
// the call runs under already. The use is zero where no grant was needed and
// nothing is counted.
func (g *Gate) reserve(ctx context.Context, r *access.Request, dec *access.Decision, entry *fact.Entry) (grant.Use, error) {
	under := dec.Grant
	if under == policy.StandingGrant {
		under = ""
	}
	if under == "" && !entry.Counted() || r.Follows {
		return grant.Use{}, nil
	}
	if r.Use != "" { // a use that is over counts no second call
		u, ok := g.grants.Resume(r.Use)
		if !ok || under != "" && u.Grant != under {
			if ok {
				g.grants.Wait(u, g.now())
			}
			return grant.Use{}, errOver
		}
		return u, nil
	}
	u, err := g.grants.Reserve(ctx, under, r.ID, r.Arguments, entry.Charges()...)
	if access.CodeOf(err) == access.CodeConflict {
		return grant.Use{}, errSpent
	}
	r.Use = u.ID
	return u, err
}

// settle ends the use of the call as its outcome says, or keeps it where the call
// goes on with another request.
func (p *passage) settle(ctx context.Context, status audit.Status, reached access.Reach, bytes int) error {
	u := p.use
	if u.ID == "" {
		if p.follows != "" && bytes > 0 {
			return p.g.grants.More(context.WithoutCancel(ctx), p.follows, int64(bytes))
		}
		return nil
	}
	to := grant.UseUnknown
	u.Bytes = int64(bytes)
	switch status {
	case audit.StatusInputRequired:
		p.g.grants.Wait(u, p.g.now().Add(waitTime))
		return nil
	case audit.StatusOK, audit.StatusToolError, audit.StatusProtocolError, audit.StatusWithheld:
		to = grant.UseCommitted
	}
	if reached == access.ReachNo {
		if !p.fresh { // this request did not get there; the one that asked did, and is not undone by it
			p.g.grants.Wait(u, p.g.now().Add(waitTime))
			return nil
		}
		to = grant.UseReleased
	}
	return p.g.grants.Settle(context.WithoutCancel(ctx), u, to)
}

// settleWaiting ends the use of a call that waited for input and that nobody
// came back for: what it did is not known.
func (g *Gate) settleWaiting(ctx context.Context, r *access.Request) error {
	if r.Use == "" {
		return nil
	}
	u, ok := g.grants.Resume(r.Use)
	if !ok {
		return nil
	}
	return g.grants.Settle(context.WithoutCancel(ctx), u, grant.UseUnknown)
}
