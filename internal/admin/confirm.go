package admin

import (
	"context"
	"fmt"
	"slices"

	"rutile/internal/access"
	"rutile/internal/grant"
)

// ConfirmEntitlement says that an entitlement is still wanted. Its owner says it: the
// person it names, or a member of the team; where nobody like that is registered, whoever
// may change the rules. It is no change of the rules, and makes no generation of them.
func (a *Admin) ConfirmEntitlement(ctx context.Context, actor Actor, id, why string) (grant.Entitlement, error) {
	if err := checkReason(why); err != nil {
		return grant.Entitlement{}, err
	}
	var out grant.Entitlement
	err := a.change(ctx, actor, func(cur *Current) (*draft, error) {
		old, ok := cur.Rights[id]
		if !ok {
			return nil, access.Errorf(access.CodeNotFound, "entitlement %q is not there: see rutile entitlement list", clip(id))
		}
		if old.State != grant.EntitlementActive {
			return nil, access.Errorf(access.CodeConflict, "entitlement %q is retired: there is nothing to confirm", id)
		}
		r := record{verb: "confirm", kind: kindEntitlement, object: id, reason: why, op: OpOwn}
		owns, known := a.owns(cur, actor, old.Owner)
		switch {
		case !known:
			r.op = OpPolicy
		case !owns:
			return nil, a.notOwner(ctx, actor, old)
		}
		next := old
		next.Confirmed, next.ConfirmedBy = a.now(), actor.String()
		r.detail = map[string]any{"due": next.Due()}
		out = next
		d := newDraft()
		d.changes.Rights[id] = &next
		d.records = []record{r}
		return d, nil
	})
	return out, err
}

// owns reports whether an actor is an owner, or a member of the team it is; known is
// false where it names nobody who is registered, or a team of nobody.
func (a *Admin) owns(cur *Current, actor Actor, owner string) (owns, known bool) {
	u, live := a.live(cur, actor)
	if t, ok := cur.View.Team(owner); ok {
		if len(t.Members) == 0 {
			return false, false
		}
		return live && slices.Contains(t.Members, u.ID), true
	}
	_, known = cur.View.User(owner)
	return live && u.ID == owner, known
}

// notOwner records and returns the refusal of who does not own an entitlement.
func (a *Admin) notOwner(ctx context.Context, actor Actor, e grant.Entitlement) error {
	why := fmt.Sprintf("entitlement %q is confirmed by its owner, %s; who may change it can name another owner", e.ID, e.Owner)
	if err := a.note(ctx, actor, record{verb: "refuse", kind: kindEntitlement, object: e.ID, reason: why, detail: map[string]string{"operation": string(OpOwn)}}); err != nil {
		return err
	}
	return access.Errorf(access.CodeDenied, "%s", why)
}
