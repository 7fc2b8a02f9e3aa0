package admin

import (
	"cmp"
	"fmt"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/finding"
	"rutile/internal/registry"
)

// sourceRegistry holds what is wrong with entries of the registry.
const sourceRegistry = "registry"

// unusedTime is how long a registered server may go without a call
// (discovery.md 19).
const unusedTime = 60 * 24 * time.Hour

// reviewSeverity is how grave an overdue review is, by the risk tier.
func reviewSeverity(tier int) finding.Severity {
	return [...]finding.Severity{finding.Low, finding.Medium, finding.High, finding.Critical}[min(max(tier, 0), 3)]
}

// ownership is what is wrong with who answers for registered servers and agents,
// with what they owe, and with servers that nobody calls. since is how far back used
// goes.
func (v *Inventory) ownership(used map[string]time.Time, since time.Time) finding.Says {
	now, cur := v.admin.now(), v.admin.Current()
	o := owning{now: now, says: finding.Says{Source: sourceRegistry, At: now, Covers: finding.Everything}}
	for _, s := range cur.View.Servers() {
		if s.State == registry.ServerRetired || s.State == registry.ServerBlocked {
			continue
		}
		o.kind, o.id, o.tier = finding.SubjectServer, s.ID, cur.RiskOf(s, now).Tier
		o.server(cur, s, used[s.ID], since)
	}
	for _, a := range cur.View.Agents() {
		if a.State == registry.AgentRetired {
			continue
		}
		o.kind, o.id, o.tier = finding.SubjectAgent, a.ID, a.RiskTier
		if why := registry.Orphaned(cur.View, a.Owner, now); why != "" {
			o.raise(discovery.OrphanAgent, finding.Medium, why, "name an owner who is there: rutile agent own "+a.ID+" OWNER")
		}
		o.review(reviewAgent(cur, a, now))
	}
	return o.says
}

// owning collects what is wrong with one server or agent after the other.
type owning struct {
	now      time.Time
	says     finding.Says
	kind, id string
	tier     int
}

func (o *owning) raise(rule discovery.Rule, severity finding.Severity, why, next string) {
	o.says.Raised = append(o.says.Raised, finding.Raised{Rule: string(rule), Subject: finding.Subject{Kind: o.kind, ID: o.id}, Severity: severity, Tier: o.tier, Why: why, Next: next})
}

func (o *owning) server(cur *Current, s registry.Server, last, since time.Time) {
	if why := registry.Orphaned(cur.View, s.Owner, o.now); why != "" {
		o.raise(discovery.OrphanServer, finding.Medium, why, "name an owner who is there: rutile server own "+s.ID+" OWNER")
	}
	switch s.State {
	case registry.ServerDiscovered:
		o.raise(discovery.UndecidedServer, finding.Low, "nobody said yet what it is for", "rutile server triage "+s.ID+" --owner OWNER --data-scope KIND:NAME, or rutile server block "+s.ID)
	case registry.ServerTriaged:
		o.raise(discovery.UndecidedServer, finding.Low, "it waits for somebody's decision", "rutile server approve "+s.ID+", or rutile server block "+s.ID)
	case registry.ServerSanctioned, registry.ServerDeprecated:
		o.review(reviewServer(cur, s, o.now))
	}
	if last.IsZero() {
		last = s.Created
	}
	// Where the evidence does not go back that far, nobody can say.
	if s.State == registry.ServerSanctioned && o.now.Sub(last) > unusedTime && o.now.Sub(since) > unusedTime {
		o.raise(discovery.UnusedServer, finding.Low, fmt.Sprintf("nobody called it since %s", last.UTC().Format(time.DateOnly)), "retire it if nobody needs it: rutile server retire "+s.ID)
	}
}

// review tells that a review is overdue.
func (o *owning) review(i ReviewItem) {
	if i.State != ReviewOverdue {
		return
	}
	why := fmt.Sprintf("its review was due on %s and %s owes the answer", i.Due.Add(-time.Nanosecond).UTC().Format(time.DateOnly), cmp.Or(i.Owner, "nobody"))
	o.raise(discovery.StaleReview, reviewSeverity(o.tier), why, fmt.Sprintf("rutile review answer %s/%s --keep, or --quarantine, or --retire", i.Kind, i.ID))
}
