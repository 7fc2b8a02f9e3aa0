package rutile_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Each invariant names the tests that hold it, and they are there.
func TestInvariantsHaveTests(t *testing.T) {
	there := testNames(t)
	_, text, _ := strings.Cut(read(t, "docs/architecture.md"), "\n## Invariants\n")
	text, _, _ = strings.Cut(text, "\n## ")
	invariants := strings.Split(text, "\n* ")[1:]
	if len(invariants) < 8 {
		t.Fatalf("docs/architecture.md has %d invariants", len(invariants))
	}
	name := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`")
	for _, one := range invariants {
		tests := name.FindAllStringSubmatch(one, -1)
		if len(tests) == 0 {
			t.Errorf("no test is named for: %s", one)
		}
		for _, m := range tests {
			if !there[m[1]] {
				t.Errorf("%s is no test; it is named for: %s", m[1], one)
			}
		}
	}
}

// testNames are all tests and fuzz targets of the module.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names, function := map[string]bool{}, regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9]+)\(`)
	err := filepath.WalkDir("internal", func(file string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(file, "_test.go") {
			for _, m := range function.FindAllStringSubmatch(read(t, file), -1) {
				names[m[1]] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// The two READMEs show the same commands, lead to the same pages, in the same
// order, and have the same sections.
func TestREADMEsAreInStep(t *testing.T) {
	type said struct{ sections, commands, links []string }
	of := func(file string) (s said) {
		text := read(t, file)
		s.sections = regexp.MustCompile(`(?m)^##? `).FindAllString(text, -1)
		for _, m := range regexp.MustCompile(`(?m)^(?:bin/rutile|make) [^#\n]*`).FindAllString(text, -1) {
			s.commands = append(s.commands, strings.TrimSpace(m))
		}
		for _, m := range regexp.MustCompile(`\]\((docs/[^)]*)\)`).FindAllStringSubmatch(text, -1) {
			s.links = append(s.links, m[1])
		}
		return s
	}
	en, ko := of("README.md"), of("README.ko.md")
	if len(en.commands) < 6 || len(en.links) < 20 {
		t.Fatalf("README.md was not read: %+v", en)
	}
	for what, lists := range map[string][2][]string{"sections": {en.sections, ko.sections}, "commands": {en.commands, ko.commands}, "links": {en.links, ko.links}} {
		if !slices.Equal(lists[0], lists[1]) {
			t.Errorf("%s differ:\n%q\n%q", what, lists[0], lists[1])
		}
	}
}

// What a page links to is there.
func TestLinksLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	decisions, _ := filepath.Glob("docs/decisions/*.md")
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	for _, page := range slices.Concat(pages, decisions, []string{"README.md", "README.ko.md"}) {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s leads to %s, which is not there", page, m[1])
			}
		}
	}
}

// Every direct dependency has its line in docs/dependencies.md.
func TestDependenciesHaveTheirReason(t *testing.T) {
	reasons, mod := read(t, "docs/dependencies.md"), read(t, "go.mod")
	direct := regexp.MustCompile(`(?m)^\t([a-z0-9.-]+\.[a-z]+/\S+) v\S+$`).FindAllStringSubmatch(mod, -1)
	if len(direct) < 20 {
		t.Fatalf("go.mod names %d direct dependencies: run go mod tidy", len(direct))
	}
	for _, m := range direct {
		// A module of many is named by what they have in common.
		name := m[1]
		for strings.Contains(name, "/") && !strings.Contains(reasons, "`"+name+"`") {
			name = path.Dir(name)
		}
		if !strings.Contains(name, "/") {
			t.Errorf("docs/dependencies.md does not say why %s", m[1])
		}
	}
}
