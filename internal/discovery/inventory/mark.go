package inventory

import (
	"slices"

	"rutile/internal/discovery"
)

// Mark is what a list says of one sighting besides that it is there: who has it and
// which source saw it.
type Mark struct {
	Server, Host, User, Source string
	Gone                       bool // or not seen for long
}

// Way is what a list says of one variant.
type Way struct{ Server, Transport string }

// Trait is something that is wrong with a server as long as a finding of it is open.
type Trait string

// The traits.
const (
	Unpinned   Trait = "unpinned"
	Vulnerable Trait = "vulnerable"
	Secret     Trait = "secret" // in clear where programs or logs can read it
)

// TraitOf is the trait a rule stands for, "" if it stands for none.
func TraitOf(rule string) Trait {
	switch discovery.Rule(rule) {
	case discovery.Unpinned:
		return Unpinned
	case discovery.KnownVulnerable:
		return Vulnerable
	case discovery.LiteralSecret, discovery.SecretInArgv, discovery.SecretInURL:
		return Secret
	default:
		return ""
	}
}

// Marked says of entries who has them, which sources saw them and by what transports
// they are reached. Entries are sorted by key, and what was merged counts as what it was
// merged into.
func Marked(all []Entry, marks []Mark, ways []Way, roots map[string]string) {
	index := make(map[string]*Entry, len(all))
	for i := range all {
		index[all[i].Key] = &all[i]
	}
	users := map[[3]string]bool{}
	for i := range marks {
		m := &marks[i]
		e := index[Root(roots, m.Server)]
		if e == nil || m.Gone {
			continue
		}
		if who := [3]string{e.Key, m.Host, m.User}; m.User != "" && !users[who] {
			users[who] = true
			e.Users++
		}
		e.Sources = with(e.Sources, m.Source)
	}
	for i := range ways {
		if e := index[Root(roots, ways[i].Server)]; e != nil {
			e.Ways++
			e.Transports = with(e.Transports, ways[i].Transport)
		}
	}
	for i := range all {
		slices.Sort(all[i].Sources)
		slices.Sort(all[i].Transports)
	}
}

// with is a list with one text more, once.
func with(list []string, s string) []string {
	if s == "" || slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
