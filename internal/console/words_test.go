package console_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rutile/internal/grant"
)

// TestEveryTextHasItsTranslation: what the pages and their code say in English is in
// the Korean table, with as many places for what belongs into it.
func TestEveryTextHasItsTranslation(t *testing.T) {
	raw, err := os.ReadFile("ko.json")
	if err != nil {
		t.Fatal(err)
	}
	var ko map[string]string
	if err := json.Unmarshal(raw, &ko); err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for _, where := range []struct {
		files string
		say   *regexp.Regexp
	}{
		{"views/*.html", regexp.MustCompile(`[({ ]t "((?:[^"\\]|\\.)*)"`)},
		{"page.html", regexp.MustCompile(`[({ ]t "((?:[^"\\]|\\.)*)"`)},
		{"*.go", regexp.MustCompile(`(?:words|w|wordsOf\(r\))\.t\("((?:[^"\\]|\\.)*)"`)},
		{"*.go", regexp.MustCompile(`w(?:ords)?\.n\([^,"]+, "((?:[^"\\]|\\.)*)", "((?:[^"\\]|\\.)*)"`)}, // one, and many
	} {
		list, err := filepath.Glob(where.files)
		if err != nil || len(list) == 0 {
			t.Fatalf("%s: %v", where.files, err)
		}
		for _, name := range list {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range where.say.FindAllStringSubmatch(string(b), -1) {
				for _, text := range m[1:] {
					said[text] = true
				}
			}
		}
	}
	if len(said) < 200 {
		t.Fatalf("only %d texts were found", len(said))
	}
	// What is shown of states is a text too.
	for _, list := range [][]grant.State{grant.RequestStates(), grant.GrantStates(), grant.UseStates(), grant.TaskStates(), {grant.ReviewDue, grant.ReviewOverdue, grant.ReviewDone}} {
		for _, s := range list {
			said[string(s)] = true
		}
	}
	verb := regexp.MustCompile(`%[ds]`)
	for text := range said {
		other, ok := ko[text]
		if !ok {
			t.Errorf("%q has no translation", text)
		} else if got, want := verb.FindAllString(other, -1), verb.FindAllString(text, -1); strings.Join(got, "") != strings.Join(want, "") {
			t.Errorf("%q takes %v, its translation %v", text, want, got)
		}
	}
}
