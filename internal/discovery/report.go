package discovery

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Server is one thing that was found, however often and under whatever names.
type Server struct {
	Key   string   `json:"key"` // canonical
	Kind  Kind     `json:"kind"`
	Names []string `json:"names,omitempty"` // entries call it so: text to show
	// Facts are what was seen of it, with the time each was seen last.
	Facts map[Fact]time.Time `json:"facts"`
	// Score is how sure it is that there is such a server, 0 to 1: the strengths of
	// independent sources drawn together.
	Score float64 `json:"score"`
	// Registered is its id at the gateway, "" if it has none.
	Registered string `json:"registered,omitempty"`
	State      string `json:"state,omitempty"` // at the gateway
	// Status says in one word where it stands: shadow, bypass, routed, registered.
	Status   Status      `json:"status"`
	Why      []string    `json:"why,omitempty"`
	Scopes   []DataScope `json:"dataScopes,omitempty"`
	Variants []Variant   `json:"variants"`
	Findings []string    `json:"findings,omitempty"` // ids
	Worst    Severity    `json:"worst,omitempty"`    // of its findings
}

// Status is where a found server stands.
type Status string

// The statuses.
const (
	StatusShadow   Status = "shadow"   // found, not registered
	StatusBypass   Status = "bypass"   // registered, and not gone through
	StatusRouted   Status = "routed"   // every place it was seen in goes through Rutile
	StatusDisabled Status = "disabled" // configured, and switched off everywhere
	StatusSource   Status = "source"   // its source code was seen, and nothing that uses it
	// StatusRegistered is a registered server that answers where it is, and was seen
	// nowhere else.
	StatusRegistered Status = "registered"
)

// Variant is one way a server is started or reached.
type Variant struct {
	ID        string     `json:"id"`
	Target    Target     `json:"target"`
	Sightings []Sighting `json:"sightings"`
}

// Report is what a run found, ready to show or to keep.
type Report struct {
	Version     int          `json:"version"` // of this form
	Started     time.Time    `json:"started"`
	Ended       time.Time    `json:"ended"`
	Interrupted bool         `json:"interrupted,omitempty"`
	Registry    string       `json:"registry"` // what it was compared with, or why with nothing
	Servers     []Server     `json:"servers"`
	Agents      []Agent      `json:"agents"`
	Credentials []Credential `json:"credentials"`
	Findings    []Finding    `json:"findings"`
	Coverage    []Coverage   `json:"coverage"`
	Counts      Counts       `json:"counts"`
	Copies      []Copy       `json:"copies,omitempty"`     // of public data it was compared with
	Identified  []Identified `json:"identified,omitempty"` // what they say
	Dropped     int          `json:"dropped,omitempty"`
}

// reportVersion is the version of the form of a Report.
const reportVersion = 1

// Report draws sightings together and compares them with what is registered.
func (s *Seen) Report(reg Registry) *Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &Report{Version: reportVersion, Started: s.Started, Ended: s.Ended, Interrupted: s.Interrupted, Registry: reg.Says, Coverage: s.Coverage, Copies: s.Copies, Identified: s.Identified, Dropped: s.Dropped, Counts: Counts{}}
	byKey := map[string]*Server{}
	var resolved []Sighting
	for _, one := range s.Sightings {
		one = reg.Resolve(one)
		resolved = append(resolved, one)
		srv := byKey[one.Target.Key]
		if srv == nil {
			srv = &Server{Key: one.Target.Key, Kind: one.Target.Kind, Facts: map[Fact]time.Time{}}
			byKey[one.Target.Key] = srv
		}
		srv.add(one)
	}
	findings := slices.Clone(s.Findings)
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		srv := byKey[key]
		srv.settle()
		findings = append(findings, reg.judge(srv)...)
		r.Servers = append(r.Servers, *srv)
	}
	r.Findings = distinct(findings)
	r.attach()
	r.Credentials = CredentialsOf(s.Credentials, resolved)
	r.Agents = agents(s.Agents)
	for _, c := range r.Coverage {
		r.Counts[c.Outcome]++
	}
	return r
}

// add adds a sighting to its variant.
func (s *Server) add(one Sighting) {
	id := digest("var", one.Target.Identity()...)
	i := slices.IndexFunc(s.Variants, func(v Variant) bool { return v.ID == id })
	if i < 0 {
		i = len(s.Variants)
		s.Variants = append(s.Variants, Variant{ID: id, Target: one.Target})
	}
	s.Variants[i].Sightings = append(s.Variants[i].Sightings, one)
}

// Identity is what makes two ways to start a server the same variant.
func (t Target) Identity() []string {
	words := []string{t.Key, t.Transport, t.Package, t.Version, t.Command, t.URL, "launchers"}
	words = append(append(words, t.Launchers...), "args")
	return append(words, t.Args...)
}

// settle puts what is below a server in order and draws it together.
func (s *Server) settle() {
	strengths := map[string]float64{}
	var scopes []DataScope
	slices.SortFunc(s.Variants, func(a, b Variant) int { return cmp.Compare(a.ID, b.ID) })
	for _, v := range s.Variants {
		slices.SortFunc(v.Sightings, func(a, b Sighting) int {
			return cmp.Or(cmp.Compare(a.Place.String(), b.Place.String()), cmp.Compare(a.ID, b.ID))
		})
		for _, one := range v.Sightings {
			if one.Name != "" {
				s.Names = append(s.Names, one.Name)
			}
			if one.LastSeen.After(s.Facts[one.Fact]) {
				s.Facts[one.Fact] = one.LastSeen
			}
			strengths[one.Source] = max(strengths[one.Source], one.Strength)
			s.Why = append(s.Why, one.Why...)
			scopes = append(scopes, one.Scopes...)
		}
	}
	s.Names, s.Why = sorted(s.Names), sorted(s.Why)
	slices.SortFunc(scopes, func(a, b DataScope) int { return cmp.Compare(a.Name, b.Name) })
	s.Scopes = slices.CompactFunc(scopes, func(a, b DataScope) bool { return a.Name == b.Name })
	miss := 1.0
	for _, k := range slices.Sorted(maps.Keys(strengths)) {
		miss *= 1 - strengths[k]
	}
	s.Score = 1 - miss
}

// Sightings are all sightings of a server.
func (s *Server) Sightings() []Sighting {
	var all []Sighting
	for _, v := range s.Variants {
		all = append(all, v.Sightings...)
	}
	return all
}

// distinct keeps one finding for each rule, key and place, the worst first.
func distinct(findings []Finding) []Finding {
	byID := map[string]Finding{}
	for _, f := range findings {
		if had, ok := byID[f.ID]; !ok || f.Severity.AtLeast(had.Severity) && f.Severity != had.Severity {
			byID[f.ID] = f
		} else {
			had.Evidence = sorted(append(slices.Clone(had.Evidence), f.Evidence...))
			byID[f.ID] = had
		}
	}
	out := slices.Collect(maps.Values(byID))
	slices.SortFunc(out, func(a, b Finding) int {
		return cmp.Or(b.Severity.Rank()-a.Severity.Rank(), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Place.String(), b.Place.String()), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// attach tells servers of their findings.
func (r *Report) attach() {
	index := map[string]int{}
	for i, s := range r.Servers {
		index[s.Key] = i
	}
	for _, f := range r.Findings {
		if i, ok := index[f.Key]; ok && f.Key != "" {
			s := &r.Servers[i]
			s.Findings = append(s.Findings, f.ID)
			if s.Worst == "" || f.Severity.AtLeast(s.Worst) {
				s.Worst = f.Severity
			}
		}
	}
}

// CredentialsOf draws what servers are given together with what is kept by itself.
func CredentialsOf(kept []Credential, seen []Sighting) []Credential {
	byID := map[string]Credential{}
	add := func(c Credential) {
		id := digest("crd", c.Name, string(c.Kind), c.Shape, c.Where, c.Place.Path, c.User)
		if had, ok := byID[id]; ok {
			c.UsedBy = append(had.UsedBy, c.UsedBy...)
		}
		c.UsedBy = sorted(c.UsedBy)
		byID[id] = c
	}
	for _, c := range kept {
		add(c)
	}
	for i := range seen {
		one := &seen[i]
		for _, ref := range one.Secrets {
			if ref.counts() {
				at := one.Place
				at.Pointer, at.Line = "", 0
				add(Credential{Name: ref.Name, Kind: ref.Kind, Shape: ref.Shape, Where: ref.Where, Place: at, User: one.User, UsedBy: []string{one.Target.Key}})
			}
		}
	}
	out := slices.Collect(maps.Values(byID))
	slices.SortFunc(out, func(a, b Credential) int {
		return cmp.Or(cmp.Compare(a.Place.String(), b.Place.String()), cmp.Compare(a.Where, b.Where), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Shape, b.Shape))
	})
	return out
}

// agents keeps one for each client of each home.
func agents(all []Agent) []Agent {
	order := func(a, b Agent) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.Home, b.Home), cmp.Compare(a.User, b.User))
	}
	out := slices.Clone(all)
	slices.SortStableFunc(out, order)
	return slices.CompactFunc(out, func(a, b Agent) bool { return order(a, b) == 0 })
}

// Open are the findings at or above a severity.
func (r *Report) Open(from Severity) []Finding {
	var out []Finding
	for _, f := range r.Findings {
		if f.Severity.AtLeast(from) {
			out = append(out, f)
		}
	}
	return out
}

// Failed are the sources that could not look.
func (r *Report) Failed() []Coverage {
	var out []Coverage
	for _, c := range r.Coverage {
		if c.Outcome == Failed {
			out = append(out, c)
		}
	}
	return out
}
