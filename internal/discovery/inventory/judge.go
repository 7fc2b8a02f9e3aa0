package inventory

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/finding"
)

// SourceInventory holds what follows from comparing the inventory with the
// registry.
const SourceInventory = "inventory"

// guess is the score at or below which what is seen may as well be something else.
const guess = 0.5

// Group is a server with everything that counts as it.
type Group struct {
	Key       string
	Variants  map[string]Variant
	Sightings []Sighting
}

// Groups draws variants and sightings together.
func Groups(keys []string, variants []Variant, seen []Sighting, roots map[string]string) []Group {
	byKey := map[string]*Group{}
	for _, k := range keys {
		if root := Root(roots, k); byKey[root] == nil {
			byKey[root] = &Group{Key: root, Variants: map[string]Variant{}}
		}
	}
	for _, v := range variants {
		if g := byKey[Root(roots, v.Server)]; g != nil {
			g.Variants[v.ID] = v
		}
	}
	for i := range seen {
		if g := byKey[Root(roots, seen[i].Server)]; g != nil {
			g.Sightings = append(g.Sightings, seen[i])
		}
	}
	var out []Group
	for _, k := range slices.Sorted(maps.Keys(byKey)) {
		g := byKey[k]
		slices.SortFunc(g.Sightings, func(a, b Sighting) int { return cmp.Or(strings.Compare(At(&a), At(&b)), strings.Compare(a.ID, b.ID)) })
		out = append(out, *g)
	}
	return out
}

// At is the place of a sighting, as findings name it.
func At(s *Sighting) string { return placeOf(s.Host, s.User, s.Place) }

// Judge says what is wrong with where a server stands (discovery.md 15 and 17).
// What was last seen before missing is not looked at.
func (g *Group) Judge(reg discovery.Registry, roots map[string]string, missing time.Time) []finding.Raised {
	j := judging{g: g, about: finding.Subject{Kind: finding.SubjectFound, ID: g.Key}}
	for i := range reg.Servers {
		if r := &reg.Servers[i]; r.Key != "" && Root(roots, r.Key) == g.Key && (j.reg == nil || j.reg.State == "retired") {
			j.reg = r
		}
	}
	routed := 0
	for i := range g.Sightings {
		s := &g.Sightings[i]
		switch {
		case !s.Gone.IsZero(), s.Last.Before(missing):
			continue
		case s.Disabled, s.Fact == discovery.Sourced:
			continue
		}
		j.live = append(j.live, s)
		switch {
		case s.Routed:
			routed++
		case s.Fact == discovery.Used:
			j.traffic = append(j.traffic, s)
		case s.Fact == discovery.Reachable && j.reg != nil: // a registered server answers where it is
		default:
			j.direct = append(j.direct, s)
		}
	}
	if j.reg != nil && j.reg.State == "retired" {
		j.retired()
		return j.out
	}
	j.passing()
	switch {
	case len(j.direct) == 0:
	case j.reg != nil || routed > 0:
		j.bypass()
	default:
		j.shadow()
	}
	return j.out
}

type judging struct {
	g       *Group
	about   finding.Subject
	reg     *discovery.Registered // nil if it is not registered
	live    []*Sighting
	direct  []*Sighting
	traffic []*Sighting
	out     []finding.Raised
}

func (j *judging) raise(rule discovery.Rule, severity finding.Severity, place, why, next string, evidence []string) {
	tier := 0
	if j.reg != nil {
		tier = j.reg.Tier
	}
	j.out = append(j.out, finding.Raised{Rule: string(rule), Subject: j.about, Place: place, Severity: severity, Tier: tier, Why: why, Next: next, Evidence: evidence})
}

// retired is one finding for a server that is at an end and still there, with every
// place. It says more than that it is gone past, so nothing says that too.
func (j *judging) retired() {
	var evidence []string
	for _, s := range j.live {
		evidence = append(evidence, s.Source+" "+At(s))
	}
	if len(evidence) > 0 {
		j.raise(discovery.Reappeared, finding.High, "", "retired as "+j.reg.ID+", and seen again: "+At(j.live[0]), "remove it where it was seen, or register it anew under another id", evidence)
	}
}

// passing are requests that did not come from the gateway.
func (j *judging) passing() {
	for _, s := range j.traffic {
		if j.reg == nil {
			j.raise(discovery.UnregisteredTraffic, finding.Medium, At(s), "requests to a server that is not in the registry", "find who needs it, write a Server manifest with an owner and apply it, or close the way to it", s.Why)
			continue
		}
		j.raise(discovery.BypassTraffic, j.graded(), At(s), j.standing()+", and these requests did not come from the gateway", "route the clients through /mcp/"+j.reg.ID+", and let the network refuse the direct way", s.Why)
	}
}

// graded is how grave it is to go past a registered server: past what is controlled,
// or past the decision that it must not be used.
func (j *judging) graded() finding.Severity {
	if j.reg != nil && (j.reg.State == "sanctioned" || j.stopped()) {
		return finding.High
	}
	return finding.Medium
}

// stopped reports whether nobody may use the registered server.
func (j *judging) stopped() bool {
	return j.reg != nil && (j.reg.State == "blocked" || j.reg.State == "quarantined")
}

func (j *judging) bypass() {
	why, next := "a direct entry beside one that goes through Rutile", "replace the entry's command by: rutile connect SERVER"
	if j.reg != nil {
		why, next = "registered as "+j.reg.ID+", and this entry does not go through Rutile", "replace the entry's command by: rutile connect "+j.reg.ID
	}
	if j.stopped() {
		why, next = j.standing()+", and this entry starts it all the same", "remove the entry"
	}
	for _, s := range j.direct {
		j.raise(discovery.BypassEntry, j.graded(), At(s), why, next, nil)
		if j.reg == nil {
			continue
		}
		if severity, what := drifted(&j.reg.Target, j.g.Variants[s.Variant].Target); what != "" {
			j.raise(discovery.Drifted, severity, At(s), "registered as "+j.reg.ID+", and what runs here is something else: "+what, "have the entry say what is registered, or register what it says: rutile apply -f FILE", nil)
		}
	}
}

// drifted says how what is seen differs from what is registered, "" if it does
// not (discovery.md 17).
func drifted(reg *discovery.Target, seen discovery.Target) (finding.Severity, string) {
	var what []string
	severity := finding.Low
	if reg.Version != seen.Version {
		what = append(what, "version "+cmp.Or(seen.Version, "none")+" for "+cmp.Or(reg.Version, "none"))
	}
	if reg.URL != seen.URL {
		severity, what = finding.High, append(what, "another address")
	}
	if !slices.Equal(reg.Args, seen.Args) && reg.Kind != discovery.KindRemote {
		severity, what = cmpWorse(severity, finding.Medium), append(what, "other arguments")
	}
	if reg.Command != seen.Command && reg.Package == "" {
		severity, what = cmpWorse(severity, finding.Medium), append(what, "another command")
	}
	return severity, strings.Join(what, ", ")
}

func cmpWorse(a, b finding.Severity) finding.Severity {
	if b.AtLeast(a) {
		return b
	}
	return a
}

// standing is how the registered server stands, in a few words.
func (j *judging) standing() string {
	if j.stopped() {
		return j.reg.State + " as " + j.reg.ID
	}
	return "registered as " + j.reg.ID
}

// shadow is one finding for a server nobody registered.
func (j *judging) shadow() {
	severity, why := finding.Medium, "found, and not in the registry"
	runs, answers, miss := false, false, map[string]float64{}
	var evidence []string
	for _, s := range j.direct {
		runs, answers = runs || s.Fact == discovery.Running, answers || s.Fact == discovery.Reachable
		miss[s.Host+s.Source] = max(miss[s.Host+s.Source], s.Strength)
		evidence = append(evidence, s.Source+" "+At(s))
	}
	left := 1.0
	for _, k := range slices.Sorted(maps.Keys(miss)) {
		left *= 1 - miss[k]
	}
	switch {
	case (runs || answers) && 1-left <= guess:
		why += "; something runs that may be it"
	case runs:
		severity, why = finding.High, why+"; it runs"
	case answers:
		severity, why = finding.High, why+"; it answers"
	}
	j.raise(discovery.ShadowServer, severity, "", why, "write a Server manifest with an owner and apply it: rutile apply -f FILE", evidence)
}
