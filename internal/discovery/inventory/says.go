package inventory

import (
	"maps"
	"slices"
	"strings"

	"rutile/internal/discovery"
	"rutile/internal/finding"
)

// ofServer are rules about the thing itself, which is one however many machines
// have it. Those of other rules are about a place.
var ofServer = []discovery.Rule{discovery.Unpinned, discovery.LookalikeName, discovery.KnownVulnerable, discovery.RegistryDeprecated, discovery.RegistryDeleted, discovery.OpenServer, discovery.OriginNotChecked, discovery.PoisonedCard}

// SourceOf is whom findings of a source at a host are held by.
func SourceOf(host, source string) string { return "host:" + host + "/" + source }

// placeOf is where something is, in one line that tells hosts and users apart.
func placeOf(host, user string, p discovery.Place) string {
	out := place(host, user, p.Path)
	if p.Pointer != "" {
		out += " " + p.Pointer
	}
	if p.Address != "" {
		out += " " + p.Address
	}
	return clipped(out)
}

func place(host, user, path string) string {
	if user != "" {
		host += "/" + user
	}
	return host + ":" + path
}

// clipped bounds a place: both databases index it.
func clipped(s string) string {
	if len(s) > maxKey {
		return strings.ToValidUTF8(s[:maxKey-32], "") + "…" + idOf("", s)
	}
	return s
}

// Says is what the findings of a batch say, by source, with what each covers.
func (t *Taking) Says(kept Kept, covered Covered) []finding.Says {
	bySource := map[string]*finding.Says{}
	said := func(source string) *finding.Says {
		id := SourceOf(t.Batch.Host, source)
		if bySource[id] == nil {
			bySource[id] = &finding.Says{Source: id, At: t.Now, Covers: t.covers(source, kept, covered)}
		}
		return bySource[id]
	}
	for _, s := range t.Batch.Sources {
		said(s)
	}
	for i := range t.Batch.Findings {
		f := &t.Batch.Findings[i]
		s := said(f.Source)
		s.Raised = append(s.Raised, t.raised(f))
	}
	var out []finding.Says
	for _, id := range slices.Sorted(maps.Keys(bySource)) {
		out = append(out, *bySource[id])
	}
	return out
}

func (t *Taking) raised(f *discovery.Finding) finding.Raised {
	at := placeOf(t.Batch.Host, f.User, f.Place)
	r := finding.Raised{
		Rule: string(f.Rule), Subject: finding.Subject{Kind: finding.SubjectFound, ID: Key(t.Batch.Host, f.Key)}, Place: at,
		Severity: f.Severity, Why: f.Why, Evidence: f.Evidence, Next: f.Next,
	}
	switch {
	case f.Key == "":
		r.Subject = finding.Subject{Kind: finding.SubjectFile, ID: clipped(place(t.Batch.Host, f.User, f.Place.Path))}
	case slices.Contains(ofServer, f.Rule):
		r.Place = ""
	}
	return r
}

// covers tells of a finding that a source of this host holds and does not raise
// this time whether it looked.
func (t *Taking) covers(source string, kept Kept, covered Covered) func(*finding.Finding) bool {
	if slices.Contains(comparing, source) {
		return t.compared(source, kept, covered)
	}
	read, left, unsure := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for at, ok := range covered.places {
		if at.source == source {
			read[clipped(place(covered.host, at.user, at.place))] = ok
		}
	}
	for _, s := range kept.Sightings {
		if s.Source != source {
			continue
		}
		path := clipped(place(covered.host, s.User, s.Place.Path))
		if _, said := read[path]; said {
			if !read[path] {
				unsure[s.Server] = true
			}
			continue
		}
		if covered.Sighting(&s) || !s.Gone.IsZero() {
			left[path] = true
		} else {
			unsure[s.Server] = true
		}
	}
	for at := range covered.seen { // what the batch itself shows was looked at
		if path := clipped(place(covered.host, at.user, at.place)); at.source == source {
			if _, said := read[path]; !said {
				left[path] = true
			}
		}
	}
	return func(f *finding.Finding) bool {
		if f.Place == "" {
			return !unsure[f.Subject.ID]
		}
		for end := len(f.Place); end > 0; end = strings.LastIndexByte(f.Place[:end], ' ') {
			at := f.Place[:end]
			if ok, said := read[at]; said {
				return ok
			}
			if left[at] || covered.wholly(source, at) {
				return true
			}
		}
		return false
	}
}

// comparing are the sources that see nothing themselves and compare what others
// saw with copies of public data.
var comparing = []string{"registry", "vulnerabilities"}

// compared tells of a finding of a source that compares whether it looked: where
// its copy was read, at every server of which nothing is left out that was seen.
func (t *Taking) compared(source string, kept Kept, covered Covered) func(*finding.Finding) bool {
	read, unsure := false, map[string]bool{}
	for i := range t.Batch.Coverage {
		if v := &t.Batch.Coverage[i]; v.Source == source {
			if v.Outcome != discovery.Read {
				return func(*finding.Finding) bool { return false }
			}
			read = true
		}
	}
	for _, s := range kept.Sightings {
		if s.Gone.IsZero() && !covered.Sighting(&s) {
			unsure[s.Server] = true
		}
	}
	return func(f *finding.Finding) bool { return read && t.Batch.Dropped == 0 && !unsure[f.Subject.ID] }
}

// SourceAccount is what one source of a run did, for evidence.
type SourceAccount struct {
	Sightings int              `json:"sightings"`
	Findings  int              `json:"findings"`
	Places    discovery.Counts `json:"places"`
}

// RunAccount is what a run did, for evidence: counts, and no name of what it saw.
type RunAccount struct {
	Batch       string                    `json:"batch"`
	Device      string                    `json:"device,omitempty"`
	Version     string                    `json:"version"`
	System      string                    `json:"system"`
	Sources     map[string]*SourceAccount `json:"sources"`
	Agents      int                       `json:"agents"`
	Credentials int                       `json:"credentials"`
	Interrupted bool                      `json:"interrupted,omitempty"`
	Dropped     int                       `json:"dropped,omitempty"`
	Result      Result                    `json:"result"`
}

// Account is the account of a batch.
func Account(b *Batch, r *Result) RunAccount {
	out := RunAccount{Batch: b.ID, Device: b.Device, Version: b.Rutile, System: b.System, Sources: map[string]*SourceAccount{}, Agents: len(b.Agents), Credentials: len(b.Credentials), Interrupted: b.Interrupted, Dropped: b.Dropped, Result: *r}
	of := func(source string) *SourceAccount {
		if out.Sources[source] == nil {
			out.Sources[source] = &SourceAccount{Places: discovery.Counts{}}
		}
		return out.Sources[source]
	}
	for _, s := range b.Sources {
		of(s)
	}
	for i := range b.Sightings {
		of(b.Sightings[i].Source).Sightings++
	}
	for i := range b.Findings {
		of(b.Findings[i].Source).Findings++
	}
	for i := range b.Coverage {
		of(b.Coverage[i].Source).Places[b.Coverage[i].Outcome]++
	}
	return out
}
