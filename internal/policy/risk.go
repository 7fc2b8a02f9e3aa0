package policy

import (
	"strings"

	"rutile/internal/access"
)

// How unusual what a caller did lately is (docs/risk.md): context.session.risk,
// principal.risk of the agent and context.subject.risk of the person, 0 to 100 each.
const memberRisk = "risk"

// lowestRung is the least score at which a rule of the baseline looks at risk: below it
// none of them can match.
const lowestRung = 60

// What a Catalog's Ladder says that the baseline's rules about risk do.
const (
	LadderEnforce = "enforce" // they count; "" is the same
	LadderShadow  = "shadow"  // what they would have done is noted
	LadderOff     = "off"     // there are none
)

// riskText are the rungs (access.md 6): from 60 a person has to approve what is more
// than a read of unlabelled data, from 75 the session is held, from 90 the agent is
// held and the session ends. Hard rules about flows are not among them. An agent's own
// score counts for itself, since what is spread over sessions shows only there.
const riskText = `@id("baseline.risk-step-up") @outcome("require_approval")
@advice("What this session or this agent did lately is unusual: a person has to look at this call.")
forbid (principal is Mcp::Agent, action in Mcp::Action::"call", resource)
when { (context.session.risk >= 60 || principal.risk >= 75) && (resource.tier >= 1 || !resource.labels.isEmpty()) }
unless { context has grant && context.grant.quorum >= 1 };

@id("baseline.risk-suspend") @outcome("quarantine") @target("session")
@advice("What this session did lately is very unusual: it is held until a person has looked.")
forbid (principal, action in Mcp::Action::"call", resource)
when { context.session.risk >= 75 };

@id("baseline.risk-quarantine") @outcome("quarantine") @target("agent")
@advice("What this agent did lately is so unusual that it is held until a person has looked.")
forbid (principal is Mcp::Agent, action in Mcp::Action::"call", resource)
when { context.session.risk >= 90 || principal.risk >= 90 };

@id("baseline.risk-terminate") @outcome("terminate") @target("session")
@advice("What this session did lately is so unusual that it was ended.")
forbid (principal, action in Mcp::Action::"call", resource)
when { context.session.risk >= 90 };

@id("baseline.subject-risk") @outcome("quarantine") @target("session")
@advice("What is done for this person lately is very unusual: the session is held until somebody has looked.")
forbid (principal, action in Mcp::Action::"call", resource)
when { context has subject && context.subject.risk >= 80 };
`

// Rungs are the rules of the ladder, and from which scores on each counts, from the one
// that asks to the one that ends a session.
func Rungs() []Rung {
	return []Rung{
		{Rule: "baseline.risk-step-up", Session: 60, Agent: 75, Asks: true}, {Rule: "baseline.risk-suspend", Session: 75}, {Rule: "baseline.subject-risk", Person: 80},
		{Rule: "baseline.risk-quarantine", Session: 90, Agent: 90}, {Rule: "baseline.risk-terminate", Session: 90},
	}
}

// Rung is one rule of the ladder. A bound of 0 is none.
type Rung struct {
	Rule                   string
	Session, Agent, Person int
	// Asks says that it asks for an approval, of what is not a read of tier 0 without
	// labels.
	Asks bool
}

// Meets reports whether the rule counts for a call with these scores. guarded says that
// its target is of tier 1 or more or has labels, approved that a person approved it.
func (g *Rung) Meets(r *access.Risk, guarded, approved bool) bool {
	if g.Asks && (!guarded || approved) {
		return false
	}
	over := func(score, bound int) bool { return bound > 0 && score >= bound }
	return over(r.Session, g.Session) || over(r.Agent, g.Agent) || over(r.Person, g.Person)
}

// rungs are the rules about risk as a ladder has them.
func rungs(ladder string) string {
	switch ladder {
	case LadderOff:
		return ""
	case LadderShadow:
		return strings.ReplaceAll(riskText, " @outcome(", ` @mode("`+modeShadow+`") @outcome(`)
	default:
		return riskText
	}
}

// readsRisk reports whether reading p reads a score.
func readsRisk(p path) bool {
	last := p[len(p)-1] == memberRisk
	switch p[0] {
	case "context":
		return len(p) == 3 && last && (p[1] == "session" || p[1] == "subject")
	case "principal":
		return len(p) == 2 && last
	}
	return false
}

func (q *Query) risk() *access.Risk {
	if q.Risk == nil {
		return &access.Risk{}
	}
	return q.Risk
}
