package export

import (
	"net/url"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
)

// vulnerabilities are the records of an offline copy that what was found matches.
// Nobody has judged them, so they wait (in_triage), whoever muted the finding for
// whatever reason, which is told.
func (b *bom) vulnerabilities() []cdx.Vulnerability {
	roots := b.s.roots()
	var out []cdx.Vulnerability
	for i := range b.s.Findings {
		f := &b.s.Findings[i]
		key := inventory.Root(roots, f.Subject.ID)
		if f.Rule != string(discovery.KnownVulnerable) || f.Subject.Kind != finding.SubjectFound || len(b.refs[key]) == 0 {
			continue
		}
		for _, said := range f.Evidence {
			id, severity, ok := record(said)
			if !ok {
				continue
			}
			analysis := &cdx.VulnerabilityAnalysis{State: cdx.IASInTriage, FirstIssued: stamp(f.First), LastUpdated: stamp(f.Changed)}
			if f.State == finding.Muted && f.Mute != nil {
				analysis.Detail = "left alone until " + stamp(f.Mute.Until) + ": " + shown(f.Mute.Why)
			}
			out = append(out, cdx.Vulnerability{
				BOMRef: ref("vulnerability", f.ID, id), ID: shown(id), Source: &cdx.Source{Name: "OSV", URL: "https://osv.dev/vulnerability/" + url.PathEscape(shown(id))},
				Ratings: &[]cdx.VulnerabilityRating{{Severity: severity, Method: cdx.ScoringMethodOther}}, Description: shown(f.Why), Recommendation: shown(f.Next), Detail: shown(said),
				Analysis: analysis, Affects: some(b.affected(key, f.Why)), Properties: &[]cdx.Property{{Name: "rutile:finding", Value: f.ID}},
			})
		}
	}
	return out
}

// record reads the id and severity of a record, as they are told in evidence:
// "GHSA-… (high, fixed in 1.2.3)".
func record(said string) (string, cdx.Severity, bool) {
	id, rest, ok := strings.Cut(said, " (")
	if !ok || id == "" {
		return "", "", false
	}
	word, _, _ := strings.Cut(strings.TrimSuffix(rest, ")"), ",")
	if slices.Contains(finding.Severities(), finding.Severity(word)) {
		return id, cdx.Severity(word), true
	}
	return id, cdx.SeverityUnknown, true
}

// affected are the parts that stand for a server: the version a finding names is
// affected, of others it does not say so.
func (b *bom) affected(key, why string) []cdx.Affects {
	var out []cdx.Affects
	for i := range b.components {
		c := &b.components[i]
		if !slices.Contains(b.refs[key], c.BOMRef) {
			continue
		}
		status := cdx.VulnerabilityStatusUnknown
		if c.Version != "" && strings.Contains(why, " "+c.Version+" is affected") {
			status = cdx.VulnerabilityStatusAffected
		}
		version := c.Version
		if version == "" {
			version = "*"
		}
		out = append(out, cdx.Affects{Ref: c.BOMRef, Range: &[]cdx.AffectedVersions{{Version: version, Status: status}}})
	}
	return out
}

// annotations are what else is wrong: no vulnerability in the sense of the format,
// and worth knowing beside what it is about.
func (b *bom) annotations() []cdx.Annotation {
	roots := b.s.roots()
	var out []cdx.Annotation
	for i := range b.s.Findings {
		f := &b.s.Findings[i]
		if f.Rule == string(discovery.KnownVulnerable) {
			continue
		}
		subjects := []cdx.BOMReference{}
		switch f.Subject.Kind {
		case finding.SubjectFound:
			for _, r := range b.refs[inventory.Root(roots, f.Subject.ID)] {
				subjects = append(subjects, cdx.BOMReference(r))
			}
		case finding.SubjectServer:
			for j := range b.s.Servers {
				if e := &b.s.Servers[j]; e.Registered == f.Subject.ID {
					for _, r := range b.refs[e.Key] {
						subjects = append(subjects, cdx.BOMReference(r))
					}
				}
			}
		}
		if len(subjects) == 0 {
			continue
		}
		text := string(f.Severity) + " " + f.Rule + ": " + f.Why
		if f.State == finding.Muted {
			text += " (muted)"
		}
		out = append(out, cdx.Annotation{
			BOMRef: ref("finding", f.ID), Subjects: &subjects, Timestamp: stamp(f.Last), Text: shown(text),
			Annotator: &cdx.Annotator{Component: &cdx.Component{Type: cdx.ComponentTypeApplication, Name: "Rutile"}},
		})
	}
	return out
}
