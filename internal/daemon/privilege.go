package daemon

import (
	"context"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/privilege"
)

// defaultPeriod is how far back a report looks that says nothing else.
const defaultPeriod = "720h"

// Bounds of what a report reads.
const (
	maxStood  = 1000 // generations of the rules
	maxGrants = 100_000
)

// privileges says how rights are used.
type privileges struct{ d *Daemon }

// Report says what agents could do, what they did, and what can be taken away.
func (p privileges) Report(ctx context.Context, q api.PrivilegeQuery) (privilege.Report, error) {
	in, err := p.input(ctx, q)
	if err != nil {
		return privilege.Report{}, err
	}
	return privilege.New(in), nil
}

// Access says who may use what a server offers.
func (p privileges) Access(ctx context.Context, server, since string) (privilege.Access, error) {
	in, err := p.used(ctx, api.PrivilegeQuery{Since: since})
	if err != nil {
		return privilege.Access{}, err
	}
	if _, ok := in.State.View.Server(server); !ok || server == access.OwnServer {
		return privilege.Access{}, access.Errorf(access.CodeNotFound, "server %q is not registered: see rutile server list", server)
	}
	if in.Grants, err = p.grants(ctx, ""); err != nil {
		return privilege.Access{}, err
	}
	in.Server = server
	return privilege.NewAccess(in), nil
}

// Of is the report of one agent.
func (p privileges) Of(ctx context.Context, agent, since string) (privilege.Report, error) {
	return p.Report(ctx, api.PrivilegeQuery{Since: since, Agent: agent})
}

// Suggest writes manifests that hold what was observed to be needed.
func (p privileges) Suggest(ctx context.Context, q api.PrivilegeQuery) (api.Suggested, error) {
	in, err := p.input(ctx, q)
	if err != nil {
		return api.Suggested{}, err
	}
	r, list := privilege.Suggest(in, !q.KeepStanding)
	out := api.Suggested{Young: r.Young}
	var proposals []admin.Proposal
	for _, s := range list {
		if s.Same {
			continue
		}
		out.Agents++
		x := admin.Proposal{Agent: s.Agent, Tools: s.Tools, Ask: s.Ask}
		x.Comments = append(x.Comments, "what "+s.Agent+" used from "+r.Since.Format(time.RFC3339)+" to "+r.Until.Format(time.RFC3339))
		if s.Orphan != "" {
			x.Comments = append(x.Comments, "orphaned: "+s.Orphan)
		}
		for _, n := range s.Notes {
			x.Comments = append(x.Comments, admin.UseComment(n.Verdict, n.Entry, n.Calls, n.Last))
		}
		proposals = append(proposals, x)
	}
	out.Manifests = admin.Manifests(in.State.View, proposals)
	return out, nil
}

// input gathers what a report is made of: what was used, what stood and what is granted.
func (p privileges) input(ctx context.Context, q api.PrivilegeQuery) (privilege.Input, error) {
	in, err := p.used(ctx, q)
	if err != nil {
		return privilege.Input{}, err
	}
	if in.Stood, err = p.stood(ctx, in.Since); err != nil {
		return privilege.Input{}, err
	}
	in.Grants, err = p.grants(ctx, q.Agent)
	return in, err
}

// used is one state, and what the evidence of a period counts.
func (p privileges) used(ctx context.Context, q api.PrivilegeQuery) (privilege.Input, error) {
	if q.Since == "" {
		q.Since = defaultPeriod
	}
	now := time.Now().UTC()
	since, err := api.ParseMoment("since", q.Since, now)
	if err != nil {
		return privilege.Input{}, err
	}
	if err := p.d.Admin.Refresh(ctx); err != nil {
		return privilege.Input{}, err
	}
	cur := p.d.Admin.Current()
	if q.Agent != "" {
		if _, ok := cur.View.Agent(q.Agent); !ok {
			return privilege.Input{}, access.Errorf(access.CodeNotFound, "agent %q is not registered", q.Agent)
		}
	}
	in := privilege.Input{Since: since.UTC().Truncate(time.Millisecond), Until: now, Agent: q.Agent, Policies: cur.Policies,
		State: &pdp.State{View: cur.View.WithOwn(), Set: cur.Set, Monitor: cur.Monitor, Entitlements: cur.Rights}}
	err = p.d.Evidence.Whole(ctx, func() error {
		in.Usage, err = p.d.store.Usage(ctx, in.Since, q.Agent)
		return err
	})
	return in, err
}

// stood returns the allow-lists of every generation that was in force from since
// on, nil where it is not known which was at its beginning.
func (p privileges) stood(ctx context.Context, since time.Time) ([]map[string][]string, error) {
	var out []map[string][]string
	for before := uint64(0); len(out) < maxStood; {
		page, err := p.d.Admin.Versions(ctx, before, 100)
		if err != nil || len(page) == 0 {
			return nil, err
		}
		for _, head := range page {
			v, err := p.d.Admin.Version(ctx, head.N)
			if err != nil {
				return nil, err
			}
			lists := map[string][]string{}
			for _, l := range v.Rules.Lists {
				lists[l.Agent] = l.Tools
			}
			out = append(out, lists)
			if !head.At.After(since) {
				return out, nil
			}
			before = head.N
		}
	}
	return nil, nil
}

// grants returns the grants in force.
func (p privileges) grants(ctx context.Context, agent string) ([]grant.Grant, error) {
	var out []grant.Grant
	f := grant.Filter{State: grant.GrantActive, Agent: agent, Limit: 1000}
	for len(out) < maxGrants {
		page, err := p.d.broker.Archive().Grants(ctx, f)
		if err != nil {
			return nil, err
		}
		out = append(out, page...)
		if len(page) < f.Limit {
			break
		}
		f.Before = page[len(page)-1].ID
	}
	now := time.Now()
	return slices.DeleteFunc(out, func(g grant.Grant) bool { return !now.Before(g.Expires) }), nil
}
