package admin

import (
	"context"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/finding"
)

// WrongDenial is the rule of what people report as denied wrongly.
const WrongDenial = "WRONG_DENIAL"

// reporting begins the sources of such findings.
const reporting = "report:"

// Denial is a recorded call that was not permitted, as somebody says wrongly.
type Denial struct {
	Decision, Agent, Action string
	Denied                  bool     // or would have been, were rules enforced
	Rules                   []string // that decided
	Owners                  []string // who answers for them, as @owner says
}

// ReportDenial keeps that somebody says a denial was wrong: a finding for who answers
// for the rule or, where it names nobody who is registered, for the agent. It changes no
// rule. One that was reported already and waits is an access.CodeConflict error. d MUST
// be what was recorded.
func (f *Findings) ReportDenial(ctx context.Context, actor Actor, d Denial, comment string) (finding.Finding, error) {
	comment = strings.TrimSpace(comment)
	if comment == "" {
		return finding.Finding{}, access.Errorf(access.CodeInvalid, "say what was to be done, and why it should have been permitted")
	}
	if err := checkReason(comment); err != nil {
		return finding.Finding{}, err
	}
	if err := f.admin.Authorize(ctx, actor, OpReport); err != nil {
		return finding.Finding{}, err
	}
	if !d.Denied {
		return finding.Finding{}, access.Errorf(access.CodeInvalid, "decision %s permitted the call: there is no denial to report", d.Decision)
	}
	raised := finding.Raised{
		Rule: WrongDenial, Subject: finding.Subject{Kind: finding.SubjectDecision, ID: d.Decision}, Severity: finding.Medium, Owner: f.answersFor(d), Evidence: d.Rules,
		Why:  reporterOf(actor) + d.Agent + d.Agent + " was denied " + clip(d.Action) + " wrongly: " + comment,
		Next: "look at it: rutile explain " + d.Decision + "; then change the rule, or leave it, and answer: rutile finding answer " + raisedID(d.Decision) + " --why REASON",
	}
	owed, err := owedLeaf(f.admin.cfg.Node, actor.String(), "report", "Decision", d.Decision, comment, map[string]any{"finding": raised.ID(), "owner": raised.Owner})
	if err != nil {
		return finding.Finding{}, err
	}
	f.reports.Lock() // counted and kept in one
	defer f.reports.Unlock()
	if err := f.room(ctx, actor, raised.ID()); err != nil {
		return finding.Finding{}, err
	}
	for range attempts {
		c, err := f.plan(ctx, []finding.Says{{Source: reporting + d.Decision, At: f.admin.now(), Raised: []finding.Raised{raised}}})
		if err != nil {
			return finding.Finding{}, err
		}
		if len(c.Opened) == 0 {
			return finding.Finding{}, access.Errorf(access.CodeConflict, "it has been reported already: rutile finding show %s", raised.ID())
		}
		c.Owed = append(c.Owed, owed)
		if err = f.store.CommitFindings(ctx, *c); access.CodeOf(err) == access.CodeConflict {
			continue
		}
		if err == nil {
			f.kept(c)
			err = settle(ctx, f.debts, owed.ID)
		}
		if err != nil {
			return finding.Finding{}, err
		}
		return f.Show(ctx, raised.ID())
	}
	return finding.Finding{}, access.Errorf(access.CodeConflict, "findings kept being changed: try again")
}

// maxReports bounds how many reports of one person wait for an answer, so that nobody
// buries the findings of others under theirs.
const maxReports = 20

// reporterOf begins the text of what somebody reports.
func reporterOf(actor Actor) string { return actor.String() + " says that agent " }

// room refuses another report of somebody whose reports are not answered.
func (f *Findings) room(ctx context.Context, actor Actor, id string) error {
	list, err := f.store.Findings(ctx, finding.Filter{Rule: WrongDenial, State: finding.Open})
	if err != nil {
		return err
	}
	n := 0
	for i := range list {
		if list[i].ID != id && strings.HasPrefix(list[i].Why, reporterOf(actor)) {
			n++
		}
	}
	if n >= maxReports {
		return access.Errorf(access.CodeTooLarge, "%d denials you reported wait for an answer: no more are taken before some are answered", n)
	}
	return nil
}

func raisedID(decision string) string {
	return finding.ID(WrongDenial, finding.Subject{Kind: finding.SubjectDecision, ID: decision}, "")
}

// answersFor is the person or team a report goes to, "" if nobody registered does.
func (f *Findings) answersFor(d Denial) string {
	view := f.admin.Current().View
	owners := d.Owners
	if a, ok := view.Agent(d.Agent); ok {
		owners = append(owners[:len(owners):len(owners)], a.Owner)
	}
	for _, o := range owners {
		_, person := view.User(o)
		if _, team := view.Team(o); person || team {
			return o
		}
	}
	return ""
}

// AnswerReport ends a finding that somebody reported, for a reason. What the gateway
// found itself ends when it is so no more.
func (f *Findings) AnswerReport(ctx context.Context, actor Actor, id, why string) (finding.Finding, error) {
	if strings.TrimSpace(why) == "" {
		return finding.Finding{}, access.Errorf(access.CodeInvalid, "say what came of the report")
	}
	return f.change(ctx, actor, "answer", id, why, nil, func(x *finding.Finding, now time.Time) error {
		switch {
		case x.Rule != WrongDenial:
			return access.Errorf(access.CodeConflict, "finding %s was not reported by a person: it is resolved when it is so no more", id)
		case x.State == finding.Resolved:
			return access.Errorf(access.CodeConflict, "finding %s is answered already", id)
		}
		x.State, x.Mute, x.Resolved = finding.Resolved, nil, now
		return nil
	})
}
