package admin

import (
	"context"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/registry"
)

// GrantSpec is what rutile grant create says.
type GrantSpec struct {
	Agent   string            `json:"agent"`
	Server  string            `json:"server"`
	Tool    string            `json:"tool"`
	Subject string            `json:"subject,omitempty"` // user of this gateway the agent acts for
	Issuer  string            `json:"issuer,omitempty"`
	Task    string            `json:"task,omitempty"`
	Args    grant.Constraints `json:"args,omitempty"`
	Uses    int64             `json:"uses,omitempty"`
	grant.Limits
	Seconds int64 `json:"seconds,omitempty"`
	// NotBefore is when it begins, and its life with it; zero is now.
	NotBefore time.Time `json:"notBefore,omitzero"`
	Reason    string    `json:"reason,omitempty"`
}

// CreateGrant makes a grant without a request, on the word of one person. So it is
// denied where the entitlement, or a policy about asking, wants more people than one,
// or others than this one.
func (d *Desk) CreateGrant(ctx context.Context, actor Actor, s GrantSpec) (grant.Grant, error) {
	if err := d.allowed(ctx, actor, OpGrant); err != nil {
		return grant.Grant{}, err
	}
	party, target, err := d.right(d.admin.Current(), &s)
	if err != nil {
		return grant.Grant{}, err
	}
	made := grant.Spec{Party: party, Target: target, Task: s.Task, Args: s.Args, Uses: s.Uses, Limits: s.Limits, Life: grant.Seconds(s.Seconds), NotBefore: s.NotBefore, Reason: s.Reason, By: actor.String(), Method: "cli"}
	if err := d.alone(actor, made); err != nil {
		return grant.Grant{}, err
	}
	return d.broker.Create(ctx, made)
}

// right is whom a grant made by hand is for, and to what.
func (d *Desk) right(cur *Current, s *GrantSpec) (grant.Party, grant.Target, error) {
	if _, ok := cur.View.Agent(s.Agent); !ok {
		return grant.Party{}, grant.Target{}, access.Errorf(access.CodeNotFound, "agent %q is not registered: see rutile agent list", clip(s.Agent))
	}
	def, ok := cur.View.Tool(s.Server, s.Tool)
	if !ok || def.Kind() != registry.KindTool || def.PinDigest == "" {
		return grant.Party{}, grant.Target{}, access.Errorf(access.CodeNotFound, "server %q has no approved tool %q: see rutile tool list %s", clip(s.Server), clip(s.Tool), clip(s.Server))
	}
	return d.party(grant.Party{Agent: s.Agent, Issuer: s.Issuer, Subject: s.Subject}),
		grant.Target{Server: s.Server, Kind: access.KindTool, Name: s.Tool, Digest: def.PinDigest, Tier: cur.View.Class(def).Tier}, nil
}

// alone refuses a grant that is not for actor alone to give.
func (d *Desk) alone(actor Actor, s grant.Spec) error {
	cur := d.admin.Current()
	rule, why := pdp.ByHand(d.admin.deciding(cur), &s, d.admin.now())
	if why != "" {
		return access.Errorf(access.CodeDenied, "nobody gives by hand what may not be asked for, and %s", why)
	}
	if rule.People() > 1 {
		return access.Errorf(access.CodeDenied, "%s needs %s: let the agent ask, and approve its request", s.Target.Action(), rule)
	}
	if rule.Team == "" {
		return nil
	}
	if who, known := d.admin.Person(actor); !known || !d.in(who, rule.Team) {
		return access.Errorf(access.CodeDenied, "%s is for members of team %q to approve, and you are none: let the agent ask, and let them approve its request", s.Target.Action(), rule.Team)
	}
	return nil
}
