package daemon

import (
	"context"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/grant"
	"rutile/internal/webhook"
)

// buildWebhooks makes what tells other systems that people are asked.
func (d *Daemon) buildWebhooks() error {
	transport, err := d.egress().Transport()
	if err != nil {
		return err
	}
	d.hooks, err = webhook.New(webhook.Config{
		Webhooks:  func() map[string]webhook.Webhook { return d.states.admin.Load().Current().Webhooks },
		Transport: transport, Secrets: hookSecrets{d.vault}, Log: d.log, Now: time.Now,
	})
	if err != nil {
		return err
	}
	d.closing("webhooks", func(context.Context) error { d.hooks.Close(); return nil })
	return nil
}

// hookSecrets opens what webhooks are signed with. A credential that is for
// servers is not for a webhook, and one is bound to the origin it first went to.
type hookSecrets struct{ vault *credential.Vault }

// Use hands the value of a sealed credential to use.
func (h hookSecrets) Use(ctx context.Context, ref, origin string, use func([]byte) error) error {
	return h.open(ctx, credential.LeaseRequest{Ref: ref, Origin: origin, Outcome: access.Permit}, use)
}

// Compare is Use for what is compared with what somebody shows. It is used where is says so.
func (h hookSecrets) Compare(ctx context.Context, ref, origin string, is func([]byte) bool) error {
	r := credential.LeaseRequest{Ref: ref, Origin: origin, Outcome: access.Permit, Compare: true}
	shown := false
	err := h.open(ctx, r, func(secret []byte) error { shown = is(secret); return nil })
	if err != nil || !shown {
		return err
	}
	r.Compare = false
	return h.open(ctx, r, func([]byte) error { return nil })
}

func (h hookSecrets) open(ctx context.Context, r credential.LeaseRequest, use func([]byte) error) error {
	l, err := h.vault.Lease(ctx, r)
	if access.CodeOf(err) == access.CodeDenied {
		return access.Errorf(access.CodeDenied, "it is for servers only, or bound to another origin than %s: seal another one for this webhook", r.Origin)
	}
	if err != nil {
		return err
	}
	defer l.Release()
	return l.Use(use)
}

// told passes on what happened to requests and grants.
func (d *Daemon) told(events []grant.Event) {
	for _, e := range events {
		if r, ok := e.Detail.(grant.Review); ok {
			d.log.Warn("break-glass", "grant", r.Grant, "review", string(r.State), "entitlement", r.Entitlement, "owner", r.Owner, "by", r.Person, "agent", r.Party.Agent,
				"covers", r.Target.Action(), "due", r.Due, "reviewedBy", r.By, "verdict", r.Verdict)
		}
	}
	if d.hooks == nil {
		return // nothing is served yet
	}
	for _, e := range events {
		switch x := e.Detail.(type) {
		case grant.Review:
			d.tellReview(x)
		case grant.Request:
			if e.Verb == "open" || x.State != grant.RequestPending { // else one of several approved it, and it still waits
				d.tellRequest(x)
			}
		case grant.Grant:
			if e.Verb == "issue" {
				d.hooks.Tell(webhook.Event{Type: webhook.GrantIssued, At: x.Created, Data: dataOfGrant(x, e.Actor)})
			}
		}
	}
}

// maxAsked is how many requests that wait are told again after a start.
const maxAsked = 200

// askAgain tells what waits for people: whoever was to be told when the process
// ended may not have been. The receiver knows a repetition by its id.
func (d *Daemon) askAgain(ctx context.Context) error {
	list, err := d.broker.Archive().Requests(ctx, grant.Filter{State: grant.RequestPending, Limit: maxAsked})
	if err != nil {
		return err
	}
	for _, r := range list {
		if time.Now().Before(r.Expires) {
			d.tellRequest(r)
		}
	}
	for _, state := range []grant.State{grant.ReviewDue, grant.ReviewOverdue} {
		owed, err := d.broker.Archive().Reviews(ctx, grant.Filter{State: state, Limit: maxAsked})
		if err != nil {
			return err
		}
		for _, r := range owed {
			d.tellReview(r)
		}
	}
	return nil
}

// tellReview tells the owners of an entitlement what becomes of a break-glass.
func (d *Daemon) tellReview(r grant.Review) {
	e := webhook.Event{Type: webhook.GlassBroken, At: r.Changed, Data: dataOf(r.Party, r.Target, nil)}
	e.Data.Grant, e.Data.Entitlement, e.Data.Owner, e.Data.State, e.Data.By, e.Data.Expires = r.Grant, r.Entitlement, r.Owner, string(r.State), r.Person, r.Due
	switch r.State {
	case grant.ReviewOverdue:
		e.Type = webhook.GlassOverdue
	case grant.ReviewDone:
		e.Type, e.Data.By = webhook.GlassReviewed, r.By
	}
	d.hooks.Tell(e)
}

func (d *Daemon) tellRequest(r grant.Request) {
	e := webhook.Event{Type: webhook.RequestPending, At: r.Created, Data: d.dataOfRequest(r), Until: r.Expires}
	if r.State != grant.RequestPending {
		if strings.HasPrefix(r.DecidedBy, "auto:") {
			return // nobody was asked
		}
		e.Type, e.At, e.Until = webhook.RequestAnswered, r.Changed, time.Time{}
	}
	d.hooks.Tell(e)
}

func (d *Daemon) dataOfRequest(r grant.Request) webhook.Data {
	out := dataOf(r.Party, r.Target, r.Args)
	out.Request, out.Grant, out.Scope, out.Entitlement, out.Needs, out.State = r.ID, r.Grant, string(r.Scope), r.Entitlement, r.Rule.String(), string(r.State)
	out.By, out.Expires, out.URL = r.DecidedBy, r.Expires, d.ApprovalURL(r.ID)
	return out
}

func dataOfGrant(g grant.Grant, by string) webhook.Data {
	out := dataOf(g.Party, g.Target, g.Args)
	out.Request, out.Grant, out.Scope, out.Entitlement, out.State = g.Request, g.ID, string(g.Scope), g.Entitlement, string(g.State)
	out.By, out.Expires = by, g.Expires
	return out
}

// dataOf names who and what. Of what arguments must be it names the places only.
func dataOf(p grant.Party, t grant.Target, args grant.Constraints) webhook.Data {
	out := webhook.Data{Agent: p.Agent, Subject: p.Subject, Server: t.Server, Kind: string(t.Kind), Name: t.Name, Tier: t.Tier}
	for _, c := range args {
		at := c.At()
		if c.Op() == grant.OpArgsDigest {
			at = "" // all of them
		}
		out.Constrained = append(out.Constrained, at)
	}
	return out
}
