package export_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	packageurl "github.com/package-url/packageurl-go"

	"rutile/internal/discovery"
	"rutile/internal/discovery/export"
	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
	"rutile/internal/schematest"
)

func cyclonedxSchema(t *testing.T) schematest.Schema {
	t.Helper()
	file := func(name string) string {
		return schematest.File(t, "github.com/CycloneDX/cyclonedx-go", "schema/"+name)
	}
	const at = "http://cyclonedx.org/schema/"
	return schematest.Compile(t, file("bom-1.7.schema.json"), map[string]string{
		at + "spdx.schema.json": file("spdx.schema.json"), at + "jsf-0.82.schema.json": file("jsf-0.82.schemax.json"), at + "cryptography-defs.schema.json": "testdata/cryptography-defs.schema.json",
	})
}

// decoded is a bill of materials as the format's own reader has it.
func decoded(t *testing.T, s *export.Snapshot, o export.Options) cdx.BOM {
	t.Helper()
	o.As = export.CycloneDX
	var b cdx.BOM
	if err := cdx.NewBOMDecoder(strings.NewReader(string(made(t, s, o).Bytes)), cdx.BOMFileFormatJSON).Decode(&b); err != nil {
		t.Fatal(err)
	}
	return b
}

// vulnerable has a record for a version of the first server, and another version
// that the finding says nothing of.
func vulnerable() *export.Snapshot {
	s := snapshot()
	two := s.Variants[0]
	two.ID, two.Target.Version, two.Target.Pinned = "var_latest", "latest", false
	s.Variants = append(s.Variants, two)
	about := finding.Subject{Kind: finding.SubjectFound, ID: "pkg:npm/notes"}
	s.Findings = append(s.Findings, finding.Finding{
		ID: finding.ID("KNOWN_VULNERABLE", about, ""), Rule: string(discovery.KnownVulnerable), Subject: about, Severity: finding.Critical, State: finding.Muted, First: day, Last: day, Changed: day,
		Why: "pkg:npm/notes 1.0.0 is affected by known vulnerabilities", Next: "run another", Evidence: []string{"GHSA-aaaa-bbbb-cccc (critical, fixed in 1.0.1)", "MAL-1 (odd)", "nothing"},
		Mute: &finding.Mute{By: "operator:ann", Why: "not reached", At: day, Until: day.Add(time.Hour)},
	})
	return s
}

func TestCycloneDXIsAsPublished(t *testing.T) {
	schema := cyclonedxSchema(t)
	for _, s := range []*export.Snapshot{{Generation: 1}, snapshot(), vulnerable()} {
		for _, who := range []bool{false, true} {
			d := made(t, s, export.Options{As: export.CycloneDX, Identifiable: who})
			if err := schema.Check(d.Bytes); err != nil {
				t.Errorf("%v\n%s", err, d.Bytes)
			}
		}
	}
	if schema.Check([]byte(`{"bomFormat":"CycloneDX","specVersion":"1.7","components":[{"name":"no type"}]}`)) == nil {
		t.Error("the schema takes anything")
	}
}

// Every ref is there once, and what is referred to is there.
func TestCycloneDXRefersToWhatIsThere(t *testing.T) {
	b := decoded(t, vulnerable(), export.Options{})
	refs := map[string]int{b.Metadata.Component.BOMRef: 1}
	for _, c := range *b.Components {
		refs[c.BOMRef]++
	}
	for _, s := range *b.Services {
		refs[s.BOMRef]++
	}
	for r, n := range refs {
		if n != 1 {
			t.Errorf("%s is there %d times", r, n)
		}
	}
	had := map[string]bool{}
	for _, d := range *b.Dependencies {
		if had[d.Ref] || refs[d.Ref] == 0 {
			t.Errorf("%s: there twice %v, known %v", d.Ref, had[d.Ref], refs[d.Ref] > 0)
		}
		had[d.Ref] = true
		if d.Dependencies != nil {
			for _, on := range *d.Dependencies {
				if refs[on] == 0 {
					t.Errorf("%s depends on %s, which is not there", d.Ref, on)
				}
			}
		}
	}
	if len(had) != len(refs) {
		t.Errorf("%d dependencies of %d", len(had), len(refs))
	}
	for _, a := range *b.Annotations {
		for _, on := range *a.Subjects {
			if refs[string(on)] == 0 {
				t.Errorf("a finding is about %s, which is not there", on)
			}
		}
	}
}

func TestCycloneDXSaysWhatIsThere(t *testing.T) {
	b := decoded(t, vulnerable(), export.Options{})
	var purls []string
	var client, notes string
	for _, c := range *b.Components {
		if c.PackageURL != "" {
			purls = append(purls, c.PackageURL)
			if _, err := packageurl.FromString(c.PackageURL); err != nil {
				t.Error(err)
			}
		}
		switch {
		case c.Name == "Cursor":
			client = c.BOMRef
		case c.PackageURL == "pkg:npm/notes@1.0.0":
			notes = c.BOMRef
		}
	}
	slices.Sort(purls)
	if want := []string{"pkg:npm/notes", "pkg:npm/notes@1.0.0"}; !slices.Equal(purls, want) { // latest is no version
		t.Errorf("purls %q, want %q", purls, want)
	}
	needs := false
	for _, d := range *b.Dependencies {
		needs = needs || d.Ref == client && slices.Contains(*d.Dependencies, notes)
	}
	if !needs {
		t.Error("the client does not depend on its server")
	}
	s := (*b.Services)[0]
	if s.Name != "mail" || (*s.Endpoints)[0] != "https://mail.example/mcp" || !*s.Authenticated || !*s.CrossesTrustBoundary {
		t.Errorf("service %+v", s)
	}
	if !slices.Contains(*s.Properties, cdx.Property{Name: "rutile:mcp:credential", Value: "Authorization (literal)"}) {
		t.Errorf("its credential is not named: %+v", *s.Properties)
	}
	vs := *b.Vulnerabilities
	if len(vs) != 2 || vs[0].ID != "GHSA-aaaa-bbbb-cccc" || (*vs[0].Ratings)[0].Severity != cdx.SeverityCritical || (*vs[1].Ratings)[0].Severity != cdx.SeverityUnknown || vs[0].Analysis.State != cdx.IASInTriage || !strings.Contains(vs[0].Analysis.Detail, "not reached") {
		t.Fatalf("vulnerabilities %+v", vs)
	}
	status := map[string]cdx.VulnerabilityStatus{}
	for _, a := range *vs[0].Affects {
		status[(*a.Range)[0].Version] = (*a.Range)[0].Status
	}
	if len(status) != 2 || status["1.0.0"] != cdx.VulnerabilityStatusAffected || status["latest"] != cdx.VulnerabilityStatusUnknown {
		t.Errorf("affects %v", status)
	}
}

// A machine and a person are named only where that is asked for; a team is no
// person. What nothing is left of is not listed.
func TestCycloneDXNamesNobodyUnasked(t *testing.T) {
	s := snapshot()
	s.Servers = append(s.Servers, inventory.Entry{Server: inventory.Server{Key: "pkg:npm/left", Kind: discovery.KindPackage}, Status: inventory.StatusGone})
	for _, who := range []bool{false, true} {
		doc, err := json.Marshal(decoded(t, s, export.Options{Identifiable: who}))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"anns-laptop", `"rutile:owner","value":"ann"`} {
			if strings.Contains(string(doc), name) != who {
				t.Errorf("identifiable %v: %s", who, name)
			}
		}
		if !strings.Contains(string(doc), `"rutile:owner","value":"platform"`) || strings.Contains(string(doc), "npm/left") {
			t.Errorf("identifiable %v: the team is not named, or what is gone is", who)
		}
	}
}
