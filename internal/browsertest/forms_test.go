package browsertest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// control is one thing of a page that can be used, as its template writes it.
type control struct {
	Template string // the name of its definition
	Kind     string // "button", "field" or "link"
	Method   string // of its form
	// Action is that of its form, "" for the page's own address, or where a link leads:
	// "filter:" and what a group of filters is called, and "next:" and the next page of
	// which list, stand for links of both sorts.
	Action  string
	Name    string // of a field, or NAME=VALUE of a button that has both
	Scripts bool   // it is there with JavaScript alone
}

func (c control) String() string {
	parts := []string{c.Template, c.Kind}
	for _, s := range []string{c.Method, c.Action, c.Name} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, " ")
}

// within matches what stands in an attribute, or between the ends of a tag: a template's
// own actions hold quotation marks and angle brackets too.
const inAttribute, inTag = `(?:\{\{[^}]*\}\}|[^"{])*`, `(?:\{\{[^}]*\}\}|[^>{])*`

var (
	defineOf  = regexp.MustCompile(`\{\{-? ?define "([^"]+)" -?\}\}`)
	formOf    = regexp.MustCompile(`(?s)<form( ` + inTag + `)>(.*?)</form>`)
	buttonOf  = regexp.MustCompile(`<button(` + inTag + `)>`)
	fieldOf   = regexp.MustCompile(`<(?:input|select|textarea)( ` + inTag + `)>`)
	anchorOf  = regexp.MustCompile(`<a( ` + inTag + `)>`)
	actionOf  = regexp.MustCompile(` action="(` + inAttribute + `)"`)
	hrefOf    = regexp.MustCompile(` href="(` + inAttribute + `)"`)
	valueOf   = regexp.MustCompile(` name="([^"]*)" value="(` + inAttribute + `)"`)
	nameOf    = regexp.MustCompile(` name="(` + inAttribute + `)"`)
	includeOf = regexp.MustCompile(`\{\{template "([^"]+)"([^}]*)\}\}`)
	changeTo  = regexp.MustCompile(`"to" (?:"([^"]*)"|\((at [^)]*)\))`)
	labelled  = regexp.MustCompile(`"label" \(t "([^"]*)"\)`)
	groupOf   = regexp.MustCompile(`(?s)<p class="filters" role="group" aria-label="(?:\{\{t "([^"]*)"\}\}|(\{\{[^}]*\}\}))">.*?</p>`)
)

// templates are the texts of every template of the console by their names, those that
// take part of their controls from whoever includes them written out where they are.
func templates(t *testing.T) map[string]string {
	t.Helper()
	views, err := filepath.Glob("../console/views/*.html")
	if err != nil || len(views) < 10 {
		t.Fatalf("%d templates, %v", len(views), err)
	}
	out := map[string]string{}
	for _, path := range append(views, "../console/page.html") {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := string(raw)
		at := defineOf.FindAllStringSubmatchIndex(text, -1)
		for i, m := range at {
			end := len(text)
			if i+1 < len(at) {
				end = at[i+1][0]
			}
			name := text[m[2]:m[3]]
			if _, twice := out[name]; twice {
				name = filepath.Base(path) + " " + name
			}
			out[name] = groupOf.ReplaceAllString(text[m[1]:end], `<a href="filter:$1$2">`)
		}
	}
	for range 2 { // what is included includes in its turn
		for name, text := range out {
			out[name] = includeOf.ReplaceAllStringFunc(text, func(s string) string {
				m := includeOf.FindStringSubmatch(s)
				switch m[1] {
				case "narrow", "search":
					return out[m[1]]
				case "filters":
					return `<a href="filter:` + labelled.FindStringSubmatch(m[2])[1] + `">`
				case "next":
					return `<a href="next:` + strings.TrimSpace(m[2]) + `">`
				case "change":
					to := changeTo.FindStringSubmatch(m[2])
					if to[1] == "" {
						to[1] = "{{" + to[2] + "}}"
					}
					return strings.ReplaceAll(out["change"], "{{.to}}", to[1])
				default:
					return s
				}
			})
		}
	}
	for _, name := range []string{"narrow", "search", "filters", "next", "change"} {
		if out[name] == "" {
			t.Fatalf("no template is called %s", name)
		}
		delete(out, name)
	}
	return out
}

// controls are those of every template of the console.
func controls(t *testing.T) []control {
	t.Helper()
	var out []control
	add := func(c control) {
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	all := templates(t)
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		text := all[name]
		forms := formOf.FindAllStringSubmatch(text, -1)
		if want := strings.Count(text, "<form"); len(forms) != want {
			t.Errorf("%s has %d forms, of which %d are read", name, want, len(forms))
		}
		for _, f := range forms {
			c := control{Template: name, Method: "get", Scripts: strings.Contains(f[1], " data-passkey=") && !strings.Contains(f[1], "{{if .Sign}}")}
			if strings.Contains(f[1], ` method="post"`) {
				c.Method = "post"
			}
			if m := actionOf.FindStringSubmatch(f[1]); m != nil {
				c.Action = m[1]
			}
			buttons := buttonOf.FindAllStringSubmatch(f[2], -1)
			if len(buttons) == 0 {
				t.Errorf("%s has a form without a button: %s", name, c.Action)
			}
			for _, b := range buttons {
				c.Kind, c.Name = "button", ""
				if n := valueOf.FindStringSubmatch(b[1]); n != nil {
					c.Name = n[1] + "=" + n[2]
				}
				add(c)
			}
			for _, i := range fieldOf.FindAllStringSubmatch(f[2], -1) {
				if n := nameOf.FindStringSubmatch(i[1]); n != nil && !strings.Contains(i[1], `type="hidden"`) {
					c.Kind, c.Name = "field", n[1]
					add(c)
				}
			}
		}
		for _, a := range anchorOf.FindAllStringSubmatch(text, -1) {
			if h := hrefOf.FindStringSubmatch(a[1]); h != nil {
				add(control{Template: name, Kind: "link", Action: strings.ReplaceAll(h[1], "&amp;", "&")})
			}
		}
	}
	return out
}

var part = regexp.MustCompile(`\{\{[^}]*\}\}`)

// addressOf is what an address of a template may be.
func addressOf(action string) *regexp.Regexp {
	const any = `[^/?&]+`
	out, at := "^", 0
	for _, m := range part.FindAllStringIndex(action, -1) {
		out += regexp.QuoteMeta(action[at:m[0]])
		at = m[1]
		words := strings.Fields(strings.Trim(action[m[0]:m[1]], "{}"))
		switch words[0] {
		case "at":
			out += "/console"
			for _, w := range words[1:] {
				if s := strings.Trim(w, `"`); s != w {
					out += "/" + regexp.QuoteMeta(s)
				} else if w != "(print" {
					out += "/" + any
				}
			}
		case "revoking":
			out += `/console/revoke\?kind=` + strings.Trim(words[1], `"`) + `&id=` + any
		case ".Where": // to connect a server, or back from where it is connected
			out += `connect(ed)?(/.*)?`
		default:
			out += `[^/&]*`
		}
	}
	return regexp.MustCompile(out + regexp.QuoteMeta(action[at:]) + "$")
}

// TestEveryFormIsTriedAsAViewer: what TestAViewerChangesNothing and
// TestForgedFormsDoNothing send holds every form of the console that is not for
// everybody.
func TestEveryFormIsTriedAsAViewer(t *testing.T) {
	r := newRig(t)
	sent := r.forms()
	for _, c := range controls(t) {
		if c.Kind != "button" || c.Method != "post" || everybodys(c.Action) {
			continue
		}
		at, tried := addressOf(c.Action), false
		for _, f := range sent {
			tried = tried || at.MatchString("/console/"+f.path)
		}
		if !tried {
			t.Errorf("nobody who may not sends %s", c.Action)
		}
	}
}

// everybodys reports whether a form is for whoever signs in or has signed in, or for
// their own things.
func everybodys(action string) bool {
	if action == `{{at "break-glass" .ID}}` {
		return true // TestNothingElseBreaksTheGlass sends it, with what it has to hold
	}
	for _, p := range []string{"/approve/", "/console/language", "/console/enter", "/console/sign-in/", "/console/account", "/console/inventory/views", "/console/simulator", `{{at "decisions"`} {
		if strings.HasPrefix(action, p) {
			return true
		}
	}
	return false
}
