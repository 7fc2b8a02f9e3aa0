package identify_test

import (
	"archive/zip"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/discovery"
	"rutile/internal/discovery/identify"
)

func now() time.Time { return time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC) }

// seer has seen these command lines and addresses.
type seer []string

func (seer) Name() string { return "client" }

func (s seer) Discover(_ context.Context, into *discovery.Sink) error {
	d := discovery.Describer{Paths: &discovery.Paths{}}
	for i, line := range s {
		spec := discovery.Spec{URL: line}
		if !strings.HasPrefix(line, "https://") {
			words := strings.Fields(line)
			spec = discovery.Spec{Command: words[0], Args: words[1:]}
		}
		got := d.Describe(spec)
		into.Saw(discovery.Sighting{Fact: discovery.Configured, Place: discovery.Place{Path: "file", Line: i + 1, Pointer: "/" + line}, Target: got.Target, Strength: 0.5})
	}
	return nil
}

func run(lines []string, sources ...discovery.Source) *discovery.Report {
	return discovery.Run(context.Background(), append([]discovery.Source{seer(lines)}, sources...), now, nil).Report(discovery.Registry{})
}

func osv(path string) identify.Vulnerabilities {
	return identify.Vulnerabilities{Path: path, Paths: &discovery.Paths{}, Now: now}
}

func listing(path string) identify.Registry {
	return identify.Registry{Path: path, Paths: &discovery.Paths{}, Now: now}
}

// raised are the findings of these rules, as "RULE severity".
func raised(r *discovery.Report, rules ...discovery.Rule) []string {
	var out []string
	for _, f := range r.Findings {
		if slices.Contains(rules, f.Rule) {
			out = append(out, string(f.Rule)+" "+string(f.Severity))
		}
	}
	return out
}

func TestVulnerabilitiesAreToldByPackageAndVersion(t *testing.T) {
	for line, want := range map[string]struct {
		verdict discovery.Verdict
		finding []string
	}{
		"npx -y @example-sample/ledger-mcp@1.1.9":        {discovery.Affected, []string{"KNOWN_VULNERABLE critical"}},
		"npx -y @example-sample/ledger-mcp@1.2.0":        {discovery.NotAffected, nil},
		"npx -y @example-sample/ledger-mcp@1.2.0-rc.1":   {discovery.Affected, []string{"KNOWN_VULNERABLE critical"}},
		"npx -y @example-sample/ledger-mcp@1.5.0-beta.1": {discovery.NotAffected, nil},
		"npx -y @example-sample/ledger-mcp@1.5.0-beta.2": {discovery.Affected, []string{"KNOWN_VULNERABLE critical"}},
		"npx -y @example-sample/ledger-mcp@1.9.0":        {discovery.Affected, []string{"KNOWN_VULNERABLE critical"}},
		"npx -y @example-sample/ledger-mcp@1.10.0":       {discovery.NotAffected, nil}, // numbers, not text
		"npx -y @example-sample/ledger-mcp":              {discovery.UnknownVersion, []string{"KNOWN_VULNERABLE medium"}},
		"npx -y @example-sample/ledger-mcp@latest":       {discovery.UnknownVersion, []string{"KNOWN_VULNERABLE medium"}},
		"npx -y @example-sample/ledger-mcp@1.2":          {discovery.UnknownVersion, []string{"KNOWN_VULNERABLE medium"}}, // a range to npm
		"npx -y @example-sample/ledger-mcp@^1.10.0":      {discovery.UnknownVersion, []string{"KNOWN_VULNERABLE medium"}},
		"npx -y evil-sample-mcp":                         {discovery.Affected, []string{"KNOWN_VULNERABLE critical"}}, // whichever version
		"npx -y never-heard-of-it@1.0.0":                 {discovery.NoData, nil},
		"uvx skimmer_sample.server==0.2rc1":              {discovery.Affected, []string{"KNOWN_VULNERABLE medium"}},
		"uvx skimmer-sample-server==0.2b9":               {discovery.NotAffected, nil},
		"uvx skimmer-sample-server==0.3":                 {discovery.Affected, []string{"KNOWN_VULNERABLE medium"}},
		"uvx skimmer-sample-server==0.3.0":               {discovery.Affected, []string{"KNOWN_VULNERABLE medium"}},
		"uvx skimmer-sample-server==0.3.post1":           {discovery.NotAffected, nil},
		"uvx skimmer-sample-server==0.3.1":               {discovery.NotAffected, nil},
		"uvx skimmer-sample-server>=0.3.1":               {discovery.UnknownVersion, []string{"KNOWN_VULNERABLE medium"}},
		"docker run acme/notes:1.0.0":                    {discovery.NoData, nil},
		// Another index may have another package of that name.
		"npx --registry https://npm.example.com -y evil-sample-mcp": {discovery.NoData, nil},
	} {
		t.Run(line, func(t *testing.T) {
			r := run([]string{line}, osv("testdata/osv"))
			if len(r.Identified) != 1 || r.Identified[0].Verdict != want.verdict {
				t.Errorf("identified %+v, want %q", r.Identified, want.verdict)
			}
			if diff := cmp.Diff(want.finding, raised(r, discovery.KnownVulnerable)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFindingNamesTheRecordsAndWhereTheyEnd(t *testing.T) {
	r := run([]string{"npx -y @example-sample/ledger-mcp@1.1.9"}, osv("testdata/osv"))
	for _, f := range r.Findings {
		if f.Rule == discovery.KnownVulnerable {
			if diff := cmp.Diff([]string{"SAMPLE-2026-0001 (critical, fixed in 1.2.0)"}, f.Evidence); diff != "" {
				t.Error(diff)
			}
			return
		}
	}
	t.Error("no finding")
}

func TestRegistryMatchesAreCandidatesInOrder(t *testing.T) {
	rules := []discovery.Rule{discovery.RegistryDeprecated, discovery.RegistryDeleted, discovery.LookalikeName}
	for line, want := range map[string]struct {
		by      string
		names   []string
		finding []string
	}{
		"npx -y @example-sample/ledger-mcp@1.10.0":           {"package", []string{"com.example/ledger"}, nil},
		"npx -y @example-sample/ledger-mcp@1.9.0":            {"package", []string{"com.example/ledger"}, []string{"REGISTRY_DEPRECATED low"}},
		"npx -y @example-sample/ledger-mcp":                  {"package", []string{"com.example/ledger"}, nil},
		"docker run -i example-sample/ledger:1.10.0":         {"image", []string{"com.example/ledger"}, nil},
		"npx -y github:example-sample/ledger-tools":          {"repository", []string{"com.example/ledger"}, nil},
		"uvx skimmer-sample-server":                          {"package", []string{"com.example/skimmer"}, []string{"REGISTRY_DELETED high"}},
		"https://mcp.example.com/shared":                     {"address", []string{"com.example/shared", "org.example/shared-too"}, nil},
		"https://acme.sample.example.com/mcp/eu":             {"address", []string{"com.example/shared"}, nil},
		"https://acme.sample.example.com.evil.test/mcp/eu":   {"", nil, nil},
		"https://acme.sample.example.com/mcp/eu/more":        {"", nil, nil},
		"https://anybody.test/mcp":                           {"", nil, nil}, // a template that stands for every host
		"npx -y @example-sample/ledgre-mcp@1.0.0":            {"", nil, nil}, // short names are told apart by one letter
		"npx -y something-of-our-own@1.0.0":                  {"", nil, nil},
		"npx --registry https://npm.example.com -y ledger-x": {"", nil, nil},
	} {
		t.Run(line, func(t *testing.T) {
			r := run([]string{line}, listing("testdata/registry"))
			var by string
			var names []string
			for _, i := range r.Identified {
				by, names = i.By, i.Candidates
			}
			if by != want.by || !slices.Equal(names, want.names) {
				t.Errorf("known by %q as %q, want %q as %q", by, names, want.by, want.names)
			}
			if diff := cmp.Diff(want.finding, raised(r, rules...)); diff != "" {
				t.Error(diff)
			}
			for _, s := range r.Servers {
				if len(s.Names) > 0 || s.Registered != "" {
					t.Errorf("a name was taken from the listing: %+v", s)
				}
			}
		})
	}
}

const listed = `{"servers":[{"server":{"name":"a.example/x","version":"1.0.0","packages":[
	{"registryType":"npm","identifier":"@acme/mcp-server-timetables","version":"1.0.0"},
	{"registryType":"npm","identifier":"timetables-for-mcp","version":"1.0.0"},
	{"registryType":"npm","identifier":"@acme/mysql-mcp","version":"1.0.0"},
	{"registryType":"pypi","identifier":"mcp-invoicing","version":"1.0.0"}]},
	"_meta":{"io.modelcontextprotocol.registry/official":{"status":"active","updatedAt":"2026-11-26T00:00:00Z"}}}],"metadata":{}}`

func TestLookalikesOfListedPackages(t *testing.T) {
	copied := write(t, "page.json", listed)
	for line, want := range map[string]bool{
		"npx -y @acne/mcp-server-timetables@1.0.0": true, // another namespace
		"npx -y mcp-server-timetables@1.0.0":       true,
		"npx -y @acme/mcp-server-timetabels@1.0.0": true,
		"uvx mcp-invoiccing":                       true,
		"npx -y @acme/mcp-server-timetables@1.0.0": false, // itself
		"npx -y @acme/timetables-mcp@1.0.0":        false, // the same words in another order are common
		"npx -y @acme/mssql-mcp@1.0.0":             false,
		"npx -y @other/mysql-mcp@1.0.0":            false,
		"npx -y mcp-invoiccing@1.0.0":              false, // of another ecosystem
		"uvx mcp-invoicings":                       false,
	} {
		got := raised(run([]string{line}, listing(copied)), discovery.LookalikeName)
		if (len(got) > 0) != want {
			t.Errorf("%s: %q, want a finding %v", line, got, want)
		}
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAgeIsOfTheNewestRecordThatIsNotOfTheFuture(t *testing.T) {
	record := func(modified string) string {
		return write(t, "r.json", `{"id":"X-1","modified":"`+modified+`","affected":[]}`)
	}
	for modified, want := range map[string]discovery.Copy{
		"2026-11-20T12:00:00Z": {Days: 7, Newest: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)},
		"2026-10-27T12:00:00Z": {Days: 31, Old: true, Newest: time.Date(2026, 10, 27, 12, 0, 0, 0, time.UTC)},
		"2036-11-20T12:00:00Z": {Old: true},
	} {
		got := run(nil, osv(record(modified))).Copies
		if len(got) != 1 {
			t.Fatalf("copies %+v", got)
		}
		want.Source, want.Records, want.Path = "vulnerabilities", 1, got[0].Path
		if diff := cmp.Diff(want, got[0]); diff != "" {
			t.Errorf("%s: %s", modified, diff)
		}
	}
}

func TestArchiveOfAnEcosystemIsRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "all.zip")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for _, name := range []string{"MAL-0000-0003.json", "SAMPLE-2026-0001.json"} {
		raw, err := os.ReadFile(filepath.Join("testdata/osv", name))
		if err != nil {
			t.Fatal(err)
		}
		w, err := z.Create("../../" + name) // no name is a path to write to
		if err == nil {
			_, err = w.Write(raw)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	r := run([]string{"npx -y evil-sample-mcp"}, osv(file))
	if diff := cmp.Diff([]string{"KNOWN_VULNERABLE critical"}, raised(r, discovery.KnownVulnerable)); diff != "" || r.Copies[0].Records != 2 {
		t.Error(diff, r.Copies)
	}
}
