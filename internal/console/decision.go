package console

import (
	"context"
	"slices"
	"strconv"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/registry"
	"rutile/internal/rehearsal"
)

// Rehearsal says why decisions were made, and what other rules would make of them.
type Rehearsal interface {
	// Explain says why a recorded decision was made; sealed says that whoever looks may
	// read evidence.
	Explain(ctx context.Context, decision string, sealed bool) (rehearsal.Explained, error)
	// Replay lets a draft judge the decisions that were recorded since a time.
	Replay(ctx context.Context, d admin.Draft, since time.Time, sealed bool) (rehearsal.Report, error)
	// Alarms scores what was recorded since a time anew; agent is "" for all.
	Alarms(ctx context.Context, since time.Time, agent string) (rehearsal.Alarms, error)
}

// decisionPage is why a call was permitted or denied, and what would change it.
type decisionPage struct {
	rehearsal.Explained
	Would   string // what enforcing had decided, where that is another outcome
	Story   string // address of the evidence, "" for whoever may not read it
	Request string // address of the requests of the agent
	Rights  []string
	Reports bool // the visitor may say that it was wrong
}

func (c *Console) decision(v *visit) (any, error) {
	x, err := c.work.Rehearsal.Explain(v.Context(), v.PathValue("id"), c.may(v, admin.OpEvidence))
	if err != nil {
		return nil, err
	}
	p := &decisionPage{Explained: x, Reports: x.Denied() && c.may(v, admin.OpReport), Request: at("requests") + "?agent=" + x.Agent}
	if x.Would != x.Outcome {
		p.Would = x.Would
	}
	if c.may(v, admin.OpEvidence) {
		p.Story = at("evidence", strconv.FormatUint(x.Index, 10))
	}
	if x.Denied() {
		p.Rights = c.rightsFor(x.Agent, x.Action)
	}
	return p, nil
}

// rightsFor are the entitlements under which an agent may ask for an action.
func (c *Console) rightsFor(agent, action string) []string {
	cur := c.admin.Current()
	a, _ := cur.View.Agent(agent)
	var out []string
	for id, e := range cur.Rights {
		who := slices.Contains(e.Agents, agent) || a.Class != "" && slices.Contains(e.Classes, a.Class)
		if who && e.State == "active" && slices.ContainsFunc(e.Tools, func(t string) bool { return registry.Match(t, action) }) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// reportDenial keeps that a visitor says a denial was wrong.
func (c *Console) reportDenial(v *visit, f map[string]string) (string, string, error) {
	id := v.PathValue("id")
	to := at("decisions", id)
	x, err := c.work.Rehearsal.Explain(v.Context(), id, false)
	if err != nil {
		return to, "", err
	}
	d := admin.Denial{Decision: x.Decision, Denied: x.Denied(), Agent: x.Agent, Action: x.Action}
	d.Rules, d.Owners = x.DecidedBy()
	found, err := c.work.Findings.ReportDenial(v.Context(), v.session.actor, d, f["comment"])
	if access.CodeOf(err) == access.CodeConflict {
		return to, v.words.t("It has been reported already, and waits for an answer."), nil
	}
	if err != nil {
		return to, "", err
	}
	if found.Owner == "" {
		return to, v.words.t("It is reported. Nobody registered answers for the rule or the agent, so it stands under findings."), nil
	}
	return to, v.words.t("It is reported to %s.", line(found.Owner)), nil
}
