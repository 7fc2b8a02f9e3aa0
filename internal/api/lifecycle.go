package api

import (
	"context"
	"net/url"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/registry"
)

// The verbs of servers and agents that change no state.
const (
	verbAsk  registry.Verb = "ask"  // for a review
	verbOwn  registry.Verb = "own"  // another owner
	verbTier registry.Verb = "tier" // raise the risk tier, or lower it for a while
)

// ServerMove is what is to happen to a server, besides its verb. Which members
// count with which verb is in docs/lifecycle.md; another one is a mistake.
type ServerMove struct {
	Reason      string   `json:"reason,omitempty"`
	Owner       string   `json:"owner,omitempty"`       // own, triage
	DataScopes  []string `json:"dataScopes,omitempty"`  // triage
	Replacement string   `json:"replacement,omitempty"` // deprecate
	Ends        string   `json:"ends,omitempty"`        // deprecate: a day
	Tier        *int     `json:"tier,omitempty"`        // tier
	Until       string   `json:"until,omitempty"`       // tier, to lower it: a day
}

// belongs refuses members that mean nothing with a verb.
func (m ServerMove) belongs(verb registry.Verb) error {
	for _, x := range []struct {
		set   bool
		name  string
		verbs []registry.Verb
	}{
		{m.Owner != "", "owner", []registry.Verb{verbOwn, registry.VerbTriage}}, {m.DataScopes != nil, "dataScopes", []registry.Verb{registry.VerbTriage}},
		{m.Replacement != "", "replacement", []registry.Verb{registry.VerbDeprecate}}, {m.Ends != "", "ends", []registry.Verb{registry.VerbDeprecate}},
		{m.Tier != nil, "tier", []registry.Verb{verbTier}}, {m.Until != "", "until", []registry.Verb{verbTier}},
	} {
		ok := !x.set
		for _, v := range x.verbs {
			ok = ok || v == verb
		}
		if !ok {
			return access.Errorf(access.CodeInvalid, "%s means nothing when a server is asked to %s", x.name, verb)
		}
	}
	return nil
}

// endOf reads a day; the time is the end of it, UTC.
func endOf(name, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil || t.Year() > 9998 {
		return time.Time{}, access.Errorf(access.CodeInvalid, "%s must be a day such as 2027-06-30", name)
	}
	return t.AddDate(0, 0, 1), nil
}

func (a *API) changeServer(c *call) (any, error) {
	verb, err := c.verb(registry.VerbTriage, registry.VerbApprove, registry.VerbDeprecate, registry.VerbQuarantine, registry.VerbBlock, registry.VerbRelease, registry.VerbRetire, verbAsk, verbOwn, verbTier)
	if err != nil {
		return nil, err
	}
	var in ServerMove
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if err := in.belongs(verb); err != nil {
		return nil, err
	}
	id := c.PathValue("id")
	unmet, err := a.moveServer(c, id, verb, in)
	if err != nil {
		return nil, err
	}
	var out ServerChange
	for _, u := range unmet {
		out.Warnings = append(out.Warnings, Warning{id, u.Guard + ": " + u.Why})
	}
	if verb == registry.VerbApprove {
		out.Warnings = append(out.Warnings, a.learn(c.Context(), []string{id})...)
	}
	out.Server, err = a.findServer(c.Context(), id)
	return answerOf(out, err)
}

func (a *API) moveServer(c *call, id string, verb registry.Verb, in ServerMove) ([]admin.Unmet, error) {
	ctx, adm := c.Context(), a.deps.Admin
	switch verb {
	case verbAsk:
		_, err := adm.AskReview(ctx, c.actor, id, in.Reason)
		return nil, err
	case verbOwn:
		_, err := adm.OwnServer(ctx, c.actor, id, in.Owner, in.Reason)
		return nil, err
	case verbTier:
		return nil, a.tierServer(c, id, in)
	}
	ends, err := endOf("ends", in.Ends)
	if err != nil {
		return nil, err
	}
	m, err := adm.MoveServer(ctx, c.actor, id, admin.Move{Verb: verb, Reason: in.Reason, Owner: in.Owner, DataScopes: in.DataScopes, Replacement: in.Replacement, Ends: ends})
	return m.Unmet, err
}

// tierServer raises the tier of a server, or lowers it until a day. Without a tier
// it ends a lowering.
func (a *API) tierServer(c *call, id string, in ServerMove) error {
	until, err := endOf("until", in.Until)
	if err != nil {
		return err
	}
	switch {
	case in.Tier == nil:
		_, err = a.deps.Admin.LowerTier(c.Context(), c.actor, id, registry.Lowered{Tier: -1, Why: in.Reason})
	case in.Until != "":
		_, err = a.deps.Admin.LowerTier(c.Context(), c.actor, id, registry.Lowered{Tier: *in.Tier, Until: until, Why: in.Reason})
	default:
		_, err = a.deps.Admin.RaiseTier(c.Context(), c.actor, id, *in.Tier, in.Reason)
	}
	return err
}

// OwnSpec says who is to own an agent.
type OwnSpec struct {
	Owner  string `json:"owner"`
	Reason string `json:"reason,omitempty"`
}

func (a *API) ownAgent(c *call) (any, error) {
	var in OwnSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	x, err := a.deps.Admin.OwnAgent(c.Context(), c.actor, c.PathValue("id"), in.Owner, in.Reason)
	if err != nil {
		return nil, err
	}
	return a.viewAgent(x), nil
}

// MoveServer changes a server.
func (c *Client) MoveServer(ctx context.Context, id string, verb registry.Verb, m ServerMove) (ServerChange, error) {
	return ask[ServerChange](ctx, c, "POST", "servers/"+url.PathEscape(id)+"/"+string(verb), m)
}

// OwnAgent gives an agent another owner.
func (c *Client) OwnAgent(ctx context.Context, id, owner, why string) (Agent, error) {
	return ask[Agent](ctx, c, "POST", "agents/"+url.PathEscape(id)+"/own", OwnSpec{owner, why})
}
