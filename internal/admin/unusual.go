package admin

import (
	"context"
	"fmt"

	"rutile/internal/finding"
	"rutile/internal/risk"
)

// sourceRisk holds what stands out by its score, for each node.
const sourceRisk = "risk:"

// Unusual is the rule of what stands out by its score.
const Unusual = "AGENT_UNUSUAL"

// Rungs is the least score at which something stands out.
const Rungs = 60

// Stands raises what is over the first rung as a node saw it, and lets go of what is no
// more.
func (f *Findings) Stands(ctx context.Context, node string, over []risk.Standing) error {
	view := f.admin.Current().View
	says := finding.Says{Source: sourceRisk + node, Covers: finding.Everything}
	for _, s := range over {
		score, severity := max(s.Risk.Session, s.Risk.Agent), finding.Medium
		switch s.Risk.Level() {
		case "critical":
			severity = finding.Critical
		case "high":
			severity = finding.High
		}
		what, next := "what the agent did over its last sessions", "rutile session list"
		if s.Session != "" {
			what, next = "what the agent did in session "+s.Session, "rutile session show "+s.Session
		}
		x := finding.Raised{Rule: Unusual, Subject: finding.Subject{Kind: finding.SubjectAgent, ID: s.Agent}, Place: s.Session, Severity: severity,
			Why: fmt.Sprintf("%s is unusual: its score is %d of 100", what, score), Next: "look at it: " + next + "; if it is as it should be, the score falls by itself; if not: rutile agent suspend " + s.Agent}
		for _, p := range s.Risk.Top {
			x.Evidence = append(x.Evidence, fmt.Sprintf("%s %s: %d points, %g %s, usual %g", p.Family, p.Signal, p.Points, p.Observed, p.Unit, p.Expected))
		}
		if a, ok := view.Agent(s.Agent); ok {
			x.Owner = a.Owner
		}
		says.Raised = append(says.Raised, x)
	}
	return f.Tell(ctx, says)
}
