package compliance

import (
	"net/url"
	"strings"
	"time"

	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
	"rutile/internal/registry"
)

// List is what a query counts.
type List string

// Lists. The evidence is of a period; the others are as they are when the report is made.
const (
	Events      List = "" // the evidence
	Servers     List = "server"
	Agents      List = "agent"
	Definitions List = "tool"
	Found       List = "inventory"
	Findings    List = "finding"
)

// Present is what the lists hold when a report is made, each whole.
type Present struct {
	At       time.Time
	Servers  []registry.Server
	Agents   []registry.Agent
	Tools    []registry.Tool
	Found    []inventory.Entry
	Findings []finding.Finding // those that are open
}

// NewPresent is what the registry, the inventory and the open findings hold.
func NewPresent(at time.Time, view *registry.View, found []inventory.Entry, open []finding.Finding) Present {
	p := Present{At: at, Servers: view.Servers(), Agents: view.Agents(), Found: found, Findings: open}
	for i := range p.Servers {
		p.Tools = append(p.Tools, view.Tools(p.Servers[i].ID)...)
	}
	return p
}

// count returns how many of a list a query selects, as the list of the same name does.
func (p *Present) count(q Query) int {
	switch q.Of {
	case Servers:
		return selected(p.Servers, func(s *registry.Server) bool { return q.State == "" || q.State == string(s.State) })
	case Agents:
		return selected(p.Agents, func(a *registry.Agent) bool {
			return q.State == "" || q.State == string(registry.AgentStatus(*a, p.At))
		})
	case Definitions:
		return selected(p.Tools, func(t *registry.Tool) bool { return q.State == "" || q.State == string(t.State) })
	case Found:
		return selected(p.Found, func(e *inventory.Entry) bool {
			return (q.Status == "" || q.Status == string(e.Status)) && (!q.Unowned || e.Owner == "")
		})
	default:
		return selected(p.Findings, func(f *finding.Finding) bool {
			return (q.Severity == "" || f.Severity.AtLeast(finding.Severity(q.Severity))) && (!q.Overdue || f.Overdue(p.At))
		})
	}
}

func selected[T any](list []T, is func(*T) bool) int {
	n := 0
	for i := range list {
		if is(&list[i]) {
			n++
		}
	}
	return n
}

// figure is what a query counts at present. Definitions have no page of their own: only
// the command lists those of all servers.
func (p *Present) figure(q Query) Figure {
	f := Figure{Count: p.count(q), Query: q}
	v, words := url.Values{}, []string{"rutile", string(q.Of), "list", "--count"}
	for _, x := range []struct{ key, flag, value string }{{"state", "state", q.State}, {"status", "status", q.Status}, {"from", "severity", q.Severity}} {
		if x.value != "" {
			v.Set(x.key, x.value)
			words = append(words, "--"+x.flag, x.value)
		}
	}
	if q.Unowned {
		v.Set("unowned", "true")
		words = append(words, "--unowned")
	}
	if q.Overdue {
		v.Set("due", "overdue")
		words = append(words, "--overdue")
	}
	f.Command = strings.Join(words, " ")
	if place := map[List]string{Servers: "servers", Agents: "agents", Found: "inventory", Findings: "findings"}[q.Of]; place != "" {
		f.Console = "/console/" + place
		if len(v) > 0 {
			f.Console += "?" + v.Encode()
		}
	}
	return f
}
