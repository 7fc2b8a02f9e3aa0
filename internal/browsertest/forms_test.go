package browsertest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// control is one button of a form of the templates: "FILE ACTION NAME=VALUE", where the
// address is as the template writes it and a button without a name has neither.
type control = string

var (
	formOf   = regexp.MustCompile(`(?s)<form method="post" action="((?:\{\{[^}]*\}\}|[^"{])*)"[^>]*>(.*?)</form>`)
	buttonOf = regexp.MustCompile(`<button((?:\{\{[^}]*\}\}|[^>{])*)>`)
	nameOf   = regexp.MustCompile(` name="([^"]*)" value="((?:\{\{[^}]*\}\}|[^"{])*)"`)
)

// controls are those of every template of the console.
func controls(t *testing.T) []control {
	t.Helper()
	views, err := filepath.Glob("../console/views/*.html")
	if err != nil || len(views) < 10 {
		t.Fatalf("%d templates, %v", len(views), err)
	}
	var out []control
	for _, path := range append(views, "../console/page.html") {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := string(raw)
		forms := formOf.FindAllStringSubmatch(text, -1)
		if want := strings.Count(text, `<form method="post"`); len(forms) != want {
			t.Errorf("%s has %d forms, of which %d are read", path, want, len(forms))
		}
		for _, f := range forms {
			buttons := buttonOf.FindAllStringSubmatch(f[2], -1)
			if len(buttons) == 0 {
				t.Errorf("%s has a form without a button: %s", path, f[1])
			}
			for _, b := range buttons {
				c := filepath.Base(path) + " " + f[1]
				if n := nameOf.FindStringSubmatch(b[1]); n != nil {
					c += " " + n[1] + "=" + n[2]
				}
				out = append(out, c)
			}
		}
	}
	return out
}

// addressOf is what an address of a template may be.
func addressOf(action string) *regexp.Regexp {
	const any = `[^/]+`
	if rest, ok := strings.CutPrefix(action, "{{at "); ok {
		out := "^"
		for _, w := range strings.Fields(strings.TrimSuffix(rest, "}}")) {
			if s := strings.Trim(w, `"`); s != w {
				out += "/" + regexp.QuoteMeta(s)
			} else {
				out += "/" + any
			}
		}
		return regexp.MustCompile(strings.Replace(out, "^/", "^", 1) + "$")
	}
	return regexp.MustCompile("^" + regexp.QuoteMeta(strings.TrimPrefix(action, "/console/")) + "$")
}

// TestEveryFormIsTriedAsAViewer: what TestAViewerChangesNothing and
// TestForgedFormsDoNothing send holds every form of the console that is not for
// everybody.
func TestEveryFormIsTriedAsAViewer(t *testing.T) {
	r := newRig(t)
	sent := r.forms()
	for _, c := range controls(t) {
		_, action, _ := strings.Cut(c, " ")
		action = strings.TrimSpace(nameEnd.ReplaceAllString(action, ""))
		if everybodys(action) {
			continue
		}
		at, tried := addressOf(action), false
		for _, f := range sent {
			tried = tried || at.MatchString(f.path)
		}
		if !tried {
			t.Errorf("nobody who may not sends %s", action)
		}
	}
}

var nameEnd = regexp.MustCompile(` [a-z]+=(\{\{[^}]*\}\}|[a-z-]*)$`)

// everybodys reports whether a form is for whoever signs in or has signed in, for their
// own things, or is about a page whose forms are told by another address.
func everybodys(action string) bool {
	if action == `{{at "break-glass" .ID}}` {
		return true // TestNothingElseBreaksTheGlass sends it, with what it has to hold
	}
	for _, p := range []string{"/approve/", "/console/language", "/console/enter", "/console/sign-in/", "/console/account", "/console/inventory/views", "/console/simulator", `{{at "decisions"`, "{{.to}}"} {
		if strings.HasPrefix(action, p) {
			return true
		}
	}
	return false
}
