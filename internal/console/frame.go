package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strings"
	"time"

	"rutile/internal/admin"
	"rutile/internal/finding"
)

// chrome is what a page of the console stands in.
type chrome struct {
	Ends              bool // the visitor may end sessions, and what hangs on things
	Lang, Title, Name string
	User, Form, Back  string
	Account           string // the address of the visitor's own page, "" where they have none
	Passkeys          string // the address of the script that uses passkeys, "" where none is needed
	Node              string
	Monitor           bool
	Said              *message
	Nav               []navGroup
	Style, Script     string // addresses
	Icon              string
	Page              any
}

// navGroup is a part of the navigation; navItem a page in it.
type navGroup struct {
	Title string
	Items []navItem
}

type navItem struct {
	Title, URL string
	Here       bool
}

// place of a page in the navigation: its title, and the page it belongs to.
type navPlace struct {
	name, title string
	op          admin.Op
	under       []string // pages that stand in its place
}

type navPart struct {
	title string
	items []navPlace
}

func navigation() []navPart {
	return []navPart{
		{"Now", []navPlace{
			{"overview", "Overview", admin.OpRead, nil},
			{"live", "Live", admin.OpRead, []string{"session", "decision", "risk"}},
			{"requests", "Requests", admin.OpRead, nil},
			{"findings", "Findings", admin.OpRead, []string{"finding"}},
			{"reviews", "Reviews", admin.OpRead, []string{"review"}},
		}},
		{"Catalog", []navPlace{
			{"inventory", "Inventory", admin.OpRead, []string{"found", "owning"}},
			{"sources", "Sources", admin.OpRead, nil},
			{"servers", "Servers", admin.OpRead, []string{"server", "tool"}},
			{"agents", "Agents", admin.OpRead, []string{"agent"}},
			{"people", "People", admin.OpRead, []string{"person", "roles"}},
			{"credentials", "Credentials", admin.OpRead, nil},
		}},
		{"Rights", []navPlace{
			{"policies", "Policies", admin.OpRead, []string{"policy", "rules", "simulator"}},
			{"grants", "Grants", admin.OpRead, []string{"grant"}},
			{"tasks", "Tasks", admin.OpRead, nil},
			{"break-glass", "Break the glass", admin.OpBreak, []string{"glass", "glass-sign"}},
			{"receipts", "Revocations", admin.OpRead, []string{"receipt", "revoke"}},
		}},
		{"Proof", []navPlace{
			{"evidence", "Evidence", admin.OpEvidence, []string{"event"}},
			{"compliance", "Compliance", admin.OpEvidence, nil},
			{"health", "Health", admin.OpRead, nil},
			{"settings", "Settings", admin.OpRead, nil},
		}},
	}
}

// frame returns what a page of a visitor stands in.
func (c *Console) frame(v *visit, name string, data any) chrome {
	st := c.work.Status()
	var said *message
	if !background(v.Request) {
		said = c.sessions.hear(v.id)
	}
	out := chrome{
		Lang: v.words.lang, Name: name, User: line(v.session.actor.String()), Form: v.session.form, Back: v.URL.RequestURI(), Node: st.Node,
		Monitor: st.Mode == string(admin.ModeMonitor), Said: said, Style: c.assets["app.css"].url, Script: c.assets["htmx.js"].url, Icon: c.assets["icon.svg"].url, Page: data,
	}
	if v.session.actor.Kind == "user" && c.signIns != nil {
		out.Account = at("account")
	}
	if name == "account" || name == "password" {
		out.Passkeys, out.Title = c.assets["passkey.js"].url, v.words.t("Your account")
	}
	if name == "glass-sign" {
		out.Passkeys = c.assets["passkey.js"].url
	}
	out.Ends = c.may(v, admin.OpSession)
	for _, part := range navigation() {
		g := navGroup{Title: v.words.t(part.title)}
		for _, p := range part.items {
			if !c.may(v, p.op) {
				continue
			}
			i := navItem{Title: v.words.t(p.title), URL: Home + p.name, Here: p.name == name}
			if p.name == "overview" {
				i.URL = Home
			}
			for _, u := range p.under {
				i.Here = i.Here || u == name
			}
			if i.Here {
				out.Title = i.Title
			}
			g.Items = append(g.Items, i)
		}
		if len(g.Items) > 0 {
			out.Nav = append(out.Nav, g)
		}
	}
	return out
}

// renderPage writes a page whole or, where it cannot be made, an error.
func (c *Console) renderPage(w http.ResponseWriter, v *visit, name string, data any) {
	var b bytes.Buffer
	if err := c.views[v.words.lang].ExecuteTemplate(&b, name, c.frame(v, name, data)); err != nil {
		c.refuse(w, v.Request, err)
		return
	}
	send(w, http.StatusOK, &b)
}

// renderFree writes a page for whoever is not signed in yet.
func (c *Console) renderFree(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	var b bytes.Buffer
	lang := c.wordsOf(r).lang
	if err := c.views[lang].ExecuteTemplate(&b, name, chrome{Lang: lang, Style: c.assets["app.css"].url, Icon: c.assets["icon.svg"].url, Passkeys: c.assets["passkey.js"].url, Page: data}); err != nil {
		c.refuse(w, r, err)
		return
	}
	send(w, status, &b)
}

func send(w http.ResponseWriter, status int, b *bytes.Buffer) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the reader may have gone
}

// asset is a file that pages load. Its address changes with it.
type asset struct {
	url, kind string
	body      []byte
}

func assets() (map[string]asset, error) {
	out := map[string]asset{}
	for name, kind := range map[string]string{"app.css": "text/css; charset=utf-8", "htmx.js": "text/javascript; charset=utf-8", "passkey.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"} {
		b, err := files.ReadFile(path.Join("static", name))
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		sum := sha256.Sum256(b)
		ext := path.Ext(name)
		out[name] = asset{url: Home + "static/" + strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:8]) + ext, kind: kind, body: b}
	}
	return out, nil
}

// static serves what pages load, to anybody: it is the same for all.
func (c *Console) static(w http.ResponseWriter, r *http.Request) {
	for _, a := range c.assets {
		if a.url == r.URL.Path {
			w.Header().Set("Content-Type", a.kind)
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			_, _ = w.Write(a.body) // the reader may have gone
			return
		}
	}
	c.missing(w, r)
}

// funcs are what the pages of a language write with. Whatever somebody else wrote goes
// through line or block.
func (c *Console) funcs(w words) template.FuncMap {
	return template.FuncMap{
		"t": w.t, "n": w.n, "line": line, "short": short, "join": func(list []string) string { return strings.Join(list, " ") }, "found": func(key string) string { return subjectURL(finding.Subject{Kind: finding.SubjectFound, ID: key}) }, "prose": block, "spelled": spelled, "part": part, "id": id, "pieces": pieces, "at": at, "revoking": revokeURL,
		"when":   func(x time.Time) template.HTML { return w.when(x, c.now()) },
		"state":  w.state,
		"before": func(n uint64) uint64 { return n - 1 },
		"generation": func(n string) string {
			if n == "" {
				return w.t("what is in force")
			}
			return w.t("generation %s", n)
		},
		"lines": func(list []string) []string {
			out := make([]string, 0, len(list))
			for _, s := range list {
				out = append(out, line(s))
			}
			return out
		},
		"dict": func(kv ...any) map[string]any {
			out := map[string]any{}
			for i := 0; i+1 < len(kv); i += 2 {
				if k, ok := kv[i].(string); ok {
					out[k] = kv[i+1]
				}
			}
			return out
		},
	}
}

// id is one of our own identifiers, which may be broken after its prefix and in its
// middle.
func id(s string) template.HTML {
	const run = 13
	head, rest, _ := strings.Cut(line(s), "_")
	if rest == "" {
		return template.HTML(template.HTMLEscapeString(head))
	}
	out := template.HTMLEscapeString(head) + "_"
	for len(rest) > run {
		out += "<wbr>" + template.HTMLEscapeString(rest[:run])
		rest = rest[run:]
	}
	return template.HTML(out + "<wbr>" + template.HTMLEscapeString(rest))
}

// pieces is a name made of parts, which may be broken between them.
func pieces(s string) template.HTML {
	return template.HTML(strings.NewReplacer(".", ".<wbr>", "/", "/<wbr>").Replace(template.HTMLEscapeString(s)))
}

// when is a time with how far it is from now, broken between the day and the hour at
// most; "never" where there is none.
func (w words) when(x, now time.Time) template.HTML {
	if x.IsZero() {
		return template.HTML(template.HTMLEscapeString(w.t("never")))
	}
	x = x.UTC()
	rel := w.t("%s ago", w.span(now.Sub(x)))
	if x.After(now) {
		rel = w.t("in %s", w.span(x.Sub(now)))
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s"><span>%s</span> <span>%s</span></time> <small>%s</small>`, x.Format(time.RFC3339), x.Format(time.DateOnly), x.Format("15:04:05Z"), template.HTMLEscapeString(rel)))
}

// span is a length of time in its largest unit.
func (w words) span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return w.t("%d s", int(d/time.Second))
	case d < time.Hour:
		return w.t("%d min", int(d/time.Minute))
	case d < 48*time.Hour:
		return w.t("%d h", int(d/time.Hour))
	default:
		return w.t("%d days", int(d/(24*time.Hour)))
	}
}

// state is a word with a sign, so that colour says nothing alone.
func (w words) state(word any) template.HTML {
	s := fmt.Sprint(word)
	class, sign := "off", "○"
	switch s {
	case "active", "yes", "permits", "sanctioned", "approved", "open", "issued", "permit", "ok", "ready", "callable", "routed", "registered", "resolved", "info", "closed", "completed", "committed", "confirmed", "compliance.covered", "used":
		class, sign = "good", "●"
	case "pending", "changed", "newly_permitted", "untrusted", "due", "unused", "bypass", "muted", "medium", "missing", "low", "suspended", "triaged", "discovered", "deprecated", "warning", "overdue", "expired", "mask", "ask", "require_approval", "rate_limit", "absent", "reserved", "unknown", "scheduled", "revoking", "incomplete", "unbound", "elsewhere", "compliance.partly", "depends", "young":
		class, sign = "wait", "◐"
	case "quarantined", "blocked", "newly_denied", "forbid", "unparsable", "shadow", "high", "critical", "revoked", "revoke_partial", "terminated", "deny", "denied", "broken", "error", "failed", "quarantine", "revoke", "terminate":
		class, sign = "bad", "■"
	}
	return template.HTML(fmt.Sprintf(`<span class="state %s"><span aria-hidden="true">%s</span> %s</span>`, class, sign, template.HTMLEscapeString(w.t(line(s)))))
}
