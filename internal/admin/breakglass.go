package admin

import (
	"context"
	"slices"
	"strings"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/signin"
)

// EmergencySpec is what rutile grant break-glass says.
type EmergencySpec struct {
	GrantSpec          // which begins at once
	Entitlement string `json:"entitlement,omitempty"` // "" where only one covers it
}

// BreakGlass gives an agent what its entitlement lets it ask for, for at most 15
// minutes and without those who must approve, on the word of one registered person who
// presents a personal token with it: at tier 3 not the one the agent acts for. It
// lifts no rule, and is reviewed by somebody else. Who has to sign it is refused and
// told which page asks for the signature: what was asked for waits there.
func (d *Desk) BreakGlass(ctx context.Context, actor Actor, s EmergencySpec) (grant.Grant, error) {
	e, err := d.emergency(ctx, actor, s)
	if err != nil {
		return grant.Grant{}, err
	}
	must, err := d.mustSignGlass(actor)
	if err != nil {
		return grant.Grant{}, err
	}
	if must {
		id, err := d.keepGlass(ctx, actor, s, e)
		if err != nil {
			return grant.Grant{}, err
		}
		return grant.Grant{}, access.Errorf(access.CodeDenied, "breaking the glass is signed with your passkey, so nothing was given yet: within %v open %s, where the browser asks for it", signin.ChallengeLife, d.page(GlassPage+id))
	}
	if actor.Token == "" {
		return grant.Grant{}, access.Errorf(access.CodeDenied, "who has no passkey breaks the glass as a registered user who presents a personal token with it: set RUTILE_URL and RUTILE_TOKEN_FILE (see rutile user token create)")
	}
	return d.broker.BreakGlass(ctx, e)
}

// emergency is what s asks for, refused where it cannot be had.
func (d *Desk) emergency(ctx context.Context, actor Actor, s EmergencySpec) (e grant.Emergency, err error) {
	if err := d.allowed(ctx, actor, OpBreak); err != nil {
		return e, err
	}
	who, known := d.admin.Person(actor)
	if !known {
		return e, access.Errorf(access.CodeDenied, "only a registered user breaks the glass, with a passkey or a personal token: set RUTILE_URL and RUTILE_TOKEN_FILE (see rutile user token create)")
	}
	if !s.NotBefore.IsZero() {
		return e, access.Errorf(access.CodeInvalid, "what is taken in an emergency begins at once: leave notBefore out")
	}
	cur := d.admin.Current()
	party, target, err := d.right(cur, &s.GrantSpec)
	if err != nil {
		return e, err
	}
	e = grant.Emergency{Party: party, Target: target, Task: s.Task, Args: s.Args, Uses: s.Uses, Limits: s.Limits,
		Life: grant.Seconds(s.Seconds), Reason: s.Reason, By: actor.String(), Token: actor.Token, Method: "api"}
	if e.Target.Tier >= 3 && e.Party.Subject == who.ID && e.Party.Issuer == d.issuer {
		return e, access.Errorf(access.CodeDenied, "%s is of tier 3 and the agent would act for you: somebody else must break the glass, or let the agent ask", e.Target.Action())
	}
	if e.Entitlement, err = d.covering(cur, s.Entitlement, s.Agent, e.Target); err != nil {
		return e, err
	}
	if why := pdp.Breakable(d.admin.deciding(cur), &e, d.admin.now()); why != "" {
		return e, access.Errorf(access.CodeDenied, "one person alone lifts no rule, and %s: let the agent ask, and let those who must approve its request", why)
	}
	return e, nil
}

// covering is the entitlement that lets an agent ask for a target: the named one,
// else the only one.
func (d *Desk) covering(cur *Current, id, agent string, t grant.Target) (grant.Entitlement, error) {
	var found []string
	for _, e := range cur.Rights {
		if pdp.Reaches(cur.View, &e, agent, t, 0) && (id == "" || e.ID == id) {
			found = append(found, e.ID)
		}
	}
	slices.Sort(found)
	switch {
	case len(found) == 1:
		return cur.Rights[found[0]], nil
	case len(found) > 1:
		return grant.Entitlement{}, access.Errorf(access.CodeInvalid, "several entitlements cover this: say which one with --entitlement: %s", strings.Join(found, ", "))
	case id != "":
		return grant.Entitlement{}, access.Errorf(access.CodeDenied, "entitlement %q does not let agent %q ask for %s", clip(id), clip(agent), t.Action())
	}
	return grant.Entitlement{}, access.Errorf(access.CodeDenied, "no entitlement lets agent %q ask for %s, and without one nothing is taken: see rutile entitlement list", clip(agent), t.Action())
}

// ReviewSpec is what rutile grant review says.
type ReviewSpec struct {
	Verdict string `json:"verdict"` // justified or unjustified
	Reason  string `json:"reason,omitempty"`
	Comment string `json:"comment,omitempty"` // Reason by its former name
}

// ReviewGrant settles what is owed for a break-glass. It must be another registered
// person than who broke the glass, and than whom the agent acted for.
func (d *Desk) ReviewGrant(ctx context.Context, actor Actor, id string, s ReviewSpec) (grant.Review, error) {
	if err := d.allowed(ctx, actor, OpReview); err != nil {
		return grant.Review{}, err
	}
	if s.Reason == "" {
		s.Reason = s.Comment
	}
	who, known := d.admin.Person(actor)
	if !known {
		return grant.Review{}, access.Errorf(access.CodeDenied, "a registered user must review it, with a personal token (see rutile user token create)")
	}
	r, ok, err := d.broker.Archive().Review(ctx, id)
	if err != nil {
		return grant.Review{}, err
	}
	if ok && r.Party.Subject == who.ID && r.Party.Issuer == d.issuer {
		return r, access.Errorf(access.CodeDenied, "the agent acted for you in %s: somebody else must review it", id)
	}
	return d.broker.Review(ctx, id, grant.Judgement{By: actor.String(), Verdict: s.Verdict, Comment: s.Reason})
}

// Reviews lists what is or was owed for break-glasses, newest first.
func (d *Desk) Reviews(ctx context.Context, f grant.Filter) ([]grant.Review, error) {
	return d.broker.Archive().Reviews(ctx, f)
}
