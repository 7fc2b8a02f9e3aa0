package api

import (
	"context"
	"net/url"

	"rutile/internal/admin"
	"rutile/internal/compliance"
	"rutile/internal/finding"
)

// defaultCompliance is how far back a compliance report looks that says nothing else.
const defaultCompliance = "2160h"

// ComplianceQuery selects what a compliance report is about.
type ComplianceQuery struct {
	Framework string // one of compliance.Frameworks; the first if empty
	Since     string // a time, a day or a duration; default 2160h
	Until     string // the same; default now
}

func (a *API) compliance(c *call) (any, error) {
	v, _, err := c.query("framework", "since", "until")
	if err != nil {
		return nil, err
	}
	now := a.cfg.Now()
	since, err := moment("since", or(v.Get("since"), defaultCompliance), now)
	if err != nil {
		return nil, err
	}
	until, err := moment("until", or(v.Get("until"), "0s"), now)
	if err != nil {
		return nil, err
	}
	found, err := a.deps.Inventory.List(c.Context(), admin.InventoryFilter{})
	if err != nil {
		return nil, err
	}
	open, err := a.deps.Findings.List(c.Context(), finding.Filter{State: finding.Open})
	if err != nil {
		return nil, err
	}
	present := compliance.NewPresent(now, a.deps.Admin.Current().View, found, open)
	return answerOf(compliance.New(c.Context(), a.deps.Evidence, &present, or(v.Get("framework"), compliance.Frameworks()[0]), since, until))
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// Compliance says what of a framework's controls Rutile does, and what the evidence
// shows of it.
func (c *Client) Compliance(ctx context.Context, q ComplianceQuery) (compliance.Report, error) {
	v := url.Values{}
	for k, s := range map[string]string{"framework": q.Framework, "since": q.Since, "until": q.Until} {
		if s != "" {
			v.Set(k, s)
		}
	}
	path := "reports/compliance"
	if len(v) > 0 {
		path += "?" + v.Encode()
	}
	return ask[compliance.Report](ctx, c, "GET", path, nil)
}
