package console

import (
	"time"

	"rutile/internal/admin"
	"rutile/internal/compliance"
	"rutile/internal/finding"
)

// compliancePeriod is how far back the page looks that is asked for no other time.
const compliancePeriod = 90 * 24 * time.Hour

// compliancePage is what of a framework's controls Rutile does. Its texts are those of
// the report: they are translated where they are shown.
type compliancePage struct {
	compliance.Report
	Frameworks []filter
	Fields     []searchField
	Command    string // makes the same report as a file
}

func (c *Console) compliance(v *visit) (any, error) {
	id := v.q.Get("framework")
	if id == "" {
		id = compliance.Frameworks()[0]
	}
	since, err := moment(v, "since")
	if err != nil {
		return nil, err
	}
	until, err := moment(v, "until")
	if err != nil {
		return nil, err
	}
	if until.IsZero() {
		until = v.now
	}
	if since.IsZero() {
		since = until.Add(-compliancePeriod)
	}
	found, err := c.work.Inventory.List(v.Context(), admin.InventoryFilter{})
	if err != nil {
		return nil, err
	}
	open, err := c.work.Findings.List(v.Context(), finding.Filter{State: finding.Open})
	if err != nil {
		return nil, err
	}
	present := compliance.NewPresent(v.now, c.admin.Current().View, found, open)
	r, err := compliance.New(v.Context(), c.work.Evidence, &present, id, since, until)
	if err != nil {
		return nil, err
	}
	p := compliancePage{Report: r, Fields: []searchField{{"since", v.words.t("Since"), v.q.Get("since")}, {"until", v.words.t("Until"), v.q.Get("until")}}}
	for _, f := range compliance.Frameworks() {
		p.Frameworks = append(p.Frameworks, filter{Label: compliance.Title(f), URL: with(v, "framework", f), Here: f == id})
	}
	p.Command = "rutile report compliance --framework " + id + " --since " + r.Since.Format(time.RFC3339Nano) + " --until " + r.Until.Format(time.RFC3339Nano) + " -o html > " + id + ".html"
	return p, nil
}
