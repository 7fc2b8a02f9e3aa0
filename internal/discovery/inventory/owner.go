package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"rutile/internal/discovery"
)

// OwnerSuggestion says who may answer for a server nobody owns, and why. It decides
// nothing: a person says who owns it.
type OwnerSuggestion struct {
	Server string `json:"server"`
	Name   string `json:"name,omitempty"`
	// Owner is a registered user or team, "" where whoever is meant is not registered.
	Owner  string `json:"owner,omitempty"`
	Handle string `json:"handle,omitempty"` // as a repository has it
	Rule   string `json:"rule"`
	Why    string `json:"why"`
	Places int    `json:"places"` // that say so
	Rank   int    `json:"rank"`   // among those for the server, 1 for the likeliest
}

// The rules of suggested owners. What a public registry or a server says of itself
// is none.
const (
	RuleCodeOwners = "codeowners" // a repository says who owns the file
	RuleAccount    = "account"    // it is in the configuration of a registered user
)

// maxOwners bounds how many are suggested for one server.
const maxOwners = 3

// People are who may own something, as the registry has them.
type People struct {
	// Known reports whether a registered, active user or team has this id.
	Known func(id string) bool
	// Accounts are registered users by the pseudonym of their account at Host.
	Accounts map[string]string
	Host     string
}

// SuggestOwners proposes owners for servers nobody owns, by what was seen of them and
// is there still; for each the likeliest first.
func SuggestOwners(all []Entry, seen []Sighting, roots map[string]string, p People) []OwnerSuggestion {
	open := map[string]*Entry{}
	for i := range all {
		if all[i].Owner == "" && all[i].Status != StatusGone {
			open[all[i].Key] = &all[i]
		}
	}
	type about struct{ server, rule, who string }
	counts := map[about]int{}
	for i := range seen {
		s := &seen[i]
		e := open[Root(roots, s.Server)]
		if e == nil || !s.Gone.IsZero() {
			continue
		}
		for _, h := range s.CodeOwners {
			counts[about{e.Key, RuleCodeOwners, h}]++
		}
		if who := p.Accounts[s.User]; who != "" && s.Host == p.Host && s.Fact == discovery.Configured && s.User != "" {
			counts[about{e.Key, RuleAccount, who}]++
		}
	}
	by := map[string][]OwnerSuggestion{}
	for a, n := range counts {
		o := OwnerSuggestion{Server: a.server, Rule: a.rule, Places: n}
		if len(open[a.server].Names) > 0 {
			o.Name = open[a.server].Names[0]
		}
		switch a.rule {
		case RuleCodeOwners:
			o.Handle, o.Why = "@"+a.who, "CODEOWNERS of a repository it is in names @"+a.who
			if id := idOfHandle(a.who); p.Known(id) {
				o.Owner = id
			}
		case RuleAccount:
			o.Owner, o.Why = a.who, fmt.Sprintf("it is in %d places of the configuration of %s", n, a.who)
		}
		by[a.server] = append(by[a.server], o)
	}
	var out []OwnerSuggestion
	for i := range all {
		list := by[all[i].Key]
		slices.SortFunc(list, likelier)
		for n := range list[:min(len(list), maxOwners)] {
			list[n].Rank = n + 1
			out = append(out, list[n])
		}
	}
	return out
}

// likelier orders suggestions: who can be chosen first, a repository's word before
// whose configuration it is, more places before fewer.
func likelier(a, b OwnerSuggestion) int {
	known := func(o OwnerSuggestion) int {
		if o.Owner != "" {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(known(a), known(b)), strings.Compare(b.Rule, a.Rule), cmp.Compare(b.Places, a.Places), strings.Compare(a.Owner, b.Owner), strings.Compare(a.Handle, b.Handle))
}

// idOfHandle is a handle as a user or team of the registry would be called: a team
// by its own name, without that of its organization.
func idOfHandle(h string) string {
	if i := strings.LastIndex(h, "/"); i >= 0 {
		h = h[i+1:]
	}
	return strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(h))
}
