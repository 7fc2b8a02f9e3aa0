package console

import (
	"cmp"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/discovery"
	"rutile/internal/finding"
	"rutile/internal/grant"
	"rutile/internal/registry"
)

// overviewPage is what needs somebody, and four numbers, a fifth while findings are overdue.
type overviewPage struct {
	Figures  []figure
	Work     []job
	Wrong    []bar // open findings by severity
	Denied   []audit.Row
	Evidence uint64
	Proves   bool // the visitor may see evidence
}

// figure is a number with what it is of.
type figure struct {
	Label, URL string
	N, Of      int // Of is 0 where it is of nothing
	More       bool
}

// job is one thing that waits for somebody.
type job struct {
	What  string // in the visitor's language or the name of a rule, without anybody else's words
	Who   string // somebody else's words
	URL   string
	Word  string // a state
	Since time.Time
	Due   time.Time
	Late  bool // it is past Due
}

// maxJobs bounds each kind of work on the overview; their pages have the rest.
const maxJobs = 50

// expiring is how long before an agent ends it is shown.
const expiring = 14 * 24 * time.Hour

func (c *Console) overview(v *visit) (any, error) {
	view := c.admin.Current().View
	p := overviewPage{Evidence: c.work.Evidence.Size(), Proves: c.may(v, admin.OpEvidence)}
	jobs, waiting, err := c.waiting(v)
	if err != nil {
		return nil, err
	}
	held, open, more, err := c.sessionsNow(v)
	if err != nil {
		return nil, err
	}
	list, err := c.work.Findings.List(v.Context(), finding.Filter{State: finding.Open})
	if err != nil {
		return nil, err
	}
	p.Work = first(slices.Concat(jobs, held, c.wrong(v, list), serverJobs(v, view, decisions(list)), agentJobs(v, view)), v.now, 5*maxJobs)
	callable := 0
	for _, s := range view.Servers() {
		if view.ServerStanding(s.ID).OK {
			callable++
		}
	}
	active := 0
	for _, a := range view.Agents() {
		if registry.AgentStatus(a, v.now) == registry.AgentActive {
			active++
		}
	}
	p.Figures = []figure{
		{v.words.t("Requests waiting"), at("requests") + "?state=pending", waiting, 0, waiting == maxJobs},
		{v.words.t("Sessions open"), at("live"), open, 0, more},
		{v.words.t("Agents active"), at("agents"), active, len(view.Agents()), false},
		{v.words.t("Servers callable"), at("servers"), callable, len(view.Servers()), false},
	}
	late := 0
	for i := range list {
		if list[i].Overdue(v.now) {
			late++
		}
	}
	if late > 0 {
		p.Figures = append(p.Figures, figure{v.words.t("Findings overdue"), at("findings") + "?due=overdue", late, 0, false})
	}
	p.Wrong = severityBars(v, list)
	around, err := c.work.Inventory.Around(v.Context())
	if err != nil {
		return nil, err
	}
	if n := len(around.Hosts); n > 0 {
		heard := 0
		for _, h := range around.Hosts {
			if v.now.Sub(h.Last) <= silentAfter {
				heard++
			}
		}
		p.Figures = append(p.Figures, figure{v.words.t("Machines that reported within a day"), at("sources"), heard, n, false})
	}
	if p.Proves {
		p.Denied, err = c.work.Evidence.Search(v.Context(), audit.Query{Outcome: access.Deny.String(), Limit: 8})
	}
	return p, err
}

// rank orders work: what is overdue, what has an end, what is bad, the rest.
func rank(j job, now time.Time) int {
	switch {
	case !j.Due.IsZero() && now.After(j.Due):
		return 0
	case !j.Due.IsZero():
		return 1
	case j.Word == "quarantined" || j.Word == "blocked":
		return 2
	default:
		return 3
	}
}

// first are the first of a list of work, what cannot wait before the rest.
func first(list []job, now time.Time, n int) []job {
	for i := range list {
		list[i].Late = rank(list[i], now) == 0
	}
	slices.SortStableFunc(list, func(a, b job) int { return cmp.Compare(rank(a, now), rank(b, now)) })
	return list[:min(len(list), n)]
}

// waiting is what agents ask for and what is owed a review.
func (c *Console) waiting(v *visit) ([]job, int, error) {
	var out []job
	list, err := c.desk.Requests(v.Context(), grant.Filter{State: grant.RequestPending, Limit: maxJobs})
	if err != nil {
		return nil, 0, err
	}
	n := 0
	for _, r := range list {
		if !v.now.Before(r.Expires) {
			continue // nobody has noted its end yet
		}
		n++
		out = append(out, job{What: v.words.t("An agent asks for a right"), Who: r.Party.Agent + " → " + r.Target.Action(), URL: Path + r.ID, Word: string(r.State), Since: r.Created, Due: r.Expires})
	}
	reviews, err := c.desk.Reviews(v.Context(), grant.Filter{Limit: maxJobs})
	for _, r := range reviews {
		if r.By == "" {
			out = append(out, job{What: v.words.t("A right was taken in an emergency: somebody must review it"), Who: r.Person + " → " + r.Target.Action(), URL: at("grants", r.Grant), Word: string(r.State), Since: r.Opened, Due: r.Due})
		}
	}
	return out, n, err
}

// wrong are the findings that cannot wait: high and critical ones, and what is overdue.
// Servers that wait for a decision are there themselves.
func (c *Console) wrong(v *visit, list []finding.Finding) []job {
	var out []job
	for i := range list {
		f := &list[i]
		if f.Rule == string(discovery.UndecidedServer) {
			continue
		}
		if f.Severity.AtLeast(finding.High) || f.Overdue(v.now) {
			out = append(out, job{What: f.Rule, Who: f.Why, URL: at("findings", f.ID), Word: string(f.Severity), Since: f.First, Due: f.Due})
		}
	}
	return first(out, v.now, maxJobs)
}

// decisions say by when servers are to be decided on, by their ids.
func decisions(list []finding.Finding) map[string]time.Time {
	out := map[string]time.Time{}
	for i := range list {
		if list[i].Rule == string(discovery.UndecidedServer) {
			out[list[i].Subject.ID] = list[i].Due
		}
	}
	return out
}

// sessionsNow are the sessions that are held, and how many are open.
func (c *Console) sessionsNow(v *visit) (jobs []job, open int, more bool, err error) {
	held, err := c.work.Effects.List(v.Context(), "", maxJobs, true)
	if err != nil {
		return nil, 0, false, err
	}
	for _, s := range held {
		if s.State == "quarantined" {
			jobs = append(jobs, job{What: v.words.t("A session is quarantined"), Who: s.Agent, URL: at("live") + "?held=true", Word: s.State, Since: s.Last})
		}
	}
	list, err := c.work.Effects.List(v.Context(), "", liveRows, false)
	for _, s := range list {
		if s.State == "open" {
			open++
		}
	}
	return jobs, open, len(list) == liveRows, err
}

func serverJobs(v *visit, view *registry.View, due map[string]time.Time) []job {
	var out []job
	for _, s := range view.Servers() {
		switch s.State {
		case registry.ServerDiscovered, registry.ServerTriaged:
			out = append(out, job{What: v.words.t("A server waits for approval"), Who: s.ID, URL: at("servers", s.ID), Word: string(s.State), Since: s.Created, Due: due[s.ID]})
		case registry.ServerQuarantined:
			out = append(out, job{What: v.words.t("A server is quarantined"), Who: s.ID, URL: at("servers", s.ID), Word: string(s.State), Since: s.Changed})
		case registry.ServerSanctioned, registry.ServerDeprecated:
			n := map[registry.ToolState]int{}
			for _, t := range view.Tools(s.ID) {
				n[t.State]++
			}
			for _, st := range []registry.ToolState{registry.ToolChanged, registry.ToolPending, registry.ToolQuarantined} {
				if n[st] > 0 {
					out = append(out, job{What: v.words.n(n[st], "A definition is not what was approved", "%d definitions are not what was approved"), Who: s.ID, URL: at("servers", s.ID) + "?tools=" + string(st), Word: string(st)})
				}
			}
		}
	}
	return first(out, v.now, maxJobs)
}

func agentJobs(v *visit, view *registry.View) []job {
	var out []job
	for _, a := range view.Agents() {
		st := registry.AgentStatus(a, v.now)
		j := job{Who: a.ID, URL: at("agents", a.ID), Word: string(st)}
		switch {
		case st == registry.AgentExpired:
			j.What, j.Due = v.words.t("An agent expired"), a.Expires
		case st == registry.AgentActive && a.Expires.Sub(v.now) < expiring:
			j.What, j.Due = v.words.t("An agent expires soon"), a.Expires
		case st == registry.AgentQuarantined:
			j.What, j.Since = v.words.t("An agent is quarantined"), a.Changed
		default:
			continue
		}
		out = append(out, j)
	}
	return first(out, v.now, maxJobs)
}

// severityBars are open findings by severity, nil where there are none.
func severityBars(v *visit, list []finding.Finding) []bar {
	if len(list) == 0 {
		return nil
	}
	n := map[finding.Severity]int{}
	for i := range list {
		n[list[i].Severity]++
	}
	return shares([]bar{{Label: v.words.t("critical"), Class: "bad", N: n[finding.Critical]}, {Label: v.words.t("high"), Class: "wait", N: n[finding.High]},
		{Label: v.words.t("medium"), Class: "good", N: n[finding.Medium]}, {Label: v.words.t("low"), Class: "off", N: n[finding.Low]}, {Label: v.words.t("info"), Class: "none", N: n[finding.Info]}}, len(list))
}
