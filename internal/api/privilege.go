package api

import (
	"cmp"
	"context"
	"net/url"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/privilege"
)

// Privileges says how rights are used.
type Privileges interface {
	// Report says what agents could do, what they did, and what can be taken away.
	Report(ctx context.Context, q PrivilegeQuery) (privilege.Report, error)
	// Suggest writes manifests that hold what was observed to be needed.
	Suggest(ctx context.Context, q PrivilegeQuery) (Suggested, error)
	// Access says who may use what a server offers, and what was used since then.
	Access(ctx context.Context, server, since string) (privilege.Access, error)
}

// PrivilegeQuery selects what a report is about.
type PrivilegeQuery struct {
	Since string `json:"since,omitempty"` // a time, a day or a duration; default 720h
	Agent string `json:"agent,omitempty"`
	// KeepStanding proposes nothing to be asked for instead of a standing right.
	KeepStanding bool `json:"keepStanding,omitempty"`
}

// Suggested are manifests that rutile apply takes as they are.
type Suggested struct {
	Manifests string `json:"manifests"` // "" where nothing would change
	Agents    int    `json:"agents"`    // that would change
	Young     string `json:"young,omitempty"`
}

// Shrink asks for what a report proposes to be done.
type Shrink struct {
	Digest string `json:"digest"` // of the report
	Since  string `json:"since"`  // as in the report: a time
	Agent  string `json:"agent,omitempty"`
	Why    string `json:"why,omitempty"`
	DryRun bool   `json:"dryRun,omitempty"`
}

func (c *call) privilegeQuery() (PrivilegeQuery, error) {
	q, _, err := c.query("since", "agent", "keepStanding")
	if err != nil {
		return PrivilegeQuery{}, err
	}
	if k := q.Get("keepStanding"); k != "" && k != "true" && k != "false" {
		return PrivilegeQuery{}, access.Errorf(access.CodeInvalid, "keepStanding is true or false")
	}
	return PrivilegeQuery{Since: q.Get("since"), Agent: q.Get("agent"), KeepStanding: q.Get("keepStanding") == "true"}, nil
}

func (a *API) privileges(c *call) (any, error) {
	q, err := c.privilegeQuery()
	if err != nil {
		return nil, err
	}
	return answerOf(a.deps.Privileges.Report(c.Context(), q))
}

// defaultUse is how far back the use of a server is looked at that nobody says: 90 days.
const defaultUse = "2160h"

func (a *API) serverAccess(c *call) (any, error) {
	q, _, err := c.query("since")
	if err != nil {
		return nil, err
	}
	return answerOf(a.deps.Privileges.Access(c.Context(), c.PathValue("id"), cmp.Or(q.Get("since"), defaultUse)))
}

func (a *API) suggest(c *call) (any, error) {
	q, err := c.privilegeQuery()
	if err != nil {
		return nil, err
	}
	return answerOf(a.deps.Privileges.Suggest(c.Context(), q))
}

// shrink does what a report proposed, if the same report would propose the same
// now.
func (a *API) shrink(c *call) (any, error) {
	var in Shrink
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.Digest == "" || in.Since == "" {
		return nil, access.Errorf(access.CodeInvalid, "give the digest of the report and the time its period began")
	}
	r, err := a.deps.Privileges.Report(c.Context(), PrivilegeQuery{Since: in.Since, Agent: in.Agent})
	if err != nil {
		return nil, err
	}
	if r.Digest != in.Digest {
		return nil, access.Errorf(access.CodeConflict, "the report is out of date: what is registered or used has changed since, so nothing was taken away; make another with rutile report privileges")
	}
	plan, err := a.deps.Admin.Shrink(c.Context(), c.actor, r.Proposals(), r.Generation, in.Why, in.DryRun)
	if err != nil {
		return nil, err
	}
	return Applied{Plan: plan}, nil
}

func (q PrivilegeQuery) query() string {
	v := url.Values{}
	for k, s := range map[string]string{"since": q.Since, "agent": q.Agent} {
		if s != "" {
			v.Set(k, s)
		}
	}
	if q.KeepStanding {
		v.Set("keepStanding", "true")
	}
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

// Privileges says what agents could do, what they did, and what can be taken away.
func (c *Client) Privileges(ctx context.Context, q PrivilegeQuery) (privilege.Report, error) {
	return ask[privilege.Report](ctx, c, "GET", "reports/privileges"+q.query(), nil)
}

// ServerAccess says who may use what a server offers. since is as of PrivilegeQuery, ""
// for 90 days.
func (c *Client) ServerAccess(ctx context.Context, server, since string) (privilege.Access, error) {
	return ask[privilege.Access](ctx, c, "GET", "servers/"+url.PathEscape(server)+"/access"+PrivilegeQuery{Since: since}.query(), nil)
}

// Suggest writes manifests that hold what was observed to be needed.
func (c *Client) Suggest(ctx context.Context, q PrivilegeQuery) (Suggested, error) {
	return ask[Suggested](ctx, c, "GET", "policies/suggest"+q.query(), nil)
}

// Shrink does what a report proposed.
func (c *Client) Shrink(ctx context.Context, in Shrink) (admin.Plan, error) {
	out, err := ask[Applied](ctx, c, "POST", "reports/privileges/apply", in)
	return out.Plan, err
}
