package api

import (
	"context"
	"net/url"

	"rutile/internal/admin"
	"rutile/internal/finding"
	"rutile/internal/rehearsal"
)

// DenialReport is what somebody says of a denial.
type DenialReport struct {
	Comment string `json:"comment"`
}

func (a *API) decision(c *call) (any, error) {
	return answerOf(a.deps.Rehearsal.Explain(c.Context(), c.PathValue("id"), a.readsSealed(c)))
}

func (a *API) reportDenial(c *call) (any, error) {
	var in DenialReport
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	x, err := a.deps.Rehearsal.Explain(c.Context(), c.PathValue("id"), false)
	if err != nil {
		return nil, err
	}
	d := admin.Denial{Decision: x.Decision, Denied: x.Denied(), Agent: x.Agent, Action: x.Action}
	d.Rules, d.Owners = x.DecidedBy()
	return answerOf(a.deps.Findings.ReportDenial(c.Context(), c.actor, d, in.Comment))
}

func (a *API) answerReport(c *call) (any, error) {
	var in Reason
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return answerOf(a.deps.Findings.AnswerReport(c.Context(), c.actor, c.PathValue("id"), in.Reason))
}

// Decision says why a recorded decision was made and what would change it.
func (c *Client) Decision(ctx context.Context, id string) (rehearsal.Explained, error) {
	return ask[rehearsal.Explained](ctx, c, "GET", "decisions/"+url.PathEscape(id), nil)
}

// ReportDenial says that a denial was wrong.
func (c *Client) ReportDenial(ctx context.Context, id string, in DenialReport) (finding.Finding, error) {
	return ask[finding.Finding](ctx, c, "POST", "decisions/"+url.PathEscape(id)+"/report", in)
}

// AnswerReport ends a finding that somebody reported.
func (c *Client) AnswerReport(ctx context.Context, id, why string) (finding.Finding, error) {
	return ask[finding.Finding](ctx, c, "POST", "findings/"+url.PathEscape(id)+"/answer", Reason{why})
}
