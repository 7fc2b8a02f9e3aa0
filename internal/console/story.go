package console

import (
	"cmp"
	"net/url"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// Bounds of what is told around a call.
const (
	maxChain  = 8   // grants, from the one it was permitted under up
	maxAround = 100 // changes
)

// chainLink is one step of how a call came to be permitted.
type chainLink struct{ Label, Text, URL string }

// around tells what led to a call and what ended it: whom it was for, the grants it
// stood on from the first down, and every change of those, of the requests they came
// from, and of what was revoked while it ran.
func (c *Console) around(v *visit, row *audit.Row) (chain []chainLink, changes []audit.Row, err error) {
	if row.Agent == "" {
		return nil, nil, nil
	}
	add := func(label, text, url string) {
		if text != "" {
			chain = append(chain, chainLink{v.words.t(label), line(text), url})
		}
	}
	add("Person", row.Subject, at("evidence")+"?subject="+url.QueryEscape(row.Subject))
	add("Agent", row.Agent, at("agents", row.Agent))
	add("Task", row.Task, at("evidence")+"?task="+url.QueryEscape(row.Task))
	var names []string
	var grants []chainLink
	for id := row.Grant; id != "" && len(grants) < maxChain; {
		names = append(names, id)
		g, err := c.desk.Grant(v.Context(), id)
		if access.CodeOf(err) == access.CodeNotFound {
			grants = append(grants, chainLink{v.words.t("Grant"), line(id), ""})
			break
		}
		if err != nil {
			return nil, nil, err
		}
		grants = append(grants, chainLink{v.words.t("Grant"), line(id) + " (" + v.words.t(string(g.State)) + ")", at("grants", id)})
		if g.Request != "" {
			names = append(names, g.Request)
			grants = append(grants, chainLink{v.words.t("Request"), line(g.Request), "/approve/" + url.QueryEscape(g.Request)})
		}
		id = g.Parent
	}
	slices.Reverse(grants)
	chain = append(chain, grants...)
	add("Decision", row.Decision, "")
	for _, name := range names {
		changes, err = c.changes(v, changes, audit.Query{Text: name})
		if err != nil {
			return nil, nil, err
		}
	}
	if row.Status == string(audit.StatusRevoked) || row.Status == string(audit.StatusLateResult) {
		changes, err = c.changes(v, changes, audit.Query{Types: []string{"revocation", "receipt"}, Since: row.At, Until: row.Ended.Add(time.Second)})
	}
	slices.SortFunc(changes, func(a, b audit.Row) int { return cmp.Compare(a.Index, b.Index) })
	changes = slices.CompactFunc(changes, func(a, b audit.Row) bool { return a.Index == b.Index })
	return chain, changes[:min(len(changes), maxAround)], err
}

// changes adds the changes a query finds to those that are known.
func (c *Console) changes(v *visit, known []audit.Row, q audit.Query) ([]audit.Row, error) {
	if len(q.Types) == 0 {
		q.Types = []string{"admin", "revocation", "receipt"}
	}
	q.Limit = maxAround
	rows, err := c.work.Evidence.Search(v.Context(), q)
	return append(known, rows...), err
}
