package admin

import (
	"context"
	"errors"
	"fmt"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/registry"
)

// DenyAndSuspend answers a request with no and suspends the agent that made it
// (access.md 3.5). Whoever may not do both does neither, and nothing is done where the
// request waits for no answer or the agent cannot be suspended. The agent comes first:
// what is left of a half is an agent that may do nothing, and a CodePartial error that
// says so.
func (d *Desk) DenyAndSuspend(ctx context.Context, actor Actor, id, why string) (RequestView, error) {
	for _, op := range []Op{OpDecide, OpAgent} {
		if err := d.allowed(ctx, actor, op); err != nil {
			return RequestView{}, err
		}
	}
	if err := errors.Join(grant.CheckReason(why), checkReason(why)); err != nil {
		return RequestView{}, err
	}
	r, ok, err := d.broker.Archive().Request(ctx, id)
	switch {
	case err != nil:
		return RequestView{}, err
	case !ok:
		return RequestView{}, access.Errorf(access.CodeNotFound, "request %q is not there: see rutile request list", clip(id))
	case r.State != grant.RequestPending:
		return RequestView{}, access.Errorf(access.CodeConflict, "request %s is %s, so it cannot be denied, and agent %q is left as it is: see rutile agent suspend", r.ID, r.State, r.Party.Agent)
	}
	because := "with a no to request " + r.ID
	if why != "" {
		because += ": " + why
	}
	if _, err := d.admin.ChangeAgent(ctx, actor, r.Party.Agent, registry.VerbSuspend, because); err != nil {
		return RequestView{}, unsuspended(r, err)
	}
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTime) // the agent is suspended, whoever goes away
	defer cancel()
	v, err := d.Deny(bound, actor, id, why)
	if err != nil {
		now, _, _ := d.broker.Archive().Request(bound, id) // not read: not denied, as far as anybody knows
		return RequestView{}, half(r, now.State == grant.RequestDenied && now.DecidedBy == actor.String(), err)
	}
	return v, nil
}

// unsuspended says what came of it where the agent was not suspended, or nobody knows.
func unsuspended(r grant.Request, err error) error {
	switch access.CodeOf(err) {
	case access.CodeConflict, access.CodeNotFound:
	case access.CodeUnavailable:
		return &access.Error{
			Code: access.CodePartial, Err: err,
			Msg: fmt.Sprintf("whether agent %q is suspended is not known, and request %s is not denied (%s): look with rutile agent show", r.Party.Agent, r.ID, saidOf(err)),
		}
	default:
		return err
	}
	return access.Errorf(access.CodeOf(err), "%s, so it cannot be suspended, and request %s is not denied: deny it alone", saidOf(err), r.ID)
}

// half says what was done and what was not. A no stands although it could not be
// recorded at once.
func half(r grant.Request, denied bool, err error) error {
	if denied {
		return &access.Error{
			Code: access.CodePartial, Err: err,
			Msg: fmt.Sprintf("agent %q is suspended and request %s is denied, but the no is not in the evidence yet: it is written as soon as it can be; see the gateway's log", r.Party.Agent, r.ID),
		}
	}
	return &access.Error{
		Code: access.CodePartial, Err: err,
		Msg: fmt.Sprintf("agent %q is suspended, but request %s is not denied (%s): look at it with rutile request show, and resume the agent with rutile agent resume if that was not meant", r.Party.Agent, r.ID, saidOf(err)),
	}
}

// saidOf is what a person may read of an error.
func saidOf(err error) string {
	if e := (*access.Error)(nil); errors.As(err, &e) && e.Code != access.CodeInternal {
		return e.Msg
	}
	return "see the gateway's log"
}
