package export

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
)

// The parts of SARIF 2.1.0 (OASIS, sections 3.13 to 3.35) that findings need.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool         `json:"tool"`
		Automation sarifAutomation   `json:"automationDetails"`
		ColumnKind string            `json:"columnKind"`
		Results    []sarifResult     `json:"results"`
		Properties map[string]string `json:"properties"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name  string      `json:"name"`
		Rules []sarifRule `json:"rules"`
	}
	sarifAutomation struct {
		ID string `json:"id"`
	}
	sarifRule struct {
		ID    string      `json:"id"`
		Short sarifText   `json:"shortDescription"`
		Level sarifConfig `json:"defaultConfiguration"`
	}
	sarifConfig struct {
		Level string `json:"level"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		Rule         string             `json:"ruleId"`
		Index        int                `json:"ruleIndex"`
		Level        string             `json:"level"`
		Message      sarifText          `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Fingerprints map[string]string  `json:"partialFingerprints"`
		Suppressions []sarifSuppression `json:"suppressions"` // none of a result is [] where others have some (3.27.23)
		Properties   sarifProperties    `json:"properties"`
	}
	sarifLocation struct {
		Physical *sarifPhysical `json:"physicalLocation,omitempty"`
		Logical  []sarifLogical `json:"logicalLocations"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		Line int `json:"startLine"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
	sarifSuppression struct {
		Kind          string            `json:"kind"`
		Status        string            `json:"status"`
		Justification string            `json:"justification"`
		Properties    map[string]string `json:"properties"`
	}
	sarifProperties struct {
		Severity string   `json:"severity"`
		Place    string   `json:"place,omitempty"`
		Owner    string   `json:"owner,omitempty"`
		Due      string   `json:"due,omitempty"`
		First    string   `json:"firstSeen"`
		Last     string   `json:"lastSeen"`
		Reopened int      `json:"reopened,omitempty"`
		Evidence []string `json:"evidence,omitempty"`
		Sources  []string `json:"sources,omitempty"`
	}
)

// maxLocations bounds those of one result: a finding about a server as a whole is
// at every place the server is at.
const maxLocations = 10

// sarif writes the findings that are not resolved.
func sarif(s *Snapshot, id string) ([]byte, error) {
	run := sarifRun{
		Tool: sarifTool{sarifDriver{Name: "Rutile", Rules: sarifRules(s.Findings)}}, Automation: sarifAutomation{"rutile-inventory/" + id},
		ColumnKind: "utf16CodeUnits", Results: make([]sarifResult, 0, len(s.Findings)), Properties: map[string]string{"snapshot": id},
	}
	places := placesOf(s)
	for i := range s.Findings {
		f := &s.Findings[i]
		index := slices.IndexFunc(run.Tool.Driver.Rules, func(r sarifRule) bool { return r.ID == shown(f.Rule) })
		run.Results = append(run.Results, sarifResult{
			Rule: shown(f.Rule), Index: index, Level: level(f.Severity), Message: sarifText{message(f)}, Locations: places.locations(f),
			Fingerprints: map[string]string{"rutileFinding/v1": f.ID, "canonicalKey/v1": shown(f.Subject.ID)}, Suppressions: suppressions(f),
			Properties: sarifProperties{
				Severity: string(f.Severity), Place: shown(f.Place), Owner: shown(f.Owner), Due: stamp(f.Due), First: stamp(f.First), Last: stamp(f.Last),
				Reopened: f.Reopened, Evidence: allShown(f.Evidence), Sources: allShown(f.Sources),
			},
		})
	}
	return document(sarifLog{Schema: "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}})
}

// document is JSON for people and machines, ending in a line break.
func document(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// sarifRules are the rules of findings, by id, each with the worst level it has.
func sarifRules(list []finding.Finding) []sarifRule {
	worst := map[string]finding.Severity{}
	for i := range list {
		f := &list[i]
		if had, ok := worst[f.Rule]; !ok || f.Severity.AtLeast(had) {
			worst[f.Rule] = f.Severity
		}
	}
	out := make([]sarifRule, 0, len(worst))
	for rule, severity := range worst {
		id := shown(rule)
		words := strings.ToLower(strings.ReplaceAll(id, "_", " "))
		out = append(out, sarifRule{ID: id, Short: sarifText{words}, Level: sarifConfig{level(severity)}})
	}
	slices.SortFunc(out, func(a, b sarifRule) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// level is the nearest of SARIF's levels (3.27.10). What nobody graded is an error.
func level(s finding.Severity) string {
	switch s {
	case finding.Info, finding.Low:
		return "note"
	case finding.Medium:
		return "warning"
	}
	return "error"
}

// message is one paragraph. Square brackets would be links in it (3.11.6).
func message(f *finding.Finding) string {
	text := f.Why
	if f.Next != "" {
		text += ". Next: " + f.Next
	}
	return strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`).Replace(shown(text))
}

func suppressions(f *finding.Finding) []sarifSuppression {
	if f.State != finding.Muted || f.Mute == nil {
		return []sarifSuppression{}
	}
	return []sarifSuppression{{Kind: "external", Status: "accepted", Justification: shown(f.Mute.Why), Properties: map[string]string{"by": shown(f.Mute.By), "until": stamp(f.Mute.Until)}}}
}

// places tell where findings are.
type places struct {
	at   map[string]*inventory.Sighting   // by the place a finding names
	of   map[string][]*inventory.Sighting // by server, those that are there
	root map[string]string                // of keys that were merged
}

func placesOf(s *Snapshot) places {
	p := places{map[string]*inventory.Sighting{}, map[string][]*inventory.Sighting{}, s.roots()}
	for i := range s.Sightings {
		x := &s.Sightings[i]
		if at := inventory.At(x); p.at[at] == nil {
			p.at[at] = x
		}
		if x.Gone.IsZero() {
			p.of[x.Server] = append(p.of[x.Server], x)
		}
	}
	return p
}

// locations are at least one: what a finding is about, and where in which file as
// far as that is known.
func (p places) locations(f *finding.Finding) []sarifLocation {
	about := []sarifLogical{{Name: shown(f.Subject.ID), Kind: shown(f.Subject.Kind)}}
	seen := p.of[inventory.Root(p.root, f.Subject.ID)]
	if f.Place != "" {
		seen = nil
		if x := p.at[f.Place]; x != nil {
			seen = []*inventory.Sighting{x}
		}
	}
	var out []sarifLocation
	for _, x := range seen {
		if x.Place.Path != "" && len(out) < maxLocations {
			out = append(out, sarifLocation{Physical: physical(x.Place.Path, x.Place.Line), Logical: about})
		}
	}
	if _, path, ok := strings.Cut(f.Subject.ID, ":"); ok && f.Subject.Kind == finding.SubjectFile && out == nil {
		out = append(out, sarifLocation{Physical: physical(path, 0), Logical: about})
	}
	if out == nil {
		out = append(out, sarifLocation{Logical: about})
	}
	return out
}

// physical is a file. Its path is a relative reference (RFC 3986), never another
// scheme or host.
func physical(path string, line int) *sarifPhysical {
	out := &sarifPhysical{Artifact: sarifArtifact{(&url.URL{Path: shown(path)}).String()}}
	if line > 0 {
		out.Region = &sarifRegion{line}
	}
	return out
}
