package api

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/finding"
)

// FindingOptions select a page of findings. Empty members do not restrict; without
// a state those that wait and those that are muted are meant.
type FindingOptions struct {
	Rule, State, Severity, Owner, Subject, Cursor string
	Overdue                                       bool // only those that are overdue
	Limit                                         int
}

// AssignSpec says who answers for a finding, and by when.
type AssignSpec struct {
	Owner string    `json:"owner"`
	Due   time.Time `json:"due,omitzero"`
}

// MuteSpec says why a finding is left alone, and until when.
type MuteSpec struct {
	Reason string    `json:"reason"`
	Until  time.Time `json:"until"`
}

func (a *API) findings(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor", "rule", "state", "severity", "owner", "subject", "overdue")
	if err != nil {
		return nil, err
	}
	f := finding.Filter{Rule: q.Get("rule"), State: finding.State(q.Get("state")), From: finding.Severity(q.Get("severity")), Owner: q.Get("owner"), Subject: q.Get("subject")}
	if f.From != "" && !slices.Contains(finding.Severities(), f.From) {
		return nil, access.Errorf(access.CodeInvalid, "severity is info, low, medium, high or critical, not %.64q", string(f.From))
	}
	switch q.Get("overdue") {
	case "":
	case "true":
		f.Overdue = true
	default:
		return nil, access.Errorf(access.CodeInvalid, "overdue is true or left out")
	}
	if f.State != "" && !slices.Contains(finding.States(), f.State) {
		return nil, access.Errorf(access.CodeInvalid, "state is open, muted or resolved, not %.64q", string(f.State))
	}
	all, err := a.deps.Findings.List(c.Context(), f)
	if err != nil {
		return nil, err
	}
	// The worst come first, so a page goes on after an order, and not after an id.
	order := func(x finding.Finding) string { return string(rune('f'-x.Severity.Rank())) + x.ID }
	return paged(all, order, q.Get("cursor"), limit)
}

func (a *API) finding(c *call) (any, error) {
	return a.deps.Findings.Show(c.Context(), c.PathValue("id"))
}

func (a *API) assign(c *call) (any, error) {
	var in AssignSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return a.deps.Findings.Assign(c.Context(), c.actor, c.PathValue("id"), in.Owner, in.Due)
}

func (a *API) mute(c *call) (any, error) {
	var in MuteSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return a.deps.Findings.Mute(c.Context(), c.actor, c.PathValue("id"), in.Reason, in.Until)
}

func (a *API) unmute(c *call) (any, error) {
	var in Reason
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return a.deps.Findings.Unmute(c.Context(), c.actor, c.PathValue("id"), in.Reason)
}

// Findings lists what is wrong, the worst first.
func (c *Client) Findings(ctx context.Context, o FindingOptions) (Page[finding.Finding], error) {
	q := queryOf(map[string]string{"rule": o.Rule, "state": o.State, "severity": o.Severity, "owner": o.Owner, "subject": o.Subject, "cursor": o.Cursor}, o.Limit)
	if o.Overdue {
		q = "?overdue=true" + strings.Replace(q, "?", "&", 1)
	}
	return ask[Page[finding.Finding]](ctx, c, "GET", "findings"+q, nil)
}

// Finding returns one finding.
func (c *Client) Finding(ctx context.Context, id string) (finding.Finding, error) {
	return ask[finding.Finding](ctx, c, "GET", "findings/"+url.PathEscape(id), nil)
}

// Assign says who answers for a finding.
func (c *Client) Assign(ctx context.Context, id string, in AssignSpec) (finding.Finding, error) {
	return ask[finding.Finding](ctx, c, "POST", "findings/"+url.PathEscape(id)+"/assign", in)
}

// Mute leaves a finding alone until a time.
func (c *Client) Mute(ctx context.Context, id string, in MuteSpec) (finding.Finding, error) {
	return ask[finding.Finding](ctx, c, "POST", "findings/"+url.PathEscape(id)+"/mute", in)
}

// Unmute ends a mute before its time.
func (c *Client) Unmute(ctx context.Context, id, why string) (finding.Finding, error) {
	return ask[finding.Finding](ctx, c, "POST", "findings/"+url.PathEscape(id)+"/unmute", Reason{why})
}
